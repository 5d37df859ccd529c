//! What clang makes of C: offered to our verifier and to Linux's, run with every check, and run on all engines.

#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cbpf_translator::Insn;
use cbpf_translator::disasm::EbpfListing;
use cbpf_translator::ebpf::{Instruction, Reg, Size};
use rand::Rng;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_rbpf::object::{FilterSection, Object};
use seccomp_runtime::verifier::{
    Environment, Helper, MapKind, Program, Verified, VerifyError, verify, verify_logged,
};
use seccomp_runtime::{EngineKind, Extension, HELPERS, Map};
use seccomp_tests::clang::compile;
use seccomp_tests::extension::Host;
use seccomp_tests::generate::{campaign, rng, seed};
use seccomp_tests::verifier::generate::input;
use seccomp_tests::verifier::host::{self, Judge};
use seccomp_tests::verifier::interpreter::{Claims, Run};

const LEVELS: [&str; 4] = ["-O0", "-O1", "-O2", "-O3"];
const CPUS: [&str; 3] = ["-mcpu=v1", "-mcpu=v2", "-mcpu=v3"];

/// One file as one level makes it.
struct Compiled {
    file: String,
    level: &'static str,
    cpu: &'static str,
    object: Object,
}

/// Every file at every level.
static COMPILED: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for path in files() {
        let source = fs::read_to_string(&path).expect("the file can be read");
        let file = path.file_name().expect("it has a name").display().to_string();
        for level in LEVELS {
            for cpu in CPUS {
                let object = compile(&source, &[level, cpu])
                    .and_then(|bytes| Object::parse(&bytes).map_err(|error| error.to_string()))
                    .unwrap_or_else(|error| panic!("{file} {level} {cpu}: {error}"));
                all.push(Compiled { file: file.clone(), level, cpu, object });
            }
        }
    }
    all
});

fn files() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = ["cases/c", "../examples/extensions"]
        .iter()
        .flat_map(|folder| fs::read_dir(here.join(folder)).expect("the folder is there"))
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    files
}

fn helpers() -> Vec<Helper> {
    HELPERS.iter().map(|row| row.helper).collect()
}

impl Compiled {
    fn verify(&self, filter: &FilterSection) -> Result<Verified, VerifyError> {
        let (maps, helpers) = (self.object.descriptors(), helpers());
        verify(Program::new(filter.insns.clone()), &Environment { maps: &maps, helpers: &helpers })
    }

    fn name(&self, filter: &FilterSection) -> String {
        format!("{} {}", self.file, filter.name)
    }
}

/// What of Linux's words tells that it refuses what ours accepts, and why ours does.
const BEYOND_LINUX: &[(&str, &str)] = &[
    ("dereference of modified ctx ptr", "Linux lets no moved pointer read the context"),
    ("reference leak", "what is reserved in a ring is submitted when the program ends"),
];

/// The same, of programs that load numbers from the upper halves of stack slots; most of `-O0` do. Linux keeps
/// numbers of 8 bytes and of lower halves, and of the others it knows nothing any more.
const UPPER_HALVES: &[&str] = &[
    "infinite loop detected",
    "jumps is too complex",
    "unbounded memory access",
    "unbounded variable-offset",
    "unbounded min value is not allowed",
    "makes fp pointer be out of bounds",
];

fn loads_upper_halves(insns: &[Insn]) -> bool {
    insns.iter().enumerate().any(|(pc, insn)| {
        let insn = Instruction::decode(*insn, insns.get(pc + 1).copied());
        matches!(insn, Ok(Instruction::Load { size: Size::Word, from, .. })
            if from.base == Reg::FRAME && from.off % 8 != 0)
    })
}

/// Filters that Linux lets its administrators load and that are wrong here.
#[rustfmt::skip]
const NOT_ALLOWED: &[(&str, &str)] = &[
    ("maps.c bad_short_key", "a key of stack that was not set, or that has part of an address in it"),
    ("memory.c bad_uninitialised_struct", "a value of stack that was not set"),
    ("strings.c bad_return_an_address", "an address is returned"),
    ("switches.c bad_way_without_a_value", "stack is read that was not set"),
];

#[test]
fn what_is_wrong_is_refused_and_what_linux_accepts_is_not() {
    let judge = host::judge();
    let mut names = BTreeSet::new();
    let (mut ours_count, mut linux_count, mut both, mut not_allowed) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut table: BTreeMap<&str, [u32; 4]> = BTreeMap::new();
    let mut exceptions: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut stricter, mut wrong) = (Vec::new(), Vec::new());
    for compiled in COMPILED.iter() {
        let Compiled { level, cpu, object, .. } = compiled;
        let judge = judge.as_ref().and_then(|judge| Judge::with_maps_of(judge, object));
        for filter in &object.filters {
            let name = compiled.name(filter);
            let what = format!("{name} {level} {cpu}");
            let ours = compiled.verify(filter);
            if filter.name.starts_with("bad_") && ours.is_ok() {
                wrong.push(format!("{what}: is accepted\n{}", EbpfListing(&filter.insns)));
            }
            names.insert(name.clone());
            let Some(judge) = &judge else { continue };
            let linux = judge.accepts(&filter.insns);
            let row = table.entry(level).or_default();
            for (sum, one) in row.iter_mut().zip([true, ours.is_ok(), linux, ours.is_ok() && linux]) {
                *sum += u32::from(one);
            }
            ours_count += u32::from(ours.is_ok());
            linux_count += u32::from(linux);
            both += u32::from(ours.is_ok() && linux);
            match (ours, linux) {
                (Ok(_), false) => {
                    let words = judge.verify(&filter.insns).expect_err("it was refused").log;
                    let known = BEYOND_LINUX.iter().find(|(known, _)| words.contains(known));
                    let upper = loads_upper_halves(&filter.insns)
                        && UPPER_HALVES.iter().any(|known| words.contains(known));
                    match known {
                        Some((known, _)) => *exceptions.entry(known).or_default() += 1,
                        None if upper => *exceptions.entry("upper halves").or_default() += 1,
                        None => wrong.push(format!("{what}: Linux: {words}\n{}", EbpfListing(&filter.insns))),
                    }
                }
                (Err(_), true) if NOT_ALLOWED.iter().any(|(known, _)| *known == name) => not_allowed += 1,
                (Err(why), true) => stricter.push(format!("{what}: {why}")),
                _ => {}
            }
        }
    }
    println!("{} filters, {} files, 12 ways each", names.len(), files().len());
    for (level, [all, ours, linux, both]) in table {
        println!("{level}: of {all} programs ours accepts {ours}, Linux {linux}, both {both}");
    }
    println!("Linux refuses, for a reason that is listed: {exceptions:?}");
    println!("{}", stricter.join("\n"));
    if judge.is_some() {
        let share = |count: u32| 100.0 * f64::from(count) / f64::from(linux_count);
        println!("ours accepts {ours_count}, Linux {linux_count}, both {both}");
        println!(
            "of what Linux accepts ours refuses {:.1}% because it is wrong here, and {:.1}% for no such reason",
            share(not_allowed),
            share(stricter.len() as u32)
        );
        assert!(stricter.len() * 20 <= linux_count as usize, "ours refuses too much of what Linux accepts");
        assert!(both >= 600, "only {both} programs are accepted by both: the test is weak");
    }
    assert!(names.len() >= 100, "only {} filters", names.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// States of a program that are kept. The few programs that have more are checked for faults alone.
const MAX_CLAIMS: usize = 5_000;

#[test]
fn what_is_accepted_does_what_the_verifier_claims() {
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let inputs = campaign(10, "SECCOMP_COMPILED_INPUTS");
    let mut rng = rng(seed);
    let (mut programs, mut claimed) = (0_u32, 0_u32);
    for compiled in COMPILED.iter() {
        let (maps, helpers) = (compiled.object.descriptors(), helpers());
        let environment = Environment { maps: &maps, helpers: &helpers };
        for filter in &compiled.object.filters {
            let Ok(verified) = compiled.verify(filter) else { continue };
            programs += 1;
            let claims = (verified.visited() <= MAX_CLAIMS).then(|| {
                let mut claims = Claims::default();
                let again = verify_logged(Program::new(filter.insns.clone()), &environment, &mut claims);
                assert_eq!(again.as_ref(), Ok(&verified));
                claims
            });
            claimed += u32::from(claims.is_some());
            for _ in 0..inputs {
                let data = input(&mut rng, &filter.insns);
                let run = Run::new(&filter.insns, &environment, claims.as_ref(), &data, &mut rng);
                if let Err((pc, why)) = run.run(verified.visited()) {
                    let what = format!("{} {} {}", compiled.name(filter), compiled.level, compiled.cpu);
                    panic!("{what}: instruction {pc}: {why}\non {data:x?}\n{}", EbpfListing(&filter.insns));
                }
            }
        }
    }
    println!("{programs} programs on {inputs} inputs each, {claimed} of them against what was claimed");
    assert!(programs > 700 && claimed * 10 > programs * 9);
}

/// All that can be seen of a filter from outside.
#[derive(Debug, PartialEq, Eq)]
struct Remembered {
    entries: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
    events: Vec<Vec<u8>>,
    lines: Vec<String>,
}

/// A filter on one engine, with its own maps and kernel.
struct OnEngine {
    extension: Extension,
    host: Host,
}

impl OnEngine {
    fn remembers(&self) -> Remembered {
        let entries = |map: &Map| {
            let mut entries = Vec::new();
            map.for_each(|key, value| entries.push((key.to_vec(), value.to_vec()))).expect("there is memory");
            entries.sort();
            entries
        };
        let is_ring = |map: &Map| map.descriptor().kind == MapKind::Ring;
        let maps = self.extension.maps();
        let entries = maps.iter().filter(|map| !is_ring(map)).map(|map| entries(map)).collect();
        let mut events = Vec::new();
        for map in maps.iter().filter(|map| is_ring(map)) {
            let mut event = [0; 256];
            while let Some(len) = map.next_event(&mut event).expect("it is a ring") {
                events.push(event[..len].to_vec());
            }
        }
        Remembered { entries, events, lines: self.host.lines.take() }
    }
}

#[test]
fn engines_agree_on_what_is_accepted() {
    /// Where there is user memory.
    const USER: u64 = 0x10_0000;
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let inputs = campaign(10, "SECCOMP_COMPILED_INPUTS");
    let mut rng = rng(seed);
    let mut programs = 0_u32;
    for compiled in COMPILED.iter() {
        for filter in &compiled.object.filters {
            let Ok(verified) = compiled.verify(filter) else { continue };
            programs += 1;
            let what = format!("{} {} {}", compiled.name(filter), compiled.level, compiled.cpu);
            let engines = EngineKind::ALL.map(|engine| {
                let maps = compiled.object.create_maps([3, 5]).expect("there is memory");
                let extension = Extension::load(&verified, maps, &HELPERS, engine, &HostExecMemory)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(extension.fell_back(), None, "{what}");
                OnEngine { extension, host: Host::default() }
            });
            for _ in 0..inputs {
                let mut data = input(&mut rng, &filter.insns);
                // Often the pointer to something, or a small number.
                for arg in &mut data.args {
                    match rng.random_range(0..4) {
                        0 => *arg = USER + rng.random_range(0..64),
                        1 => *arg = rng.random_range(0..64),
                        _ => {}
                    }
                }
                let text = ["/usr/lib/a.so\0", "#!/bin/sh\0", "\0", "sh\0"][rng.random_range(0..4)];
                let mut bytes = [text.as_bytes(), &[0; 600]].concat();
                bytes[200..].iter_mut().for_each(|byte| *byte = rng.random());
                let (now, pid) = (rng.random::<u64>() >> 8, rng.random_range(1..4));
                let answers = engines.each_ref().map(|on| {
                    on.host.now.set(now);
                    on.host.pid.set(pid);
                    on.host.tgid.set(pid);
                    on.host.put(USER, &bytes);
                    let answer = on.extension.run(&data, &on.host);
                    on.host.memory.take();
                    answer
                });
                let [first, rest @ ..] = answers;
                assert!(rest.iter().all(|answer| *answer == first), "{what}: {answers:x?} on {data:x?}");
            }
            let [first, rest @ ..] = engines.each_ref().map(OnEngine::remembers);
            assert!(rest.iter().all(|other| *other == first), "{what}: {first:x?} {rest:x?}");
        }
    }
    println!("{programs} programs on {inputs} inputs each");
    assert!(programs > 700);
}
