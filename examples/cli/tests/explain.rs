//! `explain`: its value is `eval`'s, and its reasons are what ran.

mod invoke;

use std::path::Path;

use assert_cmd::Command;
use cbpf_translator::check;
use rand::Rng;
use seccomp_kernel::Arch;
use seccomp_rbpf::trace::{Effect, trace};
use seccomp_runtime::{EngineKind, Loaded, NoExecMemory};
use seccomp_tests::generate;
use serde_json::Value;
use tempfile::TempDir;

use invoke::{command, file};

fn printed(command: &mut Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

const FILTER: &str = "
        ld [0]
        jne #openat, allow
        ld [16]
        and #0xffff
        jset #0x9c, deny
allow:  ret #SECCOMP_RET_ALLOW
deny:   ret #SECCOMP_RET_ERRNO|1
";

#[test]
fn the_way_of_a_call_is_shown() {
    let folder = TempDir::new().unwrap();
    file(&folder, "deny.bpfasm", FILTER);
    file(&folder, "allow.bpfasm", "ret #SECCOMP_RET_ALLOW");
    let mut explain = command("explain");
    explain.current_dir(&folder).args(["deny.bpfasm", "allow.bpfasm"]);
    let text = printed(explain.arg("openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3"));
    let words: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        words,
        [
            "x86_64 257 (openat), ip 0x0, arguments 0xffffffffffffff9c, 0x0, 0x80000, 0x0, 0x0, 0x0",
            "argument 1 is an address that is not known, 0 is taken for it",
            "",
            "deny.bpfasm (classic): 0x00050001 ERRNO(1 EPERM)",
            "L0 ld [0] ; nr A = 0x101",
            "3: r0 = *(u32 *)(r6 +0)",
            "L1 jeq #257, L2, L5 0x101 == 0x101 is true, to L2",
            "4: if r0 != 0x101 goto +3",
            "L2 ld [16] ; args[0] (low) A = 0xffffff9c",
            "5: r0 = *(u32 *)(r6 +16)",
            "L3 and #0xffff A = 0xffffff9c & 0xffff = 0xff9c",
            "6: w0 &= 65535",
            "L4 jset #0x9c, L6, L5 0xff9c & 0x9c = 0x9c, != 0 is true, to L6",
            "7: if r0 & 0x9c goto +2",
            "L6 ret #0x50001 ; ERRNO(1) returns 0x00050001 ERRNO(1 EPERM)",
            "10: w0 = 327681",
            "11: exit",
            "",
            "allow.bpfasm (classic): 0x7fff0000 ALLOW",
            "L0 ret #0x7fff0000 ; ALLOW returns 0x7fff0000 ALLOW",
            "3: w0 = 2147418112",
            "4: exit",
            "",
            "0x00050001 ERRNO(1 EPERM) from deny.bpfasm: ERRNO is the strictest action",
        ]
    );
}

#[test]
fn a_profile_has_its_rule() {
    let folder = TempDir::new().unwrap();
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
    let path = file(&folder, "profile.json", json);
    let rule = |args: &[&str]| -> Value {
        let text = printed(command("explain").arg(&path).args(args).arg("--json"));
        let all: Value = serde_json::from_str(&text).unwrap();
        all["filters"][0]["rule"].clone()
    };
    let row = |index: Value, names: &[&str], condition: &str, words: &str| serde_json::json!({"index": index, "names": names, "condition": condition, "words": words});
    assert_eq!(rule(&["write(1, \"x\", 1)"]), row(0.into(), &["read", "write"], "", "syscalls[0] decides"));
    assert_eq!(
        rule(&["--nr", "clone"]),
        row(1.into(), &["clone"], "arg0 & 0x7e020000 == 0x0", "syscalls[1] decides")
    );
    let default = row(Value::Null, &[], "", "no rule holds, the default decides");
    assert_eq!(rule(&["clone(child_stack=NULL, flags=CLONE_NEWUSER|SIGCHLD)"]), default);
    assert_eq!(rule(&["--nr", "mount"]), default);
    let foreign = row(Value::Null, &[], "", "the call is by an entry that the profile does not have");
    assert_eq!(rule(&["--nr", "0x40000000"]), foreign);
}

#[test]
fn of_equal_filters_the_newest_counts() {
    let folder = TempDir::new().unwrap();
    let deny = |name, errno| file(&folder, name, format!("ret #SECCOMP_RET_ERRNO|{errno}"));
    let (old, new) = (deny("old.asm", 1), deny("new.asm", 2));
    let text = printed(command("explain").args([&old, &new]).arg("getpid()"));
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("0x00050002 ERRNO(2 ENOENT) from "), "{last}");
    assert!(last.ends_with("all say ERRNO, and the newest counts"), "{last}");
    let allow = file(&folder, "allow.asm", "ret #SECCOMP_RET_ALLOW");
    let text = printed(command("explain").args([&new, &old, &allow]).arg("getpid()"));
    let words = "ERRNO is the strictest action, and of the 2 that say so the newest counts";
    assert!(text.contains("0x00050001") && text.trim_end().ends_with(words), "{text}");
}

/// A line of a log can be taken as it is: what strace puts in front of the call is read too.
#[test]
fn a_line_of_strace_is_read_whole() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "allow.asm", "ret #SECCOMP_RET_ALLOW");
    let rows = [
        ("4711  close(3) = 0", "ip 0x0, arguments 0x3,"),
        (
            "[pid  4711] 10:11:12.123456 (+     0.000012) close(3</etc/passwd>) = 0 <0.000012>",
            "ip 0x0, arguments 0x3,",
        ),
        (
            "4711 1700000000.123456 [   3] [00007f0000000010] close(3) = 0",
            "ip 0x7f0000000010, arguments 0x3,",
        ),
    ];
    for (line, words) in rows {
        let text = printed(command("explain").arg(&path).arg(line));
        assert!(text.starts_with(&format!("x86_64 3 (close), {words}")), "{text}");
    }
    let text = printed(command("explain").arg(&path).args(["[00007f0000000010] close(3)", "--ip", "5"]));
    assert!(text.starts_with("x86_64 3 (close), ip 0x5,"), "{text}");
    let mask = "12 rt_sigprocmask(SIG_SETMASK, [], NULL, 8) = 0";
    let text = printed(command("explain").arg(&path).arg(mask));
    assert!(text.starts_with("x86_64 14 (rt_sigprocmask), ip 0x0, arguments 0x2, 0x0, 0x0, 0x8,"), "{text}");
    let compat = "[   6] close(3) = 0";
    let text = printed(command("explain").arg(&path).args([compat, "--arch", "i386"]));
    assert!(text.starts_with("i386 6 (close), ip 0x0, arguments 0x3,"), "{text}");
}

#[test]
fn what_is_no_call_is_said() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "allow.asm", "ret #SECCOMP_RET_ALLOW");
    for (args, words) in [
        (&["open(\"/\", O_NOPE)"][..], "argument 1: \"O_NOPE\": no constant that is known here"),
        (&["nope(1)"][..], "\"nope\": no system call of x86_64"),
        (&["[   6] close(3) = 0"][..], "it has the number 6, and at --arch x86_64 another"),
        (&[][..], "no call: --nr, or behind the filters one as strace prints it"),
    ] {
        let output = command("explain").arg(&path).args(args).assert().code(2).get_output().clone();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{stderr}");
    }
    command("explain").arg("getpid()").assert().code(2);
}

/// What each instruction did, by its signs.
#[test]
fn effects_have_the_signs_of_their_instructions() {
    let folder = TempDir::new().unwrap();
    let path = file(
        &folder,
        "all.asm",
        "ld #7\nldx #3\nadd #1\nsub #2\nmul #5\ndiv #2\nor #0x10\nand #0x1c\nxor #1\nlsh #4\nrsh #2\nstx M[5]\nst M[6]\n\
         ldx M[6]\nja next\nnext: jgt #5, more\nmore: jge x, last\nlast: ld len\nldx #0\ndiv x\nret a\n",
    );
    let explained: Value =
        serde_json::from_str(&printed(command("explain").arg(&path).args(["--nr", "0", "--json"]))).unwrap();
    let steps = explained["filters"][0]["steps"].as_array().unwrap();
    let effects: Vec<_> = steps.iter().map(|step| step["effect"].as_str().unwrap()).collect();
    assert_eq!(
        effects,
        [
            "A = 0x7",
            "X = 0x3",
            "A = 0x7 + 0x1 = 0x8",
            "A = 0x8 - 0x2 = 0x6",
            "A = 0x6 * 0x5 = 0x1e",
            "A = 0x1e / 0x2 = 0xf",
            "A = 0xf | 0x10 = 0x1f",
            "A = 0x1f & 0x1c = 0x1c",
            "A = 0x1c ^ 0x1 = 0x1d",
            "A = 0x1d << 0x4 = 0x1d0",
            "A = 0x1d0 >> 0x2 = 0x74",
            "M[5] = 0x3",
            "M[6] = 0x74",
            "X = 0x74",
            "to L15",
            "0x74 > 0x5 is true, to L16",
            "0x74 >= 0x74 is true, to L17",
            "A = 0x40",
            "X = 0x0",
            "0x40 / 0 ends the program with 0",
        ]
    );
    assert_eq!(
        (&explained["value"], &explained["reason"]),
        (&"0x00000000".into(), &"it is the only one".into())
    );
}

#[test]
fn the_call_is_what_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let pointer = file(&folder, "pointer.asm", "ld [12]\nret a\n");
    let explained = |args: &[&str]| -> Value {
        serde_json::from_str(&printed(command("explain").arg(&pointer).args(args).arg("--json"))).unwrap()
    };
    let with_pointer = explained(&["--nr", "0", "--ip", "0x2a00000001"]);
    assert_eq!(with_pointer["value"], "0x0000002a");
    assert_eq!(with_pointer["call"]["instruction_pointer"], "0x2a00000001");
    for args in [&["--arch", "aarch64", "--nr", "openat"][..], &["--arch", "aarch64", "openat(0, NULL)"]] {
        let call = &explained(args)["call"];
        assert_eq!((&call["arch"], &call["nr"]), (&"aarch64".into(), &56.into()), "{args:?}");
    }
    let text = printed(command("explain").arg(&pointer).args(["--nr", "99999"]));
    assert!(text.starts_with("x86_64 99999 (no known call), ") && !text.contains("the only one"), "{text}");
    let alone = command("explain").arg("getpid()").assert().code(2).get_output().clone();
    assert!(String::from_utf8(alone.stderr).unwrap().contains("no filter before the call"));

    let allow = file(&folder, "allow.asm", "ret #SECCOMP_RET_ALLOW");
    let deny = file(&folder, "deny.asm", "ret #SECCOMP_RET_ERRNO|1");
    let text = printed(command("explain").args([&allow, &deny]).arg("getpid()"));
    assert!(text.ends_with("deny.asm: ERRNO is the strictest action\n"), "{text}");
    for (arch, call, words) in [
        ("i386", "read(0x100000000)", "does not fit the 32 bits of i386"),
        ("i386", "read(-0x80000001)", "does not fit the 32 bits of i386"),
        ("i386", "read(0xffffffff00000000)", "does not fit the 32 bits of i386"),
        ("x86_64", "clone(FLAGS=1)", "argument 0: \"FLAGS=1\": no constant that is known here"),
    ] {
        let output = command("explain").arg(&allow).args(["--arch", arch, call]).assert().code(2);
        let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(words), "{stderr}");
    }
}

/// Of rules for one call, the one whose conditions hold is shown, and of many names the first.
#[test]
fn the_rule_whose_conditions_hold_is_shown() {
    let folder = TempDir::new().unwrap();
    let names = r#""read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek", "mmap""#;
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {{"names": [{names}], "action": "SCMP_ACT_ALLOW"}},
        {{"name": "socket", "action": "SCMP_ACT_ALLOW", "args": [
            {{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}}, {{"index": 1, "value": 2, "op": "SCMP_CMP_NE"}}]}},
        {{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
            {{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}}]}}]}}"#
    );
    let path = file(&folder, "profile.json", json);
    let rule = |call: &str| -> Value {
        let text = printed(command("explain").arg(&path).args([call, "--json"]));
        serde_json::from_str::<Value>(&text).unwrap()["filters"][0]["rule"].clone()
    };
    let first = rule("socket(1, 1, 0)");
    assert_eq!((&first["index"], &first["names"]), (&1.into(), &serde_json::json!(["socket"])));
    assert_eq!(first["condition"], "arg0 == 0x1 and arg1 != 0x2");
    let second = rule("socket(7, 2, 0)");
    assert_eq!((&second["index"], &second["condition"]), (&2.into(), &"arg0 == 0x7".into()));
    let text = printed(command("explain").arg(&path).arg("read(0, NULL, 0)"));
    let words = "\n  syscalls[0] decides: read write open close stat fstat lstat poll and 2 more\n";
    assert!(text.contains(words), "{text}");
    let text = printed(command("explain").arg(&path).arg("socket(7, 2, 0)"));
    assert!(text.contains("\n  syscalls[2] decides: socket, if arg0 == 0x7\n"), "{text}");
}

/// The values of 20,000 programs, and what ran of each: each instruction is where the one before it led.
#[test]
fn traces_have_the_value_of_the_engines() {
    let mut rng = generate::seeded();
    for _ in 0..20_000 {
        let program = generate::program(&mut rng, 256);
        let checked = check(program.clone()).unwrap();
        let engine = Loaded::load(checked.clone(), EngineKind::Native, &NoExecMemory).unwrap();
        for _ in 0..4 {
            let data = generate::input(&mut rng, &program);
            let traced = trace(&checked, &data);
            assert_eq!(traced.value, engine.run(&data), "{}", generate::replay(&program, &data));
            let mut next = 0;
            for step in &traced.steps {
                assert_eq!(step.pc, next);
                next = match step.effect {
                    Effect::Ja { to } | Effect::Jump { to, .. } => to,
                    _ => step.pc + 1,
                };
            }
        }
    }
}

/// The command's value and winner are `eval`'s, of stacks of generated filters.
#[test]
fn explanations_have_the_value_of_eval() {
    let mut rng = generate::seeded();
    let folder = TempDir::new().unwrap();
    for round in 0..40 {
        let mut paths = Vec::new();
        let mut programs = Vec::new();
        for index in 0..rng.random_range(1..4) {
            let program = generate::program(&mut rng, 64);
            let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_ne_bytes()).collect();
            paths.push(file(&folder, &format!("{round}-{index}.bpf"), bytes));
            programs.push(program);
        }
        let data = generate::input(&mut rng, &programs[0]);
        let arch = Arch::of_call(data.arch, data.nr).unwrap_or(Arch::X86_64);
        let call = |name: &str| {
            let mut command = command(name);
            let args: Vec<_> = data.args.iter().map(|arg| format!("{arg:#x}")).collect();
            command.args(&paths).args(["--arch", arch.name(), "--nr", &data.nr.to_string()]);
            command.args(["--ip", &format!("{:#x}", data.instruction_pointer), "--args", &args.join(",")]);
            command
        };
        let explained: Value = serde_json::from_str(&printed(call("explain").arg("--json"))).unwrap();
        let words = |key: &str| explained[key].as_str().unwrap().to_string();
        let winner = Path::new(
            explained["filters"][explained["winner"].as_u64().unwrap() as usize]["file"].as_str().unwrap(),
        )
        .to_path_buf();
        let from = if paths.len() > 1 && words("decision") != "ALLOW" {
            format!(" from {}", winner.display())
        } else {
            String::new()
        };
        assert_eq!(printed(&mut call("eval")), format!("{} {}{from}\n", words("value"), words("decision")));
    }
}
