//! `diff` with an SMT solver, for what following paths leaves undecided.

mod invoke;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use cbpf_translator::{Checked, check};
use rand::Rng;
use seccomp_rbpf::symbolic::{Solver, Unsolved, Work, diff};
use seccomp_rbpf::trace::trace;
use seccomp_tests::generate;
use serde_json::Value;
use tempfile::TempDir;

use invoke::{command, file};

/// A machine may be busy.
const TIME: [&str; 2] = ["--solver-time", "600"];

fn printed(command: &mut Command, status: i32) -> String {
    let output = command.assert().code(status).stderr("").get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// With the low words of the first two arguments, which `a` and `b` are called here; a line is an instruction.
fn assembler(text: &str) -> String {
    text.replace("ld a", "ld [16]").replace("ld b", "ld [24]").replace(", ", "\n").replace('|', ", ") + "\n"
}

/// Pairs of programs that no path-following decides.
const EQUAL: [(&str, &str); 13] = [
    // a * b = b * a
    ("ld a, tax, ld b, mul x, ret a", "ld b, tax, ld a, mul x, ret a"),
    // a * (b + 1) = a * b + a
    ("ld a, tax, ld b, add #1, mul x, ret a", "ld a, tax, ld b, mul x, add x, ret a"),
    // (a + b)^2 = a^2 + 2 * a * b + b^2, with slots
    (
        "ld a, tax, ld b, add x, tax, mul x, ret a",
        "ld a, tax, mul x, st M[0], ld b, mul x, mul #2, ldx M[0], add x, st M[15], ld b, tax, mul x, ldx M[15], \
         add x, ret a",
    ),
    // Whether the product of two has a value, with the same bits made in two ways.
    (
        "ld a, tax, ld b, and #0x7fff, or #1, mul x, jne #0x7ffffe39|other, ret #1, other: ret #0x7fff0000",
        "ld a, tax, ld b, or #1, and #0x7fff, mul x, jne #0x7ffffe39|other, ret #1, other: ret #0x7fff0000",
    ),
    // Squares are 0 or 1 modulo 4.
    ("ld a, tax, mul x, and #3, jgt #1|other, ret #0x7fff0000, other: ret #1", "ret #0x7fff0000"),
    // a / b * b + a % b = a; a division by 0 ends with 0.
    (
        "ld b, tax, ld a, div x, mul x, st M[0], ld a, ldx M[0], sub x, add x, ret a",
        "ld b, jeq #0|zero, ld a, ret a, zero: ret #0",
    ),
    // a / b * b <= a
    (
        "ld b, tax, ld a, div x, mul x, tax, ld a, jge x|ok, ret #1, ok: ret #0x7fff0000",
        "ld b, jeq #0|zero, ret #0x7fff0000, zero: ret #0",
    ),
    // a % b < b
    (
        "ld b, tax, ld a, div x, mul x, tax, ld a, sub x, ldx #0, stx M[1], st M[2], ld b, tax, ld M[2], jge x|no, \
         ret #0x7fff0000, no: ret #1",
        "ld b, jeq #0|zero, ret #0x7fff0000, zero: ret #0",
    ),
    // a / (b | 1) = 0 where a is below it
    (
        "ld b, or #1, tax, ld a, jge x|above, div x, ret a, above: ret #2",
        "ld b, or #1, tax, ld a, jge x|above, ret #0, above: ret #2",
    ),
    // Shift counts are taken modulo 32.
    ("ld b, tax, ld a, rsh x, lsh x, ret a", "ld b, tax, ld #0xffffffff, lsh x, tax, ld a, and x, ret a"),
    ("ld b, tax, ld a, lsh x, ret a", "ld b, and #31, tax, ld #1, lsh x, tax, ld a, mul x, ret a"),
    ("ld b, tax, ld a, rsh x, ret a", "ld b, add #32, tax, ld a, rsh x, ret a"),
    // -(a * b) = -a * b
    ("ld a, tax, ld b, mul x, neg, ret a", "ld a, neg, tax, ld b, mul x, ret a"),
];

/// The same with a fault in one.
const DIFFERENT: [(&str, &str); 7] = [
    ("ld a, tax, ld b, mul x, jeq #0x12345677|hit, ret #0x7fff0000, hit: ret #1", "ret #0x7fff0000"),
    // a * (b + 1) and a * b + b
    (
        "ld a, tax, ld b, add #1, mul x, and #0xffff, jeq #0x1234|hit, ret #1, hit: ret #2",
        "ld b, tax, ld a, mul x, add x, and #0xffff, jeq #0x1234|hit, ret #1, hit: ret #2",
    ),
    // The one product that both are a factor of beside 1.
    (
        "ld a, jge #0x10000|no, jle #1|no, tax, ld b, jge #0x10000|no, jle #1|no, mul x, jeq #0xfff1fffd|no, \
         jeq #4292870399|hit, no: ret #0x7fff0000, hit: ret #1",
        "ret #0x7fff0000",
    ),
    // A division by 0 ends with 0.
    ("ld b, tax, ld a, div x, mul x, jle #0xffffffff|ok, ret #1, ok: ret #3", "ret #3"),
    // A count of 32 is one of 0.
    (
        "ld b, jge #33|no, jeq #0|no, tax, ld a, jeq #0|no, lsh x, tax, ld a, jeq x|hit, no: ret #0x7fff0000, hit: ret #1",
        "ret #0x7fff0000",
    ),
    // Slots that are mixed up.
    (
        "ld a, st M[3], ld b, st M[4], ldx M[3], ld M[4], div x, mul x, ret a",
        "ld a, st M[4], ld b, st M[3], ldx M[3], ld M[4], div x, mul x, ret a",
    ),
    // Not all squares are 1 modulo 8.
    (
        "ld a, tax, mul x, and #7, jeq #1|ok, ret #1, ok: ret #0x7fff0000",
        "ld a, and #3, jeq #2|ok, ld a, tax, mul x, and #7, jeq #1|ok, ret #1, ok: ret #0x7fff0000",
    ),
];

/// The two as files.
fn files(folder: &TempDir, (a, b): (&str, &str)) -> [PathBuf; 2] {
    [("a.asm", a), ("b.asm", b)].map(|(name, text)| file(folder, name, assembler(text)))
}

#[test]
fn equal_products_quotients_and_shifts_are_equal() {
    let folder = TempDir::new().unwrap();
    let mut undecided = 0;
    for pair in EQUAL {
        let files = files(&folder, pair);
        let decided = printed(command("diff").args(&files).args(TIME), 0);
        assert_eq!(decided, "equal for every call\n", "{pair:?}");
        let without = command("diff").args(&files).args(["--solver", "no-such-solver"]).assert();
        undecided += usize::from(without.get_output().status.code() == Some(3));
    }
    assert!(undecided >= EQUAL.len() - 1, "{undecided} are undecided without a solver");
}

#[test]
fn different_ones_have_a_call_that_shows_it() {
    let folder = TempDir::new().unwrap();
    for pair in DIFFERENT {
        let files = files(&folder, pair);
        let text = printed(command("diff").args(&files).args(TIME).arg("--json"), 1);
        let all: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&all["equal"], &all["complete"]), (&false.into(), &true.into()), "{pair:?} {text}");
        for row in all["differences"].as_array().unwrap() {
            let calls = file(&folder, "calls", format!("{}\n", row["witness"]["batch"].as_str().unwrap()));
            let [a, b] =
                [0, 1].map(|index| printed(command("eval").arg(&files[index]).arg("--batch").arg(&calls), 0));
            assert_eq!(a.trim_end(), row["a"]["value"].as_str().unwrap(), "{pair:?}");
            assert_eq!(b.trim_end(), row["b"]["value"].as_str().unwrap(), "{pair:?}");
            assert_ne!(a, b);
        }
    }
}

/// 2^32 paths: each bit of an argument decides about a jump.
#[test]
fn paths_that_are_too_many_are_one_formula() {
    let copy = |bits: &[u32]| {
        let bit = |bit: &u32| {
            format!(
                "ld [16]\njset #{0:#x}, y{bit}, n{bit}\ny{bit}: ld M[0]\nor #{0:#x}\nst M[0]\nn{bit}: ",
                1u32 << bit
            )
        };
        format!("ld #0\nst M[0]\n{}ld M[0]\nret a\n", bits.iter().map(bit).collect::<String>())
    };
    let folder = TempDir::new().unwrap();
    let up: Vec<u32> = (0..32).collect();
    let down: Vec<u32> = (0..32).rev().collect();
    let [a, b] = [("a.asm", &up), ("b.asm", &down)].map(|(name, bits)| file(&folder, name, copy(bits)));
    assert_eq!(printed(command("diff").args([&a, &b]).args(TIME), 0), "equal for every call\n");
    let b = file(&folder, "b.asm", copy(&down[..31]));
    let text = printed(command("diff").args([&a, &b]).args(TIME), 1);
    assert!(text.contains("shown by "), "{text}");
}

/// A program that stands in for a solver.
fn stand_in(folder: &TempDir, script: &str) -> PathBuf {
    let path = file(folder, "solver", format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_solver_that_has_no_answer_decides_nothing() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder, EQUAL[0]);
    let answers = |check: &str, value: &str| {
        format!(
            "while read -r line; do case $line in *check-sat*) {check};; *get-value*) echo '{value}';; \
             *) echo success;; esac; done"
        )
    };
    let words = |value: &str| {
        let pairs: Vec<_> = (0..16).map(|index| format!("(w{index} {value})")).collect();
        format!("({})", pairs.join(" "))
    };
    let no_answer = "gave no answer; --solver takes another";
    let no_time = "had no answer in the time that it has; --solver-time gives it more";
    for (script, expected) in [
        ("exec sleep 1000".into(), no_time),
        // What it has started is ended too.
        ("sleep 1000; true".into(), no_time),
        (answers("sleep 1000", ""), no_time),
        (answers("echo unknown", ""), no_time),
        ("exit 1".into(), no_answer),
        ("echo nonsense; exec cat >/dev/null".into(), no_answer),
        ("echo '('; exec cat >/dev/null".into(), no_time),
        (answers("exit", ""), no_answer),
        (answers("echo '(error \"x\")'", ""), no_answer),
        (answers("echo sat", "nonsense"), no_answer),
        (answers("echo sat", "(a b)"), no_answer),
        (answers("echo sat", "((w0 #x00000000))"), no_answer),
        (answers("echo sat", &words("#xfffffffff")), no_answer),
        (answers("echo sat", &words("(_ bv0 32)")), no_answer),
        // A call on which the two are the same.
        (answers("echo sat", &words("#x00000007")), no_answer),
        (answers("echo sat", &words("#b101")), no_answer),
    ] {
        let solver = stand_in(&folder, &script);
        let begun = Instant::now();
        let mut diff = command("diff");
        diff.args(&files).arg("--solver").arg(&solver).args(["--solver-time", "1"]);
        let text = printed(&mut diff, 3);
        assert!(
            text.starts_with("undecided: ") && text.ends_with(&format!("{expected}\n")),
            "{script}: {text}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20), "{script}");
    }

    let missing = printed(command("diff").args(&files).args(["--solver", "/none/z3", "--json"]), 3);
    let all: Value = serde_json::from_str(&missing).unwrap();
    assert_eq!((&all["equal"], &all["complete"]), (&Value::Null, &false.into()));
    let why = all["undecided"].as_str().unwrap();
    assert_eq!(why, "not all could be followed, and /none/z3 is not installed, which could decide it");
    // Nothing is asked where nothing is left.
    printed(command("diff").args([&files[0], &files[0]]).args(["--solver", "/none/z3"]), 0);
    let time = command("diff").args(&files).args(["--solver-time", "0"]).assert().code(2);
    assert!(String::from_utf8_lossy(&time.get_output().stderr).contains("--solver-time"));
}

/// A program and one with a fault.
fn pair(rng: &mut rand::rngs::SmallRng, longest: usize) -> Option<[Checked; 2]> {
    let before = generate::program(rng, longest);
    let mut after = before.clone();
    let place = rng.random_range(0..after.len());
    match rng.random_range(0..3) {
        0 => after[place].k ^= 1 << rng.random_range(0..32),
        1 => after[place].k = after[place].k.wrapping_add(1),
        _ => after[place].k = before[rng.random_range(0..before.len())].k,
    }
    Some([check(before).ok()?, check(after).ok()?])
}

/// With a solver, whether two programs are equal is decided, but where it runs out of time; and the solver alone says
/// what following paths says.
#[test]
fn next_to_nothing_is_left_undecided_and_both_ways_agree() {
    let mut rng = generate::seeded();
    let (mut left, mut equal, mut different, mut gave_up) = (0, 0, 0, 0);
    for round in 0..1500 {
        let Some([a, b]) = pair(&mut rng, 48) else { continue };
        let solver = || Solver::new("z3", Duration::from_secs(60));
        let mut followed = diff(&a, &b, &mut Work::new(1 << 22));
        let is_left = followed.undecided;
        if !is_left && round % 10 != 0 {
            continue;
        }
        left += usize::from(is_left);
        let replay = || {
            let [a, b] = [&a, &b].map(|program| generate::replay(program.insns(), &Default::default()));
            format!("{a}\n{b}")
        };
        let decided = followed.decide([&a, &b], &solver());
        if decided == Err(Unsolved::GaveUp) {
            gave_up += 1;
            continue;
        }
        assert!(decided.is_ok(), "{decided:?} {}", replay());
        // Of what is different, more may differ where paths are too many.
        assert!(!followed.undecided || !followed.found.is_empty(), "{}", replay());
        // Nothing is followed.
        let mut asked = diff(&a, &b, &mut Work::new(0));
        assert!(asked.undecided && asked.found.is_empty());
        let decided = asked.decide([&a, &b], &solver());
        if decided == Err(Unsolved::GaveUp) {
            gave_up += 1;
            continue;
        }
        assert!(decided.is_ok(), "{decided:?} {}", replay());
        assert_eq!(asked.found.is_empty(), followed.found.is_empty(), "{}", replay());
        assert_eq!(asked.undecided, !asked.found.is_empty());
        *(if followed.found.is_empty() { &mut equal } else { &mut different }) += 1;
        for difference in asked.found.iter().chain(&followed.found) {
            let [a, b] = [&a, &b].map(|program| trace(program, &difference.witness).value);
            assert_ne!(a, b, "{}", replay());
        }
    }
    println!("{left} were left undecided, {equal} are equal, {different} are not, {gave_up} took too long");
    assert!(gave_up <= 3, "{gave_up} of {}", equal + different + gave_up);
    assert!(equal > 20 && different > 3, "{left} {equal} {different}");
}
