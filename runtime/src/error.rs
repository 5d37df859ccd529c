//! Errors of loading and of running, kept apart: the first concern the embedder, the second nobody can
//! cause.

use core::error::Error;
use core::fmt;

use cbpf_translator::OutOfMemory;

use crate::engine::exec_mem::ExecMemoryError;
use crate::engine::lower::LowerError;

/// Why an engine cannot take a program. The program is fine, and another engine runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineError {
    /// There is no memory for the engine's form of the program.
    OutOfMemory,
    /// The JIT makes code for x86_64 only.
    Architecture,
    /// The embedder's executable memory.
    ExecMemory(ExecMemoryError),
    /// rbpf refused the program. It takes everything Linux's conversion makes, so this is a defect.
    Rbpf,
    /// An eBPF program that rbpf would run wrong, and that cannot be written otherwise.
    Lower(LowerError),
    /// An eBPF program that calls more helpers than rbpf's engines are given.
    Helpers,
    /// An eBPF program that may run more instructions than its [`Budget`](crate::Budget) has: only the native engine
    /// counts them.
    Budget,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => OutOfMemory.fmt(f),
            Self::Architecture => f.write_str("the JIT makes code for x86_64 only"),
            Self::ExecMemory(error) => error.fmt(f),
            Self::Rbpf => f.write_str("rbpf refused the program"),
            Self::Lower(error) => error.fmt(f),
            Self::Helpers => f.write_str("the program calls more helpers than rbpf is given"),
            Self::Budget => f.write_str("the program may run more instructions than it may take"),
        }
    }
}

impl Error for EngineError {}

impl From<OutOfMemory> for EngineError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<LowerError> for EngineError {
    fn from(error: LowerError) -> Self {
        match error {
            LowerError::OutOfMemory => Self::OutOfMemory,
            error => Self::Lower(error),
        }
    }
}

impl From<ExecMemoryError> for EngineError {
    fn from(error: ExecMemoryError) -> Self {
        Self::ExecMemory(error)
    }
}

/// Why a verified program cannot be loaded with these maps and helpers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadError {
    /// There are this many maps, and it was verified against another number of them.
    MapCount(usize),
    /// The map of this index has another description than the one it was verified against.
    Map(usize),
    /// It calls the helper of this number, which is missing or has another prototype.
    Helper(i32),
    /// There are two helpers of this number.
    HelperTwice(i32),
    /// There is no memory for it.
    OutOfMemory,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MapCount(count) => write!(f, "{count} maps are not what the program was verified against"),
            Self::Map(index) => write!(f, "map {index} is not what the program was verified against"),
            Self::Helper(id) => {
                write!(f, "helper {id} is missing or not what the program was verified against")
            }
            Self::HelperTwice(id) => write!(f, "there are two helpers with the number {id}"),
            Self::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl Error for LoadError {}

impl From<OutOfMemory> for LoadError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Why a run of an extension has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunError {
    /// The engine failed, or a helper gave what its prototype excludes. Nothing a verified program or its input does
    /// can cause it.
    Fault,
    /// It needed more than its [`Budget`](crate::Budget).
    OverBudget,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "the engine failed",
            Self::OverBudget => "the filter took more than its budget",
        })
    }
}

impl Error for RunError {}

impl From<Fault> for RunError {
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}

/// An engine failed while running a program. Nothing a program or its input does can cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault;
