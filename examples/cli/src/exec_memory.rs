//! Executable memory of a process: anonymous pages, written, then made executable and read-only.

#![allow(unsafe_code, reason = "the promises of these traits; there is no unsafe block")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{Mmap, MmapMut};
#[cfg(target_arch = "x86_64")]
use seccomp_runtime::ExecInPlace;
use seccomp_runtime::{ExecMemory, ExecMemoryError, ExecPages};

/// Pages from mmap(2) and mprotect(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct HostExecMemory;

/// A page, and a line of the caches, of the architecture with a JIT.
const PAGE: usize = 4096;
const LINE: usize = 64;

struct Pages {
    pages: Mmap,
    /// Where the code begins.
    start: usize,
}

// SAFETY: the pages are a private anonymous mapping of this code's own. `copy_from_slice` puts the code where
// `Pages::start` says, and `make_exec` (mprotect to read and execute) consumes the writable mapping, so nobody can
// write them afterwards; it fails rather than leave them writable. mprotect orders the writes before any
// fetch on x86_64, the one architecture with a JIT. The mapping stays where it is until `Pages` is dropped.
unsafe impl ExecMemory for HostExecMemory {
    fn seal(&self, code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        /// Lines at the same place of their pages compete for the same few places in the caches, so code begins
        /// a line further each time, as far as its last page has room.
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let len = code.len().next_multiple_of(PAGE);
        let starts = (len - code.len()) / LINE + 1;
        let start = TURN.fetch_add(1, Ordering::Relaxed) % starts * LINE;

        let mut pages = MmapMut::map_anon(len).map_err(|_| ExecMemoryError::OutOfMemory)?;
        pages[start..start + code.len()].copy_from_slice(code);
        let pages = pages.make_exec().map_err(|_| ExecMemoryError::Forbidden)?;
        Ok(Box::new(Pages { pages, start }))
    }
}

// SAFETY: as above, with `write` instead of `copy_from_slice`; mmap(2) gives whole pages, and `make_exec` leaves
// them where they are.
#[cfg(target_arch = "x86_64")]
unsafe impl ExecInPlace for HostExecMemory {
    fn seal_in_place(
        &self,
        len: usize,
        write: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        let mut pages = MmapMut::map_anon(len).map_err(|_| ExecMemoryError::OutOfMemory)?;
        write(&mut pages);
        let pages = pages.make_exec().map_err(|_| ExecMemoryError::Forbidden)?;
        Ok(Box::new(Pages { pages, start: 0 }))
    }
}

// SAFETY: as above; `Mmap` keeps its address when moved.
unsafe impl ExecPages for Pages {
    fn start(&self) -> NonNull<u8> {
        NonNull::from(&self.pages[self.start..]).cast()
    }
}
