//! Bits that are known, one by one.

use super::scalar::LOW32;

/// Bits that are known and bits that are not: a number is in it if it has `value` where `mask` has 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// The known bits; 0 where unknown.
    pub value: u64,
    /// 1 where unknown.
    pub mask: u64,
}

impl Bits {
    pub(super) const UNKNOWN: Self = Self { value: 0, mask: u64::MAX };

    pub(super) const fn constant(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    /// The bits that all numbers from `min` to `max` share: those above the highest that differs.
    pub(super) fn of_range(min: u64, max: u64) -> Self {
        let mask = u64::MAX.checked_shr((min ^ max).leading_zeros()).unwrap_or(0);
        Self { value: min & !mask, mask }
    }

    pub(super) const fn max(self) -> u64 {
        self.value | self.mask
    }

    pub(super) const fn contains(self, number: u64) -> bool {
        number & !self.mask == self.value
    }

    /// What both know, or `None` if they contradict each other.
    pub(super) fn meet(self, other: Self) -> Option<Self> {
        let known_in_both = !self.mask & !other.mask;
        if (self.value ^ other.value) & known_in_both != 0 {
            return None;
        }
        let mask = self.mask & other.mask;
        Some(Self { value: (self.value | other.value) & !mask, mask })
    }

    pub(super) const fn includes(self, other: Self) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    /// A carry out of a known bit is known unless an unknown one reaches it: where the sum of the smallest
    /// and the sum of the largest numbers agree, all agree.
    pub(super) const fn add(self, other: Self) -> Self {
        let low = self.value.wrapping_add(other.value);
        let high = self.max().wrapping_add(other.max());
        let mask = (low ^ high) | self.mask | other.mask;
        Self { value: low & !mask, mask }
    }

    pub(super) const fn sub(self, other: Self) -> Self {
        let high = self.max().wrapping_sub(other.value);
        let low = self.value.wrapping_sub(other.max());
        let mask = (low ^ high) | self.mask | other.mask;
        Self { value: self.value.wrapping_sub(other.value) & !mask, mask }
    }

    /// Long multiplication: each bit of `self` adds `other`, nothing, or either.
    pub(super) fn mul(self, other: Self) -> Self {
        let known = Self::constant(self.value.wrapping_mul(other.value));
        let mut unknown = Self::constant(0);
        let (mut a, mut b) = (self, other);
        while a.value | a.mask != 0 {
            if a.value & 1 == 1 {
                unknown = unknown.add(Self { value: 0, mask: b.mask });
            } else if a.mask & 1 == 1 {
                unknown = unknown.add(Self { value: 0, mask: b.value | b.mask });
            }
            a = Self { value: a.value >> 1, mask: a.mask >> 1 };
            b = Self { value: b.value << 1, mask: b.mask << 1 };
        }
        known.add(unknown)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        let value = self.value & other.value;
        Self { value, mask: self.max() & other.max() & !value }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self { value, mask: (self.mask | other.mask) & !value }
    }

    pub(super) const fn xor(self, other: Self) -> Self {
        let mask = self.mask | other.mask;
        Self { value: (self.value ^ other.value) & !mask, mask }
    }

    /// Both words shifted by `shift`, which is below 64.
    pub(super) fn map(self, shift: impl Fn(u64) -> u64) -> Self {
        Self { value: shift(self.value), mask: shift(self.mask) }
    }

    pub(super) const fn low32(self) -> Self {
        Self { value: self.value & LOW32, mask: self.mask & LOW32 }
    }
}
