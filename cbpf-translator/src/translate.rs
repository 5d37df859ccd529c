//! Classic to eBPF, byte for byte as Linux's conversion (`bpf_convert_filter`) does it.

use alloc::vec::Vec;

use crate::cbpf::{self, Cond, Opcode, SockFilter, Source};
use crate::check::Checked;
use crate::ebpf::{self, Insn, Size, Width};
use crate::error::OutOfMemory;
use crate::fallible::with_capacity;
use crate::layout::{self, JumpForm};
use crate::seccomp;

/// A, the accumulator.
pub(crate) const A: u8 = 0;
/// The register a program finds the context in.
pub(crate) const ARG: u8 = 1;
/// Holds a constant that eBPF would sign-extend.
pub(crate) const TMP: u8 = 2;
/// The context, `seccomp_data`.
pub(crate) const CTX: u8 = 6;
/// X, the index register.
pub(crate) const X: u8 = 7;
/// The frame pointer.
pub(crate) const FRAME: u8 = 10;

/// The eBPF that Linux makes of a checked program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    insns: Vec<Insn>,
    pc_map: Vec<u16>,
}

impl Translated {
    /// The instructions.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// The index of the first eBPF instruction of each classic instruction, in order.
    pub fn pc_map(&self) -> &[u16] {
        self.pc_map.split_last().map_or(&[], |(_len, map)| map)
    }

    /// The program as bytes, eight an instruction.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OutOfMemory> {
        let mut bytes = with_capacity(self.insns.len().saturating_mul(ebpf::INSN_SIZE))?;
        for insn in &self.insns {
            bytes.extend_from_slice(&insn.to_le_bytes());
        }
        Ok(bytes)
    }
}

/// The first instructions of every translation: A = 0, X = 0, context = r1.
pub(crate) const PROLOGUE: [Insn; layout::PROLOGUE] =
    [ZERO_A, alu32_reg(ebpf::AluOp::Xor, X, X, 0), mov64(CTX, ARG)];

const ZERO_A: Insn = alu32_reg(ebpf::AluOp::Xor, A, A, 0);
pub(crate) const EXIT: Insn = Insn::new(ebpf::Opcode::Exit.code(), 0, 0, 0, 0);

/// What a division by X begins with: X is 0, then the program returns 0.
pub(crate) const DIVISION_GUARD: [Insn; layout::MAX_GROUP - 1] = [
    alu32_reg(ebpf::AluOp::Mov, X, X, 0),
    Insn::new(ebpf::Opcode::Jump(Width::W64, ebpf::Cond::Ne, ebpf::Source::Imm).code(), X, 0, 2, 0),
    ZERO_A,
    EXIT,
];

const fn alu32_reg(op: ebpf::AluOp, dst: u8, src: u8, imm: i32) -> Insn {
    Insn::new(ebpf::Opcode::Alu(Width::W32, op, ebpf::Source::Reg).code(), dst, src, 0, imm)
}

const fn mov64(dst: u8, src: u8) -> Insn {
    Insn::new(ebpf::Opcode::Alu(Width::W64, ebpf::AluOp::Mov, ebpf::Source::Reg).code(), dst, src, 0, 0)
}

pub(crate) const fn mov32_imm(dst: u8, imm: i32) -> Insn {
    Insn::new(ebpf::Opcode::Alu(Width::W32, ebpf::AluOp::Mov, ebpf::Source::Imm).code(), dst, 0, 0, imm)
}

const fn load(dst: u8, src: u8, off: i16) -> Insn {
    Insn::new(ebpf::Opcode::Load(Size::Word).code(), dst, src, off, 0)
}

const fn store(src: u8, off: i16) -> Insn {
    Insn::new(ebpf::Opcode::Store(Size::Word).code(), FRAME, src, off, 0)
}

/// The stack offset of scratch slot `k`.
pub(crate) const fn slot_offset(k: u32) -> i16 {
    // A checked slot is below 16, so nothing is lost.
    (k as i16).wrapping_add(1).wrapping_mul(-4)
}

/// The eBPF instruction of a classic one that becomes exactly one and does not jump; for the others the
/// one that carries their operand.
pub(crate) fn single(opcode: Opcode, insn: SockFilter) -> Insn {
    let imm = insn.k.cast_signed();
    match opcode {
        // seccomp's check turns a length into a constant before the conversion sees it.
        Opcode::LdLen => mov32_imm(A, seccomp::DATA_SIZE.cast_signed()),
        Opcode::LdxLen => mov32_imm(X, seccomp::DATA_SIZE.cast_signed()),
        Opcode::LdImm => mov32_imm(A, imm),
        Opcode::LdxImm => mov32_imm(X, imm),
        Opcode::LdMem => load(A, FRAME, slot_offset(insn.k)),
        Opcode::LdxMem => load(X, FRAME, slot_offset(insn.k)),
        Opcode::St => store(A, slot_offset(insn.k)),
        Opcode::Stx => store(X, slot_offset(insn.k)),
        // Every form names X and carries k, used or not, as Linux's.
        Opcode::Alu(op, source) => {
            let op = ebpf::Opcode::Alu(Width::W32, alu_op(op), source.into());
            Insn::new(op.code(), A, X, 0, imm)
        }
        Opcode::Neg => Insn::new(ebpf::Opcode::Neg(Width::W32).code(), A, X, 0, imm),
        Opcode::Ja => Insn::new(ebpf::Opcode::Ja.code(), 0, 0, 0, 0),
        Opcode::Jump(cond, source) => {
            let (src, source, imm) = match source {
                Source::X => (X, ebpf::Source::Reg, imm),
                Source::K if layout::needs_temporary(source, insn.k) => (TMP, ebpf::Source::Reg, 0),
                Source::K => (0, ebpf::Source::Imm, imm),
            };
            let cond = match JumpForm::of(cond, insn) {
                JumpForm::Inverse => inverse(cond),
                JumpForm::True | JumpForm::Both => condition(cond),
            };
            Insn::new(ebpf::Opcode::Jump(Width::W64, cond, source).code(), A, src, 0, imm)
        }
        Opcode::RetK => mov32_imm(A, imm),
        Opcode::RetA => EXIT,
        Opcode::Tax => mov64(X, A),
        Opcode::Txa => mov64(A, X),
        // The other loads are not for seccomp, so a checked program has only this one.
        Opcode::LdAbs(_) | Opcode::LdInd(_) | Opcode::LdxMsh => load(A, CTX, insn.k as i16),
    }
}

pub(crate) const fn alu_op(op: cbpf::AluOp) -> ebpf::AluOp {
    match op {
        cbpf::AluOp::Add => ebpf::AluOp::Add,
        cbpf::AluOp::Sub => ebpf::AluOp::Sub,
        cbpf::AluOp::Mul => ebpf::AluOp::Mul,
        cbpf::AluOp::Div => ebpf::AluOp::Div,
        cbpf::AluOp::Or => ebpf::AluOp::Or,
        cbpf::AluOp::And => ebpf::AluOp::And,
        cbpf::AluOp::Lsh => ebpf::AluOp::Lsh,
        cbpf::AluOp::Rsh => ebpf::AluOp::Rsh,
        cbpf::AluOp::Mod => ebpf::AluOp::Mod,
        cbpf::AluOp::Xor => ebpf::AluOp::Xor,
    }
}

pub(crate) const fn condition(cond: Cond) -> ebpf::Cond {
    match cond {
        Cond::Eq => ebpf::Cond::Eq,
        Cond::Gt => ebpf::Cond::Gt,
        Cond::Ge => ebpf::Cond::Ge,
        Cond::Set => ebpf::Cond::Set,
    }
}

/// The comparison that holds when `cond` does not. A bit test has none, and none is asked for
/// ([`JumpForm::of`]).
pub(crate) const fn inverse(cond: Cond) -> ebpf::Cond {
    match cond {
        Cond::Eq => ebpf::Cond::Ne,
        Cond::Gt => ebpf::Cond::Le,
        Cond::Ge => ebpf::Cond::Lt,
        Cond::Set => ebpf::Cond::Set,
    }
}

/// Translates a checked program as Linux does when a filter is installed.
///
/// # Errors
///
/// There is no memory for the result; nothing about a checked program can fail.
pub fn translate(program: &Checked) -> Result<Translated, OutOfMemory> {
    let pc_map = layout::pc_map(program.ops())?;
    let mut insns = with_capacity(pc_map.last().copied().map_or(0, usize::from))?;
    insns.extend_from_slice(&PROLOGUE);

    for (pc, (opcode, insn)) in program.ops().enumerate() {
        // From the instruction that is emitted next to the classic one that is `distance` ahead.
        let offset = |emitted: usize, distance: u32| {
            let target = pc.saturating_add(1).saturating_add(distance as usize);
            let target = pc_map.get(target).copied().map_or(0, i32::from);
            // Both are at most MAX_TRANSLATED, so the difference is an i16.
            target.wrapping_sub(emitted as i32).wrapping_sub(1) as i16
        };
        let mut emit = single(opcode, insn);
        match opcode {
            Opcode::Alu(cbpf::AluOp::Div, Source::X) => insns.extend_from_slice(&DIVISION_GUARD),
            Opcode::Ja => emit.off = offset(insns.len(), insn.k),
            Opcode::Jump(cond, source) => {
                if layout::needs_temporary(source, insn.k) {
                    insns.push(mov32_imm(TMP, insn.k.cast_signed()));
                }
                let (jt, jf) = (u32::from(insn.jt), u32::from(insn.jf));
                emit.off = match JumpForm::of(cond, insn) {
                    JumpForm::True => offset(insns.len(), jt),
                    JumpForm::Inverse => offset(insns.len(), jf),
                    JumpForm::Both => {
                        insns.push(Insn { off: offset(insns.len(), jt), ..emit });
                        emit = single(Opcode::Ja, insn);
                        offset(insns.len(), jf)
                    }
                };
            }
            Opcode::RetK => {
                insns.push(emit);
                emit = EXIT;
            }
            _ => {}
        }
        insns.push(emit);
    }
    Ok(Translated { insns, pc_map })
}
