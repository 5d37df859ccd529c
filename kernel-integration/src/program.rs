//! What a filter runs: a classic program, or an eBPF one that people wrote.

use cbpf_translator::Checked;
use cbpf_translator::seccomp::RET_KILL_PROCESS;
use seccomp_runtime::{EngineError, EngineKind, Extension, HelperHost, Loaded, Planned, SeccompData};

/// A program in an engine. What its return value means is the same for both kinds.
#[derive(Debug)]
pub enum Program {
    /// A classic program, as Linux takes.
    Classic(Loaded),
    /// A verified eBPF program, with its maps.
    Extension(Extension),
}

impl Program {
    /// The program's return value for one call, which the thread of `host` makes. Without a host an extension
    /// cannot run, and kills the process.
    #[inline]
    pub fn run(&self, data: &SeccompData, host: Option<&dyn HelperHost>) -> u32 {
        match (self, host) {
            (Self::Classic(program), _) => program.run(data),
            (Self::Extension(program), Some(host)) => program.run(data, host),
            (Self::Extension(_), None) => RET_KILL_PROCESS,
        }
    }

    /// What is known of calls of `nr` by the entry `arch`, an `AUDIT_ARCH_*` value.
    #[inline]
    pub fn plan_of(&self, arch: u32, nr: i32) -> Planned {
        match self {
            Self::Classic(program) => program.plan_of(arch, nr),
            Self::Extension(program) => program.plan_of(arch, nr),
        }
    }

    /// The engine it runs on.
    pub fn engine(&self) -> EngineKind {
        match self {
            Self::Classic(program) => program.engine(),
            Self::Extension(program) => program.engine(),
        }
    }

    /// Why it does not run on the engine that was asked for, if so.
    pub fn fell_back(&self) -> Option<EngineError> {
        match self {
            Self::Classic(program) => program.fell_back(),
            Self::Extension(program) => program.fell_back(),
        }
    }

    /// The classic program, as it was given; `None` of an extension.
    pub fn classic(&self) -> Option<&Checked> {
        match self {
            Self::Classic(program) => Some(program.program()),
            Self::Extension(_) => None,
        }
    }

    /// The extension; `None` of a classic program.
    pub fn extension(&self) -> Option<&Extension> {
        match self {
            Self::Classic(_) => None,
            Self::Extension(program) => Some(program),
        }
    }

    /// Its eBPF instructions, what counts against [`MAX_INSNS_PER_PATH`](crate::uapi::MAX_INSNS_PER_PATH): of a
    /// classic program those of Linux's translation.
    pub fn insns_len(&self) -> usize {
        match self {
            Self::Classic(program) => program.translated_len(),
            Self::Extension(program) => program.insns_len(),
        }
    }

    /// The entries that it is planned for.
    pub(crate) fn planned_arches(&self) -> impl Iterator<Item = u32> {
        let (classic, extension) = match self {
            Self::Classic(program) => (Some(program.planned_arches()), None),
            Self::Extension(program) => (None, Some(program.planned_arches())),
        };
        classic.into_iter().flatten().chain(extension.into_iter().flatten())
    }
}
