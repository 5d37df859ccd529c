//! An eBPF instruction with its meaning: every field it uses, and none that it does not.

use core::error::Error;
use core::fmt;

use super::{AluOp, Cond, Insn, Opcode, Size, Source, Width};

/// A register that there is: r0 to r10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

impl Reg {
    /// What a program or a function returns.
    pub const R0: Self = Self(0);
    /// The first argument, and at the start the context.
    pub const R1: Self = Self(1);
    /// The second argument.
    pub const R2: Self = Self(2);
    /// The third argument.
    pub const R3: Self = Self(3);
    /// The fourth argument.
    pub const R4: Self = Self(4);
    /// The fifth argument.
    pub const R5: Self = Self(5);
    /// The end of the stack; never written.
    pub const FRAME: Self = Self(10);
    /// r1 to r5: what a call takes, and loses.
    pub const ARGUMENTS: [Self; 5] = [Self::R1, Self::R2, Self::R3, Self::R4, Self::R5];
    /// r6 to r9: what a call leaves as it was.
    pub const SAVED: [Self; 4] = [Self(6), Self(7), Self(8), Self(9)];
    /// Every register that can be written, r0 to r9.
    pub const WRITABLE: [Self; 10] =
        [Self(0), Self(1), Self(2), Self(3), Self(4), Self(5), Self(6), Self(7), Self(8), Self(9)];

    /// The register of this number, 0 to 10.
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::FRAME.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its number, as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The second operand of arithmetic or of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A constant; sign-extended where the operation has 64 bits.
    Imm(i32),
    /// A register.
    Reg(Reg),
}

/// The width of a byte swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SwapBits {
    B16 = 16,
    B32 = 32,
    B64 = 64,
}

/// The byte order that a byte swap converts from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ByteOrder {
    Little,
    Big,
}

/// What a load of 64 bits puts into its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// This number.
    Constant(u64),
    /// The map at this index of the program's maps.
    Map(u32),
    /// The address of a byte in the only value of the map at this index.
    MapValue {
        /// The map.
        map: u32,
        /// The byte.
        offset: u32,
    },
}

/// A memory operand: a register and a distance in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Address {
    pub base: Reg,
    pub off: i16,
}

/// An eBPF instruction of `-mcpu=v1` to `v3`, without atomics and without packet loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are those of the instruction")]
pub enum Instruction {
    /// dst = dst op operand.
    Alu { width: Width, op: AluOp, dst: Reg, operand: Operand },
    /// dst = -dst.
    Neg { width: Width, dst: Reg },
    /// dst = the low bits of dst in this order; the others are cleared.
    Swap { order: ByteOrder, bits: SwapBits, dst: Reg },
    /// Jump by `off` from the next instruction.
    Ja { off: i16 },
    /// Jump if the comparison holds.
    Jump { width: Width, cond: Cond, dst: Reg, operand: Operand, off: i16 },
    /// r0 = the helper of this number, of r1 to r5.
    CallHelper { id: i32 },
    /// Call the function that begins at `off` from the next instruction.
    CallLocal { off: i32 },
    /// Return r0.
    Exit,
    /// dst = a 64-bit constant; takes two instructions.
    LoadImm64 { dst: Reg, imm: Imm64 },
    /// dst = \[address\], zero-extended.
    Load { size: Size, dst: Reg, from: Address },
    /// \[address\] = imm.
    StoreImm { size: Size, to: Address, imm: i32 },
    /// \[address\] = src.
    Store { size: Size, to: Address, src: Reg },
}

/// What `src` of a 64-bit load may say, `BPF_PSEUDO_MAP_FD` and `BPF_PSEUDO_MAP_VALUE`. The number in `imm`
/// is an index here, since a program brings its maps along.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;

/// `src` of a call to a local function, `BPF_PSEUDO_CALL`.
const PSEUDO_CALL: u8 = 1;

impl Instruction {
    /// The instruction that `insn` encodes. `next` is the one after it, which a 64-bit load takes too.
    ///
    /// # Errors
    ///
    /// It is none of [`Instruction`], or a field that it does not use is not 0.
    pub const fn decode(insn: Insn, next: Option<Insn>) -> Result<Self, DecodeError> {
        if let Some(unsupported) = Unsupported::of(insn) {
            return Err(DecodeError::Unsupported(unsupported));
        }
        let Some(opcode) = Opcode::decode(insn.code) else {
            return Err(DecodeError::UnknownOpcode(insn.code));
        };
        let (Some(dst), Some(src)) = (Reg::new(insn.dst()), Reg::new(insn.src())) else {
            let dst = insn.dst();
            let number = if Reg::new(dst).is_none() { dst } else { insn.src() };
            return Err(DecodeError::Register(number));
        };
        let Insn { off, imm, .. } = insn;
        // What each form uses; the rest has to be 0.
        let (uses_dst, uses_src, uses_off, uses_imm) = match opcode {
            Opcode::Alu(_, _, Source::Imm) => (true, false, false, true),
            Opcode::Alu(_, _, Source::Reg) => (true, true, false, false),
            Opcode::Neg(_) => (true, false, false, false),
            Opcode::ToLe | Opcode::ToBe => (true, false, false, true),
            Opcode::Ja => (false, false, true, false),
            Opcode::Jump(_, _, Source::Imm) => (true, false, true, true),
            Opcode::Jump(_, _, Source::Reg) => (true, true, true, false),
            Opcode::Call => (false, true, false, true),
            Opcode::Exit => (false, false, false, false),
            Opcode::LoadImm64 => (true, true, false, true),
            Opcode::Load(_) | Opcode::Store(_) => (true, true, true, false),
            Opcode::StoreImm(_) => (true, false, true, true),
            // `Unsupported::of` has them all.
            Opcode::LoadAbs(_) | Opcode::LoadInd(_) | Opcode::Atomic(_) => {
                return Err(DecodeError::UnknownOpcode(insn.code));
            }
        };
        if !(uses_dst || insn.dst() == 0)
            || !(uses_src || insn.src() == 0)
            || !(uses_off || off == 0)
            || !(uses_imm || imm == 0)
        {
            return Err(DecodeError::ReservedField);
        }
        Ok(match opcode {
            Opcode::Alu(width, op, source) => {
                let operand = operand(source, src, imm);
                if let Some(refusal) = constant_refusal(width, op, operand) {
                    return Err(refusal);
                }
                Self::Alu { width, op, dst, operand }
            }
            Opcode::Neg(width) => Self::Neg { width, dst },
            Opcode::ToLe | Opcode::ToBe => {
                let order = if matches!(opcode, Opcode::ToLe) { ByteOrder::Little } else { ByteOrder::Big };
                let bits = match imm {
                    16 => SwapBits::B16,
                    32 => SwapBits::B32,
                    64 => SwapBits::B64,
                    _ => return Err(DecodeError::SwapBits(imm)),
                };
                Self::Swap { order, bits, dst }
            }
            Opcode::Ja => Self::Ja { off },
            Opcode::Jump(width, cond, source) => {
                Self::Jump { width, cond, dst, operand: operand(source, src, imm), off }
            }
            Opcode::Call => match insn.src() {
                0 => Self::CallHelper { id: imm },
                PSEUDO_CALL => Self::CallLocal { off: imm },
                pseudo => return Err(DecodeError::PseudoSource(pseudo)),
            },
            Opcode::Exit => Self::Exit,
            Opcode::LoadImm64 => {
                let Some(next) = next else { return Err(DecodeError::SecondHalf) };
                if next.code != 0 || next.regs != 0 || next.off != 0 {
                    return Err(DecodeError::SecondHalf);
                }
                let (low, high) = (imm.cast_unsigned(), next.imm.cast_unsigned());
                let imm = match insn.src() {
                    0 => Imm64::Constant((high as u64) << 32 | low as u64),
                    PSEUDO_MAP if high != 0 => return Err(DecodeError::ReservedField),
                    PSEUDO_MAP => Imm64::Map(low),
                    PSEUDO_MAP_VALUE => Imm64::MapValue { map: low, offset: high },
                    pseudo => return Err(DecodeError::PseudoSource(pseudo)),
                };
                Self::LoadImm64 { dst, imm }
            }
            Opcode::Load(size) => Self::Load { size, dst, from: Address { base: src, off } },
            Opcode::StoreImm(size) => Self::StoreImm { size, to: Address { base: dst, off }, imm },
            Opcode::Store(size) => Self::Store { size, to: Address { base: dst, off }, src },
            Opcode::LoadAbs(_) | Opcode::LoadInd(_) | Opcode::Atomic(_) => {
                return Err(DecodeError::UnknownOpcode(insn.code));
            }
        })
    }

    /// How many `Insn`s it takes.
    pub const fn slots(self) -> usize {
        match self {
            Self::LoadImm64 { .. } => 2,
            _ => 1,
        }
    }
}

const fn operand(source: Source, src: Reg, imm: i32) -> Operand {
    match source {
        Source::Imm => Operand::Imm(imm),
        Source::Reg => Operand::Reg(src),
    }
}

/// What is wrong with the constant of an arithmetic instruction (`check_alu_op`).
const fn constant_refusal(width: Width, op: AluOp, operand: Operand) -> Option<DecodeError> {
    let Operand::Imm(imm) = operand else { return None };
    let bits = match width {
        Width::W32 => 32,
        Width::W64 => 64,
    };
    match op {
        AluOp::Div | AluOp::Mod if imm == 0 => Some(DecodeError::DivisionByZero),
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if imm < 0 || imm >= bits => Some(DecodeError::Shift(imm)),
        _ => None,
    }
}

/// An instruction that eBPF has and this project does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`name` says it")]
pub enum Unsupported {
    MoveSigned,
    SignedDiv,
    SignedMod,
    Bswap,
    LoadSigned(Size),
    LongJump,
    Atomic,
    LoadAbs,
    LoadInd,
}

impl Unsupported {
    /// Which one `insn` is, if any.
    pub const fn of(insn: Insn) -> Option<Self> {
        // Opcodes that `-mcpu=v4` added.
        match insn.code {
            0x06 => return Some(Self::LongJump),
            0xd7 => return Some(Self::Bswap),
            0x81 => return Some(Self::LoadSigned(Size::Word)),
            0x89 => return Some(Self::LoadSigned(Size::Half)),
            0x91 => return Some(Self::LoadSigned(Size::Byte)),
            _ => {}
        }
        // What it added to others, in `off`.
        match Opcode::decode(insn.code) {
            Some(Opcode::Alu(_, AluOp::Mov, Source::Reg)) if matches!(insn.off, 8 | 16 | 32) => {
                Some(Self::MoveSigned)
            }
            Some(Opcode::Alu(_, AluOp::Div, _)) if insn.off == 1 => Some(Self::SignedDiv),
            Some(Opcode::Alu(_, AluOp::Mod, _)) if insn.off == 1 => Some(Self::SignedMod),
            Some(Opcode::Atomic(_)) => Some(Self::Atomic),
            Some(Opcode::LoadAbs(_)) => Some(Self::LoadAbs),
            Some(Opcode::LoadInd(_)) => Some(Self::LoadInd),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MoveSigned => "movsx",
            Self::SignedDiv => "sdiv",
            Self::SignedMod => "smod",
            Self::Bswap => "bswap",
            Self::LoadSigned(_) => "ldsx",
            Self::LongJump => "gotol",
            Self::Atomic => "atomic",
            Self::LoadAbs => "ld_abs",
            Self::LoadInd => "ld_ind",
        }
    }
}

/// Why bytes are no [`Instruction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// No eBPF instruction has this opcode.
    UnknownOpcode(u8),
    /// eBPF, but not run here.
    Unsupported(Unsupported),
    /// This register does not exist.
    Register(u8),
    /// A field that the instruction does not use is not 0.
    ReservedField,
    /// A 64-bit load without its second half, or with a malformed one.
    SecondHalf,
    /// This kind of call or of 64-bit load is not known here.
    PseudoSource(u8),
    /// A byte swap of this many bits.
    SwapBits(i32),
    /// A division by the constant 0.
    DivisionByZero,
    /// A shift by this constant, which is negative or not below the width.
    Shift(i32),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOpcode(code) => write!(f, "unknown opcode {code:#04x}"),
            Self::Unsupported(which) => write!(f, "{} is not supported", which.name()),
            Self::Register(number) => write!(f, "there is no register r{number}"),
            Self::ReservedField => f.write_str("a field that the instruction does not use is not 0"),
            Self::SecondHalf => f.write_str("64-bit load without a second half"),
            Self::PseudoSource(src) => write!(f, "source {src} has no meaning in this instruction"),
            Self::SwapBits(bits) => write!(f, "byte swap of {bits} bits, 16, 32 and 64 are possible"),
            Self::DivisionByZero => f.write_str("division by the constant 0"),
            Self::Shift(count) => write!(f, "shift by {count}, which is not below the width"),
        }
    }
}

impl Error for DecodeError {}
