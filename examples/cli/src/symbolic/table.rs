//! What a program decides on the calls of one number.

use std::collections::BTreeMap;

use cbpf_translator::Checked;
use seccomp_runtime::SeccompData;

use super::condition::{Condition, Field, Term};
use super::expr::Exprs;
use super::facts::Facts;
use super::set::Set;
use super::walk::{TooMuch, Work, follow};

/// The most paths of one number.
const MAX_LEAVES: usize = 4096;

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

/// What `program` decides on calls of `nr` by the entry `arch`, an `AUDIT_ARCH_*` value.
pub fn decision(program: &Checked, arch: u32, nr: i32, work: &mut Work) -> Decision {
    calls(program, arch, &Set::of(nr.cast_unsigned().into()), work)
}

/// What `program` decides on calls by the entry `arch` whose number is in `numbers`. The conditions are also about
/// the number.
pub fn others(program: &Checked, arch: u32, numbers: &Set, work: &mut Work) -> Decision {
    calls(program, arch, numbers, work)
}

fn calls(program: &Checked, arch: u32, numbers: &Set, work: &mut Work) -> Decision {
    let mut exprs = Exprs::default();
    let words = [(0, numbers), (4, &Set::of(arch.into()))];
    let facts = words.into_iter().try_fold(Facts::default(), |facts, (offset, set)| {
        let word = exprs.word(offset);
        facts.with(&mut exprs, word, set, work)
    });
    let Some(facts) = facts else { return Decision::Depends };
    // A condition that cannot be said is `None`.
    let mut values: BTreeMap<u32, Option<Condition>> = BTreeMap::new();
    let mut leaves = 0;
    let followed = follow(program, &mut exprs, facts, work, &mut |exprs, _, leaf| {
        leaves += 1;
        let value = exprs.known(leaf.value).filter(|_| leaves <= MAX_LEAVES).ok_or(TooMuch)?;
        let condition = values.entry(value).or_insert_with(|| Some(Condition::default()));
        let term = Term::of(exprs, &leaf.facts).map(|term| said(term, numbers));
        let added = condition.as_mut().zip(term).is_some_and(|(condition, term)| condition.add(term));
        if !added {
            *condition = None;
        }
        Ok(())
    });
    match followed {
        Ok(()) => cases(values),
        Err(TooMuch) => Decision::Depends,
    }
}

/// Without what is so anyway.
fn said(term: Term, numbers: &Set) -> Term {
    let nr_is_known = numbers.single().is_some()
        || term.atoms().all(|(field, mask, ranges)| {
            field != Field::Nr || mask == u64::from(u32::MAX) && ranges == numbers.ranges()
        });
    let term = term.without(Field::Arch);
    if nr_is_known { term.without(Field::Nr) } else { term }
}

/// The value that has most to say is the one for the other calls; of equal ones the strictest.
fn cases(mut values: BTreeMap<u32, Option<Condition>>) -> Decision {
    let size = |condition: &Option<Condition>| condition.as_ref().map_or((usize::MAX, 0), Condition::size);
    let rank = |value: u32| std::cmp::Reverse(value.cast_signed());
    let most = values.iter().max_by_key(|(value, condition)| (size(condition), rank(**value)));
    let Some(otherwise) = most.map(|(value, _)| *value) else { return Decision::Depends };
    values.remove(&otherwise);
    if values.is_empty() {
        return Decision::Always(otherwise);
    }
    let cases = values.into_iter().map(|(value, condition)| Some((condition?, value)));
    match cases.collect::<Option<Vec<_>>>() {
        Some(cases) => Decision::Cases { cases, otherwise },
        None => Decision::Depends,
    }
}
