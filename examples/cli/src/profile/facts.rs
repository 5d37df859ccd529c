//! What tests have told of words.

use std::collections::BTreeMap;

use super::graph::{Test, Word};

/// What is known of each word on the way to a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Facts(BTreeMap<Word, Known>);

/// What is known of one word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    low: u32,
    high: u32,
    /// Values between the two that it has not, in order.
    not: Vec<u32>,
    /// Bits under masks: mask, value, and whether they are that.
    masked: Vec<(u32, u32, bool)>,
}

impl Facts {
    /// What `test` of `word` would give, if that is known.
    pub(super) fn ask(&self, word: Word, test: Test) -> Option<bool> {
        match (self.0.get(&word), test) {
            (_, Test::AtLeast(0)) => Some(true),
            (None, _) => None,
            (Some(known), _) => known.ask(test),
        }
    }

    /// With the outcome of a test that was not known.
    pub(super) fn with(&self, word: Word, test: Test, outcome: bool) -> Self {
        let mut facts = self.clone();
        facts.0.entry(word).or_insert(Known::NOTHING).learn(test, outcome);
        facts
    }

    /// Only what is about `words`.
    pub(super) fn of(mut self, words: &[Word]) -> Self {
        self.0.retain(|word, _| words.contains(word));
        self
    }
}

impl Known {
    const NOTHING: Self = Self { low: 0, high: u32::MAX, not: Vec::new(), masked: Vec::new() };

    fn ask(&self, test: Test) -> Option<bool> {
        if self.low == self.high {
            return Some(test.holds(self.low));
        }
        match test {
            Test::Equal(value) => {
                let may = (self.low..=self.high).contains(&value)
                    && self.not.binary_search(&value).is_err()
                    && self.masked.iter().all(|(mask, bits, are)| (value & mask == *bits) == *are);
                if may { None } else { Some(false) }
            }
            Test::AtLeast(value) if value <= self.low => Some(true),
            Test::AtLeast(value) if value > self.high => Some(false),
            Test::AtLeast(_) => None,
            Test::Masked { mask, value } => self.masked.iter().find_map(|&(others, bits, are)| {
                match (others == mask && bits == value, are) {
                    (true, are) => Some(are),
                    (false, true) if (bits ^ value) & mask & others != 0 => Some(false),
                    (false, true) if mask & !others == 0 => Some(true),
                    _ => None,
                }
            }),
        }
    }

    fn learn(&mut self, test: Test, outcome: bool) {
        match (test, outcome) {
            (Test::Equal(value), true) => (self.low, self.high) = (value, value),
            (Test::Equal(value), false) => {
                if let Err(place) = self.not.binary_search(&value) {
                    self.not.insert(place, value);
                }
            }
            (Test::AtLeast(value), true) => self.low = self.low.max(value),
            (Test::AtLeast(value), false) => self.high = self.high.min(value.saturating_sub(1)),
            (Test::Masked { mask, value }, are) => {
                let place = self.masked.partition_point(|row| *row < (mask, value, are));
                self.masked.insert(place, (mask, value, are));
            }
        }
        while self.low < self.high && self.not.binary_search(&self.low).is_ok() {
            self.low += 1;
        }
        while self.low < self.high && self.not.binary_search(&self.high).is_ok() {
            self.high -= 1;
        }
        self.not.retain(|value| (self.low..=self.high).contains(value));
        if self.low == self.high {
            // One value says it all.
            (self.not, self.masked) = (Vec::new(), Vec::new());
        }
    }
}
