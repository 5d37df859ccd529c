//! The `Kernel` that a carried program's own seccomp(2) and prctl(2) calls meet.

use std::cell::Cell;
use std::io::{IoSlice, IoSliceMut};
use std::ops::ControlFlow;

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use seccomp_kernel::runtime::{Budget, EngineKind, ExecMemory, HELPERS, UserSpace};
use seccomp_kernel::{
    Arch, ExtensionRights, Fault, GroupLock, Interrupted, Kernel, ListenerError, Mode, ThreadGroup,
};
use seccomp_rbpf::exec_memory::HostExecMemory;

use super::listener::{self, Made};
use super::proc::Status;
use super::task::{Task, Tasks};
use crate::engine::Engine;
use crate::extension;

/// The bit of CAP_SYS_ADMIN in a capability set.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Bytes that the maps of one extension may take.
const MAP_BYTES: usize = 64 << 20;

/// What is the same for all threads.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// What runs filters.
    pub(crate) engine: Engine,
    /// Whether programs may install extensions.
    pub(crate) extensions: bool,
    /// What the places of keys in their hashes depend on.
    pub(crate) seed: [u64; 2],
}

impl Settings {
    /// With this engine, and extensions as an option says.
    pub(crate) fn new(engine: Engine, extensions: bool) -> Self {
        Self { engine, extensions, seed: extension::seed() }
    }
}

/// The kernel, as `task` sees it while it is stopped at a system call.
///
/// All threads are served by one thread here, one stop at a time, and a thread's state changes only there. So
/// there is no lock to take, and a thread that is being born gets its parent's state when its birth is
/// served.
pub(super) struct Caller<'a> {
    pub(super) tasks: &'a Tasks,
    pub(super) task: &'a Task,
    pub(super) settings: Settings,
    /// What the host has returned for the filter that it was to install first: a descriptor, or 0.
    pub(super) made: Option<i32>,
    /// The host has to install a filter first. What has been refused for that means nothing.
    pub(super) needs_host: Cell<bool>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(tasks: &'a Tasks, task: &'a Task, settings: Settings) -> Self {
        Self { tasks, task, settings, made: None, needs_host: Cell::new(false) }
    }

    /// Whether a TSYNC would give some thread a filter with a listener: the host has to give it its own.
    fn brings_listener(&self) -> bool {
        let Some(newest) = self.task.seccomp.filter() else { return false };
        let Some(listened) = listener::with_listener(newest) else { return false };
        let mut brings = false;
        for sibling in self.tasks.siblings(self.task) {
            let state = &sibling.seccomp;
            match (state.mode(), state.filter()) {
                (Mode::Disabled, _) => brings = true,
                (Mode::Filter, Some(theirs)) if newest.descends_from(theirs) => {
                    brings |= !theirs.descends_from(listened);
                }
                // It cannot follow, so none will.
                _ => return false,
            }
        }
        brings
    }
}

impl<'a> Kernel for Caller<'a> {
    type Thread = Task;
    type Group = Self;
    type NewListener = Made;

    fn current(&self) -> &Task {
        self.task
    }

    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let remote = RemoteIoVec { base: address as usize, len: into.len() };
        let len = into.len();
        match process_vm_readv(self.task.tid, &mut [IoSliceMut::new(into)], &[remote]) {
            Ok(read) if read == len => Ok(()),
            _ => Err(Fault),
        }
    }

    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        let remote = RemoteIoVec { base: address as usize, len: from.len() };
        match process_vm_writev(self.task.tid, &[IoSlice::new(from)], &[remote]) {
            Ok(written) if written == from.len() => Ok(()),
            _ => Err(Fault),
        }
    }

    fn may_install(&self) -> bool {
        self.task.known(Status::capabilities).is_some_and(|capabilities| capabilities & CAP_SYS_ADMIN != 0)
    }

    fn with_group<R>(&self, lock: GroupLock, f: impl FnOnce(&Self) -> R) -> Result<R, Interrupted> {
        if lock == GroupLock::ThreadSync && self.made.is_none() && self.brings_listener() {
            self.needs_host.set(true);
            return Err(Interrupted);
        }
        Ok(f(self))
    }

    fn new_listener(&self, _wait_killable: bool) -> Result<Made, ListenerError> {
        self.made.map(Made).ok_or_else(|| {
            self.needs_host.set(true);
            ListenerError::Unsupported
        })
    }

    fn extension_rights(&self) -> Option<ExtensionRights<'_>> {
        let Settings { engine, extensions, seed } = self.settings;
        extensions.then_some(ExtensionRights {
            helpers: &HELPERS,
            budget: Budget::DEFAULT,
            engine: engine.kind,
            map_bytes: MAP_BYTES,
            // What the host reads when the call runs is in the program's memory.
            uses_copies: false,
            preemption: &UserSpace,
            seed,
        })
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &HostExecMemory
    }

    fn engine(&self) -> EngineKind {
        self.settings.engine.kind
    }

    fn exempts_uprobes(&self) -> bool {
        true
    }

    fn planned_entries(&self) -> &[Arch] {
        // Those of an x86-64 machine.
        if self.settings.engine.plan { &[Arch::X86_64, Arch::I386] } else { &[] }
    }
}

impl ThreadGroup for Caller<'_> {
    type Thread = Task;

    fn for_each_sibling(&self, f: &mut dyn FnMut(&Task) -> ControlFlow<()>) {
        for sibling in self.tasks.siblings(self.task) {
            if f(sibling).is_break() {
                return;
            }
        }
    }
}
