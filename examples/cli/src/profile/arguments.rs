//! What the alternatives of one call come to: tests of halves of arguments.
//!
//! The alternatives are asked from the first on. Each test's outcome is kept in mind on both ways from it: it
//! settles comparisons of the alternatives that follow, so no way asks for what it knows. Many values of one
//! word are halved. Where alternatives get too many for that, they are simply asked one after the other.

use std::collections::HashMap;

use super::comparison::{Comparison, Operator};
use super::compile::TooLong;
use super::facts::Facts;
use super::graph::{Graph, Id, Test, Word};
use super::meaning::Alternative;

/// The most work for one call: a comparison that is looked at counts 1.
const MAX_WORK: usize = 1 << 18;

/// The most tests on a way.
const MAX_DEPTH: usize = 256;

/// As many values of a word are asked for one after the other; of more, the upper half is asked for first.
const FEW: usize = 5;

/// The node that decides on a call with these alternatives.
pub(super) fn decision(graph: &mut Graph, alternatives: &[Alternative], default: u32) -> Result<Id, TooLong> {
    let rules: Vec<Rest> = alternatives
        .iter()
        .map(|alternative| Rest { comparisons: alternative.comparisons.clone(), value: alternative.value })
        .collect();
    let plain = in_turn(graph, &rules, default)?;
    let mut decider = Decider { graph, default, done: HashMap::new(), work: 0 };
    match decider.decide(rules, &Facts::default(), 0) {
        // What is shared in one may be twice in the other.
        Ok(root) if decider.graph.size(root) <= 2 * decider.graph.size(plain) => Ok(root),
        Ok(_) | Err(Stop::Work) => Ok(plain),
        Err(Stop::TooLong) => Err(TooLong),
    }
}

/// What is left of an alternative.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rest {
    comparisons: Vec<Comparison>,
    value: u32,
}

enum Stop {
    Work,
    TooLong,
}

impl From<TooLong> for Stop {
    fn from(TooLong: TooLong) -> Self {
        Self::TooLong
    }
}

struct Decider<'g> {
    graph: &'g mut Graph,
    default: u32,
    done: HashMap<(Vec<Rest>, Facts), Id>,
    work: usize,
}

impl Decider<'_> {
    /// The node for calls of which `facts` are known and that get what the first of `rules` says that holds.
    fn decide(&mut self, mut rules: Vec<Rest>, facts: &Facts, depth: usize) -> Result<Id, Stop> {
        self.work += rules.iter().map(|rest| 1 + rest.comparisons.len()).sum::<usize>();
        if self.work > MAX_WORK || depth > MAX_DEPTH {
            return Err(Stop::Work);
        }
        rules = simplified(rules, facts, self.default);
        let Some(first) = rules.first() else { return Ok(self.graph.ret(self.default)?) };
        let Some(comparison) = first.comparisons.first() else { return Ok(self.graph.ret(first.value)?) };
        let (word, test) = next_test(comparison, &rules, facts);

        let mut words: Vec<_> = rules.iter().flat_map(|rest| &rest.comparisons).flat_map(words).collect();
        words.sort_unstable();
        words.dedup();
        let facts = facts.clone().of(&words);
        let key = (rules, facts);
        if let Some(id) = self.done.get(&key) {
            return Ok(*id);
        }
        let (rules, facts) = &key;
        let [holds, fails] = [true, false]
            .map(|outcome| self.decide(rules.clone(), &facts.with(word, test, outcome), depth + 1));
        let id = self.graph.branch(word, test, holds?, fails?)?;
        self.done.insert(key, id);
        Ok(id)
    }
}

/// What is left of the rules when `facts` are known.
fn simplified(rules: Vec<Rest>, facts: &Facts, default: u32) -> Vec<Rest> {
    let mut left: Vec<Rest> = Vec::new();
    for Rest { comparisons, value } in rules {
        let unsettled = comparisons.into_iter().map(|comparison| settle(comparison, facts));
        let unsettled = unsettled.filter(|settled| *settled != Settled::Holds).map(|settled| match settled {
            Settled::Open(comparison) => Some(comparison),
            Settled::Holds | Settled::Fails => None,
        });
        let Some(comparisons) = unsettled.collect::<Option<Vec<_>>>() else { continue };
        let last = comparisons.is_empty();
        left.push(Rest { comparisons, value });
        if last {
            break;
        }
    }
    while left.last().is_some_and(|rest| rest.value == default) {
        left.pop();
    }
    left
}

#[derive(PartialEq, Eq)]
enum Settled {
    Holds,
    Fails,
    /// It depends on this.
    Open(Comparison),
}

impl From<bool> for Settled {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

/// What `facts` leave of a comparison.
fn settle(comparison: Comparison, facts: &Facts) -> Settled {
    let Comparison { arg, operator, value, wide } = comparison;
    if wide {
        let (word, high) = (Word::high(arg), (value >> 32) as u32);
        let low = |operator| match Comparison::new(arg, operator, value, false) {
            Some(low) => settle(low, facts),
            None => Settled::Holds,
        };
        let equal = |test| facts.ask(word, test);
        return match operator {
            Operator::Eq => match equal(Test::Equal(high)) {
                Some(true) => low(operator),
                Some(false) => Settled::Fails,
                None => Settled::Open(comparison),
            },
            Operator::Ne => match equal(Test::Equal(high)) {
                Some(true) => low(operator),
                Some(false) => Settled::Holds,
                None => Settled::Open(comparison),
            },
            Operator::MaskedEq(mask) => match masked((mask >> 32) as u32, high) {
                None => low(operator),
                Some(test) => match equal(test) {
                    Some(true) => low(operator),
                    Some(false) => Settled::Fails,
                    None => Settled::Open(comparison),
                },
            },
            Operator::Lt | Operator::Le | Operator::Ge | Operator::Gt => {
                let upward = matches!(operator, Operator::Ge | Operator::Gt);
                if equal(Test::Equal(high)) == Some(true) {
                    low(operator)
                } else if above(facts, word, high) == Some(true) {
                    upward.into()
                } else if facts.ask(word, Test::AtLeast(high)) == Some(false) {
                    (!upward).into()
                } else {
                    Settled::Open(comparison)
                }
            }
        };
    }
    let (word, value) = (Word::low(arg), value as u32);
    let answer = match operator {
        Operator::Eq => facts.ask(word, Test::Equal(value)),
        Operator::Ne => facts.ask(word, Test::Equal(value)).map(|equal| !equal),
        Operator::Ge => facts.ask(word, Test::AtLeast(value)),
        Operator::Lt => facts.ask(word, Test::AtLeast(value)).map(|least| !least),
        Operator::Gt => above(facts, word, value),
        Operator::Le => above(facts, word, value).map(|above| !above),
        Operator::MaskedEq(mask) => match masked(mask as u32, value) {
            Some(test) => facts.ask(word, test),
            None => Some(true),
        },
    };
    answer.map_or(Settled::Open(comparison), Settled::from)
}

/// Whether a word is known to be above `value`, or not.
fn above(facts: &Facts, word: Word, value: u32) -> Option<bool> {
    match value.checked_add(1) {
        Some(least) => facts.ask(word, Test::AtLeast(least)),
        None => Some(false),
    }
}

/// The test of a word under a mask; none if the mask has no bit.
fn masked(mask: u32, value: u32) -> Option<Test> {
    match mask {
        0 => None,
        u32::MAX => Some(Test::Equal(value)),
        mask => Some(Test::Masked { mask, value: value & mask }),
    }
}

/// The words that a comparison may still ask for.
fn words(comparison: &Comparison) -> impl Iterator<Item = Word> {
    let Comparison { arg, wide, .. } = *comparison;
    wide.then_some(Word::high(arg)).into_iter().chain([Word::low(arg)])
}

/// What to ask next to learn about an open comparison.
fn next_test(comparison: &Comparison, rules: &[Rest], facts: &Facts) -> (Word, Test) {
    let (word, test) = own_test(comparison, facts);
    let mut values: Vec<u32> = rules
        .iter()
        .flat_map(|rest| &rest.comparisons)
        .filter_map(|other| match own_test(other, facts) {
            (others, Test::Equal(value)) if others == word => Some(value),
            _ => None,
        })
        .collect();
    values.sort_unstable();
    values.dedup();
    let middle = values.get(values.len() / 2).copied();
    match middle.map(Test::AtLeast) {
        Some(half) if values.len() > FEW && facts.ask(word, half).is_none() => (word, half),
        _ => (word, test),
    }
}

/// What an open comparison asks for itself. The outcome is not known.
fn own_test(comparison: &Comparison, facts: &Facts) -> (Word, Test) {
    let Comparison { arg, operator, value, wide } = *comparison;
    let (word, value) =
        if wide { (Word::high(arg), (value >> 32) as u32) } else { (Word::low(arg), value as u32) };
    let equal = Test::Equal(value);
    let test = match operator {
        Operator::Eq | Operator::Ne => equal,
        Operator::MaskedEq(mask) => {
            masked(if wide { (mask >> 32) as u32 } else { mask as u32 }, value).unwrap_or(equal)
        }
        // What is not 0 is above it.
        _ if wide && value == 0 => equal,
        _ if wide => match above(facts, word, value) {
            None => Test::AtLeast(value + 1),
            Some(_) => equal,
        },
        Operator::Ge | Operator::Lt => Test::AtLeast(value),
        Operator::Gt | Operator::Le => Test::AtLeast(value.saturating_add(1)),
    };
    (word, test)
}

/// The alternatives one after the other, with nothing kept in mind.
fn in_turn(graph: &mut Graph, rules: &[Rest], default: u32) -> Result<Id, TooLong> {
    let mut next = graph.ret(default)?;
    for Rest { comparisons, value } in rules.iter().rev() {
        let mut holds = graph.ret(*value)?;
        for comparison in comparisons.iter().rev() {
            holds = whole(graph, comparison, holds, next)?;
        }
        next = holds;
    }
    Ok(next)
}

/// One comparison, of both halves.
fn whole(graph: &mut Graph, comparison: &Comparison, holds: Id, fails: Id) -> Result<Id, TooLong> {
    let Comparison { arg, operator, value, wide } = *comparison;
    let (word, value_low) = (Word::low(arg), value as u32);
    let low = match operator {
        Operator::Eq => graph.branch(word, Test::Equal(value_low), holds, fails)?,
        Operator::Ne => graph.branch(word, Test::Equal(value_low), fails, holds)?,
        Operator::Ge => at_least(graph, word, Some(value_low), holds, fails)?,
        Operator::Lt => at_least(graph, word, Some(value_low), fails, holds)?,
        Operator::Gt => at_least(graph, word, value_low.checked_add(1), holds, fails)?,
        Operator::Le => at_least(graph, word, value_low.checked_add(1), fails, holds)?,
        Operator::MaskedEq(mask) => match masked(mask as u32, value_low) {
            Some(test) => graph.branch(word, test, holds, fails)?,
            None => holds,
        },
    };
    if !wide {
        return Ok(low);
    }
    let (word, high) = (Word::high(arg), (value >> 32) as u32);
    let (above, below) = match operator {
        Operator::Eq => return graph.branch(word, Test::Equal(high), low, fails),
        Operator::Ne => return graph.branch(word, Test::Equal(high), low, holds),
        Operator::MaskedEq(mask) => {
            return match masked((mask >> 32) as u32, high) {
                Some(test) => graph.branch(word, test, low, fails),
                None => Ok(low),
            };
        }
        Operator::Ge | Operator::Gt => (holds, fails),
        Operator::Lt | Operator::Le => (fails, holds),
    };
    let not_above = graph.branch(word, Test::Equal(high), low, below)?;
    at_least(graph, word, high.checked_add(1), above, not_above)
}

/// A test for at least `value`, or for more than there is.
fn at_least(graph: &mut Graph, word: Word, value: Option<u32>, holds: Id, fails: Id) -> Result<Id, TooLong> {
    match value {
        None => Ok(fails),
        Some(0) => Ok(holds),
        Some(value) => graph.branch(word, Test::AtLeast(value), holds, fails),
    }
}
