//! What `/proc` tells of a thread. Programs choose their names, so all of it is bytes.

use std::fs;
use std::io;
use std::str;

use nix::errno::Errno;
use nix::unistd::Pid;

/// Lines of `/proc/TID/status`.
pub(crate) struct Status(Vec<u8>);

impl Status {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// ESRCH if the thread is gone. What else there is does not tell that it is.
    pub(crate) fn of(tid: Pid) -> nix::Result<Self> {
        read(tid, "status").map(Self)
    }

    /// A name has no newline here: the kernel writes `\n`.
    fn field(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.0.split(|byte| *byte == b'\n');
        lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":")).map(<[u8]>::trim_ascii)
    }

    /// A field that is no name.
    fn text(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.field(name)?).ok()
    }

    fn mask(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.text(name)?, 16).ok()
    }

    fn pid(&self, name: &str) -> Option<Pid> {
        Some(Pid::from_raw(self.text(name)?.parse().ok()?))
    }

    /// Its name, with newlines and backslashes escaped.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        self.field("Name")
    }

    /// The process the thread belongs to.
    pub(super) fn tgid(&self) -> Option<Pid> {
        self.pid("Tgid")
    }

    /// The thread's id in its own pid namespace.
    pub(super) fn own_tid(&self) -> Option<i32> {
        self.text("NSpid")?.split_whitespace().last()?.parse().ok()
    }

    /// Whether its process is the first of a pid namespace.
    pub(super) fn is_init(&self) -> Option<bool> {
        Some(self.text("NStgid")?.split_whitespace().last()? == "1")
    }

    /// The process that it is a child of.
    pub(super) fn parent(&self) -> Option<Pid> {
        self.pid("PPid")
    }

    /// The process that traces it.
    pub(super) fn tracer(&self) -> Option<Pid> {
        self.pid("TracerPid")
    }

    /// The signals that are blocked, signal n in bit n - 1.
    pub(super) fn blocked(&self) -> Option<u64> {
        self.mask("SigBlk")
    }

    /// The signals that are ignored.
    pub(super) fn ignored(&self) -> Option<u64> {
        self.mask("SigIgn")
    }

    /// The signals that have a handler.
    pub(super) fn caught(&self) -> Option<u64> {
        self.mask("SigCgt")
    }

    /// The capabilities in force, in the thread's own user namespace.
    pub(super) fn capabilities(&self) -> Option<u64> {
        self.mask("CapEff")
    }

    /// Its seccomp mode: 0 none, 1 strict, 2 filter.
    pub(crate) fn seccomp_mode(&self) -> Option<u32> {
        self.text("Seccomp")?.parse().ok()
    }

    /// Whether no_new_privs is set.
    pub(super) fn no_new_privs(&self) -> Option<bool> {
        match self.text("NoNewPrivs")? {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    /// Its real user id.
    pub(super) fn uid(&self) -> Option<u32> {
        self.text("Uid")?.split_whitespace().next()?.parse().ok()
    }

    /// Its real group id.
    pub(super) fn gid(&self) -> Option<u32> {
        self.text("Gid")?.split_whitespace().next()?.parse().ok()
    }
}

/// A thread's name, as it is.
///
/// # Errors
///
/// As those of [`Status::of`].
pub(super) fn comm(tid: Pid) -> nix::Result<Vec<u8>> {
    let mut name = read(tid, "comm")?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Ok(name)
}

/// The start of the vDSO in a thread's memory.
pub(super) fn vdso(tid: Pid) -> Option<u64> {
    let maps = read(tid, "maps").ok()?;
    let mut lines = maps.split(|byte| *byte == b'\n');
    // A file of this name is shown with its path.
    let line = lines.find(|line| line.ends_with(b" [vdso]") && !line.contains(&b'/'))?;
    u64::from_str_radix(str::from_utf8(line.split(|byte| *byte == b'-').next()?).ok()?, 16).ok()
}

fn read(tid: Pid, file: &str) -> nix::Result<Vec<u8>> {
    fs::read(format!("/proc/{tid}/{file}")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Errno::ESRCH,
        _ => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    })
}
