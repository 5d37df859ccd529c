//! `record`: the profile that a program needs.

mod seen;
mod starter;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;

use crate::profile_args::ProfileArgs;
use crate::{output, report, run};
use seen::DefaultAction;
pub(crate) use seen::Seen;
use starter::Starter;

/// Run a program with every call allowed, and write the smallest profile that would have let it run
///
/// The profile is OCI's linux.seccomp, as container engines and `run --filter` take it. It has the calls of the
/// program and of all that it starts; --for adds those of the engine that starts it. A call that was not made in this run
/// is not in it: record several runs, and put them together with --merge. Ctrl-C ends the program, and what was seen until then is written.
///
/// The exit status is the program's, 128 + n if signal n killed it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf record -o ls.json -- ls -l
  seccomp-rbpf record -o ls.json --merge ls.json -- ls -lR /etc
  seccomp-rbpf record -o ls.json --for runc -- ls -l
  seccomp-rbpf run --filter ls.json -- ls -l")]
pub struct RecordArgs {
    /// Where to write the profile; - is standard output, after the program has ended
    #[arg(short, long, value_name = "PROFILE")]
    output: PathBuf,
    /// Add to this profile what it does not allow yet, and keep everything else of it as it is
    #[arg(long, value_name = "OLD", conflicts_with_all = ["default_action", "default_errno"])]
    merge: Option<PathBuf>,
    /// Add what a container engine calls under the profile before the program begins
    #[arg(long = "for", value_enum, value_name = "ENGINE")]
    starter: Option<Starter>,
    /// What calls get that were not seen
    #[arg(long, value_enum, value_name = "ACTION", default_value_t)]
    default_action: DefaultAction,
    /// The errno of calls that were not seen, a number or a name; EPERM unless said
    #[arg(long, value_name = "ERRNO", value_parser = seen::errno)]
    default_errno: Option<u16>,
    #[command(flatten)]
    profile: ProfileArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the program and writes the profile. The result is the program's exit status.
pub fn run(args: RecordArgs) -> anyhow::Result<ExitCode> {
    ensure!(
        args.default_errno.is_none() || args.default_action == DefaultAction::Errno,
        "--default-errno is for --default-action errno"
    );
    // A program may run for long; it is not run for nothing.
    output::writable(&args.output)?;
    let seen = match &args.merge {
        Some(old) => Seen::on_top_of(old, args.profile)?,
        None => Seen::new(args.default_action, args.default_errno)?,
    };
    let (status, seen) = run::record(&args.command, seen.started_by(args.starter))?;
    let name = args.output.display();
    match seen.finish()? {
        None => report::warning(format_args!("the program did not start, {name} is not written")),
        Some(profile) => output::text_to(Some(&args.output), profile)?,
    }
    Ok(ExitCode::from(status))
}
