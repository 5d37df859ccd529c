//! Where two programs decide otherwise.

use cbpf_translator::Checked;
use cbpf_translator::cbpf::AluOp;
use cbpf_translator::seccomp::AUDIT_ARCH_NAMES;
use seccomp_runtime::SeccompData;

use super::expr::{Exprs, Id, Op};
use super::facts::{Facts, Solved, WORDS};
use super::set::Set;
use super::walk::{Leaf, TooMuch, Work, follow};

const MAX: u64 = u32::MAX as u64;

/// The most differences that are looked for.
const MAX_DIFFERENCES: usize = 1 << 14;

/// Calls on which two programs differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What they have; not all that have it need to differ if a value depends on them.
    pub facts: Facts,
    /// What the two programs give; one that depends on the call has none.
    pub values: [Option<u32>; 2],
    /// One of them.
    pub witness: SeccompData,
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
}

/// Compares two programs: the 32 bits that they return, for all of the calls that there can be.
pub fn diff(a: &Checked, b: &Checked, work: &mut Work) -> Differences {
    let mut exprs = Exprs::default();
    let (mut found, mut undecided) = (Vec::new(), false);
    let all = follow(a, &mut exprs, Facts::default(), work, &mut |exprs, work, first| {
        follow(b, exprs, first.facts, work, &mut |exprs, work, Leaf { facts, value }| {
            match compare(exprs, work, facts, [first.value, value]) {
                Ok(difference) => found.extend(difference),
                Err(TooMuch) => undecided = true,
            }
            if found.len() < MAX_DIFFERENCES { Ok(()) } else { Err(TooMuch) }
        })
    });
    Differences { exprs, found, undecided: undecided || all.is_err() }
}

/// Whether some call with these facts gets two values.
fn compare(
    exprs: &mut Exprs,
    work: &mut Work,
    facts: Facts,
    ids: [Id; 2],
) -> Result<Option<Difference>, TooMuch> {
    let [a, b] = ids.map(|id| facts.resolve(exprs, id));
    if a == b {
        return Ok(None);
    }
    let differ = exprs.op(Op::Alu(AluOp::Xor), a, b);
    let Some(facts) = facts.with(exprs, differ, &Set::range(1, MAX), work) else { return Ok(None) };
    let words = match usual(exprs, work, &facts) {
        Some(words) => words,
        None => match facts.solve(exprs, work) {
            Solved::Yes(words) => words,
            Solved::No => return Ok(None),
            Solved::TooMuch => return Err(TooMuch),
        },
    };
    let values = [a, b].map(|id| exprs.known(id));
    Ok(Some(Difference { facts, values, witness: data(words) }))
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
fn data(words: [u32; WORDS]) -> SeccompData {
    let long = |index: usize| u64::from(words[index]) | u64::from(words[index + 1]) << 32;
    SeccompData {
        nr: words[0].cast_signed(),
        arch: words[1],
        instruction_pointer: long(2),
        args: std::array::from_fn(|index| long(4 + 2 * index)),
    }
}
