//! What a program gives a call of which not everything is known.

use std::collections::BTreeSet;

use cbpf_translator::Checked;
use cbpf_translator::cbpf::AluOp;
use seccomp_runtime::SeccompData;

use super::condition::Field;
use super::expr::{Exprs, Op, WORDS};
use super::facts::Facts;
use super::set::Set;
use super::walk::{TooMuch, Work, follow};

/// The most values that are told apart.
const MAX_VALUES: usize = 64;

/// A call. Number and architecture are known; of the rest, the bits of these masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partial {
    /// The call, with any value in the bits that are not known.
    pub data: SeccompData,
    /// The bits of the instruction pointer that are known.
    pub ip: u64,
    /// The bits of each argument that are known.
    pub args: [u64; 6],
}

/// What it may get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Possible {
    /// Every value that some call with these bits gets, and perhaps more.
    pub values: BTreeSet<u32>,
    /// The fields that were asked for bits that are not known.
    pub fields: BTreeSet<Field>,
}

impl Partial {
    /// Whether everything is known.
    pub fn is_known(&self) -> bool {
        self.ip == u64::MAX && self.args == [u64::MAX; 6]
    }

    /// Each word's known bits.
    fn masks(&self) -> [u32; WORDS] {
        let mut masks = [u32::MAX; WORDS];
        let wide = [self.ip].into_iter().chain(self.args);
        for (halves, mask) in masks.iter_mut().skip(2).collect::<Vec<_>>().chunks_mut(2).zip(wide) {
            for (half, mask) in halves.iter_mut().zip([mask as u32, (mask >> 32) as u32]) {
                **half = mask;
            }
        }
        masks
    }
}

/// What `program` may give a call.
///
/// # Errors
///
/// There are too many paths or values, or a value that is computed of bits that are not known.
pub fn possible(program: &Checked, call: &Partial, work: &mut Work) -> Result<Possible, TooMuch> {
    let mut exprs = Exprs::default();
    let masks = call.masks();
    let mut facts = Facts::default();
    for (offset, mask) in (0..).step_by(4).zip(masks).filter(|(_, mask)| *mask != 0) {
        let word = exprs.word(offset);
        let mask_expr = exprs.constant(mask);
        let known = exprs.op(Op::Alu(AluOp::And), word, mask_expr);
        let value = call.data.word(offset).unwrap_or(0) & mask;
        // Bits of different words, and all at once of each, are never at odds.
        facts = facts.with(&mut exprs, known, &Set::of(value.into()), work).ok_or(TooMuch)?;
    }
    let given: Vec<_> = facts.all().map(|(id, _)| id).collect();
    let mut possible = Possible::default();
    let mut asked = 0;
    follow(program, &mut exprs, facts, work, &mut |exprs, _, leaf| {
        possible.values.insert(exprs.known(leaf.value).ok_or(TooMuch)?);
        asked |= leaf
            .facts
            .all()
            .filter(|(id, _)| !given.contains(id))
            .fold(0, |words, (id, _)| words | exprs.words(id));
        if possible.values.len() > MAX_VALUES { Err(TooMuch) } else { Ok(()) }
    })?;
    if possible.values.len() > 1 {
        let unknown = (0..WORDS as u8).filter(|word| {
            asked >> word & 1 == 1 && masks.get(usize::from(*word)).is_some_and(|mask| *mask != u32::MAX)
        });
        possible.fields = unknown.map(|word| Field::of(word).0).collect();
    }
    Ok(possible)
}
