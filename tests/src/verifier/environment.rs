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
//! | 6 | task storage | 4 | 24 | 4 |

use std::sync::Arc;

use cbpf_translator::ebpf::Reg;
use seccomp_runtime::verifier::{
    Arg, Environment, Helper, MapAccess, MapDescriptor, MapKind, Prototype, Return,
};
use seccomp_runtime::{Capability, HELPERS, HelperFn, HelperRow, Map, MapOptions, SeccompData, UserSpace};

const fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDescriptor {
    MapDescriptor { kind, key_size, value_size, max_entries, access: MapAccess::ReadWrite }
}

/// The maps, by index.
pub const MAPS: [MapDescriptor; 7] = [
    map(MapKind::Array, 4, 16, 4),
    map(MapKind::Hash, 8, 8, 4),
    map(MapKind::Ring, 0, 0, 4096),
    MapDescriptor { access: MapAccess::ReadOnly, ..map(MapKind::Array, 4, 16, 4) },
    map(MapKind::Array, 4, 64, 1),
    map(MapKind::Hash, 3, 5, 4),
    map(MapKind::TaskStorage, 4, 24, 4),
];

/// The index of the task storage.
pub const TASK: i32 = 6;

/// Gives a number.
pub const NUMBER: i32 = 8;
/// Gives memory of a constant size, or null.
pub const MEMORY: i32 = 1001;
/// Gives nothing.
pub const NOTHING: i32 = 1002;
/// Takes the context.
pub const TAKES_CONTEXT: i32 = 1003;
/// Takes 8 bytes to read and 8 to write.
pub const FIXED: i32 = 1004;

/// What no helper of the library takes or gives, or gives otherwise.
static OWN: [HelperRow; 5] = [
    own(NUMBER, &[], Return::Number, |_| u64::MAX / 3),
    own(MEMORY, &[Arg::ConstSize], Return::MemoryOrNull { size: Reg::R1 }, |_| 0),
    own(NOTHING, &[], Return::Void, |_| 0),
    own(TAKES_CONTEXT, &[Arg::Context], Return::Number, |call| {
        let mut context = [0; size_of::<SeccompData>()];
        call.read(call.number(0), &mut context).map_or(0, |()| u64::from(context[63]))
    }),
    own(FIXED, &[Arg::ReadableFixed(8), Arg::WritableFixed(8)], Return::Number, |call| {
        let mut bytes = [0; 8];
        let copied = call.read(call.number(0), &mut bytes).and_then(|()| call.write(call.number(1), &bytes));
        u64::from(copied.is_ok())
    }),
];

const fn own(id: i32, args: &[Arg], returns: Return, function: HelperFn) -> HelperRow {
    let mut all = [Arg::None; 5];
    let mut i = 0;
    while i < args.len() {
        all[i] = args[i];
        i += 1;
    }
    let Ok(prototype) = Prototype::new(all, returns) else { panic!("it is no prototype") };
    HelperRow::new("own", Helper { id, prototype }, Capability::Own, function)
}

const COUNT: usize = HELPERS.len() + OWN.len();

/// Every helper of the library, as it is there, and those of the tests.
pub static ROWS: [HelperRow; COUNT] = {
    let mut rows = [OWN[0]; COUNT];
    let mut i = 0;
    while i < COUNT {
        rows[i] = if i < HELPERS.len() { HELPERS[i] } else { OWN[i - HELPERS.len()] };
        i += 1;
    }
    rows
};

/// What the verifier is told of them.
pub static PROTOTYPES: [Helper; COUNT] = {
    let mut helpers = [ROWS[0].helper; COUNT];
    let mut i = 0;
    while i < COUNT {
        helpers[i] = ROWS[i].helper;
        i += 1;
    }
    helpers
};

/// All of it.
pub static ENVIRONMENT: Environment<'static> = Environment { maps: &MAPS, helpers: &PROTOTYPES };

/// The maps, empty.
pub fn maps() -> Vec<Arc<Map>> {
    let maps = MAPS.iter().map(|map| Map::new(*map, MapOptions::default(), &UserSpace));
    maps.map(|map| Arc::new(map.expect("there is memory"))).collect()
}
