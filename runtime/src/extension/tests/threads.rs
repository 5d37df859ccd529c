//! Threads that use a map at once. Miri runs these too.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::map::{AccessError, AtFork, MapOptions, Update, UserSpace};
use crate::verifier::{MapAccess, MapDescriptor, MapKind};

/// Longer than what is copied under one lock.
const VALUE: usize = 3000;
const ROUNDS: u32 = if cfg!(miri) { 3 } else { 3000 };

fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> Map {
    let access = MapAccess::ReadWrite;
    let descriptor = MapDescriptor { kind, key_size, value_size, max_entries, access };
    Map::new(descriptor, MapOptions { at_fork: AtFork::Copy, ..Default::default() }, &UserSpace).unwrap()
}

/// Whether all of a value is the key's, or 0.
fn is_of(key: u64, value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == 0 || u64::from(byte >> 4) == key)
}

#[test]
fn nobody_finds_the_value_of_another_key() {
    for kind in [MapKind::Hash, MapKind::LruHash] {
        // Two places, so that they change hands all the time.
        let hash = map(kind, 8, VALUE as u32, 2);
        let found = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..4_u8 {
                let (hash, found) = (&hash, &found);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let key = 1 + u64::from((round + u32::from(thread)) % 4);
                        let value = [(key as u8) << 4 | thread; VALUE];
                        let set = hash.update(&key.to_ne_bytes(), &value, Update::Any);
                        assert!(matches!(set, Ok(()) | Err(AccessError::Full)), "{set:?}");
                        let mut value = [0; VALUE];
                        if hash.lookup(&key.to_ne_bytes(), &mut value).is_ok() {
                            found.fetch_add(1, Ordering::Relaxed);
                            assert!(is_of(key, &value), "{kind:?}: of {key}");
                        }
                        let each = |key: &[u8], value: &[u8]| {
                            assert!(is_of(u64::from_ne_bytes(key.try_into().unwrap()), value), "{kind:?}");
                        };
                        hash.for_each(each).unwrap();
                        let _ = hash.delete(&(1 + key % 4).to_ne_bytes());
                    }
                });
            }
        });
        assert!(found.into_inner() > 0);
        let mut entries = 0;
        hash.for_each(|_, _| entries += 1).unwrap();
        assert!(entries <= 2);
        // No place is lost.
        for key in 1..=4_u64 {
            let _ = hash.delete(&key.to_ne_bytes());
        }
        for key in 5..=6_u64 {
            hash.update(&key.to_ne_bytes(), &[0; VALUE], Update::Create).unwrap();
        }
    }
}

#[test]
fn of_threads_that_make_an_entry_one_is_first() {
    let hash = map(MapKind::Hash, 8, VALUE as u32, 8);
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 1..=3_u8 {
            let (hash, made) = (&hash, &made);
            scope.spawn(move || {
                for key in 0..u64::from(ROUNDS.min(4)) {
                    match hash.update(&key.to_ne_bytes(), &[thread; VALUE], Update::Create) {
                        Ok(()) => drop(made.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert_eq!(error, AccessError::Exists),
                    }
                    // Whoever was first, all of the value is there, and all of it is that thread's.
                    let mut value = [0; VALUE];
                    hash.lookup(&key.to_ne_bytes(), &mut value).unwrap();
                    assert!(value[0] != 0 && value.iter().all(|byte| *byte == value[0]));
                }
            });
        }
    });
    assert_eq!(made.into_inner(), ROUNDS.min(4) as usize);
}

#[test]
fn what_a_new_task_finds_is_its_parents_or_nothing() {
    let storage = map(MapKind::TaskStorage, 4, VALUE as u32, 4);
    thread::scope(|scope| {
        for parent in [1, 2_u64] {
            let storage = &storage;
            scope.spawn(move || {
                let child = parent + 10;
                for _ in 0..ROUNDS {
                    storage.find_or_create(&parent.to_ne_bytes()).unwrap();
                    storage
                        .update(&parent.to_ne_bytes(), &[(parent as u8) << 4; VALUE], Update::Change)
                        .unwrap();
                    storage.task_forked(parent, child).unwrap();
                    storage.task_exited(parent);
                    let mut value = [0; VALUE];
                    storage.lookup(&child.to_ne_bytes(), &mut value).unwrap();
                    assert_eq!(value, [(parent as u8) << 4; VALUE]);
                    storage.task_exited(child);
                    // A value that somebody else had is not there.
                    storage.find_or_create(&child.to_ne_bytes()).unwrap();
                    storage.lookup(&child.to_ne_bytes(), &mut value).unwrap();
                    assert_eq!(value, [0; VALUE]);
                    storage.task_exited(child);
                }
            });
        }
    });
}

#[test]
fn each_event_is_given_to_one_reader_and_whole() {
    const WRITERS: u64 = 2;
    let ring = map(MapKind::Ring, 0, 0, 4096);
    let events = u64::from(ROUNDS) * 3;
    let (seen, written) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ring, written) = (ring.ring().unwrap(), &written);
            scope.spawn(move || {
                for event in 0..events {
                    let number = writer * events + event;
                    let len = 8 + number % 50 * 8;
                    let reservation = loop {
                        match ring.reserve(len) {
                            Some(reservation) => break reservation,
                            None => thread::yield_now(),
                        }
                    };
                    let mut bytes = [0xff; 8 + 49 * 8];
                    ring.words().read(reservation.offset(), &mut bytes[..len as usize]).unwrap();
                    assert!(bytes[..len as usize].iter().all(|byte| *byte == 0));
                    let bytes = number.to_ne_bytes().repeat(len as usize / 8);
                    ring.words().write(reservation.offset(), &bytes).unwrap();
                    ring.finish(reservation, number % 3 == 0);
                }
                written.fetch_add(1, Ordering::Release);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut event = [0; 8 + 49 * 8];
                loop {
                    let is_over = written.load(Ordering::Acquire) == WRITERS as usize;
                    match ring.next_event(&mut event).unwrap() {
                        Some(len) => {
                            let number = u64::from_ne_bytes(*event.first_chunk().unwrap());
                            assert_eq!(len as u64, 8 + number % 50 * 8);
                            assert_eq!(event[..len], number.to_ne_bytes().repeat(len / 8));
                            seen.lock().unwrap().push(number);
                        }
                        None if is_over => break,
                        None => thread::yield_now(),
                    }
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq((0..WRITERS * events).filter(|number| number % 3 != 0)));
    assert_eq!(ring.waiting_bytes(), 0);
}
