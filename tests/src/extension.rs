//! A kernel for helpers, as a test wants it.

use std::cell::{Cell, RefCell};

use seccomp_runtime::{HelperHost, TaskScope, UserFault};

/// A thread and what its kernel would say. Helpers find here what the test has put.
#[derive(Debug, Default)]
pub struct Host {
    /// The clock.
    pub now: Cell<u64>,
    /// The thread's id.
    pub pid: Cell<u32>,
    /// Its group's id.
    pub tgid: Cell<u32>,
    /// User memory: addresses, with the bytes there.
    pub memory: RefCell<Vec<(u64, Vec<u8>)>>,
    /// What was printed.
    pub lines: RefCell<Vec<String>>,
    /// The last random number.
    pub random: Cell<u32>,
}

impl Host {
    /// Puts bytes into user memory, before all others.
    pub fn put(&self, address: u64, bytes: &[u8]) {
        self.memory.borrow_mut().insert(0, (address, bytes.to_vec()));
    }
}

impl HelperHost for Host {
    fn monotonic_ns(&self) -> u64 {
        self.now.get()
    }

    fn pid(&self) -> u32 {
        self.pid.get()
    }

    fn tgid(&self) -> u32 {
        self.tgid.get()
    }

    fn uid(&self) -> u32 {
        1000
    }

    fn gid(&self) -> u32 {
        100
    }

    fn comm(&self) -> [u8; 16] {
        *b"example\0\0\0\0\0\0\0\0\0"
    }

    fn task(&self, scope: TaskScope) -> u64 {
        match scope {
            TaskScope::Thread => self.pid.get().into(),
            TaskScope::ThreadGroup => self.tgid.get().into(),
        }
    }

    fn random(&self) -> u32 {
        self.random.set(self.random.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        self.random.get()
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        for (address, bytes) in &*self.memory.borrow() {
            let Some(start) = from.checked_sub(*address).map(|start| start as usize) else { continue };
            if let Some(found) = start.checked_add(to.len()).and_then(|end| bytes.get(start..end)) {
                to.copy_from_slice(found);
                return Ok(());
            }
        }
        Err(UserFault)
    }

    fn trace(&self, line: &str) {
        self.lines.borrow_mut().push(line.into());
    }
}
