//! Maps and helpers, by programs in every engine, by the embedder, and on Linux.

use std::format;
use std::string::{String, ToString};

use super::*;
use crate::error::RunError;
use crate::helper::{Call, Capability, HelperFn, HelperRow};
use crate::map::{AccessError, AtFork, CreateError, MapOptions, Update, UserSpace};
use crate::verifier::{Arg, Helper, MapAccess, MapDescriptor, MapKind, Prototype, Return};

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 42];

fn descriptor(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDescriptor {
    MapDescriptor { kind, key_size, value_size, max_entries, access: MapAccess::ReadWrite }
}

fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> Arc<Map> {
    let options = MapOptions { seed: SEED, ..Default::default() };
    Arc::new(Map::new(descriptor(kind, key_size, value_size, max_entries), options, &UserSpace).unwrap())
}

fn key(number: u64) -> [u8; 8] {
    number.to_ne_bytes()
}

/// Runs a program in every engine, each with maps of its own; what all of them answer.
fn run_each(text: &str, maps: impl Fn() -> Vec<Arc<Map>>, host: &Thread) -> u32 {
    let insns = assemble(text);
    let mut answers = Vec::new();
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let loaded = load(&insns, maps(), kind);
        answers.push(loaded.run(&with_args(&[1, 2, 3]), host));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{text}: {answers:x?}");
    answers[0]
}

/// What a program does to map 0, with r6 and r7 for the key and the value, which are on the stack.
const KEY: &str = "*(u64 *)(r10 -8) = 0; *(u64 *)(r10 -16) = 0;";
const MAP_AND_KEY: &str = "r1 = map[0]; r2 = r10; r2 += -8;";

fn update(key: i32, value: i32, flags: i32) -> String {
    format!(
        "*(u32 *)(r10 -8) = {key}; *(u64 *)(r10 -16) = {value}; {MAP_AND_KEY} r3 = r10; r3 += -16; r4 = {flags}; call 2;"
    )
}

fn delete(key: i32) -> String {
    format!("*(u32 *)(r10 -8) = {key}; {MAP_AND_KEY} call 3;")
}

/// r0 is the value, or 77.
fn lookup(key: i32) -> String {
    format!(
        "*(u32 *)(r10 -8) = {key}; {MAP_AND_KEY} call 1; if r0 == 0 goto +2; r0 = *(u64 *)(r0 +0); goto +1; r0 = 77;"
    )
}

/// What a program does to a map of this kind with 4-byte keys, 8-byte values and 3 entries, and Linux's answer.
struct Row(MapKind, &'static str, Vec<String>, u32);

fn rows() -> Vec<Row> {
    use MapKind::{Array, Hash, LruHash};
    let u = update;
    let errno = |errno: i32| -errno as u32;
    vec![
        Row(Array, "an array begins with zeroes", vec![lookup(2)], 0),
        Row(Array, "an index behind the last", vec![lookup(3)], 77),
        Row(Array, "an index far behind", vec![lookup(-1)], 77),
        Row(Array, "change and find", vec![u(2, 9, 0), lookup(2)], 9),
        Row(Array, "neighbours stay", vec![u(1, 9, 0), lookup(2)], 0),
        Row(Array, "every entry exists: create", vec![u(1, 9, 1)], errno(17)),
        Row(Array, "every entry exists: change", vec![u(1, 9, 2)], 0),
        Row(Array, "flags that mean nothing", vec![u(1, 9, 3)], errno(22)),
        Row(Array, "update behind the last", vec![u(3, 9, 0)], errno(7)),
        Row(Array, "delete", vec![delete(0)], errno(22)),
        Row(Hash, "nothing is there", vec![lookup(1)], 77),
        Row(Hash, "create and find", vec![u(1, 9, 1), lookup(1)], 9),
        Row(Hash, "create what exists", vec![u(1, 9, 0), u(1, 8, 1)], errno(17)),
        Row(Hash, "what exists stays", vec![u(1, 9, 0), u(1, 8, 1), lookup(1)], 9),
        Row(Hash, "change what does not exist", vec![u(1, 9, 2)], errno(2)),
        Row(Hash, "change what exists", vec![u(1, 9, 0), u(1, 8, 2), lookup(1)], 8),
        Row(Hash, "flags that mean nothing", vec![u(1, 9, 3)], errno(22)),
        Row(Hash, "the last place", vec![u(1, 1, 0), u(2, 2, 0), u(3, 3, 0)], 0),
        Row(Hash, "no place", vec![u(1, 1, 0), u(2, 2, 0), u(3, 3, 0), u(4, 4, 0)], errno(7)),
        Row(Hash, "a full hash changes", vec![u(1, 1, 0), u(2, 2, 0), u(3, 3, 0), u(3, 4, 0), lookup(3)], 4),
        Row(
            Hash,
            "a place is free again",
            vec![u(1, 1, 0), u(2, 2, 0), u(3, 3, 0), delete(2), u(4, 4, 0), lookup(4)],
            4,
        ),
        Row(Hash, "delete", vec![u(1, 9, 0), delete(1)], 0),
        Row(Hash, "delete and find", vec![u(1, 9, 0), delete(1), lookup(1)], 77),
        Row(Hash, "delete twice", vec![u(1, 9, 0), delete(1), delete(1)], errno(2)),
        Row(LruHash, "nothing is there", vec![lookup(1)], 77),
        Row(LruHash, "create what exists", vec![u(1, 9, 0), u(1, 8, 1)], errno(17)),
        Row(LruHash, "change what does not exist", vec![u(1, 9, 2)], errno(2)),
        Row(LruHash, "flags that mean nothing", vec![u(1, 9, 3)], errno(22)),
        Row(LruHash, "there is always a place", (0..9).map(|key| u(key, 1, 0)).collect(), 0),
        Row(LruHash, "the newest is there", (0..9).map(|key| u(key, key, 0)).chain([lookup(8)]).collect(), 8),
        Row(LruHash, "delete twice", vec![u(1, 9, 0), delete(1), delete(1)], errno(2)),
    ]
}

fn text_of(steps: &[String]) -> String {
    format!("{KEY} {} exit", steps.concat())
}

#[test]
#[cfg_attr(miri, ignore = "many programs to verify")]
fn every_engine_does_to_maps_what_linux_does() {
    for Row(kind, name, steps, expected) in rows() {
        let answer = run_each(&text_of(&steps), || vec![map(kind, 4, 8, 3)], &Thread::new());
        assert_eq!(answer, expected, "{kind:?}: {name}");
    }
}

#[test]
fn map_rows_are_what_linux_says() {
    if !host::enabled() {
        return;
    }
    for Row(kind, name, steps, expected) in rows() {
        let number = match kind {
            MapKind::Array => 2,
            MapKind::LruHash => 9,
            _ => 1,
        };
        let map = host::Map::new(number, 4, 8, 3);
        let mut insns = assemble(&text_of(&steps));
        for insn in insns.iter_mut().filter(|insn| insn.code == 0x18) {
            insn.imm = map.fd();
        }
        let loaded = host::Loaded::new(&insns).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(loaded.run(&with_args(&[])), expected, "{kind:?}: {name}");
    }
}

#[test]
fn the_least_recently_used_goes() {
    let lru = map(MapKind::LruHash, 8, 8, 3);
    let there = |lru: &Map| (0..9).filter(|n| lru.lookup(&key(*n), &mut [0; 8]).is_ok()).collect::<Vec<_>>();
    for n in 0..3 {
        lru.update(&key(n), &key(n), Update::Any).unwrap();
    }
    // A program's lookup uses an entry, the embedder's does not.
    lru.find(&key(0)).unwrap();
    lru.lookup(&key(1), &mut [0; 8]).unwrap();
    lru.update(&key(3), &key(3), Update::Any).unwrap();
    assert_eq!(there(&lru), [0, 2, 3]);
    // So does a change.
    lru.update(&key(2), &key(2), Update::Any).unwrap();
    lru.update(&key(4), &key(4), Update::Any).unwrap();
    assert_eq!(there(&lru), [2, 3, 4]);
    // What is deleted goes first, and what is oldest stays the oldest.
    lru.delete(&key(4)).unwrap();
    lru.update(&key(5), &key(5), Update::Any).unwrap();
    assert_eq!(there(&lru), [2, 3, 5]);
    lru.update(&key(6), &key(6), Update::Any).unwrap();
    assert_eq!(there(&lru), [2, 5, 6]);
}

#[test]
fn a_deleted_value_can_be_read_until_its_place_is_taken() {
    let take = "r6 = r0; r1 = map[0]; r2 = r10; r2 += -8; call 3; r0 = *(u64 *)(r6 +0);";
    let find = format!("{MAP_AND_KEY} call 1; if r0 != 0 goto +1; exit;");
    let text = |again: &str| format!("{KEY} {} {find} {take} {again} exit", update(1, 9, 0));
    let maps = || vec![map(MapKind::Hash, 4, 8, 1)];
    assert_eq!(run_each(&text(""), maps, &Thread::new()), 9);
    let again = format!("*(u64 *)(r6 +0) = 5; {} r0 = *(u64 *)(r6 +0);", update(2, 8, 0));
    assert_eq!(run_each(&text(&again), maps, &Thread::new()), 8);
}

#[test]
fn the_embedder_reads_and_writes_what_programs_do() {
    let hash = map(MapKind::Hash, 4, 8, 3);
    let insns = assemble(&text_of(&[update(7, 5, 0), lookup(8)]));
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        hash.update(&8_u32.to_ne_bytes(), &key(6), Update::Any).unwrap();
        let loaded = load(&insns, vec![hash.clone()], kind);
        assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), 6);
        let mut entries = Vec::new();
        hash.for_each(|key, value| entries.push((key.to_vec(), value.to_vec()))).unwrap();
        entries.sort();
        let entry = |key: u32, value: u64| (key.to_ne_bytes().to_vec(), value.to_ne_bytes().to_vec());
        assert_eq!(entries, [entry(7, 5), entry(8, 6)]);
        hash.delete(&7_u32.to_ne_bytes()).unwrap();
        assert_eq!(hash.lookup(&7_u32.to_ne_bytes(), &mut [0; 8]), Err(AccessError::NotFound));
    }
    let array = map(MapKind::Array, 4, 3, 2);
    array.update(&1_u32.to_ne_bytes(), b"abc", Update::Any).unwrap();
    let mut values = Vec::new();
    array.for_each(|_, value| values.push(value.to_vec())).unwrap();
    assert_eq!(values, [[0; 3].to_vec(), b"abc".to_vec()]);
}

#[test]
fn keys_and_values_have_their_sizes() {
    let hash = map(MapKind::Hash, 4, 8, 3);
    assert_eq!(hash.update(&[0; 3], &[0; 8], Update::Any), Err(AccessError::KeySize));
    assert_eq!(hash.update(&[0; 4], &[0; 7], Update::Any), Err(AccessError::ValueSize));
    assert_eq!(hash.lookup(&[0; 4], &mut [0; 9]), Err(AccessError::ValueSize));
    assert_eq!(hash.delete(&[0; 5]), Err(AccessError::KeySize));
    let array = map(MapKind::Array, 4, 8, 3);
    assert_eq!(array.lookup(&[0; 8], &mut [0; 8]), Err(AccessError::KeySize));
    assert_eq!(array.delete(&[0; 4]), Err(AccessError::Flags));
    let ring = map(MapKind::Ring, 0, 0, 4096);
    assert_eq!(ring.lookup(&[], &mut []), Err(AccessError::Unsupported));
    assert_eq!(ring.update(&[], &[], Update::Any), Err(AccessError::Unsupported));
    assert_eq!(ring.for_each(|_, _| ()), Err(AccessError::Unsupported));
    assert_eq!(hash.next_event(&mut []), Err(AccessError::Unsupported));
}

#[test]
fn what_is_frozen_stays() {
    let hash = map(MapKind::Hash, 4, 8, 3);
    hash.update(&[0; 4], &[1; 8], Update::Any).unwrap();
    hash.freeze();
    assert_eq!(hash.update(&[0; 4], &[2; 8], Update::Any), Err(AccessError::Frozen));
    assert_eq!(hash.delete(&[0; 4]), Err(AccessError::Frozen));
    // Programs are not the embedder.
    let insns = assemble(&text_of(&[update(0, 9, 0)]));
    let engines = in_all_engines(&insns, std::slice::from_ref(&hash));
    assert_eq!(answer(&engines, &with_args(&[])), 0);
    let mut value = [0; 8];
    hash.lookup(&[0; 4], &mut value).unwrap();
    assert_eq!(value, key(9));
}

#[test]
#[cfg_attr(miri, ignore = "64 MiB at a time take minutes")]
fn maps_are_bounded() {
    use MapKind::{Array, Hash, LruHash, Ring, TaskStorage};
    let made = |kind, key, value, entries| {
        Map::new(descriptor(kind, key, value, entries), MapOptions::default(), &UserSpace).map(|_| ())
    };
    let (sizes, entries, large) =
        (Err(CreateError::Sizes), Err(CreateError::Entries), Err(CreateError::TooLarge));
    for (kind, key, value, count, expected) in [
        (Array, 4, 1, 1, Ok(())),
        (Array, 4, 1 << 16, 1, Ok(())),
        (Array, 4, (1 << 16) + 1, 1, sizes),
        (Array, 4, 0, 1, sizes),
        (Array, 8, 8, 1, sizes),
        (Array, 4, 8, 0, entries),
        (Array, 4, 1, 1 << 20, Ok(())),
        (Array, 4, 1, (1 << 20) + 1, entries),
        (Array, 4, 65, 1 << 20, large),
        (Hash, 256, 1, 1, Ok(())),
        (Hash, 257, 1, 1, sizes),
        (Hash, 0, 1, 1, sizes),
        (LruHash, 8, 64, 1 << 20, large),
        (TaskStorage, 4, 8, 64, Ok(())),
        (TaskStorage, 8, 8, 64, sizes),
        (Ring, 0, 0, 4096, Ok(())),
        (Ring, 0, 0, 2048, entries),
        (Ring, 0, 0, 4097, entries),
        (Ring, 0, 0, 1 << 27, entries),
        (Ring, 4, 0, 4096, sizes),
        (Ring, 0, 8, 4096, sizes),
    ] {
        assert_eq!(made(kind, key, value, count), expected, "{kind:?} {key} {value} {count}");
    }
}

#[test]
fn a_table_that_is_always_full_works() {
    const ENTRIES: u64 = if cfg!(miri) { 10 } else { 100 };
    const LAST: u64 = ENTRIES * if cfg!(miri) { 5 } else { 200 };
    let hash = map(MapKind::Hash, 8, 8, ENTRIES as u32);
    for n in 0..LAST {
        if n >= ENTRIES {
            hash.delete(&key(n - ENTRIES)).unwrap();
        }
        hash.update(&key(n), &key(n * 3), Update::Create).unwrap();
    }
    assert_eq!(hash.update(&key(1), &key(1), Update::Any), Err(AccessError::Full));
    for n in LAST - ENTRIES..LAST {
        let mut value = [0; 8];
        hash.lookup(&key(n), &mut value).unwrap();
        assert_eq!(value, key(n * 3));
    }
}

#[test]
fn a_value_of_an_only_entry_has_an_address() {
    let text = "r1 = map[0][0]+8; r0 = *(u64 *)(r1 +0); r0 += 5; *(u64 *)(r1 +0) = r0; exit";
    let array = map(MapKind::Array, 4, 16, 1);
    array.update(&[0; 4], &[key(0), key(7)].concat(), Update::Any).unwrap();
    for (runs, extension) in in_all_engines(&assemble(text), &[array]).iter().enumerate() {
        let answer = extension.run(&with_args(&[]), &Thread::new());
        assert_eq!(answer as usize, 7 + 5 * (runs + 1));
    }
}

#[test]
fn tasks_have_their_own() {
    let get = "r1 = map[0]; r2 = 0; r3 = 0; r4 = 1; call 156; if r0 != 0 goto +2; r0 = 77; exit;";
    let count = format!("{get} r1 = *(u64 *)(r0 +0); r1 += 1; *(u64 *)(r0 +0) = r1; r0 = r1; exit");
    let find = "r1 = map[0]; r2 = 0; r3 = 0; r4 = 0; call 156; if r0 != 0 goto +2; r0 = 77; exit; r0 = *(u64 *)(r0 +0); exit";
    let delete = "r1 = map[0]; r2 = 0; call 157; exit";
    for (scope, at_fork) in [
        (TaskScope::Thread, AtFork::Reset),
        (TaskScope::Thread, AtFork::Copy),
        (TaskScope::ThreadGroup, AtFork::Copy),
    ] {
        for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
            let options = MapOptions { scope, at_fork, seed: SEED };
            let storage =
                Arc::new(Map::new(descriptor(MapKind::TaskStorage, 4, 8, 2), options, &UserSpace).unwrap());
            let run = |text: &str, task: u64| {
                let maps = vec![storage.clone()];
                let loaded = load(&assemble(text), maps, kind);
                let host = Thread { task, ..Thread::new() };
                loaded.run(&with_args(&[]), &host)
            };
            let parent = if scope == TaskScope::Thread { 41 } else { 4 };
            assert_eq!(run(find, 41), 77);
            assert_eq!((run(&count, 41), run(&count, 41)), (1, 2));
            // Another thread of the group.
            assert_eq!(run(&count, 42), if scope == TaskScope::Thread { 1 } else { 3 });
            if scope == TaskScope::Thread {
                // There are two places.
                assert_eq!(run(&count, 43), 77);
                let full = storage.task_forked(parent, 51);
                assert_eq!(full.is_err(), at_fork == AtFork::Copy);
                storage.task_exited(42);
                storage.task_exited(42);
                storage.task_forked(parent, 51).unwrap();
                assert_eq!(run(find, 51), if at_fork == AtFork::Copy { 2 } else { 77 });
            } else {
                storage.task_forked(parent, 5).unwrap();
                assert_eq!((run(find, 51), run(&count, 59), run(find, 41)), (3, 4, 3));
            }
            // A parent without storage.
            storage.task_forked(1234, 1235).unwrap();
            // Another has had the child's id, and was not forgotten.
            assert_ne!(run(find, 41), 77);
            storage.task_forked(1234, parent).unwrap();
            assert_eq!(run(find, 41), 77);
            assert_eq!(run(delete, 51) as i32, if at_fork == AtFork::Copy { 0 } else { -2 });
            assert_eq!(run(delete, 51) as i32, -2);
            assert_eq!(run(find, 51), 77);
            // Storage begins with zeroes, wherever it is.
            assert_eq!(run(&count, 51), 1);
        }
    }
}

#[test]
fn task_storage_of_others_is_not_to_be_had() {
    let text = |task: u32, first: u32, flags: u32| {
        format!(
            "r1 = map[0]; r2 = {task}; r3 = {first}; r4 = {flags}; call 156; if r0 == 0 goto +1; r0 = 1; exit"
        )
    };
    let storage = || vec![map(MapKind::TaskStorage, 4, 8, 2)];
    let run = |task, first, flags| run_each(&text(task, first, flags), storage, &Thread::new());
    assert_eq!(run(0, 0, 1), 1);
    assert_eq!((run(7, 0, 1), run(0, 7, 1), run(0, 0, 2), run(0, 0, 0)), (0, 0, 0, 0));
    assert_eq!(run_each("r1 = map[0]; r2 = 7; call 157; exit", storage, &Thread::new()) as i32, -22);
}

#[test]
fn events_arrive_when_the_program_has_ended() {
    let text = "*(u64 *)(r10 -8) = 5
        r1 = map[0]; r2 = r10; r2 += -8; r3 = 5; r4 = 0; call 130; r9 = r0
        r1 = map[0]; r2 = 16; r3 = 0; call 131; if r0 == 0 goto out; r6 = r0
        r1 = map[0]; r2 = 8; r3 = 0; call 131; if r0 == 0 goto out; r7 = r0
        r1 = map[0]; r2 = 24; r3 = 0; call 131; if r0 == 0 goto out; r8 = r0
        *(u64 *)(r6 +8) = 1; *(u64 *)(r7 +0) = 2; *(u64 *)(r8 +0) = 3
        r1 = r6; r2 = 0; call 132; r1 = r7; r2 = 0; call 133
        r0 = r9; exit
        out: r0 = 99; exit";
    let rounds = if cfg!(miri) { 2 } else { 300 };
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let ring = map(MapKind::Ring, 0, 0, 4096);
        let loaded = load(&assemble(text), vec![ring.clone()], kind);
        for _ in 0..rounds {
            assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), 0);
            let mut event = [0xff; 32];
            assert_eq!(ring.next_event(&mut event), Ok(Some(5)));
            assert_eq!(event[..6], [5, 0, 0, 0, 0, 0xff]);
            assert_eq!(ring.next_event(&mut event), Ok(Some(16)));
            assert_eq!(event[..16], [key(0), key(1)].concat());
            // One was discarded, and one left.
            assert_eq!((ring.next_event(&mut event), ring.waiting_bytes()), (Ok(None), 0));
        }
        assert_eq!(ring.lost_events(), 0);
    }
}

#[test]
fn an_event_is_written_until_the_program_ends() {
    // Submitted, looked for, and written again.
    let text = "r1 = map[0]; r2 = 8; r3 = 0; call 131; if r0 == 0 goto out; r6 = r0
        r1 = r6; r2 = 0; call 132; r1 = map[0]; call 1000; r7 = r0; *(u64 *)(r6 +0) = 7; r0 = r7; exit
        out: r0 = 99; exit";
    const RING: Arg = Arg::Map { kinds: &[MapKind::Ring], writes: true };
    let args = [RING, Arg::None, Arg::None, Arg::None, Arg::None];
    let looks = own(1000, args, Return::Number, |call| {
        let event = call.map(0).unwrap().next_event(&mut [0; 8]);
        event.unwrap().is_some().into()
    });
    let rows = [&HELPERS[..], &[looks]].concat();
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let ring = map(MapKind::Ring, 0, 0, 4096);
        let insns = assemble(text);
        let loaded = Extension::from_parts(unverified(&insns), vec![ring.clone()], &rows, kind, &Pages);
        assert_eq!(loaded.unwrap().run(&with_args(&[]), &Thread::new()), 0, "{kind:?}");
        let mut event = [0; 8];
        assert_eq!((ring.next_event(&mut event), event), (Ok(Some(8)), key(7)));
    }
}

#[test]
fn events_arrive_in_the_order_of_their_places() {
    let ring = map(MapKind::Ring, 0, 0, 4096);
    let inner = ring.ring().unwrap();
    let [first, second, third] = [8, 16, 24].map(|len| inner.reserve(len).unwrap());
    let mut event = [0; 32];
    assert_eq!(ring.next_event(&mut event), Ok(None));
    inner.finish(second, false);
    assert_eq!(ring.next_event(&mut event), Ok(None));
    inner.finish(first, true);
    assert_eq!((ring.next_event(&mut event), ring.next_event(&mut event)), (Ok(Some(16)), Ok(None)));
    inner.finish(third, false);
    // What there is no room for is cut, and its length told.
    assert_eq!(ring.next_event(&mut event[..3]), Ok(Some(24)));
    assert_eq!(ring.waiting_bytes(), 0);
}

#[test]
fn events_without_a_place_are_counted() {
    let output = "*(u64 *)(r10 -8) = 5; r1 = map[0]; r2 = r10; r2 += -8; r3 = 8; r4 = 0; call 130; exit";
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let ring = map(MapKind::Ring, 0, 0, 4096);
        let loaded = load(&assemble(output), vec![ring.clone()], kind);
        let answers: Vec<_> = (0..258).map(|_| loaded.run(&with_args(&[]), &Thread::new()) as i32).collect();
        assert_eq!(answers[..256], [0; 256]);
        assert_eq!(answers[256..], [-11; 2]);
        assert_eq!((ring.lost_events(), ring.waiting_bytes()), (2, 4096));
        assert_eq!(ring.next_event(&mut []), Ok(Some(8)));
        assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), 0);
    }
}

#[test]
fn records_do_not_wrap_around() {
    let ring = map(MapKind::Ring, 0, 0, 4096);
    let inner = ring.ring().unwrap();
    let mut event = [0; 4096];
    let mut seen = 0_usize;
    for len in (1..700).cycle().take(5_000) {
        let reservation = inner.reserve(len).unwrap();
        let bytes: Vec<u8> = (0..len).map(|n| (n * 7 + len) as u8).collect();
        ring.words().write(reservation.offset(), &bytes).unwrap();
        inner.finish(reservation, false);
        assert_eq!(ring.next_event(&mut event), Ok(Some(len as usize)));
        assert_eq!(event[..len as usize], bytes);
        seen += len as usize;
    }
    assert!(seen > 1 << 20);
    // The longest, and one that can never be.
    let ring = map(MapKind::Ring, 0, 0, 4096);
    let inner = ring.ring().unwrap();
    let longest = inner.reserve(4088).unwrap();
    assert_eq!(inner.reserve(1), None);
    inner.finish(longest, true);
    assert_eq!((inner.reserve(4089), inner.reserve(1 << 40), inner.reserve(u64::MAX)), (None, None, None));
    assert_eq!((ring.next_event(&mut event), ring.lost_events()), (Ok(None), 4));
}

#[test]
#[cfg_attr(miri, ignore = "many programs to verify")]
fn a_program_reserves_no_more_than_it_may() {
    let reserve = "r1 = map[0]; r2 = 8; r3 = 0; call 131; if r0 == 0 goto +1; r6 += 1;";
    let text = format!("r6 = 0; {} r0 = r6; exit", reserve.repeat(10));
    let ring = map(MapKind::Ring, 0, 0, 4096);
    for extension in in_all_engines(&assemble(&text), std::slice::from_ref(&ring)) {
        assert_eq!(extension.run(&with_args(&[]), &Thread::new()), 8);
        assert_eq!(ring.next_event(&mut []), Ok(None));
    }
    let flags = "r1 = map[0]; r2 = 8; r3 = 1; call 131; if r0 == 0 goto +1; r0 = 1; exit";
    assert_eq!(answer(&in_all_engines(&assemble(flags), &[ring]), &with_args(&[])), 0);
}

#[test]
fn helpers_tell_of_the_thread() {
    let run = |text: &str| run_each(text, Vec::new, &Thread::new());
    assert_eq!(run("call 5; r0 >>= 32; exit"), 0x1234_5678);
    assert_eq!(run("call 7; exit"), 4);
    assert_eq!(run("call 14; r6 = r0; r6 >>= 32; r6 *= 1000; w0 = w0; r0 += r6; exit"), 100_101);
    assert_eq!(run("call 15; exit"), 1000);
    assert_eq!(run("call 15; r0 >>= 32; exit"), 0xffff_fffe);
    let comm = |size: u32, read: &str| {
        format!(
            "*(u64 *)(r10 -16) = -1; *(u64 *)(r10 -8) = -1; r1 = r10; r1 += -16; r2 = {size}; call 16; {read} exit"
        )
    };
    assert_eq!(run(&comm(16, "r0 = *(u32 *)(r10 -16);")).to_ne_bytes(), *b"fift");
    assert_eq!(run(&comm(16, "r0 = *(u32 *)(r10 -4);")).to_ne_bytes(), *b"ers\0");
    assert_eq!(run(&comm(6, "r0 = *(u32 *)(r10 -12);")).to_ne_bytes(), [b'e', 0, 0xff, 0xff]);
    assert_eq!(run(&comm(1, "r0 = *(u32 *)(r10 -16);")).to_ne_bytes(), [0, 0xff, 0xff, 0xff]);
    assert_eq!(run(&comm(16, "")), 0);
}

/// A program that reads user memory at `from` to the last `size` bytes of its stack.
fn read(helper: u32, from: u64, size: u32, then: &str) -> String {
    let clear = (1..=64).map(|n| format!("*(u64 *)(r10 -{}) = -1;", n * 8)).collect::<String>();
    format!("{clear} r1 = r10; r1 += -{size}; r2 = {size}; r3 = {from:#x} ll; call {helper}; {then} exit")
}

#[test]
fn user_memory_is_copied() {
    let host = Thread { memory: (0x1000, (0..=255).cycle().take(600).collect()), ..Thread::new() };
    let run = |text: &str| run_each(text, Vec::new, &host);
    assert_eq!(run(&read(112, 0x1004, 8, "")), 0);
    assert_eq!(run(&read(112, 0x1004, 8, "r0 = *(u32 *)(r10 -8);")).to_ne_bytes(), [4, 5, 6, 7]);
    assert_eq!(run(&read(112, 0x1001, 512, "r0 = *(u32 *)(r10 -4);")).to_ne_bytes(), [253, 254, 255, 0]);
    // A fault anywhere is one of the whole, and leaves zeroes.
    assert_eq!(run(&read(112, 0x1000 + 592, 16, "")) as i32, -14);
    assert_eq!(run(&read(112, 0x1000 + 592, 16, "r0 = *(u32 *)(r10 -16);")), 0);
    assert_eq!(run(&read(112, 0x1000 + 300, 512, "r0 = *(u32 *)(r10 -512);")), 0);
    assert_eq!(run(&read(112, u64::MAX, 8, "")) as i32, -14);
}

#[test]
fn user_strings_are_copied() {
    let mut memory = b"abc\0defghi".to_vec();
    memory.resize(300, b'x');
    memory.push(0);
    // Memory ends where a page does.
    memory.resize(512, b'y');
    let host = Thread { memory: (0x1000, memory), ..Thread::new() };
    let run = |text: &str| run_each(text, Vec::new, &host);
    let first = "r0 = *(u32 *)(r10 -8);";
    let last = "r0 = *(u32 *)(r10 -4);";
    assert_eq!(run(&read(114, 0x1000, 8, "")), 4);
    assert_eq!(run(&read(114, 0x1000, 8, first)).to_ne_bytes(), *b"abc\0");
    // Behind the string is nothing of the user's.
    assert_eq!(run(&read(114, 0x1000, 8, last)), 0);
    // Too long: cut, with a 0.
    assert_eq!(run(&read(114, 0x1004, 8, "")), 8);
    assert_eq!(run(&read(114, 0x1004, 8, first)).to_ne_bytes(), *b"defg");
    assert_eq!(run(&read(114, 0x1004, 8, last)).to_ne_bytes(), *b"hix\0");
    // As long as there is memory, and across pieces.
    assert_eq!(run(&read(114, 0x1004, 512, "")), 297);
    assert_eq!(run(&read(114, 0x1000 + 297, 8, "")), 4);
    // No end before the memory's.
    assert_eq!(run(&read(114, 0x1000 + 301, 211, "")), 211);
    assert_eq!(run(&read(114, 0x1000 + 301, 212, "")) as i32, -14);
    assert_eq!(run(&read(114, 0x999, 8, "")) as i32, -14);
    assert_eq!(run(&read(114, 0x999, 8, first)), 0);
}

#[test]
fn lines_are_printed() {
    let host = Thread::new();
    // "n=%d %x\n\0", in two words.
    let (low, high) = (u64::from_ne_bytes(*b"n=%d %lx"), u64::from_ne_bytes(*b"\n\0\0\0\0\0\0\0"));
    let text = format!(
        "r1 = {low:#x} ll; *(u64 *)(r10 -16) = r1; r1 = {high:#x} ll; *(u64 *)(r10 -8) = r1
        r1 = r10; r1 += -16; r2 = 10; r3 = -3; r4 = -1; r5 = 0; call 6; exit"
    );
    let engines = in_all_engines(&assemble(&text), &[]).len();
    let len = run_each(&text, Vec::new, &host);
    let line = "n=-3 ffffffffffffffff";
    assert_eq!(len as usize, line.len() + 1);
    assert_eq!(*host.lines.lock().unwrap(), vec![line.to_string(); engines]);
    assert_eq!(run_each(&text.replace("r2 = 10", "r2 = 9"), Vec::new, &host) as i32, -22);
}

#[test]
fn read_only_maps_are_read() {
    let read_only = || {
        let descriptor = MapDescriptor { access: MapAccess::ReadOnly, ..descriptor(MapKind::Array, 4, 8, 1) };
        let map = Map::new(descriptor, MapOptions::default(), &UserSpace).unwrap();
        map.update(&[0; 4], &key(6), Update::Any).unwrap();
        map.freeze();
        vec![Arc::new(map)]
    };
    assert_eq!(run_each(&text_of(&[lookup(0)]), read_only, &Thread::new()), 6);
    // Should the verifier be wrong, the native engine and the helpers are not.
    let store = format!("{KEY} {MAP_AND_KEY} call 1; if r0 == 0 goto +1; *(u64 *)(r0 +0) = 1; r0 = 0; exit");
    let unverified = |text: &str| {
        let insns = assemble(text);
        let program = unverified(&insns);
        Extension::from_parts(program, read_only(), &HELPERS, EngineKind::Native, &Pages).unwrap()
    };
    assert_eq!(unverified(&store).run(&with_args(&[]), &Thread::new()), 0x8000_0000);
    let update = text_of(&[update(0, 1, 0)]);
    assert_eq!(unverified(&update).run(&with_args(&[]), &Thread::new()) as i32, -1);
}

#[test]
fn the_native_engine_lets_no_access_out() {
    let maps = || vec![map(MapKind::Array, 4, 12, 2), map(MapKind::Ring, 0, 0, 4096)];
    let runs = |text: &str| {
        let insns = assemble(&format!("{text} r0 = 1; exit"));
        let loaded =
            Extension::from_parts(unverified(&insns), maps(), &HELPERS, EngineKind::Native, &Pages).unwrap();
        match loaded.run(&with_args(&[]), &Thread::new()) {
            1 => true,
            0x8000_0000 => false,
            other => panic!("{text}: {other:#x}"),
        }
    };
    let value = "r1 = map[0][0]+0;";
    let event = "r1 = map[1]; r2 = 16; r3 = 0; call 131; r1 = r0;";
    for (text, is_inside) in [
        ("r0 = *(u64 *)(r10 -512);".to_string(), true),
        ("r0 = *(u64 *)(r10 -513);".to_string(), false),
        ("r0 = *(u8 *)(r10 +0);".to_string(), false),
        ("r0 = *(u64 *)(r10 -7);".to_string(), false),
        ("r0 = *(u64 *)(r1 +56);".to_string(), true),
        ("r0 = *(u64 *)(r1 +57);".to_string(), false),
        ("r0 = *(u8 *)(r1 -1);".to_string(), false),
        ("*(u8 *)(r1 +0) = 1;".to_string(), false),
        ("r0 = *(u8 *)(r0 +0);".to_string(), false),
        ("r1 = -1; r0 = *(u64 *)(r1 +0);".to_string(), false),
        (format!("{value} *(u32 *)(r1 +8) = 1;"), true),
        (format!("{value} *(u32 *)(r1 +16) = 1;"), true),
        // Between two values, and from one to the next.
        (format!("{value} *(u32 *)(r1 +12) = 1;"), false),
        (format!("{value} *(u64 *)(r1 +8) = 1;"), false),
        (format!("{value} *(u8 *)(r1 +28) = 1;"), false),
        (format!("{value} *(u8 *)(r1 -1) = 1;"), false),
        (format!("{event} *(u64 *)(r1 +8) = 1;"), true),
        (format!("{event} *(u64 *)(r1 +9) = 1;"), false),
        (format!("{event} *(u8 *)(r1 -1) = 1;"), false),
        // What helpers are given.
        ("r1 = map[0]; r2 = r10; r2 += -3; call 1;".to_string(), false),
        ("r1 = 0; r2 = r10; r2 += -8; call 1;".to_string(), false),
        ("r1 = 3; r2 = r10; r2 += -8; call 1;".to_string(), false),
        ("r1 = r10; r2 = 16; call 16;".to_string(), false),
        ("r2 = 16; call 16;".to_string(), false),
        // What is no program.
        ("call 99;".to_string(), false),
        ("goto -1;".to_string(), false),
        ("goto +5;".to_string(), false),
    ] {
        assert_eq!(runs(&text), is_inside, "{text}");
    }
}

/// Linux's functions are called with the stack aligned, and so are helpers; they find all five arguments, and leave
/// what is the program's.
#[test]
fn helpers_are_called_as_functions_are() {
    #[repr(align(16))]
    struct Aligned([u8; 16]);

    #[inline(never)]
    fn helper(call: &mut Call<'_, '_>) -> u64 {
        let local = Aligned([1; 16]);
        let address = std::hint::black_box(&raw const local.0).addr() as u64;
        assert_eq!(address % 16, 0, "the stack is misaligned");
        (0..5).map(|index| call.number(index) * 10_u64.pow(index as u32)).sum()
    }

    // As many as there can be, and the last is called.
    let rows: Vec<_> = (0..32).map(|n| own(-1 - n, [Arg::Number; 5], Return::Number, helper)).collect();
    let numbers = (1..=5).map(|n| format!("r{n} = {n};")).collect::<String>();
    let calls = rows.iter().map(|row| format!("{numbers} call {}; r6 += r0;", row.helper.id));
    let text = format!(
        "r6 = 0; r7 = r1; r8 = 8; r9 = 9; *(u64 *)(r10 -8) = 5; {}
        r6 += r8; r6 += r9; r1 = *(u64 *)(r7 +16); r6 += r1; r1 = *(u64 *)(r10 -8); r6 += r1; r0 = r6; exit",
        calls.collect::<String>()
    );
    let insns = assemble(&text);
    let load = |insns: &[Insn], rows: &[HelperRow], kind| {
        Extension::from_parts(unverified(insns), vec![], rows, kind, &Pages).unwrap()
    };
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let loaded = load(&insns, &rows, kind);
        assert_eq!((loaded.engine(), loaded.helpers().len()), (kind, 32));
        assert_eq!(loaded.run(&with_args(&[1]), &Thread::new()), 32 * 54_321 + 8 + 9 + 1 + 5);
    }
    // One more, and rbpf has no place for it.
    let more =
        [&rows[..], &[HelperRow { helper: Helper { id: 5000, ..rows[0].helper }, ..rows[0] }]].concat();
    let insns = assemble(&format!("{numbers} call 5000; {text}"));
    let loaded = load(&insns, &more, EngineKind::DEFAULT);
    assert_eq!((loaded.engine(), loaded.fell_back()), (EngineKind::Native, Some(EngineError::Helpers)));
}

fn own(id: i32, args: [Arg; 5], returns: Return, function: HelperFn) -> HelperRow {
    let prototype = Prototype::new(args, returns).unwrap();
    HelperRow::new("own", Helper { id, prototype }, Capability::Own, function)
}

#[test]
fn what_an_embedders_helper_gives_is_what_it_says() {
    const MAP: Arg = Arg::Map { kinds: &[MapKind::Array], writes: false };
    const RING: Arg = Arg::Map { kinds: &[MapKind::Ring], writes: true };
    const LENGTH: Return = Return::LengthOrErrno { size: Reg::R3 };
    const VALUE: Return = Return::MapValueOrNull { map: Reg::R1 };
    const MEMORY: Return = Return::MemoryOrNull { size: Reg::R3 };
    const NONE: Arg = Arg::None;
    // Each gives r2, or something at a distance of it.
    let rows = [
        own(1000, [NONE, Arg::Number, NONE, NONE, NONE], Return::Number, |call| call.number(1)),
        own(1001, [NONE, Arg::Number, Arg::Size { zero: true }, NONE, NONE], LENGTH, |call| call.number(1)),
        own(1002, [MAP, Arg::Number, NONE, NONE, NONE], VALUE, |call| {
            let map = call.map(0).unwrap();
            map.find(&[0; 4]).unwrap().wrapping_add(call.number(1))
        }),
        own(1003, [RING, Arg::Number, Arg::ConstSize, NONE, NONE], MEMORY, |call| {
            call.reserve(0, 16).unwrap().wrapping_add(call.number(1))
        }),
    ];
    let killed = 0x8000_0000;
    for (index, helper, r2, r3, expected) in [
        (0, 1000, -1_i64, 0, u32::MAX),
        (0, 1001, 8, 8, 8),
        (0, 1001, 9, 8, killed),
        (0, 1001, -4095, 8, -4095_i32 as u32),
        (0, 1001, -4096, 8, killed),
        (0, 1001, i64::MIN, 8, killed),
        (0, 1002, 0, 0, 1),
        (0, 1002, 16, 0, 1),
        (0, 1002, 8, 0, killed),
        (0, 1002, 32, 0, killed),
        (0, 1002, -16, 0, killed),
        (1, 1003, 0, 16, 1),
        (1, 1003, 0, 17, killed),
        (1, 1003, 8, 16, killed),
        (1, 1003, -8, 8, killed),
    ] {
        let is_address = if helper > 1001 { "if r0 == 0 goto +1; r0 = 1;" } else { "" };
        let text = format!("r1 = map[{index}]; r2 = {} ll; r3 = {r3}; call {helper}; {is_address} exit", r2);
        let insns = assemble(&text);
        for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
            let maps = vec![map(MapKind::Array, 4, 12, 2), map(MapKind::Ring, 0, 0, 4096)];
            let loaded = Extension::from_parts(unverified(&insns), maps, &rows, kind, &Pages).unwrap();
            assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), expected, "{kind:?}: {text}");
        }
    }
}

/// A helper with two maps: its value is of the one that the result names, for the verifier and when it is run.
#[test]
fn of_two_maps_the_one_counts_that_is_named() {
    const MAP: Arg = Arg::Map { kinds: &[MapKind::Array], writes: false };
    const ARGS: [Arg; 5] = [MAP, MAP, Arg::None, Arg::None, Arg::None];
    const FROM_FIRST: HelperFn = |call| call.map(0).unwrap().find(&[0; 4]).unwrap();
    const FROM_SECOND: HelperFn = |call| call.map(1).unwrap().find(&[0; 4]).unwrap();
    let maps = || vec![map(MapKind::Array, 4, 8, 1), map(MapKind::Array, 4, 64, 1)];
    let ask = |row: HelperRow, byte: u32| {
        let text = format!(
            "r1 = map[0]; r2 = map[1]; call 1000; if r0 == 0 goto out; r1 = *(u8 *)(r0 +{byte}); out: r0 = 1; exit"
        );
        let maps = maps();
        let descriptors: Vec<_> = maps.iter().map(|map| map.descriptor()).collect();
        let environment = Environment { maps: &descriptors, helpers: &[row.helper] };
        let verified = verify(verifier::Program::new(assemble(&text)), &environment).ok()?;
        let kinds = EngineKind::ALL.into_iter().filter(|kind| has(*kind));
        let answers = kinds.map(|kind| {
            let loaded = Extension::load(&verified, maps.clone(), &[row], kind, &Pages).unwrap();
            loaded.try_run(&with_args(&[]), &Thread::new())
        });
        let answers: Vec<_> = answers.collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        Some(answers[0])
    };
    let first = Return::MapValueOrNull { map: Reg::R1 };
    let second = Return::MapValueOrNull { map: Reg::R2 };
    for (returns, function, byte, expected) in [
        (first, FROM_FIRST, 7, Some(Ok(1))),
        (first, FROM_FIRST, 63, None),
        (first, FROM_SECOND, 7, Some(Err(RunError::Fault))),
        (second, FROM_SECOND, 63, Some(Ok(1))),
        (second, FROM_FIRST, 63, Some(Err(RunError::Fault))),
    ] {
        assert_eq!(ask(own(1000, ARGS, returns, function), byte), expected, "{returns:?} {byte}");
    }
}

#[test]
fn a_program_is_shown_as_it_is_run() {
    let loaded = load(
        &assemble("r1 = map[0][0]+4; w0 = 5; w2 = w0; r0 = 0; exit"),
        vec![map(MapKind::Array, 4, 8, 1)],
        EngineKind::Native,
    );
    let address = loaded.maps()[0].words().address() + 4;
    for kind in [EngineKind::Jit, EngineKind::Interpreter] {
        let listing = loaded.lowered(kind).unwrap().unwrap().to_string();
        assert!(
            listing.contains(&format!("r1 = {address:#x}\n")) && listing.contains("w2 &= -1\n"),
            "{listing}"
        );
    }
    assert_eq!(loaded.lowered(EngineKind::Native), Ok(None));
}

#[test]
fn what_a_program_is_loaded_with_is_what_it_was_verified_against() {
    use crate::error::LoadError;
    let insns = assemble("r1 = map[0]; *(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; call 1; r0 = 0; exit");
    let array = || map(MapKind::Array, 4, 8, 2);
    let verified = verified(&insns, &[array()]);
    let load = |maps: Vec<Arc<Map>>, rows: &[HelperRow]| {
        Extension::load(&verified, maps, rows, EngineKind::Native, &Pages).map(|_| ())
    };
    assert_eq!(load(vec![array()], &HELPERS), Ok(()));
    assert_eq!(load(vec![array()], &HELPERS[..1]), Ok(()));
    assert_eq!(load(vec![], &HELPERS), Err(LoadError::MapCount(0)));
    assert_eq!(load(vec![array(), array()], &HELPERS), Err(LoadError::MapCount(2)));
    assert_eq!(load(vec![map(MapKind::Array, 4, 8, 1)], &HELPERS), Err(LoadError::Map(0)));
    assert_eq!(load(vec![map(MapKind::Array, 4, 4, 2)], &HELPERS), Err(LoadError::Map(0)));
    assert_eq!(load(vec![array()], &HELPERS[1..]), Err(LoadError::Helper(1)));
    let other = own(1, HELPERS[0].helper.prototype.args(), Return::Number, |_| 0);
    assert_eq!(load(vec![array()], &[other]), Err(LoadError::Helper(1)));
    // Nobody could say which of two is meant.
    for twice in [[other, HELPERS[0]], [HELPERS[0], other], [HELPERS[0]; 2]] {
        assert_eq!(load(vec![array()], &twice), Err(LoadError::HelperTwice(1)));
    }
}
