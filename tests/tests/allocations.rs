//! What a system call costs in memory: nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use cbpf_translator::SockFilter;
use seccomp_kernel::{Arch, Decision, Pass, Thread as _, ThreadState, evaluate};
use seccomp_runtime::{EngineKind, SeccompData};
use seccomp_tests::mock::{Engine, Faults, Process};

/// The system's allocator, which counts what each thread asks for, and refuses it where the test says so.
struct Counting;

/// What a thread asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    allocations: usize,
    bytes: usize,
    freed: usize,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { allocations: 0, bytes: 0, freed: 0 }) };
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: the system's allocator does it all. The counters allocate nothing and are never dropped, so they can
// be reached from here on every thread at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let tally = TALLY.get();
        TALLY.set(Tally { allocations: tally.allocations + 1, bytes: tally.bytes + layout.size(), ..tally });
        if REFUSES.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let tally = TALLY.get();
        TALLY.set(Tally { freed: tally.freed + layout.size(), ..tally });
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tally<R>(f: impl FnOnce() -> R) -> (R, Tally) {
    let before = TALLY.get();
    let result = f();
    let after = TALLY.get();
    let spent = Tally {
        allocations: after.allocations - before.allocations,
        bytes: after.bytes - before.bytes,
        freed: after.freed - before.freed,
    };
    (result, spent)
}

const GETPPID: SeccompData = SeccompData {
    nr: 110,
    arch: Arch::X86_64.audit_arch(),
    instruction_pointer: 0x40_1002,
    args: [1, 2, 3, 4, 5, 6],
};

/// Filters that look at a call well, answer `value` to getppid, and allow the rest.
fn filters(engine: impl Into<Engine>, count: usize, value: u32) -> Process {
    let insn = SockFilter::new;
    let program = [
        insn(0x20, 0, 0, 4),
        insn(0x15, 0, 5, GETPPID.arch),
        insn(0x20, 0, 0, 16),
        insn(0x02, 0, 0, 3),
        insn(0x20, 0, 0, 0),
        insn(0x15, 0, 1, GETPPID.nr.cast_unsigned()),
        insn(0x06, 0, 0, value),
        insn(0x06, 0, 0, 0x7fff_0000),
    ];
    let engine = engine.into();
    let process = Process::new(engine, Faults::default());
    for _ in 0..count {
        assert_eq!(process.install(&process.leader(), 0, &program), Ok(0));
    }
    assert_eq!(process.leader().seccomp().filter().expect("a filter").program().engine(), engine.kind);
    process
}

fn decide(state: &ThreadState) -> Decision {
    black_box(evaluate(state, black_box(&GETPPID), Pass::Entry, Default::default(), None))
}

fn evaluation(state: &ThreadState) -> Tally {
    tally(|| decide(state)).1
}

const VALUES: [u32; 9] = [
    0x8000_0000,
    0x0000_0000,
    0x0003_0007,
    0x0005_0001,
    0x7fc0_0000,
    0x7ff0_0001,
    0x7ffc_0000,
    0x7fff_0000,
    0x0001_0000,
];

#[test]
fn jit_and_native_allocate_nothing() {
    let has = |kind| kind != EngineKind::Jit || cfg!(target_arch = "x86_64");
    // A decision that no argument changes does not even reach the interpreter.
    let engines = Engine::all().filter(|engine| engine.plan || engine.kind != EngineKind::Interpreter);
    for engine in engines.filter(|engine| has(engine.kind)) {
        for (count, value) in [1, 8].into_iter().flat_map(|count| VALUES.map(|value| (count, value))) {
            let process = filters(engine, count, value);
            assert_eq!(
                evaluation(process.leader().seccomp()),
                Tally::default(),
                "{engine:?} {count} {value:#x}"
            );
        }
    }
}

#[test]
fn the_interpreter_allocates_a_stack_for_each_filter() {
    const STACK: usize = 512;
    for (count, value) in [1, 8].into_iter().flat_map(|count| VALUES.map(|value| (count, value))) {
        let process = filters(EngineKind::Interpreter, count, value);
        // Each is asked for twice: to see whether there is one, and by rbpf.
        let stacks = Tally { allocations: 2 * count, bytes: 2 * count * STACK, freed: 2 * count * STACK };
        assert_eq!(evaluation(process.leader().seccomp()), stacks, "{count} {value:#x}");
    }
}

#[test]
fn without_memory_the_interpreter_decides_the_same() {
    for (count, value) in [1, 8].into_iter().flat_map(|count| VALUES.map(|value| (count, value))) {
        let process = filters(EngineKind::Interpreter, count, value);
        // A decision may end the thread.
        let [one, another] = [(); 2].map(|()| process.leader().seccomp().inherit());
        let expected = decide(&one);
        REFUSES.set(true);
        let (decision, asked) = tally(|| decide(&another));
        REFUSES.set(false);
        assert_eq!(decision, expected, "{count} {value:#x}");
        assert_eq!(asked.allocations, count, "each filter asks, and goes without");
    }
}

#[test]
fn a_thread_without_filters_allocates_nothing() {
    assert_eq!(evaluation(&ThreadState::new()), Tally::default());
}

#[test]
fn inheriting_filters_allocates_nothing() {
    let process = filters(EngineKind::DEFAULT, 8, 0);
    let leader = process.leader();
    let (child, spent) = tally(|| leader.seccomp().inherit());
    assert_eq!((child.filter_count(), spent), (8, Tally::default()));
    assert_eq!(tally(|| drop(child)).1, Tally::default());
}
