//! One run of a classic program, instruction by instruction.

use cbpf_translator::cbpf::{AluOp, Cond, Opcode, SCRATCH_SLOTS, Source};
use cbpf_translator::{Checked, seccomp};
use seccomp_runtime::SeccompData;

/// An instruction that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its index.
    pub pc: usize,
    /// What it did.
    pub effect: Effect,
}

/// What an instruction did, with the values it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A got this.
    A(u32),
    /// X got this.
    X(u32),
    /// The slot of this index got this.
    Slot(u32, u32),
    /// A got the result of `a op operand`.
    Alu {
        /// The operation.
        op: AluOp,
        /// A before.
        a: u32,
        /// The other operand.
        operand: u32,
        /// The result; none of a division by 0, with which the program ends.
        result: Option<u32>,
    },
    /// It went to the instruction `to`.
    Ja {
        /// Its index.
        to: usize,
    },
    /// It compared `a` with `operand`, and went to the instruction `to`.
    Jump {
        /// The comparison.
        cond: Cond,
        /// What A was.
        a: u32,
        /// What it was compared with.
        operand: u32,
        /// Whether it held.
        holds: bool,
        /// The index of the next instruction.
        to: usize,
    },
    /// The program returned this.
    Return(u32),
}

/// A run from the first instruction to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What ran, in order.
    pub steps: Vec<Step>,
    /// What the program returned.
    pub value: u32,
}

/// Runs `program` on a call.
pub fn trace(program: &Checked, data: &SeccompData) -> Trace {
    let ops: Vec<_> = program.ops().collect();
    let (mut a, mut x, mut m) = (0, 0, [0; SCRATCH_SLOTS]);
    let (mut steps, mut pc) = (Vec::new(), 0);
    // A checked program returns before its end.
    while let Some((opcode, insn)) = ops.get(pc).copied() {
        let (here, k) = (pc, insn.k);
        let operand = |source| if source == Source::K { k } else { x };
        let slot = k as usize % SCRATCH_SLOTS;
        pc += 1;
        let effect = match opcode {
            Opcode::LdAbs(_) | Opcode::LdInd(_) => Effect::A(data.word(k).unwrap_or(0)),
            Opcode::LdImm => Effect::A(k),
            Opcode::LdxImm => Effect::X(k),
            Opcode::LdLen => Effect::A(seccomp::DATA_SIZE),
            Opcode::LdxLen | Opcode::LdxMsh => Effect::X(seccomp::DATA_SIZE),
            Opcode::LdMem => Effect::A(m[slot]),
            Opcode::LdxMem => Effect::X(m[slot]),
            Opcode::St => Effect::Slot(k, a),
            Opcode::Stx => Effect::Slot(k, x),
            Opcode::Alu(op, source) => {
                let operand = operand(source);
                Effect::Alu { op, a, operand, result: crate::symbolic::alu(op, a, operand) }
            }
            Opcode::Neg => Effect::A(a.wrapping_neg()),
            Opcode::Tax => Effect::X(a),
            Opcode::Txa => Effect::A(x),
            Opcode::Ja => Effect::Ja { to: pc + k as usize },
            Opcode::Jump(cond, source) => {
                let operand = operand(source);
                let holds = cond.holds(a, operand);
                let distance = if holds { insn.jt } else { insn.jf };
                Effect::Jump { cond, a, operand, holds, to: pc + usize::from(distance) }
            }
            Opcode::RetK => Effect::Return(k),
            Opcode::RetA => Effect::Return(a),
        };
        steps.push(Step { pc: here, effect });
        match effect {
            Effect::A(value) | Effect::Alu { result: Some(value), .. } => a = value,
            Effect::X(value) => x = value,
            Effect::Slot(_, value) => m[slot] = value,
            Effect::Ja { to } | Effect::Jump { to, .. } => pc = to,
            Effect::Alu { result: None, .. } => return Trace { steps, value: seccomp::RET_KILL_THREAD },
            Effect::Return(value) => return Trace { steps, value },
        }
    }
    Trace { steps, value: seccomp::RET_KILL_PROCESS }
}
