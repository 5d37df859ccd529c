//! What depends on the machine: one module for each, with the same names in it.
//!
//! | name | what it is |
//! |---|---|
//! | `ENTRY`, `Sysno` | the system call entry as seccomp knows it, and its numbers |
//! | `PHYS_OFFSET` | where physical address 0 is mapped |
//! | `init` | traps, protections and the timer, once the kernel's own page table is active |
//! | `serial_write`, `power_off`, `nanoseconds`, `counter`, `idle` | devices |
//! | [`Context`] | the registers of user mode; runs it until it traps |
//! | `switch`, `KernelStack` | from one kernel stack to another |
//! | `Fpu` | the registers that the kernel itself does not use |
//! | `paging` | the format of page tables |
//! | `probe_write`, `RETURN`, `synchronise_code` | what executable memory needs |

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "riscv64")]
pub use riscv64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

/// Why user mode was left.
#[derive(Clone, Copy, Debug)]
pub enum Trap {
    /// A system call.
    Syscall,
    /// A device, or the timer: its time is over.
    Interrupt,
    /// It did what it may not.
    Fault(Fault),
}

/// What user mode did, as its signal tells.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The signal.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: u64,
}

/// What a signal handler is entered with.
#[derive(Clone, Copy, Debug)]
pub struct Handler {
    /// Its address.
    pub entry: u64,
    /// Where it returns to, if it says so.
    pub restorer: Option<u64>,
    /// The signal.
    pub signal: i32,
    /// `siginfo`.
    pub info: [u8; 128],
    /// The mask to restore when it returns.
    pub mask: u64,
}

pub const SIGILL: i32 = 4;
pub const SIGTRAP: i32 = 5;
pub const SIGBUS: i32 = 7;
pub const SIGSEGV: i32 = 11;
