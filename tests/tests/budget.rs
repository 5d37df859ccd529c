//! What one decision of an extension may take.

use std::cell::Cell;
use std::sync::Arc;

use cbpf_translator::Insn;
use seccomp_kernel::uapi::{FilterFlags, SeccompExtensionMap};
use seccomp_kernel::{LogMask, Mode, Pass, Thread as _, Verdict, evaluate};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::verifier::{Environment, MapAccess, MapDescriptor, MapKind, Program, Verified, verify};
use seccomp_runtime::{
    Budget, EngineError, EngineKind, Extension, HELPERS, HelperHost, Map, MapOptions, RunError, SeccompData,
    TaskScope, UserFault, UserSpace,
};
use seccomp_tests::mock::{Engine, Faults, Process};
use seccomp_tests::verifier::asm::assemble;

/// All addresses can be read, and it is counted how much is.
#[derive(Default)]
struct Host {
    copied: Cell<u64>,
    lines: Cell<u64>,
}

impl HelperHost for Host {
    fn monotonic_ns(&self) -> u64 {
        1
    }

    fn pid(&self) -> u32 {
        1
    }

    fn tgid(&self) -> u32 {
        1
    }

    fn uid(&self) -> u32 {
        0
    }

    fn gid(&self) -> u32 {
        0
    }

    fn comm(&self) -> [u8; 16] {
        [0; 16]
    }

    fn task(&self, _: TaskScope) -> u64 {
        1
    }

    fn random(&self) -> u32 {
        4
    }

    fn copy_from_user(&self, _: u64, to: &mut [u8]) -> Result<(), UserFault> {
        self.copied.set(self.copied.get() + to.len() as u64);
        to.fill(1);
        Ok(())
    }

    fn trace(&self, line: &str) {
        self.lines.set(self.lines.get() + line.len() as u64);
    }
}

const KILL_PROCESS: u32 = 0x8000_0000;

const fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDescriptor {
    MapDescriptor { kind, key_size, value_size, max_entries, access: MapAccess::ReadWrite }
}

fn verified(insns: Vec<Insn>, maps: &[MapDescriptor]) -> Verified {
    let helpers = HELPERS.each_ref().map(|row| row.helper);
    verify(Program::new(insns), &Environment { maps, helpers: &helpers })
        .unwrap_or_else(|error| panic!("{error}"))
}

fn load(verified: &Verified, engine: EngineKind, budget: Budget) -> Extension {
    let maps = verified
        .maps()
        .iter()
        .map(|map| Arc::new(Map::new(*map, MapOptions::default(), &UserSpace).expect("memory")));
    let loaded = Extension::load(verified, maps.collect(), &HELPERS, engine, &HostExecMemory);
    loaded.expect("it is verified for these").with_budget(budget)
}

/// 60 MiB of user memory, 100,000 times over: hours.
const HOURS: &str = "r1 = map[0]; r2 = 0x3c00000; r3 = 0; call 131
    if r0 == 0 goto out; r6 = r0; r7 = 100000
    loop: r1 = r6; r2 = 0x3c00000; r3 = 4096; call 112
    r7 -= 1; if r7 != 0 goto loop
    r1 = r6; r2 = 0; call 133
    out: r0 = 0; exit";

#[test]
fn a_short_filter_cannot_run_for_hours() {
    let ring = map(MapKind::Ring, 0, 0, 1 << 26);
    let verified = verified(assemble(HOURS).expect("it is a program"), &[ring]);
    for engine in EngineKind::ALL {
        // As much as one event takes, and two copies.
        let bytes = 3 * 0x3c0_0000;
        for (budget, most) in [(Budget::DEFAULT, 1 << 20), (Budget { bytes, ..Budget::DEFAULT }, bytes)] {
            let host = Host::default();
            let loaded = load(&verified, engine, budget);
            assert_eq!((loaded.engine(), loaded.budget()), (engine, budget));
            assert_eq!(loaded.try_run(&SeccompData::default(), &host), Err(RunError::OverBudget));
            assert!(host.copied.get() <= most, "{} copied", host.copied.get());
            // What a run has reserved is in the ring until it is taken out.
            let loaded = load(&verified, engine, budget);
            assert_eq!(loaded.run(&SeccompData::default(), &host), KILL_PROCESS);
        }
    }
}

/// Each way in which helpers work for a program, in a loop that takes more than there is.
#[test]
fn whatever_helpers_do_counts() {
    let maps = [
        map(MapKind::Hash, 256, 1024, 8),
        map(MapKind::Ring, 0, 0, 4096),
        map(MapKind::TaskStorage, 4, 4096, 4),
    ];
    let clear: String = (1..=32).map(|word| format!("*(u64 *)(r10 -{}) = 0;", 8 * word)).collect();
    let loops: [(&str, &str); 9] = [
        ("lookup", "r1 = map[0]; r2 = r10; r2 += -256; call 1"),
        ("delete", "r1 = map[0]; r2 = r10; r2 += -256; call 3"),
        ("time", "call 5"),
        ("print", "r1 = r10; r1 += -256; r2 = 256; r3 = 0; r4 = 0; r5 = 0; call 6"),
        ("name", "r1 = r10; r1 += -256; r2 = 256; call 16"),
        ("copy", "r1 = r10; r1 += -256; r2 = 256; r3 = 0; call 112"),
        ("string", "r1 = r10; r1 += -256; r2 = 256; r3 = 0; call 114"),
        ("event", "r1 = map[1]; r2 = r10; r2 += -256; r3 = 256; r4 = 0; call 130"),
        ("storage", "r1 = map[2]; r2 = 0; r3 = 0; r4 = 1; call 156; r1 = map[2]; r2 = 0; call 157"),
    ];
    for (name, body) in loops {
        let text = format!("{clear} r6 = 20000; loop: {body}; r6 -= 1; if r6 != 0 goto loop; r0 = 0; exit");
        let verified = verified(assemble(&text).expect("it is a program"), &maps);
        for engine in EngineKind::ALL {
            let host = Host::default();
            let loaded = load(&verified, engine, Budget::DEFAULT);
            let answer = loaded.try_run(&SeccompData::default(), &host);
            assert_eq!(answer, Err(RunError::OverBudget), "{name} on {}", engine.name());
            assert!(host.copied.get() <= Budget::DEFAULT.bytes && host.lines.get() <= Budget::DEFAULT.bytes);
        }
    }
}

/// To the byte: what is there is enough, and one less is not.
#[test]
fn the_budget_is_the_same_on_every_engine() {
    let text = "r1 = r10; r1 += -8; r2 = 8; r3 = 0; call 112; call 5; r0 = 7; exit";
    let verified = verified(assemble(text).expect("it is a program"), &[]);
    let needed = 2 * Budget::CALL_BYTES + 8;
    for engine in EngineKind::ALL {
        for (bytes, expected) in
            [(needed, Ok(7)), (needed - 1, Err(RunError::OverBudget)), (0, Err(RunError::OverBudget))]
        {
            let loaded = load(&verified, engine, Budget { bytes, ..Budget::DEFAULT });
            assert_eq!(loaded.try_run(&SeccompData::default(), &Host::default()), expected, "{bytes}");
        }
    }
}

/// A look-up in an array is arithmetic, which the JIT's code does itself: instructions, on every engine.
#[test]
fn looking_into_arrays_takes_nothing_on_any_engine() {
    let arrays = [map(MapKind::Array, 4, 16, 4), map(MapKind::Array, 4, 24, 3)];
    // Where the map is known at the call, and where it is not.
    let known = "r1 = map[1]; r2 = r10; r2 += -4; call 1";
    let unknown = "r1 = map[0]; goto next; next: r2 = r10; r2 += -4; call 1";
    for look_up in [known, unknown] {
        let text = format!(
            "*(u32 *)(r10 -4) = 2; r6 = 20000; loop: {look_up}; r6 -= 1; if r6 != 0 goto loop
            if r0 == 0 goto out; *(u64 *)(r0 +8) = 7; r0 = 7; out: exit"
        );
        let verified = verified(assemble(&text).expect("it is a program"), &arrays);
        for engine in EngineKind::ALL {
            for bytes in [Budget::DEFAULT.bytes, 0] {
                let loaded = load(&verified, engine, Budget { bytes, ..Budget::DEFAULT });
                let answer = loaded.try_run(&SeccompData::default(), &Host::default());
                assert_eq!(answer, Ok(7), "{bytes} bytes on {}", engine.name());
            }
        }
    }
}

/// What helpers were to write and did not, because there was nothing left, is no window to what was there before: an
/// address that the program had stored, or what others left on the stack.
#[test]
fn an_overrun_shows_nothing_of_the_stack() {
    #[inline(never)]
    fn leave_something() {
        std::hint::black_box(&mut [0xa5_u8; 8192]);
    }
    let array = map(MapKind::Array, 4, 64, 1);
    for call in ["r3 = 0; call 112", "r3 = 0; call 114", "call 16"] {
        let text = format!(
            "r6 = map[0][0]+0; *(u64 *)(r10 -8) = r6
            r1 = r10; r1 += -64; r2 = 64; {call}
            r1 = *(u64 *)(r10 -8); *(u64 *)(r6 +0) = r1; r1 = *(u64 *)(r10 -64); *(u64 *)(r6 +8) = r1
            r0 = 0; exit"
        );
        let verified = verified(assemble(&text).expect("it is a program"), &[array]);
        for engine in EngineKind::ALL {
            for bytes in [0, Budget::CALL_BYTES, Budget::CALL_BYTES + 63] {
                let loaded = load(&verified, engine, Budget { bytes, ..Budget::DEFAULT });
                leave_something();
                let answer = loaded.try_run(&SeccompData::default(), &Host::default());
                assert_eq!(answer, Err(RunError::OverBudget));
                let mut seen = [0; 64];
                loaded.maps()[0].lookup(&[0; 4], &mut seen).expect("it is there");
                assert_eq!(seen, [0; 64], "{call}, {bytes} bytes on {}", engine.name());
            }
        }
    }
}

/// How often it loops the argument says: the verifier counts as often as it may be.
#[test]
fn instructions_are_counted_where_a_run_may_come_to_too_many() {
    let text = "r2 = *(u32 *)(r1 +16); r2 &= 1023; r0 = 0
        loop: if r2 == 0 goto out; r2 -= 1; r0 += 1; goto loop; out: exit";
    let verified = verified(assemble(text).expect("it is a program"), &[]);
    let with = |count: u64| SeccompData { args: [count, 0, 0, 0, 0, 0], ..SeccompData::default() };
    // Three, four a loop, and two.
    let needed = |count: usize| 3 + 4 * count + 2;
    for engine in EngineKind::ALL {
        let enough = load(&verified, engine, Budget { instructions: verified.visited(), ..Budget::DEFAULT });
        assert_eq!((enough.engine(), enough.fell_back()), (engine, None));
        let short = load(&verified, engine, Budget { instructions: needed(100), ..Budget::DEFAULT });
        let why = (engine != EngineKind::Native).then_some(EngineError::Budget);
        assert_eq!((short.engine(), short.fell_back()), (EngineKind::Native, why));
        for count in [0, 1, 100, 101, 1023] {
            let expected = Ok(count as u32);
            assert_eq!(enough.try_run(&with(count), &Host::default()), expected);
            let expected = if count <= 100 { expected } else { Err(RunError::OverBudget) };
            assert_eq!(short.try_run(&with(count), &Host::default()), expected);
        }
    }
}

/// What is known without running a program is what running it comes to.
#[test]
fn what_is_planned_keeps_to_the_budget() {
    const ARCH: u32 = 0xc000_003e;
    let text = format!("r0 = 0; {} exit", "r0 += 1;".repeat(20));
    let verified = verified(assemble(&text).expect("it is a program"), &[]);
    let data = SeccompData { nr: 39, arch: ARCH, ..SeccompData::default() };
    let planned = |filter: Extension| filter.planned([ARCH]).expect("there is memory");
    for engine in EngineKind::ALL {
        for (instructions, expected) in [(22, Ok(20)), (21, Err(RunError::OverBudget))] {
            let budget = Budget { instructions, ..Budget::DEFAULT };
            let before = planned(load(&verified, engine, budget));
            let after = planned(load(&verified, engine, Budget::DEFAULT)).with_budget(budget);
            for filter in [before, after] {
                assert_eq!(filter.try_run(&data, &Host::default()), expected, "{instructions}");
            }
        }
    }
}

#[test]
fn a_thread_whose_extension_takes_too_much_is_killed_with_its_process() {
    let text = format!("r2 = *(u32 *)(r1 +0); if r2 == 39 goto work; w0 = 0x7fff0000; exit; work: {HOURS}");
    let ring = SeccompExtensionMap {
        kind: MapKind::Ring.number(),
        key_size: 0,
        value_size: 0,
        max_entries: 1 << 19,
        flags: 0,
        reserved: 0,
        values: 0,
    };
    let insns = assemble(&text.replace("0x3c00000", "0x40000")).expect("it is a program");
    for engine in Engine::all() {
        let process = Process::new(engine, Faults::default()).granting_extensions();
        let thread = process.leader();
        assert_eq!(process.install_extension(&thread, FilterFlags::empty(), &insns, &[ring]), Ok(0));
        let decide = |nr: i32| {
            let data = SeccompData { nr, arch: 0xc000_003e, ..SeccompData::default() };
            evaluate(thread.seccomp(), &data, Pass::Entry, LogMask::default(), Some(&Host::default())).verdict
        };
        assert_eq!(decide(40), Verdict::Proceed);
        assert!(matches!(decide(39), Verdict::KillProcess(_)));
        assert_eq!(thread.seccomp().mode(), Mode::Dead);
    }
}
