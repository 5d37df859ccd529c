//! Filters as threads share them: nodes that point at the filter installed before.

use alloc::vec::Vec;
use core::iter;
use core::ptr;

use seccomp_runtime::SeccompData;
use seccomp_runtime::translator::{OutOfMemory, fallible};

use crate::arch::Arch;
use crate::decided::{Decided, Table};
use crate::denials::Denials;
use crate::kernel::Listener;
use crate::program::Program;
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::uapi::{MAX_INSNS_PER_PATH, PATH_PENALTY};

/// An installed filter and, through it, all those installed before it on the same thread or inherited.
///
/// Threads share nodes; a node is never changed after it is attached.
///
/// Two counts, as in Linux: whoever points at a node keeps its memory (`refs`, here `Arc`'s), and the live
/// threads that it decides for keep it in use (`users`). A zombie does the first and not the second.
#[derive(Debug)]
pub struct Filter {
    program: Program,
    /// Whether this node or one of its ancestors is an extension.
    has_extensions: bool,
    log: bool,
    listener: Option<Arc<dyn Listener>>,
    denials: Option<Denials>,
    parent: Option<Arc<Filter>>,
    /// What this node and its ancestors count for a filter installed on top of them.
    path_cost: usize,
    /// This node and its ancestors.
    count: u16,
    /// Live threads that have this as their newest filter, and children that are in use.
    users: AtomicU32,
    tables: Vec<Table>,
}

// The smallest program, an extension, is two instructions long, and each filter counts so much more.
const _: () = assert!(MAX_INSNS_PER_PATH / (2 + PATH_PENALTY) < u16::MAX as usize);

/// Why a node cannot go on top of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachError {
    /// It has a listener, and so has a filter below, which is open.
    Busy,
    /// The path would be longer than [`MAX_INSNS_PER_PATH`].
    PathTooLong,
}

/// How a filter is installed.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// [`FilterFlags::LOG`](crate::uapi::FilterFlags::LOG).
    pub(crate) log: bool,
    /// [`Kernel::exempts_uprobes`](crate::Kernel::exempts_uprobes).
    pub(crate) exempts_uprobes: bool,
    /// What counts the calls that it denies.
    pub(crate) denials: Option<Denials>,
    /// What answers for it.
    pub(crate) listener: Option<Arc<dyn Listener>>,
}

/// A node that no thread has yet. Made before the group's lock is taken and dropped after it is released,
/// because both may allocate, free and work on other CPUs.
#[derive(Debug)]
pub(crate) struct Detached {
    node: Arc<Filter>,
    exempts_uprobes: bool,
}

impl Detached {
    /// # Errors
    ///
    /// There is no memory for the tables of what is decided.
    pub(crate) fn new(program: Program, settings: Settings) -> Result<Self, OutOfMemory> {
        let Settings { log, exempts_uprobes, denials, listener } = settings;
        let mut tables = Vec::new();
        for arch in program.planned_arches() {
            tables.try_reserve(1).map_err(|_| OutOfMemory)?;
            tables.push(Table::nothing(arch)?);
        }
        let users = AtomicU32::new(0);
        let node = Filter {
            has_extensions: program.extension().is_some(),
            program,
            log,
            listener,
            denials,
            parent: None,
            path_cost: 0,
            count: 0,
            users,
            tables,
        };
        // Not `fallible::shared`: which `Arc` it is, is for `sync` to say.
        fallible::probe([fallible::shared_len::<Filter>()])?;
        Ok(Self { node: Arc::new(node), exempts_uprobes })
    }

    /// Puts the filter on top of `parent` (`seccomp_attach_filter`).
    ///
    /// # Errors
    ///
    /// The first that holds; nothing has changed.
    pub(crate) fn attach(&mut self, parent: Option<Arc<Filter>>) -> Result<Arc<Filter>, AttachError> {
        let (below, index) = parent.as_ref().map_or((0, 0), |parent| (parent.path_cost, parent.count));
        // Nobody else has the node yet, so this is the only reference.
        let node = Arc::get_mut(&mut self.node).ok_or(AttachError::PathTooLong)?;
        if node.listener.is_some() && parent.as_ref().is_some_and(|parent| parent.is_listened_to()) {
            return Err(AttachError::Busy);
        }
        let length = below.saturating_add(node.program.insns_len());
        if length > MAX_INSNS_PER_PATH {
            return Err(AttachError::PathTooLong);
        }
        for table in &mut node.tables {
            table.fill(&node.program, index, node.log, parent.as_deref());
            if let (true, Some(entry)) = (self.exempts_uprobes, Arch::of_call(table.arch, 0)) {
                entry.uprobe_calls().iter().for_each(|nr| table.exempt(*nr));
            }
        }
        node.has_extensions |= parent.as_ref().is_some_and(|parent| parent.has_extensions);
        node.parent = parent;
        node.path_cost = length.saturating_add(PATH_PENALTY);
        node.count = index.saturating_add(1);
        Ok(Arc::clone(&self.node))
    }
}

impl Filter {
    /// The loaded program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether this filter or one of its ancestors is an extension.
    pub(crate) const fn has_extensions(&self) -> bool {
        self.has_extensions
    }

    /// Whether it was installed with `SECCOMP_FILTER_FLAG_LOG`.
    pub fn logs(&self) -> bool {
        self.log
    }

    /// The listener that it was installed with. It may be closed.
    pub fn listener(&self) -> Option<&Arc<dyn Listener>> {
        self.listener.as_ref()
    }

    /// What counts the calls that it denied, if [`Kernel::counts_denials`](crate::Kernel::counts_denials):
    /// the kernel has it do so by [`ThreadState::count_denial`](crate::ThreadState::count_denial).
    pub fn denials(&self) -> Option<&Denials> {
        self.denials.as_ref()
    }

    /// How many filters run for a thread that has this as its newest: itself and its ancestors.
    pub fn count(&self) -> u32 {
        self.count.into()
    }

    /// Its place among the filters of its thread: 0 is the oldest.
    pub(crate) fn index(&self) -> u16 {
        self.count.saturating_sub(1)
    }

    /// This filter, then each older one: the order in which they run.
    pub fn newest_first(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |filter| filter.parent.as_deref())
    }

    /// What this filter and all its ancestors decide together about a call, if no argument can change that.
    #[inline]
    pub(crate) fn decided(&self, data: &SeccompData) -> Option<Decided> {
        self.table(data.arch)?.get(data.nr)
    }

    /// The table of what is decided about the calls of the entry `arch`.
    #[inline]
    pub(crate) fn table(&self, arch: u32) -> Option<&Table> {
        self.tables.iter().find(|table| table.arch == arch)
    }

    /// Whether `other` is this filter or one of its ancestors.
    pub fn descends_from(&self, other: &Self) -> bool {
        // The chain below `other` cannot hold it, so there is no need to go there.
        self.newest_first()
            .take_while(|filter| filter.count >= other.count)
            .any(|filter| ptr::eq(filter, other))
    }

    /// How many filters, the oldest ones, this and `other` both stand on, or are.
    pub(crate) fn shared_with(&self, other: &Self) -> u32 {
        let (mut mine, mut theirs) = (Some(self), Some(other));
        while let (Some(a), Some(b)) = (mine, theirs) {
            if ptr::eq(a, b) {
                return a.count();
            }
            if a.count >= b.count {
                mine = a.parent.as_deref();
            }
            if b.count >= a.count {
                theirs = b.parent.as_deref();
            }
        }
        0
    }

    /// Whether this filter or one of its ancestors has an open listener (`has_duplicate_listener`).
    fn is_listened_to(&self) -> bool {
        self.newest_first().filter_map(Self::listener).any(|listener| listener.is_open())
    }

    /// One more live thread has this as its newest filter. Under the group's lock.
    pub(crate) fn enter(&self) {
        let mut entered = Some(self);
        // A filter that comes into use uses its parent. No order: whoever enters has got the filter from somebody.
        while let Some(filter) = entered.filter(|filter| filter.users.fetch_add(1, Ordering::Relaxed) == 0) {
            entered = filter.parent.as_deref();
        }
    }

    /// One thread less has it (`__seccomp_filter_orphan`).
    pub(crate) fn leave(&self) {
        let mut left = Some(self);
        // What others did with the filter before they left comes before what the last one tells.
        while let Some(filter) = left.filter(|filter| filter.users.fetch_sub(1, Ordering::AcqRel) == 1) {
            if let Some(listener) = &filter.listener {
                listener.users_gone();
            }
            left = filter.parent.as_deref();
        }
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
