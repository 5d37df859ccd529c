//! What is left of a program when the number and the architecture are known.
//!
//! The program is followed from its start with what is known of A, X and M\[\]. What can be computed is, known
//! comparisons are followed, and the rest becomes nodes. Where a comparison depends on unknown input both ways
//! are followed, one after the other; a place that was reached with the same knowledge before is not followed
//! again.

use alloc::vec::Vec;

use cbpf_translator::cbpf::{AluOp, Cond, Opcode, SCRATCH_SLOTS, Source};
use cbpf_translator::{Checked, seccomp};
use hashbrown::HashMap;

use super::liveness::{self, Liveness, Places};
use super::nodes::{Id, Node, Nodes, ROOMY};
use super::{ARCH_OFFSET, NR_OFFSET, Stop};
use crate::engine::native;

/// The most work, over all numbers: an instruction that is followed counts 1.
const MAX_WORK: u32 = 1 << 16;

/// What a comparison that forks counts: looking it up and building its node.
const FORK_WORK: u32 = 24;

/// A program that is specialised for one number after the other.
pub(super) struct Specialiser<'p> {
    program: &'p Checked,
    live: &'p Liveness,
    arch: u32,
    work: u32,
    done: HashMap<Reached, Id>,
    /// Instructions that wait for the node behind them.
    trail: Vec<(Opcode, u32)>,
    /// Comparisons both of whose ways are not followed yet, the innermost last.
    forks: Vec<Fork>,
}

/// What is known of the registers and of the input. `None` in a register is there when the program runs; what
/// is known is not, until something needs it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Known {
    a: Option<u32>,
    x: Option<u32>,
    m: [Option<u32>; SCRATCH_SLOTS],
    /// The words of `seccomp_data`: number, architecture, and those that a comparison has found out.
    words: [Option<u32>; WORDS],
    /// The offset of the word that is in the register of A, whether or not A is known to be something else.
    loaded: Option<u32>,
    /// A word, by its offset, and a value that it has not.
    differs: Option<(u32, u32)>,
}

const WORDS: usize = seccomp::DATA_SIZE as usize / 4;

impl Known {
    fn start(nr: u32, arch: u32) -> Self {
        let mut start = Self {
            a: Some(0),
            x: Some(0),
            m: [None; SCRATCH_SLOTS],
            words: [None; WORDS],
            loaded: None,
            differs: None,
        };
        start.learn(NR_OFFSET, nr);
        start.learn(ARCH_OFFSET, arch);
        start
    }

    /// Whether A is in its register and is not `value`.
    fn a_differs(&self, value: u32) -> bool {
        self.a.is_none() && self.loaded.is_some_and(|offset| self.differs == Some((offset, value)))
    }

    fn word(&self, offset: u32) -> Option<u32> {
        *self.words.get(offset as usize / 4)?
    }

    fn learn(&mut self, offset: u32, value: u32) {
        if let Some(word) = self.words.get_mut(offset as usize / 4) {
            *word = Some(value);
        }
    }

    fn slot(&mut self, k: u32) -> Result<&mut Option<u32>, Stop> {
        self.m.get_mut(k as usize).ok_or(Stop::TooLarge)
    }

    /// Without what nobody will read, so that it does not keep equal places apart.
    fn without_dead(mut self, live: Places) -> Self {
        let all = self.m.iter_mut().chain([&mut self.a, &mut self.x]);
        for (value, place) in all.zip(Places::EACH) {
            if !live.contains(place) {
                *value = None;
            }
        }
        for (value, offset) in self.words.iter_mut().zip((0u32..).step_by(4)) {
            if !live.contains(Places::word(offset)) {
                *value = None;
            }
        }
        self.loaded = self.loaded.filter(|offset| live.contains(Places::word(*offset)));
        self.differs = self.differs.filter(|(offset, _)| live.contains(Places::word(*offset)));
        self
    }
}

/// A comparison that was reached, with what was known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reached {
    pc: usize,
    known: Known,
}

struct Fork {
    reached: Reached,
    cond: Cond,
    source: Source,
    k: u32,
    /// The trail's length when the comparison was reached, and when the ways behind it began.
    reached_at: usize,
    ways_at: usize,
    /// The node of the way where the comparison holds, once that is followed.
    holds: Option<Id>,
    /// The way where it does not.
    fails: (usize, Known),
}

/// Where following a way has got to.
enum Step {
    Next(usize),
    End(Node),
    /// A place that was reached before.
    Done(Id),
}

impl<'p> Specialiser<'p> {
    pub(super) fn new(program: &'p Checked, live: &'p Liveness, arch: u32) -> Self {
        Self { program, live, arch, work: 0, done: HashMap::new(), trail: Vec::new(), forks: Vec::new() }
    }

    /// The node at which the program for calls of `nr` begins.
    ///
    /// # Errors
    ///
    /// It would be too large, or there is no memory. What `nodes` has by then stays.
    pub(super) fn root(&mut self, nodes: &mut Nodes, nr: u32) -> Result<Id, Stop> {
        self.trail.clear();
        self.forks.clear();
        let (mut pc, mut known) = (0, Known::start(nr, self.arch));
        loop {
            self.work = self.work.saturating_add(1);
            if self.work > MAX_WORK || nodes.len() > ROOMY {
                return Err(Stop::TooLarge);
            }
            let end = match self.step(pc, &mut known)? {
                Step::Next(next) => {
                    pc = next;
                    continue;
                }
                Step::End(node) => nodes.add(node)?,
                Step::Done(id) => id,
            };
            match self.unwind(nodes, end)? {
                Ok(way) => (pc, known) = way,
                Err(root) => return Ok(root),
            }
        }
    }

    /// Builds what ends at `id`: up to the next way to follow, or to the root.
    fn unwind(&mut self, nodes: &mut Nodes, mut id: Id) -> Result<Result<(usize, Known), Id>, Stop> {
        loop {
            id = self.build(nodes, id, self.forks.last().map_or(0, |fork| fork.ways_at))?;
            let Some(fork) = self.forks.last_mut() else { return Ok(Err(id)) };
            let Some(holds) = fork.holds else {
                fork.holds = Some(id);
                return Ok(Ok(fork.fails));
            };
            let Fork { reached, cond, source, k, reached_at, .. } = *fork;
            self.forks.pop();
            id = nodes.branch(cond, source, k, holds, id)?;
            id = self.build(nodes, id, reached_at)?;
            self.done.try_reserve(1).map_err(|_| Stop::OutOfMemory)?;
            self.done.insert(reached, id);
        }
    }

    /// Puts the trail's instructions from `start` on in front of `id`.
    fn build(&mut self, nodes: &mut Nodes, mut id: Id, start: usize) -> Result<Id, Stop> {
        while self.trail.len() > start
            && let Some((opcode, k)) = self.trail.pop()
        {
            id = nodes.op(opcode, k, id)?;
        }
        Ok(id)
    }

    fn emit(&mut self, known: &mut Known, opcode: Opcode, k: u32) -> Result<(), Stop> {
        let (_, writes) = liveness::effect(opcode, k);
        if writes == Places::A {
            known.loaded = matches!(opcode, Opcode::LdAbs(_)).then_some(k);
        }
        self.trail.try_reserve(1)?;
        self.trail.push((opcode, k));
        Ok(())
    }

    fn step(&mut self, pc: usize, known: &mut Known) -> Result<Step, Stop> {
        let insn = self.program.insns().get(pc).ok_or(Stop::TooLarge)?;
        let opcode = Opcode::decode(insn.code).ok_or(Stop::TooLarge)?;
        let k = insn.k;
        let next = pc.saturating_add(1);
        match opcode {
            Opcode::LdAbs(_) => {
                known.a = known.word(k);
                // It may be there already.
                if known.a.is_none() && known.loaded != Some(k) {
                    self.emit(known, opcode, k)?;
                }
            }
            Opcode::LdInd(_) => {
                self.emit(known, opcode, k)?;
                known.a = None;
            }
            Opcode::LdxMsh => {
                self.emit(known, opcode, k)?;
                known.x = None;
            }
            Opcode::LdImm => known.a = Some(k),
            Opcode::LdxImm => known.x = Some(k),
            Opcode::LdLen => known.a = Some(seccomp::DATA_SIZE),
            Opcode::LdxLen => known.x = Some(seccomp::DATA_SIZE),
            Opcode::LdMem => {
                known.a = *known.slot(k)?;
                self.emit_unless(known.a, known, opcode, k)?;
            }
            Opcode::LdxMem => {
                known.x = *known.slot(k)?;
                self.emit_unless(known.x, known, opcode, k)?;
            }
            Opcode::St => {
                *known.slot(k)? = known.a;
                self.emit_unless(known.a, known, opcode, k)?;
            }
            Opcode::Stx => {
                *known.slot(k)? = known.x;
                self.emit_unless(known.x, known, opcode, k)?;
            }
            Opcode::Tax => {
                known.x = known.a;
                self.emit_unless(known.a, known, opcode, k)?;
            }
            Opcode::Txa => {
                known.a = known.x;
                self.emit_unless(known.x, known, opcode, k)?;
            }
            Opcode::Neg => {
                known.a = known.a.map(u32::wrapping_neg);
                self.emit_unless(known.a, known, opcode, k)?;
            }
            Opcode::Alu(op, source) => {
                if let Some(end) = self.alu(known, op, source, k)? {
                    return Ok(Step::End(end));
                }
            }
            Opcode::Ja => return Ok(Step::Next(next.saturating_add(k as usize))),
            Opcode::Jump(cond, source) => {
                let (holds, fails) =
                    (next.saturating_add(insn.jt.into()), next.saturating_add(insn.jf.into()));
                let operand = operand(known, source, k);
                return match (known.a, operand) {
                    _ if holds == fails => Ok(Step::Next(holds)),
                    (Some(a), Some(operand)) if cond.holds(a, operand) => Ok(Step::Next(holds)),
                    (Some(_), Some(_)) => Ok(Step::Next(fails)),
                    (None, Some(operand)) if cond == Cond::Eq && known.a_differs(operand) => {
                        Ok(Step::Next(fails))
                    }
                    _ => self.fork(pc, known, (cond, source, k), (holds, fails)),
                };
            }
            Opcode::RetK => return Ok(Step::End(Node::RetK(k))),
            Opcode::RetA => return Ok(Step::End(known.a.map_or(Node::RetA, Node::RetK))),
        }
        Ok(Step::Next(next))
    }

    /// Emits an instruction that computes `value`, unless that is known.
    fn emit_unless(
        &mut self,
        value: Option<u32>,
        known: &mut Known,
        opcode: Opcode,
        k: u32,
    ) -> Result<(), Stop> {
        if value.is_none() { self.emit(known, opcode, k) } else { Ok(()) }
    }

    /// Arithmetic; the result is a node if the program ends here.
    fn alu(&mut self, known: &mut Known, op: AluOp, source: Source, k: u32) -> Result<Option<Node>, Stop> {
        let operand = operand(known, source, k);
        if op == AluOp::Div && operand == Some(0) {
            return Ok(Some(Node::RetK(seccomp::RET_KILL_THREAD)));
        }
        if let (Some(a), Some(operand)) = (known.a, operand) {
            known.a = native::alu(op, a, operand);
            return Ok(None);
        }
        if let Some(a) = known.a {
            self.emit(known, Opcode::LdImm, a)?;
        }
        match operand {
            Some(0) if op == AluOp::And => {
                known.a = Some(0);
                return Ok(None);
            }
            // As a constant it has to be below 32; X would count modulo 32.
            Some(count) if matches!(op, AluOp::Lsh | AluOp::Rsh) => {
                self.emit(known, Opcode::Alu(op, Source::K), count & 31)?;
            }
            Some(operand) => self.emit(known, Opcode::Alu(op, Source::K), operand)?,
            None => self.emit(known, Opcode::Alu(op, Source::X), 0)?,
        }
        known.a = None;
        Ok(None)
    }

    /// A comparison that depends on unknown input: goes the way where it holds, and remembers the other.
    fn fork(
        &mut self,
        pc: usize,
        known: &mut Known,
        (cond, source, k): (Cond, Source, u32),
        (holds, fails): (usize, usize),
    ) -> Result<Step, Stop> {
        self.work = self.work.saturating_add(FORK_WORK);
        // What is forgotten here must not help behind it either: others that get here share what follows.
        *known = known.without_dead(self.live.at(pc));
        let reached = Reached { pc, known: *known };
        if let Some(id) = self.done.get(&reached) {
            return Ok(Step::Done(*id));
        }
        let reached_at = self.trail.len();
        if let Some(a) = known.a {
            self.emit(known, Opcode::LdImm, a)?;
        }
        let (source, k) = match operand(known, source, k) {
            Some(operand) => (Source::K, operand),
            None => (Source::X, 0),
        };
        let mut otherwise = *known;
        if let (None, Cond::Eq, Source::K, Some(offset)) = (known.a, cond, source, known.loaded) {
            otherwise.differs = Some((offset, k));
        }
        self.forks.try_reserve(1)?;
        self.forks.push(Fork {
            reached,
            cond,
            source,
            k,
            reached_at,
            ways_at: self.trail.len(),
            holds: None,
            fails: (fails, otherwise),
        });
        if let (None, Cond::Eq, Source::K, Some(offset)) = (known.a, cond, source, known.loaded) {
            known.learn(offset, k);
            known.a = Some(k);
        }
        Ok(Step::Next(holds))
    }
}

fn operand(known: &Known, source: Source, k: u32) -> Option<u32> {
    match source {
        Source::K => Some(k),
        Source::X => known.x,
    }
}
