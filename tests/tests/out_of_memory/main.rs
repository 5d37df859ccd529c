//! Memory that ends: at every allocation that the library makes, in everything that it does.
//!
//! An operation is done once with memory, and its allocations are counted. Then it is done again for each of them: that
//! one alone is refused; it and all later ones are; and there are so few bytes that this one would not fit. Each time
//! the operation has the result that it has with memory, or it fails with ENOMEM and everything is as it was: modes,
//! filters and their counts, listeners, descriptors, maps, and not a byte is kept. Then it is done with memory, and
//! works.
//!
//! What allocates infallibly ends the process where it is refused. So each operation has a process of its own, which
//! says what it is about to do; if it dies, the next one goes on behind that, and all places are in the failure.
//!
//! rbpf allocates infallibly, and so does an `Arc`. Their allocations are known by the stacks that they are made on, and
//! are not refused one by one. Instead, each has to follow a probe directly: allocations that may be refused, were held
//! at once, and were given back, of at least as many bytes together and in the largest. The limits in bytes refuse them
//! too, and a probe that has passed has to be enough.
//!
//! The kernel around the library is the test's, and gets all memory that it wants.

mod allocator;
mod kernel;
mod notify;
mod sizes;

use std::env;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;

use cbpf_translator::SockFilter;
use seccomp_kernel::uapi::{
    ExtensionMapFlags, FilterFlags, SECCOMP_SET_MODE_FILTER, SeccompExtension, SeccompExtensionMap,
};
use seccomp_kernel::{Arch, Pass, Thread as _, evaluate, syscall};
use seccomp_runtime::verifier::MapKind;
use seccomp_runtime::{EngineKind, SeccompData};
use seccomp_tests::extension::Host;
use seccomp_tests::mock::{self, Engine, Faults, Process, Thread};
use seccomp_tests::verifier::asm::assemble;
use syscalls::Errno;

use allocator::{Allocation, Origin, Rule, recorded, spared, under};
use kernel::Spared;

const GETPPID: i32 = 110;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// What says to the child which operation to do, and with which attempt to begin.
const OPERATION: &str = "SECCOMP_MEMORY_OPERATION";
const BEGIN: &str = "SECCOMP_MEMORY_BEGIN";

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// A classic filter for all threads, with a listener.
    Install,
    /// A classic filter of 4096 instructions.
    InstallLongest,
    /// An eBPF filter for all threads, with maps of all kinds and a listener.
    InstallExtension,
    /// A decision by both kinds.
    Decide,
    /// A thread and a process are born, with copies of what extensions remember.
    Fork,
}

/// Operations and the engines that they are done on.
fn operations() -> Vec<(Operation, Engine)> {
    let all = |operation| Engine::all().map(move |engine| (operation, engine));
    let longest = EngineKind::ALL.map(|kind| (Operation::InstallLongest, kind.into()));
    all(Operation::Install)
        .chain(all(Operation::InstallExtension))
        .chain(all(Operation::Decide))
        .chain(longest)
        .chain([(Operation::Fork, EngineKind::DEFAULT.into())])
        .collect()
}

/// Some kernel, where an operation is about to be done.
struct World {
    process: Process,
    threads: Vec<Arc<Thread>>,
    operation: Operation,
    argument: u64,
}

impl World {
    fn new(operation: Operation, engine: Engine) -> Self {
        let process = Process::new(engine, Faults::default()).granting_extensions();
        let leader = process.leader();
        let mut threads = vec![Arc::clone(&leader)];
        // What the operation comes on top of; one thread has it and one has nothing.
        threads.push(process.spawn(&leader));
        let maps = maps(&process);
        let flags = FilterFlags::empty();
        assert_eq!(process.install(&leader, flags.bits(), &by_arguments(7)), Ok(0));
        assert_eq!(process.install_extension(&leader, flags, &everything(), &maps), Ok(0));
        threads.push(process.spawn(&leader));
        let memory = process.memory();
        let classic = |program: Vec<SockFilter>| {
            let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
            memory.add(&mock::fprog(Arch::X86_64, program.len() as u16, memory.add(&bytes)))
        };
        let argument = match operation {
            Operation::Install => classic(by_arguments(5)),
            Operation::InstallLongest => classic(longest()),
            Operation::InstallExtension => extension(&process, &maps),
            Operation::Decide | Operation::Fork => 0,
        };
        Self { process, threads, operation, argument }
    }

    /// Does it.
    fn operate(&self) -> Result<Vec<u32>, Errno> {
        let leader = &self.threads[0];
        let install = |flags: FilterFlags| {
            let kernel = Spared(self.process.caller(leader));
            let op = SECCOMP_SET_MODE_FILTER;
            syscall::seccomp(&kernel, Arch::X86_64, op, flags.bits(), self.argument)
        };
        let all =
            FilterFlags::TSYNC | FilterFlags::TSYNC_ESRCH | FilterFlags::NEW_LISTENER | FilterFlags::LOG;
        match self.operation {
            Operation::Install => install(all).map(|fd| spared(|| vec![fd.cast_unsigned()])),
            Operation::InstallLongest => install(FilterFlags::TSYNC).map(|_| Vec::new()),
            Operation::InstallExtension => {
                install(all | FilterFlags::EXTENSION).map(|fd| spared(|| vec![fd.cast_unsigned()]))
            }
            Operation::Decide => {
                let mut values = spared(Vec::new);
                for thread in &self.threads {
                    self.decide(thread, &mut values);
                }
                Ok(values)
            }
            Operation::Fork => {
                let parent = self.process.task_ids(leader);
                let child = |thread, group| seccomp_kernel::TaskIds { thread, group };
                let mut counts = spared(Vec::new);
                for child in [child(5000, parent.group), child(6000, 6000)] {
                    let state = leader.seccomp().inherit();
                    leader.seccomp().task_forked(parent, child).map_err(|_| Errno::ENOSPC)?;
                    let count = state.filter_count();
                    drop(state.exit());
                    state.task_exited(child, []);
                    spared(|| counts.push(count));
                }
                Ok(counts)
            }
        }
    }

    /// What a thread's filters say about a few calls.
    fn decide(&self, thread: &Thread, values: &mut Vec<u32>) {
        let host = spared(Host::default);
        for nr in [0, 1, GETPPID, 435, 1_000_000] {
            for arg in [0, 3, u64::MAX] {
                let args = [arg; 6];
                let arch = Arch::X86_64.audit_arch();
                let data = SeccompData { nr, arch, instruction_pointer: 0x40_1002, args };
                let decision =
                    evaluate(thread.seccomp(), &data, Pass::Entry, Default::default(), Some(&host));
                spared(|| values.push(decision.value));
            }
        }
        spared(|| drop(host));
    }

    /// All that can be seen of it.
    fn state(&self) -> String {
        let mut state = format!("{:?}\n", self.process.open_files());
        for thread in &self.threads {
            let _ = writeln!(state, "{thread:?} {:?}", thread.seccomp().filter());
        }
        state
    }
}

/// A classic filter that answers `value` to getppid with some arguments, and whose residual is long.
fn by_arguments(value: u16) -> Vec<SockFilter> {
    let insn = SockFilter::new;
    let mut program = vec![
        insn(0x20, 0, 0, 4),
        insn(0x15, 1, 0, Arch::X86_64.audit_arch()),
        insn(0x06, 0, 0, ALLOW),
        insn(0x20, 0, 0, 0),
        insn(0x15, 1, 0, GETPPID.cast_unsigned()),
        insn(0x06, 0, 0, ALLOW),
        insn(0x20, 0, 0, 16),
    ];
    for arg in 0..30 {
        program.extend([
            insn(0x04, 0, 0, 3),
            insn(0x15, 0, 1, 1000 + arg),
            insn(0x06, 0, 0, ERRNO | u32::from(value)),
        ]);
    }
    program.extend([
        insn(0x15, 0, 1, 93),
        insn(0x06, 0, 0, ERRNO | u32::from(value)),
        insn(0x06, 0, 0, ALLOW),
    ]);
    program
}

/// As many instructions as there can be, each of which becomes as many as can be.
fn longest() -> Vec<SockFilter> {
    let insn = SockFilter::new;
    let mut program = vec![insn(0x20, 0, 0, 16), insn(0x07, 0, 0, 0)];
    // A is divided by itself, and then compared with a number that does not fit an immediate.
    while program.len() < 4094 {
        program.extend([insn(0x3c, 0, 0, 0), insn(0x15, 1, 0, 0xffff_ffff)]);
    }
    program.extend([insn(0x06, 0, 0, ALLOW), insn(0x06, 0, 0, ALLOW)]);
    program
}

/// The maps of [`everything`].
fn maps(process: &Process) -> Vec<SeccompExtensionMap> {
    let map = |kind: MapKind, key_size, value_size, max_entries, flags: ExtensionMapFlags| {
        let (kind, flags) = (kind.number(), flags.bits());
        SeccompExtensionMap { kind, key_size, value_size, max_entries, flags, reserved: 0, values: 0 }
    };
    let (plain, known) =
        (ExtensionMapFlags::empty(), ExtensionMapFlags::READ_ONLY | ExtensionMapFlags::FROZEN);
    let values = process.memory().add(&[9; 64]);
    vec![
        map(MapKind::Array, 4, 16, 4, plain),
        map(MapKind::Hash, 4, 16, 8, plain),
        map(MapKind::LruHash, 4, 16, 8, plain),
        map(MapKind::TaskStorage, 4, 16, 8, ExtensionMapFlags::COPY),
        map(MapKind::TaskStorage, 4, 16, 8, ExtensionMapFlags::COPY | ExtensionMapFlags::THREAD_GROUP),
        map(MapKind::Ring, 0, 0, 4096, plain),
        SeccompExtensionMap { values, ..map(MapKind::Array, 4, 16, 4, known) },
    ]
}

/// An eBPF filter that uses all of its maps, loops, calls, and answers getppid with how often it was asked.
fn everything() -> Vec<cbpf_translator::Insn> {
    let mut text = format!(
        "r6 = *(u32 *)(r1 +0); if r6 != {GETPPID} goto allow
         r6 = *(u64 *)(r1 +16); *(u64 *)(r10 -8) = r6; *(u64 *)(r10 -16) = r6; *(u64 *)(r10 -24) = r6; r7 = 0\n"
    );
    for map in 0..3 {
        let key = format!("r1 = map[{map}]; r2 = r10; r2 += -8;");
        text += &format!("{key} r3 = r10; r3 += -24; r4 = 0; call 2\n");
        text += &format!("{key} call 1; if r0 == 0 goto +1; r7 = *(u64 *)(r0 +8)\n");
    }
    for (map, storage) in [(3, "r9"), (4, "r8")] {
        text += &format!("{storage} = 0; r1 = map[{map}]; r2 = 0; r3 = 0; r4 = 1; call 156\n");
        text += &format!("if r0 == 0 goto allow; {storage} = *(u64 *)(r0 +8); {storage} += 1\n");
        text += &format!("*(u64 *)(r0 +8) = {storage}\n");
    }
    text += &format!(
        "r1 = map[5]; r2 = r10; r2 += -24; r3 = 24; r4 = 0; call 130
         r1 = map[5]; r2 = 24; r3 = 0; call 131; if r0 == 0 goto +4
         *(u64 *)(r0 +16) = 5; r1 = r0; r2 = 0; call 132
         *(u32 *)(r10 -4) = 1; r1 = map[6]; r2 = r10; r2 += -4; call 1; if r0 == 0 goto +1; r7 = *(u32 *)(r0 +0)
         call 5; call 7; call 14; call 15; r1 = 0; call count
         r8 &= 255; r0 = r8; r0 |= {}; exit
allow:   w0 = {ALLOW}; exit
count:   r6 = r10; r6 += -8; *(u64 *)(r6 +0) = r1; r0 = 0
again:   r0 += 1; if r0 < 20 goto again; exit",
        ERRNO,
    );
    assemble(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// The address of the description of [`everything`].
fn extension(process: &Process, maps: &[SeccompExtensionMap]) -> u64 {
    let memory = process.memory();
    let program = everything();
    let insns = memory.add(&program.iter().flat_map(|insn| insn.to_le_bytes()).collect::<Vec<u8>>());
    let maps_at = memory.add(&maps.iter().flat_map(mock::map_bytes).collect::<Vec<u8>>());
    memory.add(&mock::extension_bytes(&SeccompExtension {
        insn_count: program.len() as u32,
        map_count: maps.len() as u32,
        insns,
        maps: maps_at,
        flags: 0,
        reserved: 0,
    }))
}

/// All attempts at an operation from the one of index `begin` on, in this process.
fn attempts(operation: Operation, engine: Engine, begin: usize) {
    let world = World::new(operation, engine);
    let (expected, allocations) = recorded(|| world.operate());
    let mut decisions = Vec::new();
    world.threads.iter().for_each(|thread| world.decide(thread, &mut decisions));
    drop(world);

    check_probes(&allocations);
    let of = |origin| move |(_, allocation): &(usize, &Allocation)| allocation.origin == origin;
    let refused_alone = allocations.iter().enumerate().filter(|place| !of(Origin::Infallible)(place));
    let mut rules: Vec<Rule> =
        refused_alone.flat_map(|(index, _)| [Rule::Only(index), Rule::From(index)]).collect();
    let mut sizes: Vec<usize> = allocations.iter().map(|allocation| allocation.live - 1).collect();
    sizes.sort_unstable();
    sizes.dedup();
    rules.extend(sizes.into_iter().map(Rule::Bytes));

    let (mut same, mut refused) = (0, 0);
    for (index, rule) in rules.iter().enumerate().skip(begin) {
        println!("\nattempt {index} {rule:?}");
        let world = World::new(operation, engine);
        let before = world.state();
        let (result, account) = under(*rule, || world.operate());
        assert!(account.refused > 0 || matches!(rule, Rule::Bytes(_)), "{rule:?} refused nothing");
        match result {
            Err(Errno::ENOMEM) => {
                refused += 1;
                assert_eq!(account.live, 0, "bytes are kept");
                assert_eq!(world.state(), before);
                assert_eq!(world.operate(), expected, "with memory");
            }
            result => {
                same += 1;
                assert_eq!(result, expected);
            }
        }
        let mut now = Vec::new();
        world.threads.iter().for_each(|thread| world.decide(thread, &mut now));
        assert_eq!(now, decisions);
    }
    let count = |origin| allocations.iter().enumerate().filter(of(origin)).count();
    let largest = allocations.iter().map(|allocation| allocation.size).max().unwrap_or(0);
    println!(
        "\nfigures {operation:?} {} {}: {} fallible, {} probes, {} infallible, the largest {largest}; {} attempts, \
         {refused} ENOMEM, {same} the same",
        engine.kind.name(),
        if engine.plan { "planned" } else { "whole" },
        count(Origin::Fallible),
        count(Origin::Probe),
        count(Origin::Infallible),
        rules.len(),
    );
}

/// Each run of infallible allocations follows probes, which were no less.
fn check_probes(allocations: &[Allocation]) {
    let mut runs = allocations.chunk_by(|one, next| one.origin == next.origin);
    let mut before: &[Allocation] = &[];
    let most = |run: &[Allocation], of: fn(&Allocation) -> usize| run.iter().map(of).max().unwrap_or(0);
    for run in &mut runs {
        if run.first().is_some_and(|first| first.origin == Origin::Infallible) {
            assert!(before.first().is_some_and(|first| first.origin == Origin::Probe), "no probe: {run:?}");
            for of in [|allocation: &Allocation| allocation.live, |allocation: &Allocation| allocation.size] {
                assert!(most(run, of) <= most(before, of), "{run:?} is more than {before:?}");
            }
        }
        before = run;
    }
}

#[test]
fn every_allocation_may_fail() {
    let operations = operations();
    if let (Ok(operation), Ok(begin)) = (env::var(OPERATION), env::var(BEGIN)) {
        let (operation, engine) = operations[operation.parse::<usize>().expect("an index")];
        return attempts(operation, engine, begin.parse().expect("an index"));
    }
    let mut failures = Vec::new();
    for (index, (operation, engine)) in operations.iter().enumerate() {
        let mut begin = 0;
        while let Some((attempt, rule, why)) = died(index, begin) {
            failures.push(format!("{operation:?} {engine:?}, attempt {attempt} {rule}: {why}"));
            begin = attempt + 1;
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Does an operation in a process of its own. If that dies: of which attempt, and how.
fn died(operation: usize, begin: usize) -> Option<(usize, String, String)> {
    let program = env::current_exe().expect("this program");
    let child = Command::new(program)
        .args(["--exact", "every_allocation_may_fail", "--nocapture", "--test-threads=1"])
        .env(OPERATION, operation.to_string())
        .env(BEGIN, begin.to_string())
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&child.stdout);
    said.lines().filter(|line| line.starts_with("figures ")).for_each(|line| println!("{line}"));
    if child.status.success() {
        return None;
    }
    let last = said.lines().rfind(|line| line.starts_with("attempt ")).map(str::to_owned);
    let words = String::from_utf8_lossy(&child.stderr);
    let words: Vec<&str> = words.lines().take(2).collect();
    let Some((attempt, rule)) =
        last.as_deref().and_then(|line| line.strip_prefix("attempt ")?.split_once(' '))
    else {
        panic!("operation {operation} cannot begin: {}: {}", child.status, words.join(" "));
    };
    let why = format!("{}: {}", child.status, words.join(" "));
    Some((attempt.parse().expect("an index"), rule.to_owned(), why))
}
