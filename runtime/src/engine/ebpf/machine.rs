//! The registers of a program that is followed step by step, and the calls that it is in.

use cbpf_translator::ebpf::{Address, Operand, Reg};

use super::program::Program;
use crate::verifier::MAX_CALL_DEPTH;

/// What a register holds.
pub(crate) trait Word: Copy + Default {
    /// An immediate, sign-extended.
    fn constant(imm: i32) -> Self;

    /// It, and so many bytes added.
    fn moved(self, by: i64) -> Self;
}

/// The registers, and where the functions that are being called go on.
pub(crate) struct Machine<W> {
    registers: [W; 11],
    callers: [Caller<W>; MAX_CALL_DEPTH],
    depth: usize,
    function: usize,
}

/// A function that waits for another to return.
#[derive(Clone, Copy, Default)]
struct Caller<W> {
    function: usize,
    return_to: usize,
    saved: [W; 4],
    frame: W,
}

impl<W: Word> Machine<W> {
    /// At the start of a program. `stack_end` is behind the last byte of its stack.
    pub(crate) fn new(context: W, stack_end: W) -> Self {
        let callers = [Caller::default(); MAX_CALL_DEPTH];
        let mut machine = Self { registers: [W::default(); 11], callers, depth: 0, function: 0 };
        machine.set(Reg::R1, context);
        machine.set(Reg::FRAME, stack_end);
        machine
    }

    pub(crate) fn get(&self, reg: Reg) -> W {
        self.registers.get(reg.index()).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, reg: Reg, value: W) {
        if let Some(register) = self.registers.get_mut(reg.index()) {
            *register = value;
        }
    }

    pub(crate) fn operand(&self, operand: Operand) -> W {
        match operand {
            Operand::Imm(imm) => W::constant(imm),
            Operand::Reg(reg) => self.get(reg),
        }
    }

    pub(crate) fn address(&self, address: Address) -> W {
        self.get(address.base).moved(address.off.into())
    }

    /// Where the function that is called begins. `None` if calls are too deep, which no verified program's are.
    pub(crate) fn call(&mut self, program: &Program, callee: usize, return_to: usize) -> Option<usize> {
        let caller = program.functions().get(self.function)?;
        let entry = program.functions().get(callee)?.entry;
        let frame = self.get(Reg::FRAME);
        // The main program waits in none.
        if self.depth.saturating_add(1) >= MAX_CALL_DEPTH {
            return None;
        }
        *self.callers.get_mut(self.depth)? =
            Caller { function: self.function, return_to, saved: Reg::SAVED.map(|reg| self.get(reg)), frame };
        self.depth = self.depth.saturating_add(1);
        self.function = callee;
        self.set(Reg::FRAME, frame.moved(i64::from(caller.stack).wrapping_neg()));
        Some(entry)
    }

    /// Where the caller goes on, if there is one.
    pub(crate) fn leave(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        let Caller { function, return_to, saved, frame } = *self.callers.get(self.depth)?;
        self.function = function;
        Reg::SAVED.into_iter().zip(saved).for_each(|(reg, value)| self.set(reg, value));
        self.set(Reg::FRAME, frame);
        Some(return_to)
    }
}
