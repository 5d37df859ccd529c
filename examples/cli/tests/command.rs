//! The command as its users meet it: arguments and files in, output and exit status out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::diff;
use tempfile::TempDir;

const PROGRAMS: &str = include_str!("../../../tests/vectors/programs.tsv");
const DECISIONS: &str = include_str!("../../../tests/vectors/decisions.tsv");

const ENGINES: [&str; 4] = ["jit", "interpreter", "native", "all"];

fn command() -> Command {
    Command::cargo_bin("seccomp-rbpf").expect("the command is built")
}

/// A filter of `tests/cases`.
fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the file is written");
    path
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

/// What the command prints if it succeeds, and it has nothing to complain about.
fn printed(command: &mut Command) -> Vec<u8> {
    command.assert().success().stderr("").get_output().stdout.clone()
}

/// The command fails with this status, and one line on standard error that has `words`.
fn fails(command: &mut Command, status: i32, words: &str) {
    let output = command.assert().code(status).get_output().clone();
    one_line(&output, words);
}

fn one_line(output: &Output, words: &str) {
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("seccomp-rbpf: ") && !stderr.contains("panicked"), "{stderr}");
    assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains(words), "{stderr:?} does not have {words:?}");
}

fn ret(value: u32) -> [u8; 8] {
    let [a, b, c, d] = value.to_ne_bytes();
    [6, 0, 0, 0, a, b, c, d]
}

#[test]
fn shells_and_man_know_every_subcommand() {
    let dir = TempDir::new().unwrap();
    command().arg("man").arg(dir.path()).assert().success().stdout("").stderr("");
    let help = command().arg("--help").assert().success().get_output().stdout.clone();
    let help = String::from_utf8(help).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    // What goes on with another line is further in.
    let names = commands.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 10 && names.contains(&"verify"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let script = command().args(["completions", shell]).assert().success().get_output().stdout.clone();
        let script = String::from_utf8(script).unwrap();
        assert!(names.iter().all(|name| script.contains(name)), "{shell}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), names.len() + 1);
    for name in names {
        let page = dir.path().join(format!("seccomp-rbpf-{name}.1"));
        let shown = std::process::Command::new("man")
            .args(["--warnings", "--local-file"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(text.contains(&format!("seccomp-rbpf {name}")), "{text}");
        assert_eq!(String::from_utf8(shown.stderr).unwrap(), "", "{name}");
    }
    command().args(["man", "/nowhere"]).assert().code(2).stderr("seccomp-rbpf: /nowhere: not a folder\n");
}

#[test]
fn check_prints_lengths() {
    let mut check = command();
    check.arg("check").arg(case("allow.bpfasm"));
    check.assert().success().stdout("ok: 4 classic, 10 eBPF instructions\n").stderr("");
}

#[test]
fn check_goes_on_after_a_refusal() {
    let folder = TempDir::new().unwrap();
    let bad = file(&folder, "bad.bpf", [ret(0), [0x15, 0, 1, 9, 0, 0, 0, 0]].concat());
    let mut check = command();
    check.arg("check").arg(&bad).arg(case("allow.bpfasm"));
    let output = check.assert().code(1).get_output().clone();
    one_line(&output, &format!("{}: instruction 1: jump target 3 is past the end", bad.display()));
    assert!(text(&output.stdout).ends_with("allow.bpfasm: ok: 4 classic, 10 eBPF instructions\n"));

    // What cannot be read counts more than what is refused.
    let mut check = command();
    check.arg("check").args(["/nonexistent".as_ref(), bad.as_path()]).assert().code(2);
}

#[test]
fn every_case_is_accepted() {
    for entry in fs::read_dir(case("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bpfasm") {
            command().arg("check").arg(path).assert().success();
        }
    }
}

#[test]
fn a_filter_goes_round() {
    let folder = TempDir::new().unwrap();
    let raw = folder.path().join("deny.bpf");
    let assemble = |source: &Path, out: &Path| {
        assert!(printed(command().arg("assemble").arg(source).arg("-o").arg(out)).is_empty());
        fs::read(out).unwrap()
    };
    let program = assemble(&case("deny-mkdir.bpfasm"), &raw);
    assert_eq!(program, printed(command().arg("assemble").arg(case("deny-mkdir.bpfasm"))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left beside the result");

    let listing = printed(command().arg("disasm").arg(&raw));
    assert!(text(&listing).contains("AUDIT_ARCH_X86_64"), "{}", text(&listing));
    // Over the old file, from a file with another ending.
    assert_eq!(assemble(&file(&folder, "deny.txt", &listing), &raw), program);

    let translated = printed(command().arg("translate").arg(&raw).args(["--format", "raw"]));
    let hex = printed(command().arg("translate").arg(&raw).args(["--format", "hex"]));
    let lines: Vec<_> = translated.chunks(8).map(hex_of).collect();
    assert_eq!(text(&hex).lines().collect::<Vec<_>>(), lines);
    let shown = printed(command().arg("translate").arg(&raw));
    assert_eq!(text(&shown).lines().count(), lines.len());
    assert!(text(&shown).starts_with("    0: ac 00 00 00 00 00 00 00  w0 ^= w0\n"));

    let translated = file(&folder, "deny.ebpf", translated);
    assert_eq!(printed(command().arg("lift").arg(&translated).args(["--format", "raw"])), program);
    assert_eq!(printed(command().arg("lift").arg(&translated)), listing);
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn standard_input_is_text_or_raw() {
    let source = fs::read(case("kill-socket.bpfasm")).unwrap();
    let raw = printed(command().arg("assemble").arg(case("kill-socket.bpfasm")));
    for input in [source, raw] {
        let mut check = command();
        check.args(["check", "-"]).write_stdin(input);
        check.assert().success().stdout("ok: 8 classic, 14 eBPF instructions\n");
    }
}

#[test]
fn disasm_takes_what_check_refuses() {
    let folder = TempDir::new().unwrap();
    let junk = file(&folder, "junk.bpf", [0xff; 16]);
    fails(command().arg("check").arg(&junk), 1, "instruction 0: unknown opcode 0xffff");
    let listing = printed(command().arg("disasm").arg(&junk));
    let again = file(&folder, "junk.asm", listing);
    assert_eq!(printed(command().arg("assemble").arg(again)), [0xff; 16]);
}

#[test]
fn names_have_the_numbers_of_their_arch() {
    let folder = TempDir::new().unwrap();
    let source = file(&folder, "open.asm", "ld #openat\nret a\n");
    for (arch, nr) in [("x86_64", 257), ("i386", 295), ("x32", 0x4000_0101), ("aarch64", 56_u32)] {
        let program = printed(command().arg("assemble").arg(&source).args(["--arch", arch]));
        assert_eq!(program[4..8], nr.to_ne_bytes(), "{arch}");
    }
}

#[test]
fn eval_shows_the_decision() {
    let folder = TempDir::new().unwrap();
    let rows = [
        (0x7fff_0000, "0x7fff0000 ALLOW\n"),
        (0x7fff_1234, "0x7fff1234 ALLOW\n"),
        (0x7ffc_0000, "0x7ffc0000 LOG\n"),
        (0x7ff0_0002, "0x7ff00002 TRACE(2)\n"),
        (0x7fc0_0000, "0x7fc00000 USER_NOTIF\n"),
        (0x0005_0001, "0x00050001 ERRNO(1 EPERM)\n"),
        (0x0005_0000, "0x00050000 ERRNO(0)\n"),
        (0x0005_ffff, "0x0005ffff ERRNO(65535, returns 4095)\n"),
        (0x0003_0007, "0x00030007 TRAP(7)\n"),
        (0x0000_0000, "0x00000000 KILL_THREAD\n"),
        (0x8000_0000, "0x80000000 KILL_PROCESS\n"),
        (0x0001_0000, "0x00010000 UNKNOWN (kills the process)\n"),
    ];
    for (value, decision) in rows {
        let filter = file(&folder, "filter.bpf", ret(value));
        for engine in ENGINES {
            let mut eval = command();
            eval.arg("eval").arg(&filter).args(["--nr", "0", "--engine", engine]);
            eval.assert().success().stdout(decision).stderr("");
        }
    }
}

#[test]
fn eval_passes_the_whole_call() {
    let folder = TempDir::new().unwrap();
    let rows = [
        (0, 0xffff_ffff_u32),
        (4, 0xc000_00b7),
        (8, 0x5566_7788),
        (12, 0x1122_3344),
        (16, 0xffff_ff9c),
        (20, 0xffff_ffff),
        (24, 16),
        (56, 0),
    ];
    for (offset, word) in rows {
        let filter = file(&folder, "load.asm", format!("ld [{offset}]\nret a\n"));
        let mut eval = command();
        eval.arg("eval").arg(&filter).args(["--nr", "-1", "--arch", "aarch64", "--engine", "all"]);
        eval.args(["--ip", "0x1122334455667788", "--args", "-100,0x10"]);
        eval.assert().success().stdout(predicate::str::starts_with(format!("{word:#010x} ")));
    }
}

#[test]
fn eval_takes_names_and_numbers() {
    for (nr, decision) in
        [("mkdir", "ERRNO(1 EPERM)"), ("83", "ERRNO(1 EPERM)"), ("0x53", "ERRNO(1 EPERM)"), ("read", "ALLOW")]
    {
        let mut eval = command();
        eval.arg("eval").arg(case("deny-mkdir.bpfasm")).args(["--nr", nr]);
        eval.assert().success().stdout(predicate::str::ends_with(format!(" {decision}\n")));
    }
    let mut eval = command();
    eval.arg("eval").arg(case("deny-mkdir.bpfasm")).args(["--nr", "mkdir", "--arch", "i386"]);
    eval.assert().success().stdout("0x80000000 KILL_PROCESS\n");
}

#[test]
fn filters_stack() {
    let folder = TempDir::new().unwrap();
    let filter = |name: &str, value| file(&folder, name, ret(value));
    let rows = [
        (&[("a", 0x7fff_0000), ("b", 0x0005_0001), ("c", 0x7ffc_0000)][..], "0x00050001 ERRNO(1 EPERM)", "b"),
        // Of equal actions the newest filter's wins, whatever the data.
        (&[("a", 0x0005_0001), ("b", 0x0005_0002)], "0x00050002 ERRNO(2 ENOENT)", "b"),
        (&[("a", 0x0005_0002), ("b", 0x0005_0001)], "0x00050001 ERRNO(1 EPERM)", "b"),
        // KILL_PROCESS is below KILL_THREAD.
        (&[("a", 0x8000_0000), ("b", 0x0000_0000)], "0x80000000 KILL_PROCESS", "a"),
        (&[("a", 0x0001_0000), ("b", 0x0003_0000)], "0x00010000 UNKNOWN (kills the process)", "a"),
    ];
    for (stack, decision, from) in rows {
        for engine in ENGINES {
            let mut eval = command();
            eval.arg("eval").args(stack.iter().map(|(name, value)| filter(name, *value)));
            eval.args(["--nr", "0", "--engine", engine]);
            let from = folder.path().join(from);
            eval.assert().success().stdout(format!("{decision} from {}\n", from.display()));
        }
    }
    let mut eval = command();
    eval.arg("eval").args([case("allow.bpfasm"), case("deny-mkdir.bpfasm")]).args(["--nr", "read"]);
    eval.assert().success().stdout("0x7fff0000 ALLOW\n");
}

/// The recorded calls of each program as a batch, and Linux's answers.
fn batches() -> BTreeMap<&'static str, (String, String)> {
    let mut batches = BTreeMap::<_, (String, String)>::new();
    for row in DECISIONS.lines().filter(|row| !row.starts_with('#')) {
        let (name, rest) = row.split_once('\t').unwrap();
        let (call, value) = rest.rsplit_once('\t').unwrap();
        let (calls, values) = batches.entry(name).or_default();
        *calls += &call.replace('\t', " ");
        *calls += "\n";
        *values += &format!("0x{value}\n");
    }
    batches
}

fn recorded(name: &str) -> Vec<u8> {
    let row = PROGRAMS.lines().find(|row| row.split('\t').next() == Some(name)).unwrap();
    let digits = row.split('\t').nth(2).unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn batches_give_the_answers_of_linux() {
    let folder = TempDir::new().unwrap();
    for (index, (name, (calls, values))) in batches().into_iter().enumerate() {
        let filter = file(&folder, "filter.bpf", recorded(name));
        let calls = file(&folder, "calls", calls);
        let engine = ENGINES[index % ENGINES.len()];
        // Long batches are of whole real programs: those on each engine.
        let engines = if values.lines().count() > 100 { &ENGINES[..] } else { &[engine] };
        for engine in engines {
            let mut eval = command();
            eval.arg("eval").arg(&filter).arg("--batch").arg(&calls).args(["--engine", engine]);
            eval.assert().success().stdout(diff(values.clone())).stderr("");
        }
    }
}

#[test]
fn a_batch_of_a_stack_from_standard_input() {
    let mut eval = command();
    eval.arg("eval").args([case("deny-mkdir.bpfasm"), case("kill-socket.bpfasm")]).args(["--batch", "-"]);
    eval.write_stdin("c000003e 83 0 0 0 0 0 0 0\r\n0xC000003E 41 0x0 0 0 0 0 0 0\nc000003e 0 0 0 0 0 0 0 0");
    eval.assert().success().stdout("0x00050001\n0x80000000\n0x7fff0000\n").stderr("");
}

#[test]
fn an_empty_batch_has_no_answers() {
    let mut eval = command();
    eval.arg("eval").arg(case("allow.bpfasm")).args(["--batch", "/dev/null"]);
    eval.assert().success().stdout("").stderr("");
}

#[test]
fn batch_lines_that_are_no_calls() {
    let good = "c000003e 0 0 0 0 0 0 0 0\n";
    let long = " ".repeat(5000);
    let rows: [(&[u8], &str); 11] = [
        (b"\n", "line 2: arch is missing, a line is \"arch nr ip a0 a1 a2 a3 a4 a5\""),
        (b"# calls\n", "line 2: arch \"#\": not a number"),
        (b"c000003e 0 0 0 0 0 0 0\n", "line 2: a5 is missing"),
        (b"c000003e 0 0 0 0 0 0 0 0 0\n", "line 2: \"0\" is too much"),
        (b"c000003e mkdir 0 0 0 0 0 0 0\n", "line 2: nr \"mkdir\": not a number"),
        (b"c000003e 4294967296 0 0 0 0 0 0 0\n", "line 2: nr \"4294967296\": does not fit 32 bits"),
        (b"1c000003e 0 0 0 0 0 0 0 0\n", "line 2: arch \"1c000003e\": does not fit 32 bits"),
        (b"c000003e 0 0 0 0 0 -1 0 0\n", "line 2: a3 \"-1\": not a number"),
        (b"c000003e 0 10000000000000000 0 0 0 0 0 0\n", "line 2: ip \"10000000000000000\": does not fit 64"),
        (b"\xff\n", "line 2: not UTF-8 text"),
        (long.as_bytes(), "line 2: more than 1024 bytes"),
    ];
    for (line, words) in rows {
        let mut eval = command();
        eval.arg("eval").arg(case("allow.bpfasm")).args(["--batch", "-"]);
        eval.write_stdin([good.as_bytes(), line, good.as_bytes()].concat());
        // What came before is answered.
        let output = eval.assert().code(2).stdout("0x7fff0000\n").get_output().clone();
        one_line(&output, words);
        assert!(text(&output.stderr).starts_with("seccomp-rbpf: standard input: "));
    }
}

/// The command, to be talked to.
fn spawned(args: &[&str]) -> std::process::Child {
    std::process::Command::new(assert_cmd::cargo::cargo_bin("seccomp-rbpf"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_batch_answers_without_waiting_for_more() {
    let filter = case("deny-mkdir.bpfasm");
    let mut child = spawned(&["eval", filter.to_str().unwrap(), "--batch", "-"]);
    let mut calls = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for (nr, answer) in [(83, "0x00050001\n"), (-1, "0x80000000\n"), (1, "0x7fff0000\n")] {
        writeln!(calls, "c000003e {nr} 0 0 0 0 0 0 0").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line, answer);
    }
    drop(calls);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = TempDir::new().unwrap();
    let calls = file(&folder, "calls", "c000003e 0 0 0 0 0 0 0 0\n".repeat(50_000));
    let filter = case("allow.bpfasm");
    let mut child = spawned(&["eval", filter.to_str().unwrap(), "--batch", calls.to_str().unwrap()]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "0x7fff0000\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(128 + libc::SIGPIPE), ""));
}

#[test]
fn files_that_are_no_filters() {
    let folder = TempDir::new().unwrap();
    let rows: [(PathBuf, &str); 9] = [
        ("/nonexistent".into(), "/nonexistent: No such file or directory"),
        (folder.path().into(), ": Is a directory"),
        ("/dev/zero".into(), "/dev/zero: more than 1024 KiB"),
        (file(&folder, "empty.bpf", ""), "empty.bpf: empty"),
        (file(&folder, "empty.bpfasm", ""), "empty.bpfasm: empty"),
        (file(&folder, "seven.bpf", [6, 0, 0, 0, 0, 0, 0]), "seven.bpf: 7 bytes, not a multiple of the 8"),
        (file(&folder, "read.me", "Read me\n"), "read.me: read as assembler text: line 1: "),
        (file(&folder, "raw.asm", [0xff; 8]), "raw.asm: not UTF-8 text"),
        (file(&folder, "new\nline", ""), "new\\nline: empty"),
    ];
    for (path, words) in rows {
        for subcommand in ["check", "translate", "disasm"] {
            fails(command().arg(subcommand).arg(&path), 2, words);
        }
        fails(command().arg("eval").arg(&path).args(["--nr", "0"]), 2, words);
    }
    // Only eBPF filters are in object files.
    let elf = file(&folder, "elf", b"\x7fELF\x02\x01\x01\x00");
    fails(command().arg("check").arg(&elf), 2, "elf: an object file; its eBPF filters are for verify");
    for subcommand in ["verify", "translate", "disasm", "plan"] {
        fails(command().arg(subcommand).arg(&elf), 2, "elf: not a readable ELF file");
    }
    fails(command().arg("eval").arg(&elf).args(["--nr", "0"]), 2, "elf: not a readable ELF file");
    fails(command().args(["check", "-"]).write_stdin(""), 2, "standard input: empty");
    fails(command().args(["check", "-", "-"]), 2, "standard input, -, is named 2 times");
    fails(command().args(["eval", "-", "--batch", "-"]), 2, "standard input, -, is named 2 times");
}

#[test]
fn text_that_is_no_program() {
    let folder = TempDir::new().unwrap();
    let rows = [
        ("ld [0]\nrat #0\n", "line 2: unknown instruction \"rat\""),
        ("jeq #opennat, l\nl: ret #0", "line 1: unknown name \"opennat\""),
        ("ret #4294967296", "line 1: number \"4294967296\" does not fit 32 bits"),
        ("; nothing\n", "no instructions"),
        ("jmp end\n", "line 1: label \"end\" is not defined"),
    ];
    for (source, words) in rows {
        let source = file(&folder, "bad.bpfasm", source);
        for subcommand in ["assemble", "check", "disasm"] {
            fails(command().arg(subcommand).arg(&source), 2, words);
        }
    }
}

#[test]
fn programs_that_linux_refuses() {
    let folder = TempDir::new().unwrap();
    let ends = file(&folder, "ends.asm", "ld [0]\n");
    let words = "ends.asm: instruction 0: the last instruction is not a return";
    for subcommand in ["check", "translate"] {
        fails(command().arg(subcommand).arg(&ends), 1, words);
    }
    fails(command().arg("eval").arg(&ends).args(["--nr", "0"]), 1, words);
    let long = file(&folder, "long.bpf", ret(0).repeat(4097));
    fails(command().arg("check").arg(&long), 1, "long.bpf: program has 4097 instructions");
    printed(command().arg("disasm").arg(&long));
}

#[test]
fn programs_that_do_not_lift() {
    let folder = TempDir::new().unwrap();
    let classic = file(&folder, "classic.bpf", ret(0));
    fails(command().arg("lift").arg(&classic), 1, "classic.bpf: not translated by Linux");
    let seven = file(&folder, "seven", [0; 7]);
    fails(command().arg("lift").arg(&seven), 2, "seven: 7 bytes, not a multiple of the 8");
    fails(command().args(["lift", "-"]).write_stdin(""), 2, "standard input: empty");
    fails(command().args(["lift", "/nonexistent"]), 2, "/nonexistent: No such file");
    let prologue = [0xac, 0, 0, 0, 0, 0, 0, 0];
    fails(command().args(["lift", "-"]).write_stdin(prologue), 1, "standard input: not translated by Linux");
}

#[test]
fn usage_errors_take_one_line() {
    let allow = case("allow.bpfasm");
    let allow = allow.to_str().unwrap();
    let rows: &[(&[&str], &str)] = &[
        (&[], "no command is given; --help lists them\n"),
        (&["chek"], "unrecognized subcommand 'chek'; a similar subcommand exists: 'check'"),
        (&["check"], "<FILTER>..."),
        (&["check", "--nonsense", allow], "unexpected argument '--nonsense' found"),
        (
            &["check", "--arch", "vax", allow],
            "invalid value 'vax' for '--arch <ARCH>' [possible values: x86_64,",
        ),
        (&["translate", allow, "--format", "pdf"], "invalid value 'pdf'"),
        (&["eval", allow], "--nr"),
        (&["eval", allow, "--nr", "mkdri"], "--nr \"mkdri\": neither a number nor a system call of x86_64"),
        (&["eval", allow, "--nr", ""], "--nr \"\": neither a number"),
        (&["eval", allow, "--nr", "4294967296"], "--nr 4294967296: does not fit 32 bits"),
        (&["eval", allow, "--nr", "-99999999999999999999"], "does not fit 32 bits"),
        (&["eval", allow, "--nr", "0", "--ip", "0x10000000000000000"], "does not fit 64 bits"),
        (&["eval", allow, "--nr", "0", "--args", "1,,2"], "argument 1: not a number"),
        (&["eval", allow, "--nr", "0", "--args", "-9223372036854775809"], "argument 0: does not fit 64 bits"),
        (&["eval", allow, "--nr", "0", "--args", "1,2,3,4,5,6,7"], "a system call has six arguments"),
        (
            &["eval", allow, "--nr", "0", "--engine", "steam"],
            "[possible values: jit, interpreter, native, plan, all]",
        ),
        (&["eval", allow, "--nr", "0", "--batch", "x"], "cannot be used with"),
        (&["eval", allow, "--batch", "/nonexistent"], "/nonexistent: No such file"),
        (&["eval", allow, "--batch", "/"], "/: Is a directory"),
    ];
    for (args, words) in rows {
        fails(command().args(*args), 2, words);
    }
}

#[test]
fn what_is_read_is_not_written_over() {
    let folder = TempDir::new().unwrap();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
    file(&folder, "p.json", profile);
    let assembler = "ret #SECCOMP_RET_ALLOW";
    file(&folder, "a.bpfasm", assembler);
    fs::hard_link(folder.path().join("p.json"), folder.path().join("same.json")).unwrap();
    let rows: [&[&str]; 8] = [
        &["compile", "p.json", "-o", "p.json"],
        &["compile", "p.json", "-o", "same.json"],
        &["assemble", "a.bpfasm", "-o", "./a.bpfasm"],
        &["graph", "p.json", "-o", "p.json"],
        &["table", "p.json", "--html", "-o", "p.json"],
        &["table", "a.bpfasm", "--compare", "p.json", "--html", "-o", "p.json"],
        &["run", "--filter", "p.json", "--trace", "p.json", "--", "true"],
        &["run", "--filter", "p.json", "--summary-json", "p.json", "--", "true"],
    ];
    for args in rows {
        fails(command().current_dir(&folder).args(args), 2, "it is what is read and would be lost");
        assert_eq!(fs::read_to_string(folder.path().join("p.json")).unwrap(), profile, "{args:?}");
        assert_eq!(fs::read_to_string(folder.path().join("a.bpfasm")).unwrap(), assembler);
    }
}

#[test]
fn a_dash_is_standard_output() {
    let folder = TempDir::new().unwrap();
    let deny = case("deny-mkdir.bpfasm");
    let deny = deny.to_str().unwrap();
    let rows: [(&[&str], &str); 3] = [
        (&["graph", deny, "-o", "-"], "<svg "),
        (&["table", deny, "-o", "-"], "0x00050001"),
        (&["run", "--filter", deny, "--trace", "-", "--", "true"], " exit_group c000003e 231 "),
    ];
    for (args, words) in rows {
        let text = String::from_utf8(printed(command().current_dir(&folder).args(args))).unwrap();
        assert!(text.contains(words), "{args:?}: {text}");
        assert!(!folder.path().join("-").exists(), "{args:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let deny = case("deny-mkdir.bpfasm");
    let deny = deny.to_str().unwrap();
    let folder = TempDir::new().unwrap();
    let calls = file(&folder, "calls", "c000003e 0 0 0 0 0 0 0 0\n".repeat(10_000));
    let translated =
        file(&folder, "deny.ebpf", printed(command().args(["translate", deny, "--format", "raw"])));
    let rows: [&[&str]; 10] = [
        &["--help"],
        &["check", deny],
        &["translate", deny],
        &["translate", deny, "--format", "hex"],
        &["translate", deny, "--format", "raw"],
        &["disasm", deny],
        &["assemble", deny],
        &["lift", translated.to_str().unwrap()],
        &["eval", deny, "--nr", "0"],
        &["eval", deny, "--batch", calls.to_str().unwrap()],
    ];
    for args in rows {
        let mut full = std::process::Command::new(assert_cmd::cargo::cargo_bin("seccomp-rbpf"));
        let output = full.args(args).stdout(File::create("/dev/full").unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        one_line(&output, "standard output: No space left on device");
    }
    fails(command().args(["assemble", deny, "-o", "/dev/full"]), 2, "/dev/full: No space left on device");
}

#[test]
fn assemble_leaves_no_half_file() {
    let folder = TempDir::new().unwrap();
    let out = file(&folder, "out", "old");
    let bad = file(&folder, "bad.asm", "rat #0\n");
    fails(command().arg("assemble").arg(bad).arg("-o").arg(&out), 2, "unknown instruction");
    assert_eq!(fs::read(&out).unwrap(), b"old");

    let mut assemble = command();
    assemble.arg("assemble").arg(case("allow.bpfasm"));
    fails(assemble.arg("-o").arg(folder.path()), 2, "Is a directory");
    fails(
        command().arg("assemble").arg(case("allow.bpfasm")).args(["-o", "/nonexistent/out"]),
        2,
        "/out: No such",
    );

    // A link is written through.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    printed(command().arg("assemble").arg(case("allow.bpfasm")).arg("-o").arg(&link));
    assert!(link.is_symlink());
    // What it leads to is lost no more than another file, and nothing is left beside it.
    let (before, entries) = (fs::read(&out).unwrap(), fs::read_dir(folder.path()).unwrap().count());
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" assemble \"$1\" -o \"$2\"";
    let mut full = std::process::Command::new("sh");
    full.args(["-c", script])
        .arg(env!("CARGO_BIN_EXE_seccomp-rbpf"))
        .arg(case("deny-mkdir.bpfasm"))
        .arg(&link);
    let full = full.output().unwrap();
    assert_eq!(full.status.code(), Some(2), "{full:?}");
    assert_eq!(fs::read(&out).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), entries);
    assert_eq!(fs::metadata(&out).unwrap().len(), 4 * 8);
    let piped = printed(command().arg("assemble").arg(case("allow.bpfasm")).args(["-o", "/dev/stdout"]));
    assert_eq!(piped, fs::read(&out).unwrap());
}

#[test]
fn closed_streams_do_no_harm() {
    let script = r#"
        "$0" check "$1" >&- 2>/dev/null; echo $?
        "$0" check /nonexistent 2>&-; echo $?
        "$0" check /nonexistent 2>/dev/full; echo $?
        "$0" check - <&-; echo $?
    "#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(assert_cmd::cargo::cargo_bin("seccomp-rbpf")).arg(case("allow.bpfasm"));
    let output = shell.assert().success().stdout("2\n2\n2\n2\n").get_output().clone();
    one_line(&output, "standard input: empty");
}

#[test]
fn help_and_version() {
    command().arg("--version").assert().success().stdout("seccomp-rbpf 0.1.0\n").stderr("");
    for subcommand in ["check", "translate", "disasm", "assemble", "lift", "eval"] {
        command().args([subcommand, "--help"]).assert().success().stdout(predicate::str::contains("Example"));
    }
}
