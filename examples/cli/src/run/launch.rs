//! Starting the program so that not one of its instructions runs unseen.
//!
//! A launcher, which is this command under a hidden name, waits until it is traced by its parent, and then
//! turns into the program.

use std::ffi::{CStr, OsString};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use libc::c_int;
use nix::sys::prctl;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

use super::proc::Status;
use super::sys;

/// The hidden subcommand.
pub(crate) const LAUNCH: &str = "__launch";

/// What the launcher calls itself when its own exec(2) is behind it, which is not the program's.
const READY: &CStr = c"waits-for-trace";

/// How long one looks away while waiting for the other.
const POLL: Duration = Duration::from_micros(200);

/// The program and its arguments.
#[derive(Args)]
pub(crate) struct LaunchArgs {
    /// The signals that it is to begin with ignored, signal n in bit n - 1.
    #[arg(long)]
    ignored: u64,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The launcher's side: waits to be seized, then becomes the program. Returns only if it cannot.
pub(crate) fn launch(args: &LaunchArgs) -> anyhow::Result<ExitCode> {
    let [program, rest @ ..] = args.command.as_slice() else { bail!("no command") };
    let parent = Pid::parent();
    prctl::set_name(READY).context("cannot tell that this is ready")?;
    // No signal tells of it: anybody can send one.
    while own_status()?.tracer() != Some(parent) {
        ensure!(Pid::parent() == parent, "the command that wanted to trace this is gone");
        thread::sleep(POLL);
    }
    keep_ignored(args.ignored)?;
    let error = Command::new(program).args(rest).exec();
    // Where nobody reads, the status is left.
    let _ = writeln!(io::stderr(), "seccomp-rbpf: {}: {error}", program.display());
    // As a shell says it: not found, or found and not to be run.
    Ok(ExitCode::from(if error.kind() == ErrorKind::NotFound { 127 } else { 126 }))
}

/// Of the signals that the C library keeps to itself, leaves those ignored that `ignored` has: its posix_spawn(3)
/// ignores them all in what it starts.
fn keep_ignored(ignored: u64) -> anyhow::Result<()> {
    /// The first real-time signal, where these begin.
    const FIRST: c_int = 32;
    for signal in (FIRST..libc::SIGRTMIN()).filter(|signal| ignored & 1 << (signal - 1) == 0) {
        sys::reset_signal(signal).context("cannot put a signal back to its default")?;
    }
    Ok(())
}

/// What `/proc` tells of this process.
pub(super) fn own_status() -> anyhow::Result<Status> {
    let this = fs::read_link("/proc/self").context("/proc is needed, and cannot be read")?;
    // By the ids that this process knows it would tell of others.
    ensure!(this == Path::new(&Pid::this().to_string()), "/proc is of another pid namespace");
    Status::of(Pid::this()).context("/proc cannot be read")
}

/// Starts the launcher for `command`, which begins with these signals ignored, and seizes it. All that descends from
/// it is seized too, and dies with this process.
pub(super) fn start(command: &[OsString], ignored: u64) -> anyhow::Result<Pid> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let mut launcher = Command::new(this);
    launcher.arg(LAUNCH).arg(format!("--ignored={ignored}")).arg("--").args(command);
    let mut child = launcher.spawn().context("cannot start a process")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    // Seized earlier, the launcher's own exec(2) would be taken for that of the program.
    while Status::of(pid).context("the launcher cannot be seen")?.name() != Some(READY.to_bytes()) {
        ensure!(child.try_wait()?.is_none(), "the launcher has ended");
        thread::sleep(POLL);
    }
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_EXITKILL;
    if let Err(error) = ptrace::seize(pid, options) {
        // It waits and has done nothing yet.
        let _ = child.kill();
        return Err(error).context("cannot trace (is ptrace forbidden here, or this already traced?)");
    }
    // It goes on by itself, and stops when it has become the program.
    Ok(pid)
}
