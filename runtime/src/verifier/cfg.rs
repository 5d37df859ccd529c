//! The program as instructions, functions and the places where paths meet.

use alloc::vec::Vec;

use cbpf_translator::ebpf::{Insn, Instruction};
use cbpf_translator::fallible::with_capacity;

use super::error::{VerifyError, Violation};
use super::filled;

/// A decoded program whose jumps stay in their functions.
pub(super) struct Graph {
    /// `None` is the second half of a 64-bit load.
    insns: Vec<Option<Instruction>>,
    /// The first instruction of each function, in order; the first is 0.
    functions: Vec<usize>,
    /// How many ways lead to each instruction, as far as 2.
    ways: Vec<u8>,
}

impl Graph {
    /// # Errors
    ///
    /// An instruction is none, or a jump leads where none of its function begins.
    pub(super) fn new(program: &[Insn]) -> Result<Self, VerifyError> {
        let len = program.len();
        let mut graph = Self { insns: filled(len, None)?, functions: Vec::new(), ways: filled(len, 0)? };
        graph.decode(program)?;
        graph.find_functions()?;
        graph.check_jumps()?;
        Ok(graph)
    }

    fn decode(&mut self, program: &[Insn]) -> Result<(), VerifyError> {
        let mut pc = 0_usize;
        while let Some(insn) = program.get(pc) {
            let next = program.get(pc.saturating_add(1)).copied();
            let decoded = Instruction::decode(*insn, next)
                .map_err(|error| VerifyError::Insn { pc, why: Violation::Decode(error) })?;
            if let Some(slot) = self.insns.get_mut(pc) {
                *slot = Some(decoded);
            }
            pc = pc.saturating_add(decoded.slots());
        }
        Ok(())
    }

    fn find_functions(&mut self) -> Result<(), VerifyError> {
        let calls = self.insns.iter().filter(|insn| matches!(insn, Some(Instruction::CallLocal { .. })));
        let entries = calls.count().saturating_add(1);
        let mut functions = with_capacity(entries)?;
        functions.push(0);
        for (pc, insn) in self.iter() {
            if let Instruction::CallLocal { off } = insn {
                functions.push(self.target(pc, off)?);
            }
        }
        functions.sort_unstable();
        functions.dedup();
        self.functions = functions;
        Ok(())
    }

    fn check_jumps(&mut self) -> Result<(), VerifyError> {
        let mut ways = core::mem::take(&mut self.ways);
        let mut lead = |to: usize| {
            if let Some(ways) = ways.get_mut(to) {
                *ways = ways.saturating_add(1);
            }
        };
        for entry in &self.functions {
            lead(*entry);
        }
        for (pc, insn) in self.iter() {
            if let Some(off) = jump_offset(insn) {
                let target = self.target(pc, off)?;
                if self.function_of(target) != self.function_of(pc) {
                    let why = Violation::Target(target as i64);
                    return Err(VerifyError::Insn { pc, why });
                }
                lead(target);
            }
            if falls_through(insn) {
                lead(pc.saturating_add(insn.slots()));
            }
        }
        self.ways = ways;
        Ok(())
    }

    /// Every instruction, with its index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Instruction)> {
        self.insns.iter().enumerate().filter_map(|(pc, insn)| Some((pc, (*insn)?)))
    }

    /// The index that a jump at `pc` by `off` leads to.
    fn target(&self, pc: usize, off: i32) -> Result<usize, VerifyError> {
        let target = (pc as i64).saturating_add(1).saturating_add(off.into());
        let found = usize::try_from(target).ok().filter(|target| self.insn(*target).is_some());
        found.ok_or(VerifyError::Insn { pc, why: Violation::Target(target) })
    }

    /// The index that a checked jump leads to.
    pub(super) fn jump(&self, pc: usize, off: i32) -> usize {
        self.target(pc, off).unwrap_or(usize::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.insns.len()
    }

    pub(super) fn insn(&self, pc: usize) -> Option<Instruction> {
        self.insns.get(pc).copied().flatten()
    }

    /// Which function has the instruction; the main program is 0.
    pub(super) fn function_of(&self, pc: usize) -> usize {
        self.functions.partition_point(|entry| *entry <= pc).saturating_sub(1)
    }

    /// The first instruction of each function; the main program's is 0.
    pub(super) fn functions(&self) -> &[usize] {
        &self.functions
    }

    /// Whether paths meet at an instruction.
    pub(super) fn is_meeting(&self, pc: usize) -> bool {
        self.ways.get(pc).is_some_and(|ways| *ways > 1)
    }
}

/// How far a jump goes.
pub(super) fn jump_offset(insn: Instruction) -> Option<i32> {
    match insn {
        Instruction::Ja { off } | Instruction::Jump { off, .. } => Some(off.into()),
        _ => None,
    }
}

/// Whether the next instruction may follow.
pub(super) const fn falls_through(insn: Instruction) -> bool {
    !matches!(insn, Instruction::Ja { .. } | Instruction::Exit)
}
