//! What extensions ask about the thread that is stopped at a call.

use std::fs;

use seccomp_kernel::Kernel;
use seccomp_runtime::{HelperHost, TaskScope, UserFault};

use super::kernel::Caller;
use super::proc::Status;
use crate::host;

impl HelperHost for Caller<'_> {
    fn monotonic_ns(&self) -> u64 {
        host::monotonic_ns()
    }

    fn pid(&self) -> u32 {
        self.task.tid.as_raw().cast_unsigned()
    }

    fn tgid(&self) -> u32 {
        self.task.tgid.as_raw().cast_unsigned()
    }

    fn uid(&self) -> u32 {
        Status::of(self.task.tid).uid_gid().0.parse().unwrap_or_default()
    }

    fn gid(&self) -> u32 {
        Status::of(self.task.tid).uid_gid().1.parse().unwrap_or_default()
    }

    fn comm(&self) -> [u8; 16] {
        host::comm(&fs::read(format!("/proc/{}/comm", self.task.tid)).unwrap_or_default())
    }

    fn task(&self, scope: TaskScope) -> u64 {
        let ids = self.task.ids();
        match scope {
            TaskScope::Thread => ids.thread,
            TaskScope::ThreadGroup => ids.group,
        }
    }

    fn random(&self) -> u32 {
        host::random()
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        self.read_user(from, to).map_err(|_| UserFault)
    }

    fn trace(&self, line: &str) {
        host::trace(line);
    }
}
