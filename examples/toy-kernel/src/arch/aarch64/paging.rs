//! Page tables of ARM: 39 bits in each half, three levels, the kernel's in the upper half alone.

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{ReadWriteable, TCR_EL1, TTBR0_EL1, TTBR1_EL1, Writeable};
use core::arch::asm;

use crate::memory::page_table::{Access, Bits, Leaf, Owner};

/// Levels of tables.
pub const LEVELS: usize = 3;

/// Entries of the root that are user memory's: all of them, in a process's table.
pub const USER_ENTRIES: usize = 512;

/// Whether each table has the kernel's part too.
pub const SHARES_KERNEL: bool = false;

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const DEVICE: u64 = 1 << 2;
const USER: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const SHARED: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
const KERNEL_NO_EXECUTE: u64 = 1 << 53;
const USER_NO_EXECUTE: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The entry that maps a page.
pub fn leaf(leaf: Leaf) -> u64 {
    let access = match leaf.access {
        Access::Read | Access::Execute => READ_ONLY | SHARED,
        Access::Write => SHARED,
        Access::Device => DEVICE,
    };
    let execute = match (leaf.access, leaf.owner) {
        (Access::Execute, Owner::Kernel) => USER_NO_EXECUTE,
        (Access::Execute, Owner::User) => KERNEL_NO_EXECUTE,
        _ => USER_NO_EXECUTE | KERNEL_NO_EXECUTE,
    };
    let owner = if leaf.owner == Owner::User { USER | NOT_GLOBAL } else { 0 };
    leaf.physical as u64 | VALID | TABLE_OR_PAGE | ACCESSED | access | execute | owner
}

/// The entry that leads to a table of the next level.
pub fn table(physical: usize) -> u64 {
    physical as u64 | VALID | TABLE_OR_PAGE
}

/// What an entry of the last level says, if it maps a page.
pub fn decode(entry: u64) -> Option<Bits> {
    (entry & VALID != 0).then(|| Bits {
        write: entry & READ_ONLY == 0,
        kernel_execute: entry & KERNEL_NO_EXECUTE == 0,
        user_execute: entry & USER_NO_EXECUTE == 0 && entry & USER != 0,
    })
}

/// The table that an entry of another level leads to.
pub fn next(entry: u64) -> Option<usize> {
    (entry & VALID != 0).then_some((entry & ADDRESS) as usize)
}

/// Makes the table at `root` the one in use; with the kernel's, there is no user memory.
///
/// # Safety
///
/// It maps the kernel as it runs, if it is the kernel's, and stays until another is in use.
pub unsafe fn activate(root: usize, owner: Owner) {
    match owner {
        Owner::Kernel => {
            TCR_EL1.modify(TCR_EL1::EPD0::DisableTTBR0Walks);
            TTBR1_EL1.set(root as u64);
        }
        Owner::User => {
            TTBR0_EL1.set(root as u64);
            TCR_EL1.modify(TCR_EL1::EPD0::EnableTTBR0Walks);
        }
    }
    barrier::isb(barrier::SY);
    // SAFETY: it drops what the processor remembers of page tables.
    unsafe { asm!("tlbi vmalle1", options(nostack)) };
    barrier::dsb(barrier::NSH);
    barrier::isb(barrier::SY);
}

/// The page at `address` has another entry.
pub fn flush(address: usize) {
    barrier::dsb(barrier::ISHST);
    // SAFETY: it drops what the processors remember of one page.
    unsafe { asm!("tlbi vaae1is, {}", in(reg) address as u64 >> 12 & ((1 << 44) - 1), options(nostack)) };
    barrier::dsb(barrier::ISH);
    barrier::isb(barrier::SY);
}
