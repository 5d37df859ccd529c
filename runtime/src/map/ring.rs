//! Events for user space, in the order in which their places were reserved.
//!
//! A record is a header of one word and the event behind it. Programs reserve records at the head; readers take finished
//! ones, copy them, and give their space back at the tail. These positions only grow, and none overtakes the one
//! before it; a record's place is its position modulo the size. A record never wraps around: where the end is too near, a
//! discarded one fills it.
//!
//! Events are written, cleared and copied without a lock. Until it is finished an event is that of the program which has
//! reserved it; once a reader has taken it, that reader's.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};

use cbpf_translator::OutOfMemory;

use super::lock::{Lock, Preemption};
use super::words::{WORD, Words};

/// In a header: nobody has finished the event yet.
const BUSY: u64 = 1 << 32;
/// In a header: there is no event, or none any more.
const DISCARDED: u64 = 1 << 33;
/// In a header: bytes of the event.
const LEN: u64 = BUSY.wrapping_sub(1);

/// How many records are looked at before a lock is let go.
const STEPS: usize = 64;

#[derive(Debug)]
pub(crate) struct Ring {
    words: Words,
    /// Where the next record goes; written under `producer`.
    head: AtomicU64,
    /// Where the oldest record is whose space has not been given back; written under `next`.
    tail: AtomicU64,
    producer: Lock<()>,
    /// Where the oldest record is that no reader has taken or passed.
    next: Lock<u64>,
    lost: AtomicU64,
}

/// A place in the ring for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Of its first byte.
    offset: usize,
    len: u32,
}

/// An event that a reader has taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    position: u64,
    len: u32,
}

impl Ring {
    /// A ring of `size` bytes, a power of two.
    pub(super) fn new(size: u32, preemption: &'static dyn Preemption) -> Result<Self, OutOfMemory> {
        Ok(Self {
            words: Words::new(size as usize)?,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            producer: Lock::new((), preemption),
            next: Lock::new(0, preemption),
            lost: AtomicU64::new(0),
        })
    }

    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.head.load(Ordering::Acquire).saturating_sub(self.tail.load(Ordering::Relaxed))
    }

    /// A place for an event of `len` bytes, all 0. It is the caller's until [`Ring::finish`]. Without a place
    /// the event is counted as lost.
    pub(crate) fn reserve(&self, len: u64) -> Option<Reservation> {
        let reserved = u32::try_from(len).ok().and_then(|len| self.try_reserve(len));
        if reserved.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        reserved
    }

    fn try_reserve(&self, len: u32) -> Option<Reservation> {
        let record = record_len(len);
        let size = self.words.len() as u64;
        if record > size {
            return None;
        }
        let lock = self.producer.lock();
        let head = self.head.load(Ordering::Relaxed);
        let to_end = size.saturating_sub(self.place(head));
        let filler = if record > to_end { to_end } else { 0 };
        let start = head.wrapping_add(filler);
        let new_head = start.wrapping_add(record);
        // What the reader has read may be overwritten only after it has.
        if new_head.saturating_sub(self.tail.load(Ordering::Acquire)) > size {
            return None;
        }
        if let Some(event) = filler.checked_sub(WORD as u64) {
            self.header(head)?.store(DISCARDED | event, Ordering::Relaxed);
        }
        let offset = self.event(start)?;
        self.header(start)?.store(BUSY | u64::from(len), Ordering::Relaxed);
        self.head.store(new_head, Ordering::Release);
        drop(lock);
        self.words.clear(offset, len as usize);
        Some(Reservation { offset, len })
    }

    /// Gives the event to the reader, or lets it go.
    pub(crate) fn finish(&self, reservation: Reservation, discard: bool) {
        let state = if discard { DISCARDED } else { 0 };
        if let Some(header) = reservation.offset.checked_sub(WORD).and_then(|at| self.words.word(at)) {
            header.store(state | u64::from(reservation.len), Ordering::Release);
        }
    }

    /// As [`Map::next_event`](super::Map::next_event).
    pub(super) fn next(&self, event: &mut [u8]) -> Option<usize> {
        let taken = self.take();
        let copied = taken.and_then(|Taken { position, len }| {
            let room = event.len().min(len as usize);
            let read = self.words.read(self.event(position)?, event.get_mut(..room)?);
            self.header(position)?.store(DISCARDED | u64::from(len), Ordering::Release);
            read.map(|()| len as usize)
        });
        while self.give_back().is_continue() {}
        copied
    }

    /// Takes the oldest event, which no other reader is then given.
    fn take(&self) -> Option<Taken> {
        loop {
            let mut next = self.next.lock();
            for _ in 0..STEPS {
                let position = *next;
                if position == self.head.load(Ordering::Acquire) {
                    return None;
                }
                let header = self.header(position)?.load(Ordering::Acquire);
                if header & BUSY != 0 {
                    return None;
                }
                let len = (header & LEN) as u32;
                *next = position.wrapping_add(record_len(len));
                if header & DISCARDED == 0 {
                    return Some(Taken { position, len });
                }
            }
        }
    }

    /// Lets programs have the space of the oldest records, as far as nobody reads them any more.
    fn give_back(&self) -> ControlFlow<()> {
        let next = self.next.lock();
        for _ in 0..STEPS {
            let tail = self.tail.load(Ordering::Relaxed);
            // What readers did with an event comes before what programs do with its space.
            let header = self.header(tail).map_or(0, |header| header.load(Ordering::Acquire));
            if tail == *next || header & DISCARDED == 0 {
                return ControlFlow::Break(());
            }
            self.tail.store(tail.wrapping_add(record_len((header & LEN) as u32)), Ordering::Release);
        }
        ControlFlow::Continue(())
    }

    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.producer.is_locked() || self.next.is_locked()
    }

    fn header(&self, position: u64) -> Option<&AtomicU64> {
        self.words.word(usize::try_from(self.place(position)).ok()?)
    }

    /// Where the event of the record at a position begins.
    fn event(&self, position: u64) -> Option<usize> {
        usize::try_from(self.place(position)).ok()?.checked_add(WORD)
    }

    fn place(&self, position: u64) -> u64 {
        position & (self.words.len() as u64).wrapping_sub(1)
    }
}

impl Reservation {
    /// Where the event begins in the ring's memory.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }
}

/// Bytes of a record with an event of `len` bytes.
fn record_len(len: u32) -> u64 {
    u64::from(len).next_multiple_of(WORD as u64).saturating_add(WORD as u64)
}
