//! What a path has learnt of a call, and whether a call has it.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use cbpf_translator::cbpf::AluOp;

use super::expr::{Exprs, Id, Node, Op, WORDS, word_of};
use super::range::Range;
use super::set::Set;
use super::walk::Work;

const MAX: u64 = u32::MAX as u64;

/// The most expressions that one question may be about.
const MAX_PARTS: usize = 256;

/// The most steps of the search for one answer.
const MAX_STEPS: usize = 1 << 13;

/// The most intervals that the values of a word are listed as.
const MAX_LISTED: usize = 1 << 13;

/// The most steps of the search for all of them.
const MAX_LISTING: usize = 1 << 17;

/// As many intervals of a set are gone through as one step of work.
const RANGES_A_STEP: usize = 8;

/// What is known of a call: in which set each of some expressions is.
#[derive(Clone, Debug)]
pub struct Facts {
    sets: BTreeMap<Id, Rc<Set>>,
    /// The words that can have one value only.
    words: [Option<u32>; WORDS],
    /// Whether some call is known to have all this. It may have otherwise.
    pub sure: bool,
}

/// Whether a call has all facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solved {
    /// One with these words has.
    Yes([u32; WORDS]),
    /// None has.
    No,
    /// The search was given up.
    TooMuch,
}

impl Default for Facts {
    fn default() -> Self {
        Self { sets: BTreeMap::new(), words: [None; WORDS], sure: true }
    }
}

impl Facts {
    /// With `id` in `set` besides; `None` if no call has that.
    pub fn with(&self, exprs: &mut Exprs, id: Id, set: &Set, work: &mut Work) -> Option<Self> {
        let id = self.resolve(exprs, id);
        if let Some(value) = exprs.known(id) {
            return set.contains(value.into()).then(|| self.clone());
        }
        let old = self.set(exprs, id);
        let new = old.and(set);
        // Long sets are copied many times.
        work.spend(old.ranges().len() / RANGES_A_STEP);
        if new.is_empty() {
            return None;
        }
        if new == old {
            return Some(self.clone());
        }
        let mut facts = self.clone();
        // They are copied and gone through several times.
        work.spend(8 * facts.sets.len());
        if let (Node::Word(index), Some(value)) = (exprs.node(id), new.single()) {
            facts.words[usize::from(index)] = Some(value as u32);
        }
        facts.sets.insert(id, Rc::new(new));
        let words = facts.together(exprs, exprs.words(id));
        let alone = facts.sets.keys().filter(|other| exprs.words(**other) & words != 0).count() == 1;
        if alone && matches!(exprs.node(id), Node::Word(_)) {
            return Some(facts);
        }
        match facts.solve_words(exprs, words, work) {
            Solved::Yes(_) => {}
            Solved::No => return None,
            Solved::TooMuch => facts.sure = false,
        }
        Some(facts)
    }

    /// The expression, or the number that it is where its words are known.
    pub fn resolve(&self, exprs: &mut Exprs, id: Id) -> Id {
        self.resolve_parts(exprs, id, &mut HashMap::new())
    }

    /// A part of several others is looked at once.
    fn resolve_parts(&self, exprs: &mut Exprs, id: Id, done: &mut HashMap<Id, Id>) -> Id {
        if let Some(value) = self.sets.get(&id).and_then(|set| set.single()) {
            return exprs.constant(value as u32);
        }
        let Node::Op(op, a, b) = exprs.node(id) else { return id };
        if !self.knows(exprs.words(id)) {
            return id;
        }
        if let Some(resolved) = done.get(&id) {
            return *resolved;
        }
        let [a, b] = [a, b].map(|part| self.resolve_parts(exprs, part, done));
        let resolved = exprs.op(op, a, b);
        done.insert(id, resolved);
        resolved
    }

    fn knows(&self, words: u16) -> bool {
        (0..WORDS).all(|index| words >> index & 1 == 0 || self.words[index].is_some())
    }

    /// Where an expression is known to be.
    pub fn set(&self, exprs: &Exprs, id: Id) -> Set {
        self.sets.get(&id).map_or_else(|| universe(exprs, id), |set| Set::clone(set))
    }

    /// All that is known.
    pub(super) fn all(&self) -> impl Iterator<Item = (Id, &Set)> {
        self.sets.iter().map(|(id, set)| (*id, set.as_ref()))
    }

    /// A call that has all this.
    pub fn solve(&self, exprs: &Exprs, work: &mut Work) -> Solved {
        self.solve_words(exprs, u16::MAX, work)
    }

    /// Whether facts connect the words at two offsets, directly or by others.
    pub fn connect(&self, exprs: &Exprs, a: u32, b: u32) -> bool {
        self.together(exprs, 1 << word_of(a)) >> word_of(b) & 1 == 1
    }

    /// The values that the word at an offset has in calls with these facts, of those in `within`. `None` if they are
    /// in too many intervals, or too much to find out. If no call has the facts, they are values that each fact by
    /// itself leaves.
    pub fn values(&self, exprs: &Exprs, offset: u32, within: &Set, work: &mut Work) -> Option<Set> {
        let word = word_of(offset);
        let (index, words) = (usize::from(word), self.together(exprs, 1 << word));
        let mut about = self.all().filter(|(id, _)| exprs.words(*id) & words != 0);
        match (about.next(), about.next()) {
            (None, _) => return Some(within.clone()),
            (Some((id, set)), None) if exprs.node(id) == Node::Word(word) => return Some(set.and(within)),
            _ => {}
        }
        if work.left() == 0 {
            return None;
        }
        let mut search = self.search(exprs, words, MAX_LISTING, work)?;
        let mut listed = Vec::new();
        let whole = search.list(index, (0, u32::BITS), within, &mut listed);
        work.spend(search.steps * search.nodes.len());
        whole.map(|()| Set::union(listed).and(within))
    }

    /// These words and all that facts connect with them.
    fn together(&self, exprs: &Exprs, mut words: u16) -> u16 {
        loop {
            let of_facts = self.sets.keys().map(|id| exprs.words(*id)).filter(|of| of & words != 0);
            let more = of_facts.fold(words, |words, of| words | of);
            if more == words {
                return words;
            }
            words = more;
        }
    }

    /// Values of `words` that have all facts about them.
    fn solve_words(&self, exprs: &Exprs, words: u16, work: &mut Work) -> Solved {
        let Some(mut search) = self.search(exprs, words, MAX_STEPS, work) else { return Solved::TooMuch };
        let found = search.search();
        work.spend(search.steps * search.nodes.len());
        match found {
            Some(true) => Solved::Yes(search.bits),
            Some(false) => Solved::No,
            None => Solved::TooMuch,
        }
    }

    /// A search for words that have all facts about `words`; `None` if they have too many parts.
    fn search(&self, exprs: &Exprs, words: u16, most: usize, work: &mut Work) -> Option<Search<'_>> {
        let facts: Vec<_> = self.all().filter(|(id, _)| exprs.words(*id) & words != 0).collect();
        let Some(parts) = exprs.parts(facts.iter().map(|(id, _)| *id), MAX_PARTS) else {
            work.spend(MAX_PARTS);
            return None;
        };
        let place = |id: &Id| parts.binary_search(id).unwrap_or_default();
        let nodes: Vec<Part> = parts
            .iter()
            .map(|id| match exprs.node(*id) {
                Node::Constant(value) => Part::Constant(value),
                Node::Word(index) => Part::Word(usize::from(index)),
                Node::Op(op, a, b) => Part::Op(op, place(&a), place(&b)),
            })
            .collect();
        let facts: Vec<_> = facts.iter().map(|(id, set)| (place(id), *set, exprs.words(*id))).collect();
        let relevant = relevant(&nodes, &facts);
        Some(Search {
            nodes,
            facts,
            bits: [0; WORDS],
            // The others are 0 as well as anything else.
            unknown: relevant,
            most,
            steps: 0,
            ranges: Vec::new(),
        })
    }
}

/// Where an expression can be at all, roughly.
pub(super) fn universe(exprs: &Exprs, id: Id) -> Set {
    match exprs.node(id) {
        Node::Constant(value) => Set::of(value.into()),
        Node::Op(Op::Gt | Op::Ge, ..) => Set::range(0, 1),
        Node::Op(Op::Alu(AluOp::And), _, mask) => match exprs.known(mask) {
            Some(mask) if mask.is_power_of_two() => Set::of(0).or(&Set::of(mask.into())),
            Some(mask) => Set::range(0, mask.into()),
            None => Set::range(0, MAX),
        },
        _ => Set::range(0, MAX),
    }
}

/// A part of an expression, with the places of its own parts.
enum Part {
    Constant(u32),
    Word(usize),
    Op(Op, usize, usize),
}

/// The bits of each word on which a fact may depend.
fn relevant(nodes: &[Part], facts: &[(usize, &Set, u16)]) -> [u32; WORDS] {
    let mut asked = vec![0; nodes.len()];
    for (place, ..) in facts {
        asked[*place] = u32::MAX;
    }
    let mut relevant = [0; WORDS];
    let constant = |place: usize| match nodes[place] {
        Part::Constant(value) => Some(value),
        _ => None,
    };
    for place in (0..nodes.len()).rev() {
        let bits: u32 = asked[place];
        match nodes[place] {
            Part::Constant(_) => {}
            Part::Word(index) => relevant[index] |= bits,
            Part::Op(op, a, b) => {
                // Carries go up only.
                let below = u32::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0);
                let (of_a, of_b) = match (op, constant(b)) {
                    (Op::Alu(AluOp::And), Some(mask)) => (bits & mask, 0),
                    (Op::Alu(AluOp::Or), Some(mask)) => (bits & !mask, 0),
                    (Op::Alu(AluOp::And | AluOp::Or | AluOp::Xor), _) => (bits, bits),
                    (Op::Alu(AluOp::Add | AluOp::Sub | AluOp::Mul), _) => (below, below),
                    (Op::Alu(AluOp::Lsh), Some(by)) => (bits.wrapping_shr(by), 0),
                    (Op::Alu(AluOp::Rsh), Some(by)) => (bits.wrapping_shl(by), 0),
                    _ => (u32::MAX, u32::MAX),
                };
                asked[a] |= of_a;
                asked[b] |= of_b;
            }
        }
    }
    relevant
}

/// A search for words by their bits, the highest first and 0 before 1. What the bits that are set leave possible shows
/// early that there is nothing to be found, or that anything will do.
struct Search<'f> {
    nodes: Vec<Part>,
    /// The place of an expression, where it has to be, the words that it depends on.
    facts: Vec<(usize, &'f Set, u16)>,
    bits: [u32; WORDS],
    unknown: [u32; WORDS],
    /// The most steps.
    most: usize,
    steps: usize,
    ranges: Vec<Range>,
}

/// What bits leave of facts.
#[derive(PartialEq, Eq)]
enum Now {
    /// All hold, whatever the other bits are.
    All,
    /// One does not hold.
    None,
    /// It depends on others; the words of a fact that does.
    Open(u16),
}

impl Search<'_> {
    /// Whether there are such words, which are then in `bits`; `None` if the search took too long.
    fn search(&mut self) -> Option<bool> {
        self.step()?;
        let words = match self.now(u16::MAX) {
            Now::All => return Some(true),
            Now::None => return Some(false),
            Now::Open(words) => words,
        };
        // Any bit of a fact that is open still decides something; without one, all is known.
        let unknown = |index: &usize| {
            if words >> index & 1 == 1 { self.unknown[*index] } else { 0 }
        };
        let index = (0..WORDS).min_by_key(|index| unknown(index).leading_zeros()).unwrap_or_default();
        let bit = unknown(&index).checked_ilog2().map(|bit| 1 << bit)?;
        self.unknown[index] &= !bit;
        if self.search()? {
            return Some(true);
        }
        self.bits[index] |= bit;
        if self.search()? {
            return Some(true);
        }
        self.bits[index] &= !bit;
        self.unknown[index] |= bit;
        Some(false)
    }

    /// Adds the values to `listed` with which there are such words, from `first` on so many as `bits` can tell apart;
    /// `None` if it takes too long, or they are too many.
    fn list(
        &mut self,
        index: usize,
        (first, bits): (u32, u32),
        within: &Set,
        listed: &mut Vec<(u64, u64)>,
    ) -> Option<()> {
        let below = u32::MAX.checked_shr(u32::BITS - bits).unwrap_or(0);
        let last = first | below;
        if !within.meets(first.into(), last.into()) {
            return Some(());
        }
        self.step()?;
        (self.bits[index], self.unknown[index]) = (first, below);
        let has_all = match self.now(1 << index) {
            Now::All => true,
            Now::None => false,
            Now::Open(_) => match bits.checked_sub(1) {
                Some(bits) => {
                    self.list(index, (first, bits), within, listed)?;
                    return self.list(index, (first | 1 << bits, bits), within, listed);
                }
                None => {
                    let before = (self.bits, self.unknown);
                    let found = self.search()?;
                    (self.bits, self.unknown) = before;
                    found
                }
            },
        };
        if has_all {
            match listed.last_mut() {
                Some(before) if before.1.checked_add(1) == Some(first.into()) => before.1 = last.into(),
                _ => listed.push((first.into(), last.into())),
            }
        }
        (listed.len() <= MAX_LISTED).then_some(())
    }

    fn step(&mut self) -> Option<()> {
        self.steps += 1;
        (self.steps <= self.most).then_some(())
    }

    /// What the bits that are set leave of the facts about one of `about`.
    fn now(&mut self, about: u16) -> Now {
        self.evaluate();
        let mut now = Now::All;
        for (place, set, words) in &self.facts {
            let Range { low, high, .. } = self.ranges[*place];
            if !set.meets(low.into(), high.into()) {
                return Now::None;
            }
            if now == Now::All && words & about != 0 && !set.covers(low.into(), high.into()) {
                now = Now::Open(*words);
            }
        }
        now
    }

    fn evaluate(&mut self) {
        self.ranges.clear();
        for node in &self.nodes {
            let range = match *node {
                Part::Constant(value) => Range::exactly(value),
                Part::Word(index) => Range::of_bits(self.bits[index], self.unknown[index]),
                Part::Op(op, a, b) => Range::apply(op, self.ranges[a], self.ranges[b]),
            };
            self.ranges.push(range);
        }
    }
}
