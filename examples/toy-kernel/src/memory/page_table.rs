//! Page tables of any architecture here: tables of 512 entries, whose format is [`paging`]'s.

use core::mem;
use core::ptr;

use super::frame::{Frame, PAGE};
use super::{OutOfMemory, kernel, virtual_address};
use crate::arch::paging::{self, LEVELS, SHARES_KERNEL, USER_ENTRIES};

const ENTRIES: usize = 512;

/// What may be done with a page: written or executed, and nothing is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    /// And read.
    Write,
    /// And read.
    Execute,
    /// Registers of a device.
    Device,
}

/// Whose page it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Kernel,
    User,
}

/// A page as it is to be mapped.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    pub physical: usize,
    pub access: Access,
    pub owner: Owner,
}

/// A page as the processor sees it mapped.
#[derive(Clone, Copy, Debug)]
pub struct Bits {
    /// Somebody can write it.
    pub write: bool,
    pub kernel_execute: bool,
    pub user_execute: bool,
}

/// A page table and the tables below it that are its own.
#[derive(Debug)]
pub struct PageTable {
    root: Frame,
    /// The kernel's has parts that others share: it is not freed.
    owner: Owner,
}

impl PageTable {
    /// One that maps nothing, for the kernel.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self { root: Frame::new()?, owner: Owner::Kernel })
    }

    /// One that maps what the kernel's does, for a process.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn for_user() -> Result<Self, OutOfMemory> {
        let table = Self { root: Frame::new()?, owner: Owner::User };
        if SHARES_KERNEL {
            let kernel = kernel().lock();
            for index in USER_ENTRIES..ENTRIES {
                write(slot(table.root.physical(), index), read(slot(kernel.root.physical(), index)));
            }
        }
        Ok(table)
    }

    /// Maps a page, and makes the tables that lead to it.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn map(&mut self, address: usize, leaf: Leaf) -> Result<(), OutOfMemory> {
        let mut table = self.root.physical();
        for level in (1..LEVELS).rev() {
            let slot = slot(table, index(address, level));
            table = match paging::next(read(slot)) {
                Some(next) => next,
                None => {
                    let frame = Frame::new()?;
                    let next = frame.physical();
                    // The entry owns it from now on: `free` gives it back.
                    mem::forget(frame);
                    write(slot, paging::table(next));
                    next
                }
            };
        }
        write(slot(table, index(address, 0)), paging::leaf(leaf));
        Ok(())
    }

    /// Maps a page whose tables are there otherwise, or not at all. Does nothing where there are none.
    pub fn set(&mut self, address: usize, leaf: Option<Leaf>) {
        let mut table = self.root.physical();
        for level in (1..LEVELS).rev() {
            match paging::next(read(slot(table, index(address, level)))) {
                Some(next) => table = next,
                None => return,
            }
        }
        write(slot(table, index(address, 0)), leaf.map_or(0, paging::leaf));
    }

    /// Calls `f` with each page that it maps, without what it shares.
    pub fn for_each(&self, f: &mut dyn FnMut(Bits)) {
        let entries = if self.owner == Owner::User { USER_ENTRIES } else { ENTRIES };
        walk(self.root.physical(), LEVELS - 1, entries, f);
    }

    /// Makes it the one in use.
    ///
    /// # Safety
    ///
    /// It stays until another is in use.
    pub unsafe fn activate(&self) {
        // SAFETY: each table maps the kernel; the caller promises the rest.
        unsafe { paging::activate(self.root.physical(), self.owner) };
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        if self.owner == Owner::User {
            for index in 0..USER_ENTRIES {
                free(read(slot(self.root.physical(), index)), LEVELS - 1);
            }
        }
    }
}

fn walk(table: usize, level: usize, entries: usize, f: &mut dyn FnMut(Bits)) {
    for index in 0..entries {
        let entry = read(slot(table, index));
        if level > 0 {
            if let Some(next) = paging::next(entry) {
                walk(next, level - 1, ENTRIES, f);
            }
        } else if let Some(bits) = paging::decode(entry) {
            f(bits);
        }
    }
}

/// Gives the table back that `entry`, of this level, leads to, and those below it.
fn free(entry: u64, level: usize) {
    let Some(table) = paging::next(entry).filter(|_| level > 0) else { return };
    if level > 1 {
        (0..ENTRIES).for_each(|index| free(read(slot(table, index)), level - 1));
    }
    // SAFETY: `map` has made this table of a frame that it forgot, and no entry leads there any more.
    drop(unsafe { Frame::from_physical(table) });
}

fn shift(level: usize) -> usize {
    12 + 9 * level
}

fn index(address: usize, level: usize) -> usize {
    address >> shift(level) & (ENTRIES - 1)
}

fn slot(table: usize, index: usize) -> *mut u64 {
    debug_assert!(table.is_multiple_of(PAGE) && index < ENTRIES);
    ptr::with_exposed_provenance_mut::<u64>(virtual_address(table)).wrapping_add(index)
}

fn read(slot: *mut u64) -> u64 {
    // SAFETY: `slot` is an entry of a table that its page table owns and that is mapped as all memory is.
    unsafe { slot.read_volatile() }
}

fn write(slot: *mut u64, entry: u64) {
    // SAFETY: as in `read`; tables are changed under the lock of who owns them.
    unsafe { slot.write_volatile(entry) };
}
