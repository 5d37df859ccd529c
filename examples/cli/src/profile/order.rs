//! The order in which the rules of one system call count.
//!
//! libseccomp keeps them as a tree. A rule's comparisons, by argument, are a way down from its root, each in
//! its high and its low half. Ways that begin alike share that beginning. Beside one another the later
//! arguments come first, equality before less before greater, and then the higher values (for less, the lower
//! ones); what is equal in that stands as it was added. A rule ends where its way ends, and what would go on
//! from there never counts. The order is that of a walk through the tree.

use super::comparison::{Comparison, Operator};

/// The rules of one system call. Rules are named by numbers, in the order of their coming.
pub(super) struct Order {
    places: Vec<Place>,
}

/// Names a place.
type Id = usize;

const ROOT: Id = 0;

/// A place in the tree.
struct Place {
    /// What leads to it; the root has nothing.
    half: Option<Half>,
    below: Vec<Id>,
    /// The rule that ends here, and its value.
    end: Option<(usize, u32)>,
}

/// Half of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Half {
    arg: u8,
    high: bool,
    operator: Operator,
    value: u32,
}

impl Half {
    /// What stands further to the front has more.
    fn rank(self) -> (u8, bool, u8, u32) {
        let (operator, value) = match self.operator {
            Operator::Eq | Operator::Ne | Operator::MaskedEq(_) => (2, self.value),
            Operator::Le | Operator::Lt => (1, u32::MAX - self.value),
            Operator::Ge | Operator::Gt => (0, self.value),
        };
        (self.arg, self.high, operator, value)
    }
}

/// The rule that a new one contradicts: the same comparisons, or with more of them, and another value.
pub(super) struct Conflict<R = usize>(pub(super) R);

impl Order {
    pub(super) fn new() -> Self {
        Self { places: vec![Place { half: None, below: Vec::new(), end: None }] }
    }

    /// Adds a rule with its value. Its comparisons are in the order of the arguments, each of which has one
    /// at most.
    pub(super) fn add(
        &mut self,
        rule: usize,
        value: u32,
        comparisons: &[Comparison],
    ) -> Result<(), Conflict> {
        let mut place = ROOT;
        for half in comparisons.iter().flat_map(halves) {
            if self.places[place].end.is_some() {
                return Ok(());
            }
            place = self.below(place, half);
        }
        if let Some((other, others)) = self.places[place].end {
            return if others == value { Ok(()) } else { Err(Conflict(other)) };
        }
        if let Some((other, _)) = self.ends(place).into_iter().find(|(_, others)| *others != value) {
            return Err(Conflict(other));
        }
        self.places[place].below.clear();
        self.places[place].end = Some((rule, value));
        Ok(())
    }

    /// The rules that count, in their order.
    pub(super) fn rules(&self) -> impl Iterator<Item = usize> {
        self.ends(ROOT).into_iter().map(|(rule, _)| rule)
    }

    /// The place below `place` that `half` leads to, made if there is none.
    fn below(&mut self, place: Id, half: Half) -> Id {
        let new = self.places.len();
        let below = &self.places[place].below;
        for (index, &other) in below.iter().enumerate() {
            let Some(others) = self.places[other].half else { continue };
            if others == half {
                return other;
            }
            if others.rank() < half.rank() {
                self.places[place].below.insert(index, new);
                self.places.push(Place { half: Some(half), below: Vec::new(), end: None });
                return new;
            }
        }
        self.places[place].below.push(new);
        self.places.push(Place { half: Some(half), below: Vec::new(), end: None });
        new
    }

    /// What ends at `place` and below it, in order.
    fn ends(&self, place: Id) -> Vec<(usize, u32)> {
        let mut ends = Vec::new();
        let mut stack = vec![place];
        while let Some(place) = stack.pop() {
            let Place { below, end, .. } = &self.places[place];
            ends.extend(*end);
            stack.extend(below.iter().rev());
        }
        ends
    }
}

fn halves(comparison: &Comparison) -> impl Iterator<Item = Half> {
    let Comparison { arg, operator, value, wide } = *comparison;
    let half = move |high: bool| {
        let shift = if high { 32 } else { 0 };
        let operator = match operator {
            Operator::MaskedEq(mask) => Operator::MaskedEq(mask >> shift & u64::from(u32::MAX)),
            operator => operator,
        };
        Half { arg, high, operator, value: (value >> shift) as u32 }
    };
    wide.then(|| half(true)).into_iter().chain([half(false)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(comparisons: &[(u8, Operator, u64)]) -> Vec<Comparison> {
        comparisons
            .iter()
            .filter_map(|(arg, operator, value)| Comparison::new(*arg, *operator, *value, true))
            .collect()
    }

    fn order(rules: &[(u32, Vec<Comparison>)]) -> Result<Vec<usize>, usize> {
        let mut order = Order::new();
        for (index, (value, comparisons)) in rules.iter().enumerate() {
            order.add(index, *value, comparisons).map_err(|Conflict(other)| other)?;
        }
        Ok(order.rules().collect())
    }

    #[test]
    fn later_arguments_and_equality_come_first() {
        let rules = [
            (1, rule(&[(0, Operator::Ge, 1)])),
            (2, rule(&[(0, Operator::Eq, 1)])),
            (3, rule(&[(1, Operator::Gt, 7)])),
            (4, rule(&[(0, Operator::Eq, 3)])),
            (5, rule(&[(0, Operator::Lt, 5)])),
            (6, rule(&[(0, Operator::Lt, 4)])),
        ];
        assert_eq!(order(&rules), Ok(vec![2, 3, 1, 5, 4, 0]));
    }

    #[test]
    fn shorter_rules_replace_longer_ones() {
        let long = rule(&[(0, Operator::Eq, 1), (1, Operator::Eq, 2)]);
        let short = rule(&[(0, Operator::Eq, 1)]);
        assert_eq!(order(&[(1, long.clone()), (1, short.clone())]), Ok(vec![1]));
        assert_eq!(order(&[(1, short.clone()), (2, long.clone())]), Ok(vec![0]));
        assert_eq!(order(&[(2, long), (1, short.clone())]), Err(0));
        assert_eq!(order(&[(2, short.clone()), (1, short)]), Err(0));
    }
}
