//! Classic BPF: the instruction as it stands in memory, and the one table of its opcodes.

/// The most instructions a program may have (`BPF_MAXINSNS`).
pub const MAX_INSNS: usize = 4096;

/// The number of 32-bit scratch slots M\[\] (`BPF_MEMWORDS`).
pub const SCRATCH_SLOTS: usize = 16;

/// One classic instruction, `struct sock_filter`.
///
/// `code` says what it does ([`Opcode::decode`]). `jt` and `jf` are the distances, counted from the next
/// instruction, that a conditional jump takes when true and when false. `k` is the operand. Fields that an
/// opcode does not use may hold anything.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SockFilter {
    /// The 16-bit opcode.
    pub code: u16,
    /// Distance when the condition holds.
    pub jt: u8,
    /// Distance when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

const _: () = assert!(size_of::<SockFilter>() == SockFilter::SIZE && align_of::<SockFilter>() == 4);

impl SockFilter {
    /// Bytes of one instruction in memory.
    pub const SIZE: usize = 8;

    /// The instruction with these four fields.
    pub const fn new(code: u16, jt: u8, jf: u8, k: u32) -> Self {
        Self { code, jt, jf, k }
    }

    /// Reads an instruction as it stands in this machine's memory.
    pub const fn from_ne_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
        Self { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
    }

    /// The instruction as it stands in this machine's memory.
    pub const fn to_ne_bytes(self) -> [u8; Self::SIZE] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }
}

/// The second operand of an arithmetic instruction or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The constant in `k`.
    K,
    /// The index register.
    X,
}

/// The size of a packet load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits, the only one that seccomp allows.
    Word,
    /// 16 bits.
    Half,
    /// 8 bits.
    Byte,
}

/// Arithmetic on A. The value is the operation's bits in the opcode, the same in classic BPF and eBPF.
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
}

/// A comparison of A, unsigned. The value is its bits in the opcode, the same in classic BPF and eBPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cond {
    /// A == operand.
    Eq = 0x10,
    /// A > operand.
    Gt = 0x20,
    /// A >= operand.
    Ge = 0x30,
    /// A & operand != 0.
    Set = 0x40,
}

impl Cond {
    /// Whether the comparison holds.
    pub const fn holds(self, a: u32, operand: u32) -> bool {
        match self {
            Self::Eq => a == operand,
            Self::Gt => a > operand,
            Self::Ge => a >= operand,
            Self::Set => a & operand != 0,
        }
    }
}

/// What a classic instruction does: the closed set that Linux's generic checker knows
/// (`bpf_check_classic`), which is larger than what seccomp allows ([`Opcode::is_seccomp`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A = packet\[k\]; for seccomp, the 32-bit word of `seccomp_data` at offset k.
    LdAbs(Width),
    /// A = packet\[X + k\].
    LdInd(Width),
    /// A = length of the packet; for seccomp 64.
    LdLen,
    /// A = k.
    LdImm,
    /// A = M\[k\].
    LdMem,
    /// X = length of the packet; for seccomp 64.
    LdxLen,
    /// X = k.
    LdxImm,
    /// X = M\[k\].
    LdxMem,
    /// X = 4 * (packet\[k\] & 0xf).
    LdxMsh,
    /// M\[k\] = A.
    St,
    /// M\[k\] = X.
    Stx,
    /// A = A op operand.
    Alu(AluOp, Source),
    /// A = -A.
    Neg,
    /// Jump k instructions ahead.
    Ja,
    /// Jump jt or jf instructions ahead.
    Jump(Cond, Source),
    /// Return k.
    RetK,
    /// Return A.
    RetA,
    /// X = A.
    Tax,
    /// A = X.
    Txa,
}

/// A row of the opcode table.
#[derive(Clone, Copy, Debug)]
pub struct OpcodeRow {
    /// The opcode as it stands in an instruction, all 16 bits.
    pub code: u16,
    /// What it does.
    pub opcode: Opcode,
    /// Its name in assembler text (that of the kernel's `bpf_asm`).
    pub mnemonic: &'static str,
    /// Whether a seccomp filter may use it (`seccomp_check_filter`).
    pub seccomp: bool,
}

const fn row(code: u16, opcode: Opcode, mnemonic: &'static str) -> OpcodeRow {
    OpcodeRow { code, opcode, mnemonic, seccomp: true }
}

const fn refused(code: u16, opcode: Opcode, mnemonic: &'static str) -> OpcodeRow {
    OpcodeRow { code, opcode, mnemonic, seccomp: false }
}

/// Every classic opcode. What is not in here is no instruction, whatever its low bits look like.
pub const OPCODES: [OpcodeRow; 49] = {
    use AluOp::*;
    use Cond::*;
    use Opcode::*;
    use Source::*;
    use Width::*;
    [
        row(0x00, LdImm, "ld"),
        row(0x01, LdxImm, "ldx"),
        row(0x02, St, "st"),
        row(0x03, Stx, "stx"),
        row(0x04, Alu(Add, K), "add"),
        row(0x05, Ja, "jmp"),
        row(0x06, RetK, "ret"),
        row(0x07, Tax, "tax"),
        row(0x0c, Alu(Add, X), "add"),
        row(0x14, Alu(Sub, K), "sub"),
        row(0x15, Jump(Eq, K), "jeq"),
        row(0x16, RetA, "ret"),
        row(0x1c, Alu(Sub, X), "sub"),
        row(0x1d, Jump(Eq, X), "jeq"),
        row(0x20, LdAbs(Word), "ld"),
        row(0x24, Alu(Mul, K), "mul"),
        row(0x25, Jump(Gt, K), "jgt"),
        refused(0x28, LdAbs(Half), "ldh"),
        row(0x2c, Alu(Mul, X), "mul"),
        row(0x2d, Jump(Gt, X), "jgt"),
        refused(0x30, LdAbs(Byte), "ldb"),
        row(0x34, Alu(Div, K), "div"),
        row(0x35, Jump(Ge, K), "jge"),
        row(0x3c, Alu(Div, X), "div"),
        row(0x3d, Jump(Ge, X), "jge"),
        refused(0x40, LdInd(Word), "ld"),
        row(0x44, Alu(Or, K), "or"),
        row(0x45, Jump(Set, K), "jset"),
        refused(0x48, LdInd(Half), "ldh"),
        row(0x4c, Alu(Or, X), "or"),
        row(0x4d, Jump(Set, X), "jset"),
        refused(0x50, LdInd(Byte), "ldb"),
        row(0x54, Alu(And, K), "and"),
        row(0x5c, Alu(And, X), "and"),
        row(0x60, LdMem, "ld"),
        row(0x61, LdxMem, "ldx"),
        row(0x64, Alu(Lsh, K), "lsh"),
        row(0x6c, Alu(Lsh, X), "lsh"),
        row(0x74, Alu(Rsh, K), "rsh"),
        row(0x7c, Alu(Rsh, X), "rsh"),
        row(0x80, LdLen, "ld"),
        row(0x81, LdxLen, "ldx"),
        row(0x84, Neg, "neg"),
        row(0x87, Txa, "txa"),
        refused(0x94, Alu(Mod, K), "mod"),
        refused(0x9c, Alu(Mod, X), "mod"),
        row(0xa4, Alu(Xor, K), "xor"),
        row(0xac, Alu(Xor, X), "xor"),
        refused(0xb1, LdxMsh, "ldxb"),
    ]
};

/// [`OPCODES`] by the low byte of the code.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static DECODE: [Option<Opcode>; 256] = {
    let mut table = [None; 256];
    let mut i = 0;
    while i < OPCODES.len() {
        table[OPCODES[i].code as usize] = Some(OPCODES[i].opcode);
        i += 1;
    }
    table
};

impl Opcode {
    /// The operation of a 16-bit opcode, or `None` if classic BPF has none. All 16 bits count: a junk bit
    /// makes it no opcode.
    pub fn decode(code: u16) -> Option<Self> {
        *DECODE.get(usize::from(code))?
    }

    /// This operation's row in [`OPCODES`].
    pub fn row(self) -> Option<&'static OpcodeRow> {
        OPCODES.iter().find(|row| row.opcode == self)
    }

    /// Whether a seccomp filter may use it (`seccomp_check_filter`).
    pub fn is_seccomp(self) -> bool {
        self.row().is_some_and(|row| row.seccomp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_decodes_to_itself_and_to_nothing_else() {
        for code in 0..=u16::MAX {
            let row = OPCODES.iter().find(|row| row.code == code);
            assert_eq!(Opcode::decode(code), row.map(|row| row.opcode), "{code:#06x}");
        }
        for row in &OPCODES {
            assert_eq!(row.opcode.row().map(|row| row.code), Some(row.code));
        }
    }

    #[test]
    fn seccomp_allows_41() {
        assert_eq!(OPCODES.iter().filter(|row| row.seccomp).count(), 41);
    }
}
