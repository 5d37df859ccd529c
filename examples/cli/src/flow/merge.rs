//! Blocks that ask about one thing become one node.

use std::collections::{BTreeMap, HashMap};

use cbpf_translator::cbpf::AluOp;

use super::block::{Block, BlockEnd, Blocks, targets};
use super::{Case, End, Flow, Node, Subject, When};
use crate::symbolic::{Condition, Exprs, Facts, Field, Id, Node as Expr, Op, Set, Term, Work};

const MAX: u64 = u32::MAX as u64;

/// The most paths that are followed through blocks that ask about one field of 64 bits.
const MAX_PATHS: usize = 256;

/// As much work as following them may be, of the whole program.
const WORK: usize = 1 << 22;

/// Makes nodes of blocks.
pub(super) fn nodes(blocks: Blocks) -> Flow {
    let Blocks { insns, exprs, all } = blocks;
    let stands_for = stands_for(&all);
    let copies = all.len();
    let mut merger =
        Merger { entries: vec![0; all.len()], stands_for, all, exprs, work: Work::new(WORK), copies };
    merger.count_entries();

    let mut found: BTreeMap<usize, (Vec<usize>, End)> = BTreeMap::new();
    let first = merger.stands_for[0];
    let mut open = vec![first];
    while let Some(head) = open.pop() {
        if found.contains_key(&head) {
            continue;
        }
        let (members, end) = merger.node(head);
        let node = Node { blocks: Vec::new(), statements: Vec::new(), end: end.clone() };
        open.extend(node.successors());
        found.insert(head, (members, end));
    }
    merger.finish(found, insns)
}

/// The block that each stands for: itself; where it only goes on, what follows; and of those that return one number
/// the first.
fn stands_for(all: &[Block]) -> Vec<usize> {
    let mut stands_for: Vec<usize> = (0..all.len()).collect();
    let mut returns: HashMap<u32, usize> = HashMap::new();
    for (index, block) in all.iter().enumerate().filter(|(_, block)| block.statements.is_empty()) {
        if let BlockEnd::Return(value) = block.end {
            stands_for[index] = *returns.entry(value).or_insert(index);
        }
    }
    for (index, block) in all.iter().enumerate().rev() {
        if let (BlockEnd::To(to), true) = (&block.end, block.statements.is_empty()) {
            stands_for[index] = stands_for[*to];
        }
    }
    stands_for
}

struct Merger {
    all: Vec<Block>,
    stands_for: Vec<usize>,
    /// How many ways lead to each block.
    entries: Vec<usize>,
    exprs: Exprs,
    work: Work,
    /// How many more blocks may be in a node besides another one.
    copies: usize,
}

/// Blocks that are left to others, by what leads there.
type Exits<T> = BTreeMap<usize, T>;

impl Merger {
    fn count_entries(&mut self) {
        self.entries[self.stands_for[0]] += 1;
        for (index, block) in self.all.iter().enumerate() {
            if self.stands_for[index] == index {
                for to in targets(&block.end) {
                    self.entries[self.stands_for[to]] += 1;
                }
            }
        }
    }

    /// The node that begins with a block: all its blocks, and what follows, by indices of blocks.
    fn node(&mut self, head: usize) -> (Vec<usize>, End) {
        let to = |to: usize| self.stands_for[to];
        let end = match &self.all[head].end {
            BlockEnd::Return(value) => End::Return(*value),
            BlockEnd::Value(id) => End::Value(*id),
            BlockEnd::Accumulator => End::Accumulator,
            BlockEnd::To(next) => End::To(to(*next)),
            BlockEnd::Test { pc, holds, fails } if to(*holds) != to(*fails) => {
                End::Test { pc: *pc, holds: to(*holds), fails: to(*fails) }
            }
            BlockEnd::Test { holds, .. } => End::To(to(*holds)),
            BlockEnd::Ask { id, .. } => {
                let id = *id;
                let of_field = wide_field(&self.exprs, id).and_then(|field| self.one_field(head, field));
                let (members, subject, cases) = match of_field {
                    Some((members, field, cases)) => (members, Subject::Field(field), cases),
                    None => {
                        let (members, cases) = self.one_value(head, id);
                        (members, Subject::Value(id), cases)
                    }
                };
                return match cases.as_slice() {
                    [case] => (members, End::To(case.to)),
                    _ => (members, End::Cases { subject, cases }),
                };
            }
        };
        (vec![head], end)
    }

    /// What a block asks, if that is all that it does, or it is the first.
    fn asks(&self, index: usize, head: usize) -> Option<(Id, &Set, [usize; 2])> {
        let block = &self.all[index];
        match &block.end {
            BlockEnd::Ask { id, set, holds, fails } if index == head || block.statements.is_empty() => {
                Some((*id, set, [*holds, *fails].map(|to| self.stands_for[to])))
            }
            _ => None,
        }
    }

    /// Whether a block behind `head` to which `ways` lead from one node may be in that node too.
    ///
    /// Compilers keep equal parts once. Which of them a test belongs to is of no interest: it is in all, as long as
    /// that is not much.
    fn joins(&mut self, index: usize, head: usize, ways: usize) -> bool {
        if index == head || ways == self.entries[index] {
            return true;
        }
        let copied = self.copies.checked_sub(1);
        self.copies = copied.unwrap_or(0);
        copied.is_some()
    }

    /// All blocks behind `head` that ask about `id` too. The values that leave for each other block are known.
    fn one_value(&mut self, head: usize, id: Id) -> (Vec<usize>, Vec<Case>) {
        let mut members = Vec::new();
        let mut exits: Exits<Vec<(u64, u64)>> = Exits::new();
        // Each value is in one place, so that all sets together are never long.
        let mut open = BTreeMap::from([(head, (vec![(0, MAX)], 1))]);
        while let Some((index, (ranges, ways))) = open.pop_first() {
            let set = Set::union(ranges);
            let is_asked = self.asks(index, head).is_some_and(|(other, ..)| other == id);
            let joins = is_asked && !set.is_empty() && self.joins(index, head, ways);
            let Some((_, asked, next)) = self.asks(index, head).filter(|_| joins) else {
                // A block that returns may stand before some that lead to it.
                exits.entry(index).or_default().extend(set.ranges());
                continue;
            };
            members.push(index);
            for (to, set) in next.into_iter().zip([set.and(asked), set.and(&asked.not(MAX))]) {
                let (ranges, ways) = open.entry(to).or_insert_with(|| (Vec::new(), 0));
                ranges.extend(set.ranges());
                *ways += 1;
            }
        }
        let exits = exits.into_iter().filter(|(_, ranges)| !ranges.is_empty());
        let cases = exits.map(|(to, ranges)| Case { when: When::In(Set::union(ranges)), to });
        (members, cases.collect())
    }

    /// All blocks behind `head` that ask about `field` too, under any mask. `None` if that is too much to say.
    fn one_field(&mut self, head: usize, field: Field) -> Option<(Vec<usize>, Field, Vec<Case>)> {
        let (mut members, mut paths) = (Vec::new(), 0);
        let mut open = BTreeMap::from([(head, (1_usize, 1))]);
        while let Some((index, (ways_to, entries))) = open.pop_first() {
            let asked = self.asks(index, head);
            let is_asked = asked.is_some_and(|(id, ..)| wide_field(&self.exprs, id) == Some(field));
            let joins = is_asked && self.joins(index, head, entries);
            match self.asks(index, head).filter(|_| joins) {
                Some((.., next)) => {
                    members.push(index);
                    for to in next {
                        let (ways, entries) = open.entry(to).or_insert((0, 0));
                        *ways = ways.saturating_add(ways_to);
                        *entries += 1;
                    }
                }
                None => paths = ways_to.saturating_add(paths),
            }
        }
        if paths > MAX_PATHS {
            return None;
        }
        let mut exits: Exits<Condition> = Exits::new();
        let mut open = vec![(head, Facts::default())];
        while let Some((index, facts)) = open.pop() {
            if !members.contains(&index) {
                let term = Term::of(&self.exprs, &facts, &mut self.work)?;
                if !exits.entry(index).or_default().add(term) {
                    return None;
                }
                continue;
            }
            let BlockEnd::Ask { id, set, holds, fails } = &self.all[index].end else { return None };
            for (set, to) in [(&set.not(MAX), fails), (set, holds)] {
                if let Some(facts) = facts.with(&mut self.exprs, *id, set, &mut self.work) {
                    open.push((self.stands_for[*to], facts));
                }
            }
        }
        let cases = exits.into_iter().map(|(to, condition)| Case { when: When::Has(condition), to });
        Some((members, field, cases.collect()))
    }

    /// Numbers the nodes in the program's order.
    fn finish(
        self,
        found: BTreeMap<usize, (Vec<usize>, End)>,
        insns: Vec<(cbpf_translator::cbpf::Opcode, cbpf_translator::SockFilter)>,
    ) -> Flow {
        let numbers: HashMap<usize, usize> = found.keys().copied().zip(0..).collect();
        let mut nodes = Vec::with_capacity(found.len());
        let mut nodes_of = vec![Vec::new(); self.all.len()];
        for (number, (head, (members, mut end))) in found.into_iter().enumerate() {
            for member in members {
                nodes_of[member].push(number);
            }
            match &mut end {
                End::Return(_) | End::Value(_) | End::Accumulator => {}
                End::To(to) => *to = numbers[to],
                End::Test { holds, fails, .. } => (*holds, *fails) = (numbers[holds], numbers[fails]),
                End::Cases { cases, .. } => cases.iter_mut().for_each(|case| case.to = numbers[&case.to]),
            }
            nodes.push(Node { blocks: Vec::new(), statements: self.all[head].statements.clone(), end });
        }
        for (index, block) in self.all.iter().enumerate() {
            for node in &nodes_of[self.stands_for[index]] {
                nodes[*node].blocks.push(block.insns.clone());
            }
        }
        Flow { nodes, exprs: self.exprs, insns }
    }
}

/// The field of 64 bits of which an expression is a half, or bits of one.
fn wide_field(exprs: &Exprs, id: Id) -> Option<Field> {
    let word = match exprs.node(id) {
        Expr::Word(word) => word,
        Expr::Op(Op::Alu(AluOp::And), a, b) => match (exprs.node(a), exprs.known(b)) {
            (Expr::Word(word), Some(_)) => word,
            _ => return None,
        },
        _ => return None,
    };
    Some(Field::of(word).0).filter(|field| field.is_wide())
}
