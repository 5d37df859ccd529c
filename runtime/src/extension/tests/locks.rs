//! Who holds the lock of a map stays on its CPU, and has little to do there.

use std::cell::{Cell, RefCell};
use std::format;
use std::string::String;
use std::thread_local;

use super::*;
use crate::map::{AtFork, MAX_VALUE_SIZE, MapOptions, Preemption, Update, touched_since};
use crate::verifier::{MapAccess, MapDescriptor, MapKind};

/// The most that may be touched under a lock.
const LIMIT: usize = 4096;

/// One CPU of a kernel that takes threads off it wherever they are, unless they say no. Whoever comes in a thread's place
/// makes and ends threads, as one under the group's lock does.
#[derive(Debug)]
struct Cpu;

thread_local! {
    /// How often the running thread has said no.
    static OFF: Cell<usize> = const { Cell::new(0) };
    /// Whether another one runs in its place.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
    /// What both use.
    static MAPS: RefCell<Vec<Arc<Map>>> = const { RefCell::new(Vec::new()) };
    /// How often a lock was held, and the most that was touched meanwhile.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

impl Preemption for Cpu {
    fn disable(&self) -> usize {
        take_off();
        let before = OFF.get();
        OFF.set(before + 1);
        touched_since();
        // Not a number that can be had otherwise.
        before ^ 0x5a5a
    }

    fn enable(&self, before: usize) {
        let (times, most) = HELD.get();
        let touched = touched_since();
        HELD.set((times + 1, most.max(touched)));
        assert_eq!(OFF.get(), (before ^ 0x5a5a) + 1, "pairs");
        OFF.set(before ^ 0x5a5a);
        take_off();
    }
}

/// The thread is taken off the CPU, if it may be.
fn take_off() {
    if OFF.get() != 0 || TAKEN.replace(true) {
        return;
    }
    let held = HELD.get();
    MAPS.with_borrow(|maps| {
        for map in maps {
            assert!(!map.is_locked(), "{:?}: whoever comes next would spin for ever", map.descriptor());
            map.task_forked(1000, 1001).unwrap();
            map.task_exited(1001);
        }
    });
    HELD.set(held);
    TAKEN.set(false);
}

/// What happens while `f` runs: how often a lock is held, and the most that is touched meanwhile.
fn held(f: impl FnOnce()) -> (usize, usize) {
    HELD.set((0, 0));
    f();
    assert_eq!(OFF.get(), 0, "what is switched off is switched on again");
    HELD.take()
}

const ARRAY: usize = 0;
const HASH: usize = 1;
const LRU: usize = 2;
const TASK: usize = 3;
const RING: usize = 4;

/// Bytes of a key.
const KEY: u32 = 256;
/// Bytes of a ring, and of an event.
const RING_SIZE: u32 = 64 << 20;
const EVENT: u32 = RING_SIZE / 16 * 15;
/// Bytes of a value.
const VALUE: u32 = MAX_VALUE_SIZE;

/// One of each kind, with the largest keys, values and events.
fn maps() -> Vec<Arc<Map>> {
    let map = |kind, key_size, value_size, max_entries| {
        let access = MapAccess::ReadWrite;
        let descriptor = MapDescriptor { kind, key_size, value_size, max_entries, access };
        let options = MapOptions { at_fork: AtFork::Copy, ..Default::default() };
        Arc::new(Map::new(descriptor, options, &Cpu).unwrap())
    };
    let maps = vec![
        map(MapKind::Array, 4, VALUE, 1),
        map(MapKind::Hash, KEY, VALUE, 3),
        map(MapKind::LruHash, KEY, VALUE, 2),
        map(MapKind::TaskStorage, 4, VALUE, 3),
        map(MapKind::Ring, 0, 0, RING_SIZE),
    ];
    MAPS.set(maps.clone());
    maps
}

fn key(first: u8) -> [u8; KEY as usize] {
    let mut key = [0; KEY as usize];
    key[0] = first;
    key
}

/// Every operation that takes a lock by a program, and how often it does at least.
fn programs() -> Vec<(&'static str, String, usize)> {
    let pieces = VALUE as usize / 1024;
    let zeroes = (1..=KEY / 8).map(|n| format!("*(u64 *)(r10 -{}) = 0;", n * 8)).collect::<String>();
    let keyed = |map: usize, first: u8, rest: &str| {
        format!("*(u8 *)(r10 -{KEY}) = {first}; r1 = map[{map}]; r2 = r10; r2 += -{KEY}; {rest}")
    };
    let update =
        |map, first, flags| keyed(map, first, &format!("r3 = map[{ARRAY}][0]+0; r4 = {flags}; call 2;"));
    let lookup = |map| keyed(map, 1, "call 1;");
    let storage = |flags| format!("r1 = map[{TASK}]; r2 = 0; r3 = 0; r4 = {flags}; call 156;");
    let reserve = |len: u32, end: u32| {
        format!(
            "r1 = map[{RING}]; r2 = {len}; r3 = 0; call 131; if r0 == 0 goto +3; r1 = r0; r2 = 0; call {end};"
        )
    };
    let rows = [
        ("an update makes an entry", update(HASH, 1, 1), 2),
        ("an update changes it", update(HASH, 1, 2), pieces),
        ("an update that is refused", update(HASH, 1, 1), 1),
        ("a lookup", lookup(HASH), 1),
        ("delete", keyed(HASH, 1, "call 3;"), 1),
        ("others go", (1..=4).map(|first| update(LRU, first, 0)).collect(), 8),
        ("a lookup of one that has gone", lookup(LRU), 1),
        ("storage that is made", storage(1), 2),
        ("storage", storage(0), 1),
        ("storage that is deleted", format!("r1 = map[{TASK}]; r2 = 0; call 157;"), 1),
        ("a large event", reserve(EVENT, 132), 1),
        ("no place for another", reserve(EVENT, 132), 1),
        (
            "an event in one go",
            format!("r1 = map[{RING}]; r2 = map[{ARRAY}][0]+0; r3 = {VALUE}; r4 = 0; call 130;"),
            1,
        ),
        ("small events that are discarded", reserve(8, 133).repeat(8), 8),
    ];
    rows.map(|(name, text, least)| (name, format!("{zeroes} {text} r0 = 0; exit"), least)).into()
}

#[test]
#[cfg_attr(miri, ignore = "one thread, and a million words")]
fn programs_leave_the_cpu_with_no_lock_held_and_touch_4_kib_under_one() {
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let maps = maps();
        for (name, text, least) in programs() {
            let extension = load(&assemble(&text), maps.clone(), kind);
            let (times, most) = held(|| assert_eq!(extension.run(&with_args(&[]), &Thread::new()), 0));
            std::println!("{:>12} {name}: {times} times, at most {most} bytes", kind.name());
            assert!(times >= least, "{name}: a lock was held {times} times");
            assert!(most <= LIMIT, "{name}: {most} bytes");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "one thread, and a million words")]
fn the_embedder_leaves_the_cpu_with_no_lock_held_and_touches_4_kib_under_one() {
    let maps = maps();
    let pieces = VALUE as usize / 1024;
    let check = |name: &str, least: usize, f: &mut dyn FnMut()| {
        let (times, most) = held(f);
        assert!(times >= least, "{name}: a lock was held {times} times");
        assert!((1..=LIMIT).contains(&most), "{name}: {most} bytes");
    };
    let mut value = vec![1; VALUE as usize];
    for hash in [&maps[HASH], &maps[LRU]] {
        check("create", 2, &mut || hash.update(&key(1), &value, Update::Create).unwrap());
        check("change", pieces, &mut || hash.update(&key(1), &value, Update::Change).unwrap());
        check("lookup", pieces, &mut || hash.lookup(&key(1), &mut value).unwrap());
        check("for_each", pieces + 1, &mut || hash.for_each(|_, _| ()).unwrap());
        check("delete", 1, &mut || hash.delete(&key(1)).unwrap());
    }
    let storage = &maps[TASK];
    storage.update(&7_u64.to_ne_bytes(), &value, Update::Any).unwrap();
    check("fork", pieces + 1, &mut || storage.task_forked(7, 8).unwrap());
    check("exit", 1, &mut || storage.task_exited(8));

    let ring = maps[RING].ring().unwrap();
    let mut event = vec![0; EVENT as usize];
    let reserve = |len: u32| {
        let mut reservation = None;
        check("reserve", 1, &mut || reservation = ring.reserve(len.into()));
        reservation.unwrap()
    };
    let large = reserve(EVENT);
    ring.finish(large, false);
    check("take", 2, &mut || assert_eq!(maps[RING].next_event(&mut event), Ok(Some(EVENT as usize))));
    for _ in 0..200 {
        ring.finish(reserve(0), true);
    }
    check("nothing but what was discarded", 4, &mut || {
        assert_eq!(maps[RING].next_event(&mut event), Ok(None))
    });
    assert_eq!(maps[RING].waiting_bytes(), 0);
}
