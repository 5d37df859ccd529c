//! eBPF: the instruction as it stands in memory ([`Insn`]), the one table of its opcodes ([`Opcode`]), and what
//! a whole instruction means ([`Instruction`]).

mod instruction;

pub use instruction::{
    Address, ByteOrder, DecodeError, Imm64, Instruction, Operand, Reg, SwapBits, Unsupported,
};

use crate::cbpf;

/// Bytes of one instruction.
pub const INSN_SIZE: usize = 8;

/// One eBPF instruction, `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Insn {
    /// The opcode.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub regs: u8,
    /// Offset of a load, a store or a jump.
    pub off: i16,
    /// The constant.
    pub imm: i32,
}

impl Insn {
    /// The instruction with these fields. Registers are taken modulo 16.
    pub const fn new(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Self {
        Self { code, regs: (src << 4) | (dst & 0xf), off, imm }
    }

    /// The destination register, 0 to 15; more than 10 is none.
    pub const fn dst(self) -> u8 {
        self.regs & 0xf
    }

    /// The source register, 0 to 15; more than 10 is none.
    pub const fn src(self) -> u8 {
        self.regs >> 4
    }

    /// Reads an instruction in the little-endian layout of eBPF programs.
    pub const fn from_le_bytes(bytes: [u8; INSN_SIZE]) -> Self {
        let [code, regs, o0, o1, i0, i1, i2, i3] = bytes;
        Self { code, regs, off: i16::from_le_bytes([o0, o1]), imm: i32::from_le_bytes([i0, i1, i2, i3]) }
    }

    /// The instruction in the little-endian layout of eBPF programs.
    pub const fn to_le_bytes(self) -> [u8; INSN_SIZE] {
        let [o0, o1] = self.off.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        [self.code, self.regs, o0, o1, i0, i1, i2, i3]
    }
}

/// The second operand of an arithmetic instruction or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// The constant in `imm`.
    Imm = 0x00,
    /// The source register.
    Reg = 0x08,
}

impl From<cbpf::Source> for Source {
    fn from(source: cbpf::Source) -> Self {
        match source {
            cbpf::Source::K => Self::Imm,
            cbpf::Source::X => Self::Reg,
        }
    }
}

/// Whether an operation works on all 64 bits or on the low 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low 32 bits; arithmetic clears the high ones.
    W32,
    /// All 64 bits.
    W64,
}

/// The size of a memory access. The value is its bits in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Size {
    /// 32 bits.
    Word = 0x00,
    /// 16 bits.
    Half = 0x08,
    /// 8 bits.
    Byte = 0x10,
    /// 64 bits.
    Double = 0x18,
}

/// Arithmetic. The value is its bits in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AluOp {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Div = 0x30,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Mod = 0x90,
    Xor = 0xa0,
    Mov = 0xb0,
    Arsh = 0xc0,
}

/// A comparison of the destination register with the operand. The value is its bits in the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it; an S in front is signed, Set is a bit test")]
pub enum Cond {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Set = 0x40,
    Ne = 0x50,
    Sgt = 0x60,
    Sge = 0x70,
    Lt = 0xa0,
    Le = 0xb0,
    Slt = 0xc0,
    Sle = 0xd0,
}

/// What an eBPF instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// dst = dst op operand.
    Alu(Width, AluOp, Source),
    /// dst = -dst.
    Neg(Width),
    /// dst = the low `imm` bits of dst, converted from or to little endian.
    ToLe,
    /// dst = the low `imm` bits of dst, converted from or to big endian.
    ToBe,
    /// Jump.
    Ja,
    /// Jump if the comparison holds.
    Jump(Width, Cond, Source),
    /// Call a helper, or the local function at `imm` when src is 1.
    Call,
    /// Return r0.
    Exit,
    /// dst = a 64-bit constant; takes two instructions.
    LoadImm64,
    /// r0 = packet\[imm\]; for socket filters.
    LoadAbs(Size),
    /// r0 = packet\[src + imm\]; for socket filters.
    LoadInd(Size),
    /// dst = \[src + off\].
    Load(Size),
    /// \[dst + off\] = imm.
    StoreImm(Size),
    /// \[dst + off\] = src.
    Store(Size),
    /// \[dst + off\] op= src at once; `imm` says which op.
    Atomic(Size),
}

const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_ALU: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_JMP32: u8 = 0x06;
const CLASS_ALU64: u8 = 0x07;

const MODE_ABS: u8 = 0x20;
const MODE_IND: u8 = 0x40;
const MODE_MEM: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;

impl Opcode {
    /// The operation of an opcode byte, or `None` if eBPF (up to `-mcpu=v3`) has none.
    #[expect(clippy::indexing_slicing, reason = "a u8 is always inside")]
    pub const fn decode(code: u8) -> Option<Self> {
        DECODE[code as usize]
    }

    /// The opcode byte.
    pub const fn code(self) -> u8 {
        match self {
            Self::Alu(width, op, source) => alu_class(width) | op as u8 | source as u8,
            Self::Neg(width) => alu_class(width) | 0x80,
            Self::ToLe => CLASS_ALU | 0xd0,
            Self::ToBe => CLASS_ALU | 0xd8,
            Self::Ja => CLASS_JMP,
            Self::Jump(width, cond, source) => jump_class(width) | cond as u8 | source as u8,
            Self::Call => CLASS_JMP | 0x80,
            Self::Exit => CLASS_JMP | 0x90,
            Self::LoadImm64 => CLASS_LD | Size::Double as u8,
            Self::LoadAbs(size) => CLASS_LD | MODE_ABS | size as u8,
            Self::LoadInd(size) => CLASS_LD | MODE_IND | size as u8,
            Self::Load(size) => CLASS_LDX | MODE_MEM | size as u8,
            Self::StoreImm(size) => CLASS_ST | MODE_MEM | size as u8,
            Self::Store(size) => CLASS_STX | MODE_MEM | size as u8,
            Self::Atomic(size) => CLASS_STX | MODE_ATOMIC | size as u8,
        }
    }
}

const fn alu_class(width: Width) -> u8 {
    match width {
        Width::W32 => CLASS_ALU,
        Width::W64 => CLASS_ALU64,
    }
}

const fn jump_class(width: Width) -> u8 {
    match width {
        Width::W32 => CLASS_JMP32,
        Width::W64 => CLASS_JMP,
    }
}

/// Every eBPF opcode, by its byte.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; a u8 is always inside")]
static DECODE: [Option<Opcode>; 256] = {
    const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
    const SOURCES: [Source; 2] = [Source::Imm, Source::Reg];
    const SIZES: [Size; 4] = [Size::Word, Size::Half, Size::Byte, Size::Double];
    const OPS: [AluOp; 12] = {
        use AluOp::*;
        [Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh]
    };
    const CONDS: [Cond; 11] = {
        use Cond::*;
        [Eq, Gt, Ge, Set, Ne, Sgt, Sge, Lt, Le, Slt, Sle]
    };

    const fn put(table: &mut [Option<Opcode>; 256], opcode: Opcode) {
        let slot = &mut table[opcode.code() as usize];
        assert!(slot.is_none(), "two opcodes share a code");
        *slot = Some(opcode);
    }

    let mut table = [None; 256];
    let single = [Opcode::ToLe, Opcode::ToBe, Opcode::Ja, Opcode::Call, Opcode::Exit, Opcode::LoadImm64];
    let mut i = 0;
    while i < single.len() {
        put(&mut table, single[i]);
        i += 1;
    }
    let mut w = 0;
    while w < WIDTHS.len() {
        put(&mut table, Opcode::Neg(WIDTHS[w]));
        let mut s = 0;
        while s < SOURCES.len() {
            let mut i = 0;
            while i < OPS.len() {
                put(&mut table, Opcode::Alu(WIDTHS[w], OPS[i], SOURCES[s]));
                i += 1;
            }
            let mut i = 0;
            while i < CONDS.len() {
                put(&mut table, Opcode::Jump(WIDTHS[w], CONDS[i], SOURCES[s]));
                i += 1;
            }
            s += 1;
        }
        w += 1;
    }
    let mut i = 0;
    while i < SIZES.len() {
        put(&mut table, Opcode::Load(SIZES[i]));
        put(&mut table, Opcode::StoreImm(SIZES[i]));
        put(&mut table, Opcode::Store(SIZES[i]));
        if !matches!(SIZES[i], Size::Double) {
            put(&mut table, Opcode::LoadAbs(SIZES[i]));
            put(&mut table, Opcode::LoadInd(SIZES[i]));
        }
        i += 1;
    }
    put(&mut table, Opcode::Atomic(Size::Word));
    put(&mut table, Opcode::Atomic(Size::Double));
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_opcodes_are_one_to_one() {
        let known: alloc::vec::Vec<u8> =
            (0..=u8::MAX).filter(|code| Opcode::decode(*code).is_some()).collect();
        for code in &known {
            assert_eq!(Opcode::decode(*code).map(Opcode::code), Some(*code));
        }
        // 2 x (12 x 2 + 1) arithmetic, 2 byte swaps, 2 x 11 x 2 conditional jumps, 3 other jumps,
        // 1 + 6 loads of class LD, 3 x 4 memory accesses, 2 atomics.
        assert_eq!(known.len(), 50 + 2 + 44 + 3 + 7 + 12 + 2);
    }

    #[test]
    fn bytes_round_trip() {
        let insn = Insn::new(0x61, 0, 6, -4, 0x0102_0304);
        assert_eq!(insn.to_le_bytes(), [0x61, 0x60, 0xfc, 0xff, 4, 3, 2, 1]);
        assert_eq!(Insn::from_le_bytes(insn.to_le_bytes()), insn);
    }
}
