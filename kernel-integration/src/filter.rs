//! Filters as threads share them: nodes that point at the filter installed before.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter;
use core::ptr;

use seccomp_runtime::translator::OutOfMemory;
use seccomp_runtime::{Loaded, SeccompData};

use crate::decided::Decided;
use crate::uapi::{MAX_INSNS_PER_PATH, PATH_PENALTY};

/// An installed filter and, through it, all those installed before it on the same thread or inherited.
///
/// Threads share nodes; a node is never changed after it is attached.
#[derive(Debug)]
pub struct Filter {
    program: Loaded,
    log: bool,
    parent: Option<Arc<Filter>>,
    /// What this node and its ancestors count for a filter installed on top of them.
    path_cost: usize,
    /// This node and its ancestors.
    count: u32,
    decided: Vec<Decided>,
}

/// The filter would make the path longer than [`MAX_INSNS_PER_PATH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathTooLong;

/// A node that no thread has yet. Made before the group's lock is taken and dropped after it is released,
/// because both may allocate, free and work on other CPUs.
#[derive(Debug)]
pub(crate) struct Detached(Arc<Filter>);

impl Detached {
    /// # Errors
    ///
    /// There is no memory for the tables of what is decided.
    pub(crate) fn new(program: Loaded, log: bool) -> Result<Self, OutOfMemory> {
        let mut decided = Vec::new();
        for arch in program.planned_arches() {
            decided.try_reserve(1).map_err(|_| OutOfMemory)?;
            decided.push(Decided::nothing(arch)?);
        }
        Ok(Self(Arc::new(Filter { program, log, parent: None, path_cost: 0, count: 0, decided })))
    }

    /// Puts the filter on top of `parent` (`seccomp_attach_filter`).
    ///
    /// # Errors
    ///
    /// The path would be too long; nothing has changed.
    pub(crate) fn attach(&mut self, parent: Option<Arc<Filter>>) -> Result<Arc<Filter>, PathTooLong> {
        let (below, count) = parent.as_ref().map_or((0, 0), |parent| (parent.path_cost, parent.count));
        // Nobody else has the node yet, so this is the only reference.
        let node = Arc::get_mut(&mut self.0).ok_or(PathTooLong)?;
        let length = below.saturating_add(node.program.translated_len());
        if length > MAX_INSNS_PER_PATH {
            return Err(PathTooLong);
        }
        for decided in &mut node.decided {
            decided.fill(&node.program, node.log, parent.as_deref());
        }
        node.parent = parent;
        node.path_cost = length.saturating_add(PATH_PENALTY);
        node.count = count.saturating_add(1);
        Ok(Arc::clone(&self.0))
    }
}

impl Filter {
    /// The loaded program.
    pub fn program(&self) -> &Loaded {
        &self.program
    }

    /// Whether it was installed with `SECCOMP_FILTER_FLAG_LOG`.
    pub fn logs(&self) -> bool {
        self.log
    }

    /// How many filters run for a thread that has this as its newest: itself and its ancestors.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// This filter, then each older one: the order in which they run.
    pub fn newest_first(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |filter| filter.parent.as_deref())
    }

    /// What this filter and all its ancestors decide together about a call, if no argument can change that:
    /// their value, and whether the filter it is from asks for a log record.
    #[inline]
    pub(crate) fn decided(&self, data: &SeccompData) -> Option<(u32, bool)> {
        self.table(data.arch)?.get(data.nr)
    }

    /// The table of what is decided about the calls of the entry `arch`.
    #[inline]
    pub(crate) fn table(&self, arch: u32) -> Option<&Decided> {
        self.decided.iter().find(|decided| decided.arch == arch)
    }

    /// Whether `other` is this filter or one of its ancestors.
    pub fn descends_from(&self, other: &Self) -> bool {
        // The chain below `other` cannot hold it, so there is no need to go there.
        self.newest_first()
            .take_while(|filter| filter.count >= other.count)
            .any(|filter| ptr::eq(filter, other))
    }
}

impl Drop for Filter {
    /// Lets go of ancestors one after the other, not one inside the other: a path has thousands, and a kernel
    /// stack has not.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut last) = next.and_then(Arc::into_inner) {
            next = last.parent.take();
        }
    }
}
