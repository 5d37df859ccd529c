//! `bench`: what decisions cost, next to what else there is.
//!
//! All that is compared is measured in the same rounds ([`measure`]), and a ratio is the median of the ratios
//! of each round.

mod extension;
mod grid;
mod host;
mod install;
mod measure;
mod plot;
mod results;
mod threads;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cbpf_translator::Checked;
use seccomp_kernel::{Arch, LogMask, Pass, ThreadState, evaluate};
use seccomp_rbpf::cases::{self, ARGUMENT, CONSTANT};
#[cfg(target_arch = "x86_64")]
use seccomp_rbpf::exec_memory::HostExecMemory;
#[cfg(target_arch = "x86_64")]
use seccomp_runtime::RbpfVm;
use seccomp_runtime::{self as runtime, EngineKind, Loaded, SeccompData};
use serde_json::{Value, json};

pub(crate) use host::{CALLS, CallsArgs, serve};

use crate::engine::Engine;
use crate::extension::Extension;
use crate::filter::{self, Filter, Name};
use crate::profile_args::ProfileArgs;
use crate::{progress, run};
use grid::Grid;
use measure::{Effort, Probe};
use results::{Measured, Results, rounded};

/// Measure decisions: a plan on each engine, each engine on the whole filter, and the host's own seccomp
///
/// Without a FILTER a profile as containers have it is measured, compiled in two ways and against the same
/// written by hand, short and long filters, stacks of filters, and eBPF filters. Times are medians; of what stands in one
/// table all was measured in the same rounds.
///
/// Three kinds of calls are decided about: getppid(2), personality(2) that asks, whose argument the filters
/// without a FILTER check as the last thing they do, and a mix of calls as a server makes it.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf bench --plot docs")]
pub struct BenchArgs {
    /// Raw sock_filter bytes, assembler text, profiles or eBPF object files, for x86_64; each is measured for itself
    #[arg(value_name = "FILTER")]
    filters: Vec<PathBuf>,
    /// Measure little: shows that it works rather than how fast
    #[arg(long)]
    quick: bool,
    /// Write plots of cost against length and against the number of filters to this folder, as SVG
    #[arg(long, value_name = "DIR", conflicts_with = "filters")]
    plot: Option<PathBuf>,
    /// Print JSON, when all is measured; docs/json.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

/// Numbers of rules whose cost is compared, and the longest filter comes on top.
const RULES: [u32; 6] = [10, 30, 100, 300, 1000, 2000];

/// Numbers of filters whose cost is compared.
const DEPTHS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.filters.iter().map(PathBuf::as_path))?;
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut results = Results::new(args.json);
    if args.filters.is_empty() {
        shipped(args, effort, &mut results)?;
    } else {
        let (mut inputs, mut extensions) = (Vec::new(), Vec::new());
        for path in &args.filters {
            match filter::load_any(path, Arch::X86_64, &args.profile)? {
                Filter::Classic(filter) => inputs.push(Input::filter(&Name(path).to_string(), filter)),
                Filter::Extension(filter) => extensions.push((path, filter)),
            }
        }
        let hosts = if inputs.is_empty() { 0 } else { 1 };
        progress::parts(2 * inputs.len() + hosts + extensions.len());
        if !inputs.is_empty() {
            results.add(&install::Table::measure(&inputs, effort)?)?;
            measured(&inputs, effort, &mut results)?;
            results.add(&host::Table::measure(&inputs, effort)?)?;
        }
        for (path, filter) in &extensions {
            results.add(&extension_grid(path, filter, effort)?)?;
        }
    }
    results.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn shipped(args: &BenchArgs, effort: Effort, results: &mut Results) -> anyhow::Result<()> {
    let policy = cases::docker_like()?;
    let (most, longest) = cases::longest()?;
    let few = cases::rules(RULES[0])?;
    let stack = |depth| Input::stack(few.clone(), depth);
    let inputs = [
        Input { by_hand: true, ..Input::filter("docker-like, linear", policy.linear()?) },
        Input { by_hand: true, ..Input::filter("docker-like, tree", policy.tree()?) },
        Input::filter("10 rules", few.clone()),
        Input::filter("longest", longest.clone()),
        stack(1),
        stack(8),
        stack(64),
    ];

    if let Some(folder) = args.plot.as_deref().filter(|folder| !folder.is_dir()) {
        anyhow::bail!("{}: not a folder", folder.display());
    }

    /// What is measured besides a grid for each input.
    const OTHERS: usize = 10;
    progress::parts(inputs.len() + OTHERS);

    // First, while little memory has been given back that filters could be put into.
    results.add(&install::Table::measure(&inputs[..4], effort)?)?;
    let grids = measured(&inputs, effort, results)?;

    let lengths = RULES.into_iter().map(|count| Ok((count, Input::filter("", cases::rules(count)?))));
    let lengths: anyhow::Result<Vec<_>> = lengths.chain([Ok((most, Input::filter("", longest)))]).collect();
    let lengths = series("rules", &lengths?, effort)?;
    results.add(&lengths)?;
    let depths: Vec<_> = DEPTHS.into_iter().map(|depth| (depth as u32, stack(depth))).collect();
    let depths = series("filters", &depths, effort)?;
    results.add(&depths)?;

    results.add(&extension::work(effort)?)?;
    results.add(&extension::Verification::measure(effort)?)?;

    results.add(&host::Table::measure(&inputs, effort)?)?;
    let threads = threads::Table::measure(policy.linear()?, effort)?;
    results.add(&threads)?;
    if let Some(folder) = &args.plot {
        plot::series(&folder.join("cost-by-rules.svg"), &lengths)?;
        plot::series(&folder.join("cost-by-filters.svg"), &depths)?;
    }

    let linear = &grids[0];
    let plan = name(Engine::PLAN);
    let whole = name(Engine { plan: false, ..Engine::PLAN });
    let native = name(NATIVE);
    let plan_native = name(Engine { plan: true, ..NATIVE });
    let planned = engines().filter(|engine| engine.plan).map(name);
    let slowest =
        planned.map(|plan| linear.ratio((&plan, "getppid"), (BY_HAND, "getppid"))).fold(0.0, f64::max);
    let (few, most) = (RULES[0].to_string(), most.to_string());
    results.add(&Figures(vec![
        Figure::at_most(1.3, "getppid, plan on the slowest engine / by hand", slowest),
        Figure::at_most(
            1.15,
            "getppid, plan, 4096 instructions / 10 rules",
            lengths.ratio((&most, &plan), (&few, &plan)),
        ),
        Figure::at_most(1.15, "getppid, plan, 64 filters / 1", depths.ratio(("64", &plan), ("1", &plan))),
        Figure::at_least(
            5.0,
            "personality, linear, whole on jit / plan on jit",
            linear.ratio((&whole, "personality"), (&plan, "personality")),
        ),
        Figure::at_least(
            50.0,
            "mix, linear, whole on native / plan on jit",
            linear.ratio((&native, "mix"), (&plan, "mix")),
        ),
        Figure::at_least(
            25.0,
            "mix, linear, whole on native / plan on native",
            linear.ratio((&native, "mix"), (&plan_native, "mix")),
        ),
        Figure::at_least(1.8, "evaluate, throughput on 2 threads / on 1", threads.gain()),
    ]))
}

/// Measures and prints what decisions of each input cost.
fn measured(inputs: &[Input], effort: Effort, results: &mut Results) -> anyhow::Result<Vec<Grid>> {
    let grids = inputs.iter().map(|input| {
        let grid = input.grid(effort)?;
        results.add(&grid)?;
        Ok(grid)
    });
    grids.collect()
}

const NATIVE: Engine = Engine { kind: EngineKind::Native, plan: false };

const BY_HAND: &str = "by hand";

/// The engines of this machine, with and without a plan.
fn engines() -> impl Iterator<Item = Engine> {
    let whole = || Engine::all().filter(|engine| !engine.plan);
    whole().map(|engine| Engine { plan: true, ..engine }).chain(whole())
}

fn name(engine: Engine) -> String {
    let kind = engine.kind.name();
    if engine.plan { format!("plan on {kind}") } else { format!("whole on {kind}") }
}

/// The engine that decides in what has this name, if one does.
fn engine_of(name: &str) -> Option<Engine> {
    let (what, kind) = name.split_once(" on ")?;
    let engine = Engine::all().find(|engine| !engine.plan && engine.kind.name() == kind)?;
    Some(Engine { plan: what == "plan", ..engine })
}

/// Filters to measure.
struct Input {
    name: String,
    filter: Checked,
    /// Attached that many times to a thread; the decision is `evaluate`'s. Otherwise it is the filter's.
    depth: Option<usize>,
    /// The shipped policy, which there is by hand too.
    by_hand: bool,
}

impl Input {
    fn filter(name: &str, filter: Checked) -> Self {
        let name = format!("{name}, {} instructions", filter.insns().len());
        Self { name, filter, depth: None, by_hand: false }
    }

    fn stack(filter: Checked, depth: usize) -> Self {
        let name = format!("stack of {depth}, each of 10 rules");
        Self { name, filter, depth: Some(depth), by_hand: false }
    }

    fn load(&self, engine: Engine) -> anyhow::Result<Subject> {
        Ok(match self.depth {
            None => Subject::Filter(engine.load(self.filter.clone())?),
            Some(depth) => Subject::Thread(run::confine(vec![self.filter.clone(); depth], engine)?),
        })
    }

    /// Every engine on every kind of call.
    fn grid(&self, effort: Effort) -> anyhow::Result<Grid> {
        let mut subjects = vec![("empty call".into(), Subject::Function(|(), _| 0))];
        if self.by_hand {
            subjects.push((BY_HAND.into(), Subject::Function(|(), call| cases::by_hand(call))));
        }
        for engine in engines() {
            subjects.push((name(engine), self.load(engine)?));
        }
        #[cfg(target_arch = "x86_64")]
        if self.depth.is_none() {
            let vm = RbpfVm::load(&self.filter, &HostExecMemory)?;
            subjects.push(("whole through rbpf's VM".into(), Subject::Vm(Box::new(vm))));
        }
        Ok(grid(self.name.clone(), &subjects, effort))
    }
}

/// Every engine on every kind of call. The filter's maps are new on each, and no kernel answers its helpers.
fn extension_grid(path: &Path, filter: &Extension, effort: Effort) -> anyhow::Result<Grid> {
    let mut subjects = vec![("empty call".into(), Subject::Function(|(), _| 0))];
    for engine in engines() {
        subjects.push((name(engine), Subject::Extension(filter.load(engine)?.filter)));
    }
    let title = format!("{}, {} instructions", Name(path), filter.verified.insns().len());
    Ok(grid(title, &subjects, effort))
}

/// Subjects by the three kinds of calls.
fn grid(title: String, subjects: &[(String, Subject)], effort: Effort) -> Grid {
    let rows: Vec<_> = subjects.iter().map(|(name, _)| name.clone()).collect();
    let mix = cases::workload();
    let columns: [(&str, &[&SeccompData]); 3] =
        [("getppid", &[&CONSTANT; 100]), ("personality", &[&ARGUMENT; 100]), ("mix", &mix)];
    let base = rows.iter().position(|row| *row == name(Engine::PLAN)).unwrap_or(0);
    Grid::measure(
        title,
        rows,
        columns.map(|(name, _)| name.into()).to_vec(),
        base,
        |row, column| subjects[row].1.probe(columns[column].1),
        effort,
    )
}

/// What one call costs on each engine, by a number that grows.
fn series(what: &str, inputs: &[(u32, Input)], effort: Effort) -> anyhow::Result<Grid> {
    let shown = [Engine::PLAN, Engine { plan: false, ..Engine::PLAN }, NATIVE];
    let subjects = shown.map(|engine| inputs.iter().map(|(_, input)| input.load(engine)).collect());
    let subjects: Vec<Vec<_>> = subjects.into_iter().collect::<anyhow::Result<_>>()?;
    Ok(Grid::measure(
        format!("getppid by number of {what}"),
        inputs.iter().map(|(count, _)| count.to_string()).collect(),
        shown.map(name).to_vec(),
        0,
        |row, column| subjects[column][row].probe(&[&CONSTANT; 100]),
        effort,
    ))
}

/// What decides.
enum Subject {
    Function(fn(&(), &SeccompData) -> u32),
    Filter(Loaded),
    Extension(runtime::Extension),
    /// rbpf's JIT through rbpf's own interface, which wants a copy of each call.
    #[cfg(target_arch = "x86_64")]
    Vm(Box<RbpfVm>),
    Thread(ThreadState),
}

impl Subject {
    fn probe<'p>(&'p self, calls: &'p [&'p SeccompData]) -> Probe<'p> {
        match self {
            Self::Function(decide) => Probe::new(&(), *decide, calls),
            Self::Filter(filter) => Probe::new(filter, Loaded::run, calls),
            Self::Extension(filter) => Probe::new(filter, extension::decide, calls),
            #[cfg(target_arch = "x86_64")]
            Self::Vm(vm) => Probe::new(&**vm, RbpfVm::run, calls),
            Self::Thread(state) => Probe::new(state, decide, calls),
        }
    }
}

fn decide(state: &ThreadState, call: &SeccompData) -> u32 {
    evaluate(state, call, Pass::Entry, LogMask::default(), None).value
}

/// Results that have to keep a bound.
struct Figures(Vec<Figure>);

struct Figure {
    what: &'static str,
    measured: f64,
    bound: f64,
    at_most: bool,
}

impl Figure {
    fn at_most(bound: f64, what: &'static str, measured: f64) -> Self {
        Self { what, measured, bound, at_most: true }
    }

    fn at_least(bound: f64, what: &'static str, measured: f64) -> Self {
        Self { what, measured, bound, at_most: false }
    }

    fn is_kept(&self) -> bool {
        if self.at_most { self.measured <= self.bound } else { self.measured >= self.bound }
    }
}

impl Measured for Figures {
    const KEY: &'static str = "figures";

    fn json(&self) -> Vec<Value> {
        let figures = self.0.iter().map(|figure| {
            json!({
                "name": figure.what,
                "measured": rounded(figure.measured),
                "bound": figure.bound,
                "at_most": figure.at_most,
                "kept": figure.is_kept(),
            })
        });
        figures.collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<50}{:>10}{:>18}", "figures", "measured", "bound")?;
        for figure in &self.0 {
            let Figure { what, measured, bound, at_most } = figure;
            let words = if *at_most { "at most" } else { "at least" };
            let missed = if figure.is_kept() { "" } else { "  missed" };
            writeln!(f, "{what:<50}{measured:>9.2}x{words:>11} {bound:>5}x{missed}")?;
        }
        Ok(())
    }
}
