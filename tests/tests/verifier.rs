//! Which eBPF programs are safe, by rows.

use std::collections::HashSet;

use cbpf_translator::Insn;
use cbpf_translator::ebpf::Opcode;
use rand::Rng;
use seccomp_runtime::verifier::{Log, MAX_INSNS, Program, State, VerifyError, verify, verify_logged};
use seccomp_tests::generate;
use seccomp_tests::verifier::asm::assemble;
use seccomp_tests::verifier::environment::ENVIRONMENT;
use seccomp_tests::verifier::row;

/// The states on the way, for a row that went wrong.
#[derive(Default)]
struct Lines(Vec<String>);

impl Log for Lines {
    fn visit(&mut self, pc: usize, state: &State) {
        self.0.push(format!("{pc}: {state}"));
    }
}

#[test]
fn rows() {
    let rows = row::all();
    let mut wrong = Vec::new();
    for row in &rows {
        let answer = match verify(Program::new(row.program.clone()), &ENVIRONMENT) {
            Ok(_) => "ok".into(),
            Err(error) => error.to_string(),
        };
        if answer != row.answer {
            let mut log = Lines::default();
            let _ = verify_logged(Program::new(row.program.clone()), &ENVIRONMENT, &mut log);
            log.0.truncate(60);
            wrong.push(format!("[{}]\n{}\n=> {answer}\nnot {}", row.name, log.0.join("\n"), row.answer));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
    println!("{} rows", rows.len());
}

/// Instructions of any bits, or of opcodes that there are with small fields.
fn noise<R: Rng>(rng: &mut R) -> Vec<Insn> {
    let wild = rng.random_ratio(1, 4);
    (0..rng.random_range(1..40))
        .map(|_| match wild {
            true => Insn::from_le_bytes(rng.random()),
            false => loop {
                let code = rng.random();
                if Opcode::decode(code).is_some() {
                    let (dst, src) = (rng.random_range(0..11), rng.random_range(0..11));
                    break Insn::new(code, dst, src, rng.random_range(-8..8), rng.random_range(-8..8));
                }
            },
        })
        .collect()
}

#[test]
fn every_program_has_an_answer() {
    let rng = &mut generate::seeded();
    for _ in 0..20_000 {
        let _ = verify(Program::new(noise(rng)), &ENVIRONMENT);
    }
}

#[test]
fn length_is_bounded() {
    let program = |len: usize| {
        let mut insns = vec![Insn::new(0xb7, 0, 0, 0, 0); len];
        if let Some(last) = insns.last_mut() {
            *last = Insn::new(0x95, 0, 0, 0, 0);
        }
        verify(Program::new(insns), &ENVIRONMENT).map(|verified| verified.visited())
    };
    assert_eq!(program(0), Err(VerifyError::Length(0)));
    assert_eq!(program(MAX_INSNS), Ok(MAX_INSNS));
    assert_eq!(program(MAX_INSNS + 1), Err(VerifyError::Length(MAX_INSNS + 1)));
}

#[test]
fn what_no_run_reaches_is_known() {
    let program = assemble("r0 = 0; goto out; r0 = 1; out: exit").expect("it is a program");
    let verified = verify(Program::new(program), &ENVIRONMENT).expect("it is safe");
    assert_eq!([0, 1, 2, 3, 4].map(|pc| verified.is_reached(pc)), [true, true, false, true, false]);
}

#[test]
fn a_log_ends_with_the_state_of_the_error() {
    let text = "r2 = r10; r2 += -4; *(u32 *)(r10 -4) = 7; r1 = map[0]; call 1; r3 = *(u64 *)(r0 +0); exit";
    let program = assemble(text).expect("it is a program");
    let mut log = Lines::default();
    let error = verify_logged(Program::new(program), &ENVIRONMENT, &mut log);
    assert_eq!(
        error.map_err(|error| error.to_string()).map(drop),
        Err("instruction 6: r0 may be null (map value), check it before the load".into())
    );
    assert_eq!(log.0.last().map(String::as_str), Some("6: r0=map value or null [-4]=u32 7"));
}

#[test]
fn rows_have_names_of_their_own() {
    let mut names = HashSet::new();
    for row in row::all() {
        assert!(names.insert(row.name.clone()), "{} is there twice", row.name);
    }
}
