//! What a rule asks of one argument.

/// A comparison of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Comparison {
    /// The argument's index, below 6.
    pub arg: u8,
    /// How it is compared.
    pub operator: Operator,
    /// With what. Where the operator has a mask, no other bits are set.
    pub value: u64,
    /// Whether all 64 bits of the argument count; otherwise only the low 32 do, and value and mask have no
    /// others. Arguments of 32-bit entries are compared so.
    pub wide: bool,
}

/// An operator of a [`Comparison`]. Arguments are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operator {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// Equal in these bits. It is at least one.
    MaskedEq(u64),
}

impl Comparison {
    /// The comparison, or none if it always holds.
    pub(super) fn new(arg: u8, operator: Operator, value: u64, wide: bool) -> Option<Self> {
        let width = if wide { u64::MAX } else { u32::MAX.into() };
        let (operator, value) = match operator {
            Operator::MaskedEq(mask) if mask & width == 0 => return None,
            Operator::MaskedEq(mask) => (Operator::MaskedEq(mask & width), value & mask & width),
            operator => (operator, value & width),
        };
        Some(Self { arg, operator, value, wide })
    }

    /// Whether it holds for a call with these arguments.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let arg = args.get(usize::from(self.arg)).copied().unwrap_or(0);
        let arg = if self.wide { arg } else { arg & u64::from(u32::MAX) };
        match self.operator {
            Operator::Ne => arg != self.value,
            Operator::Lt => arg < self.value,
            Operator::Le => arg <= self.value,
            Operator::Eq => arg == self.value,
            Operator::Ge => arg >= self.value,
            Operator::Gt => arg > self.value,
            Operator::MaskedEq(mask) => arg & mask == self.value,
        }
    }
}
