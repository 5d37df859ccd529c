//! What of a state is still needed, so that the rest can be forgotten.
//!
//! This is only about what is worth keeping. A state that forgets stands for more runs, never for fewer, so
//! nothing is unsafe if an answer here is wrong; a program may be refused then. It errs towards keeping.
//!
//! Two questions, of each register and of each cell of the function's own stack: may it be read, and may its
//! number decide something (an address, a size, a jump)? A number that is read but decides nothing, such as a
//! sum that is returned or a key that a helper gets, may be any number. The answers come backward through the
//! program; before that, which registers may point to a stack comes forward.

use alloc::vec::Vec;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{Address, AluOp, Instruction, Operand, Reg, Size, Width};

use super::cfg::{Graph, falls_through, jump_offset};
use super::environment::Environment;
use super::prototype::Arg;
use super::{MAX_STACK, filled, require};

/// Loops in loops need a round for each. A program that needs more than these is made for that, and keeps
/// everything.
const ROUNDS: usize = 16;

/// A bit for each cell of a stack, the one at its end first.
type Cells = u128;

const _: () = assert!(MAX_STACK / 4 == Cells::BITS as usize);

/// What is needed before an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Registers that may be read.
    read: u16,
    /// Registers whose number may decide something.
    decides: u16,
    cells_read: Cells,
    cells_decide: Cells,
}

impl Needs {
    const ALL: Self =
        Self { read: u16::MAX, decides: u16::MAX, cells_read: Cells::MAX, cells_decide: Cells::MAX };

    pub(super) const fn reads(&self, reg: Reg) -> bool {
        self.read & bit(reg) != 0
    }

    pub(super) const fn decided_by(&self, reg: Reg) -> bool {
        self.decides & bit(reg) != 0
    }

    pub(super) const fn reads_cell(&self, index: usize) -> bool {
        self.cells_read & cell(index) != 0
    }

    pub(super) const fn decided_by_cell(&self, index: usize) -> bool {
        self.cells_decide & cell(index) != 0
    }

    fn overwrite(&mut self, reg: Reg) {
        self.read &= !bit(reg);
        self.decides &= !bit(reg);
    }

    fn need(&mut self, reg: Reg, decides: bool) {
        self.read |= bit(reg);
        if decides {
            self.decides |= bit(reg);
        }
    }

    fn need_cells(&mut self, cells: Cells, decides: bool) {
        self.cells_read |= cells;
        if decides {
            self.cells_decide |= cells;
        }
    }

    const fn union(self, other: Self) -> Self {
        Self {
            read: self.read | other.read,
            decides: self.decides | other.decides,
            cells_read: self.cells_read | other.cells_read,
            cells_decide: self.cells_decide | other.cells_decide,
        }
    }
}

const fn bit(reg: Reg) -> u16 {
    // A register's number is at most 10.
    1_u16.wrapping_shl(reg.number() as u32)
}

const fn cell(index: usize) -> Cells {
    if index < Cells::BITS as usize { (1 as Cells).wrapping_shl(index as u32) } else { 0 }
}

/// The cells of an access by r10; none where it is not of whole cells.
fn whole_cells(off: i16, size: Size) -> Cells {
    let from_end = usize::from(off.unsigned_abs());
    match size {
        Size::Word | Size::Double if off < 0 && off % 4 == 0 => {
            let first = (from_end / 4).saturating_sub(1);
            let second = if size == Size::Double { cell(first.wrapping_sub(1)) } else { 0 };
            cell(first) | second
        }
        _ => 0,
    }
}

/// The cells that an access by r10 touches.
fn touched_cells(off: i16, size: Size) -> Cells {
    match whole_cells(off, size) {
        0 if off < 0 => {
            let last = i32::from(off).saturating_add(i32::from(require::bytes(size)));
            let index = |byte: i32| usize::try_from(byte.saturating_add(1).saturating_neg() / 4).unwrap_or(0);
            cell(index(off.into())) | cell(index(last.saturating_sub(1)))
        }
        cells => cells,
    }
}

/// What is needed before each instruction of a program.
pub(super) fn find(graph: &Graph, environment: &Environment<'_>) -> Result<Vec<Needs>, OutOfMemory> {
    let stacks = may_point_to_stack(graph)?;
    let mut all: Vec<Needs> = filled(graph.len(), Needs::default())?;
    let at = |all: &[Needs], pc: usize| all.get(pc).copied().unwrap_or_default();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for pc in (0..graph.len()).rev() {
            let Some(insn) = graph.insn(pc) else { continue };
            let mut needs = Needs::default();
            if falls_through(insn) {
                needs = at(&all, pc.saturating_add(insn.slots()));
            }
            if let Some(off) = jump_offset(insn) {
                needs = needs.union(at(&all, graph.jump(pc, off)));
            }
            let stacks = stacks.get(pc).copied().unwrap_or(u16::MAX);
            before(insn, graph.function_of(pc) == 0, stacks, environment, &mut needs);
            if let Some(known) = all.get_mut(pc)
                && *known != needs
            {
                *known = needs;
                changed = true;
            }
        }
        if !changed {
            return Ok(all);
        }
    }
    all.fill(Needs::ALL);
    Ok(all)
}

/// What is needed before an instruction, of what is needed after it. `stacks` are the registers that may point
/// to a stack.
fn before(insn: Instruction, in_main: bool, stacks: u16, environment: &Environment<'_>, needs: &mut Needs) {
    let may_be_stack = |reg: Reg| reg != Reg::FRAME && stacks & bit(reg) != 0;
    let arguments = || Reg::ARGUMENTS.into_iter().any(may_be_stack);
    match insn {
        Instruction::Alu { op, dst, operand, .. } => {
            let decides = needs.decided_by(dst);
            if op == AluOp::Mov {
                needs.overwrite(dst);
            } else {
                needs.need(dst, false);
            }
            if let Operand::Reg(src) = operand {
                needs.need(src, decides);
            }
        }
        Instruction::Neg { dst, .. } | Instruction::Swap { dst, .. } => needs.need(dst, false),
        Instruction::Ja { .. } => {}
        Instruction::Jump { dst, operand, .. } => {
            needs.need(dst, true);
            if let Operand::Reg(src) = operand {
                needs.need(src, true);
            }
        }
        Instruction::CallHelper { id } => {
            // A helper reads bytes, whatever they are.
            if arguments() {
                needs.need_cells(Cells::MAX, false);
            }
            needs.overwrite(Reg::R0);
            let helper = environment.helpers.iter().find(|helper| helper.id == id);
            let args = helper.map_or([Arg::None; 5], |helper| helper.prototype.args());
            for (reg, arg) in Reg::ARGUMENTS.into_iter().zip(args) {
                needs.overwrite(reg);
                if arg != Arg::None {
                    needs.need(reg, arg != Arg::Number);
                }
            }
        }
        Instruction::CallLocal { .. } => {
            if arguments() {
                needs.need_cells(Cells::MAX, true);
            }
            needs.overwrite(Reg::R0);
            Reg::ARGUMENTS.into_iter().for_each(|reg| needs.need(reg, true));
        }
        Instruction::Exit => needs.need(Reg::R0, !in_main),
        Instruction::LoadImm64 { dst, .. } => needs.overwrite(dst),
        Instruction::Load { size, dst, from } => {
            let decides = needs.decided_by(dst);
            needs.overwrite(dst);
            needs.need(from.base, true);
            if from.base == Reg::FRAME {
                needs.need_cells(touched_cells(from.off, size), decides);
            } else if may_be_stack(from.base) {
                needs.need_cells(Cells::MAX, decides);
            }
        }
        Instruction::StoreImm { size, to, .. } => store(to, size, None, may_be_stack(to.base), needs),
        Instruction::Store { size, to, src } => store(to, size, Some(src), may_be_stack(to.base), needs),
    }
}

fn store(to: Address, size: Size, src: Option<Reg>, may_be_stack: bool, needs: &mut Needs) {
    // What goes elsewhere than to a stack comes back as any number.
    let decides = if to.base == Reg::FRAME {
        let decides = needs.cells_decide & touched_cells(to.off, size) != 0;
        let whole = whole_cells(to.off, size);
        needs.cells_read &= !whole;
        needs.cells_decide &= !whole;
        decides
    } else {
        may_be_stack && needs.cells_decide != 0
    };
    needs.need(to.base, true);
    if let Some(src) = src {
        needs.need(src, decides);
    }
}

/// Before each instruction, the registers that may point to a stack.
fn may_point_to_stack(graph: &Graph) -> Result<Vec<u16>, OutOfMemory> {
    let mut all: Vec<u16> = filled(graph.len(), bit(Reg::FRAME))?;
    // A function may be given pointers to its callers' stacks.
    for entry in graph.functions().iter().skip(1) {
        if let Some(known) = all.get_mut(*entry) {
            Reg::ARGUMENTS.into_iter().for_each(|reg| *known |= bit(reg));
        }
    }
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (pc, insn) in graph.iter() {
            let known = all.get(pc).copied().unwrap_or_default();
            let after = after(insn, known);
            let mut flow = |to: usize| {
                if let Some(next) = all.get_mut(to)
                    && *next | after != *next
                {
                    *next |= after;
                    changed = true;
                }
            };
            if falls_through(insn) {
                flow(pc.saturating_add(insn.slots()));
            }
            if let Some(off) = jump_offset(insn) {
                flow(graph.jump(pc, off));
            }
        }
        if !changed {
            return Ok(all);
        }
    }
    all.fill(u16::MAX);
    Ok(all)
}

/// The registers that may point to a stack after an instruction.
fn after(insn: Instruction, stacks: u16) -> u16 {
    let set = |reg: Reg, may: bool| if may { stacks | bit(reg) } else { stacks & !bit(reg) };
    let is_stack = |reg: Reg| stacks & bit(reg) != 0;
    match insn {
        Instruction::Alu { width: Width::W64, op: AluOp::Mov, dst, operand: Operand::Reg(src) } => {
            set(dst, is_stack(src))
        }
        Instruction::Alu {
            width: Width::W64,
            op: AluOp::Add | AluOp::Sub,
            dst,
            operand: Operand::Reg(src),
        } => set(dst, is_stack(dst) || is_stack(src)),
        Instruction::Alu { width: Width::W64, op: AluOp::Add | AluOp::Sub, .. } => stacks,
        Instruction::Alu { dst, .. }
        | Instruction::Neg { dst, .. }
        | Instruction::Swap { dst, .. }
        | Instruction::LoadImm64 { dst, .. } => set(dst, false),
        // Pointers are kept in stacks only, and whole.
        Instruction::Load { size, dst, from } => set(dst, size == Size::Double && is_stack(from.base)),
        Instruction::CallHelper { .. } => stacks & !arguments_and_result(),
        Instruction::CallLocal { .. } => stacks & !arguments_and_result() | bit(Reg::R0),
        _ => stacks,
    }
}

fn arguments_and_result() -> u16 {
    Reg::ARGUMENTS.into_iter().fold(bit(Reg::R0), |all, reg| all | bit(reg))
}
