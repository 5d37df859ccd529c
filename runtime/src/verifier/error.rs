//! Why a program is refused.

use core::error::Error;
use core::fmt;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{DecodeError, Reg};

use super::value::{Pointer, Region, Value};
use super::{MAX_CALL_DEPTH, MAX_INSNS, MAX_MEMORY, MAX_STACK, MAX_VISITED, MAX_WORK};

/// Why [`verify`](super::verify) refuses a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// The program has this many instructions, which is none or more than [`MAX_INSNS`].
    Length(usize),
    /// The instruction at index `pc` is refused.
    Insn {
        /// Index of the instruction.
        pc: usize,
        /// What is wrong with it.
        why: Violation,
    },
    /// Two helpers have this number.
    HelperTwice(i32),
    /// The functions that call one another need this many bytes of stack, more than [`MAX_STACK`].
    CombinedStack(u32),
    /// The paths through the program are more than [`MAX_VISITED`] instructions, or their states more than
    /// [`MAX_WORK`] values.
    TooComplex,
    /// The states of the paths take more than [`MAX_MEMORY`] bytes.
    TooManyStates,
    /// No memory for the verification. The program itself may be fine.
    OutOfMemory,
}

/// What kind of value was found where another was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Number,
    Map,
    Context,
    Stack,
    MapValue,
    Memory,
}

impl Kind {
    pub(super) const fn of_region(region: Region) -> Self {
        match region {
            Region::Context => Self::Context,
            Region::Stack(_) => Self::Stack,
            Region::MapValue(_) => Self::MapValue,
            Region::Memory(_) => Self::Memory,
        }
    }

    /// The kind of what is set.
    pub(super) const fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Uninit => return None,
            Value::Scalar(..) => Self::Number,
            Value::Map(_) => Self::Map,
            Value::Pointer(Pointer { region, .. }) => Self::of_region(*region),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Map => "map",
            Self::Context => "context",
            Self::Stack => "stack",
            Self::MapValue => "map value",
            Self::Memory => "memory",
        })
    }
}

/// What a register is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Use {
    Load,
    Store,
    Arithmetic,
    Comparison,
    Call,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Arithmetic => "arithmetic",
            Self::Comparison => "comparison",
            Self::Call => "call",
        })
    }
}

/// What is wrong with one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The bytes are no instruction.
    Decode(DecodeError),
    /// A jump or a call to this index, where no instruction begins or another function's does.
    Target(i64),
    /// The instruction is not an exit or a jump and is the last of its function.
    RunsOff,
    /// A loop comes back here with nothing changed.
    Endless,
    /// The register is written, and is r10.
    FrameWritten,
    /// The register is read before anything is put into it.
    Unset(Reg),
    /// The register holds this, and a number is needed.
    NotNumber(Reg, Kind),
    /// The register holds this, and an address is needed.
    NotAddress(Reg, Kind),
    /// The register may hold null.
    MayBeNull(Reg, Kind, Use),
    /// An operation that would show an address, or make one out of a number.
    PointerArithmetic(Reg, Kind),
    /// A comparison that would show an address.
    PointerComparison(Reg, Kind),
    /// The number added to a pointer may be this, 2^29 or more away from 0.
    PointerOffset(Reg, i64),
    /// The access may reach from byte `first` to byte `last` of a region that begins at byte `begin` and has
    /// its last byte before `end`.
    OutOfBounds {
        /// The register with the address.
        reg: Reg,
        /// Where it points.
        kind: Kind,
        /// The lowest byte that may be reached.
        first: i64,
        /// The highest byte that may be reached.
        last: i64,
        /// The region's first byte.
        begin: i64,
        /// The byte after the region's last.
        end: i64,
    },
    /// The address may not be a multiple of the access's size.
    Misaligned(Reg, u8),
    /// No field of the context has these bytes.
    ContextField {
        /// The first byte.
        offset: i64,
        /// How many.
        size: u8,
    },
    /// The distance into the context is not a constant.
    ContextOffset(Reg),
    /// A store into the context or into a map that is read-only.
    ReadOnly(Reg, Kind),
    /// This byte of the stack is read before anything is put there.
    StackUnset(i64),
    /// This byte of the stack belongs to a pointer that is not read whole.
    StackPointer(i64),
    /// A pointer would be stored where others can read it, or not whole.
    PointerLeak(Reg, Kind),
    /// A pointer to a function's stack would stay when the function has returned.
    DanglingStack(Reg),
    /// There is no helper of this number.
    UnknownHelper(i32),
    /// The program has no map of this index.
    UnknownMap(u32),
    /// The map has no one value whose byte could be taken, or not that byte.
    MapValueAddress(u32),
    /// The helper does not take this kind of map, or changes it where it is read-only.
    MapNotTaken(Reg, u32),
    /// The argument is to be this, and is not.
    Argument(Reg, Kind),
    /// The size may be up to this, which no memory has.
    SizeUnbounded(Reg, u64),
    /// The size may be 0.
    SizeZero(Reg),
    /// The size is not a constant.
    SizeUnknown(Reg),
    /// More functions are in one another than [`MAX_CALL_DEPTH`].
    CallDepth,
    /// The function is one of those that are being called.
    Recursion,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => {
                write!(f, "program has {len} instructions, 1 to {MAX_INSNS} are allowed")
            }
            Self::Insn { pc, why } => write!(f, "instruction {pc}: {why}"),
            Self::HelperTwice(id) => write!(f, "two helpers have the number {id}"),
            Self::CombinedStack(bytes) => {
                write!(f, "functions in one another use {bytes} bytes of stack, {MAX_STACK} are there")
            }
            Self::TooComplex => {
                write!(f, "paths have more than {MAX_VISITED} instructions, or states with {MAX_WORK} values")
            }
            Self::TooManyStates => write!(f, "states of the paths take more than {MAX_MEMORY} bytes"),
            Self::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::Target(target) => write!(f, "target {target} is no instruction of this function"),
            Self::RunsOff => f.write_str("the function ends without an exit"),
            Self::Endless => f.write_str("a loop comes back here with nothing changed, and never ends"),
            Self::FrameWritten => f.write_str("r10 is the end of the stack and cannot be written"),
            Self::Unset(reg) => write!(f, "{reg} is read before it is set"),
            Self::NotNumber(reg, kind) => write!(f, "{reg} is a pointer ({kind}), a number is needed"),
            Self::NotAddress(reg, kind) => write!(f, "{reg} is a {kind}, an address is needed"),
            Self::MayBeNull(reg, kind, what) => {
                write!(f, "{reg} may be null ({kind}), check it before the {what}")
            }
            Self::PointerArithmetic(reg, kind) => {
                write!(f, "{reg} is a pointer ({kind}), numbers can be added to it and subtracted, no more")
            }
            Self::PointerComparison(reg, kind) => {
                write!(f, "{reg} is a pointer ({kind}), it can be compared within its memory and with 0")
            }
            Self::PointerOffset(reg, offset) => {
                write!(f, "{reg} may move the pointer by {offset}, check it before the arithmetic")
            }
            Self::OutOfBounds { reg, kind, first, last, begin, end } => {
                let last_there = end.saturating_sub(1);
                write!(
                    f,
                    "{reg} ({kind}) may reach bytes {first} to {last}, {begin} to {last_there} are there"
                )
            }
            Self::Misaligned(reg, size) => write!(f, "{reg} may be no multiple of {size}"),
            Self::ContextField { offset, size } => {
                write!(f, "{size} bytes at {offset} are no field of the context")
            }
            Self::ContextOffset(reg) => write!(f, "{reg} (context) has no constant offset"),
            Self::ReadOnly(reg, kind) => write!(f, "{reg} ({kind}) is read-only"),
            Self::StackUnset(offset) => write!(f, "stack byte {offset} is read before it is set"),
            Self::StackPointer(offset) => write!(f, "stack byte {offset} is part of a pointer"),
            Self::PointerLeak(reg, kind) => write!(f, "{reg} is a pointer ({kind}) and would be shown"),
            Self::DanglingStack(reg) => {
                write!(f, "{reg} is a pointer to a stack that ends with the function, it cannot leave it")
            }
            Self::UnknownHelper(id) => write!(f, "there is no helper {id}"),
            Self::UnknownMap(map) => write!(f, "there is no map {map}"),
            Self::MapValueAddress(map) => write!(f, "map {map} has no such byte of an only value"),
            Self::MapNotTaken(reg, map) => write!(f, "{reg} is map {map}, which the helper does not take"),
            Self::Argument(reg, kind) => write!(f, "{reg} is not a {kind}, which the helper takes"),
            Self::SizeUnbounded(reg, max) => {
                write!(f, "{reg} is a size and may be {max}, check it before the call")
            }
            Self::SizeZero(reg) => write!(f, "{reg} is a size and may be 0, check it before the call"),
            Self::SizeUnknown(reg) => write!(f, "{reg} is a size and is not a constant"),
            Self::CallDepth => write!(f, "more than {MAX_CALL_DEPTH} functions in one another"),
            Self::Recursion => f.write_str("the function calls itself"),
        }
    }
}

impl Error for VerifyError {}

impl From<OutOfMemory> for VerifyError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What ends a walk through a program early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Refused(Violation),
    OutOfMemory,
}

impl Stop {
    pub(super) const fn at(self, pc: usize) -> VerifyError {
        match self {
            Self::Refused(why) => VerifyError::Insn { pc, why },
            Self::OutOfMemory => VerifyError::OutOfMemory,
        }
    }
}

impl From<Violation> for Stop {
    fn from(why: Violation) -> Self {
        Self::Refused(why)
    }
}

impl From<OutOfMemory> for Stop {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}
