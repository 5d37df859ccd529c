//! The engines against each other and against recorded answers of Linux.

use std::collections::HashMap;

use cbpf_translator::cbpf::MAX_INSNS;
use cbpf_translator::{SockFilter, check};
use rand::Rng;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineError, EngineKind, ExecMemoryError, Loaded, NoExecMemory, SeccompData};
use seccomp_tests::{generate, vectors};

/// Inputs for each generated program.
const INPUTS: usize = 8;

fn load_all(program: &[SockFilter]) -> [Loaded; 3] {
    EngineKind::ALL.map(|kind| {
        let checked = check(program.to_vec()).expect("the program is a filter");
        let loaded = Loaded::load(checked, kind, &HostExecMemory).expect("there is memory");
        assert_eq!((loaded.engine(), loaded.fell_back()), (kind, None));
        loaded
    })
}

#[test]
fn every_engine_answers_as_linux_did() {
    let vectors = vectors::programs();
    let programs: HashMap<_, _> = vectors.iter().map(|vector| (vector.name, &vector.program)).collect();
    let mut engines: Option<(&str, [Loaded; 3])> = None;
    let mut decisions = 0;
    for decision in vectors::decisions() {
        // The rows of a program stand together.
        if engines.as_ref().is_none_or(|(name, _)| *name != decision.name) {
            engines = Some((decision.name, load_all(programs[decision.name])));
        }
        let (name, engines) = engines.as_ref().expect("just loaded");
        for engine in engines {
            let ours = engine.run(&decision.data);
            assert_eq!(
                ours,
                decision.value,
                "{name} on {} with {:x?}",
                engine.engine().name(),
                decision.data
            );
        }
        decisions += 1;
    }
    assert_eq!(decisions, 16_975);
}

/// Mostly short programs, so that there are many; some as long as they can be.
fn max_len<R: Rng>(rng: &mut R) -> usize {
    match rng.random_range(0..100) {
        0..20 => MAX_INSNS,
        20..50 => 512,
        _ => 48,
    }
}

#[test]
fn engines_agree() {
    let mut rng = generate::seeded();
    let programs = generate::campaign(100_000, "SECCOMP_PARITY_PROGRAMS");
    let (mut instructions, mut longest) = (0, 0);
    for _ in 0..programs {
        let max_len = max_len(&mut rng);
        let program = generate::program(&mut rng, max_len);
        let [jit, interpreter, native] = load_all(&program);
        instructions += program.len();
        longest = longest.max(program.len());
        for _ in 0..INPUTS {
            let input = generate::input(&mut rng, &program);
            let answers = [jit.run(&input), interpreter.run(&input), native.run(&input)];
            assert!(
                answers.iter().all(|answer| *answer == answers[0]),
                "jit, interpreter and native say {answers:x?}: {}",
                generate::replay(&program, &input),
            );
        }
    }
    println!("{programs} programs, {instructions} instructions, the longest {longest}");
}

#[test]
fn an_engine_that_cannot_be_had_gives_way() {
    let program = || check(vec![SockFilter::new(0x06, 0, 0, 0x7fff_0000)]).expect("a filter");
    let loaded = Loaded::load(program(), EngineKind::Jit, &NoExecMemory).expect("there is memory");
    assert_eq!(loaded.engine(), EngineKind::Native);
    assert_eq!(loaded.fell_back(), Some(EngineError::ExecMemory(ExecMemoryError::Forbidden)));
    assert_eq!(loaded.run(&SeccompData::default()), 0x7fff_0000);

    let native = Loaded::load(program(), EngineKind::Native, &NoExecMemory).expect("there is memory");
    assert_eq!((native.engine(), native.fell_back()), (EngineKind::Native, None));
}
