//! What the verifier accepts does nothing that it must not, and is at every instruction as it claimed: on an interpreter that
//! checks everything, with helpers that do whatever their prototypes let them, and on the library's engines with the
//! library's helpers.

use std::collections::BTreeMap;
use std::sync::Arc;

use cbpf_translator::Insn;
use cbpf_translator::disasm::EbpfListing;
use rand::Rng;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::verifier::{MapKind, Program, VerifyError, verify, verify_logged};
use seccomp_runtime::{Budget, EngineKind, Extension, Map, Planned, RunError};
use seccomp_tests::extension::Host;
use seccomp_tests::generate::{campaign, rng, seed};
use seccomp_tests::verifier::environment::{ENVIRONMENT, ROWS, maps};
use seccomp_tests::verifier::generate::{Style, input, program};
use seccomp_tests::verifier::interpreter::{Claims, Run};
use seccomp_tests::verifier::row;

/// Inputs that each program runs on.
const INPUTS: usize = 6;

/// States of a program that are kept. The few programs that have more are checked for faults alone.
const MAX_CLAIMS: usize = 5_000;

/// The entry that programs are planned for.
const PLANNED: u32 = 0xc000_003e;

/// What is in a map.
type Contents = (Vec<(Vec<u8>, Vec<u8>)>, Vec<Vec<u8>>, u64);

/// What is in the maps of a filter: entries, and events, which are then taken out.
fn contents(filter: &Extension) -> Vec<Contents> {
    let of_map = |map: &Arc<Map>| {
        let (mut entries, mut events) = (Vec::new(), Vec::new());
        if map.descriptor().kind == MapKind::Ring {
            let mut event = vec![0; map.descriptor().max_entries as usize];
            while let Some(len) = map.next_event(&mut event).expect("it is a ring") {
                events.push(event[..len].to_vec());
            }
        } else {
            map.for_each(|key, value| entries.push((key.to_vec(), value.to_vec()))).expect("it has entries");
        }
        (entries, events, map.lost_events())
    };
    filter.maps().iter().map(of_map).collect()
}

/// Calls `run` where others have left something on the stack.
fn on_a_used_stack<T>(run: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn use_it() {
        std::hint::black_box(&mut [0xa5_u8; 8192]);
    }
    use_it();
    run()
}

/// Runs a program that is accepted on inputs; what the verifier says of it.
fn try_out<R: Rng>(insns: &[Insn], rng: &mut R, seed: u64) -> Result<(), VerifyError> {
    let verified = verify(Program::new(insns.to_vec()), &ENVIRONMENT)?;
    let claims = (verified.visited() <= MAX_CLAIMS).then(|| {
        let mut claims = Claims::default();
        let again = verify_logged(Program::new(insns.to_vec()), &ENVIRONMENT, &mut claims);
        assert_eq!(again, Ok(verified.clone()), "seed {seed}");
        claims
    });
    // A loop may call helpers very often, which is not what is asked here; and some programs are to run short of it.
    let bytes = if rng.random_ratio(1, 4) { rng.random_range(0..1000) } else { u64::MAX };
    let budget = Budget { bytes, ..Budget::DEFAULT };
    let mut engines = EngineKind::ALL.map(|kind| {
        let loaded = Extension::load(&verified, maps(), &ROWS, kind, &HostExecMemory);
        loaded.expect("it is verified for these maps and helpers").with_budget(budget)
    });
    // What checks addresses comes first.
    engines.reverse();
    // What is known of it without running it, now and then: that takes long.
    let planned = rng.random_ratio(1, 16).then(|| {
        let loaded = Extension::load(&verified, maps(), &ROWS, EngineKind::Native, &HostExecMemory);
        loaded.expect("as above").with_budget(budget).planned([PLANNED]).expect("there is memory")
    });
    let host = Host::default();
    host.put(0, b"some memory at the start of which there is a string\0 and what is behind it");
    for _ in 0..INPUTS {
        let mut data = input(rng, insns);
        if rng.random() {
            (data.nr, data.arch) = (rng.random_range(0..512), PLANNED);
        }
        // Stacks and maps are elsewhere on each engine, so what shows an address differs, too.
        let seen = engines.each_ref().map(|engine| {
            host.random.set(0);
            let answer = on_a_used_stack(|| engine.try_run(&data, &host));
            if bytes == u64::MAX || answer == Err(RunError::Fault) {
                answer.unwrap_or_else(|error| {
                    let engine = engine.engine().name();
                    panic!("seed {seed}: {engine}: {error}\non {data:x?}\n{}", EbpfListing(insns))
                });
            }
            (answer, contents(engine), host.lines.take())
        });
        assert!(
            seen.iter().all(|one| *one == seen[0]),
            "seed {seed}, {bytes} bytes: {seen:x?} on {data:x?}\n{}",
            EbpfListing(insns)
        );
        if let Some(planned) = &planned
            && let Planned::Constant(value) = planned.plan_of(data.arch, data.nr)
        {
            assert_eq!(seen[0].0, Ok(value), "seed {seed}: {data:x?}\n{}", EbpfListing(insns));
        }
        let run = Run::new(insns, &ENVIRONMENT, claims.as_ref(), &data, &mut *rng);
        // A run goes through no state twice.
        if let Err((pc, why)) = run.run(verified.visited()) {
            panic!("seed {seed}: instruction {pc}: {why}\non {data:x?}\n{}", EbpfListing(insns));
        }
    }
    Ok(())
}

#[test]
fn generated_programs_that_are_accepted_are_safe() {
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let programs = campaign(20_000, "SECCOMP_VERIFIED_PROGRAMS");
    let mut accepted = 0;
    let mut refusals: BTreeMap<String, u64> = BTreeMap::new();
    for index in 0..programs {
        // Each program has a seed of its own, which a failure shows: that seed, and one program.
        let own = seed.wrapping_add(index);
        let rng = &mut rng(own);
        let insns = program(rng, Style::ALL);
        match try_out(&insns, rng, own) {
            Ok(()) => accepted += 1,
            Err(error) => {
                let kind = match error {
                    VerifyError::Insn { why, .. } => format!("{why:?}"),
                    other => format!("{other:?}"),
                };
                let kind = kind.split(['(', ' ', '{']).next().unwrap_or_default().to_string();
                *refusals.entry(kind).or_default() += 1;
            }
        }
    }
    println!("{accepted} of {programs} accepted; refused: {refusals:?}");
    assert!(accepted * 10 > programs * 3, "only {accepted} of {programs} are accepted: the test is weak");
}

#[test]
fn rows_that_are_accepted_are_safe() {
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let rng = &mut rng(seed);
    let mut accepted = 0;
    for row in row::all().into_iter().filter(|row| row.answer == "ok") {
        for _ in 0..20 {
            try_out(&row.program, rng, seed).expect("its answer is ok");
            accepted += 1;
        }
    }
    println!("{accepted} runs");
}
