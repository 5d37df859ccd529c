//! What the arguments of system calls are: of the most usual calls, and of those that filters deny most.

/// What an argument is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A number with a sign.
    Number,
    /// A descriptor of a folder.
    Folder,
    /// The address of a string.
    Text,
    /// An address, a set of bits, or what depends on the others.
    Word,
    /// Permissions of a file.
    Mode,
    /// Permissions, if the flags before them make a file.
    ModeOfNew,
    /// Constants.
    Flags(&'static Flags),
}

/// Constants that go together.
pub struct Flags {
    /// The bits that hold one of `values`; 0 if there is only one, for no flags at all.
    pub mask: u64,
    pub values: &'static [&'static str],
    /// Single bits, and before them those that are made of several.
    pub flags: &'static [&'static str],
}

use Kind::{Folder, Mode, ModeOfNew, Number, Text, Word};

/// The arguments of a call, if they are known here.
pub fn of(name: &str) -> Option<&'static [Kind]> {
    let mut rows = CALLS.iter();
    rows.find(|(names, _)| names.split_whitespace().any(|other| other == name)).map(|(_, kinds)| *kinds)
}

/// Calls with equal arguments stand together.
const CALLS: [(&str, &[Kind]); 57] = [
    (
        "getpid getppid gettid getuid geteuid getgid getegid getpgrp fork vfork pause setsid sync sched_yield \
         munlockall inotify_init vhangup rt_sigreturn sigreturn restart_syscall",
        &[],
    ),
    (
        "close dup fsync fdatasync syncfs fchdir exit exit_group setuid setgid setfsuid setfsgid getpgid getsid \
         epoll_create alarm mlockall",
        &[Number],
    ),
    ("unshare", &[CLONE]),
    ("personality brk set_tid_address pipe time times uname sysinfo", &[Word]),
    ("umask", &[Mode]),
    ("kill tkill dup2 setpgid setreuid setregid listen shutdown flock getpriority", &[Number, Number]),
    ("setns", &[Number, CLONE]),
    ("dup3", &[Number, Number, PIPE]),
    ("tgkill setresuid setresgid fchown setpriority", &[Number, Number, Number]),
    ("read write readv writev getdents getdents64 bind connect", &[Number, Word, Number]),
    ("sendmsg recvmsg ioctl fcntl fcntl64", &[Number, Word, Word]),
    ("sendto recvfrom", &[Number, Word, Number, Word, Word, Word]),
    ("pread64 pwrite64", &[Number, Word, Number, Number]),
    ("fstat fstatfs getrlimit setrlimit", &[Number, Word]),
    ("prlimit64 ptrace", &[Word, Number, Word, Word]),
    ("lseek", &[Number, Number, Number]),
    ("ftruncate", &[Number, Number]),
    ("accept getsockname getpeername", &[Number, Word, Word]),
    ("accept4", &[Number, Word, Word, SOCKET]),
    ("getsockopt setsockopt", &[Number, Number, Number, Word, Word]),
    ("pipe2", &[Word, PIPE]),
    ("open", &[Text, OPEN, ModeOfNew]),
    ("openat", &[Folder, Text, OPEN, ModeOfNew]),
    ("openat2", &[Folder, Text, Word, Number]),
    ("creat mkdir chmod", &[Text, Mode]),
    ("mkdirat fchmodat", &[Folder, Text, Mode]),
    ("mknod", &[Text, Mode, Word]),
    ("mknodat", &[Folder, Text, Mode, Word]),
    ("fchmod", &[Number, Mode]),
    ("stat lstat stat64 lstat64 statfs utime utimes swapon umount2", &[Text, Word]),
    ("newfstatat fstatat64", &[Folder, Text, Word, AT]),
    ("statx", &[Folder, Text, AT, Word, Word]),
    ("access", &[Text, ACCESS]),
    ("faccessat", &[Folder, Text, ACCESS]),
    ("faccessat2", &[Folder, Text, ACCESS, ACCESS_AT]),
    ("execve", &[Text, Word, Word]),
    ("execveat", &[Folder, Text, Word, Word, AT]),
    ("chdir chroot rmdir unlink acct swapoff umount", &[Text]),
    ("truncate sethostname setdomainname", &[Text, Number]),
    ("unlinkat", &[Folder, Text, UNLINK]),
    ("readlink", &[Text, Word, Number]),
    ("readlinkat", &[Folder, Text, Word, Number]),
    ("rename link symlink pivot_root removexattr lremovexattr", &[Text, Text]),
    ("symlinkat", &[Text, Folder, Text]),
    ("renameat", &[Folder, Text, Folder, Text]),
    ("renameat2", &[Folder, Text, Folder, Text, Word]),
    ("linkat", &[Folder, Text, Folder, Text, AT]),
    ("chown lchown", &[Text, Number, Number]),
    ("fchownat", &[Folder, Text, Number, Number, AT]),
    ("utimensat", &[Folder, Text, Word, AT]),
    ("mount", &[Text, Text, Text, Word, Word]),
    ("memfd_create", &[Text, Word]),
    ("mmap mmap2", &[Word, Number, PROT, MAP, Number, Word]),
    ("mprotect", &[Word, Number, PROT]),
    ("munmap mlock munlock", &[Word, Number]),
    ("clone", &[CLONE, Word, Word, Word, Word]),
    ("socket", &[FAMILY, SOCKET, Number]),
];

const OPEN: Kind = Kind::Flags(&Flags {
    mask: 3,
    values: &["O_RDONLY", "O_WRONLY", "O_RDWR"],
    flags: &[
        "O_TMPFILE",
        "O_SYNC",
        "O_CREAT",
        "O_EXCL",
        "O_NOCTTY",
        "O_TRUNC",
        "O_APPEND",
        "O_NONBLOCK",
        "O_DSYNC",
        "O_DIRECT",
        "O_DIRECTORY",
        "O_NOFOLLOW",
        "O_NOATIME",
        "O_CLOEXEC",
        "O_PATH",
    ],
});

const PIPE: Kind =
    Kind::Flags(&Flags { mask: 0, values: &[], flags: &["O_NONBLOCK", "O_DIRECT", "O_CLOEXEC"] });

const AT: Kind = Kind::Flags(&Flags {
    mask: 0,
    values: &[],
    flags: &["AT_SYMLINK_NOFOLLOW", "AT_SYMLINK_FOLLOW", "AT_NO_AUTOMOUNT", "AT_EMPTY_PATH"],
});

const UNLINK: Kind = Kind::Flags(&Flags { mask: 0, values: &[], flags: &["AT_REMOVEDIR"] });

const ACCESS: Kind = Kind::Flags(&Flags { mask: 0, values: &["F_OK"], flags: &["R_OK", "W_OK", "X_OK"] });

const ACCESS_AT: Kind = Kind::Flags(&Flags {
    mask: 0,
    values: &[],
    flags: &["AT_EACCESS", "AT_SYMLINK_NOFOLLOW", "AT_EMPTY_PATH"],
});

const PROT: Kind = Kind::Flags(&Flags {
    mask: 0,
    values: &["PROT_NONE"],
    flags: &["PROT_READ", "PROT_WRITE", "PROT_EXEC", "PROT_GROWSDOWN", "PROT_GROWSUP"],
});

const MAP: Kind = Kind::Flags(&Flags {
    mask: 0xf,
    values: &["MAP_SHARED", "MAP_PRIVATE", "MAP_SHARED_VALIDATE"],
    flags: &[
        "MAP_FIXED",
        "MAP_ANONYMOUS",
        "MAP_32BIT",
        "MAP_GROWSDOWN",
        "MAP_DENYWRITE",
        "MAP_EXECUTABLE",
        "MAP_LOCKED",
        "MAP_NORESERVE",
        "MAP_POPULATE",
        "MAP_NONBLOCK",
        "MAP_STACK",
        "MAP_HUGETLB",
        "MAP_FIXED_NOREPLACE",
    ],
});

const CLONE: Kind = Kind::Flags(&Flags {
    mask: 0xff,
    values: &["SIGCHLD"],
    flags: &[
        "CLONE_VM",
        "CLONE_FS",
        "CLONE_FILES",
        "CLONE_SIGHAND",
        "CLONE_PIDFD",
        "CLONE_PTRACE",
        "CLONE_VFORK",
        "CLONE_PARENT",
        "CLONE_THREAD",
        "CLONE_NEWNS",
        "CLONE_SYSVSEM",
        "CLONE_SETTLS",
        "CLONE_PARENT_SETTID",
        "CLONE_CHILD_CLEARTID",
        "CLONE_DETACHED",
        "CLONE_UNTRACED",
        "CLONE_CHILD_SETTID",
        "CLONE_NEWCGROUP",
        "CLONE_NEWUTS",
        "CLONE_NEWIPC",
        "CLONE_NEWUSER",
        "CLONE_NEWPID",
        "CLONE_NEWNET",
    ],
});

const FAMILY: Kind = Kind::Flags(&Flags {
    mask: u64::MAX,
    values: &[
        "AF_UNSPEC",
        "AF_UNIX",
        "AF_INET",
        "AF_INET6",
        "AF_NETLINK",
        "AF_PACKET",
        "AF_BLUETOOTH",
        "AF_ALG",
        "AF_VSOCK",
        "AF_XDP",
    ],
    flags: &[],
});

const SOCKET: Kind = Kind::Flags(&Flags {
    mask: 0xf,
    values: &["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"],
    flags: &["SOCK_CLOEXEC", "SOCK_NONBLOCK"],
});

#[cfg(test)]
mod tests {
    use seccomp_kernel::Arch;

    use super::*;
    use crate::strace::constants;

    #[test]
    fn rows_name_calls_once_and_constants_that_are_there() {
        let mut names: Vec<_> = CALLS.iter().flat_map(|(names, _)| names.split_whitespace()).collect();
        for name in &names {
            let known = [Arch::X86_64, Arch::I386].iter().any(|arch| arch.syscall_number(name).is_some());
            assert!(known, "{name}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for kind in CALLS.iter().flat_map(|(_, kinds)| *kinds) {
            let Kind::Flags(Flags { mask, values, flags }) = kind else { continue };
            for name in *values {
                let value = constants::value(name, Arch::X86_64).unwrap();
                assert_eq!(value & !mask, 0, "{name}");
            }
            for (index, name) in flags.iter().enumerate() {
                let value = constants::value(name, Arch::X86_64).unwrap();
                assert_eq!(value & mask, 0, "{name}");
                let earlier =
                    flags[..index].iter().map(|other| constants::value(other, Arch::X86_64).unwrap());
                // Otherwise it would never be shown.
                assert!(earlier.into_iter().all(|other| other & value != other || other == 0), "{name}");
            }
        }
    }
}
