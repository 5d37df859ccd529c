//! A thread that nobody else sees, as a kernel with that one thread.

use core::convert::Infallible;
use core::ops::ControlFlow;

use seccomp_kernel::runtime::{EngineKind, ExecMemory, NoExecMemory};
use seccomp_kernel::{Arch, Fault, GroupLock, Interrupted, Kernel, Thread, ThreadGroup, ThreadState};

use crate::ARCH;

/// The thread that has this state. Whoever makes it has the state to themselves, so it needs no lock and has no siblings.
pub(crate) struct Caller<'t>(pub(crate) &'t ThreadState);

impl Kernel for Caller<'_> {
    type Thread = Self;
    type Group = Self;
    type NewListener = Infallible;

    fn current(&self) -> &Self {
        self
    }

    fn read_user(&self, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn write_user(&self, _: u64, _: &[u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn may_install(&self) -> bool {
        true
    }

    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Self) -> R) -> Result<R, Interrupted> {
        Ok(f(self))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &NoExecMemory
    }

    fn engine(&self) -> EngineKind {
        // The one that needs no executable pages and allocates nothing when it runs.
        EngineKind::Native
    }

    fn planned_entries(&self) -> &[Arch] {
        &[ARCH]
    }
}

impl Thread for Caller<'_> {
    fn seccomp(&self) -> &ThreadState {
        self.0
    }

    fn tid(&self) -> i32 {
        0
    }

    fn no_new_privs(&self) -> bool {
        false
    }

    fn set_no_new_privs(&self) {}
}

impl ThreadGroup for Caller<'_> {
    type Thread = Self;

    fn for_each_sibling(&self, _: &mut dyn FnMut(&Self) -> ControlFlow<()>) {}
}
