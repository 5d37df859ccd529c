//! Basic blocks, and which instructions of them have to run.

use std::ops::Range;

use cbpf_translator::Checked;
use cbpf_translator::cbpf::{AluOp, Opcode, SockFilter, Source};

use super::facts::{A, Live, Registers, X, effects, sayable};
use crate::symbolic::{Exprs, Id, Set, comparison};

const MAX: u64 = u32::MAX as u64;

/// A program as basic blocks. Those that no run gets to are left out.
pub(super) struct Blocks {
    pub insns: Vec<(Opcode, SockFilter)>,
    pub exprs: Exprs,
    /// In the program's order. Each goes to later ones only.
    pub all: Vec<Block>,
}

pub(super) struct Block {
    pub insns: Range<usize>,
    pub statements: Vec<usize>,
    pub end: BlockEnd,
}

/// What follows a block; blocks by their indices.
#[derive(Clone, Debug)]
pub(super) enum BlockEnd {
    Return(u32),
    Value(Id),
    Accumulator,
    To(usize),
    /// Whether an expression is in a set.
    Ask {
        id: Id,
        set: Set,
        holds: usize,
        fails: usize,
    },
    Test {
        pc: usize,
        holds: usize,
        fails: usize,
    },
}

impl Blocks {
    pub fn of(program: &Checked) -> Self {
        let insns: Vec<_> = program.ops().collect();
        let mut exprs = Exprs::default();
        let ends = ends(&insns, &mut exprs);
        let shown = shown(&insns, &ends, &exprs);

        // A block begins where one begins to be run, and behind a jump.
        let mut begins = vec![false; insns.len()];
        begins[0] = true;
        let mut index = vec![0; insns.len()];
        for (pc, end) in ends.iter().enumerate() {
            let Some((_, end)) = end else { continue };
            for to in targets(end).into_iter().filter(|_| !matches!(end, BlockEnd::To(to) if *to == pc + 1)) {
                begins[to] = true;
            }
        }
        let reached = (0..insns.len()).filter(|pc| ends[*pc].is_some());
        let mut all: Vec<Block> = Vec::new();
        let mut falls = false;
        for pc in reached {
            let Some((_, end)) = &ends[pc] else { continue };
            if begins[pc] || !falls {
                all.push(Block { insns: pc..pc, statements: Vec::new(), end: BlockEnd::Accumulator });
            }
            index[pc] = all.len() - 1;
            let Some(block) = all.last_mut() else { continue };
            block.insns.end = pc + 1;
            block.end = end.clone();
            if shown[pc] {
                block.statements.push(pc);
            }
            falls = matches!(end, BlockEnd::To(to) if *to == pc + 1);
        }
        for block in &mut all {
            match &mut block.end {
                BlockEnd::Return(_) | BlockEnd::Value(_) | BlockEnd::Accumulator => {}
                BlockEnd::To(to) => *to = index[*to],
                BlockEnd::Ask { holds, fails, .. } | BlockEnd::Test { holds, fails, .. } => {
                    (*holds, *fails) = (index[*holds], index[*fails]);
                }
            }
        }
        Self { insns, exprs, all }
    }
}

/// What follows, by index.
pub(super) fn targets(end: &BlockEnd) -> Vec<usize> {
    match end {
        BlockEnd::Return(_) | BlockEnd::Value(_) | BlockEnd::Accumulator => Vec::new(),
        BlockEnd::To(to) => vec![*to],
        BlockEnd::Ask { holds, fails, .. } | BlockEnd::Test { holds, fails, .. } => vec![*holds, *fails],
    }
}

/// The registers before each instruction that some run gets to, and what follows it, by indices of instructions.
type Ends = Vec<Option<(Registers, BlockEnd)>>;

fn ends(insns: &[(Opcode, SockFilter)], exprs: &mut Exprs) -> Ends {
    let mut before: Vec<Option<Registers>> = vec![None; insns.len()];
    before[0] = Some(Registers::new(exprs));
    let mut ends = Vec::with_capacity(insns.len());
    // All jumps go forward, so that everything that leads to an instruction stands before it.
    for (pc, &(opcode, insn)) in insns.iter().enumerate() {
        let Some(registers) = before[pc] else {
            ends.push(None);
            continue;
        };
        let end = end(pc, opcode, insn, &registers, exprs);
        let mut after = registers;
        after.step(exprs, opcode, insn);
        for to in targets(&end) {
            match &mut before[to] {
                Some(before) => before.join(&after),
                before => *before = Some(after),
            }
        }
        ends.push(Some((registers, end)));
    }
    ends
}

fn end(pc: usize, opcode: Opcode, insn: SockFilter, registers: &Registers, exprs: &mut Exprs) -> BlockEnd {
    let next = pc + 1;
    match opcode {
        Opcode::RetK => BlockEnd::Return(insn.k),
        Opcode::RetA => match registers.a {
            None => BlockEnd::Accumulator,
            Some(id) => exprs.known(id).map_or(BlockEnd::Value(id), BlockEnd::Return),
        },
        Opcode::Ja => BlockEnd::To(next + insn.k as usize),
        Opcode::Jump(cond, source) => {
            let [holds, fails] = [insn.jt, insn.jf].map(|distance| next + usize::from(distance));
            if holds == fails {
                return BlockEnd::To(holds);
            }
            let operand = registers.operand(exprs, source, insn.k);
            let asked = registers.a.zip(operand).map(|(a, operand)| comparison(exprs, cond, a, operand));
            match asked.filter(|(id, _)| sayable(exprs, *id).is_some()) {
                None => BlockEnd::Test { pc, holds, fails },
                Some((id, set)) => match exprs.known(id) {
                    Some(value) => BlockEnd::To(if set.contains(value.into()) { holds } else { fails }),
                    // What every number is, or none.
                    None if set.is_empty() => BlockEnd::To(fails),
                    None if set.covers(0, MAX) => BlockEnd::To(holds),
                    None => BlockEnd::Ask { id, set, holds, fails },
                },
            }
        }
        _ => BlockEnd::To(next),
    }
}

/// Which instructions have to run for tests and values that are of registers.
fn shown(insns: &[(Opcode, SockFilter)], ends: &Ends, exprs: &Exprs) -> Vec<bool> {
    let mut shown = vec![false; insns.len()];
    let mut live: Vec<Live> = vec![0; insns.len()];
    for (pc, &(opcode, insn)) in insns.iter().enumerate().rev() {
        let Some((registers, end)) = &ends[pc] else { continue };
        let after = targets(end).into_iter().fold(0, |all, to| all | live[to]);
        live[pc] = match (end, opcode) {
            (BlockEnd::Accumulator, _) => A,
            (BlockEnd::Test { .. }, Opcode::Jump(_, Source::X)) => after | A | X,
            (BlockEnd::Test { .. }, _) => after | A,
            _ => {
                let (writes, reads) = effects(opcode, insn);
                let divisor_is_known = || registers.x.and_then(|x| exprs.known(x)).is_some_and(|x| x != 0);
                // A division by 0 ends the program.
                let ends = opcode == Opcode::Alu(AluOp::Div, Source::X) && !divisor_is_known();
                shown[pc] = ends || after & writes != 0;
                if shown[pc] { after & !writes | reads } else { after }
            }
        };
    }
    shown
}
