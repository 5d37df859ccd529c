//! Decisions a second of threads that share a filter.

use std::fmt;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cbpf_translator::Checked;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use seccomp_kernel::ThreadState;
use seccomp_rbpf::cases;

use super::decide;
use super::measure::{Effort, Probe, Samples};
use crate::engine::Engine;
use crate::run;

/// Throughput by number of threads; an empty call in the same rounds shows what the machine has.
pub struct Table(Samples);

impl Table {
    pub fn measure(filter: Checked, effort: Effort) -> anyhow::Result<Self> {
        let state = run::confine(vec![filter], Engine::PLAN)?;
        let free = ThreadState::new();
        let samples = effort.rounds(4, |index| {
            // Without a filter `evaluate` has nothing to do.
            let state = if index < 2 { &state } else { &free };
            throughput(index % 2 + 1, state, effort.batch * 100)
        });
        Ok(Self(samples))
    }

    /// How much two threads decide, against one.
    pub fn gain(&self) -> f64 {
        self.0.ratio(1, 0)
    }
}

/// Decisions a second of threads with what `parent` has.
fn throughput(threads: usize, parent: &ThreadState, duration: Duration) -> f64 {
    let barrier = Barrier::new(threads);
    let barrier = &barrier;
    let work = move |thread: usize| {
        pin(thread);
        let (state, mix) = (parent.inherit(), cases::workload());
        let probe = Probe::new(&state, decide, &mix);
        barrier.wait();
        let start = Instant::now();
        let mut decisions = 0;
        while start.elapsed() < duration {
            decisions += probe.run();
        }
        decisions as f64 / start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a decision does not panic")).sum()
    })
}

/// Keeps the calling thread on a processor of its own, if there are that many: a scheduler may be slow to see
/// that two threads are busy.
fn pin(thread: usize) {
    let this = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this) else { return };
    let mut allowed = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let mut own = CpuSet::new();
    if let Some(cpu) = allowed.nth(thread)
        && own.set(cpu).is_ok()
    {
        // Where it may not, it runs wherever it does.
        let _ = sched_setaffinity(this, &own);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "evaluate on threads that share a filter: million decisions a second, mix")?;
        writeln!(f, "{:<21}{:>19}{:>19}", "", "1 thread", "2 threads")?;
        for (name, one) in [("plan, docker-like", 0), ("no filter", 2)] {
            let (single, both) = (self.0.median(one) / 1e6, self.0.median(one + 1) / 1e6);
            let gain = self.0.ratio(one + 1, one);
            writeln!(f, "{name:<21}{single:>9.1}{:>9.2}x{both:>9.1}{gain:>9.2}x", 1.0)?;
        }
        writeln!(f)
    }
}
