//! A system call entry from its registers to what becomes of it: evaluation, and whom filters want asked.

use seccomp_runtime::{HelperHost, SeccompData};

use crate::audit::{LogEntry, LogMask};
use crate::evaluate::{Decision, NOBODY_ANSWERS, Pass, Verdict, evaluate};
use crate::kernel::Listener;
use crate::notify::Reply;
use crate::state::ThreadState;

/// The thread that makes a call, as [`enter`] sees it. All methods may sleep.
pub trait Entry {
    /// The call as the registers have it now.
    fn data(&mut self) -> SeccompData;

    /// What extensions ask about the thread; see [`evaluate`].
    fn helper_host(&self) -> Option<&dyn HelperHost> {
        None
    }

    /// If a tracer with PTRACE_O_TRACESECCOMP is attached, stops for it with PTRACE_EVENT_SECCOMP and this
    /// message. The return register holds ENOSYS meanwhile.
    fn trace(&mut self, message: u16) -> Traced;

    /// Makes a request for this call to `listener` and waits for its end: the target's part of
    /// [`Notifications`](crate::notify::Notifications).
    fn notify(&mut self, listener: &dyn Listener, data: &SeccompData) -> Notified;
}

/// How asking the tracer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// There is none.
    NoTracer,
    /// It let the thread go on, perhaps with other registers.
    Resumed,
    /// A fatal signal is pending.
    Killed,
}

/// How asking the supervisor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// With an answer, or with the errno of a [`RequestError`](crate::notify::RequestError).
    Answered(Reply),
    /// With a signal.
    Interrupted,
}

/// Decides about the call that the thread with `state` is at the entry of, and asks whom its filters want asked
/// (`__seccomp_filter`). The verdict is never [`Verdict::Trace`] or [`Verdict::Notify`].
///
/// After a tracer, all filters decide again about what the registers hold then, with TRACE counted as ALLOW; a
/// number below 0 skips the call. A supervisor cannot change registers, so its word is the last.
///
/// Locks and allocations are those of [`evaluate`], and the kernel's own in [`Entry`].
pub fn enter(state: &ThreadState, logged: LogMask, entry: &mut impl Entry) -> Decision {
    let mut data = entry.data();
    let mut pass = Pass::Entry;
    loop {
        let decision = evaluate(state, &data, pass, logged, entry.helper_host());
        let verdict = match decision.verdict {
            Verdict::Trace { message } => match entry.trace(message) {
                Traced::NoTracer => NOBODY_ANSWERS,
                Traced::Killed => Verdict::Skip,
                Traced::Resumed => {
                    data = entry.data();
                    if data.nr >= 0 {
                        pass = Pass::AfterTracer;
                        continue;
                    }
                    Verdict::Skip
                }
            },
            Verdict::Notify { filter } => match state.listener(filter) {
                Some(listener) => match entry.notify(&**listener, &data) {
                    Notified::Answered(Reply::Continue) => Verdict::Proceed,
                    Notified::Answered(Reply::Return(value)) => Verdict::Return(value),
                    Notified::Interrupted => Verdict::Restart,
                },
                None => NOBODY_ANSWERS,
            },
            _ => return decision,
        };
        // What is logged is the call that does not run: if a tracer skipped it, by the number that it left there.
        let SeccompData { nr, arch, instruction_pointer, .. } = data;
        let log = decision.log.filter(|_| verdict != Verdict::Proceed);
        let log = log.map(|entry| LogEntry { nr, arch, instruction_pointer, ..entry });
        return Decision { verdict, log, ..decision };
    }
}
