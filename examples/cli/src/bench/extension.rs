//! What eBPF filters cost: decisions that count, ask a helper and look into a map, and their verification.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context;
use cbpf_translator::seccomp::{RET_ALLOW, RET_KILL_THREAD};
use cbpf_translator::{Checked, Insn, SockFilter, check};
use seccomp_rbpf::cases::{ARGUMENT, extension as cases};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::verifier::{Environment, MapDescriptor, Program, verify};
use seccomp_runtime::{
    EngineKind, Extension, HELPERS, HelperHost, Loaded, Map, MapOptions, SeccompData, TaskScope, UserFault,
    UserSpace,
};
use serde_json::{Value, json};

use super::grid::Grid;
use super::measure::{Effort, Probe, Samples};
use super::results::{Measured, rounded};
use crate::engine::Engine;

/// What a filter does on every call, in eBPF and in Rust.
type Work = (&'static str, fn() -> Vec<Insn>, fn(&[AtomicU64], &SeccompData) -> u32);

const WORK: [Work; 4] =
    [
        ("reads an argument", cases::reading, |_, call| {
            if call.args[0] == u64::MAX { RET_KILL_THREAD } else { RET_ALLOW }
        }),
        ("asks a helper", cases::asking, |_, _| {
            black_box(u64::from(NoKernel.tgid()) << 32 | u64::from(NoKernel.pid()));
            RET_ALLOW
        }),
        ("looks into a map", cases::looking_up, |counts, call| {
            black_box(counts.get(call.nr as usize));
            RET_ALLOW
        }),
        ("counts", cases::counting, |counts, call| {
            // As the filter does it: threads may lose counts, and none waits.
            if let Some(count) = counts.get(call.nr as usize) {
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            RET_ALLOW
        }),
    ];

/// A thread of no kernel, so that what it is asked costs nothing.
pub(super) struct NoKernel;

impl HelperHost for NoKernel {
    fn monotonic_ns(&self) -> u64 {
        1
    }

    fn pid(&self) -> u32 {
        1
    }

    fn tgid(&self) -> u32 {
        1
    }

    fn uid(&self) -> u32 {
        0
    }

    fn gid(&self) -> u32 {
        0
    }

    fn comm(&self) -> [u8; 16] {
        [0; 16]
    }

    fn task(&self, _: TaskScope) -> u64 {
        1
    }

    fn random(&self) -> u32 {
        4
    }

    fn copy_from_user(&self, _: u64, _: &mut [u8]) -> Result<(), UserFault> {
        Err(UserFault)
    }

    fn trace(&self, _: &str) {}
}

/// What an extension decides.
pub(super) fn decide(extension: &Extension, call: &SeccompData) -> u32 {
    extension.run(call, &NoKernel)
}

/// Every kind of work on every engine, next to a classic filter that reads an argument and to Rust.
pub(super) fn work(effort: Effort) -> anyhow::Result<Grid> {
    let counts: Vec<AtomicU64> = (0..cases::COUNTED).map(|_| AtomicU64::new(0)).collect();
    let classic = Engine { plan: false, ..Engine::PLAN }.load(classic()?)?;
    let kinds: Vec<_> =
        EngineKind::ALL.into_iter().filter(|kind| Engine::all().any(|engine| engine.kind == *kind)).collect();
    let loaded = kinds.iter().map(|kind| WORK.iter().map(|(_, insns, _)| load(insns(), *kind)).collect());
    let loaded: Vec<Vec<Extension>> = loaded.collect::<anyhow::Result<_>>()?;

    let mut rows = vec!["in Rust".to_owned(), "classic filter".to_owned()];
    rows.extend(kinds.iter().map(|kind| format!("eBPF on {}", kind.name())));
    let rust = WORK.map(|(_, _, rust)| (rust, counts.as_slice()));
    Ok(Grid::measure(
        "eBPF filters, by what they do".into(),
        rows,
        WORK.map(|(name, ..)| name.into()).to_vec(),
        2,
        |row, column| match row {
            0 => Probe::new(&rust[column], |(rust, counts), call| rust(counts, call), &[&ARGUMENT; 100]),
            1 => Probe::new(&classic, Loaded::run, &[&ARGUMENT; 100]),
            row => Probe::new(&loaded[row - 2][column], decide, &[&ARGUMENT; 100]),
        },
        effort,
    ))
}

fn classic() -> anyhow::Result<Checked> {
    let insn = |code, jt, k| SockFilter::new(code, jt, 0, k);
    Ok(check(vec![
        insn(0x20, 0, 16),
        insn(0x15, 1, u32::MAX - 1),
        insn(0x06, 0, RET_ALLOW),
        insn(0x06, 0, RET_KILL_THREAD),
    ])?)
}

fn load(insns: Vec<Insn>, engine: EngineKind) -> anyhow::Result<Extension> {
    let verified = verify(Program::new(insns), &environment(&[cases::COUNTS], &helpers()))?;
    let map = Arc::new(Map::new(cases::COUNTS, MapOptions::default(), &UserSpace)?);
    let loaded = Extension::load(&verified, vec![map], &HELPERS, engine, &HostExecMemory)?;
    anyhow::ensure!(loaded.fell_back().is_none(), "engine {}", engine.name());
    Ok(loaded)
}

fn helpers() -> Vec<seccomp_runtime::verifier::Helper> {
    HELPERS.iter().map(|row| row.helper).collect()
}

const fn environment<'a>(
    maps: &'a [MapDescriptor],
    helpers: &'a [seccomp_runtime::verifier::Helper],
) -> Environment<'a> {
    Environment { maps, helpers }
}

/// Verification times by length.
pub(super) struct Verification(Samples);

const LENGTHS: [usize; 3] = [100, 1_000, 10_000];

impl Verification {
    pub(super) fn measure(effort: Effort) -> anyhow::Result<Self> {
        let programs = LENGTHS.map(|len| Program::new(cases::long(len)));
        let helpers = helpers();
        let environment = environment(&[cases::TABLE], &helpers);
        for program in &programs {
            verify(program.clone(), &environment).context("a benchmark's program")?;
        }
        Ok(Self(effort.rounds(LENGTHS.len(), |index| {
            let program = programs[index].clone();
            let start = Instant::now();
            let verified = black_box(verify(program, &environment));
            let time = start.elapsed().as_secs_f64() * 1e6;
            drop(verified);
            time
        })))
    }
}

impl Measured for Verification {
    const KEY: &'static str = "verification";

    fn json(&self) -> Vec<Value> {
        let rows = LENGTHS.iter().enumerate().map(|(index, len)| {
            json!({
                "instructions": len,
                "ns": rounded(self.0.median(index) * 1e3),
                "quartiles": self.0.quartiles(index).map(|micros| rounded(micros * 1e3)),
            })
        });
        rows.collect()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verifying eBPF, by number of instructions")?;
        writeln!(f, "{:<6}{:>14}{:>22}", "", "µs", "ns an instruction")?;
        for (index, len) in LENGTHS.iter().enumerate() {
            let micros = self.0.median(index);
            writeln!(f, "{len:<6}{micros:>14.1}{:>22.0}", micros * 1e3 / *len as f64)?;
        }
        writeln!(f)
    }
}
