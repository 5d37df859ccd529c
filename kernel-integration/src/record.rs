//! The text of the audit record about a call, byte for byte what Linux writes (`audit_seccomp`).

use core::fmt::{self, Write};

use crate::audit::LogEntry;

/// The type of a [`Record`].
pub const AUDIT_SECCOMP: u16 = 1326;

/// What [`Record::auid`] and [`Record::ses`] are for a task that nobody logged in for.
pub const AUDIT_UNSET: u32 = u32::MAX;

/// An audit record of type [`AUDIT_SECCOMP`]: what this crate decided and what the kernel knows of the task.
///
/// Its `Display` is the text that follows the stamp `audit(SECONDS:SERIAL): `, which is the audit system's.
/// Ids are those of the initial namespaces; they say who the task is to whoever reads the log.
///
/// ```
/// use seccomp_kernel::{AUDIT_UNSET, LogEntry, Record};
///
/// let entry = LogEntry { signal: 0, code: 0x7ffc_0000, nr: 39, arch: 0xc000_003e, instruction_pointer: 0x1000 };
/// let record = Record {
///     auid: AUDIT_UNSET,
///     uid: 0,
///     gid: 0,
///     ses: AUDIT_UNSET,
///     subj: None,
///     pid: 77,
///     comm: b"two words",
///     exe: Some(b"/bin/sh"),
///     compat: false,
///     entry,
/// };
/// assert_eq!(
///     record.to_string(),
///     "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=77 comm=74776F20776F726473 exe=\"/bin/sh\" \
///      sig=0 arch=c000003e syscall=39 compat=0 ip=0x1000 code=0x7ffc0000"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The user who logged in, or [`AUDIT_UNSET`].
    pub auid: u32,
    /// The real user.
    pub uid: u32,
    /// The real group.
    pub gid: u32,
    /// The login session, or [`AUDIT_UNSET`].
    pub ses: u32,
    /// The task's context in the security module; none if no module gives it one. With several modules that
    /// do, Linux writes `?` here and a record of its own.
    pub subj: Option<&'a str>,
    /// The process.
    pub pid: i32,
    /// The name of the thread, up to the first 0.
    pub comm: &'a [u8],
    /// The path of the executable, with ` (deleted)` behind it if it is no more; none for a task that has
    /// no executable. Where the path cannot be told, Linux has `<too_long>` or `<no_memory>` instead.
    pub exe: Option<&'a [u8]>,
    /// Whether the call came through a 32-bit entry ([`Arch::is_compat`](crate::Arch::is_compat)). Whether x32
    /// is one depends on the kernel: if it is not built with x32, such a call is a native one that does not
    /// exist.
    pub compat: bool,
    /// The call.
    pub entry: LogEntry,
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { auid, uid, gid, ses, pid, .. } = self;
        write!(f, "auid={auid} uid={uid} gid={gid} ses={ses}")?;
        if let Some(subj) = self.subj {
            write!(f, " subj={subj}")?;
        }
        write!(f, " pid={pid} comm={}", Untrusted(self.comm))?;
        match self.exe {
            Some(exe) => write!(f, " exe={}", Untrusted(exe))?,
            None => f.write_str(" exe=(null)")?,
        }
        let LogEntry { signal, code, nr, arch, instruction_pointer } = self.entry;
        let compat = u8::from(self.compat);
        write!(
            f,
            " sig={signal} arch={arch:x} syscall={nr} compat={compat} ip={instruction_pointer:#x} code={code:#x}"
        )
    }
}

/// A string that a program chose, so that it may try to look like other fields of a record
/// (`audit_log_untrustedstring`): in quotes if it has only visible ASCII and no quote, else as upper case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untrusted<'a>(pub &'a [u8]);

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.iter().copied().take_while(|byte| *byte != 0);
        if bytes.clone().all(|byte| byte.is_ascii_graphic() && byte != b'"') {
            f.write_char('"')?;
            bytes.try_for_each(|byte| f.write_char(char::from(byte)))?;
            f.write_char('"')
        } else {
            bytes.try_for_each(|byte| write!(f, "{byte:02X}"))
        }
    }
}
