//! Planned filters against the whole program.

mod rows;

use cbpf_translator::cbpf::MAX_INSNS;
use cbpf_translator::seccomp::{AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64};
use cbpf_translator::{SockFilter, check};
use rand::Rng;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{LogMask, Pass, Thread, evaluate};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineKind, Loaded, NUMBERS, Planned, SeccompData};
use seccomp_tests::mock::{Engine, Faults, Process};
use seccomp_tests::vectors::Answer;
use seccomp_tests::{generate, vectors};

const ARCHES: [u32; 3] = [AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64];

/// An entry that is not planned.
const OTHER_ARCH: u32 = 0xc000_00f3;

fn load(program: &[SockFilter], engine: EngineKind) -> Loaded {
    let checked = check(program.to_vec()).expect("the program is a filter");
    Loaded::load(checked, engine, &HostExecMemory).expect("there is memory")
}

fn plan(program: &[SockFilter], engine: EngineKind) -> Loaded {
    load(program, engine).planned(ARCHES, &HostExecMemory).expect("there is memory")
}

/// What a campaign saw, so that one that sees too little of something fails.
#[derive(Debug, Default)]
struct Seen {
    constant: u64,
    residual: u64,
    whole: u64,
}

/// The plan on every engine answers as the whole program does.
fn agrees(program: &[SockFilter], inputs: impl IntoIterator<Item = SeccompData>, seen: &mut Seen) {
    let reference = load(program, EngineKind::Native);
    let planned = EngineKind::ALL.map(|engine| plan(program, engine));
    for input in inputs {
        let expected = reference.run(&input);
        let plan = planned[0].plan_of(input.arch, input.nr);
        for engine in &planned {
            let value = engine.run(&input);
            assert!(
                value == expected,
                "{plan:?} on {} is {value:#x}, the program's value {expected:#x}: {}",
                engine.engine().name(),
                generate::replay(program, &input),
            );
            assert_eq!(engine.plan_of(input.arch, input.nr), plan);
        }
        match plan {
            Planned::Constant(value) => {
                assert_eq!(value, expected);
                seen.constant += 1;
            }
            Planned::Residual => seen.residual += 1,
            Planned::Whole => seen.whole += 1,
        }
    }
}

/// An input for each of `numbers` by each entry.
fn inputs<R: Rng>(rng: &mut R, program: &[SockFilter], numbers: &[i32]) -> impl Iterator<Item = SeccompData> {
    let arches = || ARCHES.into_iter().chain([OTHER_ARCH]);
    let calls = numbers.iter().flat_map(move |&nr| arches().map(move |arch| (nr, arch)));
    calls.map(|(nr, arch)| SeccompData { nr, arch, ..generate::input(rng, program) })
}

const EDGES: [i32; 9] =
    [-1, 0, NUMBERS as i32 - 1, NUMBERS as i32, i32::MAX, i32::MIN, 1 << 30, 1 << 30 | 39, 0x3fff_ffff];

#[test]
fn plans_of_recorded_programs_agree_for_every_number() {
    let mut rng = generate::seeded();
    let mut seen = Seen::default();
    let numbers: Vec<i32> = (-2..=600).chain(EDGES).collect();
    for vector in vectors::programs() {
        if matches!(vector.answer, Answer::Accepted(_)) {
            agrees(&vector.program, inputs(&mut rng, &vector.program, &numbers), &mut seen);
        }
    }
    println!("{seen:?}");
    assert!(seen.constant > 100_000 && seen.residual > 10_000);
}

/// A process with these filters, the first the oldest and each second one with a log flag.
fn process(filters: &[Vec<SockFilter>], plan: bool) -> Process {
    let process = Process::new(Engine { kind: EngineKind::DEFAULT, plan }, Faults::default());
    for (index, filter) in filters.iter().enumerate() {
        let flags = if index % 2 == 0 { 0 } else { FilterFlags::LOG.bits() };
        assert_eq!(process.install(&process.leader(), flags, filter), Ok(0));
    }
    process
}

/// A filter that looks at nothing but the number.
fn by_number<R: Rng>(rng: &mut R) -> Vec<SockFilter> {
    let mut value = || {
        let action = [0x7fff_0000, 0x7fff_0000, 0x7fff_0000, 0x7ffc_0000, 0x0005_0000, 0x0003_0000, 0];
        action[rng.random_range(0..action.len())] | rng.random_range(0..3)
    };
    let (holds, fails) = (value(), value());
    vec![
        SockFilter::new(0x20, 0, 0, 0),
        SockFilter::new(0x35, 0, 1, rng.random_range(0..600)),
        SockFilter::new(0x06, 0, 0, holds),
        SockFilter::new(0x06, 0, 0, fails),
    ]
}

/// What a path decides from its merged tables is what it decides filter by filter.
#[test]
fn stacks_decide_as_their_filters_do() {
    let mut rng = generate::seeded();
    let (mut merged, mut mixed) = (0u64, 0u64);
    for _ in 0..generate::campaign(400, "SECCOMP_PLANNED_STACKS") {
        let depth = rng.random_range(1..=64);
        let of_arguments = rng.random_ratio(1, 2);
        let filters: Vec<_> = (0..depth)
            .map(|_| if of_arguments { generate::program(&mut rng, 24) } else { by_number(&mut rng) })
            .collect();
        let (planned, plain) = (process(&filters, true), process(&filters, false));
        let (planned, plain) = (planned.leader(), plain.leader());
        let newest = planned.seccomp().filter().expect("a filter");
        for _ in 0..200 {
            let filter = &filters[rng.random_range(0..depth)];
            let mut input = generate::input(&mut rng, filter);
            input.arch = ARCHES[rng.random_range(0..2)];
            if rng.random() {
                input.nr = rng.random_range(-2..=600);
            }
            // A thread that is told to die stays dead, so each call is a new thread's.
            let [ours, plain] = [&planned, &plain].map(|thread| {
                evaluate(&thread.seccomp().inherit(), &input, Pass::Entry, LogMask::default(), None)
            });
            assert_eq!(ours, plain, "{depth} filters and {input:x?}");
            let is_constant = newest
                .newest_first()
                .all(|filter| matches!(filter.program().plan_of(input.arch, input.nr), Planned::Constant(_)));
            if is_constant { merged += 1 } else { mixed += 1 }
        }
    }
    println!("{merged} decisions from tables alone, {mixed} not");
    assert!(merged > 10_000 && mixed > 10_000);
}

#[test]
fn plans_of_generated_programs_agree() {
    let mut rng = generate::seeded();
    let mut seen = Seen::default();
    for _ in 0..generate::campaign(20_000, "SECCOMP_PLANNED_PROGRAMS") {
        let max_len = if rng.random_ratio(1, 10) { MAX_INSNS } else { 96 };
        let program = generate::program(&mut rng, max_len);
        // The program's own constants come as numbers too, and their neighbours.
        let some: Vec<i32> = (0..6)
            .map(|_| match rng.random_range(0..3) {
                0 => generate::input(&mut rng, &program).nr,
                1 => rng.random_range(-2..=600),
                _ => EDGES[rng.random_range(0..EDGES.len())],
            })
            .collect();
        // A few numbers of many programs, and all numbers of a few.
        let numbers = if rng.random_ratio(1, 50) { (-2..=600).chain(EDGES).collect() } else { some };
        agrees(&program, inputs(&mut rng, &program, &numbers), &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.constant > 0 && seen.residual > 0 && seen.whole > 0);
}
