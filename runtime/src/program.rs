//! A filter that is ready to run.

use alloc::vec::Vec;
use core::fmt;

use cbpf_translator::{Checked, OutOfMemory, translate};

use crate::data::SeccompData;
use crate::engine::exec_mem::ExecMemory;
use crate::engine::{Engine, EngineKind};
use crate::error::EngineError;
use crate::plan::{Plan, Planned};

/// A filter in an engine. Send and Sync; running it takes no lock.
///
/// Whatever engine it runs on and whether it is planned or not, it gives the same answer to every call.
pub struct Loaded {
    whole: Code,
    plans: Vec<Plan>,
}

impl Loaded {
    /// Translates `program` and gives it to `engine`, or to the native one, which takes every program. Allocates, and
    /// calls `memory`; not for use under a lock.
    ///
    /// # Errors
    ///
    /// There is no memory for the translation.
    pub fn load(program: Checked, engine: EngineKind, memory: &dyn ExecMemory) -> Result<Self, OutOfMemory> {
        Ok(Self { whole: Code::load(program, engine, memory)?, plans: Vec::new() })
    }

    /// Specialises the filter by system call number for each of the entries `arches` (`AUDIT_ARCH_*` values):
    /// a call whose value depends on nothing else then costs one load, however long the filter is, and the
    /// others run only what is left for their number. A filter that is too much to plan stays as it is.
    ///
    /// Costs time and memory in proportion to the program's length: at most milliseconds and a few KiB beyond
    /// the code, for each entry.
    ///
    /// # Errors
    ///
    /// There is no memory for a plan.
    pub fn planned(
        mut self,
        arches: impl IntoIterator<Item = u32>,
        memory: &dyn ExecMemory,
    ) -> Result<Self, OutOfMemory> {
        for arch in arches {
            self.plans.try_reserve_exact(1).map_err(|_| OutOfMemory)?;
            self.plans.extend(Plan::new(&self.whole.program, arch, self.whole.engine.kind(), memory)?);
        }
        Ok(self)
    }

    /// The filter's return value for one system call: action in the high 16 bits, data in the low. Always
    /// answers; should an engine fail, the answer is `SECCOMP_RET_KILL_PROCESS`.
    ///
    /// Takes no lock. Allocates nothing on jit and native. rbpf's interpreter allocates its stack of 512 bytes, and
    /// cannot be told that there is none: so they are asked for and given back before it begins, and without them the
    /// native engine answers. If another CPU takes those very bytes in between, Rust's allocation error handler runs.
    #[inline]
    pub fn run(&self, data: &SeccompData) -> u32 {
        let planned = self.plan(data.arch).and_then(|plan| plan.run(data));
        planned.unwrap_or_else(|| self.whole.run(data))
    }

    /// What is known of calls of `nr` by the entry `arch`.
    #[inline]
    pub fn plan_of(&self, arch: u32, nr: i32) -> Planned {
        self.plan(arch).map_or(Planned::Whole, |plan| plan.planned(nr))
    }

    /// The program that answers [`Planned::Residual`] calls by the entry `arch`.
    pub fn residual(&self, arch: u32) -> Option<&Checked> {
        Some(&self.plan(arch)?.residual()?.program)
    }

    /// The entries that the filter is planned for.
    pub fn planned_arches(&self) -> impl Iterator<Item = u32> {
        self.plans.iter().map(Plan::arch)
    }

    /// The engine it runs on.
    pub fn engine(&self) -> EngineKind {
        self.whole.engine.kind()
    }

    /// Why it does not run on the engine that was asked for, if so.
    pub fn fell_back(&self) -> Option<EngineError> {
        self.whole.fell_back
    }

    /// The classic program, as it was given.
    pub fn program(&self) -> &Checked {
        &self.whole.program
    }

    /// eBPF instructions in Linux's translation, what counts against the path budget.
    pub fn translated_len(&self) -> usize {
        self.whole.translated_len
    }

    #[inline]
    fn plan(&self, arch: u32) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.arch() == arch)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("engine", &self.engine())
            .field("classic", &self.program().insns().len())
            .field("translated", &self.translated_len())
            .field("plans", &self.plans.len())
            .finish()
    }
}

/// A checked program in an engine.
pub(crate) struct Code {
    program: Checked,
    translated_len: usize,
    engine: Engine,
    fell_back: Option<EngineError>,
}

impl Code {
    /// As [`Loaded::load`].
    pub(crate) fn load(
        program: Checked,
        engine: EngineKind,
        memory: &dyn ExecMemory,
    ) -> Result<Self, OutOfMemory> {
        let translated = translate(&program)?;
        let (engine, fell_back) = match Engine::load(engine, &translated, memory) {
            Ok(engine) => (engine, None),
            Err(error) => {
                log::debug!("seccomp: {error}, using the native engine");
                (Engine::Native, Some(error))
            }
        };
        Ok(Self { program, translated_len: translated.insns().len(), engine, fell_back })
    }

    /// The program's return value.
    #[inline]
    pub(crate) fn run(&self, data: &SeccompData) -> u32 {
        self.engine.run(&self.program, data)
    }
}

// Shared by threads that evaluate and dropped by whichever lets go last.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Loaded>();
};
