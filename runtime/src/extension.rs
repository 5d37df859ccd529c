//! An eBPF filter that is ready to run.

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use cbpf_translator::fallible::with_capacity;
use cbpf_translator::{OutOfMemory, seccomp};

use crate::budget::Budget;
use crate::data::SeccompData;
use crate::engine::EngineKind;
use crate::engine::ebpf::{Engine, Parts, Program};
use crate::engine::exec_mem::ExecMemory;
use crate::engine::lower::{LowerError, Lowered};
use crate::error::{EngineError, LoadError, RunError};
use crate::helper::{HelperHost, HelperRow};
use crate::map::Map;
use crate::plan::{ExtensionPlan, MAX_STEPS, Planned};
use crate::verifier::{Helper, MAX_VISITED, Verified};

/// An eBPF filter in an engine, with its maps and helpers. Send and Sync; many threads may run it at once.
///
/// Whatever engine it runs on, it does and answers the same.
pub struct Extension {
    parts: Parts,
    engine: Engine,
    fell_back: Option<EngineError>,
    /// The most instructions that a run comes to.
    longest: usize,
    budget: Budget,
    plans: Vec<ExtensionPlan>,
}

impl Extension {
    /// The engine to use where nothing else is asked for, on the architecture this was compiled for. rbpf's
    /// interpreter is on none of them: it reads values that CPUs share as plain memory.
    pub const DEFAULT_ENGINE: EngineKind =
        if cfg!(target_arch = "x86_64") { EngineKind::Jit } else { EngineKind::Native };

    /// Gives a program to `engine`, or to the native one, which takes every program. `maps` are those that it names,
    /// by their index; `helpers` has all that it calls. Both are what it was verified against, or of the same
    /// descriptions. Allocates, and calls `memory`; not for use under a lock.
    ///
    /// # Errors
    ///
    /// Maps or helpers are not what it was verified against, or there is no memory for it.
    pub fn load(
        verified: &Verified,
        maps: Vec<Arc<Map>>,
        helpers: &[HelperRow],
        engine: EngineKind,
        memory: &dyn ExecMemory,
    ) -> Result<Self, LoadError> {
        let program = Program::new(verified)?;
        check_maps(verified, &maps)?;
        check_helpers(&program, verified, helpers)?;
        let loaded = Self::from_parts(program, maps, helpers, engine, memory)?;
        Ok(Self { longest: verified.visited(), ..loaded })
    }

    /// As [`Extension::load`], with what is verified to go together.
    pub(crate) fn from_parts(
        program: Program,
        maps: Vec<Arc<Map>>,
        helpers: &[HelperRow],
        engine: EngineKind,
        memory: &dyn ExecMemory,
    ) -> Result<Self, OutOfMemory> {
        let helpers = called(&program, helpers)?;
        let parts = Parts { program, maps, helpers };
        let (engine, fell_back) = match Engine::load(engine, &parts, memory) {
            Ok(engine) => (engine, None),
            Err(error) => {
                log::debug!("seccomp: {error}, using the native engine");
                (Engine::Native, Some(error))
            }
        };
        let (longest, budget) = (MAX_VISITED, Budget::DEFAULT);
        Ok(Self { parts, engine, fell_back, longest, budget, plans: Vec::new() })
    }

    /// With this budget for each run, in place of [`Budget::DEFAULT`]. Where a run may come to more instructions than it
    /// has, the native engine takes the program over, for it counts them. A budget of very few takes plans back.
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        // A plan may know of what takes more than that now.
        if budget.instructions < MAX_STEPS {
            self.plans.clear();
        }
        if self.longest > budget.instructions && self.engine() != EngineKind::Native {
            self.engine = Engine::Native;
            self.fell_back = Some(EngineError::Budget);
        }
        self
    }

    /// Looks for the system call numbers of each of the entries `arches` (`AUDIT_ARCH_*` values) that the filter
    /// always answers with one value and does nothing about: no helper is asked and no map written. Such a call then
    /// costs one load. Takes at most a few milliseconds and a few KiB for each entry.
    ///
    /// Call it when the maps have their first contents: those that never change again, read-only to programs and
    /// [frozen](Map::freeze), count as known.
    ///
    /// # Errors
    ///
    /// There is no memory for a plan.
    pub fn planned(mut self, arches: impl IntoIterator<Item = u32>) -> Result<Self, OutOfMemory> {
        let steps = self.budget.instructions.min(MAX_STEPS);
        for arch in arches {
            self.plans.try_reserve_exact(1).map_err(|_| OutOfMemory)?;
            self.plans.push(ExtensionPlan::new(&self.parts.program, &self.parts.maps, arch, steps)?);
        }
        Ok(self)
    }

    /// The filter's return value for one system call, made by the thread of `host`: action in the high 16 bits,
    /// data in the low. Always answers: where [`try_run`](Self::try_run) has no value, the answer is
    /// `SECCOMP_RET_KILL_PROCESS`, and the log says why.
    ///
    /// Takes the locks of maps, each for a bounded time. Allocates nothing on jit and native; on rbpf's interpreter as
    /// [`Loaded::run`](crate::Loaded::run) does. Not for use in interrupt handlers.
    #[inline]
    pub fn run(&self, data: &SeccompData, host: &dyn HelperHost) -> u32 {
        self.try_run(data, host).unwrap_or_else(|error| {
            log::error!("seccomp: {error}, {} engine, on {data:x?}", self.engine().name());
            seccomp::RET_KILL_PROCESS
        })
    }

    /// As [`run`](Self::run), for who wants to know of failures.
    ///
    /// # Errors
    ///
    /// The filter has no value for the call: the process is to be killed.
    #[inline]
    pub fn try_run(&self, data: &SeccompData, host: &dyn HelperHost) -> Result<u32, RunError> {
        match self.plan_of(data.arch, data.nr) {
            Planned::Constant(value) => Ok(value),
            Planned::Residual | Planned::Whole => self.engine.run(&self.parts, data, host, self.budget),
        }
    }

    /// What a run may take.
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// What is known of calls of `nr` by the entry `arch`: [`Planned::Constant`], or [`Planned::Whole`].
    #[inline]
    pub fn plan_of(&self, arch: u32, nr: i32) -> Planned {
        let plan = self.plans.iter().find(|plan| plan.arch() == arch);
        plan.map_or(Planned::Whole, |plan| plan.planned(nr))
    }

    /// The entries that the filter is planned for.
    pub fn planned_arches(&self) -> impl Iterator<Item = u32> {
        self.plans.iter().map(ExtensionPlan::arch)
    }

    /// Its eBPF instructions, what counts against the path budget.
    pub const fn insns_len(&self) -> usize {
        self.parts.program.len()
    }

    /// The engine it runs on.
    pub const fn engine(&self) -> EngineKind {
        self.engine.kind()
    }

    /// Why it does not run on the engine that was asked for, if so.
    pub const fn fell_back(&self) -> Option<EngineError> {
        self.fell_back
    }

    /// The program as it is given to an engine of rbpf's, with the addresses of its maps; `None` for the native one,
    /// which runs it as it is.
    ///
    /// # Errors
    ///
    /// That engine cannot have it, or there is no memory.
    pub fn lowered(&self, engine: EngineKind) -> Result<Option<Lowered>, LowerError> {
        self.parts.lowered(engine).transpose()
    }

    /// Its maps, by their index.
    pub const fn maps(&self) -> &[Arc<Map>] {
        self.parts.maps.as_slice()
    }

    /// The helpers that it calls.
    pub const fn helpers(&self) -> &[HelperRow] {
        self.parts.helpers.as_slice()
    }
}

fn check_maps(verified: &Verified, maps: &[Arc<Map>]) -> Result<(), LoadError> {
    if maps.len() != verified.maps().len() {
        return Err(LoadError::MapCount(maps.len()));
    }
    let mut described = maps.iter().zip(verified.maps());
    match described.position(|(map, descriptor)| map.descriptor() != *descriptor) {
        Some(index) => Err(LoadError::Map(index)),
        None => Ok(()),
    }
}

fn check_helpers(program: &Program, verified: &Verified, rows: &[HelperRow]) -> Result<(), LoadError> {
    let mut rest = rows;
    while let [row, others @ ..] = rest {
        if others.iter().any(|other| other.helper.id == row.helper.id) {
            return Err(LoadError::HelperTwice(row.helper.id));
        }
        rest = others;
    }
    let mut called = verified.helpers().iter().filter(|helper| program.calls(helper.id));
    let is_given = |helper: &Helper| {
        let known = verified.helpers().iter().find(|known| known.id == helper.id);
        let row = rows.iter().find(|row| row.helper.id == helper.id);
        row.is_some_and(|row| Some(&row.helper) == known)
    };
    match called.find(|helper| !is_given(helper)) {
        Some(helper) => Err(LoadError::Helper(helper.id)),
        None => Ok(()),
    }
}

/// The helpers that a program calls, each once.
fn called(program: &Program, helpers: &[HelperRow]) -> Result<Vec<HelperRow>, OutOfMemory> {
    let mut called: Vec<HelperRow> = with_capacity(helpers.len())?;
    called.extend(helpers.iter().filter(|row| program.calls(row.helper.id)));
    Ok(called)
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extension")
            .field("engine", &self.engine())
            .field("maps", &self.maps().len())
            .field("helpers", &self.helpers().len())
            .finish()
    }
}

// Shared by threads that evaluate and dropped by whichever lets go last.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Extension>();
};
