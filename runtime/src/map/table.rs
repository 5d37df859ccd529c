//! Values by key: the hash, the hash that forgets the least recently used, and task storage.
//!
//! The lock is held for one piece of a value at a time. Nobody else can find the slot of an entry that is being made,
//! so its value may take as many pieces as it likes; what is read, or changed, piece by piece is looked up for each of
//! them, since its slot can have become another key's. So a value of several pieces may be found half changed, and
//! half one and half the other where two threads change it at once, but never with bytes of another key.

use alloc::vec::Vec;
use core::hash::Hasher;
use core::iter;
use core::num::NonZero;
use core::ops::Range;

use cbpf_translator::OutOfMemory;
use siphasher::sip::SipHasher13;

use super::lock::{Guard, Lock, Preemption, touched};
use super::words::{WORD, Words};
use super::{AccessError, CreateError, MAX_BYTES, Update};

/// The most of a value that is copied before the lock is let go.
const PIECE: usize = 1024;

/// A bounded hash table whose values do not move.
#[derive(Debug)]
pub(super) struct Table {
    values: Words,
    value_len: usize,
    stride: usize,
    key_len: usize,
    seed: [u64; 2],
    index: Lock<Index>,
}

/// Names an entry: its place among keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(
    /// One more than its index, so that an `Option` takes no more room.
    NonZero<u32>,
);

/// Which entries there are.
#[derive(Debug)]
struct Index {
    /// The first entry of each bucket, in which are those whose hashes end alike. There are at least as many buckets
    /// as entries, a power of two; so those in one are few, where keys are chosen without knowing the seed.
    buckets: Vec<Option<Slot>>,
    /// By slot.
    nodes: Vec<Node>,
    keys: Vec<u8>,
    key_len: usize,
    /// The first slot without an entry. The one that was freed last is taken first.
    free: Option<Slot>,
    recency: Recency,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// The next entry of the bucket, or the next free slot.
    next: Option<Slot>,
    hash: u32,
    is_entry: bool,
}

/// Where the value of an entry begins, in steps that keep it aligned.
pub(super) fn stride(value_size: u32) -> usize {
    (value_size as usize).next_multiple_of(WORD)
}

/// The parts of a value that are copied one after the other.
fn pieces(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(PIECE).map(move |start| start..start.saturating_add(PIECE).min(len))
}

impl Table {
    /// `evicts`: whether a new entry takes the place of the one that was used the longest time ago, where no other is
    /// free.
    pub(super) fn new(
        key_len: usize,
        value_size: u32,
        max_entries: u32,
        evicts: bool,
        seed: [u64; 2],
        preemption: &'static dyn Preemption,
    ) -> Result<Self, CreateError> {
        let (stride, count) = (stride(value_size), max_entries as usize);
        if stride.saturating_add(key_len).saturating_mul(count) > MAX_BYTES {
            return Err(CreateError::TooLarge);
        }
        let mut nodes = reserved(count)?;
        nodes.extend(
            (1..=max_entries)
                .map(|next| Node { next: Slot::new(next).filter(|_| next < max_entries), ..Node::default() }),
        );
        let index = Index {
            buckets: filled(count.next_power_of_two(), None)?,
            nodes,
            keys: filled(key_len.saturating_mul(count), 0)?,
            key_len,
            free: Slot::new(0),
            recency: Recency::new(if evicts { count } else { 0 })?,
        };
        let values = Words::new(stride.saturating_mul(count))?;
        let value_len = value_size as usize;
        Ok(Self { values, value_len, stride, key_len, seed, index: Lock::new(index, preemption) })
    }

    pub(super) fn words(&self) -> &Words {
        &self.values
    }

    pub(super) const fn key_len(&self) -> usize {
        self.key_len
    }

    /// Where the value of `key` is.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        let slot = index.find(hash, key).ok_or(AccessError::NotFound)?;
        index.recency.touch(slot);
        Ok(self.offset(slot))
    }

    /// Copies the value of `key`, which is not thereby used.
    pub(super) fn read(&self, key: &[u8], value: &mut [u8]) -> Result<(), AccessError> {
        let hash = self.hash(key)?;
        for part in pieces(value.len()) {
            let index = self.index.lock();
            let slot = index.find(hash, key).ok_or(AccessError::NotFound)?;
            let from = self.offset(slot).saturating_add(part.start);
            let read = value.get_mut(part).and_then(|value| self.values.read(from, value));
            read.ok_or(AccessError::ValueSize)?;
        }
        Ok(())
    }

    pub(super) fn find_or_create(&self, key: &[u8]) -> Result<usize, AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        if let Some(slot) = index.find(hash, key) {
            index.recency.touch(slot);
            return Ok(self.offset(slot));
        }
        let slot = index.take_slot()?;
        let clear = |to, part: Range<usize>| {
            self.values.clear(to, part.len());
            Some(())
        };
        let (mut index, _) = self.fill(index, slot, clear);
        if let Some(other) = index.find(hash, key) {
            index.give_back(slot);
            index.recency.touch(other);
            return Ok(self.offset(other));
        }
        index.insert(hash, key, slot);
        Ok(self.offset(slot))
    }

    /// Follows `htab_map_update_elem` and `htab_lru_map_update_elem`. `write` writes a part of the value where it is
    /// told.
    pub(super) fn update(
        &self,
        key: &[u8],
        update: Update,
        mut write: impl FnMut(usize, Range<usize>) -> Option<()>,
    ) -> Result<(), AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        if index.find(hash, key).is_none() {
            if update == Update::Change {
                return Err(AccessError::NotFound);
            }
            let slot = index.take_slot()?;
            let filled;
            (index, filled) = self.fill(index, slot, &mut write);
            if filled.is_none() {
                index.give_back(slot);
                return Err(AccessError::ValueSize);
            }
            if index.find(hash, key).is_none() {
                index.insert(hash, key, slot);
                return Ok(());
            }
            // Another thread has made it meanwhile.
            index.give_back(slot);
        }
        if update == Update::Create {
            return Err(AccessError::Exists);
        }
        for part in pieces(self.value_len) {
            if part.start != 0 {
                drop(index);
                index = self.index.lock();
            }
            // Whoever has taken it out meanwhile did so after this update.
            let Some(slot) = index.find(hash, key) else { break };
            index.recency.touch(slot);
            let to = self.offset(slot).saturating_add(part.start);
            write(to, part).ok_or(AccessError::ValueSize)?;
        }
        Ok(())
    }

    /// Writes the whole value of a slot that nobody can find; lets the lock go meanwhile if that takes more than a piece.
    fn fill<'t>(
        &'t self,
        index: Guard<'t, Index>,
        slot: Slot,
        mut write: impl FnMut(usize, Range<usize>) -> Option<()>,
    ) -> (Guard<'t, Index>, Option<()>) {
        let offset = self.offset(slot);
        let mut fill =
            || pieces(self.value_len).try_for_each(|part| write(offset.saturating_add(part.start), part));
        if self.value_len <= PIECE {
            let filled = fill();
            return (index, filled);
        }
        drop(index);
        let filled = fill();
        (self.index.lock(), filled)
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<(), AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        let slot = index.find(hash, key).ok_or(AccessError::NotFound)?;
        index.remove(slot);
        index.give_back(slot);
        Ok(())
    }

    /// Gives `to`, which has nothing, a copy of what `from` has, if that has anything.
    pub(super) fn duplicate(&self, from: &[u8], to: &[u8]) -> Result<(), AccessError> {
        let (hash_from, hash_to) = (self.hash(from)?, self.hash(to)?);
        let mut index = self.index.lock();
        if index.find(hash_from, from).is_none() {
            return Ok(());
        }
        let slot = index.take_slot()?;
        for part in pieces(self.value_len) {
            if part.start != 0 {
                drop(index);
                index = self.index.lock();
            }
            let Some(source) = index.find(hash_from, from) else {
                // It has gone meanwhile.
                index.give_back(slot);
                return Ok(());
            };
            let [source, copy] = [source, slot].map(|slot| self.offset(slot).saturating_add(part.start));
            if self.values.copy(source, copy, part.len()).is_none() {
                index.give_back(slot);
                return Err(AccessError::ValueSize);
            }
        }
        if let Some(other) = index.find(hash_to, to) {
            index.remove(other);
            index.give_back(other);
        }
        index.insert(hash_to, to, slot);
        Ok(())
    }

    /// Copies the key of the entry of a slot, if it has one.
    pub(super) fn key(&self, slot: u32, key: &mut [u8]) -> Option<()> {
        let slot = Slot::new(slot)?;
        let index = self.index.lock();
        let from = index.node(slot)?.is_entry.then(|| index.key(slot)).flatten()?;
        key.get_mut(..from.len())?.copy_from_slice(from);
        Some(())
    }

    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.index.is_locked()
    }

    fn hash(&self, key: &[u8]) -> Result<u32, AccessError> {
        if key.len() != self.key_len {
            return Err(AccessError::KeySize);
        }
        let [k0, k1] = self.seed;
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        hasher.write(key);
        Ok(hasher.finish() as u32)
    }

    fn offset(&self, slot: Slot) -> usize {
        self.stride.saturating_mul(slot.index())
    }
}

impl Slot {
    fn new(index: u32) -> Option<Self> {
        NonZero::new(index.wrapping_add(1)).map(Self)
    }

    const fn index(self) -> usize {
        self.0.get().wrapping_sub(1) as usize
    }
}

impl Index {
    fn find(&self, hash: u32, key: &[u8]) -> Option<Slot> {
        let is_it = |slot: &Slot| {
            self.node(*slot).is_some_and(|node| node.hash == hash) && self.key(*slot) == Some(key)
        };
        self.bucket(hash).find(is_it)
    }

    fn bucket(&self, hash: u32) -> impl Iterator<Item = Slot> {
        let first = self.buckets.get(self.bucket_of(hash)).copied().flatten();
        iter::successors(first, |slot| self.node(*slot)?.next)
    }

    fn bucket_of(&self, hash: u32) -> usize {
        hash as usize & self.buckets.len().wrapping_sub(1)
    }

    /// A slot without an entry; it is then the caller's.
    fn take_slot(&mut self) -> Result<Slot, AccessError> {
        if let Some(slot) = self.free {
            self.free = self.node(slot).and_then(|node| node.next);
            return Ok(slot);
        }
        let slot = self.recency.oldest().ok_or(AccessError::Full)?;
        self.remove(slot);
        Ok(slot)
    }

    fn give_back(&mut self, slot: Slot) {
        let next = self.free.replace(slot);
        if let Some(node) = self.nodes.get_mut(slot.index()) {
            *node = Node { next, ..Node::default() };
        }
    }

    fn insert(&mut self, hash: u32, key: &[u8], slot: Slot) {
        if let Some(place) = self.key_mut(slot) {
            place.copy_from_slice(key);
        }
        let bucket = self.bucket_of(hash);
        let next = self.buckets.get_mut(bucket).and_then(|first| first.replace(slot));
        if let Some(node) = self.nodes.get_mut(slot.index()) {
            *node = Node { next, hash, is_entry: true };
        }
        self.recency.push(slot);
    }

    /// Takes an entry out; its slot is then the caller's.
    fn remove(&mut self, slot: Slot) {
        let Some(Node { next, hash, .. }) = self.node(slot) else { return };
        let leads_here = |other: &Slot| self.node(*other).is_some_and(|node| node.next == Some(slot));
        let before = self.bucket(hash).find(leads_here);
        let link = match before {
            Some(before) => self.nodes.get_mut(before.index()).map(|node| &mut node.next),
            None => {
                let bucket = self.bucket_of(hash);
                self.buckets.get_mut(bucket)
            }
        };
        if let Some(link) = link {
            *link = next;
        }
        if let Some(node) = self.nodes.get_mut(slot.index()) {
            *node = Node::default();
        }
        self.recency.remove(slot);
    }

    fn node(&self, slot: Slot) -> Option<Node> {
        touched(size_of::<Node>());
        self.nodes.get(slot.index()).copied()
    }

    fn key(&self, slot: Slot) -> Option<&[u8]> {
        touched(self.key_len);
        let start = self.key_len.checked_mul(slot.index())?;
        self.keys.get(start..)?.get(..self.key_len)
    }

    fn key_mut(&mut self, slot: Slot) -> Option<&mut [u8]> {
        touched(self.key_len);
        let start = self.key_len.checked_mul(slot.index())?;
        self.keys.get_mut(start..)?.get_mut(..self.key_len)
    }
}

/// The entries from the one used last to the one used longest ago, as a list through all slots. Without slots it
/// keeps nothing.
#[derive(Debug)]
struct Recency {
    /// Of each slot, the one used after it and the one used before it.
    links: Vec<Link>,
    newest: Option<Slot>,
    oldest: Option<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    newer: Option<Slot>,
    older: Option<Slot>,
}

impl Recency {
    fn new(count: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { links: filled(count, Link::default())?, newest: None, oldest: None })
    }

    const fn oldest(&self) -> Option<Slot> {
        self.oldest
    }

    fn touch(&mut self, slot: Slot) {
        if self.newest != Some(slot) {
            self.remove(slot);
            self.push(slot);
        }
    }

    fn push(&mut self, slot: Slot) {
        let older = self.newest;
        let Some(link) = self.link(slot) else { return };
        *link = Link { newer: None, older };
        self.newest = Some(slot);
        match older.and_then(|older| self.link(older)) {
            Some(link) => link.newer = Some(slot),
            None => self.oldest = Some(slot),
        }
    }

    fn remove(&mut self, slot: Slot) {
        let Some(link) = self.link(slot) else { return };
        let Link { newer, older } = core::mem::take(link);
        match newer.and_then(|newer| self.link(newer)) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        match older.and_then(|older| self.link(older)) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, slot: Slot) -> Option<&mut Link> {
        touched(size_of::<Link>());
        self.links.get_mut(slot.index())
    }
}

fn reserved<T>(count: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
    Ok(all)
}

fn filled<T: Clone>(count: usize, with: T) -> Result<Vec<T>, OutOfMemory> {
    let mut all = reserved(count)?;
    all.resize(count, with);
    Ok(all)
}
