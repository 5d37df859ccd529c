//! Sets of system call numbers.

use cbpf_translator::cbpf::Cond;

use crate::by_number::NUMBERS;

const WORDS: usize = NUMBERS / u64::BITS as usize;

/// A set of numbers below [`NUMBERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers([u64; WORDS]);

impl Numbers {
    pub(crate) const NONE: Self = Self([0; WORDS]);
    pub(crate) const ALL: Self = Self([u64::MAX; WORDS]);

    /// The numbers below `end`.
    fn below(end: u32) -> Self {
        let mut words = [0; WORDS];
        let mut start = 0u32;
        for word in &mut words {
            let bits = end.saturating_sub(start).min(u64::BITS);
            *word = u64::MAX.checked_shr(u64::BITS.saturating_sub(bits)).unwrap_or(0);
            start = start.saturating_add(u64::BITS);
        }
        Self(words)
    }

    /// The numbers of which a comparison with a constant holds.
    pub(crate) fn satisfying(cond: Cond, k: u32) -> Self {
        match cond {
            Cond::Eq => Self::below(k.saturating_add(1)).minus(Self::below(k)),
            Cond::Gt => Self::ALL.minus(Self::below(k.saturating_add(1))),
            Cond::Ge => Self::ALL.minus(Self::below(k)),
            Cond::Set => Self::with_bits(k),
        }
    }

    /// The numbers that have one of these bits.
    fn with_bits(bits: u32) -> Self {
        // The numbers of a word that have bit 0, 1, ... 5.
        const LOW: [u64; 6] = [
            0xaaaa_aaaa_aaaa_aaaa,
            0xcccc_cccc_cccc_cccc,
            0xf0f0_f0f0_f0f0_f0f0,
            0xff00_ff00_ff00_ff00,
            0xffff_0000_ffff_0000,
            0xffff_ffff_0000_0000,
        ];
        let low = LOW.iter().enumerate().filter(|(bit, _)| bits.wrapping_shr(*bit as u32) & 1 != 0);
        let low = low.fold(0, |word, (_, numbers)| word | numbers);
        let mut words = [low; WORDS];
        for (word, start) in words.iter_mut().zip((0u32..).step_by(u64::BITS as usize)) {
            if start & bits != 0 {
                *word = u64::MAX;
            }
        }
        Self(words)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    #[inline]
    pub(crate) fn contains(self, nr: u32) -> bool {
        let word = self.0.get((nr / u64::BITS) as usize);
        word.is_some_and(|word| word.wrapping_shr(nr) & 1 != 0)
    }

    /// The only number, if there is one.
    pub(crate) fn single(self) -> Option<u32> {
        let mut numbers = self.iter();
        let first = numbers.next();
        first.filter(|_| numbers.next().is_none())
    }

    pub(crate) fn remove(&mut self, nr: u32) {
        if let Some(word) = self.0.get_mut((nr / u64::BITS) as usize) {
            *word &= !1u64.wrapping_shl(nr);
        }
    }

    pub(crate) fn insert(&mut self, nr: u32) {
        if let Some(word) = self.0.get_mut((nr / u64::BITS) as usize) {
            *word |= 1u64.wrapping_shl(nr);
        }
    }

    /// The numbers, from the lowest.
    pub(crate) fn iter(self) -> impl Iterator<Item = u32> {
        self.0.into_iter().zip((0u32..).step_by(u64::BITS as usize)).flat_map(|(mut word, start)| {
            core::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.wrapping_sub(1);
                (bit < u64::BITS).then(|| start.saturating_add(bit))
            })
        })
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        for (a, b) in words.iter_mut().zip(other.0) {
            *a = f(*a, b);
        }
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_for_exactly_their_set() {
        for k in (0..=514).chain([u32::MAX - 1, u32::MAX]) {
            for cond in [Cond::Eq, Cond::Gt, Cond::Ge, Cond::Set] {
                let set = Numbers::satisfying(cond, k);
                for nr in 0..NUMBERS as u32 {
                    assert_eq!(set.contains(nr), cond.holds(nr, k), "{nr} {cond:?} {k}");
                }
                assert!(set.iter().all(|nr| set.contains(nr)) && set.iter().is_sorted());
            }
        }
        assert!(!Numbers::ALL.contains(NUMBERS as u32) && !Numbers::ALL.contains(u32::MAX));
    }
}
