//! `dump`: the filters that a process runs under.

use std::fmt::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use cbpf_translator::disasm::Disassembly;
use cbpf_translator::{SockFilter, check};
use clap::ValueEnum;
use nix::errno::Errno;
use nix::unistd::Pid;
use seccomp_kernel::Arch;
use serde_json::json;

use crate::profile_args::ProfileArgs;
use crate::run::proc::Status;
use crate::run::sys::Stopped;
use crate::style::Escaped;
use crate::table::{self, Form, Subject};
use crate::{arch, filter, json, output};

/// Show the filters that a process or thread runs under, the oldest first
///
/// The thread is stopped for a moment; a sleep then goes on with restart_syscall, which its filters may deny. Needs the
/// right to trace it, CAP_SYS_ADMIN, and no filter on this command itself.
///
/// With --table, show what all of them together decide about each system call, as table does for files.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf dump 4711
  seccomp-rbpf dump 4711 --filter 0 --format raw > oldest.bpf
  seccomp-rbpf dump 4711 --table
  seccomp-rbpf dump 4711 --table --html --compare profile.json -o page.html")]
pub struct DumpArgs {
    /// Its id
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
    /// Only this filter; 0 is the oldest
    #[arg(long, value_name = "N")]
    filter: Option<u64>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print what the filters decide about each system call, the strictest of them
    #[arg(long, conflicts_with = "format")]
    table: bool,
    /// The system call entry of the table; a page has all that the filters tell apart, this one first
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT, requires = "table")]
    arch: Arch,
    /// Print JSON: docs/json.md has the shape of filters, docs/explain.md that of the table
    #[arg(long, conflicts_with_all = ["format", "html"])]
    json: bool,
    /// Print the table as one HTML page
    #[arg(long, requires = "table")]
    html: bool,
    /// Compare with this filter on the page; several stack
    #[arg(long, value_name = "FILTER", requires = "html")]
    compare: Vec<PathBuf>,
    /// Where to write the table, instead of standard output
    #[arg(short, long, value_name = "FILE", requires = "table")]
    output: Option<PathBuf>,
    #[command(flatten)]
    profile: ProfileArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Assembler text, of which `assemble` makes the same bytes
    Text,
    /// The bytes of one filter
    Raw,
}

/// More than a thread can have: each counts five instructions and the penalty, of 32,768.
const MAX_FILTERS: u64 = 4096;

pub fn run(args: &DumpArgs) -> anyhow::Result<ExitCode> {
    let pid = Pid::from_raw(args.pid);
    let filters = read(pid).with_context(|| format!("process {pid}"))?;
    let count = filters.len();
    let wanted = match args.filter {
        None => 0..count,
        Some(index) => {
            let index = usize::try_from(index).ok().filter(|index| *index < count);
            let index = index.ok_or_else(|| anyhow!("process {pid} has {count} filters, counted from 0"))?;
            index..index + 1
        }
    };
    if args.table {
        show_table(args, &filters, wanted)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.json {
        let shown = wanted.map(|index| {
            let Filter { insns, logs } = &filters[index];
            json!({"index": index, "logs": logs, "instructions": json::classic(insns)})
        });
        json::print(&json!({"filters": shown.collect::<Vec<_>>()}))?;
        return Ok(ExitCode::SUCCESS);
    }
    match args.format {
        Format::Raw => {
            ensure!(wanted.len() == 1, "process {pid} has {count} filters; --filter says which");
            output::bytes(&filter::to_bytes(&filters[wanted.start].insns))?;
        }
        Format::Text => {
            let mut text = String::new();
            for index in wanted {
                let Filter { insns, logs } = &filters[index];
                let logs = if *logs { ", logs" } else { "" };
                // A string takes everything.
                let _ = writeln!(text, "; filter {index} of {count}: {} instructions{logs}", insns.len());
                let _ = writeln!(text, "{}", Disassembly(insns));
            }
            output::text(text.trim_end())?;
            output::text("\n")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what the wanted filters decide together.
fn show_table(args: &DumpArgs, filters: &[Filter], wanted: Range<usize>) -> anyhow::Result<()> {
    let compared = || args.compare.iter().map(PathBuf::as_path);
    filter::stdin_once(compared())?;
    filter::spared(args.output.as_deref(), compared())?;
    let pid = Pid::from_raw(args.pid);
    let mut name = format!("process {pid}");
    if let Ok(status) = Status::of(pid)
        && let Some(command) = status.name()
    {
        // A string takes everything.
        let _ = write!(name, " ({})", Escaped(String::from_utf8_lossy(command)));
    }
    if let Some(index) = args.filter {
        let _ = write!(name, ", filter {index}");
    }
    let checked = wanted.map(|index| {
        let program = check(filters[index].insns.clone()).with_context(|| format!("filter {index}"))?;
        Ok(filter::Filter::Classic(program))
    });
    let name = table::Name { short: name.clone(), long: name };
    let subject = Subject { name, filters: checked.collect::<anyhow::Result<_>>()? };
    let other = match args.compare.as_slice() {
        [] => None,
        paths => Some(Subject::load(paths, args.arch, &args.profile)?),
    };
    table::show(subject, other, args.arch, Form::of(args.json, args.html), args.output.as_deref())
}

struct Filter {
    insns: Vec<SockFilter>,
    logs: bool,
}

fn read(pid: Pid) -> anyhow::Result<Vec<Filter>> {
    let status = Status::of(pid).map_err(|error| match error {
        Errno::ESRCH => anyhow!("there is none, or /proc is not there"),
        error => anyhow!("/proc/{pid}/status cannot be read: {error}"),
    })?;
    match status.seccomp_mode() {
        None => bail!("/proc/{pid}/status does not tell of seccomp"),
        Some(0) => bail!("it has no filter"),
        Some(1) => bail!("it is in strict mode, which has no filter"),
        Some(_) => {}
    }
    let stopped = Stopped::seize(pid).map_err(|error| match error {
        Errno::EPERM => anyhow!("it cannot be traced: it needs the right, and that nobody else traces it"),
        error => anyhow!("it cannot be stopped: {error}"),
    })?;
    let mut filters = Vec::new();
    for index in 0..MAX_FILTERS {
        match stopped.filter(index) {
            Ok(insns) => {
                let logs = stopped.filter_logs(index);
                let logs = logs.map_err(|error| anyhow!("filter {index}: whether it logs: {error}"))?;
                filters.push(Filter { insns, logs });
            }
            Err(Errno::ENOENT) => break,
            Err(Errno::EACCES) => {
                bail!("its filters are shown to CAP_SYS_ADMIN only, without seccomp of its own")
            }
            Err(Errno::EINVAL | Errno::EIO) => {
                bail!("this kernel does not show filters (CONFIG_CHECKPOINT_RESTORE)")
            }
            Err(error) => bail!("filter {index}: {error}"),
        }
    }
    Ok(filters)
}
