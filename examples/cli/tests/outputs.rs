//! Where every command writes to: what cannot be written, and what cannot be read, ends in one line that has its name.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[expect(dead_code, reason = "nothing is carried here")]
mod common;

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use seccomp_tests::{clang, host};
use tempfile::TempDir;

use common::compile;

const COMMAND: &str = env!("CARGO_BIN_EXE_seccomp-rbpf");

/// What the commands read.
struct Files {
    folder: TempDir,
    /// A process that has a filter.
    filtered: Child,
}

impl Files {
    fn new() -> Self {
        let folder = TempDir::with_prefix("outputs").unwrap();
        let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
        put("f.bpfasm", b"ld [0]\njeq #mkdir, no\nret #SECCOMP_RET_ALLOW\nno: ret #SECCOMP_RET_ERRNO|1\n");
        put("p.json", br#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
        put("calls", b"c000003e 0 0 0 0 0 0 0 0\n");
        put("log", b"mkdir(\"/tmp\", 0777) = 0\n");
        let source = include_str!("../../extensions/deny-connect.c");
        put("e.o", &clang::compile(source, &["-O2"]).unwrap());
        for (output, args) in [
            ("f.bpf", &["assemble", "f.bpfasm"] as &[_]),
            ("f.ebpf", &["translate", "f.bpfasm", "--format", "raw"]),
        ] {
            let file = File::create(folder.path().join(output)).unwrap();
            assert!(
                Command::new(COMMAND)
                    .current_dir(&folder)
                    .args(args)
                    .stdout(file)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let program = compile(folder.path(), "install", "-m64", &[]);
        let mut filtered = Command::new(program);
        filtered.arg(folder.path().join("f.bpf")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut filtered = filtered.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(filtered.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { folder, filtered }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(COMMAND);
        command.current_dir(&self.folder).args(args).stdin(Stdio::null());
        command
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // It waits for the end of its input.
        drop(self.filtered.stdin.take());
        let _ = self.filtered.wait();
    }
}

/// Each subcommand that prints, in each of its forms; `PID` has a filter.
const PRINTING: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["check", "--help"],
    &["check", "f.bpfasm"],
    &["check", "f.bpfasm", "--json"],
    &["verify", "e.o"],
    &["verify", "e.o", "--json"],
    &["translate", "f.bpfasm"],
    &["translate", "f.bpfasm", "--format", "raw"],
    &["disasm", "f.bpf"],
    &["assemble", "f.bpfasm"],
    &["assemble", "f.bpfasm", "-o", "-"],
    &["compile", "p.json"],
    &["compile", "p.json", "--format", "text"],
    &["lift", "f.ebpf"],
    &["eval", "f.bpfasm", "--nr", "0"],
    &["eval", "f.bpfasm", "--nr", "0", "--json"],
    &["eval", "f.bpfasm", "--batch", "calls"],
    &["explain", "f.bpfasm", "--nr", "0"],
    &["explain", "f.bpfasm", "--nr", "0", "--json"],
    &["table", "f.bpfasm"],
    &["table", "f.bpfasm", "--json"],
    &["table", "f.bpfasm", "--html"],
    &["diff", "f.bpfasm", "f.bpf"],
    &["diff", "f.bpfasm", "p.json"],
    &["diff", "f.bpfasm", "f.bpf", "--json"],
    &["graph", "f.bpfasm"],
    &["replay", "f.bpfasm", "log"],
    &["replay", "f.bpfasm", "log", "--json"],
    &["plan", "f.bpfasm"],
    &["plan", "f.bpfasm", "--json"],
    &["bench", "--quick", "f.bpfasm"],
    &["run", "--trace", "-", "--", "true"],
    &["run", "--summary-json", "-", "--", "true"],
    &["record", "-o", "-", "--", "true"],
    &["dump", "PID"],
    &["dump", "PID", "--format", "raw"],
    &["dump", "PID", "--table"],
    &["dump", "PID", "--json"],
    &["completions", "bash"],
];

/// The one line on standard error has these words and nothing that the user did not write.
fn one_line(output: &Output, words: &str, args: &[&str]) {
    let told = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
    assert!(told.starts_with("seccomp-rbpf: ") && told.lines().count() == 1, "{args:?}: {told}");
    assert!(told.contains(words), "{args:?}: {told:?} does not have {words:?}");
    assert!(!told.contains(".tmp") && !told.contains("panicked"), "{args:?}: {told}");
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error() {
    if !host::enabled() {
        return;
    }
    let files = Files::new();
    let pid = files.filtered.id().to_string();
    let mut seen = BTreeSet::new();
    for args in PRINTING {
        seen.insert(args[0]);
        let args: Vec<_> = args.iter().map(|arg| if *arg == "PID" { &pid } else { *arg }).collect();
        let full = files.command(&args).stdout(File::create("/dev/full").unwrap()).output().unwrap();
        one_line(&full, "standard output: ", &args);
        one_line(&full, "No space left on device", &args);
        let mut closed = Command::new("sh");
        closed.current_dir(&files.folder).args(["-c", "exec \"$0\" \"$@\" >&-", COMMAND]).args(&args);
        one_line(&closed.output().unwrap(), "standard output: Bad file descriptor", &args);
    }
    let help = files.command(&["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    // `man` writes to a folder only.
    let names: Vec<_> = names.filter(|name| !["help", "man"].contains(name)).collect();
    assert!(names.iter().all(|name| seen.contains(name)), "{names:?} are not all among {seen:?}");
}

/// Commands that write to a file, with `OUT` for its name.
const WRITING: &[&[&str]] = &[
    &["assemble", "f.bpfasm", "-o", "OUT"],
    &["compile", "p.json", "-o", "OUT"],
    &["graph", "f.bpfasm", "-o", "OUT"],
    &["table", "f.bpfasm", "--html", "-o", "OUT"],
    &["record", "-o", "OUT", "--", "true"],
    &["run", "--trace", "OUT", "--", "true"],
    &["run", "--summary-json", "OUT", "--", "true"],
    &["dump", "PID", "--table", "-o", "OUT"],
];

#[test]
fn a_file_that_cannot_be_written_is_named_as_it_was_given() {
    if !host::enabled() {
        return;
    }
    let files = Files::new();
    let pid = files.filtered.id().to_string();
    for args in WRITING {
        for (out, words) in [
            ("none/out", "none/out: "),
            ("/proc/none", "/proc/none: "),
            ("f.bpf/out", "f.bpf/out: "),
            ("/dev/full", "/dev/full: "),
            (".", ".: "),
        ] {
            let args: Vec<_> = args
                .iter()
                .map(|arg| match *arg {
                    "PID" => &pid,
                    "OUT" => out,
                    arg => arg,
                })
                .collect();
            one_line(&files.command(&args).output().unwrap(), words, &args);
        }
    }
    one_line(&files.command(&["man", "none"]).output().unwrap(), "none: not a folder", &["man"]);
}

/// Commands that read a file, with `IN` for its name.
const READING: &[&[&str]] = &[
    &["check", "IN"],
    &["verify", "IN"],
    &["translate", "IN"],
    &["disasm", "IN"],
    &["assemble", "IN"],
    &["compile", "IN"],
    &["lift", "IN"],
    &["eval", "IN", "--nr", "0"],
    &["eval", "f.bpfasm", "--batch", "IN"],
    &["explain", "IN", "--nr", "0"],
    &["table", "IN"],
    &["table", "f.bpfasm", "--html", "--compare", "IN"],
    &["diff", "IN", "f.bpfasm"],
    &["diff", "f.bpfasm", "IN"],
    &["graph", "IN"],
    &["replay", "IN", "log"],
    &["replay", "f.bpfasm", "IN"],
    &["plan", "IN"],
    &["bench", "--quick", "IN"],
    &["run", "--filter", "IN", "--", "true"],
    &["record", "-o", "out", "--merge", "IN", "--", "true"],
];

#[test]
fn a_file_that_cannot_be_read_is_named_as_it_was_given() {
    let files = Files::new();
    for args in READING {
        // Nobody may read the beginning of a process's memory, not even root.
        for path in ["none", ".", "/proc/self/mem"] {
            let args: Vec<_> = args.iter().map(|arg| if *arg == "IN" { path } else { arg }).collect();
            one_line(&files.command(&args).output().unwrap(), &format!("{path}: "), &args);
        }
    }
}

/// What is written over a file is as that one was, without what made its old contents special.
#[test]
fn a_file_that_is_written_over_keeps_owner_and_permissions() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let write = |out: &Path| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/allow.bpfasm");
        let status = Command::new(COMMAND).arg("assemble").arg(source).arg("-o").arg(out).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::metadata(out).unwrap().len(), 4 * 8);
    };
    // Another owner can be had by root only.
    let is_root = fs::metadata(&folder).unwrap().uid() == 0;
    for mode in [0o4777, 0o2755, 0o1644, 0o7711, 0o600, 0o444] {
        fs::write(&out, "old").unwrap();
        if is_root {
            chown(&out, Some(65534), Some(65533)).unwrap();
        }
        fs::set_permissions(&out, Permissions::from_mode(mode)).unwrap();
        let before = fs::metadata(&out).unwrap();
        write(&out);
        let after = fs::metadata(&out).unwrap();
        assert_eq!(after.mode() & 0o7777, mode & 0o777, "{mode:o}");
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        fs::remove_file(&out).unwrap();
    }
    // With two names it stays one file.
    fs::write(&out, "old").unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o4755)).unwrap();
    let second: PathBuf = folder.path().join("second");
    fs::hard_link(&out, &second).unwrap();
    write(&out);
    assert_eq!(fs::read(&out).unwrap(), fs::read(&second).unwrap());
    assert_eq!(fs::metadata(&second).unwrap().mode() & 0o7777, 0o755);
}

/// Where the owner of a file cannot be kept, it is written as it stands.
#[test]
fn another_users_file_stays_theirs() {
    let folder = TempDir::with_prefix("outputs").unwrap();
    if fs::metadata(&folder).unwrap().uid() != 0 {
        return;
    }
    let [nobody, other] = [65534, 65533];
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    let out = folder.path().join("out");
    fs::write(&out, "old").unwrap();
    chown(&out, Some(other), Some(other)).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o666)).unwrap();
    let program = folder.path().join("seccomp-rbpf");
    fs::copy(COMMAND, &program).unwrap();
    let source = folder.path().join("allow.bpfasm");
    fs::write(&source, "ret #SECCOMP_RET_ALLOW\n").unwrap();
    let written = |out: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &nobody.to_string(), "--regid", &nobody.to_string(), "--clear-groups"]);
        command.arg(&program).arg("assemble").arg(&source).arg("-o").arg(out).output().unwrap()
    };
    let output = written(&out);
    assert!(output.status.success(), "{output:?}");
    let after = fs::metadata(&out).unwrap();
    assert_eq!((after.uid(), after.gid(), after.len()), (other, other, 8));
    // And one that it may not write at all is left alone.
    fs::write(&out, "old").unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o644)).unwrap();
    one_line(&written(&out), &format!("{}: Permission denied", out.display()), &[]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "something is left beside it");
}
