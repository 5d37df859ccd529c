//! Sets of numbers.

/// A set of numbers, as intervals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    /// First and last of each interval, in order. Between two of them is a number that is in none.
    ranges: Vec<(u64, u64)>,
}

impl Set {
    /// All from `first` to `last`; none if that is below.
    pub fn range(first: u64, last: u64) -> Self {
        Self { ranges: if first <= last { vec![(first, last)] } else { Vec::new() } }
    }

    /// Only `value`.
    pub fn of(value: u64) -> Self {
        Self::range(value, value)
    }

    /// The first and last of each interval, in order.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `value` is in it.
    pub fn contains(&self, value: u64) -> bool {
        self.meets(value, value)
    }

    /// Whether a number from `first` to `last` is in it.
    pub fn meets(&self, first: u64, last: u64) -> bool {
        let place = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.get(place).is_some_and(|range| range.0 <= last)
    }

    /// Whether all numbers from `first` to `last` are in it.
    pub fn covers(&self, first: u64, last: u64) -> bool {
        let place = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.get(place).is_some_and(|range| range.0 <= first && last <= range.1)
    }

    /// The lowest number in it.
    pub fn least(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.0)
    }

    /// The number, if only one is in it.
    pub fn single(&self) -> Option<u64> {
        match self.ranges[..] {
            [(first, last)] if first == last => Some(first),
            _ => None,
        }
    }

    /// What is in both.
    pub fn and(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut mine, mut theirs) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some((a, b)), Some((c, d))) = (mine.peek(), theirs.peek()) {
            let (first, last) = (*a.max(c), *b.min(d));
            if first <= last {
                ranges.push((first, last));
            }
            if b < d {
                mine.next()
            } else {
                theirs.next()
            };
        }
        Self { ranges }
    }

    /// What is in one of them.
    pub fn or(&self, other: &Self) -> Self {
        Self::union(self.ranges.iter().chain(&other.ranges).copied().collect())
    }

    /// What is in one of these intervals, which may be empty.
    pub fn union(mut all: Vec<(u64, u64)>) -> Self {
        all.retain(|(first, last)| first <= last);
        all.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    /// What is not in it, of the numbers up to `max`, which all of its own are.
    pub fn not(&self, max: u64) -> Self {
        let mut ranges = Vec::new();
        let mut next = Some(0);
        for &(first, last) in &self.ranges {
            if let Some(start) = next
                && start < first
            {
                ranges.push((start, first - 1));
            }
            next = last.checked_add(1);
        }
        if let Some(start) = next
            && start <= max
        {
            ranges.push((start, max));
        }
        Self { ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every set of the numbers up to 5, against the bits of a mask.
    #[test]
    fn operations_are_those_of_masks() {
        const MAX: u64 = 5;
        let set = |bits: u64| {
            (0..=MAX).filter(|v| bits >> v & 1 == 1).fold(Set::range(1, 0), |set, v| set.or(&Set::of(v)))
        };
        let all = (1 << (MAX + 1)) - 1;
        for a in 0..=all {
            let mine = set(a);
            assert!(mine.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            assert_eq!(mine.not(MAX), set(!a & all));
            assert_eq!(mine.least(), (a != 0).then(|| a.trailing_zeros().into()));
            assert_eq!(mine.single().is_some(), a.count_ones() == 1);
            for b in 0..=all {
                assert_eq!(mine.and(&set(b)), set(a & b));
                assert_eq!(mine.or(&set(b)), set(a | b));
            }
            for first in 0..=MAX {
                for last in first..=MAX {
                    let range = ((1 << (last + 1)) - 1) & !((1 << first) - 1);
                    assert_eq!(mine.meets(first, last), a & range != 0);
                    assert_eq!(mine.covers(first, last), a & range == range);
                }
            }
        }
        assert_eq!(Set::range(3, u64::MAX).not(u64::MAX), Set::range(0, 2));
        assert_eq!(Set::range(0, u64::MAX).not(u64::MAX), Set::range(1, 0));
    }
}
