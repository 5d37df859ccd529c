//! `diff`: where two filters decide otherwise.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
#[cfg(feature = "smt")]
use std::time::Duration;

use anyhow::{bail, ensure};
use cbpf_translator::Checked;
use cbpf_translator::seccomp::AUDIT_ARCH_NAMES;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_rbpf::symbolic::{Difference, Differences, Exprs, Field, Set, Term, Work, diff};
use seccomp_runtime::{EngineKind, SeccompData};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::filter::{self, Filter, Name};
use crate::profile_args::ProfileArgs;

use crate::{arch, json, output, progress, style};

/// Show on which calls two filters decide otherwise
///
/// Two filters are equal if both return the same 32 bits for every call of every architecture. That is decided by
/// following all paths of both, not by trying. Each difference has a call that shows it, which both filters have
/// been run on.
///
/// The exit status is 0 for equal filters, 1 for others, 3 if it could not be decided.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf diff old.json new.json
  seccomp-rbpf diff hand-written.bpfasm compiled.bpf --json")]
pub struct DiffArgs {
    /// Raw sock_filter bytes, assembler text or a profile; - is standard input
    a: PathBuf,
    /// Another
    b: PathBuf,
    /// Whose numbers names in filters have, and the machine that profiles are for; calls of all architectures are compared
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/explain.md has its shape
    #[arg(long)]
    json: bool,
    /// The SMT solver that is asked about what cannot be followed: z3 or cvc5, or a path to one
    #[cfg(feature = "smt")]
    #[arg(long, value_name = "PROGRAM", default_value = "z3")]
    solver: PathBuf,
    /// As many seconds as it may have in all
    #[cfg(feature = "smt")]
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    solver_time: u32,
    #[command(flatten)]
    profile: ProfileArgs,
}

/// As much work as a comparison may be: seconds.
const WORK: usize = 1 << 28;

/// The status of filters that differ.
const DIFFERENT: u8 = 1;

/// The status where it is not known.
const UNDECIDED: u8 = 3;

pub fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let paths = [&args.a, &args.b];
    filter::stdin_once(paths.map(PathBuf::as_path))?;
    let [a, b] = paths.map(|path| match filter::load_any(path, args.arch, &args.profile)? {
        Filter::Classic(program) => Ok(program),
        Filter::Extension(_) => bail!(
            "{}: an eBPF filter, diff compares classic ones and profiles; for one call `explain` takes both, for many \
             `eval --batch`",
            Name(path)
        ),
    });
    let programs = [a?, b?];
    let compare = || -> anyhow::Result<_> {
        let mut differences = diff(&programs[0], &programs[1], &mut Work::new(WORK));
        let left = args.decide(&mut differences, &programs);
        let undecided = differences.undecided;
        Ok((Row::all(differences, &programs, args.arch)?, undecided, left))
    };
    let (rows, undecided, left) = progress::during("comparing all paths", compare)?;
    let (equal, status) = match (rows.is_empty(), undecided) {
        (true, false) => (Some(true), 0),
        (true, true) => (None, UNDECIDED),
        (false, _) => (Some(false), DIFFERENT),
    };
    if args.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let all = json!({
            "equal": equal,
            "complete": !undecided,
            "undecided": left,
            "differences": rows,
        });
        json::print(&all)?;
    } else {
        let [a, b] = paths.map(|path| Name(path).to_string());
        output::text(Text { rows: &rows, undecided: left.as_deref(), names: [&a, &b] })?;
    }
    Ok(status.into())
}

impl DiffArgs {
    /// Lets the solver decide what is left. Says why not all is decided.
    #[cfg(feature = "smt")]
    fn decide(&self, differences: &mut Differences, programs: &[Checked; 2]) -> Option<String> {
        use seccomp_rbpf::symbolic::{Solver, Unsolved};

        let solver = Solver::new(&self.solver, Duration::from_secs(self.solver_time.into()));
        let decided = differences.decide(programs.each_ref(), &solver);
        let name = self.solver.display();
        differences.undecided.then(|| match decided {
            Ok(()) => "not all could be followed".into(),
            Err(Unsolved::Missing) => {
                format!("not all could be followed, and {name} is not installed, which could decide it")
            }
            Err(error @ Unsolved::GaveUp) => {
                format!("not all could be followed, and {name} {error}; --solver-time gives it more")
            }
            Err(error @ Unsolved::Failed) => {
                format!("not all could be followed, and {name} {error}; --solver takes another")
            }
        })
    }

    /// Says why not all is decided.
    #[cfg(not(feature = "smt"))]
    fn decide(&self, differences: &mut Differences, _: &[Checked; 2]) -> Option<String> {
        let words = "not all could be followed; with cargo's feature `smt` and z3 installed, z3 is asked";
        differences.undecided.then(|| words.into())
    }
}

/// Calls that get the same two values for the same reason.
struct Row {
    said: Said,
    values: [u32; 2],
    witness: SeccompData,
}

impl Row {
    /// All differences, alike ones together, those of `native` first. Each call that shows one is first decided by both
    /// programs.
    fn all(differences: Differences, programs: &[Checked; 2], native: Arch) -> anyhow::Result<Vec<Self>> {
        let engine = Engine { kind: EngineKind::Native, plan: false };
        let [a, b] = programs.each_ref().map(|program| engine.load(program.clone()));
        let (a, b) = (a?, b?);
        let Differences { mut exprs, found, .. } = differences;
        let mut work = Work::new(WORK);
        let mut rows: BTreeMap<_, Self> = BTreeMap::new();
        let mut split = Vec::with_capacity(found.len());
        for difference in &found {
            split.extend(entries(&mut exprs, difference, native, &mut work));
        }
        for difference in split {
            let witness = difference.witness;
            let values = [a.run(&witness), b.run(&witness)];
            let claimed = difference
                .values
                .iter()
                .zip(values)
                .all(|(claim, value)| claim.is_none_or(|claim| claim == value));
            ensure!(
                claimed && values[0] != values[1],
                "the call {} does not show a difference",
                Line(&witness)
            );
            let said = Said::of(&exprs, &difference, &mut work);
            let is_native = said.entry == Some(native);
            let foreign = witness.arch != native.audit_arch();
            let key = (
                (!is_native, foreign),
                (said.arch.clone(), said.entry.map(Arch::name)),
                (values, said.computed, said.condition.clone(), said.complete),
            );
            match rows.entry(key) {
                Entry::Occupied(mut row) => row.get_mut().join(said, witness),
                Entry::Vacant(row) => drop(row.insert(Self { said, values, witness })),
            }
        }
        Ok(rows.into_values().collect())
    }

    /// Takes numbers to its own of which the same is said. The lowest that is shown stands for all.
    fn join(&mut self, other: Said, witness: SeccompData) {
        let said = &mut self.said;
        said.numbers = said.numbers.or(&other.numbers);
        said.names = names(said.entry, &said.numbers);
        if witness.nr.cast_unsigned() < self.witness.nr.cast_unsigned() {
            self.witness = witness;
        }
    }

    fn json(&self) -> Value {
        let Self { said, values: [a, b], witness } = self;
        let Said { arch, entry, numbers, complete, names, condition, computed } = said;
        let value = |value: u32, computed: bool| {
            let mut json = json::value(value);
            json["computed"] = computed.into();
            json
        };
        let ranges: Vec<_> = numbers.ranges().iter().map(|(first, last)| [first, last]).collect();
        let args = witness.args.map(|arg| format!("{arg:#x}"));
        json!({
            "arch": arch,
            "entry": entry.map(Arch::name),
            "numbers": ranges,
            "complete": complete,
            "names": names,
            "condition": condition,
            "a": value(*a, computed[0]),
            "b": value(*b, computed[1]),
            "witness": {
                "nr": witness.nr,
                "arch": format!("{:#010x}", witness.arch),
                "instruction_pointer": format!("{:#x}", witness.instruction_pointer),
                "args": args,
                "batch": Line(witness).to_string(),
            },
        })
    }
}

/// The offsets of the two words in `seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;

/// Every number, and every architecture.
fn every() -> Set {
    Set::range(0, u32::MAX.into())
}

/// Numbers that calls have, with room for those to come. These are listed of sets that are no few intervals.
fn likely() -> Set {
    const ROOM: u64 = 0xfff;
    let bases = [0, X32_SYSCALL_BIT.cast_unsigned().into(), 0xf_0000];
    Set::union(bases.map(|base| (base, base + ROOM)).into())
}

/// A difference by the entries that its calls come by, as far as they are told apart: x32's have the architecture of
/// x86-64. Each is shown by a call of `native`, if there is one.
fn entries(exprs: &mut Exprs, difference: &Difference, native: Arch, work: &mut Work) -> Vec<Difference> {
    let architecture = Set::of(native.audit_arch().into());
    let native = difference.narrowed(exprs, ARCH, &architecture, work);
    let difference = match native {
        Ok(Some(native)) => Difference { witness: native.witness, ..difference.clone() },
        _ => difference.clone(),
    };
    let arches = difference.facts.as_ref().and_then(|facts| facts.values(exprs, ARCH, &every(), work));
    if arches.and_then(|arches| arches.single()) != Some(Arch::X86_64.audit_arch().into()) {
        return vec![difference];
    }
    let x32 = Set::range(X32_SYSCALL_BIT.cast_unsigned().into(), i32::MAX.cast_unsigned().into());
    let parts = [x32.not(u32::MAX.into()), x32];
    let parts = parts.map(|numbers| difference.narrowed(exprs, NR, &numbers, work));
    match parts {
        [Ok(x86_64), Ok(x32)] => [x86_64, x32].into_iter().flatten().collect(),
        _ => vec![difference],
    }
}

/// What is said of the calls of a difference.
struct Said {
    arch: String,
    /// The entry, of calls of one architecture.
    entry: Option<Arch>,
    numbers: Set,
    /// Whether there are no others.
    complete: bool,
    /// The names of those that have one at the entry.
    names: Vec<&'static str>,
    condition: String,
    /// Which of the two values are computed of the call, and are those of the one that is shown.
    computed: [bool; 2],
}

impl Said {
    fn of(exprs: &Exprs, difference: &Difference, work: &mut Work) -> Self {
        let Difference { facts, witness, .. } = difference;
        let values = |word, within: &Set, work: &mut Work| {
            facts.as_ref().and_then(|facts| facts.values(exprs, word, within, work))
        };
        let arches = values(ARCH, &every(), work);
        // What holds of a number at one architecture need not hold at another.
        let apart = facts.as_ref().is_some_and(|facts| !facts.connect(exprs, NR, ARCH));
        let all = values(NR, &every(), work).filter(|_| apart);
        let complete = all.is_some();
        let numbers = all.or_else(|| values(NR, &likely(), work).filter(|_| apart));
        let numbers = numbers.unwrap_or_else(|| Set::of(witness.nr.cast_unsigned().into()));
        let term = facts.as_ref().and_then(|facts| Term::of(exprs, facts, work)).map(|term| {
            let term = if arches.is_some() { term.without(Field::Arch) } else { term };
            if complete { term.without(Field::Nr) } else { term }
        });
        let single = arches.as_ref().and_then(Set::single);
        let entry = single.and_then(|_| Arch::of_call(witness.arch, witness.nr));
        Self {
            arch: match (arches, single) {
                (_, Some(value)) => arch_name(value),
                (Some(set), None) if set == every() => "every architecture".into(),
                (Some(_), None) => "other architectures".into(),
                (None, None) => "architectures".into(),
            },
            entry,
            names: names(entry, &numbers),
            numbers,
            complete,
            condition: term.map_or_else(|| "depends on arguments".into(), |term| term.to_string()),
            computed: difference.values.map(|value| value.is_none()),
        }
    }
}

/// The name of an `AUDIT_ARCH_*` value, or that.
fn arch_name(value: u64) -> String {
    let name = AUDIT_ARCH_NAMES.iter().find(|(_, arch)| u64::from(*arch) == value);
    name.map_or_else(|| format!("arch {value:#010x}"), |(name, _)| (*name).into())
}

/// The names of numbers that have some.
fn names(arch: Option<Arch>, numbers: &Set) -> Vec<&'static str> {
    let named = arch.into_iter().flat_map(Arch::syscalls);
    named.filter(|(nr, _)| numbers.contains(nr.cast_unsigned().into())).map(|(_, name)| name).collect()
}

/// A call as `eval --batch` takes it.
struct Line<'d>(&'d SeccompData);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SeccompData { nr, arch, instruction_pointer, args } = self.0;
        write!(f, "{arch:x} {nr} {instruction_pointer:x}")?;
        args.iter().try_for_each(|arg| write!(f, " {arg:x}"))
    }
}

struct Text<'r> {
    rows: &'r [Row],
    undecided: Option<&'r str>,
    names: [&'r str; 2],
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.names;
        for row in self.rows {
            let Row { said, values: [a, b], witness } = row;
            let Said { arch, entry, numbers, complete, names, condition, computed } = said;
            let entry = if *entry == Some(Arch::X32) { " (x32)" } else { "" };
            let how = computed.map(|computed| if computed { " computed of the call" } else { "" });
            write!(f, "{arch}{entry}: {first} {}{}, ", style::words(*a), how[0])?;
            write!(f, "{second} {}{}", style::words(*b), how[1])?;
            if condition != "always" {
                write!(f, ", where {condition}")?;
            }
            let ranges = numbers.ranges().iter().map(|(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            });
            let which = if *complete { "numbers" } else { "among others numbers" };
            write!(f, "\n  {which} {}", Beginning { words: &ranges.collect::<Vec<_>>(), between: ", " })?;
            if !names.is_empty() {
                write!(f, "\n  {}", Beginning { words: names, between: " " })?;
            }
            writeln!(f, "\n  shown by {}", Line(witness))?;
        }
        match (self.rows.is_empty(), self.undecided) {
            (true, None) => writeln!(f, "equal for every call"),
            (true, Some(why)) => writeln!(f, "undecided: no difference was found, but {why}"),
            (false, Some(why)) => writeln!(f, "there may be more differences: {why}"),
            (false, None) => Ok(()),
        }
    }
}

/// Words, and where they are more than about a line, how many more.
struct Beginning<'w, W> {
    words: &'w [W],
    between: &'w str,
}

impl<W: AsRef<str>> fmt::Display for Beginning<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As long a line is.
        const LINE: usize = 100;
        let ends = self.words.iter().scan(0, |end, word| {
            *end += word.as_ref().len() + self.between.len();
            Some(*end)
        });
        // The first stands there however long it is.
        let fit = ends.take_while(|end| *end <= LINE).count().max(1).min(self.words.len());
        let (shown, more) = self.words.split_at(fit);
        let shown: Vec<_> = shown.iter().map(AsRef::as_ref).collect();
        f.write_str(&shown.join(self.between))?;
        if more.is_empty() { Ok(()) } else { write!(f, " and {} more", more.len()) }
    }
}
