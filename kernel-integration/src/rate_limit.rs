//! A limit on how often something is told, so that a program cannot flood a log with calls that are denied.

use core::sync::atomic::{AtomicU64, Ordering};

/// Lets `burst` events through at once, and no more than `burst` in each `interval` in the long run. It counts
/// those that it drops. printk's has an interval of five seconds and a burst of ten.
///
/// The clock is the caller's: any one that does not run backwards by much, in the unit of `interval`. It never
/// waits and takes no lock, so it can stand between [`evaluate`](crate::evaluate()) and any log. With one for
/// all, a flooding program hides what others do; with one for each user or container it hides only its own.
///
/// ```
/// use seccomp_kernel::RateLimit;
///
/// let limit = RateLimit::new(5_000, 2);
/// assert_eq!(limit.admit(0), Some(0));
/// assert_eq!(limit.admit(0), Some(0));
/// assert_eq!(limit.admit(1), None);
/// assert_eq!(limit.admit(2_500), Some(1), "one was dropped before this one");
/// ```
#[derive(Debug)]
pub struct RateLimit {
    interval: u64,
    /// What an event takes of the interval.
    cost: u64,
    /// When what was let through will have been paid for.
    paid: AtomicU64,
    dropped: AtomicU64,
}

impl RateLimit {
    /// An `interval` of 0 does not limit, a `burst` of 0 lets nothing through. An interval shorter than `burst`
    /// units of the clock lets only as many through as it has units.
    pub const fn new(interval: u64, burst: u32) -> Self {
        let cost = match interval.checked_div(burst as u64) {
            None => u64::MAX,
            Some(0) => 1,
            Some(cost) => cost,
        };
        Self { interval, cost, paid: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }

    /// Whether an event at `now` is to be told, and if so how many were dropped since the last one that was.
    pub fn admit(&self, now: u64) -> Option<u64> {
        let admitted = self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| {
            let paid = paid.max(now).checked_add(self.cost)?;
            (paid.saturating_sub(now) <= self.interval).then_some(paid)
        });
        if self.interval == 0 || admitted.is_ok() {
            return Some(self.dropped.swap(0, Ordering::Relaxed));
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// How many were dropped since the last event that was to be told.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
