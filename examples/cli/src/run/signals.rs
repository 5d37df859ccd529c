//! Signals sent to this process are meant for the program.

use std::thread;

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getsid};

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
/// leader of the session alone, which may be this process.
pub(super) fn forward(program: Pid) -> anyhow::Result<()> {
    let mut set = SigSet::all();
    KEPT.into_iter().for_each(|signal| set.remove(signal));
    set.thread_block().context("cannot block signals")?;
    let signals = SignalFd::new(&set).context("cannot receive signals")?;
    let leads_session = getsid(None) == Ok(Pid::this());
    thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(Some(info)) = signals.read_signal() {
            let signal = info.ssi_signo.cast_signed();
            if info.ssi_code <= 0 || (leads_session && signal == libc::SIGHUP) {
                // Fails if the program has ended, and then so does this process.
                let _ = sys::send(program, signal);
            }
        }
    })?;
    Ok(())
}
