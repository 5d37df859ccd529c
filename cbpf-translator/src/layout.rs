//! Where each classic instruction begins in the eBPF that Linux makes of it.

use alloc::vec::Vec;

use crate::cbpf::{AluOp, Cond, MAX_INSNS, Opcode, SockFilter, Source};
use crate::error::OutOfMemory;
use crate::fallible::with_capacity;

/// Instructions of the prologue: A = 0, X = 0, context = r1.
pub(crate) const PROLOGUE: usize = 3;

/// The most eBPF instructions one classic instruction becomes (a division by X).
pub(crate) const MAX_GROUP: usize = 5;

/// The most eBPF instructions a checked program becomes.
pub(crate) const MAX_TRANSLATED: usize = PROLOGUE + MAX_INSNS * MAX_GROUP;

// An eBPF jump has a 16-bit offset; with this no jump can need more.
const _: () = assert!(MAX_TRANSLATED <= i16::MAX as usize);

/// How Linux translates a conditional jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JumpForm {
    /// jf is 0: one jump on the condition, to jt.
    True,
    /// jt is 0 and the condition has an inverse: one jump on the inverse, to jf.
    Inverse,
    /// A jump on the condition to jt, then a jump to jf.
    Both,
}

impl JumpForm {
    pub(crate) fn of(cond: Cond, insn: SockFilter) -> Self {
        match (insn.jt, insn.jf, cond) {
            (_, 0, _) => Self::True,
            (0, _, Cond::Eq | Cond::Gt | Cond::Ge) => Self::Inverse,
            _ => Self::Both,
        }
    }
}

/// Whether a comparison goes through the temporary register, because eBPF would sign-extend the constant.
pub(crate) fn needs_temporary(source: Source, k: u32) -> bool {
    source == Source::K && k.cast_signed() < 0
}

/// The number of eBPF instructions that `insn` becomes.
pub(crate) fn group_len(opcode: Opcode, insn: SockFilter) -> usize {
    match opcode {
        Opcode::Alu(AluOp::Div, Source::X) => MAX_GROUP,
        Opcode::RetK => 2,
        Opcode::Jump(cond, source) => {
            let both = JumpForm::of(cond, insn) == JumpForm::Both;
            match (needs_temporary(source, insn.k), both) {
                (false, false) => 1,
                (true, false) | (false, true) => 2,
                (true, true) => 3,
            }
        }
        _ => 1,
    }
}

/// Classic pc to eBPF pc. It has one entry more than there are classic instructions: the last is the
/// length of the translation.
pub(crate) fn pc_map(
    ops: impl ExactSizeIterator<Item = (Opcode, SockFilter)>,
) -> Result<Vec<u16>, OutOfMemory> {
    let mut map = with_capacity(ops.len().saturating_add(1))?;
    let mut pc = PROLOGUE as u16;
    map.push(pc);
    for (opcode, insn) in ops {
        pc = pc.saturating_add(group_len(opcode, insn) as u16);
        map.push(pc);
    }
    Ok(map)
}
