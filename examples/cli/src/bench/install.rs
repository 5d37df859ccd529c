//! What a filter costs before its first decision: time, and memory for as long as it is installed.

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context;
use cbpf_translator::check;
use seccomp_kernel::ThreadState;
use serde_json::{Value, json};

use super::measure::{Effort, Samples};
use super::results::{Measured, engine_json, rounded};
use super::{Input, NATIVE};
use crate::engine::Engine;
use crate::run;

/// A row for each filter.
pub struct Table(Vec<Row>);

struct Row {
    name: String,
    /// Microseconds of each of [`STEPS`].
    micros: Samples,
    /// Bytes that stay in memory, pages of machine code included.
    bytes: usize,
}

/// Checking, and loading by attaching to a thread: on native, on the machine's engine, and that with a plan for
/// both entries of an x86-64 machine, as a kernel does it.
const STEPS: [(&str, Option<Engine>); 4] = [
    ("check", None),
    ("native", Some(NATIVE)),
    (Engine::PLAN.kind.name(), Some(Engine { plan: false, ..Engine::PLAN })),
    ("with plan", Some(Engine::PLAN)),
];

impl Table {
    pub fn measure(inputs: &[Input], effort: Effort) -> anyhow::Result<Self> {
        // All of them stay until memory is counted, so that none is put where another was.
        let attached = inputs.iter().map(resident_bytes).collect::<anyhow::Result<Vec<_>>>()?;
        let rows = inputs.iter().zip(attached).map(|(input, (bytes, _))| {
            let mut failure = Ok(());
            let micros = effort.rounds(STEPS.len(), |step| {
                let time = time(input, STEPS[step].1).unwrap_or_else(|error| {
                    failure = Err(error);
                    Duration::ZERO
                });
                time.as_secs_f64() * 1e6
            });
            failure.map(|()| Row { name: input.name.clone(), micros, bytes })
        });
        Ok(Self(rows.collect::<anyhow::Result<_>>()?))
    }
}

fn time(input: &Input, engine: Option<Engine>) -> anyhow::Result<Duration> {
    let filter = input.filter.clone();
    let Some(engine) = engine else {
        let insns = filter.into_insns();
        let start = Instant::now();
        black_box(check(insns)?);
        return Ok(start.elapsed());
    };
    let start = Instant::now();
    let state = run::confine(vec![filter], engine)?;
    let time = start.elapsed();
    drop(state);
    Ok(time)
}

/// By how much the process grows with each attached filter that it keeps, and those.
fn resident_bytes(input: &Input) -> anyhow::Result<(usize, Vec<ThreadState>)> {
    const COPIES: usize = 64;
    let attach = || run::confine(vec![input.filter.clone()], Engine::PLAN);
    // What loading needs for a while is there when counting begins.
    drop(attach()?);
    let before = resident()?;
    let kept: Vec<_> = (0..COPIES).map(|_| attach()).collect::<anyhow::Result<_>>()?;
    Ok((resident()?.saturating_sub(before) / COPIES, kept))
}

/// Bytes of this process that are in memory.
fn resident() -> anyhow::Result<usize> {
    // Other files have counters that are not exact.
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").context("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

impl Measured for Table {
    const KEY: &'static str = "installs";

    fn json(&self) -> Vec<Value> {
        let rows = self.0.iter().map(|Row { name, micros, bytes }| {
            let steps = STEPS.iter().enumerate().map(|(index, (step, engine))| {
                let [engine, plan] = engine_json(*engine);
                json!({
                    "step": if engine.is_null() { *step } else { "load" },
                    "engine": engine,
                    "plan": plan,
                    "ns": rounded(micros.median(index) * 1e3),
                    "quartiles": micros.quartiles(index).map(|micros| rounded(micros * 1e3)),
                })
            });
            json!({"name": name, "steps": steps.collect::<Vec<_>>(), "bytes": bytes})
        });
        rows.collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "installing: \u{b5}s to check, and to load and attach; bytes of a filter with its plan")?;
        write!(f, "{:<39}", "")?;
        STEPS.iter().try_for_each(|(step, _)| write!(f, "{step:>12}"))?;
        writeln!(f, "{:>12}", "bytes")?;
        for Row { name, micros, bytes } in &self.0 {
            write!(f, "{name:<39}")?;
            (0..STEPS.len()).try_for_each(|step| write!(f, "{:>12.1}", micros.median(step)))?;
            writeln!(f, "{bytes:>12}")?;
        }
        writeln!(f)
    }
}
