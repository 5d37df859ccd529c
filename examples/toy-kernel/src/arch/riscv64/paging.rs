//! Page tables of RISC-V: Sv39, three levels.

use riscv::asm;
use riscv::register::satp;

use crate::memory::page_table::{Access, Bits, Leaf, Owner};

/// Levels of tables.
pub const LEVELS: usize = 3;

/// Entries of the root that are user memory's. The others are the kernel's, in every table.
pub const USER_ENTRIES: usize = 256;

/// Whether each table has the kernel's part too.
pub const SHARES_KERNEL: bool = true;

const VALID: u64 = 1 << 0;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const USER: u64 = 1 << 4;
const ACCESSED_DIRTY: u64 = 3 << 6;

/// The entry that maps a page.
pub fn leaf(leaf: Leaf) -> u64 {
    let access = match leaf.access {
        Access::Read => READ,
        Access::Write | Access::Device => READ | WRITE,
        Access::Execute => READ | EXECUTE,
    };
    let owner = if leaf.owner == Owner::User { USER } else { 0 };
    (leaf.physical as u64 >> 12) << 10 | VALID | ACCESSED_DIRTY | access | owner
}

/// The entry that leads to a table of the next level.
pub fn table(physical: usize) -> u64 {
    (physical as u64 >> 12) << 10 | VALID
}

/// What an entry of the last level says, if it maps a page.
pub fn decode(entry: u64) -> Option<Bits> {
    (entry & VALID != 0).then(|| {
        // The kernel never executes user pages.
        let (user, execute) = (entry & USER != 0, entry & EXECUTE != 0);
        Bits { write: entry & WRITE != 0, kernel_execute: execute && !user, user_execute: execute && user }
    })
}

/// The table that an entry of another level leads to.
pub fn next(entry: u64) -> Option<usize> {
    (entry & VALID != 0).then_some(((entry >> 10) << 12) as usize)
}

/// Makes the table at `root` the one in use.
///
/// # Safety
///
/// It maps the kernel as it runs, and stays until another is in use.
pub unsafe fn activate(root: usize, _: Owner) {
    // SAFETY: the caller promises it.
    unsafe { satp::set(satp::Mode::Sv39, 0, root >> 12) };
    asm::sfence_vma_all();
}

/// The page at `address` has another entry.
pub fn flush(address: usize) {
    asm::sfence_vma(0, address);
}
