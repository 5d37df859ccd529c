//! What calls have, in the words of their 64-bit arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cbpf_translator::cbpf::AluOp;
use seccomp_runtime::SeccompData;

use super::expr::{Exprs, Node, Op};
use super::facts::Facts;
use super::set::Set;
use super::walk::Work;

const LOW: u64 = u32::MAX as u64;
const HIGH: u64 = LOW << 32;

/// As many values of a high half are written out with those of the low one.
const FEW_HIGH: u64 = 16;

/// The most ways that a condition may have.
const MAX_TERMS: usize = 64;

/// The most intervals of a value that no mask makes.
const MAX_RANGES: usize = 64;

/// As many values are listed rather than an interval.
const FEW: u64 = 24;

/// A field of `seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The number.
    Nr,
    /// The architecture.
    Arch,
    /// The instruction pointer.
    Ip,
    /// The argument of this index.
    Arg(u8),
}

impl Field {
    /// The field that a word is of, and whether it is the high half.
    pub(crate) fn of(word: u8) -> (Self, bool) {
        match word {
            0 => (Self::Nr, false),
            1 => (Self::Arch, false),
            2 | 3 => (Self::Ip, word == 3),
            _ => (Self::Arg((word - 4) / 2), word % 2 == 1),
        }
    }

    pub(crate) fn is_wide(self) -> bool {
        !matches!(self, Self::Nr | Self::Arch)
    }

    /// Its value in a call, without sign.
    pub fn value(self, data: &SeccompData) -> u64 {
        match self {
            Self::Nr => data.nr.cast_unsigned().into(),
            Self::Arch => data.arch.into(),
            Self::Ip => data.instruction_pointer,
            Self::Arg(index) => data.args.get(usize::from(index)).copied().unwrap_or(0),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nr => f.write_str("nr"),
            Self::Arch => f.write_str("arch"),
            Self::Ip => f.write_str("ip"),
            Self::Arg(index) => write!(f, "arg{index}"),
        }
    }
}

/// Fields under masks, each with where it has to be. All have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(BTreeMap<(Field, u64), Ranges>);

/// A set with an order.
type Ranges = Vec<(u64, u64)>;

fn set(ranges: &Ranges) -> Set {
    ranges.iter().fold(Set::range(1, 0), |set, (first, last)| set.or(&Set::range(*first, *last)))
}

/// What is known of one word.
#[derive(Default)]
struct Half {
    plain: Option<Set>,
    masked: BTreeMap<u32, Set>,
}

impl Half {
    /// The mask and the value under it, if that says all.
    fn masked_value(&self) -> Option<(u64, u64)> {
        if let Some(plain) = &self.plain {
            return plain.single().filter(|_| self.masked.is_empty()).map(|value| (LOW, value));
        }
        self.masked.iter().try_fold((0, 0), |(masks, values), (mask, set)| {
            let mask = u64::from(*mask);
            set.single().filter(|_| masks & mask == 0).map(|value| (masks | mask, values | value))
        })
    }
}

impl Term {
    /// The facts in these words; `None` if they cannot say them.
    pub fn of(exprs: &Exprs, facts: &Facts, work: &mut Work) -> Option<Self> {
        let mut halves: BTreeMap<Field, [Half; 2]> = BTreeMap::new();
        // Of these more is known than masks say.
        let mut computed = BTreeSet::new();
        for (id, set) in facts.all() {
            let (word, mask) = match exprs.node(id) {
                Node::Word(word) => (word, None),
                Node::Op(op, a, b) => match (op, exprs.node(a), exprs.known(b)) {
                    (Op::Alu(AluOp::And), Node::Word(word), Some(mask)) => (word, Some(mask)),
                    _ => {
                        let words = exprs.words(id);
                        if !words.is_power_of_two() {
                            return None;
                        }
                        computed.insert(words.trailing_zeros() as u8);
                        continue;
                    }
                },
                Node::Constant(_) => return None,
            };
            let (field, high) = Field::of(word);
            let half = &mut halves.entry(field).or_default()[usize::from(high)];
            match mask {
                None => half.plain = Some(set.clone()),
                Some(mask) => drop(half.masked.insert(mask, set.clone())),
            }
        }
        for word in computed {
            let values = facts.values(exprs, 4 * u32::from(word), &Set::range(0, LOW), work)?;
            if values.ranges().len() > MAX_RANGES {
                return None;
            }
            let (field, high) = Field::of(word);
            halves.entry(field).or_default()[usize::from(high)] =
                Half { plain: Some(values), masked: BTreeMap::new() };
        }
        let mut term = Self::default();
        for (field, mut halves) in halves {
            for half in &mut halves {
                if half.plain.as_ref().is_some_and(|plain| plain.single().is_some()) {
                    // What else is known comes of that.
                    half.masked.clear();
                }
            }
            term.add_field(field, halves);
        }
        Some(term)
    }

    fn add_field(&mut self, field: Field, [low, high]: [Half; 2]) {
        if let (Some((low_mask @ 1.., low)), Some((high_mask, high))) =
            (low.masked_value(), high.masked_value())
        {
            return self.put(field, low_mask | high_mask << 32, &Set::of(low | high << 32));
        }
        let few =
            |set: &Set| set.ranges().iter().map(|(first, last)| last - first + 1).sum::<u64>() <= FEW_HIGH;
        let low_plain = low.plain.unwrap_or(Set::range(0, LOW));
        match &high.plain {
            Some(highs) if low_plain == Set::range(0, LOW) || few(highs) => {
                let wide = if low_plain == Set::range(0, LOW) {
                    highs.ranges().iter().fold(Set::range(1, 0), |set, (first, last)| {
                        set.or(&Set::range(first << 32, last << 32 | LOW))
                    })
                } else {
                    let values = highs.ranges().iter().flat_map(|(first, last)| *first..=*last);
                    values.fold(Set::range(1, 0), |set, high| {
                        let lows = low_plain.ranges().iter();
                        lows.fold(set, |set, (first, last)| {
                            set.or(&Set::range(high << 32 | first, high << 32 | last))
                        })
                    })
                };
                self.put(field, u64::MAX, &wide);
            }
            highs => {
                if let Some(highs) = highs {
                    self.put(field, HIGH, &shifted(highs, HIGH));
                }
                if low_plain != Set::range(0, LOW) {
                    self.put(field, LOW, &low_plain);
                }
            }
        }
        for (mask, set) in low.masked {
            self.put(field, mask.into(), &set);
        }
        for (mask, set) in high.masked {
            let mask = u64::from(mask) << 32;
            self.put(field, mask, &shifted(&set, mask));
        }
    }

    fn put(&mut self, field: Field, mask: u64, set: &Set) {
        if !is_all(mask, set) {
            self.0.insert((field, mask), set.ranges().to_vec());
        }
    }

    /// Without what is said of a field.
    #[must_use]
    pub fn without(mut self, field: Field) -> Self {
        self.0.retain(|(of, _), _| *of != field);
        self
    }

    /// Each field with its mask and where it has to be.
    pub fn atoms(&self) -> impl Iterator<Item = (Field, u64, &[(u64, u64)])> {
        self.0.iter().map(|((field, mask), ranges)| (*field, *mask, ranges.as_slice()))
    }

    /// Whether a call has it.
    pub fn holds(&self, data: &SeccompData) -> bool {
        self.atoms().all(|(field, mask, ranges)| {
            let value = field.value(data) & mask;
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&value))
        })
    }

    /// Whether every call that has `other` has this.
    fn is_implied_by(&self, other: &Self) -> bool {
        self.0.iter().all(|(key, ranges)| {
            let theirs = other.0.get(key);
            theirs.is_some_and(|theirs| set(theirs).and(&set(ranges)).ranges() == theirs.as_slice())
        })
    }

    /// The calls that have one of two, in one term.
    fn or(&self, other: &Self) -> Option<Self> {
        if self.is_implied_by(other) {
            return Some(self.clone());
        }
        if other.is_implied_by(self) {
            return Some(other.clone());
        }
        if !self.0.keys().eq(other.0.keys()) {
            return None;
        }
        let mut differ = self.0.iter().filter(|(key, ranges)| other.0.get(*key) != Some(*ranges));
        let (Some((key, mine)), None) = (differ.next(), differ.next()) else { return None };
        let all = set(mine).or(&set(other.0.get(key)?));
        let mut term = self.clone();
        term.0.remove(key);
        term.put(key.0, key.1, &all);
        Some(term)
    }
}

/// A set of values of a high half, as the values that have them.
fn shifted(set: &Set, mask: u64) -> Set {
    set.ranges().iter().fold(Set::range(1, 0), |all, (first, last)| {
        // Between two values under a mask that has no low bits there is nothing.
        all.or(&Set::range(first << 32, (last << 32 | LOW).min(mask | LOW)))
    })
}

fn is_all(mask: u64, set: &Set) -> bool {
    set.covers(0, mask) || mask.is_power_of_two() && set.contains(0) && set.contains(mask)
}

/// Terms of which one has to hold. No terms never hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition(Vec<Term>);

impl Condition {
    /// Adds calls, and says both together as shortly as it can. `false` if there is no room.
    pub fn add(&mut self, mut term: Term) -> bool {
        while let Some((index, both)) =
            self.0.iter().enumerate().find_map(|(index, other)| Some((index, other.or(&term)?)))
        {
            self.0.swap_remove(index);
            term = both;
        }
        self.0.push(term);
        self.0.sort();
        self.0.len() <= MAX_TERMS
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// Whether a call has one of them.
    pub fn holds(&self, data: &SeccompData) -> bool {
        self.0.iter().any(|term| term.holds(data))
    }

    /// How much there is to say.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().map(|term| term.0.len()).sum())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("never");
        }
        for (index, term) in self.0.iter().enumerate() {
            let word = if index == 0 { "" } else { ", or " };
            write!(f, "{word}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("always");
        }
        for (index, ((field, mask), ranges)) in self.0.iter().enumerate() {
            let word = if index == 0 { "" } else { " and " };
            write!(f, "{word}{}", Atom { field: *field, mask: *mask, ranges })?;
        }
        Ok(())
    }
}

struct Atom<'t> {
    field: Field,
    mask: u64,
    ranges: &'t Ranges,
}

impl fmt::Display for Atom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, mask, ranges } = self;
        let (whole, shift) = match (*mask, field.is_wide()) {
            (mask, _) if mask & LOW == 0 => (HIGH, 32),
            (_, true) => (u64::MAX, 0),
            (_, false) => (LOW, 0),
        };
        field.fmt(f)?;
        if shift != 0 {
            write!(f, " >> {shift}")?;
        }
        if *mask != whole {
            write!(f, " & {:#x}", mask >> shift)?;
        }
        let max = mask >> shift;
        let set = ranges
            .iter()
            .fold(Set::range(1, 0), |set, (first, last)| set.or(&Set::range(first >> shift, last >> shift)));
        Within { set: &set, max, counts: *field == Field::Nr }.fmt(f)
    }
}

/// Where a number up to `max` is, to stand behind what the number is.
pub struct Within<'s> {
    /// Where it is.
    pub set: &'s Set,
    /// The highest that it can be; for bits under a mask the mask.
    pub max: u64,
    /// Whether it counts something, as the numbers of system calls do. Others are bits.
    pub counts: bool,
}

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, max, counts } = *self;
        let number = |value| Number { value, counts };
        let rest = set.not(max.max(set.ranges().last().map_or(0, |last| last.1)));
        if let Some(value) = set.single().filter(|value| *value == 0 || !max.is_power_of_two()) {
            return write!(f, " == {}", number(value));
        }
        if let Some(value) = rest.single() {
            return write!(f, " != {}", number(value));
        }
        if set.single().is_some() {
            return f.write_str(" != 0");
        }
        match *set.ranges() {
            [(0, last)] => return write!(f, " <= {}", number(last)),
            [(first, last)] if last == max => return write!(f, " >= {}", number(first)),
            _ => {}
        }
        let count = |set: &Set| {
            set.ranges()
                .iter()
                .fold(0u64, |sum, (first, last)| sum.saturating_add((last - first).saturating_add(1)))
        };
        let list = |f: &mut fmt::Formatter<'_>, set: &Set| {
            for (index, (first, last)) in set.ranges().iter().enumerate() {
                let word = if index == 0 { "" } else { ", " };
                if first == last {
                    write!(f, "{word}{}", number(*first))?;
                } else {
                    write!(f, "{word}{}-{}", number(*first), number(*last))?;
                }
            }
            f.write_str("}")
        };
        if count(&rest) < FEW.min(count(set)) {
            f.write_str(" not in {")?;
            return list(f, &rest);
        }
        f.write_str(" in {")?;
        list(f, set)
    }
}

/// A number in the base that reads best.
struct Number {
    value: u64,
    counts: bool,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, counts } = *self;
        let decimal = if counts { 10_000 } else { 10 };
        if value < decimal { write!(f, "{value}") } else { write!(f, "{value:#x}") }
    }
}
