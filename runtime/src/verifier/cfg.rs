//! The program as instructions, functions and the places where paths meet; and what of a register matters.

use alloc::vec::Vec;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{AluOp, Insn, Instruction, Operand, Reg};

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
    needs: Vec<Needs>,
}

/// What is still needed of the registers before an instruction. This is only what is worth keeping: a state
/// that forgets what is not needed stands for more runs, never for fewer, so nothing is unsafe if it is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Registers that may be read.
    read: u16,
    /// Registers whose number may decide something: an address, a size, a jump.
    decides: u16,
}

impl Needs {
    pub(super) const fn reads(self, reg: Reg) -> bool {
        self.read & bit(reg) != 0
    }

    pub(super) const fn decided_by(self, reg: Reg) -> bool {
        self.decides & bit(reg) != 0
    }

    fn overwrite(&mut self, reg: Reg) {
        self.read &= !bit(reg);
        self.decides &= !bit(reg);
    }

    fn read(&mut self, reg: Reg) {
        self.read |= bit(reg);
    }

    fn decide(&mut self, reg: Reg) {
        self.read |= bit(reg);
        self.decides |= bit(reg);
    }

    const fn union(self, other: Self) -> Self {
        Self { read: self.read | other.read, decides: self.decides | other.decides }
    }
}

const fn bit(reg: Reg) -> u16 {
    // A register's number is at most 10.
    1_u16.wrapping_shl(reg.number() as u32)
}

impl Graph {
    /// # Errors
    ///
    /// An instruction is none, or a jump leads where none of its function begins.
    pub(super) fn new(program: &[Insn]) -> Result<Self, VerifyError> {
        let len = program.len();
        let mut graph = Self {
            insns: filled(len, None)?,
            functions: Vec::new(),
            ways: filled(len, 0)?,
            needs: filled(len, Needs::default())?,
        };
        graph.decode(program)?;
        graph.find_functions()?;
        graph.check_jumps()?;
        graph.find_needs();
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
        let mut functions = Vec::new();
        functions.try_reserve_exact(entries).map_err(|_| OutOfMemory)?;
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

    /// Goes backward over the program until nothing is added. Loops in loops need a round for each; a program
    /// that needs more than a few rounds is made for that, and keeps everything.
    fn find_needs(&mut self) {
        const ROUNDS: usize = 16;
        for _ in 0..ROUNDS {
            let mut changed = false;
            for pc in (0..self.insns.len()).rev() {
                let Some(insn) = self.insn(pc) else { continue };
                let mut needs = Needs::default();
                if falls_through(insn) {
                    needs = self.needs(pc.saturating_add(insn.slots()));
                }
                if let Some(target) = jump_offset(insn).and_then(|off| self.target(pc, off).ok()) {
                    needs = needs.union(self.needs(target));
                }
                before(insn, self.function_of(pc) == 0, &mut needs);
                if let Some(known) = self.needs.get_mut(pc)
                    && *known != needs
                {
                    *known = needs;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
        self.needs.fill(Needs { read: u16::MAX, decides: u16::MAX });
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

    pub(super) fn insn(&self, pc: usize) -> Option<Instruction> {
        self.insns.get(pc).copied().flatten()
    }

    /// Which function has the instruction; the main program is 0.
    pub(super) fn function_of(&self, pc: usize) -> usize {
        self.functions.partition_point(|entry| *entry <= pc).saturating_sub(1)
    }

    /// Where each function begins.
    pub(super) fn entries(&self) -> &[usize] {
        &self.functions
    }

    pub(super) fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Whether paths meet at an instruction.
    pub(super) fn is_meeting(&self, pc: usize) -> bool {
        self.ways.get(pc).is_some_and(|ways| *ways > 1)
    }

    pub(super) fn needs(&self, pc: usize) -> Needs {
        self.needs.get(pc).copied().unwrap_or_default()
    }
}

fn jump_offset(insn: Instruction) -> Option<i32> {
    match insn {
        Instruction::Ja { off } | Instruction::Jump { off, .. } => Some(off.into()),
        _ => None,
    }
}

const fn falls_through(insn: Instruction) -> bool {
    !matches!(insn, Instruction::Ja { .. } | Instruction::Exit)
}

/// What is needed before an instruction, of what is needed after it.
fn before(insn: Instruction, in_main: bool, needs: &mut Needs) {
    match insn {
        Instruction::Alu { op, dst, operand, .. } => {
            let decides = needs.decided_by(dst);
            if op == AluOp::Mov {
                needs.overwrite(dst);
            } else {
                needs.read(dst);
            }
            if let Operand::Reg(src) = operand {
                if decides { needs.decide(src) } else { needs.read(src) }
            }
        }
        Instruction::Neg { dst, .. } | Instruction::Swap { dst, .. } => needs.read(dst),
        Instruction::Ja { .. } => {}
        Instruction::Jump { dst, operand, .. } => {
            needs.decide(dst);
            if let Operand::Reg(src) = operand {
                needs.decide(src);
            }
        }
        Instruction::CallHelper { .. } | Instruction::CallLocal { .. } => {
            needs.overwrite(Reg::R0);
            Reg::ARGUMENTS.into_iter().for_each(|reg| needs.decide(reg));
        }
        Instruction::Exit if in_main => needs.read(Reg::R0),
        Instruction::Exit => needs.decide(Reg::R0),
        Instruction::LoadImm64 { dst, .. } => needs.overwrite(dst),
        Instruction::Load { dst, from, .. } => {
            needs.overwrite(dst);
            needs.decide(from.base);
        }
        Instruction::StoreImm { to, .. } => needs.decide(to.base),
        Instruction::Store { to, src, .. } => {
            needs.decide(to.base);
            // What goes to the stack may come back; what goes elsewhere comes back as any number.
            if to.base == Reg::FRAME { needs.decide(src) } else { needs.read(src) }
        }
    }
}
