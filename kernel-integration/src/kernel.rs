//! What a kernel gives this crate. None of it is called from [`evaluate`](crate::evaluate()).

use core::error::Error;
use core::fmt;
use core::ops::ControlFlow;

use seccomp_runtime::{EngineKind, ExecMemory};

use crate::arch::Arch;
use crate::state::ThreadState;

/// The kernel, as the calling thread sees it.
///
/// Locks: this crate takes none of its own. It calls [`with_group`](Self::with_group) with no lock held and
/// calls nothing but [`Thread`] and [`ThreadGroup`] inside it.
pub trait Kernel {
    /// A thread.
    type Thread: Thread;
    /// The caller's thread group while its lock is held.
    type Group: ThreadGroup<Thread = Self::Thread>;

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

    /// The caller entered strict mode: on x86, `rdtsc` is to fault from now on (`disable_TSC`).
    fn entered_strict(&self) {}
}

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
