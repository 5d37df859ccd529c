//! Starting the program so that not one of its instructions runs unseen.
//!
//! A launcher, which is this command under a hidden name, stops itself before it does anything; it is seized
//! while it is stopped, and then turns into the program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The hidden subcommand.
pub(crate) const LAUNCH: &str = "__launch";

/// The program and its arguments.
#[derive(Args)]
pub(crate) struct LaunchArgs {
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The launcher's side: waits to be seized, then becomes the program. Returns only if it cannot.
pub(crate) fn launch(args: &LaunchArgs) -> anyhow::Result<ExitCode> {
    let [program, rest @ ..] = args.command.as_slice() else { bail!("no command") };
    signal::raise(Signal::SIGSTOP)?;
    let error = Command::new(program).args(rest).exec();
    eprintln!("seccomp-rbpf: {}: {error}", program.display());
    // As a shell says it: not found, or found and not to be run.
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

/// Starts the launcher for `command` and seizes it. All that descends from it is seized too, and dies with
/// this process.
pub(super) fn start(command: &[OsString]) -> anyhow::Result<Pid> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let child =
        Command::new(this).arg(LAUNCH).arg("--").args(command).spawn().context("cannot start a process")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    match waitpid(pid, Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(..) => {}
        status => bail!("the launcher ended before it was seized: {status:?}"),
    }
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_EXITKILL;
    if let Err(error) = ptrace::seize(pid, options) {
        let _ = signal::kill(pid, Signal::SIGKILL);
        return Err(error).context("cannot trace (is ptrace forbidden here, or this already traced?)");
    }
    signal::kill(pid, Signal::SIGCONT)?;
    Ok(pid)
}
