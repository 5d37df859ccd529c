//! Profiles as FILTERs of the command, and `compile`.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use tempfile::TempDir;

fn command() -> Command {
    Command::cargo_bin("seccomp-rbpf").expect("the command is built")
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the file is written");
    path
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

fn printed(command: &mut Command) -> String {
    text(&command.assert().success().stderr("").get_output().stdout).into()
}

/// The command fails with this status, and one line on standard error that has `words`.
fn fails(command: &mut Command, status: i32, words: &str) {
    let output = command.assert().code(status).get_output().clone();
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("seccomp-rbpf: ") && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains(words) && !stderr.contains("panicked"), "{stderr:?} does not have {words:?}");
}

/// A profile with these rules, that denies the rest.
fn profile(folder: &TempDir, rules: &str) -> PathBuf {
    let json = format!("{{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"syscalls\": [{rules}]}}");
    file(folder, "profile.json", json)
}

const RULES: &str = r#"
    {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
    {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
    {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}}"#;

#[test]
fn every_command_takes_a_profile() {
    let folder = TempDir::new().unwrap();
    let path = profile(&folder, RULES);
    let eval = |args: &[&str]| printed(command().arg("eval").arg(&path).args(args));
    assert_eq!(eval(&["--nr", "read"]), "0x7fff0000 ALLOW\n");
    assert_eq!(eval(&["--nr", "open"]), "0x00050001 ERRNO(1 EPERM)\n");
    assert_eq!(eval(&["--nr", "clone", "--args", "0x11"]), "0x7fff0000 ALLOW\n");
    assert_eq!(eval(&["--nr", "clone", "--args", "0x10000011"]), "0x00050001 ERRNO(1 EPERM)\n");
    assert_eq!(
        eval(&["--nr", "clone", "--args", "0x10000011", "--engine", "all"]),
        "0x00050001 ERRNO(1 EPERM)\n"
    );
    // x32, and an entry that the profile has not.
    assert_eq!(eval(&["--nr", "0x40000000"]), "0x00000000 KILL_THREAD\n");
    let ok = printed(command().arg("check").arg(&path));
    assert!(ok.starts_with("ok: "), "{ok}");
    for name in ["translate", "disasm", "plan"] {
        assert!(printed(command().arg(name).arg(&path)).lines().count() > 10);
    }
    printed(command().args(["run", "--filter"]).arg(case("allow.json", &folder)).args(["--", "true"]));
}

/// A profile that allows all.
fn case(name: &str, folder: &TempDir) -> PathBuf {
    file(folder, name, "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}")
}

#[test]
fn rules_ask_about_the_machine() {
    let folder = TempDir::new().unwrap();
    let path = profile(&folder, RULES);
    let allowed = |nr: &str, args: &[&str]| {
        printed(command().arg("eval").arg(&path).args(["--nr", nr]).args(args)).contains("ALLOW")
    };
    assert!(!allowed("mount", &[]) && allowed("mount", &["--caps", "SYS_ADMIN"]));
    assert!(allowed("mount", &["--caps", "all"]) && !allowed("mount", &["--caps", "none"]));
    assert!(!allowed("ptrace", &["--kernel", "4.7"]) && allowed("ptrace", &["--kernel", "4.8"]));
    assert!(allowed("arch_prctl", &[]) && !allowed("158", &["--arch", "aarch64"]));
    fails(
        command().arg("check").arg(&path).args(["--caps", "SYS_ADMIM"]),
        2,
        "\"SYS_ADMIM\" is no capability",
    );
    fails(command().arg("check").arg(&path).args(["--kernel", "six"]), 2, "no kernel version");
}

#[test]
fn compile_writes_three_formats() {
    let folder = TempDir::new().unwrap();
    let path = profile(&folder, RULES);
    let raw = folder.path().join("out.bpf");
    assert_eq!(printed(command().arg("compile").arg(&path).arg("-o").arg(&raw)), "");
    let asm = printed(command().arg("compile").arg(&path).args(["--format", "asm"]));
    assert_eq!(printed(command().arg("disasm").arg(&raw)), asm);
    let words = printed(command().arg("compile").arg(&path).args(["--format", "text"]));
    assert_eq!(
        words,
        "default: 0x00050001 ERRNO(1 EPERM)\n\nx86_64:\n\
         read: 0x7fff0000 ALLOW (syscalls[0])\n\
         write: 0x7fff0000 ALLOW (syscalls[0])\n\
         clone: 0x7fff0000 ALLOW if arg0 & 0x7e020000 == 0x0 (syscalls[1])\n\
         ptrace: 0x7fff0000 ALLOW (syscalls[3])\n\
         arch_prctl: 0x7fff0000 ALLOW (syscalls[4])\n"
    );
    let json = fs::read(&path).unwrap();
    let piped =
        command().args(["compile", "-"]).write_stdin(json).assert().success().get_output().stdout.clone();
    assert_eq!(piped, fs::read(&raw).unwrap());
    fails(command().arg("compile").arg(&path).args(["-o", "/dev/full"]), 2, "/dev/full");
    let asm = file(&folder, "filter.asm", "ret #0");
    fails(command().arg("compile").arg(asm), 2, "filter.asm: read as a profile: no JSON object");
    fails(command().args(["compile", "/nonexistent.json"]), 2, "/nonexistent.json: No such file");
    fails(
        command().arg("compile").arg(&path).args(["--format", "elf"]),
        2,
        "possible values: raw, asm, text",
    );
}

#[test]
fn errors_name_file_and_place() {
    let folder = TempDir::new().unwrap();
    let rules = |rules: &str, words: &str| {
        let path = profile(&folder, rules);
        fails(
            command().arg("check").arg(&path),
            2,
            &format!("{}: read as a profile: {words}", path.display()),
        );
    };
    let arg =
        |arg: &str| format!("{{\"names\": [\"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{arg}]}}");
    rules("{}", "missing field `action` at line 2 column 15");
    rules("{\"action\": \"SCMP_ACT_ALLOW\"}", "syscalls[0]: neither name nor names");
    rules(
        &arg("{\"index\": 6, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}"),
        "syscalls[0]: args[0]: index 6, where",
    );
    rules(
        &arg("{\"index\": 0, \"value\": -1, \"op\": \"SCMP_CMP_EQ\"}"),
        "invalid value: integer `-1`, expected u64 at",
    );
    rules(
        &arg("{\"index\": 0, \"value\": 18446744073709551616, \"op\": \"SCMP_CMP_EQ\"}"),
        "invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 2",
    );
    rules(
        &arg("{\"index\": 0, \"value\": 0, \"op\": \"SCMP_CMP_XX\"}"),
        "\"SCMP_CMP_XX\" is no comparison; there are SCMP_CMP_NE, ",
    );
    rules(
        "{\"names\": [\"read\"], \"names\": [\"write\"], \"action\": \"SCMP_ACT_ALLOW\"}",
        "duplicate field `names` at line 2",
    );
    let one = arg("{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}");
    rules(
        &format!("{one}, {}", one.replace("ALLOW", "LOG")),
        "syscalls[1]: contradicts syscalls[0], of read on x86_64",
    );
    let path = file(&folder, "profile.json", "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"X\"]}");
    fails(command().arg("check").arg(path), 2, "flags: \"X\" is no flag");
    let path =
        file(&folder, "profile.json", "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"X\"]}");
    fails(command().arg("check").arg(path), 2, "architectures[0]: \"X\" is no architecture");
    let path = file(&folder, "profile.json", format!("{{{}", "[".repeat(1 << 16)));
    fails(command().arg("check").arg(path), 2, "at line 1 column 2");
}

#[test]
fn what_is_odd_is_told_and_strict_fails_of_it() {
    let folder = TempDir::new().unwrap();
    let path =
        profile(&folder, "{\"names\": [\"raed\", \"read\"], \"action\": \"SCMP_ACT_ALLOW\", \"arg\": []}");
    let output = command().arg("check").arg(&path).assert().success().get_output().clone();
    let name = path.display();
    assert_eq!(
        text(&output.stderr),
        format!(
            "seccomp-rbpf: warning: {name}: syscalls[0].arg: not a key of profiles, ignored\n\
             seccomp-rbpf: warning: {name}: syscalls[0]: no system call is called \"raed\", ignored, did you mean \"read\"?\n"
        )
    );
    fails(command().arg("check").arg(&path).arg("--strict"), 2, "syscalls[0].arg: not a key of profiles");
    // A name that another architecture has is not odd.
    let path = profile(&folder, "{\"names\": [\"s390_pci_mmio_read\"], \"action\": \"SCMP_ACT_ALLOW\"}");
    printed(command().arg("check").arg(&path).arg("--strict"));
}

#[test]
fn many_rules_fit_or_are_said_not_to() {
    let folder = TempDir::new().unwrap();
    let rules = |count: u32, op: &str| {
        let rule = |value| {
            format!(
                "{{\"name\":\"ioctl\",\"action\":\"SCMP_ACT_ALLOW\",\
                 \"args\":[{{\"index\":1,\"value\":{value},\"valueTwo\":{value},\"op\":\"SCMP_CMP_{op}\"}}]}}"
            )
        };
        let rules: Vec<_> = (0..count).map(|index| rule(index * 7 + 1)).collect();
        profile(&folder, &rules.join(","))
    };
    printed(command().arg("check").arg(rules(2000, "EQ")));
    let raw = folder.path().join("out.bpf");
    printed(command().arg("compile").arg(rules(1000, "EQ")).arg("-o").arg(&raw));
    let eval = |arg: &str| printed(command().arg("eval").arg(&raw).args(["--nr", "ioctl", "--args", arg]));
    assert!(eval("0,6994").contains("ALLOW") && eval("0,6993").contains("ERRNO"));
    let long = "longer than the 4096 instructions";
    fails(command().arg("check").arg(rules(5000, "EQ")), 1, long);
    fails(command().arg("check").arg(rules(5000, "MASKED_EQ")), 1, long);
    fails(command().arg("check").arg(rules(20000, "EQ")), 2, "more than 1024 KiB");
    let names = vec!["\"read\""; 40000].join(",");
    let path = profile(&folder, &format!("{{\"names\": [{names}], \"action\": \"SCMP_ACT_ALLOW\"}}"));
    fails(command().arg("check").arg(path), 2, "syscalls[0]: more than 32768 rules");
}

/// What an OCI bundle has in its `config.json`.
fn bundle(profile: &str) -> String {
    format!(
        "{{\"ociVersion\": \"1.0.2\",\n\"process\": {{\"args\": [\"true\"]}},\n\"linux\": {{\"namespaces\": [],\n\"seccomp\": {profile}}}}}\n"
    )
}

#[test]
fn a_bundles_profile_is_read_where_it_stands() {
    let folder = TempDir::new().unwrap();
    let profile = format!("{{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{RULES}]}}");
    let alone = file(&folder, "profile.json", &profile);
    let config = file(&folder, "config.json", bundle(&profile));
    let both =
        [&alone, &config].map(|path| printed(command().arg("compile").arg(path).args(["--format", "text"])));
    assert_eq!(both[0], both[1]);
    let explained = printed(command().arg("explain").arg(&config).args(["--nr", "clone"]));
    assert!(explained.contains("syscalls[1] decides: clone, if arg0 & 0x7e020000 == 0x0"), "{explained}");

    // Errors and warnings have the place in the whole file.
    let config = |profile: &str| file(&folder, "config.json", bundle(profile));
    let odd = config("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscall\": []}");
    fails(command().arg("check").arg(odd).arg("--strict"), 2, "linux.seccomp.syscall: not a key of profiles");
    let bad = config("{\"defaultAction\": 7}");
    fails(
        command().arg("check").arg(bad),
        2,
        "config.json: read as a profile: invalid type: integer `7`, expected a string at line 4 column 30",
    );
    for none in ["null".into(), bundle("{}").replace("seccomp", "sysctl")] {
        let none = if none == "null" { config(&none) } else { file(&folder, "config.json", none) };
        let words = "config.json: read as a profile: a bundle without linux.seccomp, of which runtimes filter nothing";
        fails(command().arg("check").arg(none), 2, words);
    }
    let none = file(&folder, "config.json", "{\"ociVersion\": \"1.0.2\"}");
    fails(command().arg("check").arg(none), 2, "a bundle without linux.seccomp");
}

/// A name that is nearly another's.
#[test]
fn names_that_are_likely_meant_are_told() {
    let folder = TempDir::new().unwrap();
    let allow = file(&folder, "allow.asm", "ret #SECCOMP_RET_ALLOW\n");
    let meant = |command: &mut Command, name: &str| {
        let output = command.assert().get_output().clone();
        let told = text(&output.stderr);
        assert!(told.contains(name) && told.lines().count() == 1, "{told:?} does not have {name:?}");
    };
    let mkdir = ", did you mean \"mkdir\"?\n";
    meant(command().arg("eval").arg(&allow).args(["--nr", "mkdirr"]), mkdir);
    meant(command().arg("explain").arg(&allow).args(["--nr", "mkdirr"]), mkdir);
    meant(command().arg("explain").arg(&allow).arg("mkdirr(0, 0)"), mkdir);
    meant(command().arg("eval").arg(&allow).args(["--nr", "mkdir", "--arch", "aarch64"]), "\"mkdirat\"?\n");
    meant(command().arg("explain").arg(&allow).arg("open(0, O_RDONYL)"), ", did you mean \"O_RDONLY\"?\n");
    for (name, likely) in [
        ("mkdirr", "mkdir"),
        ("__NR_mkdirr", "mkdir"),
        ("AUDIT_ARCH_X8664", "AUDIT_ARCH_X86_64"),
        ("SECCOMP_RET_ALOW", "SECCOMP_RET_ALLOW"),
    ] {
        let path = file(&folder, "filter.asm", format!("ld #{name}\nret #0\n"));
        meant(
            command().arg("check").arg(path),
            &format!("unknown name {name:?}, did you mean {likely:?}?\n"),
        );
    }
    let rule = |rule: &str| format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{rule}]}}");
    for (json, words) in [
        (
            rule("{\"names\": [\"mkdirr\"], \"action\": \"SCMP_ACT_KILL\"}"),
            "\"mkdirr\", ignored, did you mean \"mkdir\"?",
        ),
        (
            rule("{\"names\": [\"mkdir\"], \"action\": \"SCMP_ACT_KIL\"}"),
            "\"SCMP_ACT_KIL\" is no action, did you mean \"SCMP_ACT_KILL\"?",
        ),
        (rule("{\"names\": [\"mkdir\"], \"action\": \"errno\"}"), "did you mean \"SCMP_ACT_ERRNO\"?"),
        (
            rule("{\"names\": [\"mkdir\"], \"action\": \"SCMP_ACT_ERRNO\", \"errno\": \"EPREM\"}"),
            "\"EPREM\" is no errno, did you mean \"EPERM\"?",
        ),
        (
            rule(
                "{\"names\": [\"mkdir\"], \"action\": \"SCMP_ACT_KILL\", \"args\": [{\"index\": 0, \"value\": 0, \"op\": \"SCMP_CMP_EG\"}]}",
            ),
            "\"SCMP_CMP_EG\" is no comparison, did you mean \"SCMP_CMP_",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_X8664\"]}".into(),
            "architectures[0]: \"SCMP_ARCH_X8664\" is no architecture, did you mean \"SCMP_ARCH_X86_64\"?",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"SECCOMP_FILTER_FLAG_LGO\"]}".into(),
            "flags: \"SECCOMP_FILTER_FLAG_LGO\" is no flag, did you mean \"SECCOMP_FILTER_FLAG_LOG\"?",
        ),
    ] {
        let path = file(&folder, "profile.json", json);
        meant(command().arg("check").arg(path).arg("--strict"), words);
    }
    meant(command().arg("check").arg(&allow).args(["--caps", "SYS_ADMIM"]), "did you mean \"SYS_ADMIN\"?\n");
    meant(command().arg("check").arg(&allow).args(["--arch", "x86-64"]), "'x86_64'\n");
    // Where none is near, all are told that are few.
    let path = file(&folder, "profile.json", rule("{\"names\": [\"mkdir\"], \"action\": \"?\"}"));
    fails(
        command().arg("check").arg(path),
        2,
        "\"?\" is no action; there are SCMP_ACT_KILL, SCMP_ACT_KILL_THREAD, ",
    );
    let output = command().arg("eval").arg(&allow).args(["--nr", "frobnicate"]).assert().get_output().clone();
    assert!(!text(&output.stderr).contains("did you mean"), "{}", text(&output.stderr));
}
