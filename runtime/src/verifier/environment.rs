//! What a program is verified against: the maps it names and the helpers it may call.

/// The maps and the helpers of a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment<'a> {
    /// The maps, by the index that the program's 64-bit loads name.
    pub maps: &'a [MapDescriptor],
    /// The helpers that may be called.
    pub helpers: &'a [Helper],
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

/// A function of the kernel that a program may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its number in the call instruction; Linux's where Linux has it.
    pub id: i32,
    /// What it takes and gives.
    pub prototype: Prototype,
}

/// What a helper takes in r1 to r5, and gives in r0.
///
/// The helper may rely on its arguments being what the prototype says, and on nothing else. The verifier
/// relies on the helper's giving what `returns` says and on its writing nothing but what is marked writable,
/// and that whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// The arguments, from r1.
    pub args: [Arg; 5],
    /// The result.
    pub returns: Return,
}

/// What a helper's argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Not looked at.
    None,
    /// Any number; no pointer.
    Number,
    /// The context, from its first byte.
    Context,
    /// A map of one of these kinds; `writes` if the helper changes it.
    Map {
        /// The kinds.
        kinds: &'static [MapKind],
        /// Whether it must not be read-only.
        writes: bool,
    },
    /// As many bytes to read as a key of the map argument before it has.
    Key,
    /// As many bytes to read as a value of the map argument before it has.
    Value,
    /// As many bytes to read as the next argument says, an [`Arg::Size`] or an [`Arg::ConstSize`].
    Readable,
    /// As many bytes to write as the next argument says. They need not have been set before, and are after.
    Writable,
    /// So many bytes to read.
    ReadableFixed(u32),
    /// So many bytes to write.
    WritableFixed(u32),
    /// A size in bytes, with an upper bound.
    Size {
        /// Whether it may be 0.
        zero: bool,
    },
    /// A size in bytes that is the same on every run, and not 0.
    ConstSize,
}

/// What a helper gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Nothing; r0 must not be read.
    Void,
    /// Any number.
    Number,
    /// A number from -4095 to the size of the call.
    LengthOrErrno,
    /// The address of a value of the map argument, or null.
    MapValueOrNull,
    /// The address of memory of the call's [`Arg::ConstSize`], or null. It begins at a multiple of 8 and
    /// stays until the program ends.
    MemoryOrNull,
}
