//! Signals sent to this process are meant for the program.

use std::thread;

use anyhow::Context;
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

/// What would end or stop this process and is the program's business.
const FORWARDED: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTSTP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Passes signals that processes send to this one on to `program`. Those of the terminal (Ctrl-C, Ctrl-Z, a
/// hang-up) the program gets itself, as a member of the same foreground group.
pub(super) fn forward(program: Pid) -> anyhow::Result<()> {
    let set: SigSet = FORWARDED.into_iter().collect();
    set.thread_block().context("cannot block signals")?;
    let signals = SignalFd::new(&set).context("cannot receive signals")?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(Some(info)) = signals.read_signal() {
            let sent_by_process = info.ssi_code <= 0;
            if let (true, Ok(signal)) = (sent_by_process, Signal::try_from(info.ssi_signo.cast_signed())) {
                // Fails if the program has ended, and then so does this process.
                let _ = signal::kill(program, signal);
            }
        }
    })?;
    Ok(())
}
