//! The engines for eBPF programs: rbpf's two on the lowered program, and our own on the program as it is.

mod interpreter;
#[cfg(target_arch = "x86_64")]
mod jit;
pub(crate) mod machine;
pub(crate) mod native;
pub(crate) mod program;
mod run;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub(crate) use program::Program;
pub(super) use program::target;
pub(super) use run::map_handle;
pub use run::{Call, CallError};
use run::{Run, Stack};
pub(crate) use run::{bytes_of, number_of};

use super::EngineKind;
use super::exec_mem::ExecMemory;
use super::lower::{LowerError, Lowered, Target, lower};
use super::room;
use crate::budget::Budget;
use crate::data::SeccompData;
use crate::error::{EngineError, RunError};
use crate::helper::{HelperHost, HelperRow};
use crate::map::Map;
use interpreter::Interpreter;
#[cfg(target_arch = "x86_64")]
use jit::Jit;

/// The most helpers that one program may call and rbpf's engines run: each has a function of its own there.
pub(crate) const MAX_HELPERS: usize = 32;

/// What a program is made of, whichever engine runs it.
pub(crate) struct Parts {
    pub(crate) program: Program,
    /// By the index that its 64-bit loads name.
    pub(crate) maps: Vec<Arc<Map>>,
    /// Those that it calls, each once.
    pub(crate) helpers: Vec<HelperRow>,
}

impl Parts {
    /// The program as rbpf's engine is given it; `None` for ours.
    pub(crate) fn lowered(&self, kind: EngineKind) -> Option<Result<Lowered, LowerError>> {
        match kind {
            EngineKind::Jit => Some(self.lower(Target::Jit)),
            EngineKind::Interpreter => Some(self.lower(Target::Interpreter)),
            EngineKind::Native => None,
        }
    }

    fn lower(&self, target: Target) -> Result<Lowered, LowerError> {
        let lookup = self.helpers.iter().find(|row| row.is_map_lookup());
        lower(&self.program, &self.maps, target, lookup.map(|row| row.helper.id))
    }
}

/// What rbpf's engines hand to helpers, by its address. They put the end of the stack there, and the interpreter
/// the first argument.
#[repr(C)]
pub(super) struct Frame<'r, 'a> {
    /// An address: programs store numbers.
    stack_end: usize,
    argument: u64,
    run: &'r mut Run<'a>,
}

const _: () = {
    assert!(core::mem::offset_of!(Frame<'_, '_>, stack_end) == super::lower::FRAME_STACK as usize);
    assert!(core::mem::offset_of!(Frame<'_, '_>, argument) == super::lower::FRAME_ARGUMENT as usize);
};

impl<'r, 'a> Frame<'r, 'a> {
    const fn new(run: &'r mut Run<'a>) -> Self {
        Self { stack_end: 0, argument: 0, run }
    }

    /// Calls the helper at an index among the program's.
    ///
    /// # Safety
    ///
    /// `stack_end` is the end of the program's stack, and nothing else uses that until this returns.
    unsafe fn call(&mut self, helper: usize, args: [u64; 5]) -> u64 {
        let stack = self.stack_end.wrapping_sub(size_of::<Stack>());
        let stack = core::ptr::with_exposed_provenance_mut::<Stack>(stack);
        // SAFETY: the stack is as large as `Stack` and ends there, says the caller. Its memory is exposed: the
        // interpreter takes its address as a number, and what machine code made is none of Rust's. It is bytes, so
        // aligned, and whatever they are they are a `Stack`; what the program has not written is not looked at,
        // because the verifier lets no helper be given it to read.
        let stack = unsafe { &mut *stack };
        self.run.call(helper, args, stack)
    }
}

/// An array of `$function::<0>` to `$function::<31>`, one for each helper that a program may call.
macro_rules! for_each_helper {
    ($function:ident as $type:ty) => {
        for_each_helper!($function as $type:
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
    };
    ($function:ident as $type:ty: $($index:literal)*) => {
        [$($function::<$index> as $type),*]
    };
}
use for_each_helper;

/// A program in the form that one engine runs.
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
        parts: &Parts,
        memory: &dyn ExecMemory,
    ) -> Result<Self, EngineError> {
        if kind != EngineKind::Native && parts.helpers.len() > MAX_HELPERS {
            return Err(EngineError::Helpers);
        }
        match kind {
            #[cfg(target_arch = "x86_64")]
            EngineKind::Jit => Jit::load(&parts.lower(Target::Jit)?, &parts.helpers, memory).map(Self::Jit),
            #[cfg(not(target_arch = "x86_64"))]
            EngineKind::Jit => {
                let _ = memory;
                Err(EngineError::Architecture)
            }
            EngineKind::Interpreter => {
                let program = parts.lower(Target::Interpreter)?;
                Interpreter::load(&program, &parts.helpers).map(Self::Interpreter)
            }
            EngineKind::Native => Ok(Self::Native),
        }
    }

    pub(crate) const fn kind(&self) -> EngineKind {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Jit(_) => EngineKind::Jit,
            Self::Interpreter(_) => EngineKind::Interpreter,
            Self::Native => EngineKind::Native,
        }
    }

    /// The program's return value, or why it has none. `parts` is what this engine was loaded from.
    #[inline]
    pub(crate) fn run(
        &self,
        parts: &Parts,
        data: &SeccompData,
        host: &dyn HelperHost,
        budget: Budget,
    ) -> Result<u32, RunError> {
        let mut run = Run::new(data, &parts.maps, &parts.helpers, host, budget.bytes);
        let result = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Jit(jit) => Ok(jit.run(&mut run)),
            // Decided before the program runs: what its helpers do is done once.
            Self::Interpreter(interpreter) if room::for_run().is_ok() => {
                interpreter.run(&mut run).map_err(RunError::from)
            }
            Self::Interpreter(_) | Self::Native => native::run(&parts.program, &mut run, budget.instructions),
        };
        run.error().map_or(result, Err).map(|value| value as u32)
    }
}
