//! Where traps go, and those of the kernel itself.

use riscv::register::sstatus::{self, FS};
use riscv::register::stvec::{self, Stvec, TrapMode};
use riscv::register::{sie, sscratch};

const STORE_PAGE_FAULT: usize = 15;

unsafe extern "C" {
    fn trapped();
    #[link_name = "probe_write"]
    fn probe(address: usize) -> bool;
    fn probe_write_at();
    fn probe_write_fault();
}

/// Whether the kernel can write the byte at `address`, which it can read. Writes what is there.
///
/// # Safety
///
/// The byte is mapped, and nobody else accesses it.
pub unsafe fn probe_write(address: usize) -> bool {
    // SAFETY: the caller promises it; a fault of the write goes on at `probe_write_fault`.
    unsafe { probe(address) }
}

pub(super) fn init() {
    debug_assert_eq!(sscratch::read(), 0);
    // SAFETY: trap.s handles every trap, of user mode and of the kernel.
    unsafe { stvec::write(Stvec::new(trapped as *const () as usize, TrapMode::Direct)) };
    // SAFETY: the kernel does not use the registers that this switches on, but to save and load them.
    unsafe { sstatus::set_fs(FS::Dirty) };
    // SAFETY: the kernel does not touch user pages: it reaches their memory where all memory is mapped.
    unsafe { sstatus::clear_sum() };
    // SAFETY: the timer interrupts user mode, whose traps are handled; the kernel has interrupts off.
    unsafe { sie::set_stimer() };
    crate::println!("kernel: riscv64: no access to user pages, which it cannot execute");
}

/// A trap while the kernel runs: the fault that [`probe_write`] waits for, or a mistake. Where to go on.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(cause: usize, pc: usize, value: usize) -> usize {
    if cause == STORE_PAGE_FAULT && pc == probe_write_at as *const () as usize {
        return probe_write_fault as *const () as usize;
    }
    panic!("exception {cause} in the kernel at {pc:#x}, value {value:#x}");
}
