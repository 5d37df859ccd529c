//! A verified program, as the engines read it.

use alloc::vec::Vec;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{Insn, Instruction};
use cbpf_translator::fallible::with_capacity;

use crate::verifier::Verified;

/// Instructions and the functions that they belong to.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// By the index that jumps count in. `None` is what no run gets to, and the second half of a 64-bit load.
    insns: Vec<Option<Instruction>>,
    /// In the order of their entries; the first is the main program.
    functions: Vec<Function>,
}

/// A function: it ends where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// The index of its first instruction.
    pub(crate) entry: usize,
    /// How far below r10 it may touch, in bytes; a multiple of 8.
    pub(crate) stack: u16,
}

impl Program {
    /// A verified program.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub(crate) fn new(verified: &Verified) -> Result<Self, OutOfMemory> {
        let mut functions = with_capacity(verified.functions().len())?;
        functions.extend(verified.functions().iter().map(|function| Function {
            entry: function.entry,
            // At most `MAX_STACK`.
            stack: function.stack.next_multiple_of(8) as u16,
        }));
        Self::from_parts(verified.insns(), |pc| verified.is_reached(pc), functions)
    }

    /// The program of these instructions, of which runs get to those that `is_reached` says. `functions` are all
    /// that are called, in the order of their entries, behind the main program.
    pub(crate) fn from_parts(
        insns: &[Insn],
        is_reached: impl Fn(usize) -> bool,
        functions: Vec<Function>,
    ) -> Result<Self, OutOfMemory> {
        let mut decoded = with_capacity(insns.len())?;
        let mut second_half = false;
        for (pc, insn) in insns.iter().enumerate() {
            let next = insns.get(pc.saturating_add(1)).copied();
            // What runs get to is an instruction.
            let insn = Instruction::decode(*insn, next).ok().filter(|_| !second_half && is_reached(pc));
            second_half = insn.is_some_and(|insn| insn.slots() > 1);
            decoded.push(insn);
        }
        Ok(Self { insns: decoded, functions })
    }

    /// How many instructions it has, those that no run gets to included.
    pub(crate) const fn len(&self) -> usize {
        self.insns.len()
    }

    pub(crate) fn insn(&self, pc: usize) -> Option<Instruction> {
        self.insns.get(pc).copied().flatten()
    }

    /// Whether it calls the helper of this number.
    pub(crate) fn calls(&self, id: i32) -> bool {
        self.insns.contains(&Some(Instruction::CallHelper { id }))
    }

    pub(crate) fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The instructions of a function.
    pub(crate) fn body(&self, function: usize) -> core::ops::Range<usize> {
        let entry = |function| self.functions.get(function).map(|function: &Function| function.entry);
        let end = self.insns.len();
        entry(function).unwrap_or(end)..entry(function.saturating_add(1)).unwrap_or(end)
    }

    /// The function that a call at `pc` by `off` calls.
    pub(crate) fn callee(&self, pc: usize, off: i32) -> Option<usize> {
        let entry = target(pc, off)?;
        self.functions.binary_search_by_key(&entry, |function| function.entry).ok()
    }
}

/// The index that a jump at `pc` by `off` leads to.
pub(crate) fn target(pc: usize, off: i32) -> Option<usize> {
    pc.checked_add(1)?.checked_add_signed(off as isize)
}
