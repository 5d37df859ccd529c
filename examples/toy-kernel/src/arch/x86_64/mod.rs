//! x86-64, as QEMU's `pc` machine.

mod boot;
mod context;
mod fpu;
pub mod paging;
mod signal_frame;
mod trap;

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use seccomp_kernel::Arch;
use spin::Mutex;
pub use syscalls::x86_64::Sysno;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

pub use self::context::{Context, KernelStack, switch};
pub use self::fpu::Fpu;
pub use self::trap::probe_write;

/// The entry that all calls here come through. `int 0x80` is none: it faults.
pub const ENTRY: Arch = Arch::X86_64;

/// Where physical address 0 is mapped: kernel code has to be in the last 2 GiB.
pub const PHYS_OFFSET: usize = 0xffff_ffff_8000_0000;

/// `struct sigaction` has a place for what a handler returns to.
pub const HAS_RESTORER: bool = true;

/// The code of a function that does nothing.
pub const RETURN: &[u8] = &[0xc3];

/// What returns from a signal handler: on x86-64 always the program's own code.
pub const SIGRETURN: &[u8] = &[];

const TIMER_HZ: u32 = 100;
const PIT_HZ: u32 = 1_193_182;

/// Counter steps in a second.
static COUNTER_HZ: AtomicU64 = AtomicU64::new(0);

/// Sets traps, protections and the timer up.
pub fn init() {
    trap::init();
    init_pic();
    COUNTER_HZ.store(calibrate(), Ordering::Relaxed);
    // Channel 0, square wave.
    let divisor = (PIT_HZ / TIMER_HZ).to_le_bytes();
    out(0x43, 0x36);
    out(0x40, divisor[0]);
    out(0x40, divisor[1]);
}

/// Both interrupt controllers, at vector 32 and on; only the timer is let through.
fn init_pic() {
    for (port, value) in
        [(0x20, 0x11), (0xa0, 0x11), (0x21, 32), (0xa1, 40), (0x21, 4), (0xa1, 2), (0x21, 1), (0xa1, 1)]
    {
        out(port, value);
    }
    out(0x21, 0xfe);
    out(0xa1, 0xff);
}

/// How fast the time stamp counter is, against 10 ms of the timer chip's channel 2.
fn calibrate() -> u64 {
    let ticks = (PIT_HZ / 100).to_le_bytes();
    out(0x61, 1);
    out(0x43, 0xb0);
    out(0x42, ticks[0]);
    out(0x42, ticks[1]);
    let start = counter();
    while input(0x61) & 0x20 == 0 {}
    (counter() - start) * 100
}

fn end_of_interrupt() {
    out(0x20, 0x20);
}

/// What is counted to compare costs: instructions with QEMU's `-icount`, otherwise cycles.
pub fn counter() -> u64 {
    // SAFETY: it reads a counter.
    unsafe { _rdtsc() }
}

/// Time since some moment.
pub fn nanoseconds() -> u64 {
    let hz = COUNTER_HZ.load(Ordering::Relaxed).max(1);
    (u128::from(counter()) * 1_000_000_000 / u128::from(hz)) as u64
}

/// Sleeps until the next interrupt, and lets it in.
pub fn idle() {
    interrupts::enable_and_hlt();
    interrupts::disable();
}

pub fn serial_write(bytes: &[u8]) {
    static UART: Mutex<Option<Uart16550<PioBackend>>> = Mutex::new(None);
    let mut uart = UART.lock();
    let uart = uart.get_or_insert_with(|| {
        // SAFETY: this is the first serial port of a PC, and nothing else touches it.
        let mut uart = unsafe { Uart16550::new_port(0x3f8) }.expect("a port");
        uart.init(Config::default()).expect("a serial port");
        uart
    });
    uart.send_bytes_exact(bytes);
}

/// Switches the machine off.
pub fn power_off() -> ! {
    // The power management of QEMU's machines: soft off.
    // SAFETY: nothing runs after it that could miss it.
    unsafe { Port::<u16>::new(0x604).write(0x2000) };
    loop {
        x86_64::instructions::hlt();
    }
}

/// New code is there for an instruction fetch: on x86 it always is.
pub fn synchronise_code(_: usize, _: usize) {}

fn out(port: u16, value: u8) {
    // SAFETY: the ports of the timer and the interrupt controllers, which only this module uses.
    unsafe { Port::new(port).write(value) };
}

fn input(port: u16) -> u8 {
    // SAFETY: as `out`.
    unsafe { Port::new(port).read() }
}

/// A program's own way to say where its thread-local memory is, and calls that other machines do not have.
pub mod calls {
    use alloc::sync::Arc;

    use syscalls::Errno;

    use super::{Context, Sysno};
    use crate::syscall::{Outcome, clone, poll};
    use crate::thread::Thread;

    const SIGCHLD: u64 = 17;
    const ARCH_SET_FS: u64 = 0x1002;

    /// A call of this machine alone.
    pub fn own(thread: &Arc<Thread>, context: &mut Context, nr: Sysno, args: [u64; 6]) -> Option<Outcome> {
        Some(match nr {
            Sysno::fork => clone(thread, context, SIGCHLD, 0, [0; 3]),
            Sysno::poll => {
                poll(thread, args[0], args[1], (args[2] as i32 >= 0).then_some(args[2] * 1_000_000))
            }
            Sysno::arch_prctl if args[0] == ARCH_SET_FS => {
                context.set_tls(args[1]);
                Ok(0).into()
            }
            Sysno::arch_prctl => Err(Errno::EINVAL).into(),
            _ => return None,
        })
    }

    /// clone(2)'s arguments behind flags and stack: where the parent and the child get its id, and its
    /// thread-local memory.
    pub fn clone_args(args: [u64; 6]) -> [u64; 3] {
        [args[2], args[3], args[4]]
    }
}
