//! Stacks of the kernel, one for each thread.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::frame::PAGE;
use super::page_table::Access;
use super::{OutOfMemory, protect};
use crate::arch::KernelStack;

/// Bytes of a stack, and of the page below it that nothing can access.
const SIZE: usize = 32 * PAGE;

const LAYOUT: Layout = match Layout::from_size_align(SIZE, PAGE) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// The most bytes of a stack that have been used.
static DEEPEST: AtomicUsize = AtomicUsize::new(0);

/// A kernel stack.
pub struct Stack(NonNull<u8>);

// SAFETY: it owns its memory.
unsafe impl Send for Stack {}
// SAFETY: nobody reaches the memory through it but the thread whose stack it is.
unsafe impl Sync for Stack {}

impl Stack {
    /// One that begins with `entry`, and the place to switch to.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(entry: extern "C" fn() -> !) -> Result<(Self, usize), OutOfMemory> {
        // SAFETY: the layout has a size.
        let stack = unsafe { alloc_zeroed(LAYOUT) };
        let stack = NonNull::new(stack).map(Self).ok_or(OutOfMemory)?;
        protect(stack.address(), PAGE, None);
        let end = stack.0.as_ptr().wrapping_add(SIZE).cast();
        // SAFETY: the stack is new, and whole pages.
        let place = unsafe { KernelStack::prepare(end, entry) };
        Ok((stack, place))
    }

    fn address(&self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// The bytes that have been used: what is above the zeros that it began with.
    fn depth(&self) -> usize {
        let words = self.0.as_ptr().wrapping_add(PAGE).cast::<usize>();
        let count = (SIZE - PAGE) / size_of::<usize>();
        // SAFETY: the memory is this stack's own and accessible, and its thread has ended.
        let words = unsafe { slice::from_raw_parts(words, count) };
        words.iter().position(|word| *word != 0).map_or(0, |zeros| (count - zeros) * size_of::<usize>())
    }

    /// The most bytes of any stack so far.
    pub fn deepest() -> usize {
        DEEPEST.load(Ordering::Relaxed)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        DEEPEST.fetch_max(self.depth(), Ordering::Relaxed);
        protect(self.address(), PAGE, Some(Access::Write));
        // SAFETY: allocated so; the thread has ended, and all of it is accessible again.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}
