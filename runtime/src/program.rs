//! A filter that is ready to run.

use core::fmt;

use cbpf_translator::{Checked, OutOfMemory, translate};

use crate::data::SeccompData;
use crate::engine::exec_mem::ExecMemory;
use crate::engine::{Engine, EngineKind};
use crate::error::EngineError;

/// A checked program in an engine. Send and Sync; running it takes no lock.
pub struct Loaded {
    program: Checked,
    translated_len: usize,
    engine: Engine,
    fell_back: Option<EngineError>,
}

impl Loaded {
    /// Translates `program` and gives it to `engine`, or to the next engine that takes it: jit, interpreter,
    /// native. It never goes without one. Allocates, and calls `memory`; not for use under a lock.
    ///
    /// # Errors
    ///
    /// There is no memory for the translation.
    pub fn load(program: Checked, engine: EngineKind, memory: &dyn ExecMemory) -> Result<Self, OutOfMemory> {
        let translated = translate(&program)?;
        let mut fell_back = None;
        let mut candidates = EngineKind::ALL.into_iter().skip_while(|kind| *kind != engine);
        let engine = loop {
            match candidates.next().map(|kind| Engine::load(kind, &translated, memory)) {
                Some(Ok(engine)) => break engine,
                Some(Err(error)) => {
                    log::debug!("seccomp: {error}, using the next engine");
                    fell_back = fell_back.or(Some(error));
                }
                None => break Engine::Native,
            }
        };
        Ok(Self { program, translated_len: translated.insns().len(), engine, fell_back })
    }

    /// The filter's return value for one system call: action in the high 16 bits, data in the low. Always
    /// answers; should an engine fail, the answer is `SECCOMP_RET_KILL_PROCESS`.
    ///
    /// Takes no lock. Allocates nothing on jit and native; rbpf's interpreter allocates its 512-byte stack.
    #[inline]
    pub fn run(&self, data: &SeccompData) -> u32 {
        self.engine.run(&self.program, data)
    }

    /// The engine it runs on.
    pub fn engine(&self) -> EngineKind {
        self.engine.kind()
    }

    /// Why it does not run on the engine that was asked for, if so.
    pub fn fell_back(&self) -> Option<EngineError> {
        self.fell_back
    }

    /// The classic program, as it was given.
    pub fn program(&self) -> &Checked {
        &self.program
    }

    /// eBPF instructions in Linux's translation, what counts against the path budget.
    pub fn translated_len(&self) -> usize {
        self.translated_len
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("engine", &self.engine())
            .field("classic", &self.program.insns().len())
            .field("translated", &self.translated_len)
            .finish()
    }
}

// Shared by threads that evaluate and dropped by whichever lets go last.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Loaded>();
};
