//! The shipped policy without a filter.

#![allow(non_upper_case_globals, reason = "constants are named as the calls are")]

use cbpf_translator::seccomp::{RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS};
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_runtime::SeccompData;
use syscalls::x86_64::Sysno;

use super::ASK_PERSONALITY;

/// Calls' numbers as constants, so that patterns can have them.
macro_rules! numbers {
    ($($name:ident)*) => {
        $(
            const $name: i32 = Sysno::$name as i32;
        )*
    };
}

macro_rules! is_one_of {
    ($nr:ident, $($name:ident)*) => {{
        numbers!($($name)*);
        matches!($nr, $($name)|*)
    }};
}

#[rustfmt::skip]
const fn is_allowed(nr: i32) -> bool {
    is_one_of! { nr,
        accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chown
        chroot clock_adjtime clock_getres clock_gettime clock_nanosleep close close_range connect
        copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
        epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat
        faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmodat2 fchown fchownat fcntl fdatasync
        fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex
        futex_requeue futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list
        get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
        getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
        getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch
        inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
        io_setup io_submit ioprio_get ioprio_set kcmp kill landlock_add_rule landlock_create_ruleset
        landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr llistxattr
        lremovexattr lseek lsetxattr lsm_get_self_attr lsm_list_modules lstat madvise map_shadow_stack
        mbind membarrier memfd_create memfd_secret migrate_pages mincore mkdir mkdirat mlock mlock2
        mlockall mmap modify_ldt move_pages mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
        mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
        name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_getfd pidfd_open
        pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll pread64 preadv preadv2
        prlimit64 process_madvise process_mrelease process_vm_readv process_vm_writev pselect6 ptrace
        pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
        remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
        rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
        rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
        sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
        sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
        sendfile sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node set_robust_list
        set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
        setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr shmat shmctl
        shmdt shmget shutdown sigaltstack signalfd signalfd4 splice stat statfs statmount statx symlink
        symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
        timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times
        tkill truncate umask uname unlink unlinkat uretprobe utime utimensat utimes vfork vmsplice wait4
        waitid write writev
    }
}

/// The policy of [`docker_like`](super::docker_like) as one would write it by hand: what deciding costs without a filter.
pub fn by_hand(call: &SeccompData) -> u32 {
    numbers!(chmod fchmod fchmodat mknod mknodat clone clone3 unshare socket socketpair ioctl prctl personality);
    let [first, second, third, ..] = call.args;
    let may_have = |mode: u64| mode & 0xc00 == 0;
    let may_make = |mode: u64| matches!(mode & 0xf000, 0x1000 | 0x8000 | 0xc000);
    let may_share = |flags: u64| flags & 0x7e02_0000 == 0;

    if call.arch != Arch::X86_64.audit_arch() || call.nr.cast_unsigned() >= X32_SYSCALL_BIT.cast_unsigned() {
        return RET_KILL_PROCESS;
    }
    let allowed = match call.nr {
        nr if is_allowed(nr) => true,
        chmod | fchmod => may_have(second),
        fchmodat => may_have(third),
        mknod => may_make(second),
        mknodat => may_make(third),
        clone | unshare => may_share(first),
        clone3 => return RET_ERRNO | 38,
        socket => first != 40,
        socketpair => first == 1,
        ioctl => !matches!(second, 0x5412 | 0x541c),
        prctl => first != 35,
        personality => matches!(first, 0 | 0x8 | 0x2_0000 | 0x2_0008 | ASK_PERSONALITY),
        _ => false,
    };
    if allowed { RET_ALLOW } else { RET_ERRNO | 1 }
}
