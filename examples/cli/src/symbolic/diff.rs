//! Where two programs decide otherwise.

use cbpf_translator::Checked;
use cbpf_translator::cbpf::AluOp;
use cbpf_translator::seccomp::AUDIT_ARCH_NAMES;
use seccomp_runtime::SeccompData;

use super::expr::{Exprs, Id, Op, WORDS};
use super::facts::{Facts, Solved};
use super::set::Set;
use super::walk::{Leaf, TooMuch, Work, follow};

const MAX: u64 = u32::MAX as u64;

/// The most differences that are looked for.
const MAX_DIFFERENCES: usize = 1 << 14;

/// The most paths that are kept because it is not known whether a call takes them.
const MAX_LEFT: usize = 1 << 10;

/// Calls on which two programs differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What they have, if more than one call is known; not all that have it need to differ if a value depends on them.
    pub facts: Option<Facts>,
    /// What the two programs give; one that depends on the call has none.
    pub values: [Option<u32>; 2],
    /// One of them.
    pub witness: SeccompData,
}

impl Difference {
    /// Those of its calls whose word at `offset` is in `set`, if there are any.
    ///
    /// # Errors
    ///
    /// That is too much to find out.
    pub fn narrowed(
        &self,
        exprs: &mut Exprs,
        offset: u32,
        set: &Set,
        work: &mut Work,
    ) -> Result<Option<Self>, TooMuch> {
        let word = exprs.word(offset);
        let is_shown = set.contains(exprs.value(word, &self.witness).into());
        let Some(all) = &self.facts else { return Ok(is_shown.then(|| self.clone())) };
        let Some(facts) = all.with(exprs, word, set, work) else { return Ok(None) };
        let witness = match is_shown {
            true => self.witness,
            false => match facts.solve(exprs, work) {
                Solved::Yes(words) => data(words),
                Solved::No => return Ok(None),
                Solved::TooMuch => return Err(TooMuch),
            },
        };
        Ok(Some(Self { facts: Some(facts), values: self.values, witness }))
    }
}

/// What came of comparing two programs.
#[derive(Debug, Default)]
pub struct Differences {
    /// The expressions of the facts.
    pub exprs: Exprs,
    /// Where they differ.
    pub found: Vec<Difference>,
    /// Whether calls are left of which it is not known. Without, and with nothing found, the programs are equal.
    pub undecided: bool,
    /// What is left where paths were followed, with the values there.
    #[cfg_attr(not(feature = "smt"), expect(dead_code, reason = "what a solver is asked"))]
    pub(super) left: Vec<(Facts, [Option<u32>; 2])>,
    /// Whether more than that is left, since not all paths were followed.
    #[cfg_attr(not(feature = "smt"), expect(dead_code, reason = "what a solver is asked"))]
    pub(super) cut: bool,
}

/// Compares two programs: the 32 bits that they return, for all of the calls that there can be.
pub fn diff(a: &Checked, b: &Checked, work: &mut Work) -> Differences {
    let mut exprs = Exprs::default();
    let (mut found, mut left) = (Vec::new(), Vec::new());
    let all = follow(a, &mut exprs, Facts::default(), work, &mut |exprs, work, first| {
        follow(b, exprs, first.facts, work, &mut |exprs, work, Leaf { facts, value }| {
            match compare(exprs, work, facts, [first.value, value]) {
                Compared::Equal => {}
                Compared::Different(difference) => found.push(*difference),
                Compared::Undecided(facts, values) => left.push((facts, values)),
            }
            let is_much = found.len() >= MAX_DIFFERENCES || left.len() >= MAX_LEFT;
            if is_much { Err(TooMuch) } else { Ok(()) }
        })
    });
    let cut = all.is_err();
    Differences { exprs, found, undecided: cut || !left.is_empty(), left, cut }
}

/// What came of two paths.
enum Compared {
    /// No call takes both and gets two values.
    Equal,
    Different(Box<Difference>),
    /// Whether a call has these facts, and then different values, is not known.
    Undecided(Facts, [Option<u32>; 2]),
}

/// Whether some call with these facts gets two values.
fn compare(exprs: &mut Exprs, work: &mut Work, facts: Facts, ids: [Id; 2]) -> Compared {
    let [a, b] = ids.map(|id| facts.resolve(exprs, id));
    if a == b {
        return Compared::Equal;
    }
    let differ = exprs.op(Op::Alu(AluOp::Xor), a, b);
    let Some(facts) = facts.with(exprs, differ, &Set::range(1, MAX), work) else { return Compared::Equal };
    let values = [a, b].map(|id| exprs.known(id));
    let words = match usual(exprs, work, &facts) {
        Some(words) => words,
        None => match facts.solve(exprs, work) {
            Solved::Yes(words) => words,
            Solved::No => return Compared::Equal,
            Solved::TooMuch => return Compared::Undecided(facts, values),
        },
    };
    Compared::Different(Box::new(Difference { facts: Some(facts), values, witness: data(words) }))
}

/// A call of an architecture that there is, if one of them has the facts.
fn usual(exprs: &mut Exprs, work: &mut Work, facts: &Facts) -> Option<[u32; WORDS]> {
    let arch = exprs.word(4);
    AUDIT_ARCH_NAMES.iter().find_map(|(_, value)| {
        let facts = facts.with(exprs, arch, &Set::of(u64::from(*value)), work)?;
        match facts.solve(exprs, work) {
            Solved::Yes(words) => Some(words),
            Solved::No | Solved::TooMuch => None,
        }
    })
}

/// The call with these words.
pub(super) fn data(words: [u32; WORDS]) -> SeccompData {
    let long = |index: usize| u64::from(words[index]) | u64::from(words[index + 1]) << 32;
    SeccompData {
        nr: words[0].cast_signed(),
        arch: words[1],
        instruction_pointer: long(2),
        args: std::array::from_fn(|index| long(4 + 2 * index)),
    }
}
