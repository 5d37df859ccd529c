//! A system call and a thread's state in, a verdict out (`__secure_computing`).

use cbpf_translator::seccomp::{RET_ACTION_FULL, RET_ALLOW, RET_KILL_PROCESS, RET_KILL_THREAD};
use seccomp_runtime::{HelperHost, SeccompData};

use crate::action::{self, Action};
use crate::arch::Arch;
use crate::audit::{LogEntry, LogMask};
use crate::decided::Decided;
use crate::filter::Filter;
use crate::state::{Mode, ThreadState};
use crate::uapi::{ENOSYS, MAX_ERRNO};

const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

/// What the kernel must do with the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a verdict that is not carried out leaves the call allowed"]
pub enum Verdict {
    /// Run the call.
    Proceed,
    /// Do not run it; it returns this, as it stands: 0 or an errno from -1 to -4095 from a filter, anything
    /// from a supervisor. A kernel whose calls say EINTR when a signal interrupted them must not take this one
    /// for such a call and restart it.
    Return(i64),
    /// Do not run it. Restore the registers to what they were at entry (the return register holds the number
    /// again where they are one), then force this SIGSYS on the thread: if the signal is blocked or ignored,
    /// the process dies of it. What a handler leaves in the return register is the call's result.
    Trap(Sigsys),
    /// Do not run it. It returns what is in the return register: what a tracer left there, or ENOSYS.
    Skip,
    /// Do not run it: a signal interrupted it, as one interrupts a call that waits (ERESTARTSYS).
    Restart,
    /// Ask the tracer. [`enter`](crate::enter()) does what follows and never answers this.
    Trace {
        /// The data of the filter's return value.
        message: u16,
    },
    /// Ask the supervisor, by the listener of the filter with this index
    /// ([`ThreadState::listener`]). [`enter`](crate::enter()) does what follows and never answers this.
    Notify {
        /// The filter.
        filter: u16,
    },
    /// The thread, not the process, dies of SIGKILL at once, without a core dump: strict mode does not
    /// allow the call.
    KillStrict,
    /// The thread, not the process, dies of SIGSYS at once; no handler runs. If it is the last live thread
    /// of the process, do as for [`Verdict::KillProcess`].
    KillThread(Sigsys),
    /// The process dies of this SIGSYS with a core dump; no handler runs.
    KillProcess(Sigsys),
}

/// What the `siginfo` of a SIGSYS holds, with `si_code` [`SYS_SECCOMP`](crate::uapi::SYS_SECCOMP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sigsys {
    /// `si_errno`: the data of the filter's return value.
    pub errno: u16,
    /// `si_call_addr`.
    pub call_addr: u64,
    /// `si_syscall`.
    pub syscall: i32,
    /// `si_arch`.
    pub arch: u32,
}

/// A verdict, and the audit record to write, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a verdict that is not carried out leaves the call allowed"]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// The filters' return value that this follows from. Strict mode counts as ALLOW or KILL_THREAD, no mode
    /// as ALLOW.
    pub value: u32,
    /// The filter that it is from, counted from the oldest, which is 0 ([`ThreadState::filter_at`]). `None` if
    /// all allow, or none is asked.
    pub filter: Option<u16>,
    /// What to log. Of a call that a tracer or a supervisor is asked about, if it then does not run.
    pub log: Option<LogEntry>,
}

/// Which evaluation of one call this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The first.
    Entry,
    /// The one after a tracer answered [`Verdict::Trace`]: TRACE counts as ALLOW, every other action applies.
    AfterTracer,
}

/// What Linux says without a tracer or a listener.
pub(crate) const NOBODY_ANSWERS: Verdict = Verdict::Return(-ENOSYS);

const PROCEED: Decision = Decision { verdict: Verdict::Proceed, value: RET_ALLOW, filter: None, log: None };

/// Decides about one system call of the thread that has `state`.
///
/// It only decides: to ask a tracer or a supervisor, and then evaluate again, is [`enter`](crate::enter())'s part.
///
/// Whatever is missing or broken denies: filter mode without a filter, a failing engine and an action that
/// Linux does not know kill the process. A thread that a verdict kills is [`Mode::Dead`] from then on.
///
/// `host` is what extensions ask; without one they kill the process. A kernel that takes none
/// ([`Kernel::extension_rights`](crate::Kernel::extension_rights)) has none.
///
/// Takes no lock, counts no reference, and allocates only if a filter runs on rbpf's interpreter. (Extensions take the
/// locks of their maps.)
pub fn evaluate(
    state: &ThreadState,
    data: &SeccompData,
    pass: Pass,
    logged: LogMask,
    host: Option<&dyn HelperHost>,
) -> Decision {
    match state.mode() {
        Mode::Disabled => PROCEED,
        Mode::Strict => strict(state, data, logged),
        Mode::Filter => filtered(state, data, pass, logged, host),
        // It was told to die and calls again: Linux warns and sends SIGKILL.
        Mode::Dead => {
            Decision { verdict: Verdict::KillStrict, value: RET_KILL_THREAD, filter: None, log: None }
        }
    }
}

/// `__secure_computing_strict`.
fn strict(state: &ThreadState, data: &SeccompData, logged: LogMask) -> Decision {
    if Arch::of_call(data.arch, data.nr).is_some_and(|arch| arch.strict_allows(data.nr)) {
        return PROCEED;
    }
    state.die();
    let log = logged.logs(Action::KillThread, true).then(|| entry(data, SIGKILL, RET_KILL_THREAD));
    Decision { verdict: Verdict::KillStrict, value: RET_KILL_THREAD, filter: None, log }
}

/// `__seccomp_filter`.
fn filtered(
    state: &ThreadState,
    data: &SeccompData,
    pass: Pass,
    logged: LogMask,
    host: Option<&dyn HelperHost>,
) -> Decision {
    let nobody = Decided { value: RET_KILL_PROCESS, winner: 0, log: false };
    let Decided { value, winner, log: requested } =
        state.filter().map_or(nobody, |newest| decide(newest, data, host));
    let action = Action::of(value);
    // Nearly every call, and never logged.
    if action == Action::Allow {
        return Decision { value, ..PROCEED };
    }
    let sigsys = Sigsys {
        errno: action::data(value),
        call_addr: data.instruction_pointer,
        syscall: data.nr,
        arch: data.arch,
    };
    let (verdict, signal) = match action {
        Action::Allow | Action::Log => (Verdict::Proceed, 0),
        Action::Errno => (Verdict::Return(i64::from(sigsys.errno.min(MAX_ERRNO)).wrapping_neg()), 0),
        Action::Trap => (Verdict::Trap(sigsys), 0),
        Action::Trace if pass == Pass::AfterTracer => {
            return Decision { verdict: Verdict::Proceed, value, filter: Some(winner), log: None };
        }
        Action::Trace => (Verdict::Trace { message: sigsys.errno }, 0),
        Action::UserNotif if state.listener(winner).is_some() => (Verdict::Notify { filter: winner }, 0),
        Action::UserNotif => (NOBODY_ANSWERS, 0),
        Action::KillThread => (Verdict::KillThread(sigsys), SIGSYS),
        Action::KillProcess | Action::Unknown(_) => (Verdict::KillProcess(sigsys), SIGSYS),
    };
    if signal != 0 {
        state.die();
    }
    let log = logged.logs(action, requested).then(|| entry(data, signal, value & RET_ACTION_FULL));
    Decision { verdict, value, filter: Some(winner), log }
}

/// What a stack of filters decides.
#[inline]
fn decide(newest: &Filter, data: &SeccompData, host: Option<&dyn HelperHost>) -> Decided {
    newest.decided(data).unwrap_or_else(|| {
        let (value, winner) = combine(newest, data, host);
        Decided { value, winner: winner.map_or(0, Filter::index), log: winner.is_some_and(Filter::logs) }
    })
}

/// The return value of a stack of filters, and the filter it is from, `None` if all allow.
///
/// Every filter runs, the newest first, and the answer counts that is [`strictest`] (`seccomp_run_filters`).
///
/// So a filter, extension or not, can make the answer stricter than that of the others, and never looser.
pub fn combine<'f>(
    newest: &'f Filter,
    data: &SeccompData,
    host: Option<&dyn HelperHost>,
) -> (u32, Option<&'f Filter>) {
    let mut winner = (RET_ALLOW, None);
    for filter in newest.newest_first() {
        let value = filter.program().run(data, host);
        if action::precedence(value) < action::precedence(winner.0) {
            winner = (value, Some(filter));
        }
    }
    winner
}

/// Which of several filters' return values counts, and what stands beside it. The newest filter's comes first.
///
/// The lowest action wins, compared as signed numbers, and among equal ones the newest. Data does not count.
/// `None` if there are no values.
pub fn strictest<T>(returned: impl IntoIterator<Item = (u32, T)>) -> Option<(u32, T)> {
    // Of equal elements the first is the minimum.
    returned.into_iter().min_by_key(|(value, _)| action::precedence(*value))
}

fn entry(data: &SeccompData, signal: i32, code: u32) -> LogEntry {
    LogEntry { signal, code, nr: data.nr, arch: data.arch, instruction_pointer: data.instruction_pointer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_signed_action_wins_and_among_equal_ones_the_newest() {
        let rows: [(&[u32], _); 7] = [
            (&[], None),
            (&[0x7fff_1234], Some((0x7fff_1234, 0))),
            (&[RET_ALLOW, 0x0005_0001, 0x7ffc_0000], Some((0x0005_0001, 1))),
            (&[0x0005_0002, 0x0005_0001], Some((0x0005_0002, 0))),
            (&[RET_KILL_THREAD, RET_KILL_PROCESS], Some((RET_KILL_PROCESS, 1))),
            // Unknown actions have their place by value: this one is between KILL_THREAD and TRAP.
            (&[0x0003_0000, 0x0001_0000, RET_ALLOW], Some((0x0001_0000, 1))),
            (&[RET_KILL_PROCESS, 0x8001_0000, RET_KILL_THREAD], Some((RET_KILL_PROCESS, 0))),
        ];
        for (values, winner) in rows {
            assert_eq!(strictest(values.iter().copied().zip(0..)), winner, "{values:x?}");
        }
    }
}
