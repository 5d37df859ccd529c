//! A page of memory.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::{self, NonNull};

use super::{OutOfMemory, physical_address, virtual_address};

/// Bytes of a page.
pub const PAGE: usize = 4096;

const LAYOUT: Layout = match Layout::from_size_align(PAGE, PAGE) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// Its owner. User mode, or the processor's walk through page tables, may use it too, so it is read and written by
/// address and never borrowed.
#[derive(Debug)]
pub struct Frame(NonNull<u8>);

// SAFETY: it owns its memory.
unsafe impl Send for Frame {}

impl Frame {
    /// A page of zeros.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn new() -> Result<Self, OutOfMemory> {
        // SAFETY: the layout has a size.
        let page = unsafe { alloc_zeroed(LAYOUT) };
        NonNull::new(page).map(Self).ok_or(OutOfMemory)
    }

    /// The frame at this address, to own it again.
    ///
    /// # Safety
    ///
    /// It is one that was forgotten, and nobody else owns it.
    pub(super) unsafe fn from_physical(physical: usize) -> Self {
        let page = ptr::with_exposed_provenance_mut(virtual_address(physical));
        Self(NonNull::new(page).expect("no frame is at address 0"))
    }

    /// Where it is.
    pub fn physical(&self) -> usize {
        physical_address(self.0.as_ptr().expose_provenance())
    }

    /// Copies from `offset` on.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= PAGE, "a read in one page");
        // SAFETY: it is in the page, which `self` owns; `into` is no part of it, for a page is never borrowed.
        unsafe { self.0.add(offset).copy_to_nonoverlapping(NonNull::from(&mut *into).cast(), into.len()) };
    }

    /// Copies to `offset` and on.
    pub fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= PAGE, "a write in one page");
        // SAFETY: as in `read`. Programs that see it change have to expect that.
        unsafe { self.0.add(offset).copy_from_nonoverlapping(NonNull::from(from).cast(), from.len()) };
    }

    /// Another page with the same bytes.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn copy(&self) -> Result<Self, OutOfMemory> {
        let copy = Self::new()?;
        // SAFETY: two pages, each its owner's.
        unsafe { copy.0.copy_from_nonoverlapping(self.0, PAGE) };
        Ok(copy)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: it was allocated so, and nobody has it any more.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}
