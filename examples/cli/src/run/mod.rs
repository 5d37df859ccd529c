//! `run`: a user-space kernel. The program's system calls stop it, the runtime decides, and the decision is
//! enforced; its own seccomp(2) and prctl(2) calls are answered by `seccomp-kernel`. The host's seccomp decides
//! nothing; it only lends its listeners.
//!
//! It carries programs to try filters on them. What a hostile program can do against ptrace(2) it can do here
//! too; the place to confine one is a kernel.

mod enforce;
mod kernel;
mod launch;
mod listener;
mod proc;
mod record;
mod signals;
mod sys;
mod task;
mod tracer;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use nix::unistd::Pid;
use seccomp_kernel::runtime::translator::Checked;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{Arch, ThreadState, attach};

pub(crate) use launch::{LAUNCH, LaunchArgs, launch};

use crate::engine::{self, Engine};
use crate::filter;
use crate::profile_args::ProfileArgs;
use kernel::Caller;
use record::Record;
use task::{Task, Tasks};
use tracer::Tracer;

/// Run a program under filters and enforce what they decide
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Filter that the program starts with; several stack, the first given is the oldest
    #[arg(long, value_name = "FILTER")]
    filter: Vec<PathBuf>,
    /// Engine that runs the filters, also those the program installs itself
    #[arg(long, default_value = Engine::PLAN.name(), value_parser = engine::parser())]
    engine: Engine,
    /// Write a line for each call to FILE
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print how often each call was made and what was decided, when all has ended
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    profile: ProfileArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the program. The result is its exit status, 128 + n if signal n killed it.
pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.filter.iter().map(PathBuf::as_path))?;
    let filters = args
        .filter
        .iter()
        .map(|path| filter::load_checked(path, Arch::X86_64, &args.profile))
        .collect::<Result<_, _>>()?;
    let initial = confine(filters, args.engine)?;
    let record = Record::new(args.trace.as_deref(), args.summary)?;

    let program = launch::start(&args.command)?;
    signals::forward(program)?;
    let (status, record) = Tracer::new(program, initial, args.engine, record).run()?;
    record.finish()?;
    Ok(ExitCode::from(status))
}

/// The state of a thread that has `filters`, the first the oldest.
pub(crate) fn confine(filters: Vec<Checked>, engine: Engine) -> anyhow::Result<ThreadState> {
    let this = Pid::this();
    let task = Task::new(this, this, ThreadState::new());
    let tasks = Tasks::default();
    let caller = Caller::new(&tasks, &task, engine);
    for filter in filters {
        attach(&caller, filter, FilterFlags::empty()).context("cannot install the filters")?;
    }
    Ok(task.seccomp)
}
