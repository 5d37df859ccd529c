//! What a process sees as memory. Pages are there from the moment they are mapped, and copied when it forks: no page
//! fault is anything but a mistake of the program's.
//!
//! The kernel reaches user memory page by page where all memory is mapped, with the program's own rights. So it
//! never faults, and never touches an address that a program gave it.

use alloc::collections::BTreeMap;

use seccomp_kernel::Fault;
use spin::Mutex;

use super::frame::{Frame, PAGE};
use super::page_table::{Access, Leaf, Owner, PageTable};
use super::{OutOfMemory, Walk, kernel};
use crate::arch::{SIGRETURN, paging};

/// Where user memory ends, on every machine here.
pub const END: usize = 1 << 38;

/// Where the stack of a program ends.
pub const STACK_END: usize = END - 16 * PAGE;

/// The page with the code that returns from signal handlers, where programs have none.
pub const SIGRETURN_AT: usize = END - 2 * PAGE;

/// Where mappings without an address go, downwards.
const MAPPINGS_END: usize = STACK_END - 1024 * PAGE;

/// The most pages that a process may have: everything a program can grow has a bound.
const MAX_PAGES: usize = 4096;

#[derive(Debug)]
pub struct AddressSpace(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    table: PageTable,
    pages: BTreeMap<usize, Page>,
    /// Where the heap began, and where it ends.
    heap: (usize, usize),
}

#[derive(Debug)]
struct Page {
    frame: Frame,
    /// `None`: not even reading.
    access: Option<Access>,
}

impl AddressSpace {
    /// One with nothing but what the kernel puts there.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new() -> Result<Self, OutOfMemory> {
        let inner = Inner { table: PageTable::for_user()?, pages: BTreeMap::new(), heap: (0, 0) };
        let space = Self(Mutex::new(inner));
        space.map(SIGRETURN_AT, PAGE, Some(Access::Execute))?;
        space.initialise(SIGRETURN_AT, SIGRETURN).map_err(|Fault| OutOfMemory)?;
        Ok(space)
    }

    /// A copy, for a fork.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn copy(&self) -> Result<Self, OutOfMemory> {
        let from = self.0.lock();
        let mut to = Inner { table: PageTable::for_user()?, pages: BTreeMap::new(), heap: from.heap };
        for (address, page) in &from.pages {
            to.put(*address, page.frame.copy()?, page.access)?;
        }
        Ok(Self(Mutex::new(to)))
    }

    /// Maps pages of zeros, in place of what is there.
    ///
    /// # Errors
    ///
    /// There is no memory, or the process has as much as it may have; some pages may be mapped.
    pub fn map(&self, address: usize, len: usize, access: Option<Access>) -> Result<(), OutOfMemory> {
        let mut inner = self.0.lock();
        let end = address.checked_add(len).filter(|end| *end <= END).ok_or(OutOfMemory)?;
        for page in (address..end).step_by(PAGE) {
            if inner.pages.len() >= MAX_PAGES {
                return Err(OutOfMemory);
            }
            inner.put(page, Frame::new()?, access)?;
        }
        Ok(())
    }

    /// As [`map`](Self::map), wherever there is room. Where that is.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    pub fn map_anywhere(&self, len: usize, access: Option<Access>) -> Result<usize, OutOfMemory> {
        if len > MAX_PAGES * PAGE {
            return Err(OutOfMemory);
        }
        let address = self.0.lock().gap(len);
        self.map(address, len, access)?;
        Ok(address)
    }

    pub fn unmap(&self, address: usize, len: usize) {
        let mut inner = self.0.lock();
        let end = address.saturating_add(len).min(END);
        while let Some((&page, _)) = inner.pages.range(address..end.max(address)).next() {
            inner.pages.remove(&page);
            inner.table.set(page, None);
            paging::flush(page);
        }
    }

    /// Changes what may be done with pages.
    ///
    /// # Errors
    ///
    /// Not all of them are mapped; those before the first that is not have changed.
    pub fn protect(&self, address: usize, len: usize, access: Option<Access>) -> Result<(), OutOfMemory> {
        let mut inner = self.0.lock();
        let Inner { table, pages, .. } = &mut *inner;
        let end = address.checked_add(len).filter(|end| *end <= END).ok_or(OutOfMemory)?;
        for at in (address..end).step_by(PAGE) {
            let page = pages.get_mut(&at).ok_or(OutOfMemory)?;
            page.access = access;
            table.set(at, page.leaf());
            paging::flush(at);
        }
        Ok(())
    }

    /// Where the heap is to begin.
    pub fn set_heap(&self, start: usize) {
        self.0.lock().heap = (start, start);
    }

    /// brk(2): moves the end of the heap, if it can be. Where it is then.
    pub fn brk(&self, end: usize) -> usize {
        let (start, old) = self.0.lock().heap;
        let (from, to) = (old.next_multiple_of(PAGE), end.next_multiple_of(PAGE));
        if end < start || end > MAPPINGS_END / 2 {
            return old;
        }
        if to > from && self.map(from, to - from, Some(Access::Write)).is_err() {
            self.unmap(from, to - from);
            return old;
        }
        if to < from {
            self.unmap(to, from - to);
        }
        self.0.lock().heap.1 = end;
        end
    }

    /// Copies from the program's memory, as far as it may read itself.
    ///
    /// # Errors
    ///
    /// Not all of it can be read.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.0.lock().pieces(address, into.len(), Access::Read, |frame, offset, piece| {
            frame.read(offset, &mut into[piece]);
        })
    }

    /// Copies to the program's memory, as far as it may write itself.
    ///
    /// # Errors
    ///
    /// Not all of it can be written.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.0.lock().pieces(address, from.len(), Access::Write, |frame, offset, piece| {
            frame.write(offset, &from[piece]);
        })
    }

    /// Copies to pages whatever the program may do with them.
    ///
    /// # Errors
    ///
    /// Not all of them are mapped.
    pub fn initialise(&self, address: usize, from: &[u8]) -> Result<(), Fault> {
        self.0.lock().pieces(address as u64, from.len(), Access::Execute, |frame, offset, piece| {
            frame.write(offset, &from[piece]);
        })
    }

    /// Makes it what user mode sees.
    ///
    /// # Safety
    ///
    /// It stays until another is, or [`leave`](Self::leave) is called.
    pub unsafe fn enter(&self) {
        // SAFETY: the caller promises it.
        unsafe { self.0.lock().table.activate() };
    }

    /// What a walk through its page table finds.
    pub fn walk(&self) -> Walk {
        Walk::through(&self.0.lock().table)
    }

    /// User mode sees nothing.
    pub fn leave() {
        // SAFETY: the kernel's table stays.
        unsafe { kernel().lock().activate() };
    }
}

impl Inner {
    fn put(&mut self, address: usize, frame: Frame, access: Option<Access>) -> Result<(), OutOfMemory> {
        let page = Page { frame, access };
        match page.leaf() {
            Some(leaf) => self.table.map(address, leaf)?,
            None => self.table.set(address, None),
        }
        paging::flush(address);
        self.pages.insert(address, page);
        Ok(())
    }

    /// The highest free addresses for `len` bytes.
    fn gap(&self, len: usize) -> usize {
        let mut end = MAPPINGS_END;
        for (&page, _) in self.pages.range(..MAPPINGS_END).rev() {
            if end - (page + PAGE) >= len {
                break;
            }
            end = page;
        }
        end.saturating_sub(len) & !(PAGE - 1)
    }

    /// Calls `f` with each page of a range: its frame, the offset in it, and which part of the range it is. Asked
    /// for [`Access::Execute`], any access will do.
    fn pieces(
        &self,
        address: u64,
        len: usize,
        asked: Access,
        mut f: impl FnMut(&Frame, usize, core::ops::Range<usize>),
    ) -> Result<(), Fault> {
        let address = usize::try_from(address).map_err(|_| Fault)?;
        address.checked_add(len).filter(|end| *end <= END).ok_or(Fault)?;
        let mut done = 0;
        while done < len {
            let at = address + done;
            let offset = at % PAGE;
            let piece = (PAGE - offset).min(len - done);
            let page = self.pages.get(&(at - offset)).ok_or(Fault)?;
            match (asked, page.access) {
                (Access::Execute, _) | (Access::Read, Some(_)) | (Access::Write, Some(Access::Write)) => {}
                _ => return Err(Fault),
            }
            f(&page.frame, offset, done..done + piece);
            done += piece;
        }
        Ok(())
    }
}

impl Page {
    fn leaf(&self) -> Option<Leaf> {
        let physical = self.frame.physical();
        self.access.map(|access| Leaf { physical, access, owner: Owner::User })
    }
}
