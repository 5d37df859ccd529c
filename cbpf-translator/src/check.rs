//! Linux's two passes over a classic program: the generic one (`bpf_check_classic`), then seccomp's
//! (`seccomp_check_filter`).

use alloc::vec::Vec;

use crate::cbpf::{AluOp, MAX_INSNS, Opcode, SCRATCH_SLOTS, SockFilter, Source, Width};
use crate::error::{CheckError, Refusal};
use crate::fallible::filled;
use crate::seccomp;

/// A classic program that Linux would accept as a seccomp filter.
///
/// Holding one proves: it has 1 to [`MAX_INSNS`] instructions, each a seccomp one; every jump goes forward
/// and lands inside, and the last instruction returns, so it ends; loads stay inside `seccomp_data`; scratch
/// slots exist and are written on every path before they are read; constant divisors are not 0 and
/// constant shifts below 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checked {
    insns: Vec<SockFilter>,
}

impl Checked {
    /// The instructions, as they were given.
    pub fn insns(&self) -> &[SockFilter] {
        &self.insns
    }

    /// The instructions with what each does.
    pub fn ops(
        &self,
    ) -> impl ExactSizeIterator<Item = (Opcode, SockFilter)> + DoubleEndedIterator + Clone + '_ {
        // A checked program decodes everywhere; returning 0 (KILL_THREAD) is what is left for a type that
        // cannot say so.
        self.insns.iter().map(|insn| (Opcode::decode(insn.code).unwrap_or(Opcode::RetK), *insn))
    }

    /// Gives the instructions back.
    pub fn into_insns(self) -> Vec<SockFilter> {
        self.insns
    }
}

/// Checks a classic program as Linux does when a filter is installed.
///
/// # Errors
///
/// The first refusal in Linux's order: length, each instruction from the front by the generic rules, the
/// last instruction, scratch slots, then seccomp's own list.
pub fn check(insns: Vec<SockFilter>) -> Result<Checked, CheckError> {
    if insns.is_empty() || insns.len() > MAX_INSNS {
        return Err(CheckError::Length(insns.len()));
    }
    for (pc, insn) in insns.iter().enumerate() {
        check_classic(pc, insn, insns.len()).map_err(|why| CheckError::Insn { pc, why })?;
    }
    if let Some((pc, last)) = insns.iter().enumerate().next_back()
        && !matches!(Opcode::decode(last.code), Some(Opcode::RetK | Opcode::RetA))
    {
        return Err(CheckError::Insn { pc, why: Refusal::LastNotReturn });
    }
    check_scratch(&insns)?;
    for (pc, insn) in insns.iter().enumerate() {
        check_seccomp(insn).map_err(|why| CheckError::Insn { pc, why })?;
    }
    Ok(Checked { insns })
}

/// The rules every classic program obeys, for one instruction (`bpf_check_classic`).
fn check_classic(pc: usize, insn: &SockFilter, len: usize) -> Result<(), Refusal> {
    let target = |distance: u32| {
        let target = (pc as u64).saturating_add(1).saturating_add(u64::from(distance));
        if target < len as u64 { Ok(()) } else { Err(Refusal::JumpPastEnd { target, len }) }
    };
    match Opcode::decode(insn.code).ok_or(Refusal::UnknownOpcode(insn.code))? {
        Opcode::Alu(AluOp::Div | AluOp::Mod, Source::K) if insn.k == 0 => Err(Refusal::DivisionByZero),
        Opcode::Alu(AluOp::Lsh | AluOp::Rsh, Source::K) if insn.k >= 32 => Err(Refusal::Shift(insn.k)),
        Opcode::LdMem | Opcode::LdxMem | Opcode::St | Opcode::Stx if insn.k >= SCRATCH_SLOTS as u32 => {
            Err(Refusal::ScratchSlot(insn.k))
        }
        Opcode::Ja => target(insn.k),
        Opcode::Jump(..) => {
            target(u32::from(insn.jt))?;
            target(u32::from(insn.jf))
        }
        _ => Ok(()),
    }
}

/// No path reads a scratch slot that it has not written (`check_load_and_stores`).
///
/// One pass forward over sets of written slots. A jump intersects its set into its targets, and what
/// follows it starts from the full set, so that only incoming jumps count there. A return leaves the set as
/// it is. Code that nothing reaches is held to the same rule.
fn check_scratch(insns: &[SockFilter]) -> Result<(), CheckError> {
    const ALL: u16 = u16::MAX;
    let mut incoming = filled(insns.len(), ALL)?;

    let mut written = 0;
    for (pc, insn) in insns.iter().enumerate() {
        written &= incoming.get(pc).copied().unwrap_or(ALL);
        let slot = 1u16.checked_shl(insn.k).unwrap_or(0);
        let mut join = |distance: u32| {
            let target = pc.saturating_add(1).saturating_add(distance as usize);
            if let Some(set) = incoming.get_mut(target) {
                *set &= written;
            }
        };
        match Opcode::decode(insn.code) {
            Some(Opcode::St | Opcode::Stx) => written |= slot,
            Some(Opcode::LdMem | Opcode::LdxMem) if written & slot == 0 => {
                return Err(CheckError::Insn { pc, why: Refusal::ScratchUnset(insn.k) });
            }
            Some(Opcode::Ja) => {
                join(insn.k);
                written = ALL;
            }
            Some(Opcode::Jump(..)) => {
                join(u32::from(insn.jt));
                join(u32::from(insn.jf));
                written = ALL;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What seccomp asks beyond the generic rules, for one instruction (`seccomp_check_filter`).
fn check_seccomp(insn: &SockFilter) -> Result<(), Refusal> {
    let opcode = Opcode::decode(insn.code).ok_or(Refusal::UnknownOpcode(insn.code))?;
    if !opcode.is_seccomp() {
        return Err(Refusal::NotForSeccomp(insn.code));
    }
    if opcode == Opcode::LdAbs(Width::Word) && (insn.k >= seccomp::DATA_SIZE || !insn.k.is_multiple_of(4)) {
        return Err(Refusal::LoadOffset(insn.k));
    }
    Ok(())
}
