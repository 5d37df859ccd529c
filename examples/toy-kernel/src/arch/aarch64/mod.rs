//! 64-bit ARM, as QEMU's `virt` machine, at EL1.

/// Reads a system register that `aarch64_cpu` does not have.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading has no effect.
        unsafe { core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack)) };
        value
    }};
}

mod boot;
mod context;
mod fpu;
mod interrupt;
pub mod paging;
mod signal_frame;
mod trap;

use core::arch::asm;
use core::ptr;

use aarch64_cpu::asm as cpu;
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTVCT_EL0, Readable};
use seccomp_kernel::Arch;
pub use syscalls::aarch64::Sysno;

pub use self::context::{Context, KernelStack, switch};
pub use self::fpu::Fpu;
pub use self::interrupt::idle;
pub use self::trap::probe_write;
use crate::memory::{Range, virtual_address};

/// The entry that all calls here come through.
pub const ENTRY: Arch = Arch::Aarch64;

/// Where physical address 0 is mapped: the upper half of 39 bits.
pub const PHYS_OFFSET: usize = 0xffff_ff80_0000_0000;

/// `struct sigaction` has a place for what a handler returns to.
pub const HAS_RESTORER: bool = true;

/// The code of a function that does nothing.
pub const RETURN: &[u8] = &0xd65f_03c0_u32.to_le_bytes();

/// What returns from a signal handler, if the program has nothing: `mov x8, 139; svc 0`.
pub const SIGRETURN: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4];

const UART: usize = 0x0900_0000;

const DEVICES: &[Range] = &[Range::of(UART, 0x1000), interrupt::DEVICE];

/// Sets traps, protections and the timer up.
pub fn init() {
    trap::init();
    interrupt::init();
}

/// What is counted to compare costs: cycles, which with QEMU's `-icount` are instructions.
pub fn counter() -> u64 {
    read_register!("pmccntr_el0")
}

/// Time since some moment.
pub fn nanoseconds() -> u64 {
    barrier::isb(barrier::SY);
    (u128::from(CNTVCT_EL0.get()) * 1_000_000_000 / u128::from(CNTFRQ_EL0.get().max(1))) as u64
}

pub fn serial_write(bytes: &[u8]) {
    const FLAGS: usize = 0x18;
    const FULL: u32 = 1 << 5;
    let registers = ptr::with_exposed_provenance_mut::<u8>(virtual_address(UART));
    for byte in bytes {
        // SAFETY: this is the serial port (PL011) of the machine, and reading its flags has no effect.
        while unsafe { registers.wrapping_add(FLAGS).cast::<u32>().read_volatile() } & FULL != 0 {}
        // SAFETY: as above; writing its first register sends a byte.
        unsafe { registers.cast::<u32>().write_volatile((*byte).into()) };
    }
}

/// Switches the machine off.
pub fn power_off() -> ! {
    const SYSTEM_OFF: u64 = 0x8400_0008;
    // SAFETY: the firmware's call to do so; it does not return.
    unsafe { asm!("hvc #0", in("x0") SYSTEM_OFF) };
    loop {
        cpu::wfi();
    }
}

/// New code is there for an instruction fetch: it leaves the data cache, and old code the instruction cache.
pub fn synchronise_code(start: usize, len: usize) {
    // The lengths of their lines, in words, as powers of two.
    let cache_type = read_register!("ctr_el0");
    let data_line = 4 << (cache_type >> 16 & 0xf);
    let code_line = 4 << (cache_type & 0xf);
    for line in (start & !(data_line - 1)..start + len).step_by(data_line) {
        // SAFETY: it writes a line of the cache back, which changes nothing that can be seen.
        unsafe { asm!("dc cvau, {}", in(reg) line) };
    }
    barrier::dsb(barrier::ISH);
    for line in (start & !(code_line - 1)..start + len).step_by(code_line) {
        // SAFETY: it drops a line of the instruction cache.
        unsafe { asm!("ic ivau, {}", in(reg) line) };
    }
    barrier::dsb(barrier::ISH);
    barrier::isb(barrier::SY);
}

/// What calls look like here.
pub mod calls {
    use alloc::sync::Arc;

    use super::{Context, Sysno};
    use crate::syscall::Outcome;
    use crate::thread::Thread;

    /// A call of this machine alone.
    pub fn own(_: &Arc<Thread>, _: &mut Context, _: Sysno, _: [u64; 6]) -> Option<Outcome> {
        None
    }

    /// clone(2)'s arguments behind flags and stack: where the parent and the child get its id, and its
    /// thread-local memory.
    pub fn clone_args(args: [u64; 6]) -> [u64; 3] {
        [args[2], args[4], args[3]]
    }
}
