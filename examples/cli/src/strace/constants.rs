//! Constants of system calls by name.

use anyhow::{Context, ensure};
use seccomp_kernel::Arch;

macro_rules! constants {
    ($($name:ident)*) => {
        [$((stringify!($name), libc::$name as i64 as u64)),*]
    };
}

/// Those of the most usual calls, as libc has them on x86-64.
const CONSTANTS: [(&str, u64); 98] = constants![
    O_RDONLY O_WRONLY O_RDWR O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_SYNC O_CLOEXEC O_PATH
    O_NOATIME O_DIRECT O_DIRECTORY O_NOFOLLOW O_TMPFILE
    AT_FDCWD AT_SYMLINK_NOFOLLOW AT_SYMLINK_FOLLOW AT_REMOVEDIR AT_EACCESS AT_EMPTY_PATH AT_NO_AUTOMOUNT
    PROT_NONE PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP
    MAP_SHARED MAP_PRIVATE MAP_SHARED_VALIDATE MAP_FIXED MAP_ANONYMOUS MAP_GROWSDOWN MAP_DENYWRITE MAP_EXECUTABLE
    MAP_LOCKED MAP_NORESERVE MAP_POPULATE MAP_NONBLOCK MAP_STACK MAP_HUGETLB MAP_FIXED_NOREPLACE MAP_32BIT
    CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_PIDFD CLONE_PTRACE CLONE_VFORK CLONE_PARENT CLONE_THREAD
    CLONE_NEWNS CLONE_SYSVSEM CLONE_SETTLS CLONE_PARENT_SETTID CLONE_CHILD_CLEARTID CLONE_DETACHED CLONE_UNTRACED
    CLONE_CHILD_SETTID CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET
    SIGCHLD
    AF_UNSPEC AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_BLUETOOTH AF_ALG AF_VSOCK AF_XDP
    SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_CLOEXEC SOCK_NONBLOCK
    IPPROTO_IP IPPROTO_ICMP IPPROTO_TCP IPPROTO_UDP IPPROTO_IPV6 IPPROTO_RAW
    F_OK R_OK W_OK X_OK
];

/// Those that are other numbers on ARM.
const NOT_ARM: [&str; 4] = ["O_DIRECT", "O_DIRECTORY", "O_NOFOLLOW", "O_TMPFILE"];

/// The value of a name at an entry. A negative one has the sign in all 64 bits.
pub fn value(name: &str, arch: Arch) -> anyhow::Result<u64> {
    let found = CONSTANTS.iter().find(|(known, _)| *known == name);
    let (_, value) = found.with_context(|| format!("{name:?}: no constant that is known here"))?;
    let is_x86 = matches!(arch, Arch::X86_64 | Arch::I386 | Arch::X32);
    let is_arm = matches!(arch, Arch::Aarch64 | Arch::Arm);
    ensure!(
        !(is_arm && NOT_ARM.contains(&name) || !is_x86 && name == "MAP_32BIT"),
        "{name:?}: {} has another number, write that",
        arch.name()
    );
    Ok(*value)
}
