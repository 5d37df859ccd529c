//! The files of `/proc/sys/kernel/seccomp`.

use core::error::Error;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use syscalls::Errno;

use crate::audit::LogMask;

/// The text of `actions_avail`, which nobody can write. The file ends in a newline.
pub const ACTIONS_AVAIL: &str = "kill_process kill_thread trap errno user_notif trace log allow";

/// The type of the audit record about a [`Change`].
pub const AUDIT_CONFIG_CHANGE: u16 = 1305;

/// What can be logged, by the names of [`ACTIONS_AVAIL`] and in their order.
const NAMES: [(LogMask, &str); 7] = [
    (LogMask::KILL_PROCESS, "kill_process"),
    (LogMask::KILL_THREAD, "kill_thread"),
    (LogMask::TRAP, "trap"),
    (LogMask::ERRNO, "errno"),
    (LogMask::USER_NOTIF, "user_notif"),
    (LogMask::TRACE, "trace"),
    (LogMask::LOG, "log"),
];

/// `actions_logged`: the mask that [`evaluate`](crate::evaluate()) asks for, and the file that changes it.
#[derive(Debug)]
pub struct ActionsLogged(AtomicU32);

impl ActionsLogged {
    /// Everything is logged, as Linux boots.
    pub const fn new() -> Self {
        Self(AtomicU32::new(LogMask::all().bits()))
    }

    /// What is logged. As text it is the content of the file, but for the newline at the end.
    #[inline]
    pub fn mask(&self) -> LogMask {
        LogMask::from_bits_truncate(self.0.load(Ordering::Relaxed))
    }

    /// `write(2)` of `text` to the file at `offset`. `sys_admin` is whether the caller has CAP_SYS_ADMIN in
    /// the initial user namespace. A write that is taken is taken whole.
    ///
    /// At an offset other than 0 Linux sees an empty text: a program that writes in two parts ends with an
    /// empty mask (`_proc_do_string`).
    pub fn write(&self, sys_admin: bool, offset: u64, text: &[u8]) -> Change {
        let outcome = match offset {
            _ if !sys_admin => Err(WriteError::Denied),
            0 => LogMask::parse(text),
            _ => Ok(LogMask::empty()),
        };
        let old = match outcome {
            Ok(new) => LogMask::from_bits_truncate(self.0.swap(new.bits(), Ordering::Relaxed)),
            Err(_) => self.mask(),
        };
        Change { old, outcome }
    }
}

impl Default for ActionsLogged {
    fn default() -> Self {
        Self::new()
    }
}

impl LogMask {
    /// Reads what a write to `actions_logged` says (`seccomp_actions_logged_from_names`): names with one space
    /// between them, up to the first newline or 0, and never more than [`ACTIONS_AVAIL`] is long. Reading ends
    /// where a name is empty, so what follows two spaces, or a space at the start, does not count.
    ///
    /// # Errors
    ///
    /// A name is not one that can be logged.
    pub fn parse(text: &[u8]) -> Result<Self, WriteError> {
        let text = text.get(..ACTIONS_AVAIL.len()).unwrap_or(text);
        let line = text.split(|byte| matches!(byte, 0 | b'\n')).next().unwrap_or_default();
        line.split(|byte| *byte == b' ')
            .take_while(|name| !name.is_empty())
            .map(|name| match NAMES.iter().find(|(_, known)| known.as_bytes() == name) {
                Some((mask, _)) => Ok(*mask),
                None if name == b"allow" => Err(WriteError::Allow),
                None => Err(WriteError::Unknown),
            })
            .collect()
    }
}

impl fmt::Display for LogMask {
    /// The text of `actions_logged`: names with a space between them. The file ends in a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_names(f, *self, " ")
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, mask: LogMask, separator: &str) -> fmt::Result {
    let mut before = "";
    for (_, name) in NAMES.iter().filter(|(bit, _)| mask.contains(*bit)) {
        write!(f, "{before}{name}")?;
        before = separator;
    }
    Ok(())
}

/// What a write to `actions_logged` did.
///
/// While auditing is on, a record of type [`AUDIT_CONFIG_CHANGE`] is written of every attempt; its text is this
/// one's `Display` (`audit_seccomp_actions_logged`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was logged before.
    pub old: LogMask,
    /// What is logged now, or why nothing has changed.
    pub outcome: Result<LogMask, WriteError>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, mask: LogMask| match mask.is_empty() {
            true => f.write_str("(none)"),
            false => write_names(f, mask, ","),
        };
        f.write_str("op=seccomp-logging actions=")?;
        match self.outcome {
            Ok(new) => list(f, new)?,
            Err(_) => f.write_str("?")?,
        }
        f.write_str(" old-actions=")?;
        list(f, self.old)?;
        write!(f, " res={}", u8::from(self.outcome.is_ok()))
    }
}

/// Why a write to `actions_logged` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The caller does not have CAP_SYS_ADMIN.
    Denied,
    /// A name is not one of [`ACTIONS_AVAIL`].
    Unknown,
    /// Calls that are allowed cannot be logged.
    Allow,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "no CAP_SYS_ADMIN",
            Self::Unknown => "an action that is not known",
            Self::Allow => "calls that are allowed cannot be logged",
        })
    }
}

impl Error for WriteError {}

impl From<WriteError> for Errno {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Denied => Self::EPERM,
            WriteError::Unknown | WriteError::Allow => Self::EINVAL,
        }
    }
}
