//! What container engines call under a profile before the program begins.

use syscalls::x86_64::Sysno;

/// Who starts the program under the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Starter {
    /// runc 1.1, which Docker and containerd use
    Runc,
    /// The same for containers with noNewPrivileges, which need fewer calls
    RuncNoNewPrivs,
}

/// What the init process of runc calls last, in the thread that has the filter: it closes its files, waits at
/// `exec.fifo` until the container is started, and executes the program.
const LAST: [Sysno; 8] = [
    Sysno::close,
    Sysno::epoll_ctl,
    Sysno::execve,
    Sysno::fstatfs,
    Sysno::getdents64,
    Sysno::getpid,
    Sysno::openat,
    Sysno::write,
];

/// What Go's runtime calls in that thread when others hold a lock, when it collects garbage, and when memory is short.
const GO: [Sysno; 9] = [
    Sysno::epoll_pwait,
    Sysno::futex,
    Sysno::madvise,
    Sysno::mmap,
    Sysno::munmap,
    Sysno::nanosleep,
    Sysno::rt_sigreturn,
    Sysno::sched_yield,
    Sysno::tgkill,
];

/// What it calls before that in a container without `noNewPrivileges`, where the filter has to be installed while there are
/// privileges: it marks its files, and changes the user, the groups, the capabilities and the folder.
const PRIVILEGED: [Sysno; 15] = [
    Sysno::capget,
    Sysno::capset,
    Sysno::chdir,
    Sysno::faccessat2,
    Sysno::fchown,
    Sysno::fcntl,
    Sysno::fstat,
    Sysno::getcwd,
    Sysno::getppid,
    Sysno::newfstatat,
    Sysno::prctl,
    Sysno::read,
    Sysno::setgid,
    Sysno::setgroups,
    Sysno::setuid,
];

impl Starter {
    /// The calls by number, on x86-64.
    pub fn calls(self) -> impl Iterator<Item = i32> {
        let privileged = match self {
            Self::Runc => PRIVILEGED.as_slice(),
            Self::RuncNoNewPrivs => &[],
        };
        LAST.iter().chain(&GO).chain(privileged).map(Sysno::id)
    }
}
