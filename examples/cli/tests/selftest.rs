//! Linux's own selftest of seccomp under `run`: each of its tests that passes on the host passes there, but for those
//! that `selftest.list` names with a reason.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[expect(dead_code, reason = "it starts a program of Linux's, by a time limit")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// Debian's package of the same name brings it.
const SOURCE: &str = "linux-source-6.12";

/// Seconds for a test that is to pass, and for one that is not: most of these wait for ever.
const LIMIT: &str = "120";
const SHORT_LIMIT: &str = "30";

/// The program, compiled from the host's copy of Linux's source.
fn program() -> PathBuf {
    const FILES: [&str; 4] =
        ["seccomp/seccomp_bpf.c", "kselftest.h", "kselftest_harness.h", "clone3/clone3_selftests.h"];
    let archive = Path::new("/usr/src").join(SOURCE).with_added_extension("tar.xz");
    assert!(archive.exists(), "{} is needed: apt-get install {SOURCE}", archive.display());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("selftest");
    std::fs::create_dir_all(&folder).expect("a folder");
    let members = FILES.map(|file| format!("{SOURCE}/tools/testing/selftests/{file}"));
    let mut tar = Command::new("tar");
    succeeds(tar.arg("-xf").arg(archive).arg("-C").arg(&folder).args(&members));
    let program = folder.join("seccomp_bpf");
    let mut cc = Command::new("cc");
    succeeds(cc.args(["-O2", "-o"]).arg(&program).arg(folder.join(&members[0])).args(["-lpthread", "-lcap"]));
    program
}

/// The names of tests in what the program prints (TAP), and whether each passed.
fn results(tap: &str) -> impl Iterator<Item = (&str, bool)> {
    tap.lines().filter_map(|line| {
        let (result, passed) = match line.strip_prefix("not ") {
            Some(result) => (result, false),
            None => (line, !line.contains("# SKIP")),
        };
        Some((result.strip_prefix("ok ")?.split(' ').nth(1)?, passed))
    })
}

fn limited(limit: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", limit]);
    command
}

fn succeeds(command: &mut Command) {
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

/// What a program prints, and whether it ended well.
fn printed(command: &mut Command) -> (String, bool) {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

fn passes(command: &mut Command, test: &str) -> bool {
    let (tap, ended_well) = printed(command);
    ended_well && results(&tap).eq([(test, true)])
}

fn passes_on_host(program: &Path, test: &str) -> bool {
    passes(limited(LIMIT).arg(program).args(["-r", test]), test)
}

fn passes_under_run(program: &Path, test: &str, limit: &str) -> bool {
    let mut command = limited(limit);
    command.args([env!("CARGO_BIN_EXE_seccomp-rbpf"), "run", "--"]).arg(program);
    passes(command.args(["-r", test]), test)
}

#[test]
#[ignore = "takes minutes and wants Linux's source; .ci/full runs it"]
fn linux_selftest() {
    let program = program();
    // Those that fail there are the host's own.
    let (whole, _) = printed(limited(LIMIT).arg(&program));
    let all: BTreeSet<_> = results(&whole).map(|(name, _)| name).collect();
    let (on_host, not_on_host): (BTreeSet<&str>, BTreeSet<&str>) =
        all.iter().partition(|test| passes_on_host(&program, test));
    println!("{} tests, {} pass on the host, not {not_on_host:?}", all.len(), on_host.len());
    assert!(on_host.len() > 90, "this is not the host to compare with");

    let listed: BTreeMap<_, _> =
        include_str!("selftest.list").lines().map(|line| line.split_once(": ").expect("a reason")).collect();
    let unknown: Vec<_> = listed.keys().filter(|test| !on_host.contains(*test)).collect();
    assert!(unknown.is_empty(), "listed, and no test that passes on the host: {unknown:?}");

    let unlisted = on_host.iter().filter(|test| !listed.contains_key(*test));
    let failed: Vec<_> = unlisted.filter(|test| !passes_under_run(&program, test, LIMIT)).collect();
    let passed: Vec<_> = thread::scope(|scope| {
        let program = &program;
        let start = |test| (test, scope.spawn(move || passes_under_run(program, test, SHORT_LIMIT)));
        let runs: Vec<_> = listed.keys().copied().map(start).collect();
        runs.into_iter().filter_map(|(test, run)| run.join().expect("it ends").then_some(test)).collect()
    });
    println!("{} pass under run, {} are listed", on_host.len() - listed.len() - failed.len(), listed.len());
    assert!(failed.is_empty(), "fail under run: {failed:?}");
    assert!(passed.is_empty(), "pass under run, and are to leave the list: {passed:?}");
}
