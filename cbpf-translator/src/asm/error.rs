//! Why a source text is not a program.

use core::error::Error;
use core::fmt;

use crate::cbpf::MAX_INSNS;

/// Why [`assemble`](super::assemble) refuses a source text, and where. It borrows the words it names from
/// the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsmError<'a> {
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: AsmErrorKind<'a>,
}

/// What is wrong with a source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsmErrorKind<'a> {
    /// The source has no instruction.
    Empty,
    /// This is the first instruction after [`MAX_INSNS`].
    TooLong,
    /// A comment begins here and never ends.
    UnclosedComment,
    /// The grammar does not continue this way.
    Unexpected {
        /// What stands there; empty at the end of the line.
        found: &'a str,
        /// What the grammar continues with.
        expected: &'static str,
    },
    /// No instruction has this name.
    UnknownInstruction(&'a str),
    /// The instruction has no form with this operand.
    Operand {
        /// The instruction's name, as written.
        mnemonic: &'a str,
        /// The operand, as written.
        operand: &'a str,
    },
    /// The name of a value that only socket filters can load.
    PacketExtension(&'a str),
    /// Nobody knows a number for this name.
    UnknownName(&'a str),
    /// Begins with a digit and is no number.
    MalformedNumber(&'a str),
    /// A number outside of its field.
    NumberRange {
        /// The number, as written.
        number: &'a str,
        /// The width of the field.
        bits: u32,
    },
    /// A label that another line has defined already.
    DuplicateLabel(&'a str),
    /// A label with no instruction after it.
    DanglingLabel(&'a str),
    /// A jump to a label that is nowhere.
    UndefinedLabel(&'a str),
    /// A jump to a label that is not ahead.
    BackwardJump(&'a str),
    /// A conditional jump to a label too far ahead.
    JumpDistance {
        /// The label.
        label: &'a str,
        /// Instructions to skip, more than 255.
        distance: usize,
    },
}

impl fmt::Display for AsmError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl fmt::Display for AsmErrorKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no instructions"),
            Self::TooLong => write!(f, "more than {MAX_INSNS} instructions"),
            Self::UnclosedComment => f.write_str("comment is never closed"),
            Self::Unexpected { found: "", expected } => write!(f, "found end of line, expected {expected}"),
            Self::Unexpected { found, expected } => write!(f, "found {found:?}, expected {expected}"),
            Self::UnknownInstruction(name) => write!(f, "unknown instruction {name:?}"),
            Self::Operand { mnemonic, operand } => write!(f, "{mnemonic:?} does not take {operand:?}"),
            Self::PacketExtension(name) => {
                write!(f, "packet extension {name:?} is not available in seccomp")
            }
            Self::UnknownName(name) => write!(f, "unknown name {name:?}"),
            Self::MalformedNumber(number) => write!(f, "malformed number {number:?}"),
            Self::NumberRange { number, bits } => write!(f, "number {number:?} does not fit {bits} bits"),
            Self::DuplicateLabel(label) => write!(f, "label {label:?} is already defined"),
            Self::DanglingLabel(label) => write!(f, "label {label:?} has no instruction after it"),
            Self::UndefinedLabel(label) => write!(f, "label {label:?} is not defined"),
            Self::BackwardJump(label) => write!(f, "label {label:?} is not ahead, jumps only go forward"),
            Self::JumpDistance { label, distance } => write!(
                f,
                "label {label:?} is {distance} instructions away, a conditional jump skips at most {}",
                u8::MAX
            ),
        }
    }
}

impl Error for AsmError<'_> {}
