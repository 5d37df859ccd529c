//! How often which call was denied.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use cbpf_translator::OutOfMemory;
use cbpf_translator::fallible::with_capacity;
use seccomp_runtime::{ByNumber, SeccompData};

use crate::arch::Arch;
use crate::evaluate::{Decision, Verdict};

/// Counters of denied calls, by entry and number: [`NUMBERS`](seccomp_runtime::NUMBERS) for each entry and one for all other calls,
/// whatever programs do. Counters stay at their largest value once they are there.
///
/// The kernel owns it, and owns as many as it likes: one for all, one for each container, one beside each
/// thread's state. It calls [`count`](Self::count) with what [`evaluate`](crate::evaluate()) returned, for
/// every decision; this takes no lock, allocates nothing, and looks no further if the call was let through.
#[derive(Debug)]
pub struct Denials {
    tables: Vec<Table>,
    other: AtomicU32,
}

#[derive(Debug)]
struct Table {
    arch: u32,
    counters: ByNumber<AtomicU32>,
}

/// How often a call was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The `AUDIT_ARCH_*` value of the entry.
    pub arch: u32,
    /// The system call number.
    pub nr: i32,
    /// How often.
    pub count: u32,
}

impl Denials {
    /// Counters, all 0, for the calls of `entries`: those of
    /// [`Kernel::planned_entries`](crate::Kernel::planned_entries).
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(entries: &[Arch]) -> Result<Self, OutOfMemory> {
        let mut tables = with_capacity(entries.len())?;
        for entry in entries {
            let counters = ByNumber::new(AtomicU32::default)?;
            tables.push(Table { arch: entry.audit_arch(), counters });
        }
        Ok(Self { tables, other: AtomicU32::new(0) })
    }

    /// Counts the call if `decision` denies it. A call that waits for its tracer is not denied yet; if the
    /// tracer lets it go on, the decision after that counts.
    #[inline]
    pub fn count(&self, decision: &Decision, data: &SeccompData) {
        if denies(&decision.verdict) {
            let counter = self.counter(data.arch, data.nr).unwrap_or(&self.other);
            // Refused at the largest value only.
            let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
        }
    }

    /// The calls that were denied so far, by entry and number. Other threads may count meanwhile.
    pub fn iter(&self) -> impl Iterator<Item = Denied> {
        self.tables.iter().flat_map(|Table { arch, counters }| {
            counters.iter().filter_map(|(nr, counter)| {
                let count = counter.load(Ordering::Relaxed);
                (count > 0).then_some(Denied { arch: *arch, nr, count })
            })
        })
    }

    /// How often calls were denied that have no counter of their own: those of other entries, and numbers that
    /// no call has.
    pub fn other(&self) -> u32 {
        self.other.load(Ordering::Relaxed)
    }

    fn counter(&self, arch: u32, nr: i32) -> Option<&AtomicU32> {
        let table = self.tables.iter().find(|table| table.arch == arch)?;
        table.counters.get(nr)
    }
}

/// Whether the call does not run and will not.
fn denies(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Return(_)
            | Verdict::Skip
            | Verdict::Restart
            | Verdict::Trap(_)
            | Verdict::KillStrict
            | Verdict::KillThread(_)
            | Verdict::KillProcess(_)
    )
}
