//! System calls by name: the tables of the crate `syscalls`, and rows of ours where Linux has it otherwise.

use core::str::FromStr;

use syscalls::{aarch64, arm, loongarch64, riscv64, x86, x86_64};

use super::{Arch, X32_SYSCALL_BIT};

/// What the tables have otherwise than Linux, for one entry. Numbers are without [`X32_SYSCALL_BIT`].
struct Rows {
    /// Calls by number. Neither the number nor the name is what the table says.
    has: &'static [(i32, &'static str)],
    /// Names of the table that the entry has not.
    lacks: &'static [&'static [&'static str]],
    /// Second names of calls.
    also: &'static [(i32, &'static str)],
}

const NONE: Rows = Rows { has: &[], lacks: &[], also: &[] };

/// `arch/x86/entry/syscalls/syscall_64.tbl`: the rows of its ABI `x32`, and the names of the rows of its ABI `64`
/// that have none of that ABI beside them.
const X32: Rows = Rows {
    has: &[
        (512, "rt_sigaction"),
        (513, "rt_sigreturn"),
        (514, "ioctl"),
        (515, "readv"),
        (516, "writev"),
        (517, "recvfrom"),
        (518, "sendmsg"),
        (519, "recvmsg"),
        (520, "execve"),
        (521, "ptrace"),
        (522, "rt_sigpending"),
        (523, "rt_sigtimedwait"),
        (524, "rt_sigqueueinfo"),
        (525, "sigaltstack"),
        (526, "timer_create"),
        (527, "mq_notify"),
        (528, "kexec_load"),
        (529, "waitid"),
        (530, "set_robust_list"),
        (531, "get_robust_list"),
        (532, "vmsplice"),
        (533, "move_pages"),
        (534, "preadv"),
        (535, "pwritev"),
        (536, "rt_tgsigqueueinfo"),
        (537, "recvmmsg"),
        (538, "sendmmsg"),
        (539, "process_vm_readv"),
        (540, "process_vm_writev"),
        (541, "setsockopt"),
        (542, "getsockopt"),
        (543, "io_setup"),
        (544, "io_submit"),
        (545, "execveat"),
        (546, "preadv2"),
        (547, "pwritev2"),
    ],
    lacks: &[&[
        "_sysctl",
        "create_module",
        "epoll_ctl_old",
        "epoll_wait_old",
        "get_kernel_syms",
        "get_thread_area",
        "nfsservctl",
        "query_module",
        "set_thread_area",
        "uselib",
        "vserver",
    ]],
    also: &[],
};

/// `include/uapi/asm-generic/unistd.h`, since Linux 6.11 `scripts/syscall.tbl`: 403 to 423 are for 32 bits only.
const TIME64: &[&str] = &[
    "clock_gettime64",
    "clock_settime64",
    "clock_adjtime64",
    "clock_getres_time64",
    "clock_nanosleep_time64",
    "timer_gettime64",
    "timer_settime64",
    "timerfd_gettime64",
    "timerfd_settime64",
    "utimensat_time64",
    "pselect6_time64",
    "ppoll_time64",
    "io_pgetevents_time64",
    "recvmmsg_time64",
    "mq_timedsend_time64",
    "mq_timedreceive_time64",
    "semtimedop_time64",
    "rt_sigtimedwait_time64",
    "futex_time64",
    "sched_rr_get_interval_time64",
];

/// The same file: the call's number is named for the 64-bit machines' variant there.
const NEWFSTATAT: (i32, &str) = (79, "newfstatat");

const AARCH64: Rows = Rows { has: &[NEWFSTATAT], lacks: &[TIME64], also: &[] };

/// `arch/arm/include/uapi/asm/unistd.h`: the calls that are not in the table of system calls (`__ARM_NR_*`), and
/// `__NR_sync_file_range2`, which is `__NR_arm_sync_file_range`.
const ARM: Rows = Rows {
    has: &[
        (0xf_0001, "breakpoint"),
        (0xf_0002, "cacheflush"),
        (0xf_0003, "usr26"),
        (0xf_0004, "usr32"),
        (0xf_0005, "set_tls"),
        (0xf_0006, "get_tls"),
    ],
    lacks: &[],
    also: &[(341, "sync_file_range2")],
};

const LOONGARCH64: Rows = Rows {
    has: &[NEWFSTATAT],
    lacks: &[
        TIME64,
        &[
            // `arch/loongarch/include/uapi/asm/unistd.h` does not define `__ARCH_WANT_SET_GET_RLIMIT`; since Linux
            // 6.11 `arch/loongarch/kernel/Makefile.syscalls` does not have the ABI `rlimit`.
            "getrlimit",
            "setrlimit",
            // Nor `__ARCH_WANT_RENAMEAT`, the ABI `renameat`.
            "renameat",
            // Nor `__ARCH_WANT_MEMFD_SECRET`, the ABI `memfd_secret`.
            "memfd_secret",
        ],
    ],
    also: &[],
};

impl Rows {
    /// Whether the entry has a row of the table.
    fn keep(&self, nr: i32, name: &str) -> bool {
        let lacks = self.lacks.iter().any(|names| names.contains(&name));
        !lacks && !self.has.iter().any(|(own, called)| *own == nr || *called == name)
    }
}

impl Arch {
    /// The name of a system call number, as `asm/unistd.h` has it.
    pub fn syscall_name(self, nr: i32) -> Option<&'static str> {
        let (nr, rows) = (nr ^ self.number_bit(), self.rows());
        match rows.has.iter().find(|(own, _)| *own == nr) {
            Some((_, name)) => Some(name),
            None => self.table_name(nr).filter(|name| rows.keep(nr, name)),
        }
    }

    /// The number of a system call name. Few calls have two names; [`Self::syscall_name`] tells the first.
    pub fn syscall_number(self, name: &str) -> Option<i32> {
        let rows = self.rows();
        let nr = match rows.has.iter().chain(rows.also).find(|(_, own)| *own == name) {
            Some((nr, _)) => Some(*nr),
            None => self.table_number(name).filter(|nr| rows.keep(*nr, name)),
        };
        nr.map(|nr| nr | self.number_bit())
    }

    /// Its calls by number, from the lowest.
    pub fn syscalls(self) -> impl Iterator<Item = (i32, &'static str)> {
        let last = self.table_last();
        let behind = self.rows().has.iter().map(|(nr, _)| *nr).filter(move |nr| *nr > last);
        let numbers = (0..=last).chain(behind).map(move |nr| nr | self.number_bit());
        numbers.filter_map(move |nr| Some((nr, self.syscall_name(nr)?)))
    }

    const fn rows(self) -> &'static Rows {
        match self {
            Self::X86_64 | Self::I386 | Self::Riscv64 => &NONE,
            Self::X32 => &X32,
            Self::Aarch64 => &AARCH64,
            Self::Arm => &ARM,
            Self::Loongarch64 => &LOONGARCH64,
        }
    }

    /// The bit that its numbers have and its table has not.
    const fn number_bit(self) -> i32 {
        match self {
            Self::X32 => X32_SYSCALL_BIT,
            _ => 0,
        }
    }

    fn table_name(self, nr: i32) -> Option<&'static str> {
        let id = usize::try_from(nr).ok()?;
        match self {
            Self::X86_64 | Self::X32 => x86_64::Sysno::new(id).map(|nr| nr.name()),
            Self::I386 => x86::Sysno::new(id).map(|nr| plain(nr.name())),
            Self::Aarch64 => aarch64::Sysno::new(id).map(|nr| nr.name()),
            Self::Arm => arm::Sysno::new(id).map(|nr| nr.name()),
            Self::Riscv64 => riscv64::Sysno::new(id).map(|nr| nr.name()),
            Self::Loongarch64 => loongarch64::Sysno::new(id).map(|nr| nr.name()),
        }
    }

    fn table_number(self, name: &str) -> Option<i32> {
        let nr = match self {
            Self::X86_64 | Self::X32 => x86_64::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::I386 if name == "break" => Some(x86::Sysno::r#break.id()),
            Self::I386 => x86::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::Aarch64 => aarch64::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::Arm => arm::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::Riscv64 => riscv64::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::Loongarch64 => loongarch64::Sysno::from_str(name).ok().map(|nr| nr.id()),
        };
        // Names that are words of Rust stand there as it writes them.
        nr.filter(|nr| self.table_name(*nr) == Some(name))
    }

    const fn table_last(self) -> i32 {
        match self {
            Self::X86_64 | Self::X32 => x86_64::Sysno::last().id(),
            Self::I386 => x86::Sysno::last().id(),
            Self::Aarch64 => aarch64::Sysno::last().id(),
            Self::Arm => arm::Sysno::last().id(),
            Self::Riscv64 => riscv64::Sysno::last().id(),
            Self::Loongarch64 => loongarch64::Sysno::last().id(),
        }
    }
}

/// A name as it is outside of Rust.
fn plain(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "tables, and thousands of look-ups")]
    fn names_and_numbers_are_one_to_one() {
        for arch in Arch::ALL {
            for nr in (-1..1000).chain(X32_SYSCALL_BIT..X32_SYSCALL_BIT + 1000) {
                if let Some(name) = arch.syscall_name(nr) {
                    assert_eq!(arch.syscall_number(name), Some(nr), "{} {name}", arch.name());
                }
            }
        }
        assert_eq!(Arch::X86_64.syscall_number("openat"), Some(257));
        assert_eq!(Arch::I386.syscall_number("openat"), Some(295));
    }

    #[test]
    fn x32_has_numbers_of_its_own() {
        let x32 = |name| Arch::X32.syscall_number(name).map(|nr| nr - X32_SYSCALL_BIT);
        assert_eq!((x32("read"), x32("execve"), x32("pwritev2")), (Some(0), Some(520), Some(547)));
        assert_eq!((x32("uselib"), x32("no such call")), (None, None));
        // execve's number on x86-64.
        assert_eq!(Arch::X32.syscall_name(59 | X32_SYSCALL_BIT), None);
    }

    #[test]
    fn names_are_those_of_linux() {
        assert_eq!(Arch::Aarch64.syscall_name(79), Some("newfstatat"));
        assert_eq!(Arch::Aarch64.syscall_number("newfstatat"), Some(79));
        assert_eq!(Arch::Aarch64.syscall_number("fstatat"), None);
        assert_eq!(Arch::Aarch64.syscall_number("futex_time64"), None);
        assert_eq!(Arch::Arm.syscall_number("futex_time64"), Some(422));
        assert_eq!(Arch::Loongarch64.syscall_name(79), Some("newfstatat"));
        assert_eq!(Arch::Arm.syscall_number("set_tls"), Some(0xf_0005));
        assert_eq!(Arch::Arm.syscall_name(0xf_0002), Some("cacheflush"));
        assert_eq!(Arch::I386.syscall_number("break"), Some(17));
        assert_eq!(Arch::I386.syscall_number("r#break"), None);
    }
}
