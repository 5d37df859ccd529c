//! Linux-shaped eBPF back to the classic program it came from.
//!
//! Two classic programs can translate to the same bytes: a constant load and RET A against RET K, a
//! conditional jump with jf = 0 and a JA against one jump with both distances, and a length against the
//! constant 64. Lifting reads two as one wherever that can stand. So there are never more instructions
//! between a jump and its target than in the original, and what fitted eight bits there fits here.

use alloc::vec::Vec;

use crate::cbpf::{self, AluOp, Cond, Opcode, SockFilter, Source};
use crate::check::{Checked, check};
use crate::ebpf::{self, Insn};
use crate::error::{LiftError, LiftRefusal};
use crate::fallible::{filled, with_capacity};
use crate::layout::{self, MAX_TRANSLATED};
use crate::translate::{self, A, CTX, DIVISION_GUARD, FRAME, PROLOGUE, TMP, X, translate};

/// The classic program that Linux translates to `program`.
///
/// `translate(&lift(e)?)` is `e`, always: what does not translate back to the same bytes is an error. Junk
/// that Linux's conversion drops (such as `k` of RET A) is lost, so the classic program may differ from
/// the one that `program` was made of.
///
/// # Errors
///
/// `program` is not what Linux's conversion makes of any classic program that it accepts.
pub fn lift(program: &[Insn]) -> Result<Checked, LiftError> {
    if program.len() > MAX_TRANSLATED {
        return Err(LiftError::TooLong(program.len()));
    }
    let body = program.strip_prefix(&PROLOGUE).ok_or(LiftError::Prologue)?;
    let classic = resolve(body, &groups(body)?)?;
    let checked = check(classic).map_err(LiftError::Check)?;

    let again = translate(&checked)?;
    let same = again.insns().iter().zip(program).take_while(|(again, given)| again == given).count();
    if same < program.len() || same < again.insns().len() {
        return Err(LiftError::Insn { pc: same, why: LiftRefusal::Shape });
    }
    Ok(checked)
}

/// The eBPF instructions that one classic instruction became. All but the last are the lead of a
/// division by X or of a comparison with a negative constant.
#[derive(Clone, Copy)]
struct Group {
    opcode: Opcode,
    k: u32,
    /// For a conditional jump, whether it is taken when the condition does not hold.
    inverse: bool,
    /// Index in the body of the first instruction.
    first: usize,
    /// Index in the body of the last instruction, the one that jumps if any does.
    last: usize,
}

/// Splits the body into groups, each the smallest that can stand alone.
fn groups(body: &[Insn]) -> Result<Vec<Group>, LiftError> {
    let mut groups = with_capacity(body.len())?;
    let mut first = 0;
    while let Some([insn, rest @ ..]) = body.get(first..) {
        let (lead, temporary) = match *insn {
            insn if DIVISION_GUARD.first() == Some(&insn) => (DIVISION_GUARD.len(), None),
            insn if insn == translate::mov32_imm(TMP, insn.imm) => (1, Some(insn.imm)),
            _ => (0, None),
        };
        let insn = match lead.checked_sub(1) {
            None => *insn,
            Some(skip) => *rest.get(skip).ok_or_else(|| refuse(first, LiftRefusal::Cut))?,
        };
        let (opcode, k, inverse) =
            classify(insn, temporary).ok_or_else(|| refuse(first, LiftRefusal::Shape))?;
        let last = first.saturating_add(lead);
        groups.push(Group { opcode, k, inverse, first, last });
        first = last.saturating_add(1);
    }
    Ok(groups)
}

/// What one eBPF instruction is in classic BPF: opcode, k, and whether the condition is inverted.
///
/// Only fields that decide the reading are looked at; a wrong value in another is found when the whole is
/// translated again.
fn classify(insn: Insn, temporary: Option<i32>) -> Option<(Opcode, u32, bool)> {
    use ebpf::Opcode as E;
    use ebpf::{Size, Width};

    let imm = insn.imm.cast_unsigned();
    let opcode = match (E::decode(insn.code)?, insn.dst(), insn.src()) {
        (E::Jump(Width::W64, cond, source), A, src) => {
            let (source, k) = match (source, src, temporary) {
                (ebpf::Source::Imm, 0, None) => (Source::K, imm),
                (ebpf::Source::Reg, X, None) => (Source::X, imm),
                (ebpf::Source::Reg, TMP, Some(k)) => (Source::K, k.cast_unsigned()),
                _ => return None,
            };
            let (cond, inverse) = classic_cond(cond)?;
            return Some((Opcode::Jump(cond, source), k, inverse));
        }
        (E::Load(Size::Word), A, CTX) => {
            return Some((Opcode::LdAbs(cbpf::Width::Word), u32::try_from(insn.off).ok()?, false));
        }
        (E::Load(Size::Word), A, FRAME) => return Some((Opcode::LdMem, slot(insn)?, false)),
        (E::Load(Size::Word), X, FRAME) => return Some((Opcode::LdxMem, slot(insn)?, false)),
        (E::Store(Size::Word), FRAME, A) => return Some((Opcode::St, slot(insn)?, false)),
        (E::Store(Size::Word), FRAME, X) => return Some((Opcode::Stx, slot(insn)?, false)),
        (E::Alu(Width::W32, ebpf::AluOp::Mov, ebpf::Source::Imm), A, _) => Opcode::LdImm,
        (E::Alu(Width::W32, ebpf::AluOp::Mov, ebpf::Source::Imm), X, _) => Opcode::LdxImm,
        (E::Alu(Width::W64, ebpf::AluOp::Mov, ebpf::Source::Reg), A, X) => Opcode::Txa,
        (E::Alu(Width::W64, ebpf::AluOp::Mov, ebpf::Source::Reg), X, A) => Opcode::Tax,
        (E::Alu(Width::W32, op, source), A, X) => Opcode::Alu(classic_alu(op)?, classic_source(source)),
        (E::Neg(Width::W32), A, X) => Opcode::Neg,
        (E::Ja, ..) => Opcode::Ja,
        (E::Exit, ..) => Opcode::RetA,
        _ => return None,
    };
    Some((opcode, imm, false))
}

fn slot(insn: Insn) -> Option<u32> {
    u32::try_from(insn.off.checked_div(-4)?.checked_sub(1)?).ok()
}

fn classic_cond(cond: ebpf::Cond) -> Option<(Cond, bool)> {
    [Cond::Eq, Cond::Gt, Cond::Ge, Cond::Set].into_iter().find_map(|classic| {
        let inverse = translate::condition(classic) != cond;
        (!inverse || translate::inverse(classic) == cond).then_some((classic, inverse))
    })
}

fn classic_alu(op: ebpf::AluOp) -> Option<AluOp> {
    use AluOp::*;
    [Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Xor].into_iter().find(|classic| translate::alu_op(*classic) == op)
}

fn classic_source(source: ebpf::Source) -> Source {
    match source {
        ebpf::Source::Imm => Source::K,
        ebpf::Source::Reg => Source::X,
    }
}

/// Writes the classic program, from its end to its front: jumps go forward, so what lies between a jump and
/// its target is settled before the jump is.
fn resolve(body: &[Insn], groups: &[Group]) -> Result<Vec<SockFilter>, LiftError> {
    let targeted = targeted(body, groups)?;
    let is_target = |group: &Group| targeted.get(group.first).is_some_and(|hit| *hit);
    // Classic instructions from where a group begins to the end; 0 where none begins.
    let mut to_end: Vec<u16> = filled(body.len(), 0)?;
    let mut reversed: Vec<SockFilter> = with_capacity(groups.len())?;

    let mut before = groups;
    while let Some((group, rest)) = before.split_last() {
        before = rest;
        // The classic distance of the group's jump, from the instruction that is written next.
        let distance = |group: &Group, to_end: &[u16]| {
            let target = target(body, group.last);
            target
                .and_then(|target| to_end.get(usize::try_from(target).ok()?))
                .filter(|rank| **rank != 0)
                .and_then(|rank| reversed.len().checked_sub(usize::from(*rank)))
                .ok_or_else(|| {
                    let target = target.unwrap_or(0).saturating_add(layout::PROLOGUE as i64);
                    refuse(group.last, LiftRefusal::Target(target))
                })
        };
        let mut first = group.first;
        let insn = match (rest.split_last(), group.opcode) {
            (Some((load, rest)), Opcode::RetA) if load.opcode == Opcode::LdImm && !is_target(group) => {
                (first, before) = (load.first, rest);
                sock_filter(Opcode::RetK, 0, 0, load.k)
            }
            (joined, Opcode::Ja) => {
                let jf = distance(group, &to_end)?;
                let both = match joined {
                    Some((jump, rest)) if !is_target(group) => {
                        let jt = distance(jump, &to_end);
                        both(jump, jt.ok(), jf).map(|insn| (insn, jump.first, rest))
                    }
                    _ => None,
                };
                match both {
                    None => sock_filter(Opcode::Ja, 0, 0, jf as u32),
                    Some((insn, jump, rest)) => {
                        (first, before) = (jump, rest);
                        insn
                    }
                }
            }
            (_, Opcode::Jump(..)) => {
                let distance = u8::try_from(distance(group, &to_end)?)
                    .map_err(|_| refuse(group.last, LiftRefusal::Distance))?;
                let (jt, jf) = if group.inverse { (0, distance) } else { (distance, 0) };
                sock_filter(group.opcode, jt, jf, group.k)
            }
            (_, opcode) => sock_filter(opcode, 0, 0, group.k),
        };
        reversed.push(insn);
        if let Some(rank) = to_end.get_mut(first) {
            *rank = reversed.len() as u16;
        }
    }
    reversed.reverse();
    Ok(reversed)
}

/// A conditional jump and the JA behind it as one classic instruction, if Linux would translate that one to
/// these two.
fn both(jump: &Group, jt: Option<usize>, jf: usize) -> Option<SockFilter> {
    let Opcode::Jump(cond, _) = jump.opcode else { return None };
    let (jt, jf) = (u8::try_from(jt?).ok()?, u8::try_from(jf).ok()?);
    let insn = sock_filter(jump.opcode, jt, jf, jump.k);
    (!jump.inverse && layout::JumpForm::of(cond, insn) == layout::JumpForm::Both).then_some(insn)
}

fn sock_filter(opcode: Opcode, jt: u8, jf: u8, k: u32) -> SockFilter {
    // Every opcode has a row; an unknown code would be refused by the check that follows.
    SockFilter::new(opcode.row().map_or(u16::MAX, |row| row.code), jt, jf, k)
}

/// Which body indices some group jumps to.
fn targeted(body: &[Insn], groups: &[Group]) -> Result<Vec<bool>, LiftError> {
    let mut targeted = filled(body.len(), false)?;
    for group in groups.iter().filter(|group| matches!(group.opcode, Opcode::Ja | Opcode::Jump(..))) {
        let target = target(body, group.last).and_then(|target| usize::try_from(target).ok());
        if let Some(hit) = target.and_then(|target| targeted.get_mut(target)) {
            *hit = true;
        }
    }
    Ok(targeted)
}

/// The body index that the instruction at `index` jumps to. It may lie outside.
fn target(body: &[Insn], index: usize) -> Option<i64> {
    let off = i64::from(body.get(index)?.off);
    Some((index as i64).saturating_add(1).saturating_add(off))
}

fn refuse(index: usize, why: LiftRefusal) -> LiftError {
    LiftError::Insn { pc: index.saturating_add(layout::PROLOGUE), why }
}
