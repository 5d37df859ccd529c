//! A thread's newest filter: a cell that is read without lock or reference count.
//!
//! The proof that this is sound is one sentence: the cell's value only ever changes to a descendant of what
//! it was, and a descendant keeps its ancestors alive. So a filter that was once in the cell lives until the
//! cell is dropped, however often and on whatever CPU it is changed, and a reference to it may live as long
//! as a borrow of the cell.

#![allow(unsafe_code, reason = "this cell; each block has its proof")]

use core::ptr;

use crate::filter::Filter;
use crate::sync::{Arc, AtomicPtr, Ordering};

/// A filter that grows, or none yet.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    /// Null, or from `Arc::into_raw`; the cell owns that one count.
    newest: AtomicPtr<Filter>,
}

/// The new filter does not have the cell's present one among its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotDescendant;

impl Leaf {
    pub(crate) fn new(filter: Option<Arc<Filter>>) -> Self {
        let newest = filter.map_or(ptr::null_mut(), |filter| Arc::into_raw(filter).cast_mut());
        Self { newest: AtomicPtr::new(newest) }
    }

    /// The newest filter.
    #[inline]
    pub(crate) fn load(&self) -> Option<&Filter> {
        let newest = self.newest.load(Ordering::Acquire);
        // SAFETY: `newest` is null or was put here by `new` or `grow` (whose release this acquire pairs with)
        // from a live `Arc`. That filter lives until `self` is dropped (see the head of this file), so for as
        // long as the borrow of `self` that the result carries. Filters are never changed once attached.
        unsafe { newest.as_ref() }
    }

    /// The newest filter, with a count of its own.
    pub(crate) fn share(&self) -> Option<Arc<Filter>> {
        // Not by way of a reference to the filter, whose pointer could not reach the counts beside it.
        let newest = self.newest.load(Ordering::Acquire).cast_const();
        if newest.is_null() {
            return None;
        }
        // SAFETY: `newest` is the pointer that `Arc::into_raw` gave, and the filter is alive while `self` is
        // borrowed, as for `load`; this count is the one that the `Arc` below owns.
        unsafe { Arc::increment_strong_count(newest) };
        // SAFETY: as above; the count was just taken for it.
        Some(unsafe { Arc::from_raw(newest) })
    }

    /// Replaces the newest filter by `filter`, which descends from it. Threads may read meanwhile; they get
    /// the one or the other.
    ///
    /// # Errors
    ///
    /// `filter` does not descend from the newest; nothing has changed.
    pub(crate) fn grow(&self, filter: Arc<Filter>) -> Result<(), NotDescendant> {
        let old = self.newest.load(Ordering::Acquire);
        // SAFETY: as for `load`.
        if unsafe { old.as_ref() }.is_some_and(|old| !filter.descends_from(old)) {
            return Err(NotDescendant);
        }
        let new = Arc::into_raw(filter).cast_mut();
        match self.newest.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed) {
            // SAFETY: the cell held a count of `old` and no longer does. It is not the last one if `old` is not
            // null: `new` has it among its ancestors, or is it.
            Ok(old) => drop((!old.is_null()).then(|| unsafe { Arc::from_raw(old) })),
            Err(_) => {
                // SAFETY: `new` came from `into_raw` above and was not stored.
                drop(unsafe { Arc::from_raw(new) });
                return Err(NotDescendant);
            }
        }
        Ok(())
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        // Exclusive: whoever gave the last borrow back did so before this.
        let newest = self.newest.load(Ordering::Relaxed);
        if !newest.is_null() {
            // SAFETY: from `Arc::into_raw`, and the cell owns that count; nobody can borrow it any more.
            drop(unsafe { Arc::from_raw(newest) });
        }
    }
}
