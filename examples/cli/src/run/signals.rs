//! Signals sent to this process are meant for the program.

use std::fs;
use std::thread;

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpgid, getpgrp, getsid};

use super::proc::Status;
use super::sys;

/// What this process keeps for itself: its children's ends, and what its own instructions would bring.
const KEPT: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGTRAP,
    Signal::SIGABRT,
];

/// Passes signals that processes send to this one on to `program`. Those of the terminal (Ctrl-C, Ctrl-Z, a new
/// window size) the program gets itself, as a member of the same foreground group; only a hang-up goes to the
/// leader of the session alone, which may be this process. When the program has ended, signals go to all that it has
/// left behind, daemons for example; Ctrl-C ends these.
pub(super) fn forward(program: Pid) -> anyhow::Result<()> {
    let mut set = SigSet::all();
    KEPT.into_iter().for_each(|signal| set.remove(signal));
    set.thread_block().context("cannot block signals")?;
    let signals = SignalFd::new(&set).context("cannot receive signals")?;
    let leads_session = getsid(None) == Ok(Pid::this());
    thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(Some(info)) = signals.read_signal() {
            let signal = info.ssi_signo.cast_signed();
            let is_sent = info.ssi_code <= 0 || (leads_session && signal == libc::SIGHUP);
            let parent = Status::of(program).ok().and_then(|status| status.parent());
            let runs = parent == Some(Pid::this());
            let (targets, signal) = match (is_sent, signal) {
                (true, _) if runs => (vec![program], signal),
                (true, _) => (left(), signal),
                // Who is in the foreground has it. Who is not has often left Ctrl-C behind too.
                (false, libc::SIGINT) if !runs => (outside_foreground(left()), libc::SIGTERM),
                (false, _) => continue,
            };
            for target in targets {
                // Fails if it has ended meanwhile.
                let _ = sys::send(target, signal);
            }
        }
    })?;
    Ok(())
}

/// The processes that this one still carries.
fn left() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    let tracer = |pid: &Pid| Status::of(*pid).ok().and_then(|status| status.tracer());
    pids.filter(|pid| tracer(pid) == Some(Pid::this())).collect()
}

/// Those that are in another process group than this one.
fn outside_foreground(mut pids: Vec<Pid>) -> Vec<Pid> {
    pids.retain(|pid| getpgid(Some(*pid)) != Ok(getpgrp()));
    pids
}
