//! `run`: a user-space kernel. The program's system calls stop it, the runtime decides, and the decision is
//! enforced; its own seccomp(2) and prctl(2) calls are answered by `seccomp-kernel`. The host's seccomp decides
//! nothing; it only lends its listeners.
//!
//! It carries programs to try filters on them. What a hostile program can do against ptrace(2) it can do here
//! too; the place to confine one is a kernel.

mod birth;
mod denied;
mod enforce;
mod helpers;
mod kernel;
mod killable;
mod launch;
mod listener;
pub(crate) mod proc;
mod record;
mod registers;
mod signals;
pub(crate) mod sys;
mod task;
mod tracer;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use nix::sys::prctl;
use nix::unistd::Pid;
use seccomp_kernel::runtime::translator::Checked;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{Arch, ThreadState, attach, attach_extension};

pub(crate) use launch::{LAUNCH, LaunchArgs, launch};

use crate::engine::{self, Engine};
use crate::extension::NamedMap;
use crate::filter::{self, Filter, Name};
use crate::profile_args::ProfileArgs;
use crate::record::Seen;
use crate::setting::{self, Setting};
use crate::{host, maps};
use denied::{Denied, Initial};
use kernel::{Caller, Settings};
use record::Record;
use task::{Task, Tasks};
use tracer::{Start, Tracer};

/// Run a program under filters and enforce what they decide
#[derive(Args)]
pub(crate) struct RunArgs {
    /// Filter that the program starts with; several stack, the first given is the oldest
    #[arg(long, value_name = "FILTER")]
    filter: Vec<PathBuf>,
    /// Engine that runs the filters, also those the program installs itself
    #[arg(long, default_value = Engine::PLAN.name(), value_parser = engine::parser())]
    engine: Engine,
    /// Write a line for each call to FILE; - is standard output
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print how often each call was made and what was decided, when all has ended
    #[arg(long)]
    summary: bool,
    /// Write that as JSON to FILE, - is standard output; docs/json.md has its shape
    #[arg(long, value_name = "FILE")]
    summary_json: Option<PathBuf>,
    /// Say of each call that a filter denies why, on standard error; of many calls, of a few in a second
    #[arg(long)]
    explain: bool,
    /// Put an entry into a map of eBPF filters given with --filter; a number, or `hex:` and bytes
    #[arg(long, value_name = "MAP:KEY=VALUE", value_parser = Setting::parse)]
    set: Vec<Setting>,
    /// Print what the maps of eBPF filters given with --filter have in them, when all has ended
    #[arg(long)]
    maps: bool,
    /// Print the events that those filters send
    #[arg(long)]
    events: bool,
    /// Let the program install eBPF filters of its own, by a flag of seccomp(2) that Linux has not
    #[arg(long)]
    allow_extensions: bool,
    #[command(flatten)]
    profile: ProfileArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the program. The result is its exit status, 128 + n if signal n killed it.
pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.filter.iter().map(PathBuf::as_path))?;
    for output in [&args.trace, &args.summary_json] {
        filter::spared(output.as_deref(), args.filter.iter().map(PathBuf::as_path))?;
    }
    let loaded = args.filter.iter().map(|path| filter::load_with_profile(path, Arch::X86_64, &args.profile));
    let (mut filters, profiles): (Vec<_>, Vec<_>) =
        loaded.collect::<anyhow::Result<Vec<_>>>()?.into_iter().unzip();
    setting::apply(&mut filters, &args.set)?;
    let settings = Settings::new(args.engine, args.allow_extensions);
    let (initial, named) = confined(&filters, settings)?;
    let mut record = Record::new(args.trace.as_deref(), args.summary)?;
    if let Some(file) = args.summary_json {
        record = record.summarised_to(file)?;
    }
    if args.events {
        record = record.with_events(&named);
    }
    if args.explain {
        let initial = args.filter.iter().zip(profiles);
        let initial =
            initial.map(|(path, profile)| Initial { name: Name(path).to_string(), profile }).collect();
        record = record.explaining(Denied::new(initial));
    }

    let (status, record) = carry(&args.command, initial, settings, record)?;
    if args.maps {
        host::tell(format_args!("{}", maps::Contents(&named)));
    }
    record.finish()?;
    Ok(ExitCode::from(status))
}

/// Runs a program without a filter, and lets `seen` see its calls. The first result is its exit status.
pub(crate) fn record(command: &[OsString], seen: Seen) -> anyhow::Result<(u8, Seen)> {
    let settings = Settings::new(Engine::PLAN, false);
    let (status, record) =
        carry(command, ThreadState::new(), settings, Record::new(None, false)?.seen_by(seen))?;
    Ok((status, record.into_seen().context("nobody saw the calls")?))
}

/// Runs a program that starts with the state `initial`, and all that descends from it.
fn carry(
    command: &[OsString],
    initial: ThreadState,
    settings: Settings,
    record: Record,
) -> anyhow::Result<(u8, Record)> {
    // As this process began: it will block others, and the C library has handlers of its own for its threads.
    let begun = launch::own_status()?;
    let masks = begun.ignored().zip(begun.blocked());
    let (ignored, blocked) = masks.context("/proc does not tell of signals")?;
    // The memory of this process decides about programs that may have the same user.
    prctl::set_dumpable(false).context("cannot keep others out of this process")?;
    let program = launch::start(command, ignored)?;
    signals::forward(program)?;
    Tracer::new(program, Start { state: initial, blocked }, settings, record).run()
}

/// The state of a thread that has `filters`, the first the oldest.
pub(crate) fn confine(filters: Vec<Checked>, engine: Engine) -> anyhow::Result<ThreadState> {
    let filters: Vec<_> = filters.into_iter().map(Filter::Classic).collect();
    Ok(confined(&filters, Settings::new(engine, false))?.0)
}

/// The same, with filters of either kind, and the maps that they have.
pub(crate) fn confined(
    filters: &[Filter],
    settings: Settings,
) -> anyhow::Result<(ThreadState, Vec<NamedMap>)> {
    let this = Pid::this();
    let task = Task::new(this, this, ThreadState::new());
    let tasks = Tasks::default();
    let caller = Caller::new(&tasks, &task, settings);
    let whole = Engine { plan: false, ..settings.engine };
    let mut named = Vec::new();
    for filter in filters {
        let attached = match filter {
            Filter::Classic(filter) => attach(&caller, filter.clone(), FilterFlags::empty()),
            Filter::Extension(filter) => {
                // The kernel plans it, for the entries of this machine.
                let loaded = filter.load(whole)?;
                named.extend(loaded.maps);
                attach_extension(&caller, loaded.filter, FilterFlags::empty())
            }
        };
        attached.context("cannot install the filters")?;
    }
    Ok((task.seccomp, named))
}
