//! `explain`: the way of a call through filters.

mod asked;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use cbpf_translator::cbpf::Cond;
use cbpf_translator::disasm::EbpfInsn;
use cbpf_translator::{Checked, translate};
use seccomp_kernel::{Action, Arch, strictest};
use seccomp_rbpf::profile::Meaning;
use seccomp_rbpf::symbolic::sign;
use seccomp_rbpf::trace::{Effect, Trace, trace};
use seccomp_runtime::{EngineKind, Planned, SeccompData};
use serde::Serialize;

use crate::compile::Condition;
use crate::engine::Engine;
use crate::extension::Extension;
use crate::filter::{self, Filter, Name, WithJson};
use crate::host::{Memory, ThisProcess};
use crate::profile_args::ProfileArgs;
use crate::return_value::{ReturnValue, Words};
use crate::setting::{self, Setting};
use crate::strace::{self, Call, Prefix};
use crate::{arch, disasm, eval, json, output};
use asked::Recorded;

/// Show why filters decide about a system call as they do
///
/// Every instruction that runs is shown with the values it saw, as it was written and as the eBPF that Linux makes of
/// it, then which filter of the stack counts. Of a profile, the rule is shown.
///
/// The call is given as to `eval`, or as strace prints it, in one argument: numbers, constants by name, NULL. What is
/// in quotes or brackets is an address that is not known, and counts as 0. What strace puts in front of it may stay.
#[derive(clap::Args)]
#[command(
    override_usage = "seccomp-rbpf explain [OPTIONS] <FILTER>... <CALL>\n       \
                      seccomp-rbpf explain [OPTIONS] <FILTER>... --nr <NR>",
    after_help = "\
Examples:
  seccomp-rbpf explain deny.bpfasm 'openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY)'
  seccomp-rbpf explain profile.json --nr clone --args 0x10000000 --json"
)]
pub struct ExplainArgs {
    /// Filters as `eval` takes them, the oldest first, and without --nr the call behind them
    #[arg(value_name = "FILTER", required = true)]
    filters: Vec<PathBuf>,
    /// The system call, a number or a name
    #[arg(long, allow_hyphen_values = true)]
    nr: Option<String>,
    /// The system call entry: what the filters see as arch, and whose numbers names have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// The instruction pointer [default: what strace -i prints of the call, or 0]
    #[arg(long, allow_hyphen_values = true, value_parser = eval::address)]
    ip: Option<u64>,
    /// Up to six arguments, separated by commas, the rest are 0; 64 bits each, whatever the arch
    #[arg(long, allow_hyphen_values = true, value_parser = eval::arguments, default_value = "0", requires = "nr")]
    args: [u64; 6],
    /// User memory that eBPF filters can read: a string at an address, 0 behind it
    #[arg(long, value_name = "ADDRESS=TEXT", value_parser = Memory::parse)]
    memory: Vec<Memory>,
    /// Put an entry into a map of eBPF filters; a number, or `hex:` and bytes
    #[arg(long, value_name = "MAP:KEY=VALUE", value_parser = Setting::parse)]
    set: Vec<Setting>,
    /// Print JSON; docs/explain.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let (paths, Call { nr, args: values, unknown }, ip) = args.call()?;
    filter::stdin_once(paths.iter().map(PathBuf::as_path))?;
    let data = SeccompData { nr, arch: args.arch.audit_arch(), instruction_pointer: ip, args: values };
    let loaded = paths.iter().map(|path| filter::load_with_profile(path, args.arch, &args.profile));
    let (mut filters, profiles): (Vec<_>, Vec<_>) =
        loaded.collect::<anyhow::Result<Vec<_>>>()?.into_iter().unzip();
    setting::apply(&mut filters, &args.set)?;

    let host = ThisProcess::new(args.memory.clone());
    let filters = paths.iter().zip(&filters).zip(&profiles).map(|((path, filter), profile)| {
        let name = Name(path).to_string();
        match filter {
            Filter::Classic(program) => Explained::classic(name, program, profile.as_ref(), &data),
            Filter::Extension(filter) => extension(name, filter, &data, &host),
        }
    });
    let filters: Vec<Explained> = filters.collect::<anyhow::Result<_>>()?;
    let newest_first = filters.iter().enumerate().rev().map(|(index, filter)| (filter.number, index));
    let (value, winner) = strictest(newest_first).context("no filter")?;
    let explanation = Explanation {
        call: CallShown { unknown, ..CallShown::new(args.arch, &data) },
        reason: reason(filters.iter().map(|filter| filter.number), value),
        filters,
        winner,
        value: format!("{value:#010x}"),
        decision: Words(value).to_string(),
    };
    if args.json {
        json::print(&explanation)?;
    } else {
        output::text(&explanation)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl ExplainArgs {
    /// The filters, the call and its instruction pointer.
    fn call(&self) -> anyhow::Result<(&[PathBuf], Call, u64)> {
        if let Some(nr) = &self.nr {
            let nr = eval::syscall(nr, self.arch)?;
            let call = Call { nr, args: self.args, unknown: Vec::new() };
            return Ok((self.filters.as_slice(), call, self.ip.unwrap_or(0)));
        }
        let (call, filters) = self.filters.split_last().context("no filter")?;
        let text = call.to_str().filter(|text| text.contains('('));
        let text = text.context("no call: --nr, or behind the filters one as strace prints it")?;
        ensure!(!filters.is_empty(), "no filter before the call");
        let (Prefix { nr, ip, .. }, shown) = Prefix::parse(text);
        let read = || {
            let call = strace::parse(shown, self.arch)?;
            let other = nr.filter(|nr| *nr != call.nr);
            match other {
                Some(nr) => bail!("it has the number {nr}, and at --arch {} another", self.arch.name()),
                None => Ok(call),
            }
        };
        let call = read().with_context(|| format!("call {text:?}"))?;
        Ok((filters, call, self.ip.or(ip).unwrap_or(0)))
    }
}

/// All that is printed.
#[derive(Serialize)]
struct Explanation {
    call: CallShown,
    filters: Vec<Explained>,
    winner: usize,
    reason: String,
    value: String,
    decision: String,
}

/// A call, as filters see it.
#[derive(Serialize)]
pub struct CallShown {
    arch: &'static str,
    nr: i32,
    name: Option<&'static str>,
    instruction_pointer: String,
    args: [String; 6],
    unknown: Vec<usize>,
}

impl CallShown {
    /// A call by the entry `arch`.
    pub fn new(arch: Arch, data: &SeccompData) -> Self {
        Self {
            arch: arch.name(),
            nr: data.nr,
            name: arch.syscall_name(data.nr),
            instruction_pointer: hex(data.instruction_pointer),
            args: data.args.map(hex),
            unknown: Vec::new(),
        }
    }
}

/// What one filter did.
#[derive(Serialize)]
pub struct Explained {
    file: String,
    kind: &'static str,
    #[serde(skip)]
    number: u32,
    value: String,
    decision: String,
    /// Of a classic filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<StepShown>>,
    /// Of a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleShown>,
    /// Of an eBPF filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Vec<String>>,
}

#[derive(Serialize)]
struct StepShown {
    pc: usize,
    classic: String,
    effect: String,
    ebpf: Vec<EbpfShown>,
}

#[derive(Serialize)]
struct EbpfShown {
    pc: usize,
    text: String,
}

#[derive(Serialize)]
struct RuleShown {
    /// None where the default decided, or the call is by an entry that the profile does not have.
    index: Option<usize>,
    names: Vec<String>,
    condition: String,
    words: String,
}

impl Explained {
    fn new(file: String, kind: &'static str, value: u32) -> Self {
        Self {
            file,
            kind,
            number: value,
            value: format!("{value:#010x}"),
            decision: Words(value).to_string(),
            steps: None,
            rule: None,
            planned: None,
            asked: None,
        }
    }

    /// What a classic filter does with a call; of a profile's also the rule.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn classic(
        file: String,
        program: &Checked,
        profile: Option<&WithJson>,
        data: &SeccompData,
    ) -> anyhow::Result<Self> {
        let translated = translate(program)?;
        let ebpf = translated.insns();
        let begins = |pc: usize| translated.pc_map().get(pc).map_or(ebpf.len(), |pc| usize::from(*pc));
        let lines = disasm::lines(program.insns());
        let Trace { steps, value } = trace(program, data);
        let steps = steps.iter().map(|step| StepShown {
            pc: step.pc,
            classic: lines.get(step.pc).cloned().unwrap_or_default(),
            effect: effect(step.effect),
            ebpf: (begins(step.pc)..begins(step.pc + 1))
                .map(|pc| EbpfShown { pc, text: EbpfInsn { program: ebpf, pc }.to_string() })
                .collect(),
        });
        let kind = if profile.is_some() { "profile" } else { "classic" };
        let rule = profile.map(|(meaning, json)| rule(meaning, json, data)).transpose()?;
        Ok(Self { steps: Some(steps.collect()), rule, ..Self::new(file, kind, value) })
    }

    /// An eBPF filter that ran. It is not run again, because it remembers what it does.
    pub fn extension(file: String, value: u32, planned: bool) -> Self {
        Self { planned: Some(planned), ..Self::new(file, "ebpf", value) }
    }
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

fn effect(effect: Effect) -> String {
    match effect {
        Effect::A(value) => format!("A = {value:#x}"),
        Effect::X(value) => format!("X = {value:#x}"),
        Effect::Slot(slot, value) => format!("M[{slot}] = {value:#x}"),
        Effect::Alu { op, a, operand, result: Some(result) } => {
            format!("A = {a:#x} {} {operand:#x} = {result:#x}", sign(op))
        }
        Effect::Alu { a, .. } => format!("{a:#x} / 0 ends the program with 0"),
        Effect::Ja { to } => format!("to L{to}"),
        Effect::Jump { cond, a, operand, holds, to } => {
            let test = match cond {
                Cond::Eq => format!("{a:#x} == {operand:#x}"),
                Cond::Gt => format!("{a:#x} > {operand:#x}"),
                Cond::Ge => format!("{a:#x} >= {operand:#x}"),
                Cond::Set => format!("{a:#x} & {operand:#x} = {:#x}, != 0", a & operand),
            };
            format!("{test} is {holds}, to L{to}")
        }
        Effect::Return(value) => format!("returns {}", ReturnValue(value)),
    }
}

fn extension(
    file: String,
    filter: &Extension,
    data: &SeccompData,
    host: &ThisProcess,
) -> anyhow::Result<Explained> {
    // A plan is the same for every engine.
    let whole = Engine { kind: EngineKind::Native, plan: false };
    let loaded = filter.load(whole)?.filter.planned([data.arch])?;
    let planned = matches!(loaded.plan_of(data.arch, data.nr), Planned::Constant(_));
    let moment = host.moment();
    let recorded = Recorded::new(moment.told());
    let value = loaded.run(data, &recorded);
    Ok(Explained { asked: Some(recorded.asked()), ..Explained::extension(file, value, planned) })
}

/// Which rule of a profile decides.
fn rule(meaning: &Meaning, json: &[u8], data: &SeccompData) -> anyhow::Result<RuleShown> {
    let nobody = |words: &str| RuleShown {
        index: None,
        names: Vec::new(),
        condition: String::new(),
        words: words.into(),
    };
    let Some(arch) = meaning.entry_of(data) else {
        return Ok(nobody("the call is by an entry that the profile does not have"));
    };
    let (_, Some(index)) = meaning.decide(data) else {
        return Ok(nobody("no rule holds, the default decides"));
    };
    let alternatives = meaning.alternatives(arch, data.nr.cast_unsigned()).iter();
    let mut holding = alternatives.filter(|alternative| {
        alternative.rule == index && alternative.comparisons.iter().all(|each| each.holds(&data.args))
    });
    let comparisons =
        holding.next().map(|alternative| alternative.comparisons.as_slice()).unwrap_or_default();
    let conditions: Vec<_> = comparisons.iter().map(|each| Condition(each).to_string()).collect();
    let json: serde_json::Value = serde_json::from_slice(json)?;
    let rule = &json["syscalls"][index];
    let names = match (&rule["names"], &rule["name"]) {
        (serde_json::Value::Array(names), _) => names.iter().filter_map(|name| name.as_str()).collect(),
        (_, name) => Vec::from_iter(name.as_str()),
    };
    Ok(RuleShown {
        index: Some(index),
        names: names.into_iter().map(String::from).collect(),
        words: format!("syscalls[{index}] decides"),
        condition: conditions.join(" and "),
    })
}

/// Why `value` counts of the values of a stack.
pub fn reason(values: impl Iterator<Item = u32>, value: u32) -> String {
    let (mut equal, mut all) = (0, 0);
    for other in values {
        all += 1;
        equal += usize::from(Action::of(other) == Action::of(value));
    }
    let name = Action::of(value).name();
    match equal {
        _ if all == 1 => "it is the only one".into(),
        1 => format!("{name} is the strictest action"),
        _ if equal == all => format!("all say {name}, and the newest counts"),
        count => format!("{name} is the strictest action, and of the {count} that say so the newest counts"),
    }
}
