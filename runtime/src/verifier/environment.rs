//! What a program is verified against: the maps it names and the helpers it may call.

use super::prototype::Helper;

/// The maps and the helpers of a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'a> {
    /// The maps, by the index that the program's 64-bit loads name.
    pub maps: &'a [MapDescriptor],
    /// The helpers that may be called, no two of one number.
    pub helpers: &'a [Helper],
}

impl Environment<'_> {
    /// The number of two helpers, if there are two of one.
    pub(super) fn ambiguous_helper(&self) -> Option<i32> {
        let mut rest = self.helpers;
        while let [helper, others @ ..] = rest {
            if others.iter().any(|other| other.id == helper.id) {
                return Some(helper.id);
            }
            rest = others;
        }
        None
    }
}

/// What kind of map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MapKind {
    Array,
    Hash,
    LruHash,
    TaskStorage,
    Ring,
}

impl MapKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Array, Self::Hash, Self::LruHash, Self::TaskStorage, Self::Ring];

    /// Its `BPF_MAP_TYPE_*`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Hash => 1,
            Self::Array => 2,
            Self::LruHash => 9,
            Self::Ring => 27,
            Self::TaskStorage => 29,
        }
    }

    /// Whether its values are found by keys of the descriptor's size. What stands for a task in task storage is no
    /// key, and the events of a ring have none.
    pub(super) const fn has_keys(self) -> bool {
        matches!(self, Self::Array | Self::Hash | Self::LruHash)
    }

    /// Whether it has values.
    pub(super) const fn has_values(self) -> bool {
        !matches!(self, Self::Ring)
    }

    /// The kind of this `BPF_MAP_TYPE_*`.
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What a program may do with a map's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MapAccess {
    ReadWrite,
    ReadOnly,
}

/// A map, as far as a program's safety depends on it. Its values begin at multiples of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MapDescriptor {
    pub kind: MapKind,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub access: MapAccess,
}
