//! System call entries as data: `AUDIT_ARCH_*` values, names and numbers, strict mode's lists.

use core::ops::RangeInclusive;
use core::str::FromStr;

use cbpf_translator::seccomp;
use syscalls::{aarch64, arm, loongarch64, riscv64, x86, x86_64};

/// A system call entry. One machine has several: an x86-64 kernel has the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 32-bit x86: `int 0x80` and the 32-bit fast entries, also from 64-bit code.
    I386,
    /// x86-64 with 32-bit pointers. It shares its `AUDIT_ARCH` with [`Arch::X86_64`], and its numbers have
    /// [`X32_SYSCALL_BIT`] set.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, as the compat entry of a 64-bit kernel.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    Loongarch64,
}

/// The bit that marks a number as x32's.
pub const X32_SYSCALL_BIT: i32 = 1 << 30;

impl Arch {
    /// Every entry.
    pub const ALL: [Self; 7] =
        [Self::X86_64, Self::I386, Self::X32, Self::Aarch64, Self::Arm, Self::Riscv64, Self::Loongarch64];

    /// Its name: `x86_64`, `i386`, `x32`, `aarch64`, `arm`, `riscv64`, `loongarch64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
            Self::Riscv64 => "riscv64",
            Self::Loongarch64 => "loongarch64",
        }
    }

    /// Its `AUDIT_ARCH_*` value, the `arch` of `seccomp_data`.
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => seccomp::AUDIT_ARCH_X86_64,
            Self::I386 => seccomp::AUDIT_ARCH_I386,
            Self::Aarch64 => seccomp::AUDIT_ARCH_AARCH64,
            Self::Arm => seccomp::AUDIT_ARCH_ARM,
            Self::Riscv64 => seccomp::AUDIT_ARCH_RISCV64,
            Self::Loongarch64 => seccomp::AUDIT_ARCH_LOONGARCH64,
        }
    }

    /// The entry that made a call with this `AUDIT_ARCH_*` value and number, if it is one of these.
    pub fn of_call(audit_arch: u32, nr: i32) -> Option<Self> {
        match audit_arch {
            seccomp::AUDIT_ARCH_X86_64 if nr >= 0 && nr & X32_SYSCALL_BIT != 0 => Some(Self::X32),
            _ => Self::ALL.into_iter().find(|arch| arch.audit_arch() == audit_arch),
        }
    }

    /// Whether user pointers are 32 bits wide at this entry (`in_compat_syscall`).
    pub const fn is_compat(self) -> bool {
        matches!(self, Self::I386 | Self::X32 | Self::Arm)
    }

    /// Whether strict mode lets the call through (`mode1_syscalls` and its compat list): read, write, exit
    /// and the return from a signal handler, and on x86-64 the two calls that the kernel itself puts into a
    /// program for uprobes. x32 numbers match nothing.
    pub fn strict_allows(self, nr: i32) -> bool {
        let list: &[i32] = match self {
            Self::X86_64 => {
                const {
                    use x86_64::Sysno;
                    &[Sysno::read.id(), Sysno::write.id(), Sysno::exit.id(), Sysno::rt_sigreturn.id()]
                }
            }
            Self::I386 => {
                const {
                    use x86::Sysno;
                    &[Sysno::read.id(), Sysno::write.id(), Sysno::exit.id(), Sysno::sigreturn.id()]
                }
            }
            Self::X32 => &[],
            Self::Aarch64 => {
                const {
                    use aarch64::Sysno;
                    &[Sysno::read.id(), Sysno::write.id(), Sysno::exit.id(), Sysno::rt_sigreturn.id()]
                }
            }
            Self::Arm => {
                const {
                    use arm::Sysno;
                    &[Sysno::read.id(), Sysno::write.id(), Sysno::exit.id(), Sysno::sigreturn.id()]
                }
            }
            Self::Riscv64 => {
                const {
                    use riscv64::Sysno;
                    &[Sysno::read.id(), Sysno::write.id(), Sysno::exit.id(), Sysno::rt_sigreturn.id()]
                }
            }
            Self::Loongarch64 => {
                const {
                    use loongarch64::Sysno;
                    &[Sysno::read.id(), Sysno::write.id(), Sysno::exit.id(), Sysno::rt_sigreturn.id()]
                }
            }
        };
        list.contains(&nr) || self.uprobe_calls().contains(&nr)
    }

    /// The calls that the kernel itself puts into a program for uprobes: those that
    /// [`Kernel::exempts_uprobes`](crate::Kernel::exempts_uprobes) is about (`seccomp_uprobe_exception`).
    pub const fn uprobe_calls(self) -> &'static [i32] {
        match self {
            // uretprobe and uprobe.
            Self::X86_64 => &[335, 336],
            _ => &[],
        }
    }

    /// The name of a system call number, as `asm/unistd.h` has it.
    pub fn syscall_name(self, nr: i32) -> Option<&'static str> {
        let id = usize::try_from(nr).ok()?;
        match self {
            Self::X86_64 => x86_64::Sysno::new(id).map(|nr| nr.name()),
            Self::I386 => x86::Sysno::new(id).map(|nr| plain(nr.name())),
            Self::X32 if nr & X32_SYSCALL_BIT != 0 => x32_name(nr & !X32_SYSCALL_BIT),
            Self::X32 => None,
            Self::Aarch64 | Self::Loongarch64 if TIME64.contains(&nr) => None,
            Self::Aarch64 | Self::Loongarch64 if nr == NEWFSTATAT.0 => Some(NEWFSTATAT.1),
            Self::Arm if ARM_OWN.contains(&nr) => arm_name(nr),
            Self::Aarch64 => aarch64::Sysno::new(id).map(|nr| nr.name()),
            Self::Arm => arm::Sysno::new(id).map(|nr| nr.name()),
            Self::Riscv64 => riscv64::Sysno::new(id).map(|nr| nr.name()),
            Self::Loongarch64 => loongarch64::Sysno::new(id).map(|nr| nr.name()),
        }
    }

    /// The number of a system call name.
    pub fn syscall_number(self, name: &str) -> Option<i32> {
        // What the table of names has otherwise is found by the other way only.
        let id = match self {
            Self::X86_64 => x86_64::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::I386 if name == "break" => Some(x86::Sysno::r#break.id()),
            Self::I386 => x86::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::X32 => x32_number(name).map(|nr| nr | X32_SYSCALL_BIT),
            Self::Aarch64 | Self::Loongarch64 if name == NEWFSTATAT.1 => Some(NEWFSTATAT.0),
            Self::Aarch64 => aarch64::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::Arm => arm::Sysno::from_str(name).ok().map(|nr| nr.id()).or_else(|| arm_number(name)),
            Self::Riscv64 => riscv64::Sysno::from_str(name).ok().map(|nr| nr.id()),
            Self::Loongarch64 => loongarch64::Sysno::from_str(name).ok().map(|nr| nr.id()),
        };
        id.filter(|id| self.syscall_name(*id) == Some(name))
    }
}

/// Numbers that the table of names gives to calls which only 32-bit architectures have.
const TIME64: RangeInclusive<i32> = 403..=423;

/// The call that the table of names has as `fstatat`.
const NEWFSTATAT: (i32, &str) = (79, "newfstatat");

/// The calls of 32-bit ARM that are not in the table of system calls (`__ARM_NR_*`).
const ARM_OWN: RangeInclusive<i32> = 0xf_0001..=0xf_0006;
const ARM_OWN_NAMES: [&str; 6] = ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];

fn arm_name(nr: i32) -> Option<&'static str> {
    ARM_OWN.zip(ARM_OWN_NAMES).find(|(own, _)| *own == nr).map(|(_, name)| name)
}

fn arm_number(name: &str) -> Option<i32> {
    ARM_OWN.zip(ARM_OWN_NAMES).find(|(_, own)| *own == name).map(|(nr, _)| nr)
}

/// A name as it is outside of Rust.
fn plain(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// The calls that x32 has at numbers of its own, from [`X32_OWN`] on in this order. The numbers that x86-64
/// has them at are not x32's.
const X32_RENUMBERED: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// The first number, without [`X32_SYSCALL_BIT`], of what only x32 has there.
const X32_OWN: i32 = 512;

/// The calls of x86-64 that x32 has not.
const NOT_X32: [&str; 14] = [
    "map_shadow_stack",
    "uprobe",
    "uretprobe",
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
];

/// A name of x32, of a number without [`X32_SYSCALL_BIT`].
fn x32_name(nr: i32) -> Option<&'static str> {
    if let Some(own) = nr.checked_sub(X32_OWN).and_then(|own| usize::try_from(own).ok()) {
        return X32_RENUMBERED.get(own).copied();
    }
    let name = x86_64::Sysno::new(usize::try_from(nr).ok()?)?.name();
    (!X32_RENUMBERED.contains(&name) && !NOT_X32.contains(&name)).then_some(name)
}

/// The number of a name of x32, without [`X32_SYSCALL_BIT`].
fn x32_number(name: &str) -> Option<i32> {
    match (X32_OWN..).zip(X32_RENUMBERED).find(|(_, own)| *own == name) {
        Some((nr, _)) => Some(nr),
        None if NOT_X32.contains(&name) => None,
        None => x86_64::Sysno::from_str(name).ok().map(|nr| nr.id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "tables, and thousands of look-ups")]
    fn strict_lists_are_those_of_linux() {
        let lists = [
            (Arch::X86_64, &[0, 1, 15, 60, 335, 336][..]),
            (Arch::I386, &[1, 3, 4, 119]),
            (Arch::X32, &[]),
            (Arch::Aarch64, &[63, 64, 93, 139]),
            (Arch::Arm, &[1, 3, 4, 119]),
            (Arch::Riscv64, &[63, 64, 93, 139]),
            (Arch::Loongarch64, &[63, 64, 93, 139]),
        ];
        for (arch, list) in lists {
            let allowed: alloc::vec::Vec<i32> = (-1..1000)
                .chain(X32_SYSCALL_BIT..X32_SYSCALL_BIT + 1000)
                .filter(|nr| arch.strict_allows(*nr))
                .collect();
            assert_eq!(allowed, list, "{}", arch.name());
        }
    }

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

    #[test]
    fn x32_is_told_by_its_bit() {
        assert_eq!(Arch::of_call(seccomp::AUDIT_ARCH_X86_64, 39), Some(Arch::X86_64));
        assert_eq!(Arch::of_call(seccomp::AUDIT_ARCH_X86_64, 39 | X32_SYSCALL_BIT), Some(Arch::X32));
        assert_eq!(Arch::of_call(seccomp::AUDIT_ARCH_X86_64, -1), Some(Arch::X86_64));
        assert_eq!(Arch::of_call(0, 0), None);
    }
}
