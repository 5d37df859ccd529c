//! What extensions ask this kernel.

use std::sync::atomic::{AtomicU64, Ordering};

use cbpf_translator::Insn;
use seccomp_kernel::uapi::{FilterFlags, SECCOMP_SET_MODE_FILTER, SeccompExtension, SeccompExtensionMap};
use seccomp_kernel::{Arch, TaskIds, syscall};
use seccomp_runtime::{HelperHost, TaskScope, UserFault};
use syscalls::Errno;

use super::{Process, SOME_PID, Thread};

/// The thread that makes a call, as helpers see it.
pub(super) struct Asking<'p> {
    pub(super) process: &'p Process,
    pub(super) thread: &'p Thread,
}

impl Process {
    /// The process, and its children, on a kernel that lets it install extensions.
    pub fn granting_extensions(self) -> Self {
        Self { grants_extensions: true, ..self }
    }

    /// `seccomp(SECCOMP_SET_MODE_FILTER, flags | EXTENSION, extension)` by `thread`, past its own filters.
    ///
    /// # Errors
    ///
    /// The call's.
    pub fn install_extension(
        &self,
        thread: &Thread,
        flags: FilterFlags,
        insns: &[Insn],
        maps: &[SeccompExtensionMap],
    ) -> Result<i32, Errno> {
        let insns_at =
            self.memory.add(insns.iter().flat_map(|insn| insn.to_le_bytes()).collect::<Vec<_>>().as_slice());
        let maps_at = self.memory.add(&maps.iter().flat_map(map_bytes).collect::<Vec<_>>());
        let extension = SeccompExtension {
            insn_count: insns.len() as u32,
            map_count: maps.len() as u32,
            insns: insns_at,
            maps: maps_at,
            flags: 0,
            reserved: 0,
        };
        self.install_raw_extension(thread, flags, &extension)
    }

    /// As [`install_extension`](Self::install_extension), with what is in memory already.
    ///
    /// # Errors
    ///
    /// The call's.
    pub fn install_raw_extension(
        &self,
        thread: &Thread,
        flags: FilterFlags,
        extension: &SeccompExtension,
    ) -> Result<i32, Errno> {
        let at = self.memory.add(&extension_bytes(extension));
        let flags = (flags | FilterFlags::EXTENSION).bits();
        syscall::seccomp(&self.caller(thread), Arch::X86_64, SECCOMP_SET_MODE_FILTER, flags, at)
    }

    /// The ids by which `thread` has task storage.
    pub fn task_ids(&self, thread: &Thread) -> TaskIds {
        TaskIds { thread: id(thread.tid), group: id(self.tgid) }
    }

    /// What the storage of extensions has for a child of `parent`.
    pub(super) fn copy_storage(&self, parent: &Thread, child: TaskIds) {
        let copied = parent.seccomp.task_forked(self.task_ids(parent), child);
        copied.expect("room for the child in the storage of extensions");
    }

    /// What was printed by extensions.
    pub fn traced(&self) -> Vec<String> {
        self.traced.lock().expect("no test panicked").clone()
    }
}

/// `struct seccomp_extension`, as C lays it out.
pub fn extension_bytes(extension: &SeccompExtension) -> Vec<u8> {
    let SeccompExtension { insn_count, map_count, insns, maps, flags, reserved } = *extension;
    let mut bytes = Vec::new();
    bytes.extend([insn_count, map_count].map(u32::to_ne_bytes).as_flattened());
    bytes.extend([insns, maps].map(u64::to_ne_bytes).as_flattened());
    bytes.extend([flags, reserved].map(u32::to_ne_bytes).as_flattened());
    bytes
}

/// `struct seccomp_extension_map`.
pub fn map_bytes(map: &SeccompExtensionMap) -> Vec<u8> {
    let SeccompExtensionMap { kind, key_size, value_size, max_entries, flags, reserved, values } = *map;
    let words = [kind, key_size, value_size, max_entries, flags, reserved].map(u32::to_ne_bytes);
    [words.as_flattened(), &values.to_ne_bytes()].concat()
}

/// The id of a thread or a group in task storage.
pub(super) fn id(tid: i32) -> u64 {
    u64::from(tid.cast_unsigned())
}

impl HelperHost for Asking<'_> {
    /// A second passes with every question.
    fn monotonic_ns(&self) -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(0);
        NOW.fetch_add(1_000_000_000, Ordering::Relaxed)
    }

    fn pid(&self) -> u32 {
        self.thread.tid.cast_unsigned()
    }

    fn tgid(&self) -> u32 {
        SOME_PID as u32
    }

    fn uid(&self) -> u32 {
        0
    }

    fn gid(&self) -> u32 {
        0
    }

    fn comm(&self) -> [u8; 16] {
        *b"mock\0\0\0\0\0\0\0\0\0\0\0\0"
    }

    fn task(&self, scope: TaskScope) -> u64 {
        let TaskIds { thread, group } = self.process.task_ids(self.thread);
        match scope {
            TaskScope::Thread => thread,
            TaskScope::ThreadGroup => group,
        }
    }

    fn random(&self) -> u32 {
        4
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        self.process.memory.read(from, to).map_err(|_| UserFault)
    }

    fn trace(&self, line: &str) {
        self.process.traced.lock().expect("no test panicked").push(line.into());
    }
}

/// A host of whom nothing may be asked.
#[derive(Clone, Copy, Debug)]
pub struct NoAnswers;

impl HelperHost for NoAnswers {
    fn monotonic_ns(&self) -> u64 {
        unreachable!("the time")
    }

    fn pid(&self) -> u32 {
        unreachable!("the thread")
    }

    fn tgid(&self) -> u32 {
        unreachable!("the group")
    }

    fn uid(&self) -> u32 {
        unreachable!("the user")
    }

    fn gid(&self) -> u32 {
        unreachable!("the user's group")
    }

    fn comm(&self) -> [u8; 16] {
        unreachable!("the name")
    }

    fn task(&self, _: TaskScope) -> u64 {
        unreachable!("the task")
    }

    fn random(&self) -> u32 {
        unreachable!("chance")
    }

    fn copy_from_user(&self, _: u64, _: &mut [u8]) -> Result<(), UserFault> {
        unreachable!("user memory")
    }

    fn trace(&self, line: &str) {
        unreachable!("{line}")
    }
}
