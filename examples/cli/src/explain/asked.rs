//! What an eBPF filter asks of the system while it runs.

use std::cell::RefCell;

use seccomp_runtime::{HelperHost, TaskScope, UserFault};

use crate::host::Asked;

/// A host, and what it was asked for, by the helpers that ask so. Maps of the filter are its own.
pub struct Recorded<'m> {
    host: Asked<'m>,
    asked: RefCell<Vec<String>>,
}

impl<'m> Recorded<'m> {
    pub fn new(host: Asked<'m>) -> Self {
        Self { host, asked: RefCell::default() }
    }

    /// What was asked for, in order; the same in a row once.
    pub fn asked(self) -> Vec<String> {
        self.asked.into_inner()
    }

    fn note(&self, words: impl Into<String>) {
        let words = words.into();
        let mut asked = self.asked.borrow_mut();
        if asked.last() != Some(&words) {
            asked.push(words);
        }
    }
}

impl HelperHost for Recorded<'_> {
    fn monotonic_ns(&self) -> u64 {
        self.note("bpf_ktime_get_ns");
        self.host.monotonic_ns()
    }

    fn pid(&self) -> u32 {
        self.note("bpf_get_current_pid_tgid");
        self.host.pid()
    }

    fn tgid(&self) -> u32 {
        self.note("bpf_get_current_pid_tgid");
        self.host.tgid()
    }

    fn uid(&self) -> u32 {
        self.note("bpf_get_current_uid_gid");
        self.host.uid()
    }

    fn gid(&self) -> u32 {
        self.note("bpf_get_current_uid_gid");
        self.host.gid()
    }

    fn comm(&self) -> [u8; 16] {
        self.note("bpf_get_current_comm");
        self.host.comm()
    }

    fn task(&self, scope: TaskScope) -> u64 {
        self.note("storage of the task");
        self.host.task(scope)
    }

    fn random(&self) -> u32 {
        self.note("bpf_get_prandom_u32");
        self.host.random()
    }

    fn copy_from_user(&self, from: u64, to: &mut [u8]) -> Result<(), UserFault> {
        let read = self.host.copy_from_user(from, to);
        let failed = if read.is_err() { ", which is not there" } else { "" };
        self.note(format!("user memory at {from:#x}{failed}"));
        read
    }

    fn trace(&self, line: &str) {
        self.note("bpf_trace_printk");
        self.host.trace(line);
    }
}
