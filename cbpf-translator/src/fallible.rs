//! Memory that may be refused.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;

use crate::error::OutOfMemory;

/// An empty vector with room for exactly `len` items.
///
/// # Errors
///
/// There is no memory.
pub fn with_capacity<T>(len: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| OutOfMemory)?;
    Ok(vec)
}

/// `len` times `value`.
///
/// # Errors
///
/// There is no memory.
pub fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>, OutOfMemory> {
    let mut vec = with_capacity(len)?;
    vec.resize(len, value);
    Ok(vec)
}

/// All items of `from`.
///
/// # Errors
///
/// There is no memory.
pub fn collected<T>(from: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>, OutOfMemory> {
    let mut vec = with_capacity(from.len())?;
    vec.extend(from);
    Ok(vec)
}

/// Asks for blocks of so many bytes, holds them all at once, and gives them back: for what the caller is about to do
/// that allocates as much and cannot be told that there is no memory.
///
/// What is left is the time between the two. If another CPU or an interrupt takes that memory then, the allocation
/// that follows fails after all, and so Rust's allocation error handler runs, which in a kernel is a panic. An
/// allocator that keeps what a CPU has just freed for that CPU, with preemption off, has no such time.
///
/// # Errors
///
/// There is no memory.
pub fn probe<const BLOCKS: usize>(bytes: [usize; BLOCKS]) -> Result<(), OutOfMemory> {
    /// What no allocation that is stood in for is aligned to more than.
    type Unit = u128;
    let mut held = [const { Vec::<Unit>::new() }; BLOCKS];
    for (block, bytes) in held.iter_mut().zip(bytes) {
        block.try_reserve_exact(bytes.div_ceil(size_of::<Unit>())).map_err(|_| OutOfMemory)?;
    }
    // A compiler may leave out an allocation that nothing looks at, and take it for one that succeeded.
    black_box(&held);
    Ok(())
}

/// What an [`Arc`] of a `T` allocates, in bytes.
pub const fn shared_len<T>() -> usize {
    /// As the standard library has it.
    #[repr(C)]
    struct Counted<T> {
        counts: [usize; 2],
        value: T,
    }
    size_of::<Counted<T>>()
}

/// An [`Arc`] of `value`, [probed](probe) for: stable Rust has none whose memory may be refused.
///
/// # Errors
///
/// There is no memory.
pub fn shared<T>(value: T) -> Result<Arc<T>, OutOfMemory> {
    probe([shared_len::<T>()])?;
    Ok(Arc::new(value))
}
