//! `plan`, and the filters that are shipped for it.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use cbpf_translator::disasm::Disassembly;
use seccomp_rbpf::cases;
use seccomp_rbpf::policy::Policy;
use tempfile::TempDir;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

fn plan(filter: &Path) -> Command {
    let mut command = Command::cargo_bin("seccomp-rbpf").expect("the command is built");
    command.arg("plan").arg(filter);
    command
}

/// Of 512 numbers, one depends on its arguments and three others have a value of their own.
const FILTER: &str = "
        ld [4]
        jne #AUDIT_ARCH_X86_64, kill
        ld [0]
        jeq #1, deny
        jeq #2, deny
        jeq #getpid, trap
        jne #5, allow
        ld [16]
        jeq #7, deny
allow:  ret #SECCOMP_RET_ALLOW
deny:   ret #SECCOMP_RET_ERRNO|1
trap:   ret #SECCOMP_RET_TRAP
kill:   ret #SECCOMP_RET_KILL_PROCESS
";

const PLAN: &str = "\
filter: 13 classic, 21 eBPF instructions
  508 0x7fff0000 ALLOW
    2 0x00050001 ERRNO(1 EPERM)
    1 residual program
    1 0x00030000 TRAP(0)

0 read: 0x7fff0000 ALLOW
1-2 write open: 0x00050001 ERRNO(1 EPERM)
3-4 close stat: 0x7fff0000 ALLOW
5 fstat: residual program
6-38: 0x7fff0000 ALLOW
39 getpid: 0x00030000 TRAP(0)
40-511: 0x7fff0000 ALLOW
others: whole filter

residual program: 4 classic, 9 eBPF instructions
        ld [16]                        ; args[0] (low)
        jeq #7, L2, L3
L2:     ret #0x50001                   ; ERRNO(1)
L3:     ret #0x7fff0000                ; ALLOW
";

#[test]
fn a_plan_has_counts_intervals_and_the_residual_program() {
    let folder = TempDir::new().unwrap();
    let filter = folder.path().join("filter.bpfasm");
    fs::write(&filter, FILTER).unwrap();
    plan(&filter).assert().success().stderr("").stdout(PLAN);

    let entry = plan(&filter).args(["--arch", "aarch64"]).assert().success().get_output().stdout.clone();
    assert!(
        String::from_utf8(entry)
            .unwrap()
            .contains("\n0-511: 0x80000000 KILL_PROCESS\nothers: whole filter\n")
    );
}

#[test]
fn one_number_is_one_line() {
    let folder = TempDir::new().unwrap();
    let filter = folder.path().join("filter.bpfasm");
    fs::write(&filter, FILTER).unwrap();
    for (nr, line) in [
        ("getpid", "39 getpid: 0x00030000 TRAP(0)\n"),
        ("5", "5 fstat: residual program\n"),
        ("511", "511: 0x7fff0000 ALLOW\n"),
        ("512", "512: whole filter\n"),
        ("-1", "-1: whole filter\n"),
        ("0x7fffffff", "2147483647: whole filter\n"),
    ] {
        plan(&filter).args(["--nr", nr]).assert().success().stderr("").stdout(line);
    }
    plan(&filter).args(["--nr", "no_such_call"]).assert().code(2).stdout("");
}

/// The shipped filters are what the shipped policy compiles to. `SECCOMP_WRITE_CASES=1` writes them.
#[test]
fn shipped_filters_are_those_of_the_policy() {
    type Compile = fn(&Policy) -> anyhow::Result<cbpf_translator::Checked>;
    let forms: [(&str, &str, Compile); 2] = [
        ("linear", "one comparison for each call", Policy::linear),
        ("tree", "a balanced search", Policy::tree),
    ];
    for (form, words, compile) in forms {
        let filter = compile(&cases::docker_like().unwrap()).unwrap();
        let text = format!("; docker-like.policy, compiled to {words}.\n{}", Disassembly(filter.insns()));
        let path = case(&format!("docker-like-{form}.bpfasm"));
        if std::env::var_os("SECCOMP_WRITE_CASES").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert!(fs::read_to_string(&path).unwrap() == text, "{}: not what it is compiled to", path.display());
    }
}

#[test]
fn policies_that_are_not_understood_say_where() {
    for (text, error) in [
        ("allow read\nallow no_such_call", "line 2: no call \"no_such_call\""),
        ("allow read\nerrno 1 read", "line 2: call 0 has a rule already"),
        ("maybe read", "line 1: \"maybe\" is no action"),
        ("arch vax", "line 1: no architecture \"vax\""),
        ("allow read when arg6 == 1", "line 1: \"arg6 == 1\": a call has six arguments"),
        ("allow read when arg0 < 1", "line 1: \"arg0 < 1\": neither == nor !="),
        ("default allow read", "line 1: \"read\" is too much"),
    ] {
        assert_eq!(format!("{:#}", Policy::parse(text).unwrap_err()), error);
    }
}
