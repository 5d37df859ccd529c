//! System call entries as data: `AUDIT_ARCH_*` values and strict mode's lists; names and numbers are in `names`.

mod names;

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
    fn x32_is_told_by_its_bit() {
        assert_eq!(Arch::of_call(seccomp::AUDIT_ARCH_X86_64, 39), Some(Arch::X86_64));
        assert_eq!(Arch::of_call(seccomp::AUDIT_ARCH_X86_64, 39 | X32_SYSCALL_BIT), Some(Arch::X32));
        assert_eq!(Arch::of_call(seccomp::AUDIT_ARCH_X86_64, -1), Some(Arch::X86_64));
        assert_eq!(Arch::of_call(0, 0), None);
    }
}
