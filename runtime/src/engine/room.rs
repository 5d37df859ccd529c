//! What rbpf allocates. It cannot be told that there is no memory, so each block of it is
//! [asked for](fallible::probe) beforehand and given back just before.

use cbpf_translator::OutOfMemory;
use cbpf_translator::fallible;

/// The stack of rbpf's interpreter.
const STACK: usize = 512;

/// For a run of rbpf's interpreter.
#[inline]
pub(super) fn for_run() -> Result<(), OutOfMemory> {
    fallible::probe([STACK])
}
