//! Decisions a second of threads that share a filter.

use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cbpf_translator::Checked;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use seccomp_kernel::ThreadState;
use seccomp_rbpf::cases;
use serde_json::{Value, json};

use super::decide;
use super::measure::{Effort, Probe, Samples};
use super::results::{Measured, rounded};
use crate::engine::Engine;
use crate::run;

/// Throughput by number of threads; an empty call in the same rounds shows what the machine has.
pub struct Table(Samples);

impl Table {
    pub fn measure(filter: Checked, effort: Effort) -> anyhow::Result<Self> {
        let state = run::confine(vec![filter], Engine::PLAN)?;
        let free = ThreadState::new();
        let both = processors();
        let samples = effort.rounds(4, |index| {
            // Without a filter `evaluate` has nothing to do.
            let state = if index < 2 { &state } else { &free };
            let throughput = |processors: &[_]| throughput(processors, state, effort.batch * 20);
            // One thread runs on each processor in turn: others may use one of them more.
            let one = || both.iter().map(|own| throughput(&[*own])).sum::<f64>() / both.len() as f64;
            if index % 2 == 0 { one() } else { throughput(&both) }
        });
        Ok(Self(samples))
    }

    /// How much two threads decide, against one.
    pub fn gain(&self) -> f64 {
        self.0.ratio(1, 0)
    }
}

/// A processor for each of two threads, if there are that many: a scheduler may be slow to see that two are busy.
fn processors() -> [Option<usize>; 2] {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    let mut allowed = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    match (allowed.next(), allowed.next()) {
        (Some(one), Some(other)) => [Some(one), Some(other)],
        _ => [None; 2],
    }
}

/// Decisions a second of a thread on each of `processors`, all at the same time, with what `parent` has.
///
/// A window in which one had to make room for something else is tried again, a few times.
fn throughput(processors: &[Option<usize>], parent: &ThreadState, duration: Duration) -> f64 {
    const TRIES: usize = 10;
    let mut windows = (0..TRIES).map(|_| window(processors, parent, duration));
    let undisturbed = windows.by_ref().find(|window| !window.disturbed);
    undisturbed.unwrap_or_else(|| window(processors, parent, duration)).throughput
}

/// What threads did in the same time.
struct Window {
    /// Decisions a second, of all together.
    throughput: f64,
    /// Whether a thread lost its processor.
    disturbed: bool,
}

fn window(processors: &[Option<usize>], parent: &ThreadState, duration: Duration) -> Window {
    let ready = &AtomicUsize::new(0);
    let work = move |processor| {
        pin(processor);
        let (state, mix) = (parent.inherit(), cases::workload());
        let probe = Probe::new(&state, decide, &mix);
        probe.run();
        // Not asleep, because to wake takes some of the time that the others use.
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < processors.len() {
            hint::spin_loop();
        }
        let lost = preemptions();
        let start = Instant::now();
        let mut decisions = 0;
        while start.elapsed() < duration {
            decisions += probe.run();
        }
        (decisions as f64 / start.elapsed().as_secs_f64(), preemptions() != lost)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = processors.iter().map(|own| scope.spawn(move || work(*own))).collect();
        let none = Window { throughput: 0.0, disturbed: false };
        workers.into_iter().fold(none, |window, worker| {
            let (throughput, disturbed) = worker.join().expect("a decision does not panic");
            Window { throughput: window.throughput + throughput, disturbed: window.disturbed || disturbed }
        })
    })
}

/// How often the calling thread had to give up its processor.
fn preemptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

/// Keeps the calling thread on a processor.
fn pin(processor: Option<usize>) {
    let mut own = CpuSet::new();
    if let Some(cpu) = processor
        && own.set(cpu).is_ok()
    {
        // Where it may not, it runs wherever it does.
        let _ = sched_setaffinity(Pid::from_raw(0), &own);
    }
}

/// What the threads have, and the first of its two results.
const ROWS: [(&str, usize); 2] = [("plan, docker-like", 0), ("no filter", 2)];

impl Measured for Table {
    const KEY: &'static str = "threads";

    fn json(&self) -> Vec<Value> {
        let rows = ROWS.iter().flat_map(|(name, one)| {
            [1, 2].into_iter().zip(*one..).map(move |(threads, index)| {
                json!({
                    "name": name,
                    "count": threads,
                    "per_second": self.0.median(index).round(),
                    "quartiles": self.0.quartiles(index).map(f64::round),
                    "ratio": rounded(self.0.ratio(index, *one)),
                })
            })
        });
        rows.collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "evaluate on threads that share a filter: million decisions a second, mix")?;
        writeln!(f, "{:<21}{:>19}{:>19}", "", "1 thread", "2 threads")?;
        for (name, one) in ROWS {
            let (single, both) = (self.0.median(one) / 1e6, self.0.median(one + 1) / 1e6);
            let gain = self.0.ratio(one + 1, one);
            writeln!(f, "{name:<21}{single:>9.1}{:>9.2}x{both:>9.1}{gain:>9.2}x", 1.0)?;
        }
        writeln!(f)
    }
}
