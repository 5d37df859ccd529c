//! What is known of a 32-bit value: an interval, and bits.

use cbpf_translator::cbpf::AluOp;

use super::expr::Op;

/// A value between `low` and `high` whose bits outside of `unknown` are those of `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: u32,
    pub(super) high: u32,
    bits: u32,
    unknown: u32,
}

impl Range {
    /// Any value with these bits outside of `unknown`.
    pub(super) fn of_bits(bits: u32, unknown: u32) -> Self {
        let bits = bits & !unknown;
        Self { low: bits, high: bits | unknown, bits, unknown }
    }

    pub(super) fn exactly(value: u32) -> Self {
        Self::of_bits(value, 0)
    }

    const ANY: Self = Self { low: 0, high: u32::MAX, bits: 0, unknown: u32::MAX };

    fn known(self) -> Option<u32> {
        (self.low == self.high).then_some(self.low)
    }

    /// With an interval besides. Both hold.
    fn within(self, low: u32, high: u32) -> Self {
        let (low, high) = (self.low.max(low), self.high.min(high));
        // The bits above the highest in which both ends differ are known.
        let differ = (u64::from(low ^ high) + 1).next_power_of_two() as u32;
        let below = differ.wrapping_sub(1);
        Self { low, high, bits: self.bits | low & !below, unknown: self.unknown & below }
    }

    /// What an operation makes of any two such values.
    pub(super) fn apply(op: Op, a: Self, b: Self) -> Self {
        if let (Some(a), Some(b)) = (a.known(), b.known()) {
            return Self::exactly(op.apply(a, b));
        }
        match op {
            Op::Gt => Self::outcome(a.low > b.high, a.high <= b.low),
            Op::Ge => Self::outcome(a.low >= b.high, a.high < b.low),
            Op::Alu(op) => Self::alu(op, a, b),
        }
    }

    fn outcome(holds: bool, fails: bool) -> Self {
        if holds {
            Self::exactly(1)
        } else if fails {
            Self::exactly(0)
        } else {
            Self::of_bits(0, 1)
        }
    }

    fn alu(op: AluOp, a: Self, b: Self) -> Self {
        let ones = |of: Self| of.bits;
        let maybe = |of: Self| of.bits | of.unknown;
        match op {
            AluOp::And => {
                let bits = ones(a) & ones(b);
                Self::of_bits(bits, maybe(a) & maybe(b) & !bits).within(0, a.high.min(b.high))
            }
            AluOp::Or => {
                let bits = ones(a) | ones(b);
                Self::of_bits(bits, (maybe(a) | maybe(b)) & !bits).within(a.low.max(b.low), u32::MAX)
            }
            AluOp::Xor => Self::of_bits(a.bits ^ b.bits, a.unknown | b.unknown),
            AluOp::Add => match (a.low.overflowing_add(b.low), a.high.overflowing_add(b.high)) {
                ((low, wraps), (high, too)) if wraps == too => Self::ANY.within(low, high),
                _ => Self::ANY,
            },
            AluOp::Sub => match (a.low.overflowing_sub(b.high), a.high.overflowing_sub(b.low)) {
                ((low, wraps), (high, too)) if wraps == too => Self::ANY.within(low, high),
                _ => Self::ANY,
            },
            AluOp::Mul => match a.high.checked_mul(b.high) {
                Some(high) => Self::ANY.within(a.low.wrapping_mul(b.low), high),
                None => Self::ANY,
            },
            // A divisor of 0 gives 0.
            AluOp::Div => {
                let low = if b.low == 0 { 0 } else { a.low / b.high };
                Self::ANY.within(low, a.high / b.low.max(1))
            }
            AluOp::Lsh => match b.known() {
                Some(by) => Self::of_bits(a.bits.wrapping_shl(by), a.unknown.wrapping_shl(by)),
                None => Self::ANY,
            },
            AluOp::Rsh => match b.known() {
                Some(by) => Self::of_bits(a.bits.wrapping_shr(by), a.unknown.wrapping_shr(by))
                    .within(a.low.wrapping_shr(by), a.high.wrapping_shr(by)),
                None => Self::ANY.within(0, a.high),
            },
            AluOp::Mod => Self::ANY,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, RngCore, SeedableRng};

    use super::*;

    const OPS: [Op; 11] = [
        Op::Gt,
        Op::Ge,
        Op::Alu(AluOp::Add),
        Op::Alu(AluOp::Sub),
        Op::Alu(AluOp::Mul),
        Op::Alu(AluOp::Div),
        Op::Alu(AluOp::Or),
        Op::Alu(AluOp::And),
        Op::Alu(AluOp::Xor),
        Op::Alu(AluOp::Lsh),
        Op::Alu(AluOp::Rsh),
    ];

    /// Two operations in a row, so that intervals and bits are no longer of one shape.
    #[test]
    fn results_have_what_is_known_of_them() {
        let mut rng = SmallRng::seed_from_u64(7);
        for _ in 0..400_000 {
            let mut any = || {
                let (mut bits, mut unknown) = (rng.next_u32(), rng.next_u32());
                match rng.random_range(0..3) {
                    0 => unknown = 0,
                    1 => unknown = u32::MAX >> rng.random_range(0..32),
                    _ => unknown &= rng.next_u32(),
                }
                bits >>= rng.random_range(0..32);
                let value = bits & !unknown | rng.next_u32() & unknown;
                (value, Range::of_bits(bits, unknown))
            };
            let [(a, range_a), (b, range_b), (c, range_c)] = [any(), any(), any()];
            let [first, second] = [(); 2].map(|()| OPS[rng.random_range(0..OPS.len())]);
            let (once, range) = (first.apply(a, b), Range::apply(first, range_a, range_b));
            for (value, range) in
                [(once, range), (second.apply(once, c), Range::apply(second, range, range_c))]
            {
                assert!(
                    (range.low..=range.high).contains(&value),
                    "{first:?} {second:?} {value:#x} {range:x?}"
                );
                assert_eq!(value & !range.unknown, range.bits, "{first:?} {second:?} {value:#x} {range:x?}");
            }
        }
    }
}
