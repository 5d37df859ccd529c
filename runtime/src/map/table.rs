//! Values by key: the hash, the hash that forgets the least recently used, and task storage.

use alloc::vec::Vec;
use core::hash::Hasher;

use cbpf_translator::OutOfMemory;
use cbpf_translator::fallible::{filled, with_capacity};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use spin::Mutex;

use super::words::{WORD, Words};
use super::{AccessError, CreateError, MAX_BYTES, Update};

/// Names an entry: its place among keys and values.
type Slot = u32;

/// A bounded hash table whose values do not move.
#[derive(Debug)]
pub(super) struct Table {
    values: Words,
    stride: usize,
    key_len: usize,
    /// Whether a new entry takes the place of the one that was used the longest time ago, where no other is free.
    evicts: bool,
    seed: [u64; 2],
    index: Mutex<Index>,
}

/// Which entries there are.
#[derive(Debug)]
struct Index {
    /// The slots of all entries, by their keys. Its capacity is twice what it can ever have, so that hashbrown
    /// never grows it: what deleted entries leave behind it then removes in place.
    slots: HashTable<Slot>,
    keys: Vec<u8>,
    key_len: usize,
    /// The slots without an entry; the one on top was freed last and is taken first.
    free: Vec<Slot>,
    in_use: Vec<bool>,
    recency: Recency,
}

/// Where the value of an entry begins, in steps that keep it aligned.
pub(super) fn stride(value_size: u32) -> usize {
    (value_size as usize).next_multiple_of(WORD)
}

impl Table {
    pub(super) fn new(
        key_len: usize,
        value_size: u32,
        max_entries: u32,
        evicts: bool,
        seed: [u64; 2],
    ) -> Result<Self, CreateError> {
        let (stride, count) = (stride(value_size), max_entries as usize);
        if stride.saturating_add(key_len).saturating_mul(count) > MAX_BYTES {
            return Err(CreateError::TooLarge);
        }
        let mut slots = HashTable::new();
        let room = count.saturating_mul(2);
        slots.try_reserve(room, |_| 0).map_err(|_| OutOfMemory)?;
        let mut free = with_capacity(count)?;
        free.extend((0..max_entries).rev());
        let index = Index {
            slots,
            keys: filled(key_len.saturating_mul(count), 0)?,
            key_len,
            free,
            in_use: filled(count, false)?,
            recency: Recency::new(if evicts { count } else { 0 })?,
        };
        let values = Words::new(stride.saturating_mul(count))?;
        Ok(Self { values, stride, key_len, evicts, seed, index: Mutex::new(index) })
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
    pub(super) fn read(&self, key: &[u8], value: &mut [u8]) -> Result<Option<()>, AccessError> {
        let hash = self.hash(key)?;
        let index = self.index.lock();
        let slot = index.find(hash, key).ok_or(AccessError::NotFound)?;
        Ok(self.values.read(self.offset(slot), value))
    }

    pub(super) fn find_or_create(&self, key: &[u8]) -> Result<usize, AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        if let Some(slot) = index.find(hash, key) {
            index.recency.touch(slot);
            return Ok(self.offset(slot));
        }
        let slot = self.take_slot(&mut index)?;
        self.values.clear(self.offset(slot), self.stride);
        self.insert(&mut index, hash, key, slot);
        Ok(self.offset(slot))
    }

    /// Follows `htab_map_update_elem` and `htab_lru_map_update_elem`.
    pub(super) fn update(
        &self,
        key: &[u8],
        update: Update,
        write: impl FnOnce(&Words, usize) -> Option<()>,
    ) -> Result<(), AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        if let Some(slot) = index.find(hash, key) {
            if update == Update::Create {
                return Err(AccessError::Exists);
            }
            index.recency.touch(slot);
            return write(&self.values, self.offset(slot)).ok_or(AccessError::ValueSize);
        }
        if update == Update::Change {
            return Err(AccessError::NotFound);
        }
        let slot = self.take_slot(&mut index)?;
        if write(&self.values, self.offset(slot)).is_none() {
            index.free.push(slot);
            return Err(AccessError::ValueSize);
        }
        self.insert(&mut index, hash, key, slot);
        Ok(())
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<(), AccessError> {
        let hash = self.hash(key)?;
        let mut index = self.index.lock();
        let slot = index.find(hash, key).ok_or(AccessError::NotFound)?;
        index.remove(hash, slot);
        index.free.push(slot);
        Ok(())
    }

    /// Gives `to` a copy of what `from` has, if that has anything.
    pub(super) fn duplicate(&self, from: &[u8], to: &[u8]) -> Result<(), AccessError> {
        let (hash_from, hash_to) = (self.hash(from)?, self.hash(to)?);
        let mut index = self.index.lock();
        let Some(source) = index.find(hash_from, from) else { return Ok(()) };
        let slot = match index.find(hash_to, to) {
            Some(slot) => slot,
            None => {
                let slot = self.take_slot(&mut index)?;
                self.insert(&mut index, hash_to, to, slot);
                slot
            }
        };
        self.values.copy(self.offset(source), self.offset(slot), self.stride).ok_or(AccessError::ValueSize)
    }

    /// Copies the entry of a slot, if it has one.
    pub(super) fn entry(&self, slot: Slot, key: &mut [u8], value: &mut [u8]) -> Option<()> {
        let index = self.index.lock();
        if !*index.in_use.get(slot as usize)? {
            return None;
        }
        let from = index.key(slot)?;
        key.get_mut(..from.len())?.copy_from_slice(from);
        self.values.read(self.offset(slot), value)
    }

    /// A slot that no entry has.
    fn take_slot(&self, index: &mut Index) -> Result<Slot, AccessError> {
        if let Some(slot) = index.free.pop() {
            return Ok(slot);
        }
        let oldest = if self.evicts { index.recency.oldest() } else { None };
        let slot = oldest.ok_or(AccessError::Full)?;
        let hash = index.key(slot).map_or(0, |key| self.hash_bytes(key));
        index.remove(hash, slot);
        Ok(slot)
    }

    fn insert(&self, index: &mut Index, hash: u64, key: &[u8], slot: Slot) {
        if let Some(place) = index.key_mut(slot) {
            place.copy_from_slice(key);
        }
        if let Some(in_use) = index.in_use.get_mut(slot as usize) {
            *in_use = true;
        }
        index.recency.push(slot);
        let Index { slots, keys, key_len, .. } = index;
        slots.insert_unique(hash, slot, |slot| {
            key_at(keys, *key_len, *slot).map_or(0, |key| self.hash_bytes(key))
        });
    }

    fn hash(&self, key: &[u8]) -> Result<u64, AccessError> {
        if key.len() == self.key_len { Ok(self.hash_bytes(key)) } else { Err(AccessError::KeySize) }
    }

    fn hash_bytes(&self, key: &[u8]) -> u64 {
        let [k0, k1] = self.seed;
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        hasher.write(key);
        hasher.finish()
    }

    fn offset(&self, slot: Slot) -> usize {
        self.stride.saturating_mul(slot as usize)
    }
}

impl Index {
    fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        self.slots.find(hash, |slot| self.key(*slot) == Some(key)).copied()
    }

    /// Takes an entry out; its slot is then the caller's.
    fn remove(&mut self, hash: u64, slot: Slot) {
        if let Ok(entry) = self.slots.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        if let Some(in_use) = self.in_use.get_mut(slot as usize) {
            *in_use = false;
        }
        self.recency.remove(slot);
    }

    fn key(&self, slot: Slot) -> Option<&[u8]> {
        key_at(&self.keys, self.key_len, slot)
    }

    fn key_mut(&mut self, slot: Slot) -> Option<&mut [u8]> {
        let start = self.key_len.checked_mul(slot as usize)?;
        self.keys.get_mut(start..)?.get_mut(..self.key_len)
    }
}

fn key_at(keys: &[u8], key_len: usize, slot: Slot) -> Option<&[u8]> {
    let start = key_len.checked_mul(slot as usize)?;
    keys.get(start..)?.get(..key_len)
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
        self.links.get_mut(slot as usize)
    }
}
