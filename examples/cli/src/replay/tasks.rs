//! The threads of a log: in which mode each runs, and what it has begun.

use std::collections::HashMap;

use anyhow::ensure;
use seccomp_kernel::Arch;

use super::line::Mode;
use crate::strace::Prefix;

/// The most threads that are known at once: as many as Linux has ids.
const MAX_TASKS: usize = 1 << 22;

/// The most calls that wait for the line that ends them.
const MAX_PENDING: usize = 1 << 12;

/// The longest beginning of a call that is kept.
pub const MAX_HEAD: usize = 1 << 14;

/// The beginning of a call.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The number of its line.
    pub line: u64,
    /// What the line had before it.
    pub prefix: Prefix,
    /// The entry.
    pub arch: Arch,
    /// From its name on.
    pub text: String,
    /// It has been counted, for it was too long to be kept.
    pub is_counted: bool,
}

/// Where calls that end are from.
pub struct Tasks {
    /// The entry of a machine's programs.
    arch: Arch,
    /// Of the threads that are named and live.
    modes: HashMap<i32, Arch>,
    /// Of the last line.
    last: Arch,
    begun: HashMap<Option<i32>, Begun>,
    /// Whether a beginning was let go for want of room.
    has_dropped: bool,
}

impl Tasks {
    pub fn new(arch: Arch) -> Self {
        Self { arch, modes: HashMap::new(), last: arch, begun: HashMap::new(), has_dropped: false }
    }

    /// The entry of a thread that has a line.
    pub fn arch(&mut self, pid: Option<i32>) -> anyhow::Result<Arch> {
        self.last = match pid {
            // A new thread runs as the one that made it, which spoke last.
            Some(pid) => match self.modes.get(&pid) {
                Some(arch) => *arch,
                None => self.set(pid, self.last)?,
            },
            // Threads without name are alone.
            None if self.modes.len() == 1 => self.modes.values().next().copied().unwrap_or(self.last),
            None => self.last,
        };
        Ok(self.last)
    }

    fn set(&mut self, pid: i32, arch: Arch) -> anyhow::Result<Arch> {
        ensure!(self.modes.len() < MAX_TASKS, "more than {MAX_TASKS} threads");
        self.modes.insert(pid, arch);
        Ok(arch)
    }

    /// The thread runs in another mode; `false` if the machine has none such.
    pub fn change(&mut self, pid: i32, mode: Mode) -> anyhow::Result<bool> {
        let entry = mode.entry(self.arch);
        if let Some(arch) = entry {
            self.last = self.set(pid, arch)?;
        }
        Ok(entry.is_some())
    }

    /// The thread has ended. What it had begun is left.
    pub fn exit(&mut self, pid: Option<i32>) -> Option<Begun> {
        if let Some(pid) = pid {
            self.modes.remove(&pid);
        }
        self.begun.remove(&pid)
    }

    /// Keeps a beginning. What there is no room for, or comes of this thread before, is given back.
    pub fn begin(&mut self, begun: Begun) -> Option<Begun> {
        let pid = begun.prefix.pid;
        if self.begun.len() >= MAX_PENDING && !self.begun.contains_key(&pid) {
            self.has_dropped = true;
            return Some(begun);
        }
        self.begun.insert(pid, begun)
    }

    /// The beginning of a call that goes on.
    pub fn resume(&mut self, pid: Option<i32>, name: &str) -> Option<Begun> {
        let is_it = |begun: &Begun| begun.text.split('(').next() == Some(name);
        if self.begun.get(&pid).is_some_and(is_it) {
            return self.begun.remove(&pid);
        }
        // A thread has no name while it is alone.
        let mut others =
            self.begun.iter().filter(|(other, begun)| (other.is_none() || pid.is_none()) && is_it(begun));
        let other = *others.next()?.0;
        self.begun.remove(&other)
    }

    /// Whether a call that goes on may have begun in a line that was counted.
    pub fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    /// What has begun and did not end, in the order of lines.
    pub fn rest(&mut self) -> Vec<Begun> {
        let mut rest: Vec<_> = self.begun.drain().map(|(_, begun)| begun).collect();
        rest.sort_by_key(|begun| begun.line);
        rest
    }
}
