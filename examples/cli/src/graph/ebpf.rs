//! The boxes of an eBPF filter: its basic blocks, with instructions as `disasm` has them.

use std::collections::BTreeMap;

use cbpf_translator::disasm::EbpfInsn;
use cbpf_translator::ebpf::{AluOp, Instruction, Operand};

use super::chart::{Arrow, Box, Chart, Kind, Tone, Way};
use crate::extension::Extension;

/// The chart of what runs may get to. An arrow back is a link.
pub fn chart(filter: &Extension, title: String) -> Chart {
    let insns = filter.verified.insns();
    // Those that a run may get to, and none for the second half of one.
    let mut decoded = vec![None; insns.len()];
    let mut pc = 0;
    while let Some(insn) = insns.get(pc) {
        let next = insns.get(pc + 1).copied();
        // A verified program decodes everywhere.
        let Ok(instruction) = Instruction::decode(*insn, next) else { break };
        decoded[pc] = Some(instruction).filter(|_| filter.verified.is_reached(pc));
        pc += instruction.slots();
    }
    let blocks = blocks(&decoded);
    let about = format!(
        "The control flow of an eBPF filter of {} instructions, {} blocks.",
        insns.len(),
        blocks.len()
    );
    let mut chart = Chart { title, about, boxes: Vec::new(), arrows: Vec::new() };
    let numbers: BTreeMap<usize, usize> = blocks.iter().map(|block| block.first).zip(0..).collect();
    let functions: Vec<usize> = functions(&decoded).collect();
    for (index, block) in blocks.iter().enumerate() {
        let text = |pc: usize| EbpfInsn { program: insns, pc }.to_string();
        let mut lines: Vec<_> = block.insns.iter().map(|pc| text(*pc)).collect();
        if functions.contains(&block.first) {
            lines.insert(0, format!("function at {}:", block.first));
        }
        let mut decision = None;
        match decoded[block.last] {
            Some(Instruction::Exit) => {
                lines.pop();
                let is_main = functions.iter().all(|entry| *entry > block.first);
                let before = block.insns.len().checked_sub(2).and_then(|at| decoded[block.insns[at]]);
                decision = Some(match before {
                    Some(Instruction::Alu { op: AluOp::Mov, dst, operand: Operand::Imm(value), .. })
                        if is_main && dst.number() == 0 =>
                    {
                        lines.pop();
                        Tone::decision(value.cast_unsigned())
                    }
                    _ if is_main => (Tone::Computed, "returns r0".into()),
                    _ => (Tone::Computed, "back to the caller, with r0".into()),
                });
            }
            Some(Instruction::Ja { .. }) if lines.len() > 1 => drop(lines.pop()),
            Some(Instruction::Jump { .. }) => {
                // Where it goes is drawn.
                if let Some(line) = lines.last_mut() {
                    let test = line.strip_prefix("if ").and_then(|line| line.split_once(" goto "));
                    *line = test.map_or(line.clone(), |(test, _)| test.into());
                }
            }
            _ => {}
        }
        let kind = if lines.is_empty() { Kind::End } else { Kind::Step };
        let insns = format!("{}-{}", block.first, block.last);
        chart.boxes.push(Box { kind, lines, decision, insns, node: index, is_linked: false });
    }
    for (from, block) in blocks.iter().enumerate() {
        let ways: Vec<_> =
            block.ways.iter().filter_map(|(way, to)| Some((*way, *numbers.get(to)?))).collect();
        for (kind, to) in &ways {
            // If no run takes the other way nothing is asked.
            let kind = if ways.len() == 1 { Way::Always } else { *kind };
            let to = if *to > from { *to } else { chart.link(*to) };
            chart.arrows.push(Arrow { from, to, kind });
        }
    }
    chart
}

struct Block {
    first: usize,
    last: usize,
    insns: Vec<usize>,
    /// What may follow, by instructions.
    ways: Vec<(Way, usize)>,
}

type Decoded = [Option<Instruction>];

fn target(pc: usize, off: i32) -> usize {
    // A verified program jumps to instructions of its own.
    (pc as i64 + 1 + i64::from(off)) as usize
}

/// Where local functions begin.
fn functions(decoded: &Decoded) -> impl Iterator<Item = usize> {
    decoded.iter().enumerate().filter_map(|(pc, insn)| match insn {
        Some(Instruction::CallLocal { off }) => Some(target(pc, *off)),
        _ => None,
    })
}

fn ways(pc: usize, insn: Instruction) -> Vec<(Way, usize)> {
    let next = pc + insn.slots();
    match insn {
        Instruction::Exit => Vec::new(),
        Instruction::Ja { off } => vec![(Way::Always, target(pc, off.into()))],
        Instruction::Jump { off, .. } => vec![(Way::True, target(pc, off.into())), (Way::False, next)],
        _ => vec![(Way::Always, next)],
    }
}

fn blocks(decoded: &Decoded) -> Vec<Block> {
    let mut begins = vec![false; decoded.len() + 1];
    functions(decoded).for_each(|pc| begins[pc] = true);
    for (pc, insn) in decoded.iter().enumerate().filter_map(|(pc, insn)| Some((pc, (*insn)?))) {
        if matches!(insn, Instruction::Ja { .. } | Instruction::Jump { .. }) {
            ways(pc, insn).into_iter().for_each(|(_, to)| begins[to] = true);
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    for (pc, insn) in decoded.iter().enumerate().filter_map(|(pc, insn)| Some((pc, (*insn)?))) {
        let goes_on = |block: &Block| block.ways == [(Way::Always, pc)] && !begins[pc];
        match blocks.last_mut().filter(|block| goes_on(block)) {
            Some(block) => {
                block.last = pc;
                block.insns.push(pc);
                block.ways = ways(pc, insn);
            }
            None => blocks.push(Block { first: pc, last: pc, insns: vec![pc], ways: ways(pc, insn) }),
        }
    }
    blocks
}
