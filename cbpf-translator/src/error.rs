//! Why a program is refused. Each is one lower-case clause that names the instruction.

use core::error::Error;
use core::fmt;

use crate::cbpf::{MAX_INSNS, SCRATCH_SLOTS};
use crate::seccomp;

/// Memory for the result could not be had. The program itself may be fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl Error for OutOfMemory {}

/// Why [`check`](crate::check) refuses a classic program. Linux says EINVAL for all of them but
/// `OutOfMemory`, which is ENOMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckError {
    /// The program has this many instructions, which is none or more than [`MAX_INSNS`].
    Length(usize),
    /// The instruction at index `pc` is refused.
    Insn {
        /// Index of the instruction.
        pc: usize,
        /// What is wrong with it.
        why: Refusal,
    },
    /// No memory for the check.
    OutOfMemory,
}

/// What is wrong with one classic instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No classic BPF instruction has this opcode.
    UnknownOpcode(u16),
    /// Classic BPF, but not allowed in a seccomp filter.
    NotForSeccomp(u16),
    /// A load from outside of `seccomp_data`, or not from a multiple of 4.
    LoadOffset(u32),
    /// A division by the constant 0.
    DivisionByZero,
    /// A shift by this constant, which is 32 or more.
    Shift(u32),
    /// This scratch slot does not exist.
    ScratchSlot(u32),
    /// This scratch slot is read, and some path here has not written it.
    ScratchUnset(u32),
    /// A jump to this index of a program with `len` instructions.
    JumpPastEnd {
        /// Index of the instruction jumped to.
        target: u64,
        /// Instructions in the program.
        len: usize,
    },
    /// The last instruction is not a return.
    LastNotReturn,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => {
                write!(f, "program has {len} instructions, 1 to {MAX_INSNS} are allowed")
            }
            Self::Insn { pc, why } => write!(f, "instruction {pc}: {why}"),
            Self::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOpcode(code) => write!(f, "unknown opcode {code:#06x}"),
            Self::NotForSeccomp(code) => {
                write!(f, "opcode {code:#06x} is not allowed in a seccomp filter")
            }
            Self::LoadOffset(k) if !k.is_multiple_of(4) => {
                write!(f, "load from offset {k}, which is not a multiple of 4")
            }
            Self::LoadOffset(k) => {
                write!(f, "load from offset {k}, past the {} bytes of seccomp_data", seccomp::DATA_SIZE)
            }
            Self::DivisionByZero => f.write_str("division by the constant 0"),
            Self::Shift(k) => write!(f, "shift by {k}, 31 is the most"),
            Self::ScratchSlot(k) => write!(f, "scratch slot {k}, there are {SCRATCH_SLOTS}"),
            Self::ScratchUnset(k) => write!(f, "scratch slot {k} is read before every path has written it"),
            Self::JumpPastEnd { target, len } => {
                write!(f, "jump target {target} is past the end ({len} instructions)")
            }
            Self::LastNotReturn => f.write_str("the last instruction is not a return"),
        }
    }
}

impl Error for CheckError {}

impl From<OutOfMemory> for CheckError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Why [`lift`](crate::lift) finds no classic program for an eBPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiftError {
    /// The program does not begin with the three instructions of Linux's prologue.
    Prologue,
    /// The program has more instructions than Linux's conversion ever makes.
    TooLong(usize),
    /// The instruction at index `pc` is not one that Linux's conversion makes there.
    Insn {
        /// Index of the eBPF instruction.
        pc: usize,
        /// What is wrong with it.
        why: LiftRefusal,
    },
    /// The shape is Linux's, but the classic program it comes from is not one that Linux accepts.
    Check(CheckError),
    /// No memory for the result.
    OutOfMemory,
}

/// What keeps one eBPF instruction from being Linux's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiftRefusal {
    /// Linux's conversion never makes this instruction, or not with these fields.
    Shape,
    /// The program ends within a sequence that Linux's conversion makes whole.
    Cut,
    /// It jumps to an index where no classic instruction begins, or backward.
    Target(i64),
    /// It jumps further than a classic conditional jump can.
    Distance,
}

impl fmt::Display for LiftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prologue => {
                f.write_str("not translated by Linux: the three-instruction prologue is missing")
            }
            Self::TooLong(len) => write!(f, "not translated by Linux: {len} instructions are too many"),
            Self::Insn { pc, why } => write!(f, "instruction {pc}: {why}"),
            Self::Check(error) => write!(f, "lifted classic program is refused: {error}"),
            Self::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl fmt::Display for LiftRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("not one that Linux's translation makes"),
            Self::Cut => f.write_str("program ends within a translated sequence"),
            Self::Target(pc) => write!(f, "jump target {pc} is not where a classic instruction begins"),
            Self::Distance => f.write_str("jump is further than a classic one can go"),
        }
    }
}

impl Error for LiftError {}

impl From<OutOfMemory> for LiftError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}
