//! The maps and the helpers that cases are verified against.
//!
//! | map | kind | key | value | entries |
//! |---|---|---|---|---|
//! | 0 | array | 4 | 16 | 4 |
//! | 1 | hash | 8 | 8 | 4 |
//! | 2 | ring | | | 4096 bytes |
//! | 3 | array, read-only | 4 | 16 | 4 |
//! | 4 | array of one value | 4 | 64 | 1 |
//! | 5 | hash of odd sizes | 3 | 5 | 4 |

use seccomp_runtime::verifier::{
    Arg, Environment, Helper, MapAccess, MapDescriptor, MapKind, Prototype, Return,
};

const fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDescriptor {
    MapDescriptor { kind, key_size, value_size, max_entries, access: MapAccess::ReadWrite }
}

/// The maps, by index.
pub const MAPS: [MapDescriptor; 6] = [
    map(MapKind::Array, 4, 16, 4),
    map(MapKind::Hash, 8, 8, 4),
    map(MapKind::Ring, 0, 0, 4096),
    MapDescriptor { access: MapAccess::ReadOnly, ..map(MapKind::Array, 4, 16, 4) },
    map(MapKind::Array, 4, 64, 1),
    map(MapKind::Hash, 3, 5, 4),
];

const TABLES: &[MapKind] = &[MapKind::Array, MapKind::Hash, MapKind::LruHash];

/// Gives memory of a constant size, or null.
pub const MEMORY: i32 = 1001;
/// Gives nothing.
pub const NOTHING: i32 = 1002;
/// Takes the context.
pub const TAKES_CONTEXT: i32 = 1003;
/// Takes 8 bytes to read and 8 to write.
pub const FIXED: i32 = 1004;

const fn helper(id: i32, args: &[Arg], returns: Return) -> Helper {
    let mut all = [Arg::None; 5];
    let mut i = 0;
    while i < args.len() {
        all[i] = args[i];
        i += 1;
    }
    Helper { id, prototype: Prototype { args: all, returns } }
}

const fn table(writes: bool) -> Arg {
    Arg::Map { kinds: TABLES, writes }
}

/// The helpers, with Linux's numbers where it has them.
pub const HELPERS: [Helper; 17] = [
    helper(1, &[table(false), Arg::Key], Return::MapValueOrNull),
    helper(2, &[table(true), Arg::Key, Arg::Value, Arg::Number], Return::Number),
    helper(3, &[table(true), Arg::Key], Return::Number),
    helper(5, &[], Return::Number),
    helper(
        6,
        &[Arg::Readable, Arg::Size { zero: false }, Arg::Number, Arg::Number, Arg::Number],
        Return::Number,
    ),
    helper(7, &[], Return::Number),
    helper(8, &[], Return::Number),
    helper(14, &[], Return::Number),
    helper(15, &[], Return::Number),
    helper(16, &[Arg::Writable, Arg::Size { zero: false }], Return::Number),
    helper(112, &[Arg::Writable, Arg::Size { zero: true }, Arg::Number], Return::Number),
    helper(114, &[Arg::Writable, Arg::Size { zero: true }, Arg::Number], Return::LengthOrErrno),
    helper(
        130,
        &[
            Arg::Map { kinds: &[MapKind::Ring], writes: true },
            Arg::Readable,
            Arg::Size { zero: true },
            Arg::Number,
        ],
        Return::Number,
    ),
    helper(MEMORY, &[Arg::ConstSize], Return::MemoryOrNull),
    helper(NOTHING, &[], Return::Void),
    helper(TAKES_CONTEXT, &[Arg::Context], Return::Number),
    helper(FIXED, &[Arg::ReadableFixed(8), Arg::WritableFixed(8)], Return::Number),
];

/// All of it.
pub const ENVIRONMENT: Environment<'static> = Environment { maps: &MAPS, helpers: &HELPERS };
