//! Programs and how they end, with and without `run`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How a program ended: what it printed, and its status as a shell gives it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

/// Runs a program to its end. It has nothing to read.
pub fn ended(command: &mut Command) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it starts");
    Ended {
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        status: status.code().or(status.signal().map(|signal| 128 + signal)).expect("it has ended"),
    }
}

/// `seccomp-rbpf run` with these options, up to the `--`.
pub fn run<S: AsRef<OsStr>>(options: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    command.arg("run").args(options).arg("--");
    command
}

/// One of `programs/`, compiled into `dir` for 64 or 32 bits, with these libraries.
pub fn compile(dir: &Path, name: &str, width: &str, libraries: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let program = dir.join(format!("{name}{width}"));
    let mut cc = Command::new("cc");
    cc.args([width, "-O1", "-Wall", "-Werror", "-pthread", "-o"]).arg(&program).arg(&source).args(libraries);
    let compiled = ended(&mut cc);
    assert_eq!(compiled.status, 0, "{}", compiled.stderr);
    program
}
