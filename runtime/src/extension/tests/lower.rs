//! What rbpf gets wrong, in every engine and on Linux.

use std::format;
use std::string::{String, ToString};

use super::*;
use crate::engine::lower::{LowerError, Target, lower};
use crate::map::{MapOptions, Update, UserSpace};
use crate::verifier::{MAX_CALL_DEPTH, MapAccess, MapDescriptor, MapKind};

/// Before every row: r2 and r3 are the first two arguments of the call.
const INPUT: &str = "r2 = *(u64 *)(r1 +16); r3 = *(u64 *)(r1 +24);";

const MINUS_5: u64 = -5_i64 as u64;
const MIN: u64 = i64::MIN as u64;
const MIXED: u64 = 0x8182_8384_8586_8788;

/// A program behind [`INPUT`], and what Linux's r0 was at its end for two arguments. One that has its own exit is
/// known by the low half.
struct Row(&'static str, &'static [(u64, u64, u64)]);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row("w0 = w2", &[(0x100000002, 0, 2), (u64::MAX, 0, 0xffffffff)]),
    Row("r0 = r2; w0 = w0", &[(0x100000002, 0, 2), (u64::MAX, 0, 0xffffffff)]),
    Row("r0 = r2; r0 = le16 r0", &[(MIXED, 0, 0x8788)]),
    Row("r0 = r2; r0 = le32 r0", &[(MIXED, 0, 0x85868788)]),
    Row("r0 = r2; r0 = le64 r0", &[(MIXED, 0, MIXED)]),
    Row("r0 = r2; r0 = be16 r0", &[(MIXED, 0, 0x8887)]),
    Row("r0 = r2; r0 = be32 r0", &[(MIXED, 0, 0x88878685)]),
    Row("r0 = r2; r0 = be64 r0", &[(MIXED, 0, 0x8887868584838281)]),
    Row("r0 = r2; r0 = -r0", &[(MIN, 0, MIN), (1, 0, u64::MAX), (0, 0, 0), (MIXED, 0, 0x7e7d7c7b7a797878)]),
    Row("r0 = r2; w0 = -w0", &[(MIN, 0, 0), (1, 0, 0xffffffff), (0x80000000, 0, 0x80000000), (MIXED, 0, 0x7a797878)]),
    Row("r0 = r2; w0 %= w3", &[(MIXED, 0, 0x85868788), (MIXED, 0x100000000, 0x85868788), (MIXED, 7, 6)]),
    Row("r0 = r2; w0 %= w0", &[(MIXED, 0, 0), (0x100000000, 0, 0)]),
    Row("r0 = r2; r0 %= r3", &[(MIXED, 0, MIXED), (MIXED, 0x100000000, 0x85868788), (MIXED, 7, 0)]),
    Row("r0 = r2; w0 /= w3", &[(MIXED, 0, 0), (MIXED, 0x100000000, 0), (MIXED, 7, 0x131337ee)]),
    Row("r0 = r2; r0 /= r3", &[(MIXED, 0, 0), (MIXED, 0x100000000, 0x81828384), (MIXED, 7, 0x12805bee5c37ca38)]),
    Row("r0 = r2; w0 /= -5", &[(MIXED, 0, 0), (u64::MAX, 0, 1)]),
    Row("r0 = r2; r0 /= -5", &[(MIXED, 0, 0), (u64::MAX, 0, 1)]),
    Row("r0 = r2; r0 *= -5", &[(MIXED, 0, 0x78736e69645f5a58), (1, 0, MINUS_5)]),
    Row("r0 = r2; r0 <<= r3", &[(MIXED, 64, MIXED), (MIXED, 65, 0x30507090b0d0f10)]),
    Row("r0 = r2; w0 <<= w3", &[(MIXED, 32, 0x85868788), (MIXED, 33, 0xb0d0f10)]),
    Row("r0 = r2; w0 s>>= w3", &[(MIXED, 32, 0x85868788), (MIXED, 33, 0xc2c343c4)]),
    Row("r0 = r2; r0 s>>= r3", &[(MIXED, 64, MIXED), (MIXED, 65, 0xc0c141c242c343c4)]),
    Row("r0 = 1; if r2 == -5 goto +1; r0 = 0", &[(0, 0, 0), (1, 0, 0), (0xfffffffb, 0, 0), (0x7fffffffffffffff, 0, 0), (MIN, 0, 0), (0xfffffffffffffffa, 0, 0), (MINUS_5, 0, 1), (0xfffffffffffffffc, 0, 0), (u64::MAX, 0, 0)]),
    Row("r0 = 1; if r2 != -5 goto +1; r0 = 0", &[(0, 0, 1), (1, 0, 1), (0xfffffffb, 0, 1), (0x7fffffffffffffff, 0, 1), (MIN, 0, 1), (0xfffffffffffffffa, 0, 1), (MINUS_5, 0, 0), (0xfffffffffffffffc, 0, 1), (u64::MAX, 0, 1)]),
    Row("r0 = 1; if r2 > -5 goto +1; r0 = 0", &[(0, 0, 0), (1, 0, 0), (0xfffffffb, 0, 0), (0x7fffffffffffffff, 0, 0), (MIN, 0, 0), (0xfffffffffffffffa, 0, 0), (MINUS_5, 0, 0), (0xfffffffffffffffc, 0, 1), (u64::MAX, 0, 1)]),
    Row("r0 = 1; if r2 >= -5 goto +1; r0 = 0", &[(0, 0, 0), (1, 0, 0), (0xfffffffb, 0, 0), (0x7fffffffffffffff, 0, 0), (MIN, 0, 0), (0xfffffffffffffffa, 0, 0), (MINUS_5, 0, 1), (0xfffffffffffffffc, 0, 1), (u64::MAX, 0, 1)]),
    Row("r0 = 1; if r2 < -5 goto +1; r0 = 0", &[(0, 0, 1), (1, 0, 1), (0xfffffffb, 0, 1), (0x7fffffffffffffff, 0, 1), (MIN, 0, 1), (0xfffffffffffffffa, 0, 1), (MINUS_5, 0, 0), (0xfffffffffffffffc, 0, 0), (u64::MAX, 0, 0)]),
    Row("r0 = 1; if r2 <= -5 goto +1; r0 = 0", &[(0, 0, 1), (1, 0, 1), (0xfffffffb, 0, 1), (0x7fffffffffffffff, 0, 1), (MIN, 0, 1), (0xfffffffffffffffa, 0, 1), (MINUS_5, 0, 1), (0xfffffffffffffffc, 0, 0), (u64::MAX, 0, 0)]),
    Row("r0 = 1; if r2 & -0x80000000 goto +1; r0 = 0", &[(0x7fffffff, 0, 0), (0x80000000, 0, 1), (0x100000000, 0, 1)]),
    Row("r0 = 1; if w2 < -5 goto +1; r0 = 0", &[(0xfffffffb, 0, 0), (0xfffffffa, 0, 1), (u64::MAX, 0, 0)]),
    Row("r0 = 1; if r2 s< -5 goto +1; r0 = 0", &[(0xfffffffb, 0, 0), (MINUS_5, 0, 0), (MIN, 0, 1)]),
    Row("r4 = r10; r0 = 1; if r10 == r4 goto +1; r0 = 0", &[(0, 0, 1)]),
    Row("r4 = r10; r0 = 1; if r10 != r4 goto +1; r0 = 0", &[(0, 0, 0)]),
    Row("r4 = r10; r4 += -8; r0 = 1; if r10 > r4 goto +1; r0 = 0", &[(0, 0, 1)]),
    Row("r4 = r10; r4 += -8; r0 = 1; if r10 <= r4 goto +1; r0 = 0", &[(0, 0, 0)]),
    Row("r0 = 1; if r0 == 2 goto -1", &[(0, 0, 1)]),
    Row("r0 = 1; if r0 == -5 goto -1; if r0 != 1 goto -1", &[(0, 0, 1)]),
    Row("r0 = 1; if r0 == 1 goto +1; goto -1", &[(0, 0, 1)]),
    Row("r0 = 0x123456789abcdef0 ll; r0 ^= r2", &[(MIXED, 0, 0x93b6d5fc1f3a5978)]),
    Row("*(u64 *)(r10 -8) = -5; r0 = *(u64 *)(r10 -8)", &[(0, 0, MINUS_5)]),
    Row("*(u64 *)(r10 -8) = r2; *(u32 *)(r10 -8) = -5; r0 = *(u64 *)(r10 -8)", &[(MIXED, 0, 0x81828384fffffffb)]),
    Row("*(u64 *)(r10 -8) = r2; *(u16 *)(r10 -6) = -5; r0 = *(u64 *)(r10 -8)", &[(MIXED, 0, 0x81828384fffb8788)]),
    Row("*(u64 *)(r10 -8) = r2; *(u8 *)(r10 -3) = r3; r0 = *(u64 *)(r10 -8)", &[(MIXED, MINUS_5, 0x8182fb8485868788)]),
    Row("*(u64 *)(r10 -8) = r2; r0 = *(u32 *)(r10 -4)", &[(MIXED, 0, 0x81828384)]),
    Row("*(u64 *)(r10 -8) = r2; r0 = *(u16 *)(r10 -4)", &[(MIXED, 0, 0x8384)]),
    Row("*(u64 *)(r10 -8) = r2; r0 = *(u8 *)(r10 -1)", &[(MIXED, 0, 129)]),
    Row("*(u64 *)(r10 -512) = r2; *(u64 *)(r10 -8) = r3; r0 = *(u64 *)(r10 -512)", &[(MIXED, 5, MIXED)]),
    Row("r6 = r2; *(u64 *)(r10 -8) = r2; r1 = r3; call f; r0 += r6; r1 = *(u64 *)(r10 -8); r0 += r1; exit
        f: *(u64 *)(r10 -8) = r1; r6 = 7; r0 = *(u64 *)(r10 -8); r0 += r6; exit", &[(100, 5, 212), (MIXED, MIXED, 0x9093969f)]),
    Row("*(u64 *)(r10 -8) = r2; r1 = r10; r1 += -8; r2 = r3; call f; r1 = *(u64 *)(r10 -8); r0 ^= r1; exit
        f: *(u64 *)(r10 -8) = r2; r6 = r1; r0 = *(u64 *)(r10 -8); r1 = *(u64 *)(r6 +0); r0 *= r1
        *(u64 *)(r6 +0) = r2; r1 = r0; call g; exit
        g: *(u64 *)(r10 -16) = r1; r6 = 99; r7 = r10; r7 += -16; if r1 > 50 goto +2; r0 = *(u64 *)(r7 +0); exit
        r0 = *(u64 *)(r7 +0); r0 += r6; exit", &[(6, 7, 45), (6, 9, 144), (MIXED, 3, 0x909396f8)]),
];

/// A row's program, or two: of the second, the result is the high half.
fn halves(text: &str) -> Vec<(Vec<Insn>, u32)> {
    let ends: &[_] = if text.contains("exit") { &[("", 0)] } else { &[("exit", 0), ("r0 >>= 32; exit", 32)] };
    ends.iter().map(|(end, shift)| (assemble(&format!("{INPUT} {text}\n{end}")), *shift)).collect()
}

#[test]
#[cfg_attr(miri, ignore = "thousands of runs, of arithmetic only")]
fn every_engine_is_right_where_rbpf_is_not() {
    for Row(text, answers) in ROWS {
        for (insns, shift) in halves(text) {
            let engines = in_all_engines(&insns, &[]);
            for (a, b, expected) in *answers {
                let answer = answer(&engines, &with_args(&[*a, *b]));
                assert_eq!(answer, (expected >> shift) as u32, "{text} of {a:#x}, {b:#x}");
            }
        }
    }
}

#[test]
fn rows_are_what_linux_says() {
    if !host::enabled() {
        return;
    }
    let mut wrong = String::new();
    for Row(text, answers) in ROWS {
        let halves = halves(text);
        let host: Vec<_> = halves.iter().map(|(insns, _)| host::Loaded::new(insns)).collect();
        for (a, b, expected) in *answers {
            let mut value = 0;
            for (host, (_, shift)) in host.iter().zip(&halves) {
                let host = host.as_ref().unwrap_or_else(|error| panic!("{text}: {error}"));
                value |= u64::from(host.run(&with_args(&[*a, *b]))) << shift;
            }
            if value != *expected {
                wrong += &format!("{text} of {a:#x}, {b:#x} is {value:#x}, not {expected:#x}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Numbers at which something changes.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    31,
    33,
    64,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffb,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    i64::MAX as u64,
    MIN,
    MINUS_5,
    u64::MAX,
];

const IMMEDIATES: [i64; 7] = [1, 3, 31, 0x7fff_ffff, -1, -5, i32::MIN as i64];

/// Every operation and comparison, with operands of all kinds.
fn operations() -> Vec<String> {
    let mut all = Vec::new();
    let operands = |width: char| {
        let immediates = IMMEDIATES.map(|imm| format!("{imm}")).into_iter();
        immediates.chain([format!("{width}3"), format!("{width}2")])
    };
    for width in ['r', 'w'] {
        all.push(format!("r0 = r2; {width}0 = -{width}0"));
        for op in ["+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", "<<=", ">>=", "s>>=", "="] {
            for operand in operands(width) {
                // A shift by a constant that is not below the width is no instruction.
                let out_of_range = op.ends_with("<<=") || op.ends_with(">>=");
                if out_of_range && operand.parse().is_ok_and(|imm: i64| !(0..32).contains(&imm)) {
                    continue;
                }
                all.push(format!("r0 = r2; {width}0 {op} {operand}"));
                if operand.ends_with('2') {
                    all.push(format!("r0 = r2; {width}0 {op} {width}0"));
                    // The registers that the JIT uses for divisions.
                    all.push(format!("r0 = 9; {width}3 {op} {width}2; r0 ^= r3"));
                    all.push(format!("r0 = r3; {width}2 {op} {width}0; r0 = r2"));
                }
            }
        }
        for cond in ["==", "!=", ">", ">=", "<", "<=", "&", "s>", "s>=", "s<", "s<="] {
            for operand in operands(width) {
                all.push(format!("r0 = 1; if {width}2 {cond} {operand} goto +1; r0 = 2"));
            }
        }
    }
    for swap in ["le16", "le32", "le64", "be16", "be32", "be64"] {
        all.push(format!("r0 = r2; r0 = {swap} r0"));
    }
    all
}

#[test]
fn every_operation_is_linuxs() {
    if !host::enabled() {
        return;
    }
    let mut compared = 0;
    for text in operations() {
        for (insns, _) in halves(&text) {
            let host = host::Loaded::new(&insns).unwrap_or_else(|error| panic!("{text}: {error}"));
            let engines = in_all_engines(&insns, &[]);
            for (a, b) in EDGES.into_iter().flat_map(|a| EDGES.map(|b| (a, b))) {
                let data = with_args(&[a, b]);
                assert_eq!(answer(&engines, &data), host.run(&data), "{text} of {a:#x}, {b:#x}");
                compared += 1;
            }
        }
    }
    std::println!("{compared} answers of {} programs", operations().len());
    assert!(compared > 200_000);
}

/// What a program is written as.
fn lowered(text: &str, target: Target) -> Result<Vec<String>, LowerError> {
    let listing = lower(&unverified(&assemble(text)), &[], target, None)?.to_string();
    // The index and the bytes are before the text.
    Ok(listing
        .lines()
        .map(|line| line[32..].trim().to_string())
        .filter(|line| line != "(second half)")
        .collect())
}

#[test]
fn programs_are_written_as_the_table_says() {
    let rows = [
        ("w0 = w2", "r0 = r2; w0 &= -1"),
        ("w2 = w2", "w2 &= -1"),
        ("w2 = 5; r2 = r3", "w2 = 5; r2 = r3"),
        ("w0 %= w2", "w0 &= -1; w0 %= w2"),
        ("w0 %= 3; r0 %= r2", "w0 %= 3; r0 %= r2"),
        ("r0 = -r0; w0 = -w0", "r0 ^= -1; r0 += 1; w0 = -w0"),
        ("if r2 == -5 goto +0", "if r2 s< 0xfffffffb goto +1; if r2 s<= 0xfffffffb goto +0"),
        ("if r2 != -5 goto +0", "if r2 s< 0xfffffffb goto +1; if r2 s> 0xfffffffb goto +0"),
        ("if r2 > -5 goto +0", "if r2 s>= 0x0 goto +1; if r2 s> 0xfffffffb goto +0"),
        ("if r2 >= -5 goto +0", "if r2 s>= 0x0 goto +1; if r2 s>= 0xfffffffb goto +0"),
        ("if r2 < -5 goto +0", "if r2 s>= 0x0 goto +1; if r2 s< 0xfffffffb goto +0"),
        ("if r2 <= -5 goto +0", "if r2 s>= 0x0 goto +1; if r2 s<= 0xfffffffb goto +0"),
        ("if w2 == -5 goto +0", "if w2 == 0xfffffffb goto +0"),
        ("if r2 s> -5 goto +0", "if r2 s> 0xfffffffb goto +0"),
        ("if r10 > r2 goto +0", "if r2 < r10 goto +0"),
        ("if r10 s<= r2 goto +0", "if r2 s>= r10 goto +0"),
        ("if r2 == 1 goto -1", "if r2 == 0x1 goto +1; goto +1; goto -3"),
        ("goto -1", "goto +0; goto -2"),
        // A jump over what grows.
        ("if r2 == 1 goto +1; w0 = w2", "if r2 == 0x1 goto +2; r0 = r2; w0 &= -1"),
        ("w0 = w2; if r2 == 1 goto -2", "r0 = r2; w0 &= -1; if r2 == 0x1 goto -3"),
        ("r2 = 0x123456789a ll; goto -3", "r2 = 0x123456789a; goto -3"),
    ];
    for (text, expected) in rows {
        let expected: Vec<_> =
            expected.split(';').chain(["exit"]).map(|line| line.trim().to_string()).collect();
        assert_eq!(lowered(&format!("{text}; exit"), Target::Jit).unwrap(), expected, "{text}");
    }
    #[cfg(target_endian = "little")]
    assert_eq!(
        lowered("r0 = le16 r0; r0 = le32 r0; r0 = le64 r0; r0 = be16 r0; exit", Target::Jit).unwrap(),
        ["r0 &= 65535", "w0 &= -1", "goto +0", "r0 = be16 r0", "exit"]
    );
}

#[test]
fn helpers_of_the_interpreter_are_told_of_their_run() {
    assert_eq!(lowered("call 5; exit", Target::Jit).unwrap(), ["call 5", "exit"]);
    assert_eq!(
        lowered("call 5; exit", Target::Interpreter).unwrap(),
        [
            "(unknown)", // rbpf's own load of 8 bytes
            "*(u64 *)(r0 +0) = r10",
            "*(u64 *)(r0 +8) = r1",
            "r1 = r0",
            "call 5",
            "exit"
        ]
    );
}

#[test]
fn functions_are_written_where_they_are_called() {
    let text = "*(u64 *)(r10 -8) = 1; call f; call g; exit
        f: r6 = 1; *(u64 *)(r10 -16) = r6; call g; exit
        g: r7 = r10; r7 += -8; *(u8 *)(r7 +0) = 2; r0 = 0; exit";
    assert_eq!(
        lowered(text, Target::Jit).unwrap(),
        [
            "*(u64 *)(r10 -8) = 1",
            // f, below 8 bytes of the main program and two registers.
            "*(u64 *)(r10 -16) = r6",
            "*(u64 *)(r10 -24) = r7",
            "r6 = 1",
            "*(u64 *)(r10 -40) = r6",
            // g, below f, which has 16 bytes and keeps one register.
            "*(u64 *)(r10 -48) = r7",
            "r7 = r10",
            "r7 += -48",
            "r7 += -8",
            "*(u8 *)(r7 +0) = 2",
            "r0 = 0",
            "goto +0",
            "r7 = *(u64 *)(r10 -48)",
            "goto +0",
            "r6 = *(u64 *)(r10 -16)",
            "r7 = *(u64 *)(r10 -24)",
            "*(u64 *)(r10 -16) = r7",
            "r7 = r10",
            "r7 += -16",
            "r7 += -8",
            "*(u8 *)(r7 +0) = 2",
            "r0 = 0",
            "goto +0",
            "r7 = *(u64 *)(r10 -16)",
            "exit",
        ]
    );
}

#[test]
fn what_has_no_other_form_is_refused() {
    let refused = |text: &str| lowered(text, Target::Jit).unwrap_err();
    assert_eq!(refused("if r10 == 0 goto +0; exit"), LowerError::Frame(0));
    assert_eq!(refused("r0 = 0; if r10 == r10 goto +0; exit"), LowerError::Frame(1));
    let called =
        |insn: &str| format!("*(u64 *)(r10 -8) = 0; r1 = r10; call f; exit; f: {insn}; r0 = 0; exit");
    assert_eq!(refused(&called("*(u64 *)(r10 -8) = r10")), LowerError::Frame(4));
    assert_eq!(refused(&called("if r1 == r10 goto +0")), LowerError::Frame(4));
    assert_eq!(refused(&called("r1 ^= r10")), LowerError::Frame(4));
    assert!(lowered(&called("r1 -= r10; r2 = 1; r2 += r10"), Target::Jit).is_ok());

    assert_eq!(refused("r1 = map[0]; exit"), LowerError::Unknown(0));
    assert_eq!(refused("r1 = map[0][0]+0; exit"), LowerError::Unknown(0));
}

#[test]
fn frames_and_what_they_keep_fit_the_stack() {
    let text = |used: u32, callee: &str| {
        format!("*(u64 *)(r10 -{used}) = 0; call f; exit; f: *(u64 *)(r10 -256) = 0; {callee} r0 = 0; exit")
    };
    assert!(lowered(&text(256, ""), Target::Jit).is_ok());
    assert_eq!(lowered(&text(264, ""), Target::Jit), Err(LowerError::Stack));
    assert_eq!(lowered(&text(256, "r6 = 0;"), Target::Jit), Err(LowerError::Stack));
    assert!(lowered(&text(248, "r6 = 0;"), Target::Jit).is_ok());
    assert_eq!(lowered(&text(248, "r6 = 0; r9 = 0;"), Target::Jit), Err(LowerError::Stack));

    let chain = |functions: usize| {
        let calls = (1..functions).map(|n| format!("call f{n}; exit; f{n}: "));
        lowered(&format!("{}r0 = 0; exit", calls.collect::<String>()), Target::Jit)
    };
    assert!(chain(8).is_ok());
    assert_eq!(chain(9), Err(LowerError::Stack));
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn what_becomes_too_long_is_refused() {
    let text = |count: usize| format!("{}exit", "w0 = w2; ".repeat(count));
    let longest = lowered(&text(16_383), Target::Jit).unwrap();
    assert_eq!(longest.len(), 32_767);
    let one_more = lowered(&format!("r0 = 0; {}", text(16_383)), Target::Jit);
    assert_eq!(one_more, Err(LowerError::TooLong));

    // 200 calls of a function that calls another 200 times.
    let calls = |callee: &str| format!("call {callee}; ").repeat(200);
    let text = format!("{}exit; f: {}exit; g: r0 = 0; exit", calls("f"), calls("g"));
    assert_eq!(lowered(&text, Target::Jit), Err(LowerError::TooLong));
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn the_longest_programs_run() {
    // Over a jump that is as long as one can be.
    let text = format!("{INPUT} r0 = 3; if r2 == r3 goto end; {} end: exit", "w0 = w0; ".repeat(16_370));
    let insns = assemble(&text);
    let engines = in_all_engines(&insns, &[]);
    assert_eq!(answer(&engines, &with_args(&[1, 1])), 3);
    assert_eq!(answer(&engines, &with_args(&[1, 2])), 3);

    // Divisions have their own way of jumping.
    let text = format!("{INPUT} r0 = r2; {} exit", "w0 %= w3; r0 /= r3; ".repeat(5_000));
    let engines = in_all_engines(&assemble(&text), &[]);
    assert_eq!(answer(&engines, &with_args(&[MIXED, 0])), 0);
    assert_eq!(answer(&engines, &with_args(&[MIXED, 1 << 33])), 0);
}

#[test]
fn what_no_run_gets_to_may_be_anything() {
    for (text, dead) in [
        ("r0 = 7; if r0 == 7 goto +4; r10 = 5; call 99; r1 = map[9]; exit", 2..6),
        // At the end, where a jump that is never taken leads.
        ("r0 = 7; if r0 != 7 goto +1; exit; call 99; r10 = 5", 3..5),
    ] {
        let insns = assemble(text);
        for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
            let functions = vec![Function { entry: 0, stack: 0 }];
            let program = Program::from_parts(&insns, |pc| !dead.contains(&pc), functions).unwrap();
            let loaded = Extension::from_parts(program, vec![], &HELPERS, kind, &Pages).unwrap();
            assert_eq!((loaded.engine(), loaded.fell_back()), (kind, None), "{text}");
            assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), 7);
        }
    }
}

#[test]
fn calls_go_as_deep_as_the_verifier_lets_them() {
    let functions =
        (1..MAX_CALL_DEPTH - 1).map(|depth| format!("f{depth}: call f{}; r0 += 1; exit", depth + 1));
    let last = MAX_CALL_DEPTH - 1;
    let text = format!(
        "call f1; r0 += 1; exit; {}; f{last}: r0 = 1; exit",
        functions.collect::<Vec<_>>().join("; ")
    );
    let extensions = in_all_engines(&assemble(&text), &[]);
    assert_eq!(answer(&extensions, &with_args(&[])), MAX_CALL_DEPTH as u32);
}

#[test]
fn an_extension_keeps_the_helpers_that_it_calls() {
    let loaded = load(&assemble("call 7; r0 = 5; exit"), vec![], EngineKind::Native);
    assert_eq!(loaded.helpers().iter().map(|row| row.helper.id).collect::<Vec<_>>(), [7]);
}

#[test]
fn an_engine_that_cannot_have_a_program_gives_way() {
    let text = "*(u64 *)(r10 -256) = 0; call f; exit; f: r6 = 5; *(u64 *)(r10 -256) = 0; r0 = r6; exit";
    let loaded =
        Extension::from_parts(unverified(&assemble(text)), vec![], &HELPERS, EngineKind::Jit, &Pages)
            .unwrap();
    let has_jit = has(EngineKind::Jit);
    let why = if has_jit { EngineError::Lower(LowerError::Stack) } else { EngineError::Architecture };
    assert_eq!((loaded.engine(), loaded.fell_back()), (EngineKind::Native, Some(why)));
    assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), 5);
}

/// Arrays of values of these sizes, each value with its index in its first byte.
fn arrays(sizes: &[u32]) -> Vec<Arc<Map>> {
    let array = |value_size: &u32| {
        let access = MapAccess::ReadWrite;
        let descriptor = MapDescriptor {
            kind: MapKind::Array,
            key_size: 4,
            value_size: *value_size,
            max_entries: 5,
            access,
        };
        let map = Map::new(descriptor, MapOptions::default(), &UserSpace).unwrap();
        for index in 0..5_u32 {
            let mut value = vec![0xee; *value_size as usize];
            value[0] = index as u8;
            map.update(&index.to_ne_bytes(), &value, Update::Any).unwrap();
        }
        Arc::new(map)
    };
    sizes.iter().map(array).collect()
}

/// A lookup in an array, and whether the JIT calls the helper for it. What is behind it returns the value's first
/// byte, 100 where there is none.
#[test]
#[cfg_attr(miri, ignore = "many programs to verify")]
fn lookups_in_arrays_are_written_out_where_the_map_is_known() {
    const KEY: &str =
        "r6 = *(u64 *)(r1 +16); r7 = *(u64 *)(r1 +24); *(u32 *)(r10 -4) = r6; r2 = r10; r2 += -4;";
    const BYTE: &str = "if r0 != 0 goto +2; r0 = 100; exit; r0 = *(u8 *)(r0 +0); exit";
    let rows: [(&str, bool); 9] = [
        ("r1 = map[0]; call 1;", false),
        ("r1 = map[1]; call 1;", false),
        ("r1 = map[2]; call 1;", false),
        ("r1 = map[0]; r2 = r10; r2 += -4; r6 = 1; call 1;", false),
        // What was in r1 before does not count.
        ("r1 = map[1]; r1 = map[0]; call 1;", false),
        ("r3 = map[0]; r1 = r3; call 1;", true),
        // Two ways meet, each with another map.
        ("r1 = map[0]; if r7 == 0 goto +2; r1 = map[1]; call 1;", true),
        // It is unknown after a call.
        ("r1 = map[0]; r8 = r1; call 1; r2 = r10; r2 += -4; r1 = r8; call 1;", true),
        ("r1 = map[0]; if r7 == 0 goto +0; call 1;", true),
    ];
    let maps = arrays(&[1, 24, 16]);
    for (text, calls) in rows {
        let program = assemble(&format!("{KEY} {text} {BYTE}"));
        let engines = in_all_engines(&program, &maps);
        for index in [0, 1, 4, 5, 6, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0001] {
            for other in [0, 1] {
                let expected = if index as u32 <= 4 { index as u32 } else { 100 };
                assert_eq!(answer(&engines, &with_args(&[index, other])), expected, "{text} {index:#x}");
            }
        }
        for (kind, expected) in [(EngineKind::Jit, calls), (EngineKind::Interpreter, true)] {
            let lowered = engines[0].lowered(kind).unwrap().unwrap().to_string();
            assert_eq!(lowered.contains("call 1\n"), expected, "{text}: {lowered}");
        }
    }
}

/// An embedder's helper of the same number is called.
#[test]
fn another_helper_of_the_lookups_number_is_called() {
    let mut row = HELPERS[0];
    row = HelperRow::new("own", row.helper, row.capability, |_| 0);
    let maps = arrays(&[8]);
    let program = assemble(
        "*(u32 *)(r10 -4) = 0; r2 = r10; r2 += -4; r1 = map[0]; call 1; if r0 == 0 goto +2; r0 = 1; exit; r0 = 2; exit",
    );
    for kind in EngineKind::ALL.into_iter().filter(|kind| has(*kind)) {
        let loaded = Extension::load(&verified(&program, &maps), maps.clone(), &[row], kind, &Pages).unwrap();
        assert_eq!(loaded.run(&with_args(&[]), &Thread::new()), 2, "{kind:?}");
    }
}
