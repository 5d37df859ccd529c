//! Threads that evaluate while others give them filters.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cbpf_translator::SockFilter;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{Arch, Mode, Pass, Thread as _, ThreadState, Verdict, evaluate};
use seccomp_runtime::{EngineKind, SeccompData};
use seccomp_tests::mock::{Engine, Faults, Process};

/// Miri looks at every access, so a few are enough for it, and all that there is time for.
const FILTERS: i32 = if cfg!(miri) { 3 } else { 1000 };
const BIRTHS: i32 = if cfg!(miri) { 3 } else { 200 };

/// What Miri runs: rbpf's interpreter, and a plan.
const UNDER_MIRI: [Engine; 2] =
    [Engine { kind: EngineKind::Interpreter, plan: false }, Engine { kind: EngineKind::Native, plan: true }];

/// A filter against one call.
fn deny(nr: i32) -> [SockFilter; 4] {
    [
        SockFilter::new(0x20, 0, 0, 0),
        SockFilter::new(0x15, 0, 1, nr.cast_unsigned()),
        SockFilter::new(0x06, 0, 0, 0x0005_0001),
        SockFilter::new(0x06, 0, 0, 0x7fff_0000),
    ]
}

/// Whether the thread is denied the call.
fn is_denied(state: &ThreadState, nr: i32) -> bool {
    let data = SeccompData { nr, arch: Arch::X86_64.audit_arch(), ..SeccompData::default() };
    match evaluate(state, &data, Pass::Entry, Default::default(), None).verdict {
        Verdict::Proceed => false,
        Verdict::Return(-1) => true,
        other => panic!("no filter says {other:?}"),
    }
}

/// Follows filters that come in the order of their numbers, until `over` is set.
fn watch(state: &ThreadState, over: &AtomicBool) {
    let mut denied = 0;
    loop {
        let last_look = over.load(Ordering::Acquire);
        while denied < FILTERS && is_denied(state, denied) {
            denied += 1;
        }
        for earlier in (0..denied).step_by(97) {
            assert!(is_denied(state, earlier), "{earlier} was denied before {denied}");
        }
        if denied > 0 {
            assert_eq!(state.mode(), Mode::Filter);
            let child = state.inherit();
            assert_eq!(child.mode(), Mode::Filter);
            assert!(is_denied(&child, denied - 1));
        }
        if last_look {
            break assert_eq!(denied, FILTERS);
        }
    }
}

#[test]
fn a_thread_that_evaluates_only_ever_loses_calls() {
    for engine in Engine::all().filter(|engine| !cfg!(miri) || UNDER_MIRI.contains(engine)) {
        let process = Process::new(engine, Faults::default());
        let leader = process.leader();
        let sibling = process.spawn(&leader);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| watch(sibling.seccomp(), &over));
            for nr in 0..FILTERS {
                let installed = process.install(&leader, FilterFlags::TSYNC.bits(), &deny(nr));
                assert_eq!(installed, Ok(0), "filter {nr}");
            }
            over.store(true, Ordering::Release);
        });
        assert_eq!(sibling.seccomp().filter_count(), FILTERS.cast_unsigned());
    }
}

#[test]
fn threads_that_sync_each_other_never_diverge() {
    let process = Process::new(EngineKind::DEFAULT, Faults::default());
    let leader = process.leader();
    let sibling = process.spawn(&leader);
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for (thread, first) in [(&leader, 0), (&sibling, 1)] {
            let (process, start) = (&process, &start);
            scope.spawn(move || {
                start.wait();
                for nr in (first..FILTERS).step_by(2) {
                    assert_eq!(process.install(thread, FilterFlags::TSYNC.bits(), &deny(nr)), Ok(0));
                    assert!(is_denied(thread.seccomp(), nr));
                }
            });
        }
    });
    for thread in [leader, sibling] {
        assert_eq!(thread.seccomp().filter_count(), FILTERS.cast_unsigned());
        assert!((0..FILTERS).all(|nr| is_denied(thread.seccomp(), nr)));
    }
}

#[test]
fn a_thread_that_is_born_meanwhile_misses_no_filter() {
    let process = Process::new(EngineKind::DEFAULT, Faults::default());
    let leader = process.leader();
    let parent = process.spawn(&leader);
    thread::scope(|scope| {
        let children = scope.spawn(|| (0..BIRTHS).map(|_| process.spawn(&parent)).collect::<Vec<_>>());
        for nr in 0..BIRTHS {
            assert_eq!(process.install(&leader, FilterFlags::TSYNC.bits(), &deny(nr)), Ok(0));
        }
        for child in children.join().expect("threads are born") {
            assert_eq!(child.seccomp().filter_count(), leader.seccomp().filter_count());
        }
    });
}
