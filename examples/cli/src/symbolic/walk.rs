//! The paths through a program.

use std::error::Error;
use std::fmt;

use cbpf_translator::cbpf::{AluOp, Cond, Opcode, SCRATCH_SLOTS, SockFilter, Source};
use cbpf_translator::{Checked, seccomp};

use super::expr::{Exprs, Id, Op};
use super::facts::Facts;
use super::set::Set;

const MAX: u64 = u32::MAX as u64;

/// The most expressions that paths are made of: some hundred MiB.
const MAX_EXPRS: usize = 1 << 22;

/// The end of a path.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// What calls that take the path have.
    pub facts: Facts,
    /// What they get.
    pub value: Id,
}

/// How much may still be done.
#[derive(Debug)]
pub struct Work {
    left: usize,
}

/// There are too many paths, or following them is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many paths")
    }
}

impl Error for TooMuch {}

impl Work {
    /// Work for that many steps: an instruction is one, and so is an expression that is looked at.
    pub fn new(left: usize) -> Self {
        Self { left }
    }

    /// The steps that are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Takes steps off.
    pub fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps);
    }

    fn step(&mut self) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(1).ok_or(TooMuch)?;
        Ok(())
    }
}

struct Path {
    pc: usize,
    a: Id,
    x: Id,
    m: [Id; SCRATCH_SLOTS],
    facts: Facts,
}

/// Hands each path of the calls that have `facts` to `found`. No call has the facts of two of them.
///
/// # Errors
///
/// It is too much, or `found` says so.
pub fn follow(
    program: &Checked,
    exprs: &mut Exprs,
    facts: Facts,
    work: &mut Work,
    found: &mut dyn FnMut(&mut Exprs, &mut Work, Leaf) -> Result<(), TooMuch>,
) -> Result<(), TooMuch> {
    let ops: Vec<_> = program.ops().collect();
    let zero = exprs.constant(0);
    let mut open = vec![Path { pc: 0, a: zero, x: zero, m: [zero; SCRATCH_SLOTS], facts }];
    while let Some(path) = open.pop() {
        if let Some(leaf) = path.walk(&ops, exprs, work, &mut open)? {
            found(exprs, work, leaf)?;
        }
    }
    Ok(())
}

impl Path {
    /// Goes on to where the path ends or forks; the forks are put to `open`.
    fn walk(
        mut self,
        ops: &[(Opcode, SockFilter)],
        exprs: &mut Exprs,
        work: &mut Work,
        open: &mut Vec<Self>,
    ) -> Result<Option<Leaf>, TooMuch> {
        loop {
            work.step()?;
            if exprs.count() > MAX_EXPRS {
                return Err(TooMuch);
            }
            // A checked program ends before its end.
            let (opcode, SockFilter { jt, jf, k, .. }) = *ops.get(self.pc).ok_or(TooMuch)?;
            let slot = k as usize % SCRATCH_SLOTS;
            self.pc += 1;
            match opcode {
                Opcode::LdAbs(_) | Opcode::LdInd(_) => self.a = self.word(exprs, k),
                Opcode::LdImm => self.a = exprs.constant(k),
                Opcode::LdxImm => self.x = exprs.constant(k),
                Opcode::LdLen => self.a = exprs.constant(seccomp::DATA_SIZE),
                Opcode::LdxLen | Opcode::LdxMsh => self.x = exprs.constant(seccomp::DATA_SIZE),
                Opcode::LdMem => self.a = self.slot(exprs, slot),
                Opcode::LdxMem => self.x = self.slot(exprs, slot),
                Opcode::St => self.m[slot] = self.a,
                Opcode::Stx => self.m[slot] = self.x,
                Opcode::Alu(op, source) => {
                    let operand = self.operand(exprs, source, k);
                    if op == AluOp::Div {
                        let zero = self.facts.with(exprs, operand, &Set::of(0), work);
                        let other = self.facts.with(exprs, operand, &Set::range(1, MAX), work);
                        if let Some(facts) = zero {
                            // The program ends with 0 there.
                            let value = exprs.constant(seccomp::RET_KILL_THREAD);
                            let Some(other) = other else { return Ok(Some(Leaf { facts, value })) };
                            let a = exprs.op(Op::Alu(op), self.a, operand);
                            open.push(Self { a, facts: other, ..self });
                            return Ok(Some(Leaf { facts, value }));
                        }
                    }
                    let a = self.facts.resolve(exprs, self.a);
                    self.a = exprs.op(Op::Alu(op), a, operand);
                }
                Opcode::Neg => {
                    let zero = exprs.constant(0);
                    self.a = exprs.op(Op::Alu(AluOp::Sub), zero, self.a);
                }
                Opcode::Tax => self.x = self.a,
                Opcode::Txa => self.a = self.x,
                Opcode::Ja => self.pc += k as usize,
                Opcode::Jump(cond, source) => {
                    let (taken, other) = (self.pc + usize::from(jt), self.pc + usize::from(jf));
                    let operand = self.operand(exprs, source, k);
                    let a = self.facts.resolve(exprs, self.a);
                    let (id, holds) = comparison(exprs, cond, a, operand);
                    let [holds, fails] =
                        [&holds, &holds.not(MAX)].map(|set| self.facts.with(exprs, id, set, work));
                    match (holds, fails) {
                        (Some(holds), Some(fails)) => {
                            open.push(Self { pc: other, facts: fails, ..self });
                            (self.pc, self.facts) = (taken, holds);
                        }
                        (Some(holds), None) => (self.pc, self.facts) = (taken, holds),
                        (None, Some(fails)) => (self.pc, self.facts) = (other, fails),
                        (None, None) => return Ok(None),
                    }
                }
                Opcode::RetK => return Ok(Some(Leaf { value: exprs.constant(k), facts: self.facts })),
                Opcode::RetA => {
                    let value = self.facts.resolve(exprs, self.a);
                    return Ok(Some(Leaf { value, facts: self.facts }));
                }
            }
        }
    }

    fn word(&self, exprs: &mut Exprs, offset: u32) -> Id {
        let word = exprs.word(offset);
        self.facts.resolve(exprs, word)
    }

    /// What is in a slot. It stays there as it is known now, and is not made out again.
    fn slot(&mut self, exprs: &mut Exprs, slot: usize) -> Id {
        self.m[slot] = self.facts.resolve(exprs, self.m[slot]);
        self.m[slot]
    }

    fn operand(&mut self, exprs: &mut Exprs, source: Source, k: u32) -> Id {
        match source {
            Source::K => exprs.constant(k),
            Source::X => {
                self.x = self.facts.resolve(exprs, self.x);
                self.x
            }
        }
    }
}

/// What a comparison asks: whether an expression is in a set.
pub(crate) fn comparison(exprs: &mut Exprs, cond: Cond, a: Id, b: Id) -> (Id, Set) {
    let (known_a, known_b) = (exprs.known(a).map(u64::from), exprs.known(b).map(u64::from));
    match (cond, known_a, known_b) {
        (Cond::Eq, _, Some(b)) => (a, Set::of(b)),
        (Cond::Eq, Some(a), _) => (b, Set::of(a)),
        (Cond::Eq, ..) => (exprs.op(Op::Alu(AluOp::Xor), a, b), Set::of(0)),
        (Cond::Gt, _, Some(b)) => (a, Set::range(b + 1, MAX)),
        (Cond::Gt, Some(0), _) => (b, Set::range(1, 0)),
        (Cond::Gt, Some(a), _) => (b, Set::range(0, a - 1)),
        (Cond::Gt, ..) => (exprs.op(Op::Gt, a, b), Set::of(1)),
        (Cond::Ge, _, Some(b)) => (a, Set::range(b, MAX)),
        (Cond::Ge, Some(a), _) => (b, Set::range(0, a)),
        (Cond::Ge, ..) => (exprs.op(Op::Ge, a, b), Set::of(1)),
        (Cond::Set, ..) => (exprs.op(Op::Alu(AluOp::And), a, b), Set::range(1, MAX)),
    }
}
