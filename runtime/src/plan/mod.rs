//! Filters specialised by system call number when they are loaded.
//!
//! For each number of a known entry a filter either always has one value, whatever the other input is, or
//! depends on the arguments or the instruction pointer. Which one, [`analyse`] finds out by abstract
//! interpretation for all numbers at once. The values go to a table. Of the others, [`specialise`] computes
//! what is left when number and architecture are known; equal parts of that are kept once ([`nodes`]), and
//! behind a balanced search on the number all of it becomes one classic program, the *residual*. That is
//! checked, translated and run like every other; it has no shorter way to be trusted.
//!
//! Calls that a plan does not know (other entries, numbers from [`NUMBERS`](crate::NUMBERS) on or below 0, and everything that
//! was too much to plan) run the whole program.

mod analyse;
mod extension;
mod liveness;
mod nodes;
mod numbers;
mod specialise;

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use cbpf_translator::cbpf::{Cond, Opcode, Source, Width};
use cbpf_translator::fallible::filled;
use cbpf_translator::{Checked, OutOfMemory, check};

use crate::by_number::ByNumber;
use crate::data::SeccompData;
use crate::engine::EngineKind;
use crate::engine::exec_mem::ExecMemory;
use crate::program::Code;
pub(crate) use extension::{ExtensionPlan, MAX_STEPS};
use liveness::Liveness;
use nodes::{Id, Node, Nodes};
use numbers::Numbers;
use specialise::Specialiser;

/// The offset of the system call number in `seccomp_data`.
const NR_OFFSET: u32 = core::mem::offset_of!(SeccompData, nr) as u32;
/// The offset of the architecture.
const ARCH_OFFSET: u32 = core::mem::offset_of!(SeccompData, arch) as u32;

/// What a plan knows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// The filter's value is always this.
    Constant(u32),
    /// It depends on more than the number, and the residual program answers.
    Residual,
    /// The whole program answers.
    Whole,
}

/// A filter's plan for the calls of one entry.
pub(crate) struct Plan {
    arch: u32,
    /// What is known of each number below [`NUMBERS`].
    table: ByNumber<Planned>,
    residual: Option<Code>,
}

impl Plan {
    /// Plans `program` for calls with the `AUDIT_ARCH_*` value `arch`; `None` for one that is too much.
    pub(crate) fn new(
        program: &Checked,
        arch: u32,
        engine: EngineKind,
        memory: &dyn ExecMemory,
    ) -> Result<Option<Self>, OutOfMemory> {
        let live = Liveness::of(program)?;
        let Some(outcomes) = analyse::analyse(program, &live, arch)? else { return Ok(None) };
        let mut plan = Self { arch, table: ByNumber::new(|| Planned::Whole)?, residual: None };
        for ((nr, row), value) in plan.table.iter_mut().zip(outcomes.values) {
            if outcomes.constant.contains(nr.cast_unsigned()) {
                *row = Planned::Constant(value);
            }
        }
        // Without a residual, what it would have answered is left to the whole program.
        if let Ok((residual, numbers)) = residual(program, &live, arch, Numbers::ALL.minus(outcomes.constant))
        {
            plan.residual = Some(Code::load(residual, engine, memory)?);
            for (nr, row) in plan.table.iter_mut() {
                if numbers.contains(nr.cast_unsigned()) {
                    *row = Planned::Residual;
                }
            }
        }
        Ok(Some(plan))
    }

    pub(crate) fn arch(&self) -> u32 {
        self.arch
    }

    /// What is known of calls of `nr`.
    #[inline]
    pub(crate) fn planned(&self, nr: i32) -> Planned {
        self.table.get(nr).copied().unwrap_or(Planned::Whole)
    }

    /// The value for a call by this plan's entry, if the plan has it.
    #[inline]
    pub(crate) fn run(&self, data: &SeccompData) -> Option<u32> {
        match self.planned(data.nr) {
            Planned::Constant(value) => Some(value),
            Planned::Residual => self.residual.as_ref().map(|residual| residual.run(data)),
            Planned::Whole => None,
        }
    }

    /// The residual program.
    pub(crate) fn residual(&self) -> Option<&Code> {
        self.residual.as_ref()
    }
}

/// Why no residual program is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    TooLarge,
    OutOfMemory,
}

impl From<TryReserveError> for Stop {
    fn from(_: TryReserveError) -> Self {
        Self::OutOfMemory
    }
}

impl From<OutOfMemory> for Stop {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The residual program of as many of `numbers` as it has room for, from the lowest, and which those are.
fn residual(
    program: &Checked,
    live: &Liveness,
    arch: u32,
    numbers: Numbers,
) -> Result<(Checked, Numbers), Stop> {
    let mut specialiser = Specialiser::new(program, live, arch);
    let mut nodes = Nodes::default();
    let mut planned = Numbers::NONE;
    // Where each node begins to answer. Numbers between two that are planned are not asked for, so a node
    // answers until the next one begins.
    let mut starts: Vec<(u32, Id)> = Vec::new();
    for nr in numbers.iter() {
        let Ok(root) = specialiser.root(&mut nodes, nr) else { break };
        if starts.last().is_none_or(|(_, last)| *last != root) {
            starts.try_reserve(1)?;
            starts.push((nr, root));
        }
        planned.insert(nr);
    }
    if starts.is_empty() {
        return Err(Stop::TooLarge);
    }
    let search = search(&mut nodes, &starts)?;
    let root = nodes.op(Opcode::LdAbs(Width::Word), NR_OFFSET, search)?;
    let residual = check(nodes.write(root)?).map_err(|_| Stop::TooLarge)?;
    Ok((residual, planned))
}

/// A balanced search for the last of `starts` that is not above A. Its depth is the logarithm of their number.
fn search(nodes: &mut Nodes, starts: &[(u32, Id)]) -> Result<Id, Stop> {
    let (below, above) = starts.split_at(starts.len().div_euclid(2));
    match (below, above) {
        ([], [(_, only)]) => Ok(*only),
        (_, [(start, _), ..]) => {
            let (below, above) = (search(nodes, below)?, search(nodes, above)?);
            nodes.add(Node::Branch(Cond::Ge, Source::K, *start, above, below))
        }
        (_, []) => Err(Stop::TooLarge),
    }
}
