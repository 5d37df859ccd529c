//! The kernel of the other tests, whose own memory is spared: what is refused is refused to the library.

#![expect(unsafe_code, reason = "the promises of these traits; there is no unsafe block")]

use std::sync::Arc;

use seccomp_kernel::{
    Arch, ExtensionRights, Fault, GroupLock, Interrupted, Kernel, Listener, ListenerError, NewListener,
};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineKind, ExecMemory, ExecMemoryError, ExecPages};
use seccomp_tests::mock::{self, Caller, Group, Thread};

use crate::allocator::spared;

/// A thread in a system call, as the library sees it.
pub struct Spared<'p>(pub Caller<'p>);

/// The host's memory for code.
pub struct Code;

/// A listener that is not installed.
pub struct Unpublished(mock::NewListener);

impl<'p> Kernel for Spared<'p> {
    type Thread = Thread;
    type Group = Group<'p>;
    type NewListener = Unpublished;

    fn current(&self) -> &Thread {
        self.0.current()
    }

    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        spared(|| self.0.read_user(address, into))
    }

    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        spared(|| self.0.write_user(address, from))
    }

    fn may_install(&self) -> bool {
        self.0.may_install()
    }

    /// It allocates nothing, and what is called under the lock must not.
    fn with_group<R>(&self, lock: GroupLock, f: impl FnOnce(&Group<'p>) -> R) -> Result<R, Interrupted> {
        self.0.with_group(lock, f)
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &Code
    }

    fn engine(&self) -> EngineKind {
        self.0.engine()
    }

    fn planned_entries(&self) -> &[Arch] {
        self.0.planned_entries()
    }

    fn extension_rights(&self) -> Option<ExtensionRights<'_>> {
        self.0.extension_rights()
    }

    fn new_listener(&self, wait_killable: bool) -> Result<Unpublished, ListenerError> {
        spared(|| self.0.new_listener(wait_killable)).map(Unpublished)
    }

    fn counts_denials(&self) -> bool {
        true
    }
}

impl NewListener for Unpublished {
    fn listener(&self) -> Arc<dyn Listener> {
        spared(|| self.0.listener())
    }

    fn publish(self) -> i32 {
        spared(|| self.0.publish())
    }
}

// SAFETY: the host's, as it is.
unsafe impl ExecMemory for Code {
    fn seal(&self, code: &[u8]) -> Result<Box<dyn ExecPages>, ExecMemoryError> {
        spared(|| HostExecMemory.seal(code))
    }
}
