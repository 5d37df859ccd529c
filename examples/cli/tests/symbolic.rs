//! `table` and `diff`: what they say of all calls is what runs say of each.

mod invoke;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cbpf_translator::{Checked, SockFilter, check};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use seccomp_kernel::{Arch, strictest};
use seccomp_rbpf::symbolic::{Calls, Decision, Member, Set, Work, agree, decision, diff, others, stacked};
use seccomp_runtime::{EngineKind, Loaded, NoExecMemory, SeccompData};
use seccomp_tests::generate;
use serde_json::{Value, json};
use tempfile::TempDir;

use invoke::{command, file};

fn printed(command: &mut Command, status: i32) -> String {
    let output = command.assert().code(status).stderr("").get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

fn load(program: &Checked) -> Loaded {
    Loaded::load(program.clone(), EngineKind::Native, &NoExecMemory).unwrap()
}

/// A profile with rules for few calls and with arguments near each other.
fn profile(rng: &mut SmallRng) -> Value {
    const NAMES: [&str; 6] = ["read", "openat", "clone", "personality", "socket", "ioctl"];
    const OPS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    const VALUES: [u64; 10] = [0, 1, 5, 6, 0x10, 0xffff_ffff, 1 << 32, 1 << 32 | 5, 0x7e02_0000, u64::MAX];
    let rules = (0..rng.random_range(1..8)).map(|_| {
        let args = (0..rng.random_range(0..3)).map(|index| {
            let [first, second] = [(); 2].map(|()| *VALUES.choose(rng).unwrap());
            let op = format!("SCMP_CMP_{}", OPS.choose(rng).unwrap());
            json!({"index": index, "value": first, "valueTwo": second, "op": op})
        });
        let args: Vec<_> = args.collect();
        json!({"names": [NAMES.choose(rng).unwrap()], "action": "SCMP_ACT_ALLOW", "args": args})
    });
    let rules: Vec<_> = rules.collect();
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
}

fn compiled(profile: &Value) -> Option<Checked> {
    use seccomp_rbpf::profile::{Kernel, Machine, Profile};
    let caps = Machine::DOCKER_CAPS.map(String::from).into();
    let machine = Machine { arch: Arch::X86_64, caps, kernel: Kernel::running().unwrap() };
    let json = serde_json::to_vec(profile).unwrap();
    let meaning = Profile::parse(&json).unwrap().resolve(&machine).ok()?;
    Some(check(meaning.compile().ok()?).unwrap())
}

/// Calls of one number with arguments near constants of the program.
fn calls(rng: &mut SmallRng, program: &[SockFilter], arch: u32, nr: i32) -> Vec<SeccompData> {
    (0..24)
        .map(|_| {
            let mut data = generate::input(rng, program);
            for arg in &mut data.args {
                if rng.random_ratio(1, 2) {
                    let word = |rng: &mut SmallRng| u64::from(program.choose(rng).map_or(0, |insn| insn.k));
                    *arg = word(rng).wrapping_add(rng.random_range(0..3)).wrapping_sub(1) & 0xffff_ffff;
                    if rng.random_ratio(1, 2) {
                        *arg |= word(rng) << 32;
                    }
                }
            }
            SeccompData { nr, arch, ..data }
        })
        .collect()
}

/// What is said of a call's number holds of the call, and little is left unsaid.
#[test]
fn decisions_are_those_of_runs() {
    let mut rng = generate::seeded();
    let arch = Arch::X86_64.audit_arch();
    let (mut cases, mut depends) = (0, 0);
    for round in 0..3000 {
        let program = match round % 2 {
            0 => check(generate::program(&mut rng, 64)).unwrap(),
            _ => match compiled(&profile(&mut rng)) {
                Some(program) => program,
                None => continue,
            },
        };
        let engine = load(&program);
        let few = Set::range(0, u32::MAX.into()).and(&Set::of(257).not(u32::MAX.into()));
        let other = others(&program, arch, &few, &mut Work::new(1 << 20));
        for nr in [0, 257, 56, 135, 41, 1000, -1] {
            let said = decision(&program, arch, nr, &mut Work::new(1 << 20));
            match said {
                Decision::Always(_) => {}
                Decision::Cases { .. } => cases += 1,
                Decision::Depends => depends += usize::from(round % 2 == 1),
            }
            for data in calls(&mut rng, program.insns(), arch, nr) {
                let value = engine.run(&data);
                let replay = || format!("{said:?} {}", generate::replay(program.insns(), &data));
                assert!(said.value(&data).is_none_or(|said| said == value), "{}", replay());
                if nr != 257 {
                    assert!(other.value(&data).is_none_or(|said| said == value), "{other:?} {}", replay());
                }
            }
        }
    }
    println!("{cases} numbers with conditions, {depends} of profiles that are not said");
    assert!(cases > 1000 && depends * 20 < cases, "{cases} {depends}");
}

/// What is said of a stack is what counts of the runs of its filters, and two stacks of which it is said that they agree
/// do, on every call that is tried.
#[test]
fn decisions_of_stacks_are_those_of_runs() {
    let mut rng = generate::seeded();
    let arch = Arch::X86_64.audit_arch();
    let (mut said, mut cases, mut agreed, mut differed) = (0, 0, 0, 0);
    for _ in 0..600 {
        let programs: Vec<Checked> = (0..rng.random_range(2..=4))
            .filter_map(|_| match rng.random_ratio(1, 8) {
                true => check(generate::program(&mut rng, 32)).ok(),
                false => compiled(&profile(&mut rng)),
            })
            .collect();
        let engines: Vec<_> = programs.iter().map(load).collect();
        let run = |data: &SeccompData| {
            let newest_first = engines.iter().rev().map(|engine| (engine.run(data), ()));
            strictest(newest_first).map(|(value, ())| value)
        };
        let stack: Vec<_> = programs.iter().map(Member::Program).collect();
        // Without its newest or oldest filter it may say the same.
        let part =
            if rng.random() { stack.len().min(1)..stack.len() } else { 0..stack.len().saturating_sub(1) };
        let run_part = |data: &SeccompData| {
            let newest_first = engines[part.clone()].iter().rev().map(|engine| (engine.run(data), ()));
            strictest(newest_first).map(|(value, ())| value)
        };
        for nr in [0, 257, 56, 135, 41, 1000, -1] {
            let of = Calls::of(arch, nr);
            let decision = stacked(&stack, &of, &mut Work::new(1 << 20));
            let agree = agree(&stack, &stack[part.clone()], &of, &mut Work::new(1 << 20));
            said += usize::from(decision != Decision::Depends);
            cases += usize::from(matches!(decision, Decision::Cases { .. }));
            agreed += usize::from(agree == Some(true));
            differed += usize::from(agree == Some(false));
            for program in &programs {
                for data in calls(&mut rng, program.insns(), arch, nr) {
                    let value = run(&data).unwrap_or(0x7fff_0000);
                    let replay = || {
                        let replays = programs.iter().map(|one| generate::replay(one.insns(), &data));
                        format!("{decision:?} {agree:?} {}", replays.collect::<Vec<_>>().join(" and "))
                    };
                    assert!(decision.value(&data).is_none_or(|said| said == value), "{}", replay());
                    if agree == Some(true) {
                        assert_eq!(run_part(&data).unwrap_or(0x7fff_0000), value, "{}", replay());
                    }
                }
            }
        }
    }
    println!("{said} said, {cases} with conditions, {agreed} agree, {differed} do not");
    assert!(said > 2000 && cases > 100 && agreed > 500 && differed > 250);
}

/// Programs and a changed copy: a call that is found differs, and where none is, no call that is tried does.
#[test]
fn differences_are_those_of_runs() {
    let mut rng = generate::seeded();
    let (mut equal, mut different, mut undecided) = (0, 0, 0);
    for round in 0..3000 {
        let mut first = match round % 2 {
            0 => generate::program(&mut rng, 48),
            _ => match compiled(&profile(&mut rng)) {
                Some(program) => program.into_insns(),
                None => continue,
            },
        };
        let before = first.clone();
        let place = rng.random_range(0..first.len());
        match rng.random_range(0..3) {
            0 => first[place].k ^= 1 << rng.random_range(0..32),
            1 => first[place].k = first[place].k.wrapping_add(1),
            _ => first[place].k = before[rng.random_range(0..before.len())].k,
        }
        let (Ok(a), Ok(b)) = (check(before), check(first)) else { continue };
        let found = diff(&a, &b, &mut Work::new(1 << 20));
        let (run_a, run_b) = (load(&a), load(&b));
        for difference in &found.found {
            let data = difference.witness;
            let values = [run_a.run(&data), run_b.run(&data)];
            assert_ne!(values[0], values[1], "{}", generate::replay(a.insns(), &data));
            assert!(
                difference
                    .values
                    .iter()
                    .zip(values)
                    .all(|(said, value)| said.is_none_or(|said| said == value))
            );
        }
        match (found.found.is_empty(), found.undecided) {
            (false, _) => different += 1,
            (true, true) => undecided += 1,
            (true, false) => {
                equal += 1;
                for _ in 0..100 {
                    let program = if rng.random() { &a } else { &b };
                    let data = generate::input(&mut rng, program.insns());
                    assert_eq!(run_a.run(&data), run_b.run(&data), "{}", generate::replay(a.insns(), &data));
                }
            }
        }
        let same = diff(&a, &a, &mut Work::new(1 << 20));
        assert!(same.found.is_empty(), "a program differs from itself");
    }
    println!("{equal} equal, {different} different, {undecided} undecided");
    assert!(equal > 100 && different > 100 && undecided * 10 < equal + different);
}

#[test]
fn a_filter_and_its_other_form_are_equal() {
    let [linear, tree] = ["linear", "tree"].map(|form| case(&format!("docker-like-{form}.bpfasm")));
    assert_eq!(printed(command("diff").args([&linear, &tree]), 0), "equal for every call\n");
    assert_eq!(printed(command("diff").args([&tree, &linear]), 0), "equal for every call\n");

    let folder = TempDir::new().unwrap();
    let mut rng = generate::seeded();
    let profile = loop {
        let profile = profile(&mut rng);
        if compiled(&profile).is_some() {
            break file(&folder, "profile.json", profile.to_string());
        }
    };
    let raw = folder.path().join("profile.bpf");
    command("compile").arg(&profile).arg("-o").arg(&raw).assert().success();
    assert_eq!(printed(command("diff").args([&profile, &raw]), 0), "equal for every call\n");
}

const CLONE: &str = include_str!("clone.bpfasm");

#[test]
fn differences_have_conditions_and_calls() {
    let folder = TempDir::new().unwrap();
    let old = file(&folder, "old.asm", CLONE);
    let new = file(&folder, "new.asm", CLONE.replace("0x10", "0x20").replace("#mkdir", "#rmdir"));
    let all: Value =
        serde_json::from_str(&printed(command("diff").args([&old, &new]).arg("--json"), 1)).unwrap();
    assert_eq!((&all["equal"], &all["complete"]), (&json!(false), &json!(true)));
    let rows = all["differences"].as_array().unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["names"].clone(), row["condition"].clone(), row["a"]["decision"].clone()))
        .collect();
    for row in [
        (json!(["clone"]), json!("arg0 in {0x10-0x1f}"), json!("ERRNO(1 EPERM)")),
        (json!(["mkdir"]), json!("always"), json!("ERRNO(1 EPERM)")),
        (json!(["rmdir"]), json!("always"), json!("ALLOW")),
    ] {
        assert!(seen.contains(&row), "{row:?} is not in {seen:?}");
    }
    assert_eq!(rows.len(), 3);
    for row in rows {
        let calls = file(&folder, "calls", format!("{}\n", row["witness"]["batch"].as_str().unwrap()));
        let eval = |filter| printed(command("eval").arg(filter).arg("--batch").arg(&calls), 0);
        assert_ne!(eval(&old), eval(&new));
    }
}

/// Text has as many names and numbers as fit a line. JSON has all.
#[test]
fn of_many_numbers_text_has_the_first() {
    let folder = TempDir::new().unwrap();
    let old = file(&folder, "old.asm", "ret #SECCOMP_RET_ALLOW");
    let deny = "ld [4]\n jne #AUDIT_ARCH_ARM, allow\n ld [0]\n jge #300, deny\n\
                allow: ret #SECCOMP_RET_ALLOW\ndeny: ret #0\n";
    let arm = file(&folder, "arm.asm", deny);
    let all: Value =
        serde_json::from_str(&printed(command("diff").args([&old, &arm]).arg("--json"), 1)).unwrap();
    let [row] = all["differences"].as_array().unwrap().as_slice() else { panic!("{all}") };
    let names: Vec<_> =
        (300..0x10_0000).filter_map(|nr| Arch::Arm.syscall_name(nr)).map(Value::from).collect();
    assert!(names.contains(&json!("set_tls")), "{names:?}");
    assert_eq!(row["names"].as_array().unwrap(), &names);
    assert_eq!(row["numbers"], json!([[300, u32::MAX]]));
    let text = printed(command("diff").args([&old, &arm]), 1);
    let lines: Vec<_> = text.lines().collect();
    let [_, numbers, shown, _] = lines[..] else { panic!("{text}") };
    assert_eq!(numbers, "  numbers 300-4294967295");
    let (shown, more) = shown.trim_start().rsplit_once(" and ").unwrap();
    assert!(shown.len() <= 100 && shown.len() > 80, "{shown}");
    let shown: Vec<_> = shown.split(' ').collect();
    assert_eq!(shown, names[..shown.len()]);
    assert_eq!(more, format!("{} more", names.len() - shown.len()));

    // Every second number below 2000.
    let tests: String =
        (0..1000).map(|half| format!("jne #{}, n{half}\nret #0\nn{half}: ", 2 * half)).collect();
    let even = file(&folder, "even.asm", format!("ld [0]\n{tests}ret #SECCOMP_RET_ALLOW\n"));
    let text = printed(command("diff").args([&old, &even]), 1);
    let numbers = text.lines().find(|line| line.starts_with("  numbers 0, 2, 4, ")).unwrap();
    let shown = numbers.matches(',').count() + 1;
    assert!(numbers.ends_with(&format!(" and {} more", 1000 - shown)) && shown > 20, "{numbers}");
}

#[test]
fn what_is_too_much_is_undecided() {
    // Whether two numbers have a product is not found out by halving.
    let product = "ld [16]\n tax\n ld [24]\n mul x\n jne #0x7ffffe39, other\n ret #1\nother: ret #0x7fff0000";
    let folder = TempDir::new().unwrap();
    let a = file(&folder, "a.asm", product.replace("ld [24]\n", "ld [24]\n and #0x7fff\n or #1\n"));
    let b = file(&folder, "b.asm", product.replace("ld [24]\n", "ld [24]\n or #1\n and #0x7fff\n"));
    let text = printed(command("diff").args([&a, &b]).args(["--solver", "no-such-solver"]), 3);
    assert!(text.starts_with("undecided: "), "{text}");
    command("diff").arg(&a).arg(folder.path().join("none")).assert().code(2);
}

#[test]
fn a_table_has_conditions_in_words() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "filter.asm", CLONE);
    let text = printed(command("table").arg(&path), 0);
    assert!(text.contains("ERRNO(1 EPERM) unless arg0 <= 0xf, then ALLOW:\n  clone\n"), "{text}");
    assert!(text.contains("0x00050001 ERRNO(1 EPERM) (1):\n  mkdir\n"), "{text}");
    assert!(text.ends_with("every other number:\n  0x7fff0000 ALLOW\n"), "{text}");

    let rules = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
        {"names": ["openat"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 2, "value": 4294967301, "op": "SCMP_CMP_LT"}]},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#;
    let text = printed(command("table").arg(file(&folder, "profile.json", rules)), 0);
    for (name, condition) in [
        ("clone", "arg0 & 0x7e020000 == 0"),
        ("personality", "arg0 in {0, 8}"),
        ("openat", "arg2 <= 0x100000004"),
        ("socket", "arg0 != 0x28"),
    ] {
        let line = format!("ERRNO(1 EPERM) unless {condition}, then ALLOW:\n  {name}\n");
        assert!(text.contains(&line), "{line:?} is not in {text}");
    }
    // x32's are not among them.
    let others =
        "every other number:\n  KILL_THREAD unless nr in {337-423, 470-0x3fffffff, 0xffffffff}, then";
    assert!(text.contains(others), "{text}");
}

/// How a condition reads, and that two programs with one meaning have it.
#[test]
fn conditions_read_as_they_would_be_written() {
    let folder = TempDir::new().unwrap();
    let cond = |lines: &str| format!("{lines}no: ret #SECCOMP_RET_ALLOW\nyes: ret #SECCOMP_RET_ERRNO|1\n");
    for (lines, words) in CONDITIONS {
        let path = file(&folder, "filter.asm", cond(lines));
        let table: Value =
            serde_json::from_str(&printed(command("table").arg(&path).arg("--json"), 0)).unwrap();
        let [row] = table["rows"].as_array().unwrap().as_slice() else { panic!("{lines:?} {table}") };
        let decision = &row["decision"];
        let seen = match decision["kind"].as_str().unwrap() {
            "cases" => {
                let [case] = decision["cases"].as_array().unwrap().as_slice() else { panic!("{decision}") };
                let words = case["words"].as_str().unwrap();
                format!("{} {words}", case["then"]["decision"].as_str().unwrap())
            }
            kind => format!("{kind} {}", decision["otherwise"]["decision"]),
        };
        assert_eq!(seen, *words, "{lines:?}");
    }
}

/// Differences without conditions are of all calls of an architecture, of all, or of all others.
#[test]
fn architectures_of_differences_are_named() {
    let folder = TempDir::new().unwrap();
    let allow = file(&folder, "allow.asm", "ret #SECCOMP_RET_ALLOW\n");
    let other = |name: &str, text: &str| {
        let path = file(&folder, name, text);
        let all = printed(command("diff").args([&allow, &path]).arg("--json"), 1);
        let all: Value = serde_json::from_str(&all).unwrap();
        let [row] = all["differences"].as_array().unwrap().as_slice() else { panic!("{all}") };
        (row.clone(), printed(command("diff").args([&allow, &path]), 1))
    };
    let (row, text) = other("deny.asm", "ret #0\n");
    assert_eq!(row["arch"], "every architecture");
    assert_eq!(row["witness"]["arch"], "0xc000003e");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].ends_with("deny.asm KILL_THREAD") && lines[1] == "  numbers 0-4294967295", "{text}");
    let one = "ld [4]\njeq #AUDIT_ARCH_ARM, yes\nret #SECCOMP_RET_ALLOW\nyes: ret #0\n";
    assert_eq!(other("arm.asm", one).0["arch"], "AUDIT_ARCH_ARM");
    let others = "ld [4]\njeq #AUDIT_ARCH_ARM, yes\nret #0\nyes: ret #SECCOMP_RET_ALLOW\n";
    assert_eq!(other("others.asm", others).0["arch"], "other architectures");
    let masked = "ld [4]\nand #0xff\njeq #0x3e, yes\nret #SECCOMP_RET_ALLOW\nyes: ret #0\n";
    let (row, _) = other("masked.asm", masked);
    assert_eq!((&row["arch"], &row["condition"]), (&json!("architectures"), &json!("arch & 0xff == 0x3e")));
}

/// What compares numbers that it knows with such as it does not is what compares the other way round.
#[test]
fn comparisons_of_constants_and_unknowns_are_exact() {
    let program = |text: &str| check(cbpf_translator::asm::assemble(text, &|_| None).unwrap()).unwrap();
    let ends = "no: ret #1\nyes: ret #2\n";
    let compared = |a: &str, b: &str| {
        let [a, b] = [a, b].map(|text| program(&format!("{text}\n{ends}")));
        let found = diff(&a, &b, &mut Work::new(1 << 20));
        (found.found.len(), found.undecided)
    };
    for (a, b) in [
        ("ld [16]\ntax\nld #5\njgt x, yes, no", "ld [16]\njge #5, no, yes"),
        ("ld [16]\ntax\nld #5\njge x, yes, no", "ld [16]\njgt #5, no, yes"),
        ("ld [16]\ntax\nld #0\njgt x, yes, no", "ja no"),
        ("ld [16]\ntax\nld #5\njeq x, yes, no", "ld [16]\njeq #5, yes, no"),
        ("ld [16]\ntax\nld #0xf0\nand x\njeq #0x30, yes, no", "ld [16]\nand #0xf0\njeq #0x30, yes, no"),
        ("ld [16]\nand #0xff\nand #0xf0\njeq #0x30, yes, no", "ld [16]\nand #0xf0\njeq #0x30, yes, no"),
        ("ld [16]\ntax\nxor x\njeq #0, yes, no", "ja yes"),
        ("ld [16]\nst M[3]\nldx #1\nstx M[0]\nldx M[3]\ntxa\njeq #9, yes, no", "ld [16]\njeq #9, yes, no"),
    ] {
        assert_eq!(compared(a, b), (0, false), "{a:?}");
    }
    // Above and not below differ where both are equal.
    let load = "ld [24]\ntax\nld [16]\n";
    assert_ne!(compared(&format!("{load}jgt x, yes, no"), &format!("{load}jge x, yes, no")), (0, false));
    // A quotient by what is not known: 0 ends with 0, and the rest goes on.
    let quotient = "ld [24]\nand #3\ntax\nld [16]\nand #7\ndiv x\njeq #7, yes, no";
    let by_hand = "ld [24]\nand #3\njeq #1, one\nret #1\none: ld [16]\nand #7\njeq #7, yes, no";
    assert_ne!(compared(quotient, by_hand).0, 0);
    let zero = "ld [24]\nand #3\njeq #0, zero\njeq #1, one\nret #1\nzero: ret #0\none: ld [16]\nand #7\njeq #7, yes, no";
    assert_eq!(compared(quotient, zero).0, 0);
}

#[test]
fn tables_have_several_cases_and_x32s_numbers() {
    let folder = TempDir::new().unwrap();
    let text = "ld [0]\njge #0x40000000, x\nret #0x7fff0000\nx: ld [16]\njeq #1, one\njeq #2, two\nret #0x50003\n\
                one: ret #0x50001\ntwo: ret #0x50002\n";
    let path = file(&folder, "filter.asm", text);
    let table: Value =
        serde_json::from_str(&printed(command("table").arg(&path).args(["--arch", "x32", "--json"]), 0))
            .unwrap();
    let calls = table["rows"][0]["calls"].as_array().unwrap();
    assert_eq!(calls[0], json!({"nr": 0x4000_0000, "name": "read"}));
    let text = printed(command("table").arg(&path).args(["--arch", "x32"]), 0);
    let one = "ERRNO(2 ENOENT) if arg0 & 0xffffffff == 2; ERRNO(3 ESRCH) if arg0 & 0xffffffff not in {1-2}; else \
               ERRNO(1 EPERM):\n";
    assert!(text.starts_with(one), "{text}");
    let table: Value = serde_json::from_str(&printed(command("table").arg(&path).arg("--json"), 0)).unwrap();
    assert_eq!(table["others"]["kind"], "cases", "{table}");
}

const CONDITIONS: &[(&str, &str)] = &[
    ("ld [20]\njeq #0, no, yes\n", "ALLOW arg0 <= 0xffffffff"),
    ("ld [20]\njgt #5, yes, no\n", "ALLOW arg0 <= 0x5ffffffff"),
    ("ld [20]\nand #0xf0\njeq #0x30, yes, no\n", "ALLOW arg0 >> 32 & 0xf0 != 0x30"),
    ("ld [20]\nand #0x10\njeq #0x10, yes, no\n", "ALLOW arg0 >> 32 & 0x10 == 0"),
    ("ld [16]\nand #0x10\njeq #0x10, yes, no\n", "ALLOW arg0 & 0x10 == 0"),
    (
        "ld [16]\nand #0xf\njeq #3, more, no\nmore: ld [16]\nand #0xff0\njeq #0x120, yes, no\n",
        "ERRNO(1 EPERM) arg0 & 0xfff == 0x123",
    ),
    (
        "ld [16]\nand #0xff\njeq #0x13, more, no\nmore: ld [16]\nand #0xff0\njeq #0x110, yes, no\n",
        "ERRNO(1 EPERM) arg0 & 0xff == 0x13 and arg0 & 0xff0 == 0x110",
    ),
    (
        "ld [16]\nand #0xff\njeq #0x13, more, no\nmore: ld [16]\njgt #0x1000, yes, no\n",
        "ERRNO(1 EPERM) arg0 & 0xff == 0x13 and arg0 & 0xffffffff >= 0x1001",
    ),
    (
        "ld [16]\nand #1\njeq #1, more, no\nmore: ld [16]\njeq #7, yes, no\n",
        "ERRNO(1 EPERM) arg0 & 0xffffffff == 7",
    ),
    ("ld [20]\njgt #2, no\nld [16]\njeq #9, yes, no\n", "ALLOW arg0 not in {9, 0x100000009, 0x200000009}"),
    ("ld [16]\njeq #5, no\njeq #7, no\njeq #0x20, no, yes\n", "ALLOW arg0 & 0xffffffff in {5, 7, 0x20}"),
    (
        "ld [20]\njeq #0, low, no\nlow: ld [16]\njeq #5, no\njge #9, no\njeq #7, no, yes\n",
        "ALLOW arg0 not in {0-4, 6, 8}",
    ),
    ("ld [20]\nand #0xf0\njgt #0x30, yes, no\n", "ALLOW arg0 >> 32 & 0xf0 <= 0x30"),
    (
        "ld [16]\njgt #5, yes\nld [24]\njgt #6, yes\nld [16]\njgt #3, yes, no\n",
        "ALLOW arg0 & 0xffffffff <= 3 and arg1 & 0xffffffff <= 6",
    ),
    ("ld [16]\nand #0xff\njge #0x80, yes, no\n", "ALLOW arg0 & 0xff <= 0x7f"),
    ("ld [16]\nand #0\njeq #0, yes, no\n", "always \"ERRNO(1 EPERM)\""),
    (
        "ld [20]\njeq #5, more, no\nmore: ld [16]\nand #0xff\njeq #7, yes, no\n",
        "ERRNO(1 EPERM) arg0 & 0xffffffff000000ff == 0x500000007",
    ),
    ("ld [16]\njlt #3, yes, no\n", "ALLOW arg0 & 0xffffffff >= 3"),
    ("ld [16]\nsub #5\njge #3, no, yes\n", "ALLOW arg0 & 0xffffffff not in {5-7}"),
    ("ld [16]\nrsh #4\njeq #3, yes, no\n", "ALLOW arg0 & 0xffffffff not in {0x30-0x3f}"),
    ("ld [16]\nadd #1\nand #0xfffffffe\njeq #8, yes, no\n", "ALLOW arg0 & 0xffffffff not in {7-8}"),
];
/// The table's JSON, read and evaluated, gives what `eval` gives.
#[test]
fn a_table_in_json_is_evals() {
    let mut rng = generate::seeded();
    let folder = TempDir::new().unwrap();
    let path = case("docker-like-tree.bpfasm");
    let table: Value = serde_json::from_str(&printed(command("table").arg(&path).arg("--json"), 0)).unwrap();
    let number =
        |text: &Value| u64::from_str_radix(text.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let holds = |condition: &Value, args: &[u64; 6]| {
        condition.as_array().unwrap().iter().any(|term| {
            term.as_array().unwrap().iter().all(|atom| {
                let field = atom["field"].as_str().unwrap();
                let index: usize = field.strip_prefix("arg").unwrap().parse().unwrap();
                let value = args[index] & number(&atom["mask"]);
                atom["in"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|range| (number(&range[0])..=number(&range[1])).contains(&value))
            })
        })
    };
    let (mut lines, mut values) = (String::new(), Vec::new());
    for row in table["rows"].as_array().unwrap() {
        let decision = &row["decision"];
        for call in row["calls"].as_array().unwrap() {
            for _ in 0..20 {
                const EDGES: [u64; 8] = [0, 8, 0x20000, 0x10000000, 0x11, 0xffffffff, 40, 1 << 32];
                let args = [(); 6]
                    .map(|()| if rng.random() { *EDGES.choose(&mut rng).unwrap() } else { rng.random() });
                let cases = decision["cases"].as_array().into_iter().flatten();
                let mut holding = cases.filter(|case| holds(&case["if"], &args));
                let value =
                    holding.next().map_or(&decision["otherwise"]["value"], |case| &case["then"]["value"]);
                values.push(value.as_str().unwrap().trim_start_matches("0x").to_string());
                let [a, b, c, d, e, f] = args;
                lines += &format!("c000003e {} 0 {a:x} {b:x} {c:x} {d:x} {e:x} {f:x}\n", call["nr"]);
            }
        }
    }
    let calls = file(&folder, "calls", lines);
    let eval = printed(command("eval").arg(&path).arg("--batch").arg(&calls), 0);
    assert_eq!(eval.lines().map(|line| line.trim_start_matches("0x")).collect::<Vec<_>>(), values);
}
