//! `eval`: what a stack of filters decides.

mod batch;
mod engines;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use seccomp_kernel::{Action, Arch};
use seccomp_rbpf::names::Meant;
use seccomp_runtime::{EngineKind, SeccompData};
use serde_json::json;

use crate::filter::Name;
use crate::host::{Memory, ThisProcess};
use crate::number::NumberError;
use crate::profile_args::ProfileArgs;
use crate::return_value::ReturnValue;
use crate::setting::Setting;
use crate::{arch, filter, json, maps, number, output, style};
use engines::{Engines, Selection};

/// Show what filters decide about a system call
///
/// Several filters stack as on a thread that installed them in this order: all run, the strictest action
/// wins, and of equal ones that of the newest filter, the last.
///
/// Numbers are decimal, or hexadecimal with 0x; a minus gives the two's complement.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf eval deny.bpfasm --nr mkdir
  seccomp-rbpf eval old.bpf new.bpf --nr 257 --args -100,0x7ffe0000,0
  seccomp-rbpf eval deny.bpf --batch calls.txt --engine all
  seccomp-rbpf eval paths.o --nr openat --args -100,0x1000 --memory 0x1000=/etc/passwd --maps")]
pub struct EvalArgs {
    /// Raw sock_filter bytes, assembler text, profiles or eBPF object files, the oldest filter first; - is standard input
    #[arg(value_name = "FILTER", required = true)]
    filters: Vec<PathBuf>,
    /// The system call, a number or a name
    #[arg(long, allow_hyphen_values = true, required_unless_present = "batch")]
    nr: Option<String>,
    /// The system call entry: what the filters see as arch, and whose numbers names have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// The instruction pointer
    #[arg(long, allow_hyphen_values = true, value_parser = address, default_value = "0")]
    ip: u64,
    /// Up to six arguments, separated by commas, the rest are 0; 64 bits each, whatever the arch
    #[arg(long, allow_hyphen_values = true, value_parser = arguments, default_value = "0")]
    args: [u64; 6],
    /// What runs the filters; `all` compares the engines
    #[arg(long, value_parser = engines::parser(), default_value = EngineKind::DEFAULT.name())]
    engine: Selection,
    /// Calls to decide about, one a line; - is standard input
    ///
    /// A line is `arch nr ip a0 a1 a2 a3 a4 a5`: nr decimal, the others hexadecimal, arch an AUDIT_ARCH
    /// value such as c000003e. Each gives one line, the return value in hexadecimal.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nr", "ip", "args"])]
    batch: Option<PathBuf>,
    /// User memory that eBPF filters can read: a string at an address, 0 behind it; \xNN and C's escapes are known
    #[arg(long, value_name = "ADDRESS=TEXT", value_parser = Memory::parse)]
    memory: Vec<Memory>,
    /// Put an entry into a map of eBPF filters; a number, or `hex:` and bytes
    #[arg(long, value_name = "MAP:KEY=VALUE", value_parser = Setting::parse)]
    set: Vec<Setting>,
    /// Print what the maps of eBPF filters have in them, when all is decided
    #[arg(long)]
    maps: bool,
    /// Print the events that eBPF filters sent, when all is decided
    #[arg(long)]
    events: bool,
    /// Print JSON, of a batch a line for each call; docs/json.md has its shape
    #[arg(long, conflicts_with_all = ["maps", "events"])]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.filters.iter().chain(&args.batch).map(PathBuf::as_path))?;
    let host = ThisProcess::new(args.memory.clone());
    let engines = Engines::load(&args.filters, args.arch, &args.profile, args.engine, &args.set, host)?;
    match (&args.batch, &args.nr) {
        (Some(calls), _) => batch::run(&engines, calls, args.json)?,
        (None, nr) => {
            let nr = nr.as_deref().context("--nr or --batch is needed")?;
            let data = SeccompData {
                nr: syscall(nr, args.arch)?,
                arch: args.arch.audit_arch(),
                instruction_pointer: args.ip,
                args: args.args,
            };
            let (value, winner) = engines.decide(&data)?;
            if args.json {
                let mut shown = json::value(value);
                shown["call"] = json!({
                    "arch": args.arch.name(),
                    "nr": data.nr,
                    "name": args.arch.syscall_name(data.nr),
                    "instruction_pointer": format!("{:#x}", data.instruction_pointer),
                    "args": data.args.map(|arg| format!("{arg:#x}")),
                });
                shown["from"] = Name(winner).to_string().into();
                json::print(&shown)?;
                return Ok(ExitCode::SUCCESS);
            }
            // Where all allow, no filter decides.
            let from = if args.filters.len() > 1 && Action::of(value) != Action::Allow {
                format!(" from {}", Name(winner))
            } else {
                String::new()
            };
            output::text(format_args!("{}{from}\n", style::decision(value, ReturnValue(value))))?;
        }
    }
    let maps: Vec<_> = engines.maps().cloned().collect();
    if args.events {
        output::text(maps::Events(&maps))?;
    }
    if args.maps {
        output::text(maps::Contents(&maps))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The number of a system call that is given by number or name.
pub fn syscall(text: &str, arch: Arch) -> anyhow::Result<i32> {
    match number::syscall(text) {
        Err(NumberError::Malformed) => arch.syscall_number(text).ok_or_else(|| {
            let meant = Meant::call(text, arch);
            anyhow!("--nr {text:?}: neither a number nor a system call of {}{meant}", arch.name())
        }),
        nr => nr.with_context(|| format!("--nr {text}")),
    }
}

pub fn address(text: &str) -> Result<u64, NumberError> {
    number::parse(text, u64::BITS)
}

pub fn arguments(text: &str) -> Result<[u64; 6], String> {
    let mut args = [0; 6];
    for (index, text) in text.split(',').enumerate() {
        let arg = args.get_mut(index).ok_or("a system call has six arguments")?;
        *arg = number::parse(text, u64::BITS).map_err(|error| format!("argument {index}: {error}"))?;
    }
    Ok(args)
}
