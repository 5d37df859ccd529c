//! A system call from its entry to its result: first the filters, then the call.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use seccomp_kernel::notify::{Next, Reply};
use seccomp_kernel::runtime::{HelperHost, SeccompData};
use seccomp_kernel::{
    self as seccomp, AUDIT_UNSET, Entry, LogEntry, LogMask, Notified, Record, Traced, Verdict,
};
use syscalls::Errno;

use crate::arch::Context;
use crate::listener::Listener;
use crate::println;
use crate::scheduler;
use crate::seccomp::Caller;
use crate::signal::{self, Info, SIGKILL, SIGSYS};
use crate::syscall::{self, Outcome};
use crate::thread::Thread;

/// What all threads are called.
pub const COMM: &[u8] = b"toy";

/// Serves the call that `context` has trapped for.
///
/// The registers are read once, and none is written before it is decided what becomes of the call: so there is
/// nothing to roll back for a SIGSYS or for a call that is made again.
pub fn system_call(thread: &Arc<Thread>, context: &mut Context) -> Outcome {
    let call = context.call();
    // Nobody can trace here; a kernel with ptrace(2) has its entry stop now, and reads the registers after it.
    let decision = seccomp::enter(&thread.seccomp, LogMask::all(), &mut Entering::new(thread, call));
    if let Some(entry) = decision.log {
        log(thread, entry);
    }
    match decision.verdict {
        Verdict::Proceed => syscall::dispatch(thread, context, call.nr, call.args),
        Verdict::Return(value) => Outcome::Return(value),
        Verdict::Skip => Outcome::Replaced,
        Verdict::Restart => Outcome::Restart,
        Verdict::Trap(sigsys) => {
            signal::force(thread, SIGSYS, Info::Seccomp(sigsys));
            Outcome::Replaced
        }
        Verdict::KillStrict => Outcome::End(SIGKILL),
        Verdict::KillThread(_) => {
            if thread.process.group.lock().threads.len() == 1 {
                thread.process.end(SIGSYS);
            }
            Outcome::End(SIGSYS)
        }
        Verdict::KillProcess(_) => {
            thread.process.end(SIGSYS);
            Outcome::End(SIGSYS)
        }
        // `enter` never answers these; a kernel that did not understand would have to deny.
        Verdict::Trace { .. } | Verdict::Notify { .. } => Err(Errno::ENOSYS).into(),
    }
}

/// A thread at the entry of a call.
struct Entering<'a> {
    thread: &'a Arc<Thread>,
    caller: Caller<'a>,
    call: SeccompData,
}

impl<'a> Entering<'a> {
    fn new(thread: &'a Arc<Thread>, call: SeccompData) -> Self {
        Self { thread, caller: Caller(thread), call }
    }
}

impl Entry for Entering<'_> {
    fn data(&mut self) -> SeccompData {
        self.call
    }

    fn helper_host(&self) -> Option<&dyn HelperHost> {
        Some(&self.caller)
    }

    fn trace(&mut self, _: u16) -> Traced {
        Traced::NoTracer
    }

    fn notify(&mut self, listener: &dyn seccomp::Listener, data: &SeccompData) -> Notified {
        let Some(listener) = listener.downcast_ref::<Listener>() else {
            return Notified::Answered(errno(Errno::ENOSYS));
        };
        let id = match listener.request(self.thread, *data) {
            Ok(id) => id,
            Err(error) => return Notified::Answered(errno(error.into())),
        };
        loop {
            match listener.next(id) {
                Next::Return(reply) => return Notified::Answered(reply),
                Next::Install(file, at) => {
                    let fd = self.thread.process.files().install(at, file);
                    listener.installed(id, fd);
                }
                Next::Wait(wait) => {
                    let interrupt = scheduler::sleep(wait, None);
                    if interrupt.is_some_and(|interrupt| listener.interrupt(id, interrupt)) {
                        return Notified::Interrupted;
                    }
                }
            }
        }
    }
}

fn errno(errno: Errno) -> Reply {
    Reply::Return(-i64::from(errno.into_raw()))
}

/// The audit record, on the console.
fn log(thread: &Thread, entry: LogEntry) {
    let uid = thread.process.uid.load(Ordering::Relaxed);
    let record = Record {
        auid: AUDIT_UNSET,
        uid,
        gid: uid,
        ses: AUDIT_UNSET,
        subj: None,
        pid: thread.process.pid,
        comm: COMM,
        exe: None,
        compat: false,
        entry,
    };
    println!("kernel: audit: type={} {record}", seccomp::AUDIT_SECCOMP);
}
