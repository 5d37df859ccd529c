//! `replay` on logs of real programs: every line is understood, and what it says is what `run` and `eval` say.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use common::{compile, ended, run};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

fn replay(filters: &[&Path], log: &Path) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let ended = ended(command.args(["replay", "--json"]).args(filters).arg(log));
    let json =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    (ended.status, json)
}

const PYTHON: &str = "
import os, socket, subprocess, threading
threads = [threading.Thread(target=os.listdir, args=('/usr/share',)) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
a, b = socket.socketpair(); s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname())
print(subprocess.run(['sh', '-c', 'ls / | sort | wc -l; kill -TERM $$']).returncode)
";

/// A log of a program, to standard error or to a file. What the program itself says is left out.
fn log(dir: &TempDir, name: &str, options: &[&str], to_file: bool, program: &[&str]) -> PathBuf {
    let path = dir.path().join(name);
    let mut strace = Command::new("strace");
    strace.args(options).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    if to_file {
        strace.arg("-o").arg(&path).stderr(Stdio::null());
    } else {
        strace.stderr(File::create(&path).unwrap());
    }
    strace.args(program).status().unwrap();
    path
}

fn all_understood(log: &Path, what: &str) -> Value {
    let allow = log.with_file_name("allow.asm");
    fs::write(&allow, "ret #SECCOMP_RET_ALLOW").unwrap();
    let (status, json) = replay(&[&allow], log);
    let troubles = &json["not_understood"];
    assert!(status == 0 && troubles["count"] == 0, "{what}: {status} {troubles}");
    assert!(json["calls"].as_u64().unwrap() > 20, "{what}: {json}");
    let counted = json["calls"].as_u64().unwrap() + json["other_lines"].as_u64().unwrap();
    assert!(counted <= json["lines"].as_u64().unwrap(), "{what}: {json}");
    json
}

#[test]
fn every_line_of_real_logs_is_understood() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("x.c"), "int main(void) { return 0; }").unwrap();
    let programs: [&[&str]; 5] = [
        &["ls", "-lR", "/usr/share/doc/libc6"],
        &["sh", "-c", "ls / | sort | head -2; (exit 3) & wait; echo $?"],
        &["python3", "-c", PYTHON],
        &["git", "init", "-q", "repository"],
        &["gcc", "-O1", "-o", "x", "x.c"],
    ];
    let options: [&[&str]; 11] = [
        &["-f"],
        &["-f", "-y", "-t"],
        &["-f", "-yy", "-tt", "-T"],
        &["-f", "-ttt", "-n"],
        &["-f", "-r", "-i", "-n"],
        &["-f", "-tt", "-r", "-v", "-s", "4096"],
        &["-f", "-X", "raw"],
        &["-f", "-X", "verbose", "-x"],
        &["-f", "-e", "raw=all"],
        &["-f", "-Y", "-yy"],
        &["-f", "--absolute-timestamps=format:unix,precision:ns", "-e", "read=0"],
    ];
    for (index, program) in programs.iter().enumerate() {
        // Every program with some options, and Python, which does most, with all of them.
        let all = program[0] == "python3";
        for (place, options) in options.iter().enumerate().filter(|(place, _)| all || place % 5 == index) {
            // The options -y and -X are of no use to a program that writes into its own log.
            let what = format!("{program:?} {options:?}");
            all_understood(&log(&dir, "log", options, place % 2 == 0 || all, program), &what);
        }
    }
    all_understood(&log(&dir, "log", &[], true, &["ls", "/"]), "without -f");
    all_understood(&log(&dir, "log", &["-tt"], false, &["ls", "/"]), "to standard error");
    all_understood(
        &log(&dir, "log", &["-f"], false, &["sh", "-c", "ls / | sort; ls"]),
        "threads to standard error",
    );
}

#[test]
fn programs_of_32_bits_have_their_own_numbers() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "socket", "-m32", &[]);
    let program = program.to_str().unwrap();
    let filter = dir.path().join("i386.asm");
    let text = "ld [4]\njeq #AUDIT_ARCH_I386, deny\nret #SECCOMP_RET_ALLOW\ndeny: ret #SECCOMP_RET_ERRNO|1";
    fs::write(&filter, text).unwrap();
    // The mode is told on standard error, and by numbers anywhere.
    for (options, to_file) in [(&["-f"][..], false), (&["-f", "-n"], true)] {
        let path = log(&dir, "log", options, to_file, &["sh", "-c", &format!("{program}; ls /")]);
        let json = all_understood(&path, "32 bits");
        let (status, denied) = replay(&[&filter], &path);
        assert_eq!(status, 1);
        let rows = denied["denied"]["rows"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["call"]["arch"] == "i386"), "{rows:?}");
        let named: Vec<_> = rows.iter().map(|row| row["call"]["name"].as_str().unwrap()).collect();
        assert!(named.contains(&"mmap2") && named.contains(&"brk"), "{named:?}");
        assert!(denied["denied"]["count"].as_u64() < json["calls"].as_u64());
    }
    // Without either it is said.
    let path = log(&dir, "log", &["-f"], true, &["sh", "-c", program]);
    let (status, json) = replay(&[&case("allow.bpfasm")], &path);
    assert_eq!((status, json["not_understood"]["kinds"][0]["kind"].as_str()), (3, Some("mode")));
}

/// What was denied, by call and value.
fn denials(json: &Value) -> BTreeMap<(String, String), u64> {
    let rows = json["denied"]["rows"].as_array().unwrap().iter();
    let rows = rows.map(|row| {
        let decisions = row["decisions"].as_array().unwrap();
        assert_eq!(decisions.len(), 1, "{row}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ((text(&row["call"]["name"]), text(&decisions[0]["value"])), row["count"].as_u64().unwrap())
    });
    rows.collect()
}

const FILTER: &str = "
        ld [0]
        jeq #mkdir, deny
        jeq #socket, socket
        jeq #fcntl, fcntl
        jeq #mprotect, mprotect
        jeq #getuid, log
        ret #SECCOMP_RET_ALLOW
socket: ld [16]
        jeq #1, unix
        ret #SECCOMP_RET_ALLOW
unix:   ret #SECCOMP_RET_ERRNO|97
fcntl:  ld [24]
        jeq #3, deny
        ret #SECCOMP_RET_ALLOW
mprotect: ld [32]
        jset #4, deny
        ret #SECCOMP_RET_ALLOW
log:    ret #SECCOMP_RET_LOG
deny:   ret #SECCOMP_RET_ERRNO|1
";

const DENIED: &str = "
import fcntl, os, socket
for i in range(3):
    try: os.mkdir('/nowhere/x')
    except OSError: pass
for family in (socket.AF_INET, socket.AF_UNIX):
    try: socket.socket(family)
    except OSError: pass
try: fcntl.fcntl(0, fcntl.F_GETFL)
except OSError: pass
os.getuid()
";

#[test]
fn a_trace_of_runs_has_the_denials_that_run_had() {
    let dir = TempDir::new().unwrap();
    let (filter, trace) = (dir.path().join("filter.asm"), dir.path().join("trace"));
    fs::write(&filter, FILTER).unwrap();
    let options = ["--filter".as_ref(), filter.as_path(), "--trace".as_ref(), trace.as_path()];
    assert_eq!(ended(run(options).args(["/usr/bin/python3", "-c", DENIED])).status, 0);
    let mut told = BTreeMap::new();
    let text = fs::read_to_string(&trace).unwrap();
    for line in text.lines() {
        let (call, value) = line.split_once(" = ").unwrap();
        if !value.contains("ALLOW") && !value.contains("LOG") {
            let name = call.split(' ').nth(1).unwrap().to_owned();
            *told.entry((name, value[..10].to_owned())).or_default() += 1;
        }
    }
    let (status, json) = replay(&[&filter], &trace);
    assert_eq!(status, 1);
    assert_eq!(denials(&json), told);
    assert_eq!(json["calls"], text.lines().count());
    assert_eq!(told[&("mkdir".into(), "0x00050001".into())], 3);

    // strace of the same program: the same calls are denied, though there they were not. What follows of a denial may
    // differ; these do not.
    let path = log(&dir, "log", &["-f"], true, &["/usr/bin/python3", "-c", DENIED]);
    let (_, json) = replay(&[&filter], &path);
    assert_eq!((&json["undecided"]["count"], &json["not_understood"]["count"]), (&0.into(), &0.into()));
    let logged = denials(&json);
    for key in [("mkdir", "0x00050001"), ("socket", "0x00050061"), ("fcntl", "0x00050001")] {
        let key = (key.0.to_owned(), key.1.to_owned());
        assert_eq!(logged[&key], told[&key], "{key:?}");
    }
}

#[test]
fn calls_with_raw_arguments_are_decided_as_eval_does() {
    let dir = TempDir::new().unwrap();
    let filter = case("docker-like-linear.bpfasm");
    // All six registers of each call, as `run` saw them, and their denials.
    let trace = dir.path().join("trace");
    ended(run(["--trace".as_ref(), trace.as_path()]).args([
        "sh",
        "-c",
        "unshare -n true; chroot / true; setarch -R true; ls /; mount",
    ]));
    let text = fs::read_to_string(&trace).unwrap();
    let batch: String = text
        .lines()
        .map(|line| line.split(' ').skip(2).take(9).collect::<Vec<_>>().join(" ") + "\n")
        .collect();
    fs::write(dir.path().join("batch"), batch).unwrap();
    let mut eval = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let answers = ended(eval.arg("eval").arg(&filter).arg("--batch").arg(dir.path().join("batch"))).stdout;
    let mut expected = BTreeMap::new();
    for (line, value) in text.lines().zip(answers.lines()) {
        if !value.starts_with("0x7ff") {
            let name = line.split(' ').nth(1).unwrap().to_owned();
            *expected.entry((name, value.to_owned())).or_default() += 1;
        }
    }
    let (_, json) = replay(&[&filter], &trace);
    assert!(!expected.is_empty());
    assert_eq!(denials(&json), expected);
}

#[test]
fn ebpf_filters_decide_while_they_know_what_they_ask_for() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("filter.c");
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../extensions");
    fs::write(
        &source,
        "#include \"seccomp_filter.h\"
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } seen
    SEC(\".maps\");
SEC(\"seccomp\") int twice(struct seccomp_data *call)
{
    __u32 key = 0;
    __u64 *count = bpf_map_lookup_elem(&seen, &key);
    if (call->nr != 83 || !count)
        return 0x7fff0000;
    *count += 1;
    return *count > 2 ? 0x00050001 : 0x7fff0000;
}
",
    )
    .unwrap();
    let object = dir.path().join("filter.o");
    let mut clang = Command::new("clang");
    clang
        .args(["-target", "bpf", "-O2", "-g", "-I"])
        .arg(&header)
        .arg("-c")
        .arg(&source)
        .arg("-o")
        .arg(&object);
    let compiled = ended(&mut clang);
    assert_eq!(compiled.status, 0, "{}", compiled.stderr);
    let path = dir.path().join("log");
    fs::write(&path, "mkdir(\"x\", 0777) = 0\n".repeat(5)).unwrap();
    let (status, json) = replay(&[&object], &path);
    assert_eq!((status, &json["allowed"], &json["denied"]["count"]), (1, &2.into(), &3.into()), "{json}");
    assert_eq!(json["denied"]["rows"][0]["first"]["line"], 3);
}

#[test]
fn odd_logs_behave() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let mut file = File::create(&path).unwrap();
    // A line of many megabytes has its name and what is known before the cut.
    write!(file, "mkdir(\"{}\", 0777) = 0\ngetpid() = 7", "x".repeat(5 << 20)).unwrap();
    let (status, json) = replay(&[&case("deny-mkdir.bpfasm")], &path);
    assert_eq!(
        (status, &json["lines"], &json["calls"], &json["denied"]["count"]),
        (1, &2.into(), &2.into(), &1.into())
    );
    let fails = |args: &[&str], words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
        let ended = ended(command.arg("replay").args(args));
        assert_eq!((ended.status, ended.stderr.lines().count()), (2, 1), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    };
    let filter = case("allow.bpfasm");
    let filter = filter.to_str().unwrap();
    fails(&[filter, "/nowhere"], "/nowhere: No such file");
    fails(&[filter, "/"], "/: Is a directory");
    fails(&[filter], "2 values required");
    fails(&["-", "-"], "is named 2 times");
    fs::write(&path, "\x1b[31m(1) = 0\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let shown = ended(command.arg("replay").args([filter.as_ref(), path.as_path()]));
    assert!(shown.status == 3 && shown.stdout.contains("\\u{1b}[31m"), "{}", shown.stdout);
}
