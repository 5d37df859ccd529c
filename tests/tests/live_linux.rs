//! The kernel that this runs on against ours: which programs are filters, and what filters return.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use cbpf_translator::cbpf::MAX_INSNS;
use cbpf_translator::seccomp::RET_ALLOW;
use cbpf_translator::{SockFilter, check, translate};
use rand::Rng;
use rand::seq::IndexedRandom;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineKind, Loaded, SeccompData};
use seccomp_tests::vectors::{self, Answer};
use seccomp_tests::{generate, host};

/// Programs that are offered at a time.
const BATCH: u64 = 256;

/// The kernel and we give each program the same answer. Returns how many were accepted.
fn agree_on_offers(programs: &[Vec<SockFilter>]) -> usize {
    let answers = host::offer_all(programs);
    for (program, linux) in programs.iter().zip(&answers) {
        let ours = check(program.clone()).map(drop);
        assert_eq!(
            *linux,
            ours.map_err(|_| libc::EINVAL),
            "Linux's answer is not ours, {ours:?}, to {}",
            generate::replay(program, &SeccompData::default()),
        );
    }
    answers.iter().filter(|answer| answer.is_ok()).count()
}

/// The kernel and each engine give the same value for each input. Returns the values.
fn agree_on_values(program: &[SockFilter], inputs: &[SeccompData]) -> Vec<u32> {
    let load = |kind| {
        let program = check(program.to_vec()).expect("the program is a filter");
        let loaded = Loaded::load(program, kind, &HostExecMemory).expect("there is memory");
        assert_eq!(loaded.engine(), kind, "{:?}", loaded.fell_back());
        loaded
    };
    let planned = load(EngineKind::DEFAULT).planned([host::ARCH_NATIVE, host::ARCH_COMPAT], &HostExecMemory);
    let engines = EngineKind::ALL.map(load).into_iter().chain([planned.expect("there is memory")]);
    let engines: Vec<_> = engines.collect();
    let values = host::decide(program, inputs);
    for (input, linux) in inputs.iter().zip(&values) {
        for engine in &engines {
            let ours = engine.run(input);
            assert_eq!(
                *linux,
                ours,
                "{linux:#x} in Linux, {ours:#x} in {}: {}",
                engine.engine().name(),
                generate::replay(program, input),
            );
        }
    }
    values
}

/// A filter, a filter that was tampered with, or no filter at all.
fn offered<R: Rng + ?Sized>(rng: &mut R) -> Vec<SockFilter> {
    match rng.random_range(0..16) {
        0..5 => generate::program(rng, MAX_INSNS),
        5..14 => {
            let mut program = generate::program(rng, MAX_INSNS);
            generate::mutate(rng, &mut program);
            program
        }
        _ => generate::noise(rng, 8),
    }
}

#[test]
fn accepts_and_refuses_the_same_programs() {
    if !host::enabled() {
        return;
    }
    let mut rng = generate::seeded();
    let offers = generate::campaign(10_000, "SECCOMP_LIVE_PROGRAMS");
    let mut accepted = 0;
    for start in (0..offers).step_by(BATCH as usize) {
        let batch: Vec<_> = (start..offers.min(start + BATCH)).map(|_| offered(&mut rng)).collect();
        accepted += agree_on_offers(&batch) as u64;
    }
    println!("{accepted} of {offers} accepted");
    // Only a test that sees enough of both tells the two apart.
    assert!(offers < BATCH || (offers / 5..=offers - offers / 5).contains(&accepted));
}

#[test]
fn accepts_and_refuses_the_same_lengths() {
    if !host::enabled() {
        return;
    }
    let returns = SockFilter::new(0x06, 0, 0, RET_ALLOW);
    let lengths = [0, 1, 2, MAX_INSNS - 1, MAX_INSNS, MAX_INSNS + 1, 0xffff];
    let programs = lengths.map(|len| vec![returns; len]);
    assert_eq!(agree_on_offers(&programs), 4);
}

#[test]
fn answers_the_recorded_programs_as_recorded() {
    if !host::enabled() {
        return;
    }
    let vectors = vectors::programs();
    let programs: Vec<_> = vectors.iter().map(|vector| &vector.program[..]).collect();
    for (vector, linux) in vectors.iter().zip(host::offer_all(&programs)) {
        let recorded = match vector.answer {
            Answer::Accepted(_) => Ok(()),
            Answer::Refused(errno) => Err(errno),
        };
        assert_eq!(linux, recorded, "{}", vector.name);
    }
}

/// Linux counts translated instructions along a path of filters, so a path that is full to the last one
/// tells the length of what it makes of a program.
#[test]
fn translates_to_the_same_length() {
    const MAX_INSNS_PER_PATH: usize = 32768;
    const PER_FILTER: usize = 4;
    if !host::enabled() {
        return;
    }
    if host::inherited_filters() > 0 {
        println!("turned off: this process has filters, so its path has an unknown length");
        return;
    }
    let mut rng = generate::seeded();
    for _ in 0..generate::campaign(200, "SECCOMP_LIVE_LENGTHS") {
        let program = generate::program(&mut rng, MAX_INSNS);
        let checked = check(program.clone()).expect("the program is a filter");
        let len = translate(&checked).expect("there is memory").insns().len();
        let answers = [0, 1].map(|excess| {
            let mut path = padding(MAX_INSNS_PER_PATH - len + excess, PER_FILTER);
            path.push(program.clone());
            host::offer_path(&path)
        });
        let replay = || generate::replay(&program, &SeccompData::default());
        assert_eq!(answers, [Ok(()), Err(libc::ENOMEM)], "not {len} long: {}", replay());
    }
}

/// Filters that allow everything and take up `len` of a path, each `per_filter` more than its instructions.
fn padding(len: usize, per_filter: usize) -> Vec<Vec<SockFilter>> {
    // The prologue and the return.
    let least = 3 + 2 + per_filter;
    let filters = len.div_ceil(least + MAX_INSNS - 1);
    let filter = |i: usize| {
        let share = len * (i + 1) / filters - len * i / filters;
        let mut filter = vec![SockFilter::new(0x00, 0, 0, 0); share - least];
        filter.push(SockFilter::new(0x06, 0, 0, RET_ALLOW));
        filter
    };
    (0..filters).map(filter).collect()
}

#[test]
fn returns_the_same_values() {
    if !host::enabled() {
        return;
    }
    let mut rng = generate::seeded();
    let programs = generate::campaign(2_000, "SECCOMP_LIVE_DECISIONS");
    let (mut values, mut differ, mut killed) = (0, 0, 0);
    for _ in 0..programs {
        let max_len = *[16, 64, host::MAX_DECIDED].choose(&mut rng).expect("a length");
        let program = generate::program(&mut rng, max_len);
        let inputs: Vec<_> = (0..16).map(|_| host::normalise(&generate::input(&mut rng, &program))).collect();
        let answers = agree_on_values(&program, &inputs);
        values += answers.len();
        differ += usize::from(answers.iter().any(|value| *value != answers[0]));
        killed += answers.iter().filter(|value| **value == 0).count();
    }
    println!("{values} values of {programs} programs, {differ} return more than one; 0 {killed} times");
    assert!(differ as u64 >= programs / 10);
}

#[test]
fn returns_the_same_values_for_the_recorded_programs() {
    if !host::enabled() {
        return;
    }
    let decisions = vectors::decisions();
    let mut values = 0;
    for vector in vectors::programs() {
        let inputs: Vec<_> = decisions
            .iter()
            .filter(|decision| decision.name == vector.name)
            .map(|decision| host::normalise(&decision.data))
            .collect();
        if !inputs.is_empty() && vector.program.len() <= host::MAX_DECIDED {
            values += agree_on_values(&vector.program, &inputs).len();
        }
    }
    println!("{values} values");
    assert!(values > decisions.len() / 2);
}
