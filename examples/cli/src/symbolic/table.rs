//! What a program decides on the calls of one number.

use std::collections::BTreeMap;

use cbpf_translator::Checked;
use cbpf_translator::seccomp::RET_ALLOW;
use seccomp_kernel::strictest;
use seccomp_runtime::SeccompData;

use super::condition::{Condition, Field, Term};
use super::expr::Exprs;
use super::facts::{Facts, Solved};
use super::set::Set;
use super::walk::{TooMuch, Work, follow};

/// The most ways of the calls of one number through a stack.
const MAX_LEAVES: usize = 4096;

/// The most values that are told apart.
const MAX_CASES: usize = 256;

/// What some calls get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// All the same.
    Always(u32),
    /// What the condition says that holds, one at most.
    Cases {
        /// Values with the calls that get them.
        cases: Vec<(Condition, u32)>,
        /// For the other calls.
        otherwise: u32,
    },
    /// It depends on arguments or the instruction pointer, in a way that is too much to say.
    Depends,
}

impl Decision {
    /// The value for a call of those that this is about, if it is known.
    pub fn value(&self, data: &SeccompData) -> Option<u32> {
        match self {
            Self::Always(value) => Some(*value),
            Self::Cases { cases, otherwise } => {
                let case = cases.iter().find(|(condition, _)| condition.holds(data));
                Some(case.map_or(*otherwise, |(_, value)| *value))
            }
            Self::Depends => None,
        }
    }
}

/// A filter of a stack.
#[derive(Clone, Copy, Debug)]
pub enum Member<'p> {
    /// A program.
    Program(&'p Checked),
    /// One of which the value is known, for all calls in question.
    Value(u32),
}

/// What `program` decides on calls of `nr` by the entry `arch`, an `AUDIT_ARCH_*` value.
pub fn decision(program: &Checked, arch: u32, nr: i32, work: &mut Work) -> Decision {
    others(program, arch, &Set::of(nr.cast_unsigned().into()), work)
}

/// What `program` decides on calls by the entry `arch` whose number is in `numbers`. The conditions are also about
/// the number.
pub fn others(program: &Checked, arch: u32, numbers: &Set, work: &mut Work) -> Decision {
    stacked(
        &[Member::Program(program)],
        &Calls { arches: Set::of(arch.into()), numbers: numbers.clone() },
        work,
    )
}

/// Calls by what is known of them.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The `AUDIT_ARCH_*` values.
    pub arches: Set,
    /// The numbers.
    pub numbers: Set,
}

impl Calls {
    /// Those of one number.
    pub fn of(arch: u32, nr: i32) -> Self {
        Self { arches: Set::of(arch.into()), numbers: Set::of(nr.cast_unsigned().into()) }
    }

    fn facts(&self, exprs: &mut Exprs, work: &mut Work) -> Option<Facts> {
        let words = [(0, &self.numbers), (4, &self.arches)];
        words.into_iter().try_fold(Facts::default(), |facts, (offset, set)| {
            let word = exprs.word(offset);
            facts.with(exprs, word, set, work)
        })
    }
}

/// What a stack decides on `calls`, the oldest filter first. Where more than one number or architecture is in question,
/// the conditions are also about that.
pub fn stacked(stack: &[Member<'_>], calls: &Calls, work: &mut Work) -> Decision {
    let mut exprs = Exprs::default();
    let Some(facts) = calls.facts(&mut exprs, work) else { return Decision::Depends };
    let Ok(leaves) = leaves(stack, &mut exprs, facts, work) else { return Decision::Depends };
    // A condition that cannot be said is `None`.
    let mut values: BTreeMap<u32, Option<Condition>> = BTreeMap::new();
    for (facts, value) in leaves {
        let condition = values.entry(value).or_insert_with(|| Some(Condition::default()));
        let term = Term::of(&exprs, &facts, work).map(|term| said(term, calls));
        let added = condition.as_mut().zip(term).is_some_and(|(condition, term)| condition.add(term));
        if !added {
            *condition = None;
        }
    }
    cases(values)
}

/// Whether two stacks return the same 32 bits on all `calls`; `None` where that is too much to find out.
pub fn agree(a: &[Member<'_>], b: &[Member<'_>], calls: &Calls, work: &mut Work) -> Option<bool> {
    let mut exprs = Exprs::default();
    let facts = calls.facts(&mut exprs, work)?;
    let mut known = true;
    for (facts, first) in leaves(a, &mut exprs, facts, work).ok()? {
        for (facts, second) in leaves(b, &mut exprs, facts, work).ok()? {
            if first != second {
                match facts.solve(&exprs, work) {
                    Solved::Yes(_) => return Some(false),
                    Solved::No => {}
                    Solved::TooMuch => known = false,
                }
            }
        }
    }
    known.then_some(true)
}

/// The ways of calls through all filters of a stack, each with what counts then. No call takes two of them.
fn leaves(
    stack: &[Member<'_>],
    exprs: &mut Exprs,
    facts: Facts,
    work: &mut Work,
) -> Result<Vec<(Facts, u32)>, TooMuch> {
    let mut leaves = vec![(facts, None)];
    for member in stack.iter().rev() {
        let mut further = Vec::new();
        for (facts, newer) in leaves {
            // The newer filter's comes first: of equal actions it counts.
            let counts = |value| strictest(newer.into_iter().chain([value]).map(|value| (value, ())));
            let mut found = |facts, value| {
                further.push((facts, counts(value).map(|(value, ())| value)));
                if further.len() <= MAX_LEAVES { Ok(()) } else { Err(TooMuch) }
            };
            match member {
                Member::Value(value) => found(facts, *value)?,
                Member::Program(program) => follow(program, exprs, facts, work, &mut |exprs, _, leaf| {
                    found(leaf.facts, exprs.known(leaf.value).ok_or(TooMuch)?)
                })?,
            }
        }
        leaves = further;
    }
    // Without a filter everything is allowed.
    Ok(leaves.into_iter().map(|(facts, value)| (facts, value.unwrap_or(RET_ALLOW))).collect())
}

/// Without what is so anyway.
fn said(term: Term, calls: &Calls) -> Term {
    let is_known = |term: &Term, wanted: Field, set: &Set| {
        set.single().is_some()
            || term.atoms().all(|(field, mask, ranges)| {
                field != wanted || mask == u64::from(u32::MAX) && ranges == set.ranges()
            })
    };
    [(Field::Arch, &calls.arches), (Field::Nr, &calls.numbers)].into_iter().fold(
        term,
        |term, (field, set)| {
            if is_known(&term, field, set) { term.without(field) } else { term }
        },
    )
}

/// The value that has most to say is the one for the other calls; of equal ones the strictest.
fn cases(mut values: BTreeMap<u32, Option<Condition>>) -> Decision {
    let size = |condition: &Option<Condition>| condition.as_ref().map_or((usize::MAX, 0), Condition::size);
    let rank = |value: u32| std::cmp::Reverse(value.cast_signed());
    let most = values.iter().max_by_key(|(value, condition)| (size(condition), rank(**value)));
    let Some(otherwise) = most.map(|(value, _)| *value) else { return Decision::Depends };
    values.remove(&otherwise);
    if values.len() > MAX_CASES {
        return Decision::Depends;
    }
    if values.is_empty() {
        return Decision::Always(otherwise);
    }
    let cases = values.into_iter().map(|(value, condition)| Some((condition?, value)));
    match cases.collect::<Option<Vec<_>>>() {
        Some(cases) => Decision::Cases { cases, otherwise },
        None => Decision::Depends,
    }
}
