//! SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: once a supervisor has received a call, only a fatal signal ends its wait.
//!
//! The host makes a signal fatal by sending SIGKILL along, but to no thread that is traced: that one is to ask its
//! tracer about the signal first, and does not wake for it. So the pending signals of threads that wait so are
//! looked at from time to time, and one that the host would die of gets the supervisor's answer from here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use libc::c_int;
use nix::unistd::Pid;
use seccomp_kernel::notify::SeccompNotifResp;

use super::proc::Status;
use super::sys;
use super::task::Tasks;

/// How often they are looked at.
pub(super) const PERIOD: Duration = Duration::from_millis(10);

/// Signals whose default is to end a process without a core file (`complete_signal`): at once, wherever it waits.
/// SIGKILL does that by itself.
const FATAL: u64 = !mask(&[
    // Ignored,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    // stopping,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    // with a core file.
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGKILL,
]);

const fn mask(mut signals: &[c_int]) -> u64 {
    let mut mask = 0;
    while let [signal, rest @ ..] = signals {
        mask |= 1 << (*signal - 1);
        signals = rest;
    }
    mask
}

/// A supervisor received the call `id` of the thread that is `pid` to it: a thread that waits killably, if that can
/// be told.
pub(super) fn received(tasks: &Tasks, supervisor: Pid, id: u64, pid: i32) {
    let Some(depth) = seen(supervisor).and_then(|status| status.namespaces()) else { return };
    let mut named = tasks.killable().filter(|task| {
        let id = seen(task.tid).and_then(|status| status.tid_at(depth));
        id == Some(pid)
    });
    if let (Some(task), None) = (named.next(), named.next()) {
        task.received.set(Some(id));
    }
}

/// Ends the waits of threads that have got a fatal signal.
pub(super) fn end_waits(tasks: &Tasks) {
    for task in tasks.killable() {
        if let (Some(id), Some(signal)) = (task.received.get(), fatal(task.tid))
            && answer(tasks, id)
        {
            task.dies_of.set(signal);
        }
    }
}

/// What `/proc` tells of a thread. One of which it tells nothing waits on.
fn seen(tid: Pid) -> Option<Status> {
    Status::of(tid).ok()
}

/// The signal that a thread is about to die of.
fn fatal(tid: Pid) -> Option<c_int> {
    let status = seen(tid)?;
    let survived = status.blocked()? | status.ignored()? | status.caught()?;
    // The first process of a pid namespace survives them all.
    let pending = if status.is_init()? { 0 } else { status.pending()? & FATAL & !survived };
    (pending != 0).then(|| pending.trailing_zeros() as c_int + 1)
}

/// Answers the call `id` with EINTR by its listener, which is open in some process. Whether that is so.
fn answer(tasks: &Tasks, id: u64) -> bool {
    let response = SeccompNotifResp { id, val: 0, error: -libc::EINTR, flags: 0 };
    tasks.processes().into_iter().any(|process| {
        listeners(process).into_iter().any(|fd| {
            // Ids begin by chance, so that of another listener has no such call.
            sys::descriptor(process, fd).and_then(|listener| sys::answer(&listener, &response)).is_ok()
        })
    })
}

/// The descriptors of a process that are listeners.
fn listeners(process: Pid) -> Vec<c_int> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let listeners = entries.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|file| file == Path::new("anon_inode:seccomp notify"))
    });
    listeners.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
