//! `dump`: the filters that a process runs under.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use cbpf_translator::SockFilter;
use cbpf_translator::disasm::Disassembly;
use clap::ValueEnum;
use nix::errno::Errno;
use nix::unistd::Pid;

use crate::run::proc::Status;
use crate::run::sys::Stopped;
use crate::{filter, output};

/// Show the filters that a process or thread runs under, the oldest first
///
/// The thread is stopped for a moment. Needs the right to trace it, CAP_SYS_ADMIN, and no filter on this command itself.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf dump 4711
  seccomp-rbpf dump 4711 --filter 0 --format raw > oldest.bpf")]
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

struct Filter {
    insns: Vec<SockFilter>,
    logs: bool,
}

fn read(pid: Pid) -> anyhow::Result<Vec<Filter>> {
    match Status::of(pid).seccomp_mode() {
        None => bail!("there is none, or /proc cannot be read"),
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
            Ok(insns) => filters.push(Filter { insns, logs: stopped.filter_logs(index).unwrap_or(false) }),
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
