//! The lock of a map, and what the kernel gives to make it safe.

use core::fmt::Debug;
use core::ops::{Deref, DerefMut};

use spin::{Mutex, MutexGuard};

/// How a thread stays on its CPU while it holds the lock of a map.
///
/// Whoever waits for such a lock spins, and may do so under locks of the kernel's: a thread is born and ends under that of
/// its group. Were the holder taken off its CPU and the one that waits put there, neither would ever go on. So in a
/// kernel that takes threads off CPUs where they are, [`disable`](Self::disable) keeps it from doing so
/// (`preempt_disable`). If it keeps interrupts out as well (`local_irq_save`), maps may also be used in interrupt
/// handlers; otherwise not.
///
/// It is kept off while at most 4 KiB are touched, and others on other CPUs do the same. What runs meanwhile neither
/// sleeps, allocates, frees nor calls the kernel.
pub trait Preemption: Debug + Sync {
    /// From now on the calling thread stays on its CPU. Comes in pairs with [`enable`](Self::enable) on one thread,
    /// and may be in effect already, by the kernel's doing. What it returns is given to `enable`.
    fn disable(&self) -> usize;

    /// Restores what was before the call of [`disable`](Self::disable) that returned `before`.
    fn enable(&self, before: usize);
}

/// For the threads of a process: the kernel below lets the holder of a lock go on, whoever else waits for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserSpace;

impl Preemption for UserSpace {
    fn disable(&self) -> usize {
        0
    }

    fn enable(&self, _: usize) {}
}

/// A spin lock, held by threads that stay on their CPU.
#[derive(Debug)]
pub(super) struct Lock<T> {
    preemption: &'static dyn Preemption,
    value: Mutex<T>,
}

/// What is locked. The order of the fields is that of letting go.
pub(super) struct Guard<'l, T> {
    value: MutexGuard<'l, T>,
    _on_cpu: OnCpu,
}

/// The thread stays on its CPU as long as it has this.
struct OnCpu {
    preemption: &'static dyn Preemption,
    before: usize,
}

impl<T> Lock<T> {
    pub(super) const fn new(value: T, preemption: &'static dyn Preemption) -> Self {
        Self { preemption, value: Mutex::new(value) }
    }

    pub(super) fn lock(&self) -> Guard<'_, T> {
        let before = self.preemption.disable();
        let on_cpu = OnCpu { preemption: self.preemption, before };
        Guard { value: self.value.lock(), _on_cpu: on_cpu }
    }

    /// Whether somebody holds it.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.value.is_locked()
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl Drop for OnCpu {
    fn drop(&mut self) {
        self.preemption.enable(self.before);
    }
}

/// Bytes of a map are touched: tests count how many under a lock.
#[inline]
pub(super) fn touched(bytes: usize) {
    #[cfg(test)]
    TOUCHED.set(TOUCHED.get() + bytes);
    #[cfg(not(test))]
    let _ = bytes;
}

#[cfg(test)]
extern crate std;

#[cfg(test)]
std::thread_local! {
    static TOUCHED: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// How many bytes this thread has touched since this was asked last.
#[cfg(test)]
pub(crate) fn touched_since() -> usize {
    TOUCHED.take()
}
