//! `diff`: the numbers that it names are those on which runs of the two filters differ, all and no others.

mod invoke;

use std::collections::BTreeSet;
use std::fmt::Write;

use cbpf_translator::{Checked, asm, check};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use seccomp_kernel::Arch;
use seccomp_runtime::{EngineKind, Loaded, NoExecMemory, SeccompData};
use seccomp_tests::generate;
use serde_json::{Value, json};
use tempfile::TempDir;

use invoke::{command, file};

/// The differences of two filters, and what they are in text.
fn compared(folder: &TempDir, texts: [&str; 2], options: &[&str]) -> (Vec<Value>, String) {
    let [a, b] = [("a.asm", texts[0]), ("b.asm", texts[1])].map(|(name, text)| file(folder, name, text));
    let diff = |json: &[&str]| {
        let mut diff = command("diff");
        let output = diff.args([&a, &b]).args(options).args(json).output().expect("it runs");
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}\n{}\n{}", texts[0], texts[1]);
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let all: Value = serde_json::from_str(&diff(&["--json"])).expect("JSON");
    assert_eq!(all["complete"], true);
    (all["differences"].as_array().expect("a list").clone(), diff(&[]))
}

/// A filter that kills x32 by a bit of the number, and says of calls from `new` on that there are none.
fn with_a_stub(new: u32) -> String {
    format!(
        "ld [4]\njeq #AUDIT_ARCH_I386, i386\njne #AUDIT_ARCH_X86_64, kill\n\
         ld [0]\njset #0x40000000, kill\njmp native\ni386: ld [0]\n\
         native: jge #{new}, enosys\nret #SECCOMP_RET_ALLOW\n\
         enosys: ret #SECCOMP_RET_ERRNO|38\nkill: ret #0\n"
    )
}

#[test]
fn a_test_of_x32s_bit_leaves_the_numbers_that_differ() {
    let folder = TempDir::new().unwrap();
    let (rows, text) = compared(&folder, [&with_a_stub(457), &with_a_stub(460)], &[]);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (&row["entry"], &row["numbers"], &row["complete"], &row["condition"]))
        .collect();
    let (numbers, complete, always) = (json!([[457, 459]]), json!(true), json!("always"));
    let [x86_64, i386] = ["x86_64", "i386"].map(Value::from);
    assert_eq!(
        seen,
        [(&x86_64, &numbers, &complete, &always), (&i386, &numbers, &complete, &always)],
        "the native entry is first"
    );
    assert_eq!(rows[0]["names"], json!(["statmount", "listmount", "lsm_get_self_attr"]));
    assert!(text.starts_with("AUDIT_ARCH_X86_64: ") && text.contains("\n  numbers 457-459\n"), "{text}");
    // Of another machine the other entry is first.
    let (rows, _) = compared(&folder, [&with_a_stub(457), &with_a_stub(460)], &["--arch", "i386"]);
    assert_eq!(rows[0]["entry"], "i386");
}

/// x32 shares its architecture with x86-64 and has names of its own.
#[test]
fn entries_of_one_architecture_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let deny = "ld [4]\njne #AUDIT_ARCH_X86_64, allow\nld [0]\nand #0x3fffffff\njeq #83, deny\n\
                allow: ret #SECCOMP_RET_ALLOW\ndeny: ret #0\n";
    let (rows, text) = compared(&folder, ["ret #SECCOMP_RET_ALLOW\n", deny], &[]);
    let seen: Vec<_> = rows.iter().map(|row| (&row["entry"], &row["numbers"], &row["names"])).collect();
    let bit = 1u32 << 30;
    assert_eq!(
        seen,
        [
            (
                &json!("x86_64"),
                &json!([[83, 83], [2 * bit + 83, 2 * bit + 83], [3 * bit + 83, 3 * bit + 83]]),
                &json!(["mkdir"])
            ),
            (&json!("x32"), &json!([[bit + 83, bit + 83]]), &json!(["mkdir"])),
        ]
    );
    assert!(text.contains("AUDIT_ARCH_X86_64 (x32): "), "{text}");
}

/// What no list of intervals says is said by a condition, and of the numbers that calls have all are listed.
#[test]
fn of_numbers_without_end_those_that_calls_have_are_listed() {
    let folder = TempDir::new().unwrap();
    let odd = "ld [4]\njne #AUDIT_ARCH_ARM, allow\nld [0]\njset #1, deny\nallow: ret #SECCOMP_RET_ALLOW\ndeny: ret #0\n";
    let (rows, text) = compared(&folder, ["ret #SECCOMP_RET_ALLOW\n", odd], &[]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&row["complete"], &row["condition"]), (&json!(false), &json!("nr & 0x1 != 0")));
    let numbers = numbers(row);
    let bases = [0, 1 << 30, 0xf_0000];
    let odd: BTreeSet<_> =
        bases.into_iter().flat_map(|base| base..base + 0x1000).filter(|nr| nr % 2 == 1).collect();
    assert_eq!(numbers, odd);
    let names: Vec<_> =
        odd.iter().filter_map(|nr| Arch::Arm.syscall_name(nr.cast_signed())).map(Value::from).collect();
    assert_eq!(row["names"], Value::from(names));
    assert!(text.contains("where nr & 0x1 != 0\n  among others numbers 1, 3, 5, "), "{text}");
}

/// A value that is computed of the call is that of the one that is shown, and is said to be so.
#[test]
fn computed_values_are_said_to_be() {
    let folder = TempDir::new().unwrap();
    let (rows, text) = compared(&folder, ["ret #0x7fff0000\n", "ld [0]\nret a\n"], &[]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&row["a"]["computed"], &row["b"]["computed"]), (&json!(false), &json!(true)));
    assert_eq!(row["numbers"], json!([[0, 0x7ffe_ffff], [0x7fff_0001, u32::MAX]]));
    assert!(text.lines().next().unwrap().ends_with(" computed of the call"), "{text}");
}

/// Every number in a row.
fn numbers(row: &Value) -> BTreeSet<u32> {
    let ranges: Vec<(u32, u32)> = serde_json::from_value(row["numbers"].clone()).expect("pairs");
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
    let tried = |(first, last): (u32, u32)| tried().filter(move |nr| (first..=last).contains(nr));
    ranges.into_iter().flat_map(tried).collect()
}

/// The numbers that are tried: those that calls have, and some at the ends of what there is.
fn tried() -> impl Iterator<Item = u32> {
    const ROOM: u32 = 0x1000;
    let bases = [0, 0xf_0000, 1 << 30, (1 << 31) - ROOM, 1 << 31, 3 << 30, (0u32).wrapping_sub(ROOM)];
    bases.into_iter().flat_map(|base| (0..ROOM).map(move |above| base + above))
}

/// Whether all that is tried of these is listed, however many there are.
fn is_likely(nr: u32) -> bool {
    [0, 0xf_0000, 1 << 30].into_iter().any(|base| (base..base + 0x1000).contains(&nr))
}

/// A filter that asks about the number in several ways, and perhaps the architecture and bits of an argument.
fn asking(rng: &mut SmallRng) -> Vec<String> {
    const CONSTANTS: [u32; 16] =
        [0, 1, 2, 3, 5, 7, 0x10, 0x3f, 83, 0xff, 457, 0x1ff, 0x3fff_ffff, 1 << 30, 1 << 31, u32::MAX];
    let constant = |rng: &mut SmallRng| match rng.random_range(0..3) {
        0 => rng.random_range(0..600),
        1 => 1 << rng.random_range(0..32),
        _ => *CONSTANTS.choose(rng).expect("there are some"),
    };
    let mut lines = Vec::new();
    for _ in 0..rng.random_range(1..4) {
        if rng.random_ratio(1, 8) {
            // With an argument, of which few bits count.
            let op = ["add", "xor", "and", "sub"].choose(rng).expect("there are some");
            lines.push(format!("ld [0]\ntax\nld [16]\nand #7\n{op} x"));
        } else {
            lines.push("ld [0]".into());
        }
        for _ in 0..rng.random_range(0..3) {
            let (op, count) = match rng.random_range(0..9) {
                0 | 1 => ("and", None),
                2 => ("or", None),
                3 => ("xor", None),
                4 => ("add", None),
                5 => ("sub", None),
                6 => ("lsh", Some(rng.random_range(0..8))),
                7 => ("rsh", Some(rng.random_range(0..8))),
                _ => ("div", Some(rng.random_range(1..9))),
            };
            lines.push(format!("{op} #{}", count.unwrap_or_else(|| constant(rng))));
        }
        let (jump, value) = (["jset", "jeq", "jgt", "jge"].choose(rng), constant(rng));
        let (jump, end) = (jump.expect("there are some"), ["yes", "no"].choose(rng).expect("two"));
        lines.push(format!("{jump} #{value}, {end}"));
    }
    lines
}

fn program(arch: Option<&str>, lines: &[String]) -> String {
    let mut text = String::new();
    if let Some(arch) = arch {
        let _ = writeln!(text, "ld [4]\njne #{arch}, no");
    }
    for line in lines {
        let _ = writeln!(text, "{line}");
    }
    text + "no: ret #SECCOMP_RET_ALLOW\nyes: ret #SECCOMP_RET_ERRNO|1\n"
}

#[test]
fn numbers_are_those_on_which_runs_differ() {
    const ARCHES: [(&str, u32); 3] =
        [("AUDIT_ARCH_X86_64", 0xc000_003e), ("AUDIT_ARCH_ARM", 0x4000_0028), ("no architecture", 1)];
    let (mut rng, folder) = (generate::seeded(), TempDir::new().unwrap());
    let (mut complete, mut listed, mut shown) = (0, 0, 0);
    for _ in 0..100 {
        let arch = rng.random_ratio(1, 2).then(|| ARCHES[rng.random_range(0..2)].0);
        let old = asking(&mut rng);
        let mut new = if rng.random_ratio(1, 2) { asking(&mut rng) } else { old.clone() };
        let place = rng.random_range(0..new.len());
        new[place] = new[place].replace("#1", "#2").replace("jset", "jge").replace("sub", "add");
        let texts = [program(arch, &old), program(arch, &new)];
        let (rows, _) = compared(&folder, texts.each_ref().map(String::as_str), &[]);
        let [a, b] = texts.each_ref().map(|text| load(text));
        let is_first = |row: &Value| row["entry"] != "x86_64";
        assert!(rows.is_sorted_by_key(is_first), "{rows:?}");
        for (name, number) in ARCHES {
            // Of these calls, rows of this architecture, of all or of all but one tell.
            let own = rows.iter().filter(|row| match row["arch"].as_str() {
                Some("every architecture") => true,
                Some("other architectures") => arch != Some(name),
                said => said == Some(name),
            });
            let own: Vec<_> = own.map(|row| (row, numbers(row))).collect();
            for nr in tried() {
                let call = |arg| SeccompData {
                    nr: nr.cast_signed(),
                    arch: number,
                    args: [arg, 0, 0, 0, 0, 0],
                    ..SeccompData::default()
                };
                let differs = (0..8).any(|arg| a.run(&call(arg)) != b.run(&call(arg)));
                let is_said = own.iter().any(|(_, numbers)| numbers.contains(&nr));
                let why = || format!("{name} {nr:#x}: {differs}\n{}\n{}\n{rows:#?}", texts[0], texts[1]);
                assert!(!is_said || differs, "too many: {}", why());
                let all = own
                    .iter()
                    .all(|(row, numbers)| row["complete"] == true || is_likely(nr) && numbers.len() > 1);
                assert!(is_said || !differs || !all, "too few: {}", why());
            }
            for (row, numbers) in own {
                match (&row["complete"], numbers.len()) {
                    (Value::Bool(true), _) => complete += 1,
                    (_, ..2) => shown += 1,
                    _ => listed += 1,
                }
                let entry = Arch::ALL.into_iter().find(|arch| row["entry"] == arch.name());
                let names = numbers.iter().filter_map(|nr| entry?.syscall_name(nr.cast_signed()));
                assert_eq!(row["names"], Value::from(names.collect::<Vec<_>>()), "{row}");
            }
        }
    }
    println!("{complete} with all numbers, {listed} with those of calls, {shown} with one");
    assert!(complete > 60 && shown * 10 < complete + listed, "{complete} {listed} {shown}");
}

fn load(text: &str) -> Loaded {
    let program: Checked = check(asm::assemble(text, &|_| None).unwrap()).unwrap();
    Loaded::load(program, EngineKind::Native, &NoExecMemory).unwrap()
}
