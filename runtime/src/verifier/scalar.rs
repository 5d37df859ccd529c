//! What is known of a number.
//!
//! A [`Scalar`] stands for a set of 64-bit numbers, by five facts that hold of all of them:
//!
//! - *bits*: which bits are known, and what they are;
//! - an unsigned and a signed range of all 64 bits;
//! - an unsigned and a signed range of the low 32.
//!
//! The set is what all five allow. A smaller set is more knowledge; [`Scalar::UNKNOWN`] is every number. An
//! operation on numbers becomes one on scalars: its result holds at least what the operation makes of the
//! numbers in its operands (it may hold more, never less). What one fact says of another is drawn by
//! [`Scalar::settled`]; where facts contradict each other the set is empty, which is no scalar but `None`: no
//! run gets there.

use core::fmt;

use super::bits::Bits;

pub(super) const LOW32: u64 = u32::MAX as u64;

/// A range with both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// The smallest.
    pub min: T,
    /// The largest.
    pub max: T,
}

impl<T: Copy + Ord> Range<T> {
    const fn new(min: T, max: T) -> Self {
        Self { min, max }
    }

    fn contains(self, number: T) -> bool {
        self.min <= number && number <= self.max
    }

    fn includes(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    fn clamp(&mut self, min: T, max: T) {
        self.min = self.min.max(min);
        self.max = self.max.min(max);
    }

    fn is_empty(self) -> bool {
        self.min > self.max
    }
}

/// A set of 64-bit numbers; the module says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The known bits.
    pub bits: Bits,
    /// The unsigned range.
    pub u64: Range<u64>,
    /// The signed range.
    pub s64: Range<i64>,
    /// The unsigned range of the low 32 bits.
    pub u32: Range<u32>,
    /// The signed range of the low 32 bits.
    pub s32: Range<i32>,
}

const ALL_U64: Range<u64> = Range::new(0, u64::MAX);
const ALL_S64: Range<i64> = Range::new(i64::MIN, i64::MAX);
const ALL_U32: Range<u32> = Range::new(0, u32::MAX);
const ALL_S32: Range<i32> = Range::new(i32::MIN, i32::MAX);

/// How often facts are drawn from one another: what the first two rounds do not find is not worth a third.
const ROUNDS: usize = 2;

impl Scalar {
    /// Every number.
    pub const UNKNOWN: Self =
        Self { bits: Bits::UNKNOWN, u64: ALL_U64, s64: ALL_S64, u32: ALL_U32, s32: ALL_S32 };

    /// This number alone.
    pub const fn constant(value: u64) -> Self {
        let (low, signed) = (value as u32, value.cast_signed());
        Self {
            bits: Bits::constant(value),
            u64: Range::new(value, value),
            s64: Range::new(signed, signed),
            u32: Range::new(low, low),
            s32: Range::new(low.cast_signed(), low.cast_signed()),
        }
    }

    /// A constant operand, sign-extended.
    pub const fn immediate(imm: i32) -> Self {
        Self::constant((imm as i64).cast_unsigned())
    }

    /// Every number of up to so many bits, 1 to 64.
    pub fn of_width(bits: u32) -> Self {
        let max = u64::MAX.checked_shr(64_u32.saturating_sub(bits)).unwrap_or(u64::MAX);
        Self { bits: Bits { value: 0, mask: max }, u64: Range::new(0, max), ..Self::UNKNOWN }.or_unknown()
    }

    /// Every errno, negative, and every number up to `length`.
    pub(super) fn length_or_errno(length: u64) -> Self {
        const MAX_ERRNO: i64 = 4095;
        let max = i64::try_from(length).unwrap_or(i64::MAX);
        Self { s64: Range::new(-MAX_ERRNO, max), ..Self::UNKNOWN }.or_unknown()
    }

    /// The only number in it, if it has one.
    pub const fn known(&self) -> Option<u64> {
        if self.bits.mask == 0 { Some(self.bits.value) } else { None }
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        let low = number as u32;
        self.bits.contains(number)
            && self.u64.contains(number)
            && self.s64.contains(number.cast_signed())
            && self.u32.contains(low)
            && self.s32.contains(low.cast_signed())
    }

    /// Whether every number of `other` is in it, as far as its facts show.
    pub fn includes(&self, other: &Self) -> bool {
        self.bits.includes(other.bits)
            && self.u64.includes(other.u64)
            && self.s64.includes(other.s64)
            && self.u32.includes(other.u32)
            && self.s32.includes(other.s32)
    }

    /// Whether it is every number.
    pub fn is_unknown(&self) -> bool {
        *self == Self::UNKNOWN
    }

    /// The same set, with each fact as sharp as the others make it; `None` if it is empty.
    fn settled(mut self) -> Option<Self> {
        for _ in 0..ROUNDS {
            if self.is_empty() {
                return None;
            }
            if self.bits.mask == 0 {
                let value = self.bits.value;
                return self.contains(value).then(|| Self::constant(value));
            }
            let before = self;
            self.draw_ranges_from_bits();
            self.draw_ranges_from_ranges();
            self.draw_bits_from_ranges()?;
            if self == before {
                break;
            }
        }
        if self.is_empty() {
            return None;
        }
        match self.known() {
            Some(value) => self.contains(value).then(|| Self::constant(value)),
            None => Some(self),
        }
    }

    /// As [`Self::settled`], of a set that is not empty since the numbers it was made of were not.
    fn or_unknown(self) -> Self {
        self.settled().unwrap_or(Self::UNKNOWN)
    }

    fn is_empty(&self) -> bool {
        self.u64.is_empty() || self.s64.is_empty() || self.u32.is_empty() || self.s32.is_empty()
    }

    fn draw_ranges_from_bits(&mut self) {
        const SIGN64: u64 = 1 << 63;
        const SIGN32: u32 = 1 << 31;
        let Bits { value, mask } = self.bits;
        self.u64.clamp(value, value | mask);
        // The sign bit, where unknown, is 1 in the smallest and 0 in the largest.
        self.s64.clamp((value | mask & SIGN64).cast_signed(), (value | mask & !SIGN64).cast_signed());
        let (value, mask) = (value as u32, mask as u32);
        self.u32.clamp(value, value | mask);
        self.s32.clamp((value | mask & SIGN32).cast_signed(), (value | mask & !SIGN32).cast_signed());
    }

    fn draw_ranges_from_ranges(&mut self) {
        // Numbers with equal high halves are in the order of their low ones.
        if self.u64.min >> 32 == self.u64.max >> 32 {
            self.u32.clamp(self.u64.min as u32, self.u64.max as u32);
        }
        if self.s64.min >> 32 == self.s64.max >> 32 {
            self.u32.clamp(self.s64.min as u32, self.s64.max as u32);
        }
        // A range of which both ends have one sign is the same range signed and unsigned.
        let (min, max) = (self.u32.min.cast_signed(), self.u32.max.cast_signed());
        if min <= max {
            self.s32.clamp(min, max);
        }
        if (self.s32.min < 0) == (self.s32.max < 0) {
            self.u32.clamp(self.s32.min.cast_unsigned(), self.s32.max.cast_unsigned());
        }
        // The low half of a number is in the low range, whatever the high half is.
        const HIGH: u64 = !LOW32;
        let (low_min, low_max) = (u64::from(self.u32.min), u64::from(self.u32.max));
        self.u64.clamp(self.u64.min & HIGH | low_min, self.u64.max & HIGH | low_max);
        let (min, max) = (self.s64.min.cast_unsigned(), self.s64.max.cast_unsigned());
        self.s64.clamp((min & HIGH | low_min).cast_signed(), (max & HIGH | low_max).cast_signed());
        // A number that fits 32 signed bits is its low half, sign-extended.
        if let (Ok(min), Ok(max)) = (i32::try_from(self.s64.min), i32::try_from(self.s64.max)) {
            self.s32.clamp(min, max);
            self.s64.clamp(self.s32.min.into(), self.s32.max.into());
        }
        let (min, max) = (self.u64.min.cast_signed(), self.u64.max.cast_signed());
        if min <= max {
            self.s64.clamp(min, max);
        }
        if (self.s64.min < 0) == (self.s64.max < 0) {
            self.u64.clamp(self.s64.min.cast_unsigned(), self.s64.max.cast_unsigned());
        }
    }

    fn draw_bits_from_ranges(&mut self) -> Option<()> {
        if self.is_empty() {
            return None;
        }
        let low = Bits::of_range(self.u32.min.into(), self.u32.max.into());
        let low = Bits { value: low.value, mask: low.mask | !LOW32 };
        self.bits = self.bits.meet(Bits::of_range(self.u64.min, self.u64.max))?.meet(low)?;
        Some(())
    }

    /// What is in both; `None` if nothing is.
    pub(super) fn meet(&self, other: &Self) -> Option<Self> {
        let mut both = *self;
        both.bits = both.bits.meet(other.bits)?;
        both.u64.clamp(other.u64.min, other.u64.max);
        both.s64.clamp(other.s64.min, other.s64.max);
        both.u32.clamp(other.u32.min, other.u32.max);
        both.s32.clamp(other.s32.min, other.s32.max);
        both.settled()
    }

    /// The low 32 bits, zero-extended.
    pub(super) fn low32(&self) -> Self {
        if self.u64.max <= LOW32 {
            return *self;
        }
        Self {
            bits: self.bits.low32(),
            u64: Range::new(self.u32.min.into(), self.u32.max.into()),
            s64: Range::new(self.u32.min.into(), self.u32.max.into()),
            ..*self
        }
        .or_unknown()
    }

    /// The low 32 bits, sign-extended.
    fn sign_extended32(&self) -> Self {
        let s64 = Range::new(self.s32.min.into(), self.s32.max.into());
        Self { bits: Bits::UNKNOWN, u64: ALL_U64, s64, ..*self }.or_unknown()
    }

    /// The high 32 bits.
    pub(super) fn high32(&self) -> Self {
        self.rsh(&Self::constant(32))
    }

    /// With the low 32 bits of `other` in place of its own.
    fn with_low32(&self, other: &Self) -> Option<Self> {
        let low = other.bits.low32();
        let bits =
            Bits { value: self.bits.value & !LOW32 | low.value, mask: self.bits.mask & !LOW32 | low.mask };
        Self { bits, u32: other.u32, s32: other.s32, ..*self }.settled()
    }

    pub(super) fn add(&self, other: &Self) -> Self {
        if let (Some(a), Some(b)) = (self.known(), other.known()) {
            return Self::constant(a.wrapping_add(b));
        }
        Self {
            bits: self.bits.add(other.bits),
            u64: ends(
                self.u64.min.overflowing_add(other.u64.min),
                self.u64.max.overflowing_add(other.u64.max),
                ALL_U64,
            ),
            s64: both_ends(
                self.s64.min.checked_add(other.s64.min),
                self.s64.max.checked_add(other.s64.max),
                ALL_S64,
            ),
            u32: ends(
                self.u32.min.overflowing_add(other.u32.min),
                self.u32.max.overflowing_add(other.u32.max),
                ALL_U32,
            ),
            s32: both_ends(
                self.s32.min.checked_add(other.s32.min),
                self.s32.max.checked_add(other.s32.max),
                ALL_S32,
            ),
        }
        .or_unknown()
    }

    pub(super) fn sub(&self, other: &Self) -> Self {
        if let (Some(a), Some(b)) = (self.known(), other.known()) {
            return Self::constant(a.wrapping_sub(b));
        }
        Self {
            bits: self.bits.sub(other.bits),
            u64: ends(
                self.u64.min.overflowing_sub(other.u64.max),
                self.u64.max.overflowing_sub(other.u64.min),
                ALL_U64,
            ),
            s64: both_ends(
                self.s64.min.checked_sub(other.s64.max),
                self.s64.max.checked_sub(other.s64.min),
                ALL_S64,
            ),
            u32: ends(
                self.u32.min.overflowing_sub(other.u32.max),
                self.u32.max.overflowing_sub(other.u32.min),
                ALL_U32,
            ),
            s32: both_ends(
                self.s32.min.checked_sub(other.s32.max),
                self.s32.max.checked_sub(other.s32.min),
                ALL_S32,
            ),
        }
        .or_unknown()
    }

    pub(super) fn neg(&self) -> Self {
        Self::constant(0).sub(self)
    }

    pub(super) fn mul(&self, other: &Self) -> Self {
        let corners = |a: Range<i64>, b: Range<i64>| {
            let corners = [
                a.min.checked_mul(b.min),
                a.min.checked_mul(b.max),
                a.max.checked_mul(b.min),
                a.max.checked_mul(b.max),
            ];
            let [Some(a), Some(b), Some(c), Some(d)] = corners else { return None };
            Some(Range::new(a.min(b).min(c).min(d), a.max(b).max(c).max(d)))
        };
        let wide = |range: Range<i32>| Range::new(range.min.into(), range.max.into());
        let s32 = corners(wide(self.s32), wide(other.s32))
            .and_then(|range| Some(Range::new(range.min.try_into().ok()?, range.max.try_into().ok()?)));
        Self {
            bits: self.bits.mul(other.bits),
            // If the largest product fits, all do.
            u64: both_ends(
                self.u64.min.checked_mul(other.u64.min),
                self.u64.max.checked_mul(other.u64.max),
                ALL_U64,
            ),
            s64: corners(self.s64, other.s64).unwrap_or(ALL_S64),
            u32: both_ends(
                self.u32.min.checked_mul(other.u32.min),
                self.u32.max.checked_mul(other.u32.max),
                ALL_U32,
            ),
            s32: s32.unwrap_or(ALL_S32),
        }
        .or_unknown()
    }

    /// Unsigned; a division by 0 gives 0.
    pub(super) fn div(&self, other: &Self) -> Self {
        let max = self.u64.max.checked_div(other.u64.min).unwrap_or(self.u64.max);
        let may_be_zero = other.u64.min == 0;
        let min = if may_be_zero { 0 } else { self.u64.min.checked_div(other.u64.max).unwrap_or(0) };
        Self { u64: Range::new(min, max), ..Self::UNKNOWN }.or_unknown()
    }

    /// Unsigned; modulo 0 leaves the number as it was.
    pub(super) fn rem(&self, other: &Self) -> Self {
        let max = match other.u64.min.checked_sub(1) {
            Some(_) => self.u64.max.min(other.u64.max.saturating_sub(1)),
            None => self.u64.max,
        };
        Self { u64: Range::new(0, max), ..Self::UNKNOWN }.or_unknown()
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            bits: self.bits.and(other.bits),
            u64: Range::new(0, self.u64.max.min(other.u64.max)),
            u32: Range::new(0, self.u32.max.min(other.u32.max)),
            ..Self::UNKNOWN
        }
        .or_unknown()
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        Self {
            bits: self.bits.or(other.bits),
            u64: Range::new(self.u64.min.max(other.u64.min), u64::MAX),
            u32: Range::new(self.u32.min.max(other.u32.min), u32::MAX),
            ..Self::UNKNOWN
        }
        .or_unknown()
    }

    pub(super) fn xor(&self, other: &Self) -> Self {
        Self { bits: self.bits.xor(other.bits), ..Self::UNKNOWN }.or_unknown()
    }

    /// The count is below 64.
    pub(super) fn lsh(&self, count: &Self) -> Self {
        let Some(n) = count.known().map(|n| n as u32) else {
            return self.lsh_by_some(count);
        };
        let fits = |range: Range<u64>| range.max.leading_zeros() >= n;
        let shift = |number: u64| number.checked_shl(n).unwrap_or(0);
        let (min, max) = (self.s64.min.checked_mul(1 << n.min(62)), self.s64.max.checked_mul(1 << n.min(62)));
        let mut result = Self { bits: self.bits.map(shift), ..Self::UNKNOWN };
        if fits(self.u64) {
            result.u64 = Range::new(shift(self.u64.min), shift(self.u64.max));
        }
        if n <= 62 {
            result.s64 = both_ends(min, max, ALL_S64);
        }
        if n == 32 {
            // The half of a sign extension: nothing but the low half is left, and it keeps its order.
            let high = |number: i32| i64::from(number).saturating_mul(1 << 32);
            result.s64 = Range::new(high(self.s32.min), high(self.s32.max));
            result.u64 = Range::new(shift(self.u32.min.into()), shift(self.u32.max.into()));
        }
        result.or_unknown()
    }

    /// A shift by a count that is not known: nothing is, unless nothing is shifted out.
    fn lsh_by_some(&self, count: &Self) -> Self {
        match u32::try_from(count.u64.max) {
            Ok(n) if n <= self.u64.max.leading_zeros() => {
                let max = self.u64.max.checked_shl(n).unwrap_or(u64::MAX);
                let min = self.u64.min.checked_shl(count.u64.min as u32).unwrap_or(0);
                Self { u64: Range::new(min, max), ..Self::UNKNOWN }.or_unknown()
            }
            _ => Self::UNKNOWN,
        }
    }

    /// The count is below 64.
    pub(super) fn rsh(&self, count: &Self) -> Self {
        let (least, most) = (count.u64.min, count.u64.max);
        let shift = |number: u64, n: u64| number.checked_shr(n as u32).unwrap_or(0);
        let bits = if least == most { self.bits.map(|bits| shift(bits, least)) } else { Bits::UNKNOWN };
        let u64 = Range::new(shift(self.u64.min, most), shift(self.u64.max, least));
        Self { bits, u64, ..Self::UNKNOWN }.or_unknown()
    }

    /// The count is below 64.
    pub(super) fn arsh(&self, count: &Self) -> Self {
        let (least, most) = (count.u64.min, count.u64.max);
        let shift = |number: i64, n: u64| number.checked_shr(n as u32).unwrap_or(0);
        // An unknown sign bit fills the mask, a known one the value.
        let arithmetic = |bits: u64| shift(bits.cast_signed(), least).cast_unsigned();
        let bits = if least == most { self.bits.map(arithmetic) } else { Bits::UNKNOWN };
        // Shifting moves towards 0, or -1: a negative end goes far by few places, a positive one by many.
        let min = shift(self.s64.min, if self.s64.min < 0 { least } else { most });
        let max = shift(self.s64.max, if self.s64.max < 0 { most } else { least });
        Self { bits, s64: Range::new(min, max), ..Self::UNKNOWN }.or_unknown()
    }

    /// `arsh` of the low 32 bits, zero-extended; the count is below 32.
    pub(super) fn arsh32(&self, count: &Self) -> Self {
        self.sign_extended32().arsh(count).low32()
    }
}

/// The range from `min` to `max`, each with whether it went around; if one did and the other did not, all.
fn ends<T>((min, min_around): (T, bool), (max, max_around): (T, bool), all: Range<T>) -> Range<T> {
    if min_around == max_around { Range { min, max } } else { all }
}

/// The range from `min` to `max`, if they are.
fn both_ends<T>(min: Option<T>, max: Option<T>, all: Range<T>) -> Range<T> {
    match (min, max) {
        (Some(min), Some(max)) => Range { min, max },
        _ => all,
    }
}

/// How two numbers are compared; what `-` a condition of eBPF is one of, or one the other way around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    /// Some bit is 1 in both.
    Meets,
    /// No bit is 1 in both.
    Misses,
    Less,
    LessOrEqual,
    SignedLess,
    SignedLessOrEqual,
}

impl Relation {
    /// What is left of `a` and `b` where `a` stands in this relation to `b`; `None` if no numbers do.
    pub(super) fn refine(self, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
        let (mut x, mut y) = (*a, *b);
        match self {
            Self::Equal => {
                let both = a.meet(b)?;
                return Some((both, both));
            }
            Self::NotEqual => {
                if let Some(number) = b.known() {
                    x = without(x, number)?;
                }
                if let Some(number) = a.known() {
                    y = without(y, number)?;
                }
                return Some((x, y));
            }
            Self::Meets => {
                if a.bits.max() & b.bits.max() == 0 {
                    return None;
                }
                x.bits = with_bit(x.bits, b.known())?;
                y.bits = with_bit(y.bits, a.known())?;
            }
            Self::Misses => {
                let none = |bits: Bits, known: u64| bits.meet(Bits { value: 0, mask: !known });
                x.bits = none(x.bits, b.bits.value)?;
                y.bits = none(y.bits, a.bits.value)?;
            }
            Self::Less => {
                x.u64.clamp(0, b.u64.max.checked_sub(1)?);
                y.u64.clamp(a.u64.min.checked_add(1)?, u64::MAX);
            }
            Self::LessOrEqual => {
                x.u64.clamp(0, b.u64.max);
                y.u64.clamp(a.u64.min, u64::MAX);
            }
            Self::SignedLess => {
                x.s64.clamp(i64::MIN, b.s64.max.checked_sub(1)?);
                y.s64.clamp(a.s64.min.checked_add(1)?, i64::MAX);
            }
            Self::SignedLessOrEqual => {
                x.s64.clamp(i64::MIN, b.s64.max);
                y.s64.clamp(a.s64.min, i64::MAX);
            }
        }
        Some((x.settled()?, y.settled()?))
    }

    /// The same of the low 32 bits.
    pub(super) fn refine32(self, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
        let (low_a, low_b) = match self {
            // As signed numbers they are in the order of their sign extensions.
            Self::SignedLess | Self::SignedLessOrEqual => {
                let extended = (a.sign_extended32(), b.sign_extended32());
                self.refine(&extended.0, &extended.1)?
            }
            _ => self.refine(&a.low32(), &b.low32())?,
        };
        Some((a.with_low32(&low_a)?, b.with_low32(&low_b)?))
    }
}

/// The set without this number, as far as its facts can say.
fn without(mut set: Scalar, number: u64) -> Option<Scalar> {
    let signed = number.cast_signed();
    if set.known() == Some(number) {
        return None;
    }
    if set.u64.min == number {
        set.u64.min = number.checked_add(1)?;
    }
    if set.u64.max == number {
        set.u64.max = number.checked_sub(1)?;
    }
    if set.s64.min == signed {
        set.s64.min = signed.checked_add(1)?;
    }
    if set.s64.max == signed {
        set.s64.max = signed.checked_sub(1)?;
    }
    set.settled()
}

/// With the bit of `mask` that must be 1 because no other can be.
fn with_bit(bits: Bits, mask: Option<u64>) -> Option<Bits> {
    match mask.map(|mask| mask & bits.max()) {
        Some(bit) if bit.is_power_of_two() => bits.meet(Bits { value: bit, mask: !bit }),
        _ => Some(bits),
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(value) = self.known() {
            return if value.cast_signed() < 0 || value < 4096 {
                write!(f, "{}", value.cast_signed())
            } else {
                write!(f, "{value:#x}")
            };
        }
        let mut separator = "";
        let mut fact = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let written = write!(f, "{separator}{text}");
            separator = ", ";
            written
        };
        f.write_str("number(")?;
        if self.u64 != ALL_U64 {
            fact(f, format_args!("u64 {:#x}..={:#x}", self.u64.min, self.u64.max))?;
        }
        if self.s64 != ALL_S64 && self.s64.min < 0 {
            fact(f, format_args!("s64 {}..={}", self.s64.min, self.s64.max))?;
        }
        if self.u32 != ALL_U32 && self.u64.max > LOW32 {
            fact(f, format_args!("u32 {:#x}..={:#x}", self.u32.min, self.u32.max))?;
        }
        if self.s32 != ALL_S32 && self.s32.min < 0 {
            fact(f, format_args!("s32 {}..={}", self.s32.min, self.s32.max))?;
        }
        if self.bits != Bits::of_range(self.u64.min, self.u64.max) {
            fact(f, format_args!("bits {:#x} of {:#x}", self.bits.value, !self.bits.mask))?;
        }
        f.write_str(")")
    }
}
