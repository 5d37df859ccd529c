//! What is logged, and when (`seccomp_log`).

use bitflags::bitflags;

use crate::action::Action;

bitflags! {
    /// The actions that the administrator wants logged, the `actions_logged` sysctl.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct LogMask: u32 {
        /// KILL_PROCESS, and actions that Linux does not know.
        const KILL_PROCESS = 1 << 0;
        /// KILL_THREAD, and strict mode's kills.
        const KILL_THREAD = 1 << 1;
        /// TRAP.
        const TRAP = 1 << 2;
        /// ERRNO.
        const ERRNO = 1 << 3;
        /// USER_NOTIF.
        const USER_NOTIF = 1 << 4;
        /// TRACE.
        const TRACE = 1 << 5;
        /// LOG.
        const LOG = 1 << 6;
    }
}

impl Default for LogMask {
    /// Everything, as Linux boots.
    fn default() -> Self {
        Self::all()
    }
}

/// One audit record (type 1326) to write. What it lacks (ids, command, executable) the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The signal that the call brought, or 0.
    pub signal: i32,
    /// The action of the winning filter, as it stands in a return value, without data.
    pub code: u32,
    /// The system call number.
    pub nr: i32,
    /// The `AUDIT_ARCH_*` value of the entry.
    pub arch: u32,
    /// The instruction pointer.
    pub instruction_pointer: u64,
}

impl LogMask {
    /// Whether a call that ended with `action` is logged. `requested` is whether the filter that won was
    /// installed with `SECCOMP_FILTER_FLAG_LOG`; kills and LOG need no request, and ALLOW is never logged.
    pub const fn logs(self, action: Action, requested: bool) -> bool {
        match action {
            Action::KillProcess | Action::Unknown(_) => self.contains(Self::KILL_PROCESS),
            Action::KillThread => self.contains(Self::KILL_THREAD),
            Action::Log => self.contains(Self::LOG),
            Action::Trap => requested && self.contains(Self::TRAP),
            Action::Errno => requested && self.contains(Self::ERRNO),
            Action::UserNotif => requested && self.contains(Self::USER_NOTIF),
            Action::Trace => requested && self.contains(Self::TRACE),
            Action::Allow => false,
        }
    }
}
