//! Names in profiles of architectures and system calls.

use std::str::FromStr;

use seccomp_kernel::Arch;
use syscalls::{mips, mips64, powerpc, powerpc64, riscv32, s390x, sparc, sparc64};

use super::multiplexed;

/// What libseccomp calls an architecture.
pub(super) enum ArchName {
    /// One that filters can be made for.
    Known(Arch),
    /// One that there is, and that is not known here. No machine has it beside one that is.
    Foreign,
    /// One of those whose words have their highest byte first, which is so of none that is known here.
    BigEndian,
}

impl ArchName {
    /// libseccomp's name of an architecture.
    pub(super) fn of(arch: Arch) -> &'static str {
        match arch {
            Arch::X86_64 => "SCMP_ARCH_X86_64",
            Arch::I386 => "SCMP_ARCH_X86",
            Arch::X32 => "SCMP_ARCH_X32",
            Arch::Aarch64 => "SCMP_ARCH_AARCH64",
            Arch::Arm => "SCMP_ARCH_ARM",
            Arch::Riscv64 => "SCMP_ARCH_RISCV64",
            Arch::Loongarch64 => "SCMP_ARCH_LOONGARCH64",
        }
    }

    /// The architecture with this name of libseccomp's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(known) = Arch::ALL.into_iter().find(|arch| Self::of(*arch) == name) {
            return Some(Self::Known(known));
        }
        match name.strip_prefix("SCMP_ARCH_")? {
            "MIPSEL" | "MIPSEL64" | "MIPSEL64N32" | "PPC64LE" | "SH" => Some(Self::Foreign),
            "MIPS" | "MIPS64" | "MIPS64N32" | "PPC" | "PPC64" | "S390" | "S390X" | "PARISC" | "PARISC64"
            | "M68K" | "SHEB" => Some(Self::BigEndian),
            _ => None,
        }
    }
}

/// libseccomp's names of those that filters can be made for.
pub(super) fn arches() -> [&'static str; 7] {
    Arch::ALL.map(ArchName::of)
}

/// Whether some architecture of Linux has a system call of this name.
pub(super) fn is_syscall(name: &str) -> bool {
    Arch::ALL.iter().any(|arch| arch.syscall_number(name).is_some())
        || multiplexed::is_call(name)
        || mips::Sysno::from_str(name).is_ok()
        || mips64::Sysno::from_str(name).is_ok()
        || powerpc::Sysno::from_str(name).is_ok()
        || powerpc64::Sysno::from_str(name).is_ok()
        || riscv32::Sysno::from_str(name).is_ok()
        || s390x::Sysno::from_str(name).is_ok()
        || sparc::Sysno::from_str(name).is_ok()
        || sparc64::Sysno::from_str(name).is_ok()
}
