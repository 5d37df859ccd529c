//! The classic interpreter: the reference that the other engines are compared with.

use cbpf_translator::cbpf::{AluOp, Opcode, SCRATCH_SLOTS, Source};
use cbpf_translator::{Checked, seccomp};

use crate::data::SeccompData;
use crate::error::Fault;

/// Runs `program` on `data`. Allocates nothing; ends after at most as many steps as the program has
/// instructions, because all jumps go forward.
pub(super) fn run(program: &Checked, data: &SeccompData) -> Result<u32, Fault> {
    let (mut a, mut x) = (0u32, 0u32);
    let mut m = [0u32; SCRATCH_SLOTS];
    let mut insns = program.insns().iter();

    while let Some(insn) = insns.next() {
        let k = insn.k;
        let mut jump = |distance: usize| {
            if let Some(skip) = distance.checked_sub(1) {
                insns.nth(skip);
            }
        };
        match Opcode::decode(insn.code).ok_or(Fault)? {
            Opcode::LdAbs(_) => a = data.word(k).ok_or(Fault)?,
            Opcode::LdImm => a = k,
            Opcode::LdxImm => x = k,
            Opcode::LdLen => a = seccomp::DATA_SIZE,
            Opcode::LdxLen => x = seccomp::DATA_SIZE,
            Opcode::LdMem => a = *m.get(k as usize).ok_or(Fault)?,
            Opcode::LdxMem => x = *m.get(k as usize).ok_or(Fault)?,
            Opcode::St => *m.get_mut(k as usize).ok_or(Fault)? = a,
            Opcode::Stx => *m.get_mut(k as usize).ok_or(Fault)? = x,
            Opcode::Alu(op, source) => {
                let operand = match source {
                    Source::K => k,
                    Source::X => x,
                };
                match alu(op, a, operand) {
                    Some(result) => a = result,
                    // A zero divisor ends the program, as in Linux's conversion.
                    None => return Ok(seccomp::RET_KILL_THREAD),
                }
            }
            Opcode::Neg => a = a.wrapping_neg(),
            Opcode::Ja => jump(k as usize),
            Opcode::Jump(cond, source) => {
                let operand = match source {
                    Source::K => k,
                    Source::X => x,
                };
                jump(usize::from(if cond.holds(a, operand) { insn.jt } else { insn.jf }));
            }
            Opcode::RetK => return Ok(k),
            Opcode::RetA => return Ok(a),
            Opcode::Tax => x = a,
            Opcode::Txa => a = x,
            // Not for seccomp: no checked program has them.
            Opcode::LdInd(_) | Opcode::LdxMsh => return Err(Fault),
        }
    }
    Err(Fault)
}

/// The result, or `None` for a division by zero. Shift counts are taken modulo 32, as x86 does.
pub(crate) fn alu(op: AluOp, a: u32, operand: u32) -> Option<u32> {
    Some(match op {
        AluOp::Add => a.wrapping_add(operand),
        AluOp::Sub => a.wrapping_sub(operand),
        AluOp::Mul => a.wrapping_mul(operand),
        AluOp::Div => a.checked_div(operand)?,
        AluOp::Mod => a.checked_rem(operand)?,
        AluOp::Or => a | operand,
        AluOp::And => a & operand,
        AluOp::Xor => a ^ operand,
        AluOp::Lsh => a.wrapping_shl(operand),
        AluOp::Rsh => a.wrapping_shr(operand),
    })
}
