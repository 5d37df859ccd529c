//! What a kernel gives this crate. None of it is called from [`evaluate`](crate::evaluate()).

use core::any::Any;
use core::convert::Infallible;
use core::error::Error;
use core::fmt;
use core::ops::ControlFlow;

use seccomp_runtime::{EngineKind, ExecMemory};

use crate::arch::Arch;
use crate::extension::ExtensionRights;
use crate::state::ThreadState;
use crate::sync::Arc;

/// The kernel, as the calling thread sees it.
///
/// Locks: this crate takes none of its own. It calls [`with_group`](Self::with_group) with no lock held and
/// calls nothing but [`Thread`] and [`ThreadGroup`] inside it.
pub trait Kernel {
    /// A thread.
    type Thread: Thread;
    /// The caller's thread group while its lock is held.
    type Group: ThreadGroup<Thread = Self::Thread>;
    /// A new listener. [`Infallible`] if the kernel has none.
    type NewListener: NewListener;

    /// The calling thread.
    fn current(&self) -> &Self::Thread;

    /// Fills `into` from the caller's memory at `address`. May sleep.
    ///
    /// # Errors
    ///
    /// Not all of it can be read.
    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Writes `from` to the caller's memory at `address`. May sleep.
    ///
    /// # Errors
    ///
    /// Not all of it can be written.
    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault>;

    /// Whether the caller has CAP_SYS_ADMIN in its own user namespace. Asked only of callers without
    /// no_new_privs; leaves no audit trace.
    fn may_install(&self) -> bool;

    /// Calls `f` with the caller's thread group locked: until it returns, no thread of the group is born or
    /// leaves it, none calls this too, and for [`GroupLock::ThreadSync`] none executes another program. (A
    /// thread may be told to die meanwhile; that needs no lock.) The lock may be a spin lock: `f` does not
    /// sleep, allocate or free. It takes microseconds, for it fills the new filter's tables.
    ///
    /// # Errors
    ///
    /// A fatal signal interrupted the wait for the lock; `f` was not called.
    fn with_group<R>(&self, lock: GroupLock, f: impl FnOnce(&Self::Group) -> R) -> Result<R, Interrupted>;

    /// Where filters' machine code goes. [`NoExecMemory`](seccomp_runtime::NoExecMemory) if nowhere.
    fn exec_memory(&self) -> &dyn ExecMemory;

    /// The engine that new filters run on.
    fn engine(&self) -> EngineKind {
        EngineKind::DEFAULT
    }

    /// The entries whose calls new filters are specialised for when they are installed: those that this
    /// machine has, each once. Each costs a few KiB a filter; none switches it off. Naming [`Arch::X32`] is
    /// of no use: its calls look like those of [`Arch::X86_64`] with large numbers, which run the whole filter.
    fn planned_entries(&self) -> &[Arch];

    /// What the caller may install as an extension, an eBPF filter
    /// ([`FilterFlags::EXTENSION`](crate::uapi::FilterFlags::EXTENSION)), beyond having no_new_privs or the right to
    /// install filters. `None`, the default, and the flag is as unknown as in Linux.
    ///
    /// A kernel that grants any gives [`evaluate`](crate::evaluate()) and [`enter`](crate::enter()) a
    /// [`HelperHost`](seccomp_runtime::HelperHost), and tells extensions of tasks
    /// ([`ThreadState::task_forked`], [`ThreadState::task_exited`]).
    fn extension_rights(&self) -> Option<ExtensionRights<'_>> {
        None
    }

    /// A new listener of user notification, and a descriptor number of the caller taken for it.
    /// `wait_killable` is for [`Notifications::new`](crate::notify::Notifications::new).
    ///
    /// # Errors
    ///
    /// There can be none.
    fn new_listener(&self, wait_killable: bool) -> Result<Self::NewListener, ListenerError> {
        let _ = wait_killable;
        Err(ListenerError::Unsupported)
    }

    /// Whether the calls that uprobes make are let through whatever filters say
    /// ([`Arch::uprobe_calls`]). It works for [planned entries](Self::planned_entries), as in Linux it is a part of
    /// the cache.
    fn exempts_uprobes(&self) -> bool {
        false
    }

    /// Whether each new filter counts the calls that it denies ([`Filter::denials`](crate::Filter::denials)). That
    /// takes 2 KiB a filter for each planned entry.
    fn counts_denials(&self) -> bool {
        false
    }

    /// The caller entered strict mode: on x86, `rdtsc` is to fault from now on (`disable_TSC`).
    fn entered_strict(&self) {}
}

/// A filter's listener: [`Notifications`](crate::notify::Notifications) behind a lock, with the threads that
/// sleep on it. The descriptor and the filter share it; the kernel gets its own type back by
/// [`downcast_ref`](#method.downcast_ref).
pub trait Listener: Any + fmt::Debug + Send + Sync {
    /// Whether it [is open](crate::notify::Notifications::is_open). Called under the group's lock.
    fn is_open(&self) -> bool;

    /// The last live thread has left the filter: calls
    /// [`Notifications::users_gone`](crate::notify::Notifications::users_gone) and wakes whom that says. Called
    /// without a lock, by the thread that drops [`Exit`](crate::Exit) or a [`ThreadState`].
    fn users_gone(&self);
}

impl dyn Listener {
    /// The listener as the type that it has.
    pub fn downcast_ref<L: Listener>(&self) -> Option<&L> {
        (self as &dyn Any).downcast_ref()
    }
}

/// A listener whose descriptor leads nowhere yet. Dropped, it gives the number back.
pub trait NewListener {
    /// What the filter keeps.
    fn listener(&self) -> Arc<dyn Listener>;

    /// Lets the descriptor lead to the listener, with close-on-exec (`fd_install`). Its number. Called without a
    /// lock, when the filter is installed.
    fn publish(self) -> i32;
}

impl NewListener for Infallible {
    fn listener(&self) -> Arc<dyn Listener> {
        match *self {}
    }

    fn publish(self) -> i32 {
        match self {}
    }
}

/// Why there is no new listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerError {
    /// The kernel has no listeners.
    Unsupported,
    /// The caller has as many descriptors as it may have (EMFILE).
    Descriptors,
    /// The system has as many files as it can have (ENFILE).
    Files,
    /// There is no memory.
    OutOfMemory,
    /// A filter of the caller has one that is open. Only a kernel that finds out by itself says so.
    Busy,
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "there are no listeners",
            Self::Descriptors => "the process has too many descriptors",
            Self::Files => "the system has too many files",
            Self::OutOfMemory => "out of memory",
            Self::Busy => "a filter of the thread has a listener",
        })
    }
}

impl Error for ListenerError {}

/// A thread of the caller's process, the caller included.
pub trait Thread {
    /// Its seccomp state.
    fn seccomp(&self) -> &ThreadState;

    /// Its id, as the caller sees it.
    fn tid(&self) -> i32;

    /// Whether no_new_privs is set.
    fn no_new_privs(&self) -> bool;

    /// Sets no_new_privs. Called under the group's lock.
    fn set_no_new_privs(&self);

    /// The thread entered filter mode or, if it is the caller, installed another filter; unless
    /// `allow_speculation`, speculation mitigations are to be switched on for it where the kernel does so
    /// (`arch_seccomp_spec_mitigate`). Called under the group's lock.
    fn entered_filter(&self, allow_speculation: bool) {
        let _ = allow_speculation;
    }
}

/// A locked thread group.
pub trait ThreadGroup {
    /// A thread.
    type Thread: Thread;

    /// Calls `f` with each live thread but the caller until it breaks. Threads that are exiting are left out.
    fn for_each_sibling(&self, f: &mut dyn FnMut(&Self::Thread) -> ControlFlow<()>);
}

/// What the group's lock has to keep out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupLock {
    /// Threads being born or dying, and other changes of seccomp state (`siglock`).
    Install,
    /// That, and other threads executing a program (`cred_guard_mutex`).
    ThreadSync,
}

/// User memory that is not there, or not to be accessed that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("user memory cannot be accessed")
    }
}

impl Error for Fault {}

/// A fatal signal is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted by a fatal signal")
    }
}

impl Error for Interrupted {}
