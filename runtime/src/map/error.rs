//! Why a map cannot be made, and why one cannot do what is asked.

use core::error::Error;
use core::fmt;

use cbpf_translator::OutOfMemory;

/// Why a map cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateError {
    /// This kind of map has no keys or values of these sizes.
    Sizes,
    /// It cannot have so many entries; a ring's size is a power of two of at least
    /// [`MIN_RING`](super::MIN_RING).
    Entries,
    /// It would take more than [`MAX_BYTES`](super::MAX_BYTES).
    TooLarge,
    /// There is no memory for it.
    OutOfMemory,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizes => f.write_str("this kind of map has no such keys or values"),
            Self::Entries => f.write_str("this kind of map cannot have so many entries"),
            Self::TooLarge => f.write_str("keys and values take more memory than a map may have"),
            Self::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl Error for CreateError {}

impl From<OutOfMemory> for CreateError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Why a map cannot do what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessError {
    /// There is no such entry.
    NotFound,
    /// There is such an entry already.
    Exists,
    /// There is no place for another entry, or no such index.
    Full,
    /// The flags mean nothing, or this kind of map cannot do that to an entry.
    Flags,
    /// This kind of map has no such operation.
    Unsupported,
    /// The map is frozen.
    Frozen,
    /// The key has not the map's key size.
    KeySize,
    /// The value has not the map's value size.
    ValueSize,
    /// There is no memory for a copy.
    OutOfMemory,
}

impl AccessError {
    /// What Linux's helpers and bpf(2) return for it, negative.
    pub const fn errno(self) -> i32 {
        match self {
            Self::NotFound => -2,
            Self::Exists => -17,
            Self::Full => -7,
            Self::Flags | Self::KeySize | Self::ValueSize => -22,
            Self::Unsupported => -95,
            Self::Frozen => -1,
            Self::OutOfMemory => -12,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such entry",
            Self::Exists => "there is such an entry already",
            Self::Full => "there is no place for the entry",
            Self::Flags => "the map cannot do that to an entry",
            Self::Unsupported => "this kind of map has no such operation",
            Self::Frozen => "the map is frozen",
            Self::KeySize => "the key has the wrong size",
            Self::ValueSize => "the value has the wrong size",
            Self::OutOfMemory => return OutOfMemory.fmt(f),
        })
    }
}

impl Error for AccessError {}
