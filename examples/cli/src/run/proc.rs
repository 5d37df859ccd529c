//! What `/proc` tells of a thread.

use std::fs;

use nix::unistd::Pid;

/// Lines of `/proc/TID/status`.
pub(crate) struct Status(String);

impl Status {
    /// Reads them; of a thread that is gone, nothing.
    pub(crate) fn of(tid: Pid) -> Self {
        Self(fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default())
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    fn mask(&self, name: &str) -> u64 {
        self.field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
    }

    /// Its name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.field("Name")
    }

    /// The process the thread belongs to.
    pub(super) fn tgid(&self) -> Option<Pid> {
        Some(Pid::from_raw(self.field("Tgid")?.parse().ok()?))
    }

    /// The thread's id in its own pid namespace.
    pub(super) fn own_tid(&self) -> Option<i32> {
        self.field("NSpid")?.split_whitespace().last()?.parse().ok()
    }

    /// In how many pid namespaces the thread has an id, counted from that of `/proc` inwards.
    pub(super) fn namespaces(&self) -> Option<usize> {
        Some(self.field("NSpid")?.split_whitespace().count())
    }

    /// The thread's id in the innermost of so many.
    pub(super) fn tid_at(&self, namespaces: usize) -> Option<i32> {
        self.field("NSpid")?.split_whitespace().nth(namespaces.checked_sub(1)?)?.parse().ok()
    }

    /// Whether its process is the first of a pid namespace.
    pub(super) fn is_init(&self) -> bool {
        self.field("NStgid").is_some_and(|ids| ids.split_whitespace().last() == Some("1"))
    }

    /// The process that it is a child of.
    pub(super) fn parent(&self) -> Option<Pid> {
        Some(Pid::from_raw(self.field("PPid")?.parse().ok()?))
    }

    /// The process that traces it.
    pub(super) fn tracer(&self) -> Option<Pid> {
        Some(Pid::from_raw(self.field("TracerPid")?.parse().ok()?))
    }

    /// The signals that it or its process has got and not yet taken, signal n in bit n - 1.
    pub(super) fn pending(&self) -> u64 {
        self.mask("SigPnd") | self.mask("ShdPnd")
    }

    /// The signals that are blocked, signal n in bit n - 1.
    pub(super) fn blocked(&self) -> u64 {
        self.mask("SigBlk")
    }

    /// The signals that are ignored.
    pub(super) fn ignored(&self) -> u64 {
        self.mask("SigIgn")
    }

    /// The signals that have a handler.
    pub(super) fn caught(&self) -> u64 {
        self.mask("SigCgt")
    }

    /// The capabilities in force, in the thread's own user namespace.
    pub(super) fn capabilities(&self) -> u64 {
        self.mask("CapEff")
    }

    /// Its seccomp mode: 0 none, 1 strict, 2 filter.
    pub(crate) fn seccomp_mode(&self) -> Option<u32> {
        self.field("Seccomp")?.parse().ok()
    }

    /// Whether no_new_privs is set.
    pub(super) fn no_new_privs(&self) -> bool {
        self.field("NoNewPrivs") == Some("1")
    }

    /// The four ids that an audit record carries: real uid and gid come from here.
    pub(super) fn uid_gid(&self) -> (&str, &str) {
        let first = |name| self.field(name).and_then(|ids| ids.split_whitespace().next()).unwrap_or("0");
        (first("Uid"), first("Gid"))
    }
}

/// The start of the vDSO in a thread's memory.
pub(super) fn vdso(tid: Pid) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{tid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}
