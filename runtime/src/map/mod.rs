//! What a filter remembers, and what it tells user space.
//!
//! All of a map's memory is reserved when it is made. Values never move and are not freed before the map is, so
//! the address that a lookup gives a program stays good: the value of a deleted entry can still be read and
//! written until another entry takes its place, as in Linux's preallocated maps.
//!
//! Entries of a hash are found under a spin lock, and so are places of a ring. It is held while at most 4 KiB are
//! touched and nothing sleeps, allocates or calls the embedder, on a CPU that the holder does not leave:
//! [`Preemption`].

mod array;
mod error;
mod lock;
pub(crate) mod ring;
mod table;
pub(crate) mod words;

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use array::Array;
use cbpf_translator::fallible::filled;
pub use error::{AccessError, CreateError};
#[cfg(test)]
pub(crate) use lock::touched_since;
pub use lock::{Preemption, UserSpace};
use ring::Ring;
use table::Table;
use words::Words;

use crate::verifier::{MapAccess, MapDescriptor, MapKind};

/// The longest key.
pub const MAX_KEY_SIZE: u32 = 256;

/// The longest value.
pub const MAX_VALUE_SIZE: u32 = 1 << 16;

/// The most entries.
pub const MAX_ENTRIES: u32 = 1 << 20;

/// The most bytes that a map takes for its keys and values, or for its events.
pub const MAX_BYTES: usize = 64 << 20;

/// The size of the smallest ring.
pub const MIN_RING: u32 = 4096;

/// The size of a task's id, by which [`MapKind::TaskStorage`] is looked up.
const TASK_ID: usize = size_of::<u64>();

/// Whose storage [`MapKind::TaskStorage`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskScope {
    /// Each thread has its own.
    #[default]
    Thread,
    /// The threads of a group share one.
    ThreadGroup,
}

/// What a new thread, or the first thread of a new group, finds in its storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtFork {
    /// Nothing.
    #[default]
    Reset,
    /// What its parent had then.
    Copy,
}

/// What a map's description does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapOptions {
    /// Whose storage it is, where it is task storage.
    pub scope: TaskScope,
    /// What a new task gets of it, where it is task storage.
    pub at_fork: AtFork,
    /// What the places of keys depend on, where it is a hash. To whom can choose keys it must be a secret.
    pub seed: [u64; 2],
}

/// Whether an update makes an entry or changes one; the values are Linux's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Update {
    /// Either (`BPF_ANY`).
    Any = 0,
    /// It makes one (`BPF_NOEXIST`).
    Create = 1,
    /// It changes one (`BPF_EXIST`).
    Change = 2,
}

impl Update {
    /// The meaning of a program's flags.
    pub(crate) const fn from_flags(flags: u64) -> Result<Self, AccessError> {
        match flags {
            0 => Ok(Self::Any),
            1 => Ok(Self::Create),
            2 => Ok(Self::Change),
            _ => Err(AccessError::Flags),
        }
    }
}

/// A map. Programs, the embedder and other CPUs may use it at once.
#[derive(Debug)]
pub struct Map {
    descriptor: MapDescriptor,
    options: MapOptions,
    frozen: AtomicBool,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Array(Array),
    Table(Table),
    Ring(Ring),
}

impl Map {
    /// A map of this description, with all of its memory. An array's values are 0; the others are empty.
    /// `preemption` is the kernel's.
    ///
    /// # Errors
    ///
    /// There is no such map, or no memory for it.
    pub fn new(
        descriptor: MapDescriptor,
        options: MapOptions,
        preemption: &'static dyn Preemption,
    ) -> Result<Self, CreateError> {
        let MapDescriptor { kind, key_size, value_size, max_entries, .. } = descriptor;
        let has_values = (1..=MAX_VALUE_SIZE).contains(&value_size);
        let has_entries = (1..=MAX_ENTRIES).contains(&max_entries);
        let storage = match kind {
            MapKind::Ring => {
                if key_size != 0 || value_size != 0 {
                    return Err(CreateError::Sizes);
                }
                let is_size = max_entries.is_power_of_two() && max_entries >= MIN_RING;
                if !is_size || max_entries as usize > MAX_BYTES {
                    return Err(CreateError::Entries);
                }
                Storage::Ring(Ring::new(max_entries, preemption)?)
            }
            _ if !has_entries => return Err(CreateError::Entries),
            _ if !has_values => return Err(CreateError::Sizes),
            MapKind::Array if key_size == 4 => Storage::Array(Array::new(value_size, max_entries)?),
            MapKind::Hash | MapKind::LruHash if (1..=MAX_KEY_SIZE).contains(&key_size) => {
                let evicts = kind == MapKind::LruHash;
                let key_size = key_size as usize;
                let seed = options.seed;
                Storage::Table(Table::new(key_size, value_size, max_entries, evicts, seed, preemption)?)
            }
            // What stands for a task in C is 4 bytes long.
            MapKind::TaskStorage if key_size == 4 => {
                let seed = options.seed;
                Storage::Table(Table::new(TASK_ID, value_size, max_entries, false, seed, preemption)?)
            }
            _ => return Err(CreateError::Sizes),
        };
        Ok(Self { descriptor, options, frozen: AtomicBool::new(false), storage })
    }

    /// What a program is verified against.
    pub const fn descriptor(&self) -> MapDescriptor {
        self.descriptor
    }

    /// Whose storage it is and what a new task gets, where it is task storage.
    pub const fn options(&self) -> MapOptions {
        self.options
    }

    /// Bytes of a key: task storage is looked up by the id of the task or the group, in 8 bytes as the machine
    /// has them.
    pub fn key_len(&self) -> usize {
        match &self.storage {
            Storage::Array(_) => array::KEY,
            Storage::Table(table) => table.key_len(),
            Storage::Ring(_) => 0,
        }
    }

    /// Bytes of a value.
    pub const fn value_len(&self) -> usize {
        self.descriptor.value_size as usize
    }

    /// From now on the embedder cannot change it, as by `BPF_MAP_FREEZE`. Programs still can, unless it is
    /// [`MapAccess::ReadOnly`]; so one that is both never changes again.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }

    /// Whether the embedder cannot change it.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Copies the value of `key` to `value`. What others write meanwhile may be found half written.
    ///
    /// # Errors
    ///
    /// There is no such entry, or a slice has not the size that the map says.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<(), AccessError> {
        self.check_value(value.len())?;
        match &self.storage {
            Storage::Array(array) => {
                array.words().read(array.find(key)?, value).ok_or(AccessError::ValueSize)
            }
            Storage::Table(table) => table.read(key, value),
            Storage::Ring(_) => Err(AccessError::Unsupported),
        }
    }

    /// Sets the value of `key`. Of longer values than 1 KiB, whoever looks meanwhile may find one half, and two threads
    /// that change one at once may leave half of each. While such an entry is made its place counts as taken.
    ///
    /// # Errors
    ///
    /// The map is frozen, has no place, or the entry is there or not there against `update`; or a slice has
    /// not the size that the map says.
    pub fn update(&self, key: &[u8], value: &[u8], update: Update) -> Result<(), AccessError> {
        self.check_thawed()?;
        self.check_value(value.len())?;
        self.update_with(key, update, |words, offset, part| words.write(offset, value.get(part)?))
    }

    /// Takes the entry of `key` out.
    ///
    /// # Errors
    ///
    /// The map is frozen, is an array or a ring, or has no such entry; or the key has the wrong size.
    pub fn delete(&self, key: &[u8]) -> Result<(), AccessError> {
        self.check_thawed()?;
        self.remove(key)
    }

    /// Calls `entry` with each key and its value. An entry that comes or goes meanwhile may be missing; one that
    /// stays comes once.
    ///
    /// # Errors
    ///
    /// The map has no entries of this kind, or there is no memory for a key and a value.
    pub fn for_each(&self, mut entry: impl FnMut(&[u8], &[u8])) -> Result<(), AccessError> {
        let buffer = |len| filled(len, 0).map_err(|_| AccessError::OutOfMemory);
        let (mut key, mut value) = (buffer(self.key_len())?, buffer(self.value_len())?);
        for slot in 0..self.descriptor.max_entries {
            let is_there = match &self.storage {
                Storage::Array(array) => array.entry(slot, &mut key, &mut value),
                Storage::Table(table) => {
                    table.key(slot, &mut key).and_then(|()| table.read(&key, &mut value).ok())
                }
                Storage::Ring(_) => return Err(AccessError::Unsupported),
            };
            if is_there.is_some() {
                entry(&key, &value);
            }
        }
        Ok(())
    }

    /// Takes the oldest event out of a ring and copies it to `event`, as much as there is room for; says how
    /// long it was. `None` if there is none, or if one before it is still being written. No two threads are
    /// given the same event.
    ///
    /// # Errors
    ///
    /// It is no ring.
    pub fn next_event(&self, event: &mut [u8]) -> Result<Option<usize>, AccessError> {
        self.ring().map(|ring| ring.next(event)).ok_or(AccessError::Unsupported)
    }

    /// How many events there was no place for.
    pub fn lost_events(&self) -> u64 {
        self.ring().map_or(0, Ring::lost)
    }

    /// Bytes of events, with their headers, that wait for [`Map::next_event`].
    pub fn waiting_bytes(&self) -> u64 {
        self.ring().map_or(0, Ring::waiting)
    }

    /// To be called when the thread or group `parent` makes `child`, before `child` makes a system call. Ids are
    /// those of [`HelperHost::task`](crate::HelperHost::task), in the map's scope. What somebody with the child's id
    /// has left is not the child's.
    ///
    /// # Errors
    ///
    /// The parent has storage to be copied and there is no place for it: the child would start without what
    /// its filter remembers, so it must not start.
    pub fn task_forked(&self, parent: u64, child: u64) -> Result<(), AccessError> {
        self.task_exited(child);
        match &self.storage {
            Storage::Table(table) if self.is_task_storage() && self.options.at_fork == AtFork::Copy => {
                table.duplicate(&parent.to_ne_bytes(), &child.to_ne_bytes())
            }
            _ => Ok(()),
        }
    }

    /// To be called when the thread or group is gone: its storage can be another's.
    pub fn task_exited(&self, task: u64) {
        if self.is_task_storage() {
            // It need not have had any.
            let _ = self.remove(&task.to_ne_bytes());
        }
    }

    fn is_task_storage(&self) -> bool {
        self.descriptor.kind == MapKind::TaskStorage
    }

    fn check_thawed(&self) -> Result<(), AccessError> {
        if self.is_frozen() { Err(AccessError::Frozen) } else { Ok(()) }
    }

    fn check_value(&self, len: usize) -> Result<(), AccessError> {
        if len == self.value_len() { Ok(()) } else { Err(AccessError::ValueSize) }
    }

    /// Whether programs may write its values.
    pub(crate) fn is_writable(&self) -> bool {
        self.descriptor.access == MapAccess::ReadWrite
    }

    /// The memory of its values or events.
    pub(crate) fn words(&self) -> &Words {
        match &self.storage {
            Storage::Array(array) => array.words(),
            Storage::Table(table) => table.words(),
            Storage::Ring(ring) => ring.words(),
        }
    }

    /// From one value in its memory to the next, in bytes.
    pub(crate) fn stride(&self) -> usize {
        table::stride(self.descriptor.value_size)
    }

    /// Where `len` bytes at an address are in its memory, if one of its values has them all.
    pub(crate) fn locate(&self, address: u64, len: usize) -> Option<usize> {
        let offset = self.words().offset_of(address, len)?;
        let in_value = offset.checked_rem(self.stride())?;
        (in_value.saturating_add(len) <= self.value_len()).then_some(offset)
    }

    pub(crate) const fn ring(&self) -> Option<&Ring> {
        match &self.storage {
            Storage::Ring(ring) => Some(ring),
            _ => None,
        }
    }

    /// The address of the value of `key`, for programs.
    pub(crate) fn find(&self, key: &[u8]) -> Result<u64, AccessError> {
        match &self.storage {
            Storage::Array(array) => array.find(key),
            Storage::Table(table) => table.find(key),
            Storage::Ring(_) => return Err(AccessError::Unsupported),
        }
        .map(|offset| self.address(offset))
    }

    /// The address of the value of `key`; of a new one, all 0, if there is none.
    pub(crate) fn find_or_create(&self, key: &[u8]) -> Result<u64, AccessError> {
        match &self.storage {
            Storage::Table(table) => table.find_or_create(key).map(|offset| self.address(offset)),
            _ => Err(AccessError::Unsupported),
        }
    }

    /// As [`Map::update`], frozen or not; `write` puts a part of the value where it is told.
    pub(crate) fn update_with(
        &self,
        key: &[u8],
        update: Update,
        mut write: impl FnMut(&Words, usize, Range<usize>) -> Option<()>,
    ) -> Result<(), AccessError> {
        match &self.storage {
            Storage::Array(array) => {
                let offset = array.find_for_update(key, update)?;
                write(array.words(), offset, 0..self.value_len()).ok_or(AccessError::ValueSize)
            }
            Storage::Table(table) => {
                table.update(key, update, |offset, part| write(table.words(), offset, part))
            }
            Storage::Ring(_) => Err(AccessError::Unsupported),
        }
    }

    /// As [`Map::delete`], frozen or not.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), AccessError> {
        match &self.storage {
            Storage::Array(_) => Err(AccessError::Flags),
            Storage::Table(table) => table.remove(key),
            Storage::Ring(_) => Err(AccessError::Unsupported),
        }
    }

    /// Whether somebody holds one of its locks.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        match &self.storage {
            Storage::Array(_) => false,
            Storage::Table(table) => table.is_locked(),
            Storage::Ring(ring) => ring.is_locked(),
        }
    }

    fn address(&self, offset: usize) -> u64 {
        self.words().address().wrapping_add(offset as u64)
    }
}

// Shared by programs on all CPUs.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Map>();
};
