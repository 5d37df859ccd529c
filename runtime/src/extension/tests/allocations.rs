//! What a run costs in memory: nothing, whatever its program calls.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::format;

use super::*;
use crate::map::{MapOptions, UserSpace};
use crate::verifier::{MapAccess, MapDescriptor, MapKind};

/// The system's allocator, which counts what each thread asks for and gives back.
struct Counting;

std::thread_local! {
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: the system's allocator does it all. The counters allocate nothing and are never dropped, so they can
// be reached from here on every thread at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (allocations, bytes) = ASKED.get();
        ASKED.set((allocations + 1, bytes + layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations and their bytes.
fn asked_for(f: impl FnOnce()) -> (usize, usize) {
    let before = ASKED.get();
    f();
    let after = ASKED.get();
    (after.0 - before.0, after.1 - before.1)
}

fn maps() -> Vec<Arc<Map>> {
    let map = |kind, key_size, value_size, max_entries| {
        let access = MapAccess::ReadWrite;
        let descriptor = MapDescriptor { kind, key_size, value_size, max_entries, access };
        Arc::new(Map::new(descriptor, MapOptions::default(), &UserSpace).unwrap())
    };
    vec![
        map(MapKind::Array, 4, 16, 4),
        map(MapKind::Hash, 4, 16, 8),
        map(MapKind::LruHash, 4, 16, 8),
        map(MapKind::TaskStorage, 4, 16, 8),
        map(MapKind::Ring, 0, 0, 4096),
    ]
}

/// Calls every helper; keys are the first argument of the call.
fn everything() -> Vec<Insn> {
    let mut text = std::string::String::from(
        "r6 = *(u32 *)(r1 +16); *(u64 *)(r10 -8) = r6; *(u64 *)(r10 -16) = r6; *(u64 *)(r10 -24) = r6\n",
    );
    for map in 0..3 {
        let key = format!("r1 = map[{map}]; r2 = r10; r2 += -8;");
        text += &format!("{key} r3 = r10; r3 += -24; r4 = 0; call 2\n");
        text += &format!("{key} call 1; if r0 == 0 goto +1; *(u64 *)(r0 +8) = 5\n");
        // The LRU hash fills up.
        if map != 2 {
            text += &format!("{key} call 3\n");
        }
    }
    text += "call 5; call 7; call 14; call 15; r1 = r10; r1 += -24; r2 = 16; call 16
        r1 = r10; r1 += -24; r2 = 16; r3 = 0x1000; call 112; r1 = r10; r1 += -24; r2 = 16; r3 = 0x1000; call 114
        r1 = r10; r1 += -24; r2 = 16; r3 = 0; call 112
        r1 = map[4]; r2 = r10; r2 += -24; r3 = 24; r4 = 0; call 130
        r1 = map[4]; r2 = 24; r3 = 0; call 131; if r0 == 0 goto +5; *(u64 *)(r0 +16) = 5; r1 = r0; r2 = 0; call 132; goto +0
        r1 = map[4]; r2 = 24; r3 = 0; call 131; if r0 == 0 goto +5; *(u64 *)(r0 +16) = 5; r1 = r0; r2 = 0; call 133; goto +0
        r1 = map[3]; r2 = 0; r3 = 0; r4 = 1; call 156; if r0 == 0 goto +1; *(u64 *)(r0 +8) = 5
        r1 = map[3]; r2 = 0; call 157
        *(u64 *)(r10 -8) = 0x6425; r1 = r10; r1 += -8; r2 = 3; r3 = 77; r4 = 0; r5 = 0; call 6
        r0 = r6; exit";
    assemble(&text)
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of runs, to count what they allocate")]
fn a_run_allocates_nothing() {
    const STACK: (usize, usize) = (1, 512);
    let insns = everything();
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let maps = maps();
        let extension = load(&insns, maps.clone(), kind);
        assert_eq!(extension.helpers().len(), HELPERS.len(), "every helper is called");
        let host = Thread { memory: (0x1000, vec![b'x'; 256]), ..Thread::new() };
        // The host keeps what is printed; that is not ours.
        host.lines.lock().unwrap().reserve(1_000);
        let expected = if kind == EngineKind::Interpreter { STACK } else { (0, 0) };
        for key in 0..300 {
            let data = with_args(&[key]);
            let asked = asked_for(|| assert_eq!(extension.run(&data, &host), key as u32));
            let printed = (1, 2);
            assert_eq!((asked.0 - printed.0, asked.1 - printed.1), expected, "{kind:?} {key}");
        }
        assert!(maps[4].lost_events() > 0 && maps[4].waiting_bytes() > 4_000);
        assert_eq!(host.lines.lock().unwrap()[299], "77");
        let mut event = [0; 24];
        assert_eq!(asked_for(|| assert_eq!(maps[4].next_event(&mut event), Ok(Some(24)))), (0, 0));
    }
}

#[test]
fn the_embedders_side_allocates_nothing() {
    let all = maps();
    for map in &all[..3] {
        let asked = asked_for(|| {
            let (mut value, key) = ([0; 16], 1_u32.to_ne_bytes());
            map.update(&key, &[3; 16], crate::map::Update::Any).unwrap();
            map.lookup(&key, &mut value).unwrap();
            let _ = map.delete(&key);
            map.task_forked(1, 2).unwrap();
            map.task_exited(2);
        });
        assert_eq!(asked, (0, 0));
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of runs, to count what they allocate")]
fn entries_that_come_and_go_allocate_nothing() {
    const ENTRIES: u64 = 112;
    for kind in [MapKind::Hash, MapKind::LruHash, MapKind::TaskStorage] {
        let key_size = if kind == MapKind::TaskStorage { 4 } else { 8 };
        let access = MapAccess::ReadWrite;
        let descriptor = MapDescriptor { kind, key_size, value_size: 8, max_entries: ENTRIES as u32, access };
        let map = Map::new(descriptor, MapOptions::default(), &UserSpace).unwrap();
        let asked = asked_for(|| {
            for n in 0..20_000_u64 {
                if let Some(old) = n.checked_sub(ENTRIES)
                    && kind != MapKind::LruHash
                {
                    map.delete(&old.to_ne_bytes()).unwrap();
                }
                map.update(&n.to_ne_bytes(), &[1; 8], crate::map::Update::Create).unwrap();
            }
        });
        assert_eq!(asked, (0, 0), "{kind:?}");
    }
}
