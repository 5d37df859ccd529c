//! What seccomp knows of a thread, and every way it can change.

use seccomp_runtime::SeccompData;

use crate::evaluate::Decision;
use crate::filter::Filter;
use crate::kernel::Listener;
use crate::leaf::{Leaf, NotDescendant};
use crate::sync::{Arc, AtomicBool, AtomicU8, Ordering};

/// A thread's seccomp mode, the `Seccomp:` line of `/proc/PID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Every call is allowed.
    Disabled = 0,
    /// Read, write, exit and return from a signal handler.
    Strict = 1,
    /// Filters decide.
    Filter = 2,
    /// The thread was killed and must not run again.
    Dead = 3,
}

impl Mode {
    #[inline]
    fn of(value: u8) -> Self {
        match value {
            0 => Self::Disabled,
            1 => Self::Strict,
            2 => Self::Filter,
            _ => Self::Dead,
        }
    }
}

/// The thread is in a mode from which there is no way to the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModeConflict;

/// A thread's seccomp state. The kernel keeps one in each thread.
///
/// Its own thread reads it at every system call; it and other threads of the process (TSYNC) change it, one at
/// a time under the group's lock. Only that it dies, its own thread may find at any time. All transitions are
/// here: disabled to strict or filter, filter to filter with a descendant of the old one, anything to dead.
#[derive(Debug, Default)]
pub struct ThreadState {
    // Set after the leaf, so that whoever sees filter mode finds a filter.
    mode: AtomicU8,
    leaf: Leaf,
    /// It has left its filters: they are no longer in use by it, and it gets no others.
    left: AtomicBool,
}

/// A thread has ended: until this is dropped, its filters count it as one that lives.
///
/// Drop it when the group's lock is released, for a listener may have to be told that nobody is left.
#[derive(Debug)]
#[must_use = "it is to be dropped when the group's lock is released"]
pub struct Exit<'t>(Option<&'t Filter>);

impl ThreadState {
    /// A thread without seccomp.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of a new thread or process whose parent has this one (`copy_seccomp`).
    ///
    /// Call it under the lock of [`Kernel::with_group`](crate::Kernel::with_group) and publish the new thread
    /// before that lock is released, or a TSYNC in between misses it. execve keeps the state as it is.
    #[must_use]
    pub fn inherit(&self) -> Self {
        let mode = AtomicU8::new(self.mode() as u8);
        let child = Self { mode, leaf: Leaf::new(self.leaf.share()), left: AtomicBool::new(false) };
        if let Some(filter) = child.filter() {
            filter.enter();
        }
        child
    }

    /// The thread ends (`seccomp_filter_release`). Call it under the lock of
    /// [`Kernel::with_group`](crate::Kernel::with_group), together with what takes the thread out of its group.
    ///
    /// Supervisors of its filters learn of it now; the mode and the filters can be read as long as the state
    /// is there, which for a zombie is until it is reaped. Without it, dropping the state does the same.
    pub fn exit(&self) -> Exit<'_> {
        Exit(if self.left.swap(true, Ordering::Relaxed) { None } else { self.filter() })
    }

    /// The mode.
    #[inline]
    pub fn mode(&self) -> Mode {
        Mode::of(self.mode.load(Ordering::Acquire))
    }

    /// The newest filter. It leads to the older ones.
    #[inline]
    pub fn filter(&self) -> Option<&Filter> {
        self.leaf.load()
    }

    /// The number of filters, the `Seccomp_filters:` line of `/proc/PID/status`.
    pub fn filter_count(&self) -> u32 {
        self.filter().map_or(0, Filter::count)
    }

    /// The filter with this index: 0 is the oldest. It stays what it is while the thread has others put on top.
    pub fn filter_at(&self, index: u16) -> Option<&Filter> {
        self.filter()?.newest_first().find(|filter| filter.index() == index)
    }

    /// The listener of the filter with this index.
    pub fn listener(&self, index: u16) -> Option<&Arc<dyn Listener>> {
        self.filter_at(index)?.listener()
    }

    /// If `decision` denies the call, counts it for the filter that it is from, where filters count
    /// ([`Kernel::counts_denials`](crate::Kernel::counts_denials)). `data` is the call as it was decided about: what
    /// [`evaluate`](crate::evaluate()) was given or, since a tracer may have changed it, what
    /// [`Entry::data`](crate::Entry::data) says after [`enter`](crate::enter()).
    ///
    /// Takes no lock and allocates nothing. A call that is let through without a word costs one comparison.
    #[inline]
    pub fn count_denial(&self, decision: &Decision, data: &SeccompData) {
        let filter = decision.filter.and_then(|index| self.filter_at(index));
        if let Some(denials) = filter.and_then(Filter::denials) {
            denials.count(decision, data);
        }
    }

    /// The newest filter, to put another on top of it.
    pub(crate) fn share_filter(&self) -> Option<Arc<Filter>> {
        self.leaf.share()
    }

    /// Whether filter mode can be entered or grown (`seccomp_may_assign_mode`).
    pub(crate) fn may_filter(&self) -> Result<(), ModeConflict> {
        match self.mode() {
            Mode::Disabled | Mode::Filter => Ok(()),
            Mode::Strict | Mode::Dead => Err(ModeConflict),
        }
    }

    /// Enters strict mode.
    pub(crate) fn enter_strict(&self) -> Result<(), ModeConflict> {
        match self.become_mode(Mode::Disabled, Mode::Strict) {
            Ok(()) => Ok(()),
            Err(Mode::Strict) => Ok(()),
            Err(_) => Err(ModeConflict),
        }
    }

    /// Puts a filter on top of the present one and enters filter mode.
    pub(crate) fn grow(&self, filter: Arc<Filter>) -> Result<(), ModeConflict> {
        self.may_filter()?;
        if self.left.load(Ordering::Relaxed) {
            return Err(ModeConflict);
        }
        let old = self.filter();
        self.leaf.grow(filter).map_err(|NotDescendant| ModeConflict)?;
        if let Some(new) = self.filter() {
            new.enter();
        }
        // It stays in use, by the new one.
        if let Some(old) = old {
            old.leave();
        }
        match self.become_mode(Mode::Disabled, Mode::Filter) {
            Ok(()) | Err(Mode::Filter) => Ok(()),
            Err(_) => Err(ModeConflict),
        }
    }

    /// The thread is being killed: whatever it calls from now on kills it again.
    pub(crate) fn die(&self) {
        self.mode.store(Mode::Dead as u8, Ordering::Relaxed);
    }

    fn become_mode(&self, from: Mode, to: Mode) -> Result<(), Mode> {
        self.mode
            .compare_exchange(from as u8, to as u8, Ordering::Release, Ordering::Relaxed)
            .map(|_| ())
            .map_err(Mode::of)
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        drop(self.exit());
    }
}

impl Drop for Exit<'_> {
    fn drop(&mut self) {
        if let Some(filter) = self.0 {
            filter.leave();
        }
    }
}
