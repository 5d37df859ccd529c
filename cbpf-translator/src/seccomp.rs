//! The seccomp side of classic BPF: what a filter sees and what its return value means. The numbers are
//! those of Linux's `include/uapi/linux/seccomp.h`.

/// Bytes of `struct seccomp_data`, all that a filter can read.
pub const DATA_SIZE: u32 = 64;

/// Kill the process.
pub const RET_KILL_PROCESS: u32 = 0x8000_0000;
/// Kill the thread.
pub const RET_KILL_THREAD: u32 = 0x0000_0000;
/// Send SIGSYS; the data becomes `si_errno`.
pub const RET_TRAP: u32 = 0x0003_0000;
/// Return the data as errno.
pub const RET_ERRNO: u32 = 0x0005_0000;
/// Ask a supervisor.
pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// Ask the tracer; the data is its event message.
pub const RET_TRACE: u32 = 0x7ff0_0000;
/// Allow, after a log record.
pub const RET_LOG: u32 = 0x7ffc_0000;
/// Allow.
pub const RET_ALLOW: u32 = 0x7fff_0000;

/// The bits of a return value that say what to do.
pub const RET_ACTION_FULL: u32 = 0xffff_0000;
/// The bits of a return value that are data.
pub const RET_DATA: u32 = 0x0000_ffff;

/// The actions by their names in `seccomp.h`, `SECCOMP_RET_KILL` included (it is KILL_THREAD).
pub const RET_NAMES: [(&str, u32); 9] = [
    ("SECCOMP_RET_KILL_PROCESS", RET_KILL_PROCESS),
    ("SECCOMP_RET_KILL_THREAD", RET_KILL_THREAD),
    ("SECCOMP_RET_KILL", RET_KILL_THREAD),
    ("SECCOMP_RET_TRAP", RET_TRAP),
    ("SECCOMP_RET_ERRNO", RET_ERRNO),
    ("SECCOMP_RET_USER_NOTIF", RET_USER_NOTIF),
    ("SECCOMP_RET_TRACE", RET_TRACE),
    ("SECCOMP_RET_LOG", RET_LOG),
    ("SECCOMP_RET_ALLOW", RET_ALLOW),
];

/// `AUDIT_ARCH_*`: what a filter reads at offset 4.
pub const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// 32-bit x86.
pub const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// 64-bit ARM.
pub const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
/// 32-bit ARM.
pub const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
/// 64-bit RISC-V.
pub const AUDIT_ARCH_RISCV64: u32 = 0xc000_00f3;
/// 32-bit RISC-V.
pub const AUDIT_ARCH_RISCV32: u32 = 0x4000_00f3;
/// 64-bit LoongArch.
pub const AUDIT_ARCH_LOONGARCH64: u32 = 0xc000_0102;

/// Architectures by their names in `audit.h`.
pub const AUDIT_ARCH_NAMES: [(&str, u32); 7] = [
    ("AUDIT_ARCH_X86_64", AUDIT_ARCH_X86_64),
    ("AUDIT_ARCH_I386", AUDIT_ARCH_I386),
    ("AUDIT_ARCH_AARCH64", AUDIT_ARCH_AARCH64),
    ("AUDIT_ARCH_ARM", AUDIT_ARCH_ARM),
    ("AUDIT_ARCH_RISCV64", AUDIT_ARCH_RISCV64),
    ("AUDIT_ARCH_RISCV32", AUDIT_ARCH_RISCV32),
    ("AUDIT_ARCH_LOONGARCH64", AUDIT_ARCH_LOONGARCH64),
];
