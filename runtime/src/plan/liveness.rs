//! Which registers and scratch slots a program may still read, at each of its instructions.

use alloc::vec::Vec;
use core::ops::BitOr;

use cbpf_translator::cbpf::{Opcode, SCRATCH_SLOTS, Source};
use cbpf_translator::{Checked, OutOfMemory, seccomp};

use super::filled;

/// A set of places that hold values: M\[0\] to M\[15\], A, X, and the words of `seccomp_data`, which are only read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Places(u64);

impl Places {
    pub(super) const NONE: Self = Self(0);
    pub(super) const A: Self = Self(1 << SCRATCH_SLOTS);
    pub(super) const X: Self = Self(2 << SCRATCH_SLOTS);

    /// Each scratch slot, then A, then X.
    pub(super) const EACH: [Self; SCRATCH_SLOTS + 2] = {
        let mut each = [Self::NONE; SCRATCH_SLOTS + 2];
        let mut i = 0;
        while i < each.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            let place = &mut each[i];
            *place = Self(1 << i);
            i += 1;
        }
        each
    };

    pub(super) const fn slot(k: u32) -> Self {
        Self(if k < SCRATCH_SLOTS as u32 { 1 << k } else { 0 })
    }

    /// The word of `seccomp_data` at an offset.
    pub(super) const fn word(offset: u32) -> Self {
        Self(if offset < seccomp::DATA_SIZE { (4 << SCRATCH_SLOTS) << (offset / 4) } else { 0 })
    }

    pub(super) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn source(source: Source) -> Self {
        match source {
            Source::K => Self::NONE,
            Source::X => Self::X,
        }
    }
}

impl BitOr for Places {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The places that an instruction reads, and the one that it writes.
pub(super) fn effect(opcode: Opcode, k: u32) -> (Places, Places) {
    match opcode {
        Opcode::LdAbs(_) => (Places::word(k), Places::A),
        Opcode::LdImm | Opcode::LdLen => (Places::NONE, Places::A),
        Opcode::LdInd(_) => (Places::X, Places::A),
        Opcode::LdxImm | Opcode::LdxLen | Opcode::LdxMsh => (Places::NONE, Places::X),
        Opcode::LdMem => (Places::slot(k), Places::A),
        Opcode::LdxMem => (Places::slot(k), Places::X),
        Opcode::St => (Places::A, Places::slot(k)),
        Opcode::Stx => (Places::X, Places::slot(k)),
        Opcode::Alu(_, source) => (Places::A | Places::source(source), Places::A),
        Opcode::Neg => (Places::A, Places::A),
        Opcode::Tax => (Places::A, Places::X),
        Opcode::Txa => (Places::X, Places::A),
        Opcode::Jump(_, source) => (Places::A | Places::source(source), Places::NONE),
        Opcode::RetA => (Places::A, Places::NONE),
        Opcode::Ja | Opcode::RetK => (Places::NONE, Places::NONE),
    }
}

/// The live places at each instruction.
pub(super) struct Liveness(Vec<Places>);

impl Liveness {
    /// One pass from the end: all jumps go forward.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(super) fn of(program: &Checked) -> Result<Self, OutOfMemory> {
        let mut live = Self(filled(program.insns().len(), Places::NONE)?);
        for (pc, (opcode, insn)) in program.ops().enumerate().rev() {
            let next = pc.saturating_add(1);
            let after = match opcode {
                Opcode::RetK | Opcode::RetA => Places::NONE,
                Opcode::Ja => live.at(next.saturating_add(insn.k as usize)),
                Opcode::Jump(..) => {
                    live.at(next.saturating_add(insn.jt.into()))
                        | live.at(next.saturating_add(insn.jf.into()))
                }
                _ => live.at(next),
            };
            let (reads, writes) = effect(opcode, insn.k);
            if let Some(slot) = live.0.get_mut(pc) {
                *slot = after.without(writes) | reads;
            }
        }
        Ok(live)
    }

    pub(super) fn at(&self, pc: usize) -> Places {
        self.0.get(pc).copied().unwrap_or_default()
    }
}
