//! Where traps go, protections, and traps of the kernel itself.

use core::arch::asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CPACR_EL1, ID_AA64MMFR1_EL1, ReadWriteable, Readable, SCTLR_EL1, VBAR_EL1, Writeable,
};

/// `SCTLR_EL1.SPAN`: traps leave PAN as it is.
const KEEPS_PAN: u64 = 1 << 23;

const DATA_ABORT: u64 = 0x25;

unsafe extern "C" {
    static vectors: u8;
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
    VBAR_EL1.set((&raw const vectors).addr() as u64);
    // The kernel itself uses vector registers only to save and load them.
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapNothing);
    // Nothing that can be written is executed, whatever its entry says.
    SCTLR_EL1.modify(SCTLR_EL1::WXN::Enable);
    barrier::isb(barrier::SY);
    let pan = ID_AA64MMFR1_EL1.read(ID_AA64MMFR1_EL1::PAN) != 0;
    if pan {
        // No access to user pages: their memory is reached where all memory is mapped. It stays so on each trap.
        SCTLR_EL1.set(SCTLR_EL1.get() & !KEEPS_PAN);
        // SAFETY: the processor has it.
        unsafe { asm!(".arch_extension pan", "msr pan, #1", options(nomem, nostack)) };
    }
    // The cycle counter counts, in the kernel and outside.
    // SAFETY: nothing else uses the counters.
    unsafe {
        asm!(
            "msr pmccfiltr_el0, xzr",
            "msr pmcntenset_el0, {cycles}",
            "msr pmcr_el0, {enable}",
            cycles = in(reg) 1_u64 << 31,
            enable = in(reg) 1_u64,
            options(nomem, nostack)
        )
    };
    crate::println!("kernel: aarch64: WXN{}", if pan { ", PAN" } else { "" });
}

/// A trap while the kernel runs: the fault that [`probe_write`] waits for, or a mistake. Where to go on.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(syndrome: u64, pc: usize, address: usize) -> usize {
    let is_write = syndrome & 1 << 6 != 0;
    if syndrome >> 26 == DATA_ABORT && is_write && pc == probe_write_at as *const () as usize {
        return probe_write_fault as *const () as usize;
    }
    panic!("exception in the kernel at {pc:#x}, syndrome {syndrome:#x}, address {address:#x}");
}
