//! What programs give, as formulas of an SMT solver: words are bit vectors of 32.

use std::io;

use cbpf_translator::cbpf::{AluOp, Cond, Opcode, SCRATCH_SLOTS, Source};
use cbpf_translator::seccomp::AUDIT_ARCH_NAMES;
use cbpf_translator::{Checked, seccomp};
use easy_smt::{Context, SExpr};

use super::expr::{Exprs, Id, Node, Op, WORDS};
use super::facts::Facts;
use super::set::Set;

/// A question in the making.
pub(super) struct Formula<'c> {
    smt: &'c mut Context,
    words: [SExpr; WORDS],
    defined: usize,
}

/// What a program has computed at an instruction, if it gets there.
#[derive(Clone)]
struct State {
    reached: SExpr,
    a: SExpr,
    x: SExpr,
    m: [SExpr; SCRATCH_SLOTS],
}

impl<'c> Formula<'c> {
    /// One about all calls.
    pub(super) fn new(smt: &'c mut Context) -> io::Result<Self> {
        smt.set_logic("QF_BV")?;
        let sort = smt.bit_vec_sort(smt.numeral(u32::BITS));
        let mut words = [sort; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = smt.declare_const(format!("w{index}"), sort)?;
        }
        Ok(Self { smt, words, defined: 0 })
    }

    /// The words of `seccomp_data`.
    pub(super) fn words(&self) -> [SExpr; WORDS] {
        self.words
    }

    /// Only calls of architectures that there are.
    pub(super) fn assert_usual(&mut self) -> io::Result<()> {
        let arches =
            AUDIT_ARCH_NAMES.iter().map(|(_, value)| self.smt.eq(self.words[1], self.number(*value)));
        let any = self.smt.or_many(arches.collect::<Vec<_>>());
        self.smt.assert(any)
    }

    /// Only calls that have these facts.
    pub(super) fn assert_facts(&mut self, exprs: &Exprs, facts: &Facts) -> io::Result<()> {
        let parts = exprs.parts(facts.all().map(|(id, _)| id), usize::MAX).unwrap_or_default();
        let mut terms: Vec<SExpr> = Vec::with_capacity(parts.len());
        let term = |terms: &[SExpr], id: Id| {
            parts.binary_search(&id).ok().and_then(|place| terms.get(place)).copied()
        };
        for id in &parts {
            let made = match exprs.node(*id) {
                Node::Constant(value) => self.number(value),
                Node::Word(index) => self.words[usize::from(index)],
                Node::Op(op, a, b) => {
                    // Parts stand before what is made of them.
                    let (Some(a), Some(b)) = (term(&terms, a), term(&terms, b)) else { continue };
                    self.op(op, a, b)?
                }
            };
            terms.push(made);
        }
        for (id, set) in facts.all() {
            let Some(term) = term(&terms, id) else { continue };
            let is_in = self.is_in(term, set);
            self.smt.assert(is_in)?;
        }
        Ok(())
    }

    /// Only calls to which two programs give different values.
    pub(super) fn assert_differ(&mut self, programs: [&Checked; 2]) -> io::Result<()> {
        let [a, b] = programs;
        let (a, b) = (self.value(a)?, self.value(b)?);
        let differ = self.smt.distinct(a, b);
        self.smt.assert(differ)
    }

    /// What a program returns. Jumps go forward only, so each instruction is looked at once: with the values of all ways
    /// to it, one inside the other.
    fn value(&mut self, program: &Checked) -> io::Result<SExpr> {
        let zero = self.number(0);
        let mut result = zero;
        let mut states: Vec<Option<State>> = vec![None; program.insns().len()];
        if let Some(first) = states.first_mut() {
            *first = Some(State { reached: self.smt.true_(), a: zero, x: zero, m: [zero; SCRATCH_SLOTS] });
        }
        for (pc, (opcode, insn)) in program.ops().enumerate() {
            let Some(mut state) = states.get_mut(pc).and_then(Option::take) else { continue };
            let k = insn.k;
            let operand = |formula: &Self, source| match source {
                Source::K => formula.number(k),
                Source::X => state.x,
            };
            let slot = k as usize % SCRATCH_SLOTS;
            let next = pc + 1;
            match opcode {
                Opcode::LdAbs(_) | Opcode::LdInd(_) => state.a = self.words[(k / 4) as usize % WORDS],
                Opcode::LdImm => state.a = self.number(k),
                Opcode::LdxImm => state.x = self.number(k),
                Opcode::LdLen => state.a = self.number(seccomp::DATA_SIZE),
                Opcode::LdxLen | Opcode::LdxMsh => state.x = self.number(seccomp::DATA_SIZE),
                Opcode::LdMem => state.a = state.m[slot],
                Opcode::LdxMem => state.x = state.m[slot],
                Opcode::St => state.m[slot] = state.a,
                Opcode::Stx => state.m[slot] = state.x,
                Opcode::Alu(op, source) => {
                    let operand = operand(self, source);
                    if op == AluOp::Div {
                        let is_zero = self.smt.eq(operand, zero);
                        let ends = self.define_bool(self.smt.and(state.reached, is_zero))?;
                        let kill = self.number(seccomp::RET_KILL_THREAD);
                        result = self.define(self.smt.ite(ends, kill, result))?;
                        let goes_on = self.smt.and(state.reached, self.smt.not(is_zero));
                        state.reached = self.define_bool(goes_on)?;
                    }
                    state.a = self.op(Op::Alu(op), state.a, operand)?;
                }
                Opcode::Neg => state.a = self.op(Op::Alu(AluOp::Sub), zero, state.a)?,
                Opcode::Tax => state.x = state.a,
                Opcode::Txa => state.a = state.x,
                Opcode::Ja => {
                    self.flow(&mut states, next + k as usize, state)?;
                    continue;
                }
                Opcode::Jump(cond, source) => {
                    let holds = self.holds(cond, state.a, operand(self, source));
                    for (holds, distance) in [(holds, insn.jt), (self.smt.not(holds), insn.jf)] {
                        let reached = self.define_bool(self.smt.and(state.reached, holds))?;
                        let to = next + usize::from(distance);
                        self.flow(&mut states, to, State { reached, ..state.clone() })?;
                    }
                    continue;
                }
                Opcode::RetK | Opcode::RetA => {
                    let value = if opcode == Opcode::RetA { state.a } else { self.number(k) };
                    result = self.define(self.smt.ite(state.reached, value, result))?;
                    continue;
                }
            }
            self.flow(&mut states, next, state)?;
        }
        Ok(result)
    }

    /// Another way to an instruction. No call takes two.
    fn flow(&mut self, states: &mut [Option<State>], to: usize, new: State) -> io::Result<()> {
        let Some(place) = states.get_mut(to) else { return Ok(()) };
        let Some(old) = place else {
            *place = Some(new);
            return Ok(());
        };
        let ours = [&mut old.a, &mut old.x].into_iter().chain(&mut old.m);
        for (ours, theirs) in ours.zip([new.a, new.x].into_iter().chain(new.m)) {
            if *ours != theirs {
                *ours = self.define(self.smt.ite(new.reached, theirs, *ours))?;
            }
        }
        old.reached = self.define_bool(self.smt.or(old.reached, new.reached))?;
        Ok(())
    }

    fn number(&self, value: u32) -> SExpr {
        self.smt.atom(format!("#x{value:08x}"))
    }

    fn op(&mut self, op: Op, a: SExpr, b: SExpr) -> io::Result<SExpr> {
        let smt = &*self.smt;
        let count = || smt.bvand(b, self.number(u32::BITS - 1));
        let number_of = |holds| smt.ite(holds, self.number(1), self.number(0));
        let made = match op {
            Op::Alu(AluOp::Add) => smt.bvadd(a, b),
            Op::Alu(AluOp::Sub) => smt.bvsub(a, b),
            Op::Alu(AluOp::Mul) => smt.bvmul(a, b),
            Op::Alu(AluOp::Div) => smt.bvudiv(a, b),
            Op::Alu(AluOp::Mod) => smt.bvurem(a, b),
            Op::Alu(AluOp::Or) => smt.bvor(a, b),
            Op::Alu(AluOp::And) => smt.bvand(a, b),
            Op::Alu(AluOp::Xor) => smt.bvxor(a, b),
            Op::Alu(AluOp::Lsh) => smt.bvshl(a, count()),
            Op::Alu(AluOp::Rsh) => smt.bvlshr(a, count()),
            Op::Gt => number_of(smt.bvugt(a, b)),
            Op::Ge => number_of(smt.bvuge(a, b)),
        };
        let made = self.define(made)?;
        if op == Op::Alu(AluOp::Div) {
            self.assert_quotient(a, b, made)?;
        }
        Ok(made)
    }

    /// That a quotient times the divisor is not above the dividend, and the rest below the divisor. It is so anyway, and
    /// solvers need long to find it out.
    fn assert_quotient(&mut self, a: SExpr, b: SExpr, quotient: SExpr) -> io::Result<()> {
        let product = self.define(self.smt.bvmul(quotient, b))?;
        let rest = self.smt.bvsub(a, product);
        let holds = self.smt.and(self.smt.bvule(product, a), self.smt.bvult(rest, b));
        let is_zero = self.smt.eq(b, self.number(0));
        self.smt.assert(self.smt.or(is_zero, holds))
    }

    fn holds(&self, cond: Cond, a: SExpr, b: SExpr) -> SExpr {
        match cond {
            Cond::Eq => self.smt.eq(a, b),
            Cond::Gt => self.smt.bvugt(a, b),
            Cond::Ge => self.smt.bvuge(a, b),
            Cond::Set => self.smt.distinct(self.smt.bvand(a, b), self.number(0)),
        }
    }

    fn is_in(&self, term: SExpr, set: &Set) -> SExpr {
        let ranges = set.ranges().iter().map(|(first, last)| {
            // Sets of expressions are of 32-bit values.
            let [first, last] = [*first, *last].map(|end| self.number(end as u32));
            if first == last {
                self.smt.eq(term, first)
            } else {
                self.smt.and(self.smt.bvuge(term, first), self.smt.bvule(term, last))
            }
        });
        ranges.fold(self.smt.false_(), |any, range| self.smt.or(any, range))
    }

    /// A name for a term, so that what holds it twice is no longer for that.
    fn define(&mut self, term: SExpr) -> io::Result<SExpr> {
        let sort = self.smt.bit_vec_sort(self.smt.numeral(u32::BITS));
        self.named(sort, term)
    }

    fn define_bool(&mut self, term: SExpr) -> io::Result<SExpr> {
        self.named(self.smt.bool_sort(), term)
    }

    fn named(&mut self, sort: SExpr, term: SExpr) -> io::Result<SExpr> {
        self.defined += 1;
        self.smt.define_const(format!("e{}", self.defined), sort, term)
    }
}
