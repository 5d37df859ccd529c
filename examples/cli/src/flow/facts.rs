//! What registers and scratch slots are at each instruction, in the words of the call.

use cbpf_translator::cbpf::{AluOp, Opcode, SCRATCH_SLOTS, SockFilter, Source};
use cbpf_translator::seccomp;

use crate::symbolic::{Exprs, Id, Op};

/// An expression of more parts is not said, but computed by statements.
const MAX_PARTS: usize = 8;

/// The registers and slots; `None` where paths meet with different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub a: Option<Id>,
    pub x: Option<Id>,
    m: [Option<Id>; SCRATCH_SLOTS],
}

impl Registers {
    /// At the beginning of a program.
    pub fn new(exprs: &mut Exprs) -> Self {
        let zero = Some(exprs.constant(0));
        Self { a: zero, x: zero, m: [None; SCRATCH_SLOTS] }
    }

    /// What both know.
    pub fn join(&mut self, other: &Self) {
        let same = |mine: &mut Option<Id>, theirs: Option<Id>| *mine = mine.filter(|id| theirs == Some(*id));
        same(&mut self.a, other.a);
        same(&mut self.x, other.x);
        self.m.iter_mut().zip(other.m).for_each(|(mine, theirs)| same(mine, theirs));
    }

    pub fn operand(&self, exprs: &mut Exprs, source: Source, k: u32) -> Option<Id> {
        match source {
            Source::K => Some(exprs.constant(k)),
            Source::X => self.x,
        }
    }

    /// After an instruction. Jumps and returns change nothing.
    pub fn step(&mut self, exprs: &mut Exprs, opcode: Opcode, insn: SockFilter) {
        let k = insn.k;
        let slot = k as usize % SCRATCH_SLOTS;
        match opcode {
            Opcode::LdAbs(_) | Opcode::LdInd(_) => self.a = Some(exprs.word(k)),
            Opcode::LdImm => self.a = Some(exprs.constant(k)),
            Opcode::LdxImm => self.x = Some(exprs.constant(k)),
            Opcode::LdLen => self.a = Some(exprs.constant(seccomp::DATA_SIZE)),
            Opcode::LdxLen | Opcode::LdxMsh => self.x = Some(exprs.constant(seccomp::DATA_SIZE)),
            Opcode::LdMem => self.a = self.m[slot],
            Opcode::LdxMem => self.x = self.m[slot],
            Opcode::St => self.m[slot] = self.a,
            Opcode::Stx => self.m[slot] = self.x,
            Opcode::Alu(op, source) => {
                let operand = self.operand(exprs, source, k);
                self.a = self.a.zip(operand).map(|(a, operand)| exprs.op(Op::Alu(op), a, operand));
                self.a = self.a.and_then(|id| sayable(exprs, id));
            }
            Opcode::Neg => {
                let zero = exprs.constant(0);
                self.a = self.a.map(|a| exprs.op(Op::Alu(AluOp::Sub), zero, a));
                self.a = self.a.and_then(|id| sayable(exprs, id));
            }
            Opcode::Tax => self.x = self.a,
            Opcode::Txa => self.a = self.x,
            Opcode::Ja | Opcode::Jump(..) | Opcode::RetK | Opcode::RetA => {}
        }
    }
}

/// The expression, if it is short enough to be said.
pub(super) fn sayable(exprs: &Exprs, id: Id) -> Option<Id> {
    exprs.parts([id], MAX_PARTS).map(|_| id)
}

/// Registers and slots that are read later, a bit for each.
pub(super) type Live = u32;

pub(super) const A: Live = 1 << 16;
pub(super) const X: Live = 1 << 17;

/// What a statement writes and what it reads.
pub(super) fn effects(opcode: Opcode, insn: SockFilter) -> (Live, Live) {
    let slot = 1 << (insn.k as usize % SCRATCH_SLOTS);
    match opcode {
        Opcode::LdAbs(_) | Opcode::LdInd(_) | Opcode::LdImm | Opcode::LdLen => (A, 0),
        Opcode::LdxImm | Opcode::LdxLen | Opcode::LdxMsh => (X, 0),
        Opcode::LdMem => (A, slot),
        Opcode::LdxMem => (X, slot),
        Opcode::St => (slot, A),
        Opcode::Stx => (slot, X),
        Opcode::Alu(_, Source::K) | Opcode::Neg => (A, A),
        Opcode::Alu(_, Source::X) => (A, A | X),
        Opcode::Tax => (X, A),
        Opcode::Txa => (A, X),
        Opcode::Ja | Opcode::Jump(..) | Opcode::RetK | Opcode::RetA => (0, 0),
    }
}
