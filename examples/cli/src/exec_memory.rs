//! Executable memory of a process: anonymous pages, written, then made executable and read-only.

#![allow(unsafe_code, reason = "the promise of `ExecMemory`; there is no unsafe block")]

use std::ptr::NonNull;

use memmap2::{Mmap, MmapMut};
use seccomp_runtime::{ExecMemory, ExecMemoryError, ExecPages};

/// Pages from mmap(2) and mprotect(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct HostExecMemory;

struct Pages(Mmap);

// SAFETY: the pages are a private anonymous mapping of this code's own. `copy_from_slice` fills them from the
// first byte, and `make_exec` (mprotect to read and execute) consumes the writable mapping, so nobody can
// write them afterwards; it fails rather than leave them writable. mprotect orders the writes before any
// fetch on x86_64, the one architecture with a JIT. The mapping stays where it is until `Pages` is dropped.
unsafe impl ExecMemory for HostExecMemory {
    fn seal(&self, code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        let mut pages = MmapMut::map_anon(code.len()).map_err(|_| ExecMemoryError::OutOfMemory)?;
        pages.copy_from_slice(code);
        let pages = pages.make_exec().map_err(|_| ExecMemoryError::Forbidden)?;
        Ok(Box::new(Pages(pages)))
    }
}

// SAFETY: as above; `Mmap` keeps its address when moved.
unsafe impl ExecPages for Pages {
    fn start(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }
}
