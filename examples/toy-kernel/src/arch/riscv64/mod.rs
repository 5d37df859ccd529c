//! 64-bit RISC-V, as QEMU's `virt` machine, in supervisor mode above OpenSBI.

mod boot;
mod context;
mod fpu;
pub mod paging;
mod signal_frame;
mod trap;

use core::ptr::{self, NonNull};

use riscv::register::{instret, time};
use sbi_rt::{NoReason, Shutdown};
use seccomp_kernel::Arch;
use spin::Mutex;
pub use syscalls::riscv64::Sysno;
use uart_16550::backend::MmioBackend;
use uart_16550::{Config, Uart16550};

pub use self::context::{Context, KernelStack, switch};
pub use self::fpu::Fpu;
pub use self::trap::probe_write;
use crate::memory::{Range, virtual_address};

/// The entry that all calls here come through.
pub const ENTRY: Arch = Arch::Riscv64;

/// Where physical address 0 is mapped: the upper half of Sv39.
pub const PHYS_OFFSET: usize = 0xffff_ffc0_0000_0000;

/// `struct sigaction` has no place for what a handler returns to.
pub const HAS_RESTORER: bool = false;

/// The code of a function that does nothing.
pub const RETURN: &[u8] = &0x0000_8067_u32.to_le_bytes();

/// What returns from a signal handler: `li a7, 139; ecall`.
pub const SIGRETURN: &[u8] = &[0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0];

/// Steps of the timer in a second, on this machine.
const TIMER_HZ: u64 = 10_000_000;

const UART: usize = 0x1000_0000;

const DEVICES: &[Range] = &[Range::of(UART, 0x1000)];

/// Sets traps and the timer up.
pub fn init() {
    trap::init();
    next_tick();
}

fn next_tick() {
    sbi_rt::set_timer(time::read64() + TIMER_HZ / 100);
}

/// What is counted to compare costs: instructions.
pub fn counter() -> u64 {
    instret::read64()
}

/// Time since some moment.
pub fn nanoseconds() -> u64 {
    time::read64() * (1_000_000_000 / TIMER_HZ)
}

/// Sleeps until the next interrupt.
pub fn idle() {
    riscv::asm::wfi();
    next_tick();
}

pub fn serial_write(bytes: &[u8]) {
    static SERIAL: Mutex<Option<Uart16550<MmioBackend>>> = Mutex::new(None);
    let mut serial = SERIAL.lock();
    let serial = serial.get_or_insert_with(|| {
        let registers = ptr::with_exposed_provenance_mut(virtual_address(UART));
        let registers = NonNull::new(registers).expect("no device is at address 0");
        // SAFETY: this is the serial port of the machine, its registers a byte apart, and nothing else touches it.
        let mut serial = unsafe { Uart16550::new_mmio(registers, 1) }.expect("an address");
        serial.init(Config::default()).expect("a serial port");
        serial
    });
    serial.send_bytes_exact(bytes);
}

/// Switches the machine off.
pub fn power_off() -> ! {
    let _ = sbi_rt::system_reset(Shutdown, NoReason);
    loop {
        riscv::asm::wfi();
    }
}

/// New code is there for an instruction fetch.
pub fn synchronise_code(_: usize, _: usize) {
    riscv::asm::fence_i();
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
