//! The translator against Linux's own answers, and its way back.

use cbpf_translator::cbpf::{MAX_INSNS, Opcode};
use cbpf_translator::{Checked, Insn, LiftError, Translated, check, lift, translate};
use rand::Rng;
use seccomp_tests::generate;
use seccomp_tests::vectors::{self, Answer};

/// Lifting gives a program that translates to the same bytes, and that comes back from them as it is.
fn lifts_back(translated: &Translated) {
    let lifted = lift(translated.insns()).expect("Linux's shape");
    let again = translate(&lifted).expect("there is memory");
    assert_eq!(again.insns(), translated.insns());
    assert_eq!(lift(again.insns()).as_ref(), Ok(&lifted));
}

#[test]
fn every_vector_matches() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors::programs() {
        match (check(vector.program), vector.answer) {
            (Ok(checked), Answer::Accepted(linux)) => {
                let translated = translate(&checked).expect("there is memory");
                let bytes = translated.to_bytes().expect("there is memory");
                assert_eq!(bytes, linux, "{}", vector.name);
                lifts_back(&translated);
                accepted += 1;
            }
            (Err(_), Answer::Refused(libc::EINVAL)) => refused += 1,
            (ours, linux) => panic!("{}: {ours:?}, Linux says {linux:?}", vector.name),
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert_eq!(accepted + refused, 931);
}

#[test]
fn generated_programs_lift_back() {
    let mut rng = generate::seeded();
    for _ in 0..generate::campaign(20_000, "SECCOMP_GENERATED") {
        let program = generate::program(&mut rng, MAX_INSNS);
        let translated = translate(&checked(program)).expect("there is memory");
        lifts_back(&translated);
    }
}

/// Whatever bytes lifting takes, it takes only what translates back to them.
#[test]
fn what_lifts_translates_back() {
    let mut rng = generate::seeded();
    let mut lifted = 0;
    for _ in 0..generate::campaign(20_000, "SECCOMP_GENERATED") {
        let program = generate::program(&mut rng, 64);
        let mut insns = translate(&checked(program)).expect("there is memory").insns().to_vec();
        let at = rng.random_range(0..insns.len());
        let mut bytes = insns[at].to_le_bytes();
        bytes[rng.random_range(0..8)] ^= 1 << rng.random_range(0..8);
        insns[at] = Insn::from_le_bytes(bytes);
        if let Ok(classic) = lift(&insns) {
            assert_eq!(translate(&classic).expect("there is memory").insns(), insns);
            lifted += 1;
        }
    }
    println!("{lifted} lifted");
    assert!(lifted > 0);
}

#[test]
fn the_pc_map_points_at_the_group_of_each_instruction() {
    let mut rng = generate::seeded();
    for _ in 0..1000 {
        let checked = checked(generate::program(&mut rng, 256));
        let translated = translate(&checked).expect("there is memory");
        let (map, insns) = (translated.pc_map(), translated.insns());
        assert_eq!(map.len(), checked.insns().len());
        assert_eq!(map[0], 3);
        assert!(map.is_sorted_by(|a, b| a < b) && usize::from(map[map.len() - 1]) < insns.len());
        for ((opcode, insn), pc) in checked.ops().zip(map) {
            let first = insns[usize::from(*pc)];
            match opcode {
                Opcode::RetK => assert_eq!((first.code, first.imm), (0xb4, insn.k.cast_signed())),
                Opcode::RetA => assert_eq!(first.code, 0x95),
                Opcode::LdAbs(_) => assert_eq!((first.code, first.off), (0x61, insn.k as i16)),
                _ => {}
            }
        }
    }
}

#[test]
fn what_is_not_linux_shaped_says_where() {
    let ret = |k| cbpf_translator::SockFilter::new(0x06, 0, 0, k);
    let translated = translate(&checked(vec![ret(1), ret(2)])).expect("there is memory");
    let insns = translated.insns();
    let text = |insns: &[Insn]| lift(insns).expect_err("not Linux's").to_string();

    assert_eq!(lift(&insns[1..]), Err(LiftError::Prologue));
    assert_eq!(text(&[]), "not translated by Linux: the three-instruction prologue is missing");
    assert_eq!(text(&vec![insns[0]; 30_000]), "not translated by Linux: 30000 instructions are too many");
    assert_eq!(
        text(&insns[..3]),
        "lifted classic program is refused: program has 0 instructions, 1 to 4096 are allowed"
    );
    let mut call = insns.to_vec();
    call[5] = Insn::new(0x85, 0, 0, 0, 1);
    assert_eq!(text(&call), "instruction 5: not one that Linux's translation makes");
    let mut backward = insns.to_vec();
    backward[4] = Insn::new(0x05, 0, 0, -2, 0);
    assert_eq!(text(&backward), "instruction 4: jump target 3 is not where a classic instruction begins");
    let mut cut = insns.to_vec();
    cut.push(Insn::new(0xb4, 2, 0, 0, -1));
    assert_eq!(text(&cut), "instruction 7: program ends within a translated sequence");
}

fn checked(program: Vec<cbpf_translator::SockFilter>) -> Checked {
    check(program).expect("the program is a filter")
}
