//! What extensions ask about the thread that is stopped at a call.

use seccomp_kernel::Kernel;
use seccomp_runtime::{HelperHost, TaskScope, UserFault};

use super::kernel::Caller;
use super::proc::Status;
use crate::host;

/// No id: what is told of a thread that is killed because its own cannot be known.
const NOBODY: u32 = u32::MAX;

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
        self.task.known(Status::uid).unwrap_or(NOBODY)
    }

    fn gid(&self) -> u32 {
        self.task.known(Status::gid).unwrap_or(NOBODY)
    }

    fn comm(&self) -> [u8; 16] {
        host::comm(&self.task.comm())
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
