//! What the verifier accepts does nothing that it must not, and is at every instruction as it claimed: on an interpreter that
//! checks everything, with helpers that do whatever their prototypes let them, and on the library's engines with the
//! library's helpers.

use std::collections::BTreeMap;

use cbpf_translator::Insn;
use cbpf_translator::disasm::EbpfListing;
use rand::Rng;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::verifier::{Program, VerifyError, verify, verify_logged};
use seccomp_runtime::{Budget, EngineKind, Extension};
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

/// Runs a program that is accepted on inputs; what the verifier says of it.
fn try_out<R: Rng>(insns: &[Insn], rng: &mut R, seed: u64) -> Result<(), VerifyError> {
    let verified = verify(Program::new(insns.to_vec()), &ENVIRONMENT)?;
    let claims = (verified.visited() <= MAX_CLAIMS).then(|| {
        let mut claims = Claims::default();
        let again = verify_logged(Program::new(insns.to_vec()), &ENVIRONMENT, &mut claims);
        assert_eq!(again, Ok(verified.clone()), "seed {seed}");
        claims
    });
    let mut engines = EngineKind::ALL.map(|kind| {
        let loaded = Extension::load(&verified, maps(), &ROWS, kind, &HostExecMemory);
        // A loop may call helpers very often, which is not what is asked here.
        let budget = Budget { bytes: u64::MAX, ..Budget::DEFAULT };
        loaded.expect("it is verified for these maps and helpers").with_budget(budget)
    });
    // What checks addresses comes first.
    engines.reverse();
    let host = Host::default();
    host.put(0, b"some memory at the start of which there is a string\0 and what is behind it");
    for _ in 0..INPUTS {
        let data = input(rng, insns);
        let answers = engines.each_ref().map(|engine| {
            host.random.set(0);
            let answer = engine.try_run(&data, &host);
            answer.unwrap_or_else(|error| {
                let engine = engine.engine().name();
                panic!("seed {seed}: {engine}: {error}\non {data:x?}\n{}", EbpfListing(insns))
            })
        });
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "seed {seed}: {answers:x?} on {data:x?}\n{}",
            EbpfListing(insns)
        );
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
