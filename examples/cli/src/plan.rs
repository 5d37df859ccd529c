//! `plan`: a filter specialised by system call number.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use cbpf_translator::disasm::Disassembly;
use cbpf_translator::{Checked, translate};
use seccomp_kernel::{Arch, Program};
use seccomp_runtime::{EngineKind, NUMBERS, NoExecMemory, Planned};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::filter::Filter;
use crate::profile_args::ProfileArgs;
use crate::return_value::ReturnValue;
use crate::{arch, eval, filter, json, output, progress, style};

/// Show what a filter decides by the system call number alone, and what is left of it for the other calls
///
/// A number is constant if the filter always gives it one value, whatever the arguments and the instruction
/// pointer are. The residual program answers for those that depend on them. The whole filter runs for numbers
/// out of the table and for what was too much to specialise; an eBPF filter runs for every number that is not constant.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf plan docker-like-linear.bpfasm
  seccomp-rbpf plan docker-like-linear.bpfasm --nr clone")]
pub struct PlanArgs {
    /// Raw sock_filter bytes, assembler text, a profile or an eBPF object file; - is standard input
    filter: PathBuf,
    /// Only this system call, a number or a name
    #[arg(long, allow_hyphen_values = true)]
    nr: Option<String>,
    /// The system call entry to specialise for, and whose numbers names have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/json.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let filter = filter::load_any(&args.filter, args.arch, &args.profile)?;
    // A plan is the same for every engine.
    let whole = Engine { kind: EngineKind::Native, plan: false };
    let arches = [args.arch.audit_arch()];
    let loaded = progress::during("planning", || match &filter {
        Filter::Classic(filter) => Ok::<_, anyhow::Error>(Program::Classic(
            whole.load(filter.clone())?.planned(arches, &NoExecMemory)?,
        )),
        Filter::Extension(filter) => Ok(Program::Extension(filter.load(whole)?.filter.planned(arches)?)),
    })?;
    match &args.nr {
        Some(nr) => {
            let nr = eval::syscall(nr, args.arch)?;
            let plan = loaded.plan_of(args.arch.audit_arch(), nr);
            let line = Line { numbers: nr..nr.saturating_add(1), plan, arch: args.arch };
            if args.json {
                json::print(&line.json())?;
            } else {
                output::text(format_args!("{line}\n"))?;
            }
        }
        None if args.json => json::print(&Summary::of(&loaded, args.arch)?.json())?,
        None => output::text(Summary::of(&loaded, args.arch)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A filter's plan for the calls of one entry.
struct Summary<'f> {
    filter: Size,
    /// In order and next to each other, all numbers of the table.
    intervals: Vec<Line>,
    residual: Option<(&'f Checked, Size)>,
}

impl<'f> Summary<'f> {
    fn of(program: &'f Program, arch: Arch) -> anyhow::Result<Self> {
        let mut intervals: Vec<Line> = Vec::new();
        for nr in 0..NUMBERS as i32 {
            let plan = program.plan_of(arch.audit_arch(), nr);
            match intervals.last_mut() {
                Some(last) if last.plan == plan => last.numbers.end = nr + 1,
                _ => intervals.push(Line { numbers: nr..nr + 1, plan, arch }),
            }
        }
        let residual = match program {
            Program::Classic(program) => program.residual(arch.audit_arch()),
            Program::Extension(_) => None,
        };
        let residual = residual.map(|program| Ok::<_, anyhow::Error>((program, Size::of(program)?)));
        let classic = program.classic().map(|program| program.insns().len());
        let filter = Size { classic, ebpf: program.insns_len() };
        Ok(Self { filter, intervals, residual: residual.transpose()? })
    }

    /// Each plan that some number has, and how many have it; the most frequent first.
    fn counts(&self) -> Vec<(Planned, usize)> {
        let mut counts: Vec<(Planned, usize)> = Vec::new();
        for interval in &self.intervals {
            match counts.iter_mut().find(|(plan, _)| *plan == interval.plan) {
                Some((_, count)) => *count += interval.numbers.len(),
                None => counts.push((interval.plan, interval.numbers.len())),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

impl Summary<'_> {
    fn json(&self) -> Value {
        let residual = self.residual.as_ref().map(
            |(program, size)| json!({"size": size.json(), "instructions": json::classic(program.insns())}),
        );
        json!({
            "filter": self.filter.json(),
            "numbers": self.intervals.iter().map(Line::json).collect::<Vec<_>>(),
            "others": Plan(Planned::Whole).json(),
            "residual": residual,
        })
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "filter: {}", self.filter)?;
        for (plan, count) in self.counts() {
            writeln!(f, "{count:>5} {}", Plan(plan))?;
        }
        writeln!(f)?;
        for interval in &self.intervals {
            writeln!(f, "{interval}")?;
        }
        writeln!(f, "others: {}", Plan(Planned::Whole))?;
        if let Some((program, size)) = &self.residual {
            write!(f, "\nresidual program: {size}\n{}", Disassembly(program.insns()))?;
        }
        Ok(())
    }
}

/// Numbers with one plan.
struct Line {
    numbers: Range<i32>,
    plan: Planned,
    arch: Arch,
}

impl Line {
    fn json(&self) -> Value {
        let Range { start, end } = self.numbers;
        let names: Vec<_> = self.numbers.clone().filter_map(|nr| self.arch.syscall_name(nr)).collect();
        json!({"first": start, "last": end.saturating_sub(1).max(start), "names": names, "plan": Plan(self.plan).json()})
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As many names as a line has room for.
        const NAMES: usize = 4;
        let Range { start, end } = self.numbers;
        if self.numbers.len() <= 1 {
            write!(f, "{start}")?;
        } else {
            write!(f, "{start}-{}", end - 1)?;
        }
        if self.numbers.len() <= NAMES {
            self.numbers
                .clone()
                .filter_map(|nr| self.arch.syscall_name(nr))
                .try_for_each(|name| write!(f, " {name}"))?;
        }
        write!(f, ": {}", Plan(self.plan))
    }
}

/// A plan in words.
struct Plan(Planned);

impl Plan {
    fn json(&self) -> Value {
        match self.0 {
            Planned::Constant(value) => json!({"kind": "constant", "then": json::value(value)}),
            Planned::Residual => json!({"kind": "residual"}),
            Planned::Whole => json!({"kind": "whole"}),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Planned::Constant(value) => style::decision(value, ReturnValue(value)).fmt(f),
            Planned::Residual => f.write_str("residual program"),
            Planned::Whole => f.write_str("whole filter"),
        }
    }
}

/// A program's length.
struct Size {
    /// None of an extension.
    classic: Option<usize>,
    ebpf: usize,
}

impl Size {
    fn of(program: &Checked) -> anyhow::Result<Self> {
        Ok(Self { classic: Some(program.insns().len()), ebpf: translate(program)?.insns().len() })
    }
}

impl Size {
    fn json(&self) -> Value {
        json!({"classic": self.classic, "ebpf": self.ebpf})
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(classic) = self.classic {
            write!(f, "{classic} classic, ")?;
        }
        write!(f, "{} eBPF instructions", self.ebpf)
    }
}
