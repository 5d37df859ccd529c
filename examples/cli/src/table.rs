//! `table`: what a filter decides, system call by system call.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use seccomp_kernel::{Arch, Program};
use seccomp_rbpf::symbolic::{Condition, Decision, Set, Work, decision, others};
use seccomp_runtime::{EngineKind, Planned};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::filter::{self, Filter};
use crate::profile_args::ProfileArgs;
use crate::return_value::{ReturnValue, Words};
use crate::{arch, output};

/// Show what a filter decides about each system call, and on which arguments that depends
///
/// All paths of the filter are followed. Where they are too many, or compare what cannot be said in a line, it says that
/// the decision depends on arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf table profile.json
  seccomp-rbpf table deny.bpfasm --arch aarch64 --json")]
pub struct TableArgs {
    /// Raw sock_filter bytes, assembler text, a profile or an eBPF object file; - is standard input
    filter: PathBuf,
    /// The system call entry
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/explain.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

/// As much work as one system call may cost.
const WORK: usize = 1 << 22;

pub fn run(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let filter = filter::load_any(&args.filter, args.arch, &args.profile)?;
    let table = Table::of(&filter, args.arch)?;
    if args.json {
        output::text(format_args!("{}\n", serde_json::to_string_pretty(&table.json())?))?;
    } else {
        output::text(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The system calls of an entry that have names, by their decisions, and all other numbers.
struct Table {
    arch: Arch,
    calls: BTreeMap<Decision, Vec<(i32, &'static str)>>,
    others: Decision,
}

impl Table {
    fn of(filter: &Filter, arch: Arch) -> anyhow::Result<Self> {
        let named: Vec<_> = named(arch).collect();
        let mut rest = Set::range(0, u32::MAX.into());
        for (nr, _) in &named {
            rest = rest.and(&Set::of(nr.cast_unsigned().into()).not(u32::MAX.into()));
        }
        let mut calls: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let others = match filter {
            Filter::Classic(program) => {
                for (nr, name) in named {
                    let decision = decision(program, arch.audit_arch(), nr, &mut Work::new(WORK));
                    calls.entry(decision).or_default().push((nr, name));
                }
                others(program, arch.audit_arch(), &rest, &mut Work::new(WORK))
            }
            Filter::Extension(filter) => {
                // A plan is the same for every engine.
                let whole = Engine { kind: EngineKind::Native, plan: false };
                let loaded = Program::Extension(filter.load(whole)?.filter.planned([arch.audit_arch()])?);
                for (nr, name) in named {
                    let decision = match loaded.plan_of(arch.audit_arch(), nr) {
                        Planned::Constant(value) => Decision::Always(value),
                        Planned::Residual | Planned::Whole => Decision::Depends,
                    };
                    calls.entry(decision).or_default().push((nr, name));
                }
                Decision::Depends
            }
        };
        Ok(Self { arch, calls, others })
    }

    fn json(&self) -> Value {
        let calls = self.calls.iter().map(|(decision, calls)| {
            let calls = calls.iter().map(|(nr, name)| json!({"nr": nr, "name": name}));
            json!({"calls": calls.collect::<Vec<_>>(), "decision": decision_json(decision)})
        });
        json!({
            "arch": self.arch.name(),
            "rows": calls.collect::<Vec<_>>(),
            "others": decision_json(&self.others),
        })
    }
}

/// The numbers of an entry that have names.
pub fn named(arch: Arch) -> impl Iterator<Item = (i32, &'static str)> {
    /// Names are for numbers below this, x32's bit aside, and for ARM's own.
    const NUMBERS: i32 = 1024;
    let base = if arch == Arch::X32 { seccomp_kernel::X32_SYSCALL_BIT } else { 0 };
    let numbers = (base..base + NUMBERS).chain(0xf_0000..0xf_0010);
    numbers.filter_map(move |nr| Some((nr, arch.syscall_name(nr)?)))
}

/// A return value with its words.
pub fn value_json(value: u32) -> Value {
    json!({"value": format!("{value:#010x}"), "decision": Words(value).to_string()})
}

fn decision_json(decision: &Decision) -> Value {
    match decision {
        Decision::Always(value) => json!({"kind": "always", "otherwise": value_json(*value)}),
        Decision::Cases { cases, otherwise } => {
            let cases = cases.iter().map(|(condition, value)| {
                json!({"if": condition_json(condition), "words": condition.to_string(), "then": value_json(*value)})
            });
            json!({
                "kind": "cases",
                "cases": cases.collect::<Vec<_>>(),
                "otherwise": value_json(*otherwise),
            })
        }
        Decision::Depends => json!({"kind": "depends on arguments"}),
    }
}

/// A list of which one has to hold, of lists of which all have to: a field under a mask is in one of the ranges.
fn condition_json(condition: &Condition) -> Value {
    let terms = condition.terms().iter().map(|term| {
        let atoms = term.atoms().map(|(field, mask, ranges)| {
            let ranges: Vec<_> =
                ranges.iter().map(|(first, last)| [format!("{first:#x}"), format!("{last:#x}")]).collect();
            json!({"field": field.to_string(), "mask": format!("{mask:#x}"), "in": ranges})
        });
        atoms.collect::<Vec<_>>()
    });
    terms.collect::<Vec<_>>().into()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (decision, calls) in &self.calls {
            let names: Vec<_> = calls.iter().map(|(_, name)| *name).collect();
            match decision {
                Decision::Always(value) => {
                    writeln!(f, "{} ({}):\n  {}\n", ReturnValue(*value), names.len(), names.join(" "))?;
                }
                decision => writeln!(f, "{}:\n  {}\n", InWords(decision), names.join(" "))?,
            }
        }
        writeln!(f, "every other number:\n  {}", InWords(&self.others))
    }
}

/// A decision in a line.
struct InWords<'d>(&'d Decision);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Decision::Always(value) => ReturnValue(*value).fmt(f),
            Decision::Cases { cases, otherwise } => match cases.as_slice() {
                [(condition, value)] => {
                    write!(f, "{} unless {condition}, then {}", Words(*otherwise), Words(*value))
                }
                cases => {
                    for (condition, value) in cases {
                        write!(f, "{} if {condition}; ", Words(*value))?;
                    }
                    write!(f, "else {}", Words(*otherwise))
                }
            },
            Decision::Depends => f.write_str("depends on arguments"),
        }
    }
}
