//! Page tables of x86-64: four levels, NX.

use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

use crate::memory::page_table::{Access, Bits, Leaf, Owner};

/// Levels of tables.
pub const LEVELS: usize = 4;

/// Entries of the root that are user memory's. The others are the kernel's, in every table.
pub const USER_ENTRIES: usize = 256;

/// Whether each table has the kernel's part too.
pub const SHARES_KERNEL: bool = true;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const UNCACHED: u64 = 1 << 4;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The entry that maps a page.
pub fn leaf(leaf: Leaf) -> u64 {
    let access = match leaf.access {
        Access::Read => NO_EXECUTE,
        Access::Write => WRITABLE | NO_EXECUTE,
        Access::Device => WRITABLE | NO_EXECUTE | UNCACHED,
        Access::Execute => 0,
    };
    let owner = if leaf.owner == Owner::User { USER } else { 0 };
    leaf.physical as u64 | PRESENT | access | owner
}

/// The entry that leads to a table of the next level.
pub fn table(physical: usize) -> u64 {
    physical as u64 | PRESENT | WRITABLE | USER
}

/// What an entry of the last level says, if it maps a page.
pub fn decode(entry: u64) -> Option<Bits> {
    (entry & PRESENT != 0).then(|| {
        let (user, execute) = (entry & USER != 0, entry & NO_EXECUTE == 0);
        Bits {
            write: entry & WRITABLE != 0,
            // With SMEP the kernel does not execute user pages.
            kernel_execute: execute && !user,
            user_execute: execute && user,
        }
    })
}

/// The table that an entry of another level leads to.
pub fn next(entry: u64) -> Option<usize> {
    (entry & PRESENT != 0).then_some((entry & ADDRESS) as usize)
}

/// Makes the table at `root` the one in use.
///
/// # Safety
///
/// It maps the kernel as it runs, and stays until another is in use.
pub unsafe fn activate(root: usize, _: Owner) {
    let frame = PhysFrame::containing_address(x86_64::PhysAddr::new(root as u64));
    // SAFETY: the caller promises it.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

/// The page at `address` has another entry.
pub fn flush(address: usize) {
    tlb::flush(VirtAddr::new_truncate(address as u64));
}
