//! What extensions ask about the thread that makes a call.

use core::sync::atomic::{AtomicU64, Ordering};

use seccomp_kernel::Kernel;
use seccomp_kernel::runtime::{HelperHost, TaskScope, UserFault};

use crate::arch;
use crate::entry;
use crate::println;
use crate::seccomp::Caller;

impl HelperHost for Caller<'_> {
    fn monotonic_ns(&self) -> u64 {
        arch::nanoseconds()
    }

    fn pid(&self) -> u32 {
        self.0.tid.cast_unsigned()
    }

    fn tgid(&self) -> u32 {
        self.0.process.pid.cast_unsigned()
    }

    fn uid(&self) -> u32 {
        self.0.process.uid.load(Ordering::Relaxed)
    }

    fn gid(&self) -> u32 {
        // Groups are not told from users here.
        self.uid()
    }

    fn comm(&self) -> [u8; 16] {
        let mut comm = [0; 16];
        comm.iter_mut().zip(entry::COMM).for_each(|(to, from)| *to = *from);
        comm
    }

    fn task(&self, scope: TaskScope) -> u64 {
        let ids = self.0.ids();
        match scope {
            TaskScope::Thread => ids.thread,
            TaskScope::ThreadGroup => ids.group,
        }
    }

    fn random(&self) -> u32 {
        random() as u32
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        self.read_user(from, to).map_err(|_| UserFault)
    }

    fn trace(&self, line: &str) {
        // A program may have put anything into it, a line of the kernel's own too.
        println!("kernel: trace: {}", line.escape_debug());
    }
}

/// The next of a row of numbers that looks like chance (SplitMix64). Where a run is to be like the one before, there is
/// nothing that nobody can predict: a kernel has its generator here.
pub fn random() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    static ROW: AtomicU64 = AtomicU64::new(0);
    let now = arch::nanoseconds();
    let mut mixed = ROW.fetch_add(STEP, Ordering::Relaxed) ^ now;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
