//! Memory for code: written first, executable afterwards, never both at once.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use core::ptr::NonNull;

/// Where the embedder keeps code. Called when filters are loaded and dropped, never when they run.
///
/// What goes there is rbpf's code: it has no ENDBR at its entry, so a kernel with indirect branch tracking cannot
/// call it, and constants of the program stand in it as they are (no constant blinding).
///
/// Where in its pages code begins is the embedder's choice. Should all begin at the same place, the code of many
/// filters competes for the same few places in the caches.
///
/// There is one operation, so that writable and executable at once cannot be asked for: code goes in, sealed
/// pages come out.
///
/// # Safety
///
/// Pages that [`seal`](Self::seal) returns hold exactly `code` from [`ExecPages::start`] on, are readable and
/// executable, and on every CPU an instruction fetch sees them (caches cleaned, stale TLB entries flushed)
/// before `seal` returns. Until the pages are dropped nobody writes them and their address stays.
pub unsafe trait ExecMemory: Sync {
    /// Copies `code` to fresh pages and makes them executable and read-only. May sleep and may do work on
    /// other CPUs; no lock of this project's is held.
    ///
    /// # Errors
    ///
    /// There are no such pages, or no memory for the box, which
    /// [`probe`](cbpf_translator::fallible::probe) finds out. The filter then runs without a JIT.
    fn seal(&self, code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError>;
}

/// Sealed pages; dropping them frees them.
///
/// # Safety
///
/// As [`ExecMemory`] says.
pub unsafe trait ExecPages: Send + Sync {
    /// The address of the first byte of the code.
    fn start(&self) -> NonNull<u8>;
}

/// Why code cannot be made executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecMemoryError {
    /// No pages, or no address space for them.
    OutOfMemory,
    /// The embedder does not make pages executable.
    Forbidden,
}

impl fmt::Display for ExecMemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "no executable memory is left",
            Self::Forbidden => "executable memory is not to be had",
        })
    }
}

impl Error for ExecMemoryError {}

/// No executable memory at all: every filter runs without a JIT.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExecMemory;

// SAFETY: it never returns pages, so it promises nothing about any.
unsafe impl ExecMemory for NoExecMemory {
    fn seal(&self, _code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        Err(ExecMemoryError::Forbidden)
    }
}
