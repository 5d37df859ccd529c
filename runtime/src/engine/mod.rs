//! The engines as one value. rbpf appears in this folder only, and so does `unsafe`.

#![allow(unsafe_code, reason = "the one place for it; each block has its proof")]

pub(crate) mod ebpf;
pub(crate) mod exec_mem;
mod interpreter;
#[cfg(target_arch = "x86_64")]
mod jit;
pub(crate) mod lower;
pub(crate) mod native;
#[cfg(all(feature = "rbpf-vm", target_arch = "x86_64"))]
pub(crate) mod rbpf_vm;
mod room;

use cbpf_translator::{Checked, Translated, seccomp};

use crate::data::SeccompData;
use crate::error::{EngineError, Fault};
use exec_mem::ExecMemory;
use interpreter::Interpreter;
#[cfg(target_arch = "x86_64")]
use jit::Jit;

/// Which engine runs a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// rbpf's JIT; x86_64 only.
    Jit,
    /// rbpf's interpreter.
    Interpreter,
    /// This crate's classic interpreter.
    Native,
}

impl EngineKind {
    /// Every engine. One that cannot be had gives way to the last.
    pub const ALL: [Self; 3] = [Self::Jit, Self::Interpreter, Self::Native];

    /// The one to use where nothing else is asked for on the architecture this was compiled for.
    pub const DEFAULT: Self = if cfg!(target_arch = "x86_64") { Self::Jit } else { Self::Interpreter };

    /// Its name: `jit`, `interpreter`, `native`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jit => "jit",
            Self::Interpreter => "interpreter",
            Self::Native => "native",
        }
    }
}

impl Default for EngineKind {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A program in the form one engine runs.
#[expect(clippy::large_enum_variant, reason = "rbpf's VM; in a box, it would be allocated infallibly")]
pub(crate) enum Engine {
    #[cfg(target_arch = "x86_64")]
    Jit(Jit),
    Interpreter(Interpreter),
    Native,
}

impl Engine {
    pub(crate) fn load(
        kind: EngineKind,
        program: &Translated,
        memory: &dyn ExecMemory,
    ) -> Result<Self, EngineError> {
        match kind {
            #[cfg(target_arch = "x86_64")]
            EngineKind::Jit => Jit::load(program, memory).map(Self::Jit),
            #[cfg(not(target_arch = "x86_64"))]
            EngineKind::Jit => {
                let _ = memory;
                Err(EngineError::Architecture)
            }
            EngineKind::Interpreter => Interpreter::load(program).map(Self::Interpreter),
            EngineKind::Native => Ok(Self::Native),
        }
    }

    pub(crate) fn kind(&self) -> EngineKind {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Jit(_) => EngineKind::Jit,
            Self::Interpreter(_) => EngineKind::Interpreter,
            Self::Native => EngineKind::Native,
        }
    }

    /// The program's return value; a fault is KILL_PROCESS. `program` is what this engine was loaded from.
    #[inline]
    pub(crate) fn run(&self, program: &Checked, data: &SeccompData) -> u32 {
        let result = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Jit(jit) => Ok(jit.run(data)),
            Self::Interpreter(interpreter) if room::for_run().is_ok() => interpreter.run(data),
            Self::Interpreter(_) | Self::Native => native::run(program, data),
        };
        result.unwrap_or_else(|Fault| {
            log::error!("seccomp: the {} engine failed on {data:x?}", self.kind().name());
            seccomp::RET_KILL_PROCESS
        })
    }
}
