//! `table` and `diff`: what they say of all calls is what runs say of each.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cbpf_translator::{Checked, SockFilter, check};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use seccomp_kernel::Arch;
use seccomp_rbpf::symbolic::{Decision, Set, Work, decision, diff, others};
use seccomp_runtime::{EngineKind, Loaded, NoExecMemory, SeccompData};
use seccomp_tests::generate;
use serde_json::{Value, json};
use tempfile::TempDir;

fn command(name: &str) -> Command {
    let mut command = Command::cargo_bin("seccomp-rbpf").expect("the command is built");
    command.arg(name);
    command
}

fn printed(command: &mut Command, status: i32) -> String {
    let output = command.assert().code(status).stderr("").get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the file is written");
    path
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

const CLONE: &str = "
        ld [4]
        jne #AUDIT_ARCH_X86_64, allow
        ld [0]
        jeq #mkdir, deny
        jne #clone, allow
        ld [20]
        jne #0, deny
        ld [16]
        jge #0x10, deny
allow:  ret #SECCOMP_RET_ALLOW
deny:   ret #SECCOMP_RET_ERRNO|1
";

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

/// Text has as many names and numbers as fit a line, JSON has all.
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
    let text = printed(command("diff").args([&a, &b]), 3);
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
    assert!(
        text.ends_with(
            "every other number:\n  KILL_THREAD if nr in {0x40000000-0xfffffffe}; else ERRNO(1 EPERM)\n"
        ) || text.contains("every other number:\n  KILL_THREAD unless"),
        "{text}"
    );
}

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
