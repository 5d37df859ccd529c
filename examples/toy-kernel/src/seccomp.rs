//! The kernel as `seccomp-kernel` sees it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::sync::atomic::Ordering;

use seccomp_kernel::runtime::{Budget, ExecMemory, Extension, HELPERS, Preemption};
use seccomp_kernel::{
    Arch, ExtensionRights, Fault, GroupLock, Interrupted, Kernel, ListenerError, ThreadGroup,
};

use crate::arch;
use crate::exec_memory::Code;
use crate::helpers;
use crate::listener::NewListener;
use crate::scheduler;
use crate::thread::Thread;

/// Bytes that the maps of one extension may take.
const MAP_BYTES: usize = 1 << 20;

/// The live threads of a process.
#[derive(Debug, Default)]
pub struct Group {
    pub threads: Vec<Arc<Thread>>,
}

/// The kernel, as the thread that makes a call sees it.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a>(pub &'a Thread);

impl Kernel for Caller<'_> {
    type Thread = Thread;
    type Group = Group;
    type NewListener = NewListener;

    fn current(&self) -> &Thread {
        self.0
    }

    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.0.process.space().ok_or(Fault)?.read(address, into)
    }

    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.0.process.space().ok_or(Fault)?.write(address, from)
    }

    fn may_install(&self) -> bool {
        self.0.process.uid.load(Ordering::Relaxed) == 0
    }

    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Group) -> R) -> Result<R, Interrupted> {
        // One lock serves both: there is no execve that a TSYNC has to keep out. It spins, so nothing interrupts.
        Ok(f(&self.0.process.group.lock()))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &Code
    }

    fn planned_entries(&self) -> &[Arch] {
        &[arch::ENTRY]
    }

    fn extension_rights(&self) -> Option<ExtensionRights<'_>> {
        Some(ExtensionRights {
            helpers: &HELPERS,
            budget: Budget::DEFAULT,
            engine: Extension::DEFAULT_ENGINE,
            map_bytes: MAP_BYTES,
            // Calls read user memory themselves.
            uses_copies: false,
            preemption: &InterruptsOff,
            seed: [helpers::random(), helpers::random()],
        })
    }

    fn new_listener(&self, wait_killable: bool) -> Result<NewListener, ListenerError> {
        NewListener::new(self.0.process.files(), wait_killable)
    }
}

/// Interrupts are off in the kernel, so a thread leaves the processor where it sleeps, and holds no lock there. A kernel
/// that preempts itself counts here, and does not while the count is not 0.
#[derive(Debug)]
struct InterruptsOff;

impl Preemption for InterruptsOff {
    fn disable(&self) -> usize {
        0
    }

    fn enable(&self, _: usize) {}
}

impl ThreadGroup for Group {
    type Thread = Thread;

    fn for_each_sibling(&self, f: &mut dyn FnMut(&Thread) -> ControlFlow<()>) {
        let caller = scheduler::current().tid;
        for sibling in self.threads.iter().filter(|thread| thread.tid != caller) {
            if f(sibling).is_break() {
                return;
            }
        }
    }
}
