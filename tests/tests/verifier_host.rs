//! The verifier against Linux's: what ours accepts Linux accepts too, but for what is listed.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use cbpf_translator::Insn;
use cbpf_translator::disasm::EbpfListing;
use cbpf_translator::ebpf::{AluOp, Cond, Instruction, Operand, Reg, Size, Width};
use seccomp_runtime::verifier::{Program, verify};
use seccomp_tests::generate::{campaign, rng, seed};
use seccomp_tests::verifier::environment::{ENVIRONMENT, FIXED, MEMORY, NOTHING, TAKES_CONTEXT};
use seccomp_tests::verifier::generate::{Style, program};
use seccomp_tests::verifier::{host, row};

fn ours(insns: &[Insn]) -> Result<(), String> {
    verify(Program::new(insns.to_vec()), &ENVIRONMENT).map(drop).map_err(|error| error.to_string())
}

/// Whether Linux knows all helpers of a program.
fn is_common(insns: &[Insn]) -> bool {
    let ours_alone = [MEMORY, NOTHING, TAKES_CONTEXT, FIXED];
    !insns.iter().enumerate().any(|(pc, insn)| {
        let insn = Instruction::decode(*insn, insns.get(pc + 1).copied());
        matches!(insn, Ok(Instruction::CallHelper { id }) if ours_alone.contains(&id))
    })
}

/// Whether it has an instruction of which ours knows more than Linux: a quotient, a remainder, a byte swap, a
/// shift by a register, a register less itself or with its own bits taken out, which is 0, the upper half of a stack
/// slot, and a bit test of 32 bits, after which Linux lets bounds of 64 go.
fn is_beyond_linux(insns: &[Insn]) -> bool {
    insns.iter().enumerate().any(|(pc, insn)| {
        use AluOp::*;
        match Instruction::decode(*insn, insns.get(pc + 1).copied()) {
            Ok(Instruction::Alu { op: Div | Mod, .. } | Instruction::Swap { .. }) => true,
            Ok(Instruction::Alu { op: Lsh | Rsh | Arsh, operand: Operand::Reg(_), .. }) => true,
            Ok(Instruction::Alu { op: Sub | Xor, dst, operand: Operand::Reg(src), .. }) => dst == src,
            Ok(Instruction::Load { size: Size::Word, from, .. }) => {
                from.base == Reg::FRAME && from.off % 8 != 0
            }
            Ok(Instruction::Jump { cond, width, .. }) => cond == Cond::Set && width == Width::W32,
            _ => false,
        }
    })
}

/// What of Linux's words tells that it refuses what ours may accept, and why ours may.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("unreachable insn", "dead code is not looked at here"),
    ("last insn is not an exit or jmp", "dead code is not looked at here"),
    ("subtraction from stack pointer prohibited", "it is an addition like other"),
    // It puts the constant by which two numbers differ into the pointer's own distance.
    ("map_value pointer offset", "Linux counts a number that is tied to another from that one"),
];

/// Words of ours for what Linux might know better; the rest it allows and ours does not.
const IMPRECISE: [&str; 6] = [
    "(map value) may reach",
    "(stack) may reach",
    "before the arithmetic",
    "is a size",
    "may be null",
    "paths have more",
];

#[test]
fn what_ours_accepts_linux_accepts() {
    let Some(judge) = host::judge() else { return };
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let programs = campaign(3_000, "SECCOMP_LIVE_VERIFIED");
    let (mut ours_count, mut linux_count, mut both) = (0_u64, 0_u64, 0_u64);
    let mut exceptions: BTreeMap<&str, u64> = BTreeMap::new();
    let mut stricter: BTreeMap<String, u64> = BTreeMap::new();
    let mut imprecise = 0_u64;
    let mut wrong = Vec::new();
    for index in 0..programs {
        let own = seed.wrapping_add(index);
        let insns = program(&mut rng(own), Style { for_linux: true, calls: true });
        let (ours, linux) = (ours(&insns), judge.verify(&insns));
        ours_count += u64::from(ours.is_ok());
        linux_count += u64::from(linux.is_ok());
        both += u64::from(ours.is_ok() && linux.is_ok());
        match (ours, linux) {
            (Ok(()), Err(refusal)) => {
                match EXCEPTIONS.iter().find(|(words, _)| refusal.log.contains(words)) {
                    Some((words, _)) => *exceptions.entry(words).or_default() += 1,
                    None if is_beyond_linux(&insns) => {
                        *exceptions.entry("an operation it knows nothing of").or_default() += 1
                    }
                    None => wrong.push(format!("seed {own}: {}\n{}", refusal.log, EbpfListing(&insns))),
                }
            }
            (Err(why), Ok(())) => {
                imprecise += u64::from(IMPRECISE.iter().any(|words| why.contains(words)));
                let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
                let kind: String = why.chars().filter(|c| !c.is_ascii_digit() && *c != '-').collect();
                *stricter.entry(kind).or_default() += 1;
            }
            _ => {}
        }
    }
    println!("of {programs} programs ours accepts {ours_count}, Linux {linux_count}, both {both}");
    let missed = linux_count - both;
    println!("ours refuses {missed} that Linux accepts ({:.1}%)", 100.0 * missed as f64 / linux_count as f64);
    println!("{imprecise} of them for what ours does not know, the others for what it does not allow:");
    stricter.iter().for_each(|(why, count)| println!("  {count:>5} {why}"));
    println!("Linux refuses, for a reason that is listed: {exceptions:?}");
    assert!(both * 4 > programs, "only {both} of {programs} are accepted by both: the test is weak");
    assert!(imprecise * 100 <= linux_count, "ours knows too little of {imprecise} programs");
    let shown = wrong.len().min(5);
    assert!(wrong.is_empty(), "{} are accepted by ours alone:\n{}", wrong.len(), wrong[..shown].join("\n\n"));
}

/// Rows that ours accepts and Linux does not.
#[rustfmt::skip]
const ROWS: &[(&str, &str)] = &[
    ("basics: a branch at the end that falls off", "dead code is not looked at here"),
    ("basics: code that is not reached may do anything", "dead code is not looked at here"),
    ("branches: a pointer with null", "Linux lets only a map value be known not to be null"),
    ("branches: pointers into the same memory", "Linux learns nothing of two pointers"),
    ("branches: a pointer that is less than a page before its memory, in order", "Linux learns nothing of two pointers"),
    ("branches: pointers that may be far from their memory, the same or not", "Linux learns nothing of two pointers"),
    ("branches: a walk to an end pointer", "Linux learns nothing of two pointers"),
    ("branches: a walk to an end that is not known", "Linux learns nothing of two pointers"),
    ("branches: two kinds of pointers meet", "Linux rewrites loads of the context, ours is plain memory"),
    ("calls: a pointer to the caller's stack is returned", "Linux lets no stack pointer be returned"),
    ("context: a pointer moved by a constant", "Linux lets no moved pointer read the context"),
    ("context: a pointer moved by a number that turns out to be known", "the same"),
    ("maps: a key in the context", "the context is memory like other here"),
    ("maps: an event that is the context", "the context is memory like other here"),
    ("numbers: a signed check from -1, and what is before is there", "Linux asks for a sum of offsets above 0"),
    ("numbers: a shift to the right by a register", "Linux knows a shift only by a constant"),
    ("numbers: an arithmetic shift, and what is before is there", "Linux asks for a sum of offsets above 0"),
    ("numbers: a quotient", "Linux knows nothing of a quotient"),
    ("numbers: a remainder", "Linux knows nothing of a remainder"),
    ("numbers: a remainder by what is not 0", "Linux knows nothing of a remainder"),
    ("numbers: a negation", "Linux asks for a sum of offsets above 0"),
    ("numbers: a pointer minus a number", "Linux asks for a sum of offsets above 0"),
    ("stack: a spilled bound of 32 bits in the upper half", "Linux keeps numbers of 8 bytes and lower halves"),
    ("stack: the upper half of a spilled number", "Linux keeps numbers of 8 bytes and lower halves"),
];

#[test]
fn rows_that_ours_accepts_linux_accepts() {
    let Some(judge) = host::judge() else { return };
    let mut wrong = Vec::new();
    for row in row::all().iter().filter(|row| row.answer == "ok" && is_common(&row.program)) {
        let exception = ROWS.iter().find(|(name, _)| *name == row.name);
        match (judge.verify(&row.program), exception) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some(_)) => wrong.push(format!("{} is accepted after all", row.name)),
            (Err(refusal), None) => wrong.push(format!("[{}] {}", row.name, refusal.log)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
