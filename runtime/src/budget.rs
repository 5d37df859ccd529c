//! How much one decision of an extension may take.

use crate::verifier::MAX_VISITED;

/// What one run of an extension may take at most. A run that needs more ends the process that made the call, as every
/// failure does; the kernel's log says why.
///
/// That a verified program ends does not say when: a helper may be told to copy megabytes, and be called a hundred
/// thousand times. The budget bounds both, on every engine. Each extension of a thread has its own: a stack of them may take
/// the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Instructions of the program. The verifier has counted how many a run can come to; a program that may need more
    /// than this is run by the native engine, which counts them.
    pub instructions: usize,
    /// Bytes that helpers read, write and clear for the program, and [`CALL_BYTES`](Self::CALL_BYTES) for each call of a
    /// helper. A look-up in an array is instructions, and takes none.
    pub bytes: u64,
}

impl Budget {
    /// What each call of a helper counts as, whatever it does.
    pub const CALL_BYTES: u64 = 64;

    /// As many instructions as any verified program runs, and a mebibyte: 256 paths of 4 KiB, or 16,384 calls of helpers.
    pub const DEFAULT: Self = Self { instructions: MAX_VISITED, bytes: 1 << 20 };
}

impl Default for Budget {
    fn default() -> Self {
        Self::DEFAULT
    }
}
