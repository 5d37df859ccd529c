//! What a filter's return value asks for.

use cbpf_translator::seccomp::{
    RET_ACTION_FULL, RET_ALLOW, RET_DATA, RET_ERRNO, RET_KILL_PROCESS, RET_KILL_THREAD, RET_LOG, RET_TRACE,
    RET_TRAP, RET_USER_NOTIF,
};

/// The action in the high 16 bits of a return value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Kill the process, with a core dump.
    KillProcess,
    /// Kill the thread.
    KillThread,
    /// Send SIGSYS.
    Trap,
    /// Return an errno.
    Errno,
    /// Ask a supervisor.
    UserNotif,
    /// Ask the tracer.
    Trace,
    /// Allow, after a log record.
    Log,
    /// Allow.
    Allow,
    /// One that Linux does not know; the same as [`Action::KillProcess`] if it wins.
    Unknown(u16),
}

impl Action {
    /// The action of a return value.
    pub const fn of(value: u32) -> Self {
        match value & RET_ACTION_FULL {
            RET_KILL_PROCESS => Self::KillProcess,
            RET_KILL_THREAD => Self::KillThread,
            RET_TRAP => Self::Trap,
            RET_ERRNO => Self::Errno,
            RET_USER_NOTIF => Self::UserNotif,
            RET_TRACE => Self::Trace,
            RET_LOG => Self::Log,
            RET_ALLOW => Self::Allow,
            other => Self::Unknown((other >> 16) as u16),
        }
    }

    /// The action that `GET_ACTION_AVAIL` is asked about: all 32 bits count, and Linux has to know it.
    pub const fn available(value: u32) -> Option<Self> {
        match Self::of(value) {
            Self::Unknown(_) => None,
            _ if value & RET_DATA != 0 => None,
            action => Some(action),
        }
    }

    /// Its name without `SECCOMP_RET_`, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillProcess => "KILL_PROCESS",
            Self::KillThread => "KILL_THREAD",
            Self::Trap => "TRAP",
            Self::Errno => "ERRNO",
            Self::UserNotif => "USER_NOTIF",
            Self::Trace => "TRACE",
            Self::Log => "LOG",
            Self::Allow => "ALLOW",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

/// The order of return values: the lowest action wins, compared as signed numbers, so that KILL_PROCESS is
/// below KILL_THREAD, and what Linux does not know has its place by value too.
pub(crate) const fn precedence(value: u32) -> i32 {
    (value & RET_ACTION_FULL).cast_signed()
}

/// The data of a return value.
pub(crate) const fn data(value: u32) -> u16 {
    (value & RET_DATA) as u16
}
