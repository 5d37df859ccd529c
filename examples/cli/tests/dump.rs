//! `dump` shows what a process of the host runs under, and leaves it as it was.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[expect(dead_code, reason = "nothing is carried here")]
mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use common::{Ended, compile, ended};

fn command(arguments: &[&str]) -> Ended {
    ended(Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf")).args(arguments))
}

/// A file of `tests/cases` as raw bytes.
fn raw(dir: &Path, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name);
    let file = dir.join(name).with_extension("bpf");
    let done = command(&["assemble", source.to_str().unwrap(), "-o", file.to_str().unwrap()]);
    assert_eq!(done.status, 0, "{done:?}");
    file
}

/// A program that has these filters and waits.
struct Program {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(program: &Path, filters: &[&Path]) -> Self {
        let mut command = Command::new(program);
        let mut child =
            command.args(filters).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, output }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What it prints when it is let go.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

#[test]
fn filters_are_shown_as_they_were_installed() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "install", "-m64", &[]);
    let files = ["deny-mkdir.bpfasm", "docker-like-tree.bpfasm", "kill-socket.bpfasm"]
        .map(|name| raw(dir.path(), name));
    let running = Program::start(&program, &files.each_ref().map(PathBuf::as_path));
    let pid = running.pid();

    let mut expected = String::new();
    for (index, file) in files.iter().enumerate() {
        let one = dir.path().join("one");
        let output = fs::File::create(&one).unwrap();
        let mut dump = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
        dump.args(["dump", &pid, "--format", "raw", "--filter", &index.to_string()]);
        assert!(dump.stdout(output).status().unwrap().success());
        assert_eq!(fs::read(&one).unwrap(), fs::read(file).unwrap(), "{file:?}");
        let logs = if index == 0 { ", logs" } else { "" };
        let len = fs::read(file).unwrap().len() / 8;
        let text = command(&["disasm", file.to_str().unwrap()]).stdout;
        expected += &format!("; filter {index} of 3: {len} instructions{logs}\n{text}\n");
    }
    let all = command(&["dump", &pid]);
    assert_eq!(all.stdout, format!("{}\n", expected.trim_end()));
    assert_eq!(running.end(), "0\n");
}

#[test]
fn the_table_of_a_process_is_that_of_its_filters() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "install", "-m64", &[]);
    let files = ["deny-mkdir.bpfasm", "docker-like-tree.bpfasm", "kill-socket.bpfasm"]
        .map(|name| raw(dir.path(), name));
    let running = Program::start(&program, &files.each_ref().map(PathBuf::as_path));
    let pid = running.pid();
    let names = files.each_ref().map(|file| file.to_str().unwrap());
    let [first, second, third] = names;
    let page = dir.path().join("page.html");
    let page = page.to_str().unwrap();
    let rows: [(&[&str], &[&str]); 4] = [
        (&["dump", &pid, "--table"], &["table", first, second, third]),
        (
            &["dump", &pid, "--table", "--json", "--arch", "i386"],
            &["table", first, second, third, "--json", "--arch", "i386"],
        ),
        (&["dump", &pid, "--table", "--filter", "1"], &["table", second]),
        (&["dump", &pid, "--table", "--filter", "2", "--json"], &["table", third, "--json"]),
    ];
    for (dump, table) in rows {
        let (dumped, table) = (command(dump), command(table));
        assert_eq!((table.status, table.stderr.as_str()), (0, ""));
        assert_eq!(dumped, table, "{dump:?}");
    }
    // Each of the three decides something.
    let all = command(&["table", first, second, third]).stdout;
    for words in ["KILL_PROCESS", "mkdir", "personality"] {
        assert!(all.contains(words), "{all}");
    }

    let compared = command(&[
        "dump",
        &pid,
        "--table",
        "--html",
        "-o",
        page,
        "--compare",
        first,
        "--compare",
        second,
        "--compare",
        third,
    ]);
    assert_eq!((compared.status, compared.stdout.as_str(), compared.stderr.as_str()), (0, "", ""));
    let text = fs::read_to_string(page).unwrap();
    assert!(text.contains(&format!("process {pid} (install-m64)")), "{text}");
    assert!(
        text.contains("data-same=\"yes\"")
            && !text.contains("data-same=\"no\"")
            && !text.contains("data-same=\"unknown\"")
    );
    let other = command(&["dump", &pid, "--table", "--html", "--compare", first]);
    assert!(other.status == 0 && other.stdout.contains("data-same=\"no\""));

    let refused: [(&[&str], &str); 6] = [
        (&["dump", &pid, "--json", "--format", "text"], "--format"),
        (&["dump", &pid, "--html"], "--table"),
        (&["dump", &pid, "--table", "--format", "raw"], "--format"),
        (&["dump", &pid, "--table", "--compare", first], "--html"),
        (
            &["dump", &pid, "--table", "--html", "--compare", first, "-o", first],
            "it is what is read and would be lost",
        ),
        (&["dump", &pid, "--table", "--json", "--html"], "--html"),
    ];
    for (arguments, message) in refused {
        let refused = command(arguments);
        assert_eq!((refused.status, refused.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(
            refused.stderr.contains(message) && refused.stderr.lines().count() == 1,
            "{}",
            refused.stderr
        );
    }
    running.end();
}

/// A signal that comes while it is stopped reaches the program.
#[test]
fn no_signal_is_lost() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "install", "-m64", &[]);
    let filter = raw(dir.path(), "allow.bpfasm");
    let running = Program::start(&program, &[&filter]);
    let pid = running.pid();
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                let id = Pid::from_raw(pid.parse().unwrap());
                nix::sys::signal::kill(id, Signal::SIGUSR1).unwrap();
                sent += 1;
                // Of two that wait, Linux would keep one: let it come.
                while pending(&pid) {}
            }
            sent
        });
        for _ in 0..100 {
            assert_eq!(command(&["dump", &pid]).status, 0);
        }
        done.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    assert_eq!(running.end(), format!("{sent}\n"));
}

fn pending(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let masks = status.lines().filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"));
    masks.into_iter().any(|line| line.split_whitespace().nth(1) != Some("0000000000000000"))
}

#[test]
fn what_has_no_filter_is_said() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "install", "-m64", &[]);
    let without = Program::start(&program, &[]);
    let with = Program::start(&program, &[&raw(dir.path(), "allow.bpfasm")]);
    let (none, one) = (without.pid(), with.pid());
    let rows: [(&[&str], &str); 6] = [
        (&["dump", &none], "it has no filter"),
        (&["dump", "999999999"], "there is none"),
        (&["dump", "0"], "0 is not in 1.."),
        (&["dump", "-3"], "-3"),
        (&["dump", &one, "--filter", "1"], "has 1 filters, counted from 0"),
        (&["dump", &one, "--filter", "18446744073709551616"], "--filter"),
    ];
    for (arguments, message) in rows {
        let refused = command(arguments);
        assert_eq!((refused.status, refused.stdout.as_str()), (2, ""), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(message), "{message}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
    without.end();
    with.end();
}

#[test]
fn a_process_of_every_name_is_found() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "install", "-m64", &[]);
    let filter = raw(dir.path(), "deny-mkdir.bpfasm");
    let names: [(&[u8], &str); 3] = [
        (b"\xff", "(\u{fffd})"),
        (b"a\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf", "(aппппппп)"),
        (b"\nSeccomp:\t0", "(\\nSeccomp:\\t0)"),
    ];
    for (name, shown) in names {
        let named = dir.path().join(OsStr::from_bytes(name));
        fs::copy(&program, &named).unwrap();
        let running = Program::start(&named, &[&filter]);
        let pid = running.pid();
        let dumped = command(&["dump", &pid]);
        assert!(dumped.status == 0 && dumped.stdout.contains("filter 0 of 1"), "{name:?}: {dumped:?}");
        let page = command(&["dump", &pid, "--table", "--html"]).stdout;
        assert!(page.contains(&format!("process {pid} {shown}")), "{name:?}: {page}");
        running.end();
    }
}
