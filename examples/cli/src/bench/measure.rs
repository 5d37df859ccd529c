//! Times that can be compared: every probe is measured once in each round, so that whatever else the machine
//! does meets all of them alike.

use std::hint::black_box;
use std::time::{Duration, Instant};

use seccomp_runtime::SeccompData;

use crate::progress::Steps;

/// Something whose time is taken: some decisions, one after the other.
pub struct Probe<'p> {
    decisions: usize,
    batch: Box<dyn Fn() + 'p>,
}

impl<'p> Probe<'p> {
    /// `decide` for each of `calls`. It is called through a pointer that the compiler does not see through, so
    /// each decision costs a call, whatever `decide` is.
    pub fn new<T>(state: &'p T, decide: fn(&T, &SeccompData) -> u32, calls: &'p [&'p SeccompData]) -> Self {
        let batch = move || {
            let decide = black_box(decide);
            for call in calls {
                black_box(decide(state, black_box(call)));
            }
        };
        Self { decisions: calls.len(), batch: Box::new(batch) }
    }

    /// Makes the decisions. The result is how many.
    pub fn run(&self) -> usize {
        (self.batch)();
        self.decisions
    }

    fn time(&self, repeats: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..repeats {
            self.run();
        }
        start.elapsed()
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// What one probe takes in one round at least.
    pub batch: Duration,
    /// What all rounds together take at most, but for [`Effort::ROUNDS`] of them.
    pub total: Duration,
}

impl Effort {
    /// The fewest rounds.
    const ROUNDS: usize = 5;

    pub const FULL: Self = Self { batch: Duration::from_micros(50), total: Duration::from_secs(2) };
    pub const QUICK: Self = Self { batch: Duration::from_micros(5), total: Duration::from_millis(50) };

    /// Measures each probe once a round.
    pub fn measure(self, probes: &[Probe]) -> Samples {
        let repeats: Vec<_> = probes.iter().map(|probe| self.repeats(probe)).collect();
        self.rounds(probes.len(), |index| {
            let (probe, repeats) = (&probes[index], repeats[index]);
            probe.time(repeats).as_nanos() as f64 / (repeats * probe.decisions) as f64
        })
    }

    /// Calls `measure` with each of `count` indices once a round, every round from another one on.
    pub fn rounds(self, count: usize, mut measure: impl FnMut(usize) -> f64) -> Samples {
        let start = Instant::now();
        let mut samples = vec![Vec::new(); count];
        let mut round = 0;
        let mut progress = Steps::of_part("measuring", self.total);
        while round < Self::ROUNDS || start.elapsed() < self.total {
            for index in (0..count).map(|index| (index + round) % count) {
                samples[index].push(measure(index));
            }
            round += 1;
            progress.at(|| start.elapsed().as_millis() as u64);
        }
        Samples(samples)
    }

    /// How often a batch is repeated to take as long as it should. Warms up too.
    fn repeats(self, probe: &Probe) -> usize {
        probe.time(1);
        let once = probe.time(1).max(Duration::from_nanos(1));
        self.batch.div_duration_f64(once).ceil() as usize
    }
}

/// Each probe's results, in the order of the rounds.
pub struct Samples(Vec<Vec<f64>>);

impl Samples {
    /// The results of a probe between which half of the rounds are.
    pub fn quartiles(&self, probe: usize) -> [f64; 2] {
        quartiles(self.0[probe].iter().copied())
    }

    /// The same of how much more they are than those of `other`.
    pub fn quartiles_of_difference(&self, probe: usize, other: usize) -> [f64; 2] {
        quartiles(self.0[probe].iter().zip(&self.0[other]).map(|(result, other)| result - other))
    }

    /// The median result of a probe.
    pub fn median(&self, probe: usize) -> f64 {
        median(self.0[probe].iter().copied())
    }

    /// How often a probe's result is that of `other`: the median over the rounds.
    pub fn ratio(&self, probe: usize, other: usize) -> f64 {
        median(self.0[probe].iter().zip(&self.0[other]).map(|(result, other)| result / other))
    }

    /// How much more a probe's result is than that of `other`: the median over the rounds.
    pub fn difference(&self, probe: usize, other: usize) -> f64 {
        median(self.0[probe].iter().zip(&self.0[other]).map(|(result, other)| result - other))
    }
}

/// The value in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The values at a quarter and at three quarters.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    [last / 4, last - last / 4].map(|index| values[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_one_by_one() {
        // The second is always twice the first, however slow a round is.
        let samples = Samples(vec![vec![1.0, 9.0, 2.0], vec![2.0, 18.0, 4.0]]);
        assert_eq!((samples.median(0), samples.ratio(1, 0), samples.difference(1, 0)), (2.0, 2.0, 2.0));
        let samples = Samples(vec![vec![5.0, 1.0, 3.0, 2.0, 4.0], vec![0.0, 0.0, 0.0, 0.0, 4.0]]);
        assert_eq!(samples.quartiles(0), [2.0, 4.0]);
        assert_eq!(samples.quartiles_of_difference(0, 1), [1.0, 3.0]);
    }
}
