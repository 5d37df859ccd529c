//! eBPF filters on threads: how they are installed, stack with classic ones, remember and forget.

use cbpf_translator::{Insn, SockFilter, check};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use seccomp_kernel::introspect::{IntrospectError, Request};
use seccomp_kernel::uapi::{
    ExtensionFlags, ExtensionMapFlags, FilterFlags, SeccompExtension, SeccompExtensionMap,
};
use seccomp_kernel::{
    Action, InstallError, LogMask, MAX_EXTENSION_MAPS, Pass, SeccompCache, TaskIds, Thread as _, Verdict,
    attach, evaluate, strictest,
};
use seccomp_runtime::verifier::{MAX_INSNS, MapKind};
use seccomp_runtime::{EngineKind, Map, Planned, SeccompData, Update};
use seccomp_tests::mock::{Engine, Faults, Process, Reply, SOME_PID, Thread, map_bytes};
use seccomp_tests::verifier::asm::assemble;
use seccomp_tests::{generate, mock};
use syscalls::Errno;
use syscalls::x86_64::Sysno;

const NONE: FilterFlags = FilterFlags::empty();
const ERRNO: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;
const X86_64: u32 = 0xc000_003e;

fn processes() -> impl Iterator<Item = Process> {
    Engine::all().map(|engine| Process::new(engine, Faults::default()).granting_extensions())
}

fn process() -> Process {
    Process::new(EngineKind::DEFAULT, Faults::default()).granting_extensions()
}

fn asm(text: &str) -> Vec<Insn> {
    assemble(text).unwrap_or_else(|error| panic!("{error}"))
}

fn ret(value: u32) -> Vec<Insn> {
    asm(&format!("w0 = {}; exit", value.cast_signed()))
}

const fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> SeccompExtensionMap {
    SeccompExtensionMap {
        kind: kind.number(),
        key_size,
        value_size,
        max_entries,
        flags: 0,
        reserved: 0,
        values: 0,
    }
}

fn with(map: SeccompExtensionMap, flags: ExtensionMapFlags) -> SeccompExtensionMap {
    SeccompExtensionMap { flags: flags.bits(), ..map }
}

/// Allows the first `limit` calls of getppid, counted in the storage of the task; then EPERM.
fn at_most(limit: u32) -> Vec<Insn> {
    asm(&format!(
        "r2 = *(u32 *)(r1 +0)
         if r2 != {getppid} goto allow
         r1 = map[0]; r2 = 0; r3 = 0; r4 = 1; call 156
         if r0 == 0 goto deny
         r1 = *(u32 *)(r0 +0)
         if r1 >= {limit} goto deny
         r1 += 1
         *(u32 *)(r0 +0) = r1
allow:   w0 = {ALLOW}; exit
deny:    w0 = {deny}; exit",
        getppid = Sysno::getppid.id(),
        deny = ERRNO | 1,
    ))
}

fn getppid(process: &Process, thread: &Thread) -> i64 {
    match process.enter(thread, seccomp_kernel::Arch::X86_64, Sysno::getppid.id(), [0; 6]) {
        Reply::Returned(value) => value,
        other => panic!("{other:?}"),
    }
}

/// The maps of the newest filter.
fn maps(thread: &Thread) -> Vec<std::sync::Arc<Map>> {
    let filter = thread.seccomp().filter().expect("a filter");
    filter.program().extension().expect("an extension").maps().to_vec()
}

fn storage(map: &Map, task: u64) -> Option<u32> {
    let mut value = [0; 4];
    map.lookup(&task.to_ne_bytes(), &mut value).ok().map(|()| u32::from_ne_bytes(value))
}

#[test]
fn the_flag_does_not_exist_where_it_is_not_granted() {
    let plain = Process::new(EngineKind::DEFAULT, Faults::default());
    let thread = plain.leader();
    assert_eq!(plain.install_extension(&thread, NONE, &ret(ALLOW), &[]), Err(Errno::EINVAL));
    // As with any other filter, one needs no_new_privs or the capability.
    let process = process();
    let thread = process.leader();
    let capset = Sysno::capset.id();
    process.enter(&thread, seccomp_kernel::Arch::X86_64, capset, [0; 6]);
    assert_eq!(process.install_extension(&thread, NONE, &ret(ALLOW), &[]), Err(Errno::EACCES));
    thread.set_no_new_privs();
    assert_eq!(process.install_extension(&thread, NONE, &ret(ALLOW), &[]), Ok(0));
}

#[test]
fn what_is_wrong_with_an_extension_is_refused_and_changes_nothing() {
    let array = map(MapKind::Array, 4, 8, 1);
    let allow = ret(ALLOW);
    let long = vec![allow[0]; MAX_INSNS + 1];
    let many = vec![array; MAX_EXTENSION_MAPS + 1];
    let read_only = with(array, ExtensionMapFlags::READ_ONLY);
    let writes = asm("*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map[0]; call 1
         if r0 == 0 goto +1; *(u64 *)(r0 +0) = 1; w0 = 0; exit");
    let unsafe_program = asm("r0 = *(u64 *)(r1 +64); exit");
    let rows: [(&str, &[Insn], &[SeccompExtensionMap], Errno); 15] = [
        ("no instruction", &[], &[], Errno::EINVAL),
        ("too long", &long, &[], Errno::EINVAL),
        ("too many maps", &allow, &many, Errno::EINVAL),
        ("unsafe", &unsafe_program, &[], Errno::EINVAL),
        ("a map that is not there", &asm("r1 = map[0]; w0 = 0; exit"), &[], Errno::EINVAL),
        ("a kind of map", &allow, &[SeccompExtensionMap { kind: 6, ..array }], Errno::EINVAL),
        ("flags of a map", &allow, &[SeccompExtensionMap { flags: 1, ..array }], Errno::EINVAL),
        ("a reserved field", &allow, &[SeccompExtensionMap { reserved: 1, ..array }], Errno::EINVAL),
        ("sizes of a map", &allow, &[SeccompExtensionMap { key_size: 8, ..array }], Errno::EINVAL),
        ("values of a hash", &allow, &[SeccompExtensionMap { kind: 1, values: 64, ..array }], Errno::EINVAL),
        ("values that are not there", &allow, &[SeccompExtensionMap { values: 64, ..array }], Errno::EFAULT),
        ("a write to a map that is read-only", &writes, &[read_only], Errno::EINVAL),
        ("memory", &allow, &[SeccompExtensionMap { max_entries: 1 << 17, ..array }], Errno::EINVAL),
        ("memory of small values", &allow, &[map(MapKind::Array, 4, 1, 100_000)], Errno::EINVAL),
        ("memory of a ring", &allow, &[map(MapKind::Ring, 0, 0, 1 << 21)], Errno::EINVAL),
    ];
    let process = process();
    let thread = process.leader();
    for (name, insns, maps, errno) in rows {
        assert_eq!(process.install_extension(&thread, NONE, insns, maps), Err(errno), "{name}");
    }
    let insns =
        process.memory().add(allow.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<_>>().as_slice());
    let good = SeccompExtension { insn_count: 2, map_count: 0, insns, maps: 0, flags: 0, reserved: 0 };
    let rows = [
        ("flags", SeccompExtension { flags: 2, ..good }, Errno::EINVAL),
        ("reserved", SeccompExtension { reserved: 1, ..good }, Errno::EINVAL),
        ("instructions that are not there", SeccompExtension { insns: 64, ..good }, Errno::EFAULT),
        ("and maps", SeccompExtension { map_count: 1, maps: 64, ..good }, Errno::EFAULT),
        ("past the end", SeccompExtension { insns: u64::MAX - 7, ..good }, Errno::EFAULT),
        (
            "copies that are not used",
            SeccompExtension { flags: ExtensionFlags::RELIES_ON_COPIES.bits(), ..good },
            Errno::EOPNOTSUPP,
        ),
    ];
    for (name, extension, errno) in rows {
        assert_eq!(process.install_raw_extension(&thread, NONE, &extension), Err(errno), "{name}");
    }
    assert_eq!(thread.seccomp().filter_count(), 0);
    assert_eq!(process.install_raw_extension(&thread, NONE, &good), Ok(0));
    assert_eq!(process.install_extension(&thread, NONE, &allow, &many[1..]), Ok(0));
    assert_eq!(process.install_extension(&thread, NONE, &writes, &[array]), Ok(0));
    assert_eq!(thread.seccomp().filter_count(), 3);
}

/// A mebibyte is granted.
#[test]
fn the_maps_of_all_extensions_of_a_thread_share_what_is_granted() {
    let process = process();
    let thread = process.leader();
    let half = SeccompExtensionMap { max_entries: 1 << 19, ..map(MapKind::Ring, 0, 0, 0) };
    let allow = ret(ALLOW);
    process.install_extension(&thread, NONE, &allow, &[half]).expect("half of it");
    attach(&process.caller(&thread), check(vec![SockFilter::new(0x06, 0, 0, ALLOW)]).unwrap(), NONE).unwrap();
    assert_eq!(process.install_extension(&thread, NONE, &allow, &[half, half]), Err(Errno::EINVAL));
    process.install_extension(&thread, NONE, &allow, &[half]).expect("the other half");
    let smallest = map(MapKind::Array, 4, 1, 1);
    assert_eq!(process.install_extension(&thread, NONE, &allow, &[smallest]), Err(Errno::EINVAL));
    assert_eq!(process.install_extension(&thread, NONE, &allow, &[]), Ok(0));
    let other = Process::new(EngineKind::DEFAULT, Faults::default()).granting_extensions();
    assert_eq!(other.install_extension(&other.leader(), NONE, &allow, &[smallest]), Ok(0));
}

#[test]
fn a_filter_that_counts_does_so_on_every_engine() {
    for process in processes() {
        let thread = process.leader();
        let map = map(MapKind::TaskStorage, 4, 4, 8);
        process.install_extension(&thread, NONE, &at_most(2), &[map]).expect("a filter");
        let answers: Vec<_> = (0..4).map(|_| getppid(&process, &thread)).collect();
        assert_eq!(answers, [SOME_PID, SOME_PID, -1, -1]);
        assert_eq!(storage(&maps(&thread)[0], process.task_ids(&thread).thread), Some(2));
    }
}

#[test]
fn arrays_begin_with_the_values_that_they_are_given_and_can_be_frozen() {
    for process in processes() {
        let thread = process.leader();
        let values = process.memory().add([ALLOW, ERRNO | 7].map(u32::to_ne_bytes).as_flattened());
        let flags = ExtensionMapFlags::READ_ONLY | ExtensionMapFlags::FROZEN;
        let map = with(SeccompExtensionMap { values, ..map(MapKind::Array, 4, 4, 2) }, flags);
        let program = asm("*(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = map[0]; call 1
             if r0 == 0 goto +2; w0 = *(u32 *)(r0 +0); exit; w0 = 0; exit");
        process.install_extension(&thread, NONE, &program, &[map]).expect("a filter");
        assert_eq!(getppid(&process, &thread), -7);
        let update = maps(&thread)[0].update(&1_u32.to_ne_bytes(), &[0; 4], Update::Any);
        assert!(update.is_err());
    }
}

#[test]
fn a_thread_or_a_group_has_its_storage_and_a_child_what_it_is_to_have() {
    let group = ExtensionMapFlags::THREAD_GROUP;
    let copy = ExtensionMapFlags::COPY;
    // What the parent, a new thread and a new process may still do of four, when the parent has done one.
    let rows = [
        (ExtensionMapFlags::empty(), [3, 4, 4]),
        (copy, [3, 3, 3]),
        (group, [3, 3, 4]),
        // The parent and the thread count together.
        (group | copy, [3, 3, 3]),
    ];
    for (flags, left) in rows {
        let process = process();
        let parent = process.leader();
        let map = with(map(MapKind::TaskStorage, 4, 4, 8), flags);
        process.install_extension(&parent, NONE, &at_most(4), &[map]).expect("a filter");
        assert_eq!(getppid(&process, &parent), SOME_PID);
        let thread = process.spawn(&parent);
        let child = process.fork(&parent);
        let allowed = |process: &Process, thread: &Thread| {
            (0..8).filter(|_| getppid(process, thread) == SOME_PID).count()
        };
        let counted = [allowed(&child, &child.leader()), allowed(&process, &parent)];
        assert_eq!(counted, [left[2], left[0]], "{flags:?}");
        let of_thread = allowed(&process, &thread);
        assert_eq!(of_thread, if flags.contains(group) { 0 } else { left[1] }, "{flags:?}");

        // It ends with them.
        let map = maps(&parent).remove(0);
        let ids = process.task_ids(&thread);
        let exit = Sysno::exit.id();
        process.enter(&thread, seccomp_kernel::Arch::X86_64, exit, [0; 6]);
        assert_eq!(storage(&map, ids.thread).is_some(), flags.contains(group) && ids.thread == ids.group);
        assert!(storage(&map, ids.group).is_some(), "{flags:?}");
        process.enter(&parent, seccomp_kernel::Arch::X86_64, exit, [0; 6]);
        assert_eq!(storage(&map, ids.group), None, "{flags:?}");
    }
}

#[test]
fn a_child_whose_storage_has_no_place_has_nothing_of_it() {
    let process = process();
    let parent = process.leader();
    let copied = |entries| with(map(MapKind::TaskStorage, 4, 4, entries), ExtensionMapFlags::COPY);
    process.install_extension(&parent, NONE, &at_most(4), &[copied(1)]).expect("a filter");
    // The newest comes first, and has a copy when there is no place for the older one's.
    process.install_extension(&parent, NONE, &at_most(4), &[copied(2)]).expect("a filter");
    let with_room = maps(&parent).remove(0);
    // What is behind which key is this kernel's secret.
    assert_eq!(with_room.options().seed, [1, 2]);
    assert_eq!(getppid(&process, &parent), SOME_PID);
    let ids = process.task_ids(&parent);
    let child = TaskIds { thread: 1_000_000, group: 1_000_000 };
    assert!(parent.seccomp().task_forked(ids, child).is_err());
    assert_eq!(storage(&with_room, child.thread), None);
    assert_eq!(storage(&with_room, ids.thread), Some(1));
}

/// Whoever is left in the group without the filter never asks for it.
#[test]
fn storage_of_a_group_ends_with_its_last_thread_that_has_the_filter() {
    let process = process();
    let (parent, other) = (process.leader(), process.spawn(&process.leader()));
    let map = with(map(MapKind::TaskStorage, 4, 4, 8), ExtensionMapFlags::THREAD_GROUP);
    process.install_extension(&parent, NONE, &at_most(4), &[map]).expect("a filter");
    let child = process.spawn(&parent);
    process.install_extension(&child, NONE, &at_most(4), &[map]).expect("a filter");
    // One of another branch, which shares nothing but the oldest.
    let cousin = process.spawn(&parent);
    process.install_extension(&cousin, NONE, &at_most(4), &[map]).expect("a filter");
    let group = process.task_ids(&parent).group;
    let [older, newer, branch] = [&parent, &child, &cousin].map(|thread| maps(thread).remove(0));
    assert_eq!([&child, &cousin].map(|thread| getppid(&process, thread)), [SOME_PID; 2]);

    let remembered = |left: &Thread| {
        process.enter(left, seccomp_kernel::Arch::X86_64, Sysno::exit.id(), [0; 6]);
        [&older, &newer, &branch].map(|map| storage(map, group))
    };
    assert_eq!(remembered(&child), [Some(2), None, Some(1)]);
    assert_eq!(remembered(&parent), [Some(2), None, Some(1)]);
    assert_eq!(remembered(&cousin), [None; 3]);
    assert_eq!(getppid(&process, &other), SOME_PID);
}

/// Whatever has been put on top of it.
#[test]
fn storage_of_older_filters_ends_with_its_thread_too() {
    let process = process();
    let thread = process.leader();
    let storage_of = |thread: &Thread| storage(&maps(thread)[0], process.task_ids(thread).thread);
    let map = map(MapKind::TaskStorage, 4, 4, 8);
    process.install_extension(&thread, NONE, &at_most(2), &[map]).expect("a filter");
    let older = maps(&thread).remove(0);
    process.install_extension(&thread, NONE, &at_most(2), &[map]).expect("a filter");
    assert_eq!(getppid(&process, &thread), SOME_PID);
    assert_eq!((storage_of(&thread), storage(&older, process.task_ids(&thread).thread)), (Some(1), Some(1)));
    attach(&process.caller(&thread), check(vec![SockFilter::new(0x06, 0, 0, ALLOW)]).unwrap(), NONE).unwrap();
    thread.seccomp().task_exited(process.task_ids(&thread), []);
    assert_eq!(storage(&older, process.task_ids(&thread).thread), None);
}

/// Linux's cache has no extensions, so it cannot know what one allows.
#[test]
fn the_cache_of_linux_knows_of_no_extension() {
    let process = process();
    let thread = process.leader();
    process.install_extension(&thread, NONE, &ret(ALLOW), &[]).expect("a filter");
    let cache =
        SeccompCache::new(&[seccomp_kernel::Arch::X86_64], true, thread.seccomp()).unwrap().to_string();
    assert!(cache.contains("x86_64 39 FILTER"), "{cache}");
}

#[test]
fn siblings_get_an_extension_and_its_memory_with_tsync() {
    for process in processes() {
        let (a, b) = (process.leader(), process.spawn(&process.leader()));
        let map = with(map(MapKind::TaskStorage, 4, 4, 8), ExtensionMapFlags::THREAD_GROUP);
        process.install_extension(&a, FilterFlags::TSYNC, &at_most(2), &[map]).expect("a filter");
        assert_eq!([getppid(&process, &a), getppid(&process, &b)], [SOME_PID; 2]);
        assert_eq!([getppid(&process, &a), getppid(&process, &b)], [-1; 2]);
    }
}

/// Of any stack of both kinds, the strictest answer counts, that of the newest among equals.
#[test]
fn stacks_of_both_kinds_answer_as_the_strictest_of_them() {
    let seed = generate::seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    println!("SECCOMP_SEED={seed}");
    let actions =
        [0x8000_0000, 0, 0x0003_0000, ERRNO, 0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, ALLOW, 0x0004_0000];
    for engine in Engine::all() {
        for _ in 0..60 {
            let process = Process::new(engine, Faults::default()).granting_extensions();
            let thread = process.leader();
            let mut values = Vec::new();
            for _ in 0..rng.random_range(1..6) {
                let data: u16 = rng.random_range(0..4);
                let value = actions[rng.random_range(0..actions.len())] | u32::from(data);
                // On one of two numbers, or on an argument, or always.
                let (classic, extension) = match rng.random_range(0..3) {
                    0 => (
                        format!("ld [0] jne #110, other ret #{value} other: ret #{ALLOW}"),
                        format!(
                            "r2 = *(u32 *)(r1 +0); if r2 != 110 goto +2; w0 = {}; exit; w0 = {ALLOW}; exit",
                            value.cast_signed()
                        ),
                    ),
                    1 => (
                        format!("ld [16] jne #7, other ret #{value} other: ret #{ALLOW}"),
                        format!(
                            "r2 = *(u32 *)(r1 +16); if r2 != 7 goto +2; w0 = {}; exit; w0 = {ALLOW}; exit",
                            value.cast_signed()
                        ),
                    ),
                    _ => (format!("ret #{value}"), format!("w0 = {}; exit", value.cast_signed())),
                };
                let names = |_: &str| None;
                let insns: Vec<SockFilter> =
                    cbpf_translator::asm::assemble(&classic, &names).expect("a program");
                if rng.random() {
                    process.install_extension(&thread, NONE, &asm(&extension), &[]).expect("a filter");
                } else {
                    attach(&process.caller(&thread), check(insns.clone()).expect("a program"), NONE)
                        .expect("a filter");
                }
                values.insert(0, insns);
            }
            for (nr, arg) in [(110, 7), (110, 0), (39, 7), (39, 0), (-1, 7)] {
                let mut data = SeccompData { nr, arch: X86_64, ..Default::default() };
                data.args[0] = arg;
                let alone: Vec<_> = values
                    .iter()
                    .map(|insns| {
                        let checked = check(insns.clone()).expect("a program");
                        seccomp_runtime::Loaded::load(
                            checked,
                            EngineKind::Native,
                            &seccomp_runtime::NoExecMemory,
                        )
                        .expect("memory")
                        .run(&data)
                    })
                    .collect();
                let (expected, _) = strictest(alone.into_iter().zip(0..)).expect("a filter");
                // A copy, because a verdict can kill.
                let state = thread.seccomp().inherit();
                let host = mock::NoAnswers;
                let decision = evaluate(&state, &data, Pass::Entry, LogMask::default(), Some(&host));
                let allows = Action::of(expected) == Action::Allow;
                assert!(
                    decision.value == expected || allows && Action::of(decision.value) == Action::Allow,
                    "{decision:?} {expected:x} {data:x?}"
                );
            }
        }
    }
}

#[test]
fn an_extension_kills_where_the_kernel_answers_nothing() {
    let process = process();
    let thread = process.leader();
    process
        .install_extension(&thread, NONE, &at_most(4), &[map(MapKind::TaskStorage, 4, 4, 8)])
        .expect("a filter");
    let data = SeccompData { nr: Sysno::getppid.id(), arch: X86_64, ..Default::default() };
    let decision = evaluate(thread.seccomp(), &data, Pass::Entry, LogMask::default(), None);
    assert!(matches!(decision.verdict, Verdict::KillProcess(_)), "{decision:?}");
}

#[test]
fn what_number_and_architecture_decide_is_planned_and_the_rest_is_not() {
    let process = Process::new(Engine { kind: EngineKind::DEFAULT, plan: true }, Faults::default())
        .granting_extensions();
    let thread = process.leader();
    process
        .install_extension(&thread, NONE, &at_most(4), &[map(MapKind::TaskStorage, 4, 4, 8)])
        .expect("a filter");
    let program = thread.seccomp().filter().expect("a filter").program();
    let getppid = Sysno::getppid.id();
    for nr in 0..512 {
        let known = if nr == getppid { Planned::Whole } else { Planned::Constant(ALLOW) };
        assert_eq!(program.plan_of(X86_64, nr), known, "{nr}");
    }
    // Without a host, what is planned answers all the same.
    let data = SeccompData { nr: 1, arch: X86_64, ..Default::default() };
    let decision = evaluate(thread.seccomp(), &data, Pass::Entry, LogMask::default(), None);
    assert_eq!(decision.verdict, Verdict::Proceed);
}

#[test]
fn long_extensions_fill_a_path_as_long_filters_do() {
    let process = process();
    let thread = process.leader();
    let long = asm(&"r0 = 0;".repeat(16_383)).into_iter().chain(asm("exit")).collect::<Vec<_>>();
    assert_eq!(process.install_extension(&thread, NONE, &long, &[]), Ok(0));
    assert_eq!(process.install_extension(&thread, NONE, &long, &[]), Err(Errno::ENOMEM));
    // 32,768 - 16,384 - 4.
    assert_eq!(process.install_extension(&thread, NONE, &long[4..], &[]), Ok(0));
}

#[test]
fn a_debugger_is_told_that_there_is_no_classic_program() {
    let process = process();
    let debugger = process.leader();
    let traced = process.spawn(&debugger);
    process.install_extension(&traced, NONE, &ret(ALLOW), &[]).expect("a filter");
    let request = Request::GetFilter { index: 0, program: 0 };
    let answer = request.serve(&process.caller(&debugger), true, traced.seccomp());
    assert_eq!(answer, Err(IntrospectError::NotClassic));
    assert_eq!(Errno::from(IntrospectError::NotClassic), Errno::EMEDIUMTYPE);
}

#[test]
fn structures_are_as_c_has_them() {
    let described = SeccompExtensionMap {
        kind: 1,
        key_size: 2,
        value_size: 3,
        max_entries: 4,
        flags: 5,
        reserved: 6,
        values: 7 << 32 | 8,
    };
    let bytes: [u8; SeccompExtensionMap::SIZE] = map_bytes(&described).try_into().expect("its size");
    assert_eq!(SeccompExtensionMap::from_ne_bytes(bytes), described);
    // The message names what is wrong.
    let error = InstallError::Extension(seccomp_kernel::ExtensionError::MapFields { map: 3 });
    assert!(error.to_string().starts_with("map 3: "), "{error}");
}
