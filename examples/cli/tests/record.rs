//! `record` on real programs: under its profile they end as they do without, nothing is denied, and it has no call
//! too many. And `run --explain`.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;
use seccomp_tests::generate;
use serde_json::{Value, json};
use tempfile::TempDir;

use common::{Ended, compile, ended, run};

/// A profile whose program makes calls that depend on time is put together of so many runs at most.
const RUNS: usize = 6;

/// What may be recorded and not be made under the profile: the call that starts the program, which `run` does not show,
/// and what man does not try under a filter.
const NOT_UNDER_A_FILTER: [&str; 2] = ["execve", "seccomp"];

fn record(profile: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    command.args(["record", "-o"]).arg(profile).args(options).arg("--");
    command
}

/// The calls of the first rule.
fn names(profile: &Path) -> BTreeSet<String> {
    let profile: Value = serde_json::from_slice(&fs::read(profile).unwrap()).unwrap();
    let names = profile["syscalls"][0]["names"].as_array().unwrap().clone();
    serde_json::from_value(names.into()).unwrap()
}

/// The calls in a trace: name and whether it was let through.
fn traced(trace: &Path) -> BTreeSet<(String, bool)> {
    let trace = fs::read_to_string(trace).unwrap_or_default();
    let call = |line: &str| Some((line.split(' ').nth(1)?.to_owned(), line.ends_with(" = 0x7fff0000 ALLOW")));
    trace.lines().filter_map(call).collect()
}

/// A program in a folder of its own, and files about it beside that.
struct Program {
    folder: TempDir,
    beside: TempDir,
    words: Vec<String>,
}

impl Program {
    fn new(words: &[&str]) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            beside: TempDir::new().unwrap(),
            words: words.iter().map(|word| String::from(*word)).collect(),
        }
    }

    fn script(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    /// A program of `programs/`.
    fn compiled(name: &str, width: &str) -> Self {
        let mut program = Self::new(&[]);
        let path = compile(program.beside.path(), name, width, &[]);
        program.words.push(path.to_str().unwrap().into());
        program
    }

    /// With a file in its folder.
    fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.beside.path().join(name)
    }

    fn ended(&self, mut command: Command) -> Ended {
        ended(command.args(&self.words).current_dir(&self.folder).env("HOME", self.folder.path()))
    }

    fn without(&self) -> Ended {
        let mut command = Command::new(&self.words[0]);
        ended(command.args(&self.words[1..]).current_dir(&self.folder).env("HOME", self.folder.path()))
    }

    fn record(&self, profile: &Path, options: &[&str]) -> Ended {
        self.ended(record(profile, options))
    }

    /// Runs it under a profile, and gives the calls that were made. A program whose calls are denied may wait for
    /// what never comes.
    fn under(&self, profile: &Path) -> (Ended, BTreeSet<(String, bool)>) {
        let trace = self.beside("trace");
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "60", env!("CARGO_BIN_EXE_seccomp-rbpf"), "run", "--filter"]);
        command.arg(profile).arg("--trace").arg(&trace).arg("--");
        (self.ended(command), traced(&trace))
    }

    /// Records it, and tries what was recorded.
    fn check(&self) -> Ended {
        setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
        let without = self.without();
        let (profile, other) = (self.beside("profile.json"), self.beside("other.json"));
        assert_eq!(self.record(&profile, &[]), without);
        assert_eq!(self.record(&other, &[]), without);
        // By filters of its own.
        let (_, calls) = self.under(Path::new(&case("allow.bpfasm")));
        let denied: BTreeSet<_> = calls.into_iter().filter(|(_, allowed)| !allowed).collect();
        // Some calls depend on who comes first.
        let mut always: BTreeSet<String> = names(&profile).intersection(&names(&other)).cloned().collect();
        let mut made: BTreeSet<_> = NOT_UNDER_A_FILTER.map(String::from).into();
        for run in 1.. {
            let (with, calls) = self.under(&profile);
            let is_denied = calls.iter().any(|call| !call.1 && !denied.contains(call));
            if !is_denied {
                assert_eq!(with, without);
                made.extend(calls.iter().map(|(name, _)| name.clone()));
            }
            if !is_denied && always.is_subset(&made) {
                break;
            }
            assert!(run < RUNS, "{:?}: {calls:?}, of {always:?}", self.words);
            assert_eq!(self.record(&profile, &["--merge", profile.to_str().unwrap()]), without);
        }
        // What its own filters deny, is denied without the profile too.
        always.retain(|name| !denied.contains(&(name.clone(), false)));
        always.retain(|name| !NOT_UNDER_A_FILTER.contains(&name.as_str()));
        for name in always {
            self.misses(&profile, &name);
        }
        without
    }

    /// Without this call in the profile, one is denied.
    fn misses(&self, profile: &Path, name: &str) {
        let mut json: Value = serde_json::from_slice(&fs::read(profile).unwrap()).unwrap();
        let names = json["syscalls"][0]["names"].as_array_mut().unwrap();
        names.retain(|other| other != name);
        // A program that goes on without it might do so for long.
        json["defaultAction"] = "SCMP_ACT_KILL_PROCESS".into();
        json.as_object_mut().unwrap().remove("defaultErrnoRet");
        let less = self.beside("less.json");
        fs::write(&less, json.to_string()).unwrap();
        let denied = (0..RUNS).any(|_| self.under(&less).1.contains(&(name.into(), false)));
        assert!(denied, "{:?} without {name}", self.words);
    }
}

fn lines(count: u32) -> String {
    (0..count).map(|line| format!("{} line {line}\n", line * 7919 % count)).collect()
}

#[test]
fn ls() {
    assert_eq!(Program::new(&["ls", "-l"]).with("file", "").check().status, 0);
}

#[test]
fn cat() {
    assert_eq!(Program::new(&["cat", "file", "none"]).with("file", "text\n").check().status, 1);
}

#[test]
fn sh_with_pipes() {
    let program = Program::script("cat file | tr a-z A-Z | head -n 3; exit 7").with("file", lines(9));
    assert_eq!(program.check().status, 7);
}

#[test]
fn sh_with_signals_and_jobs() {
    let script = "trap 'echo caught' USR1; kill -USR1 $$; (exit 3) & wait $!; echo $?; kill -TERM $$";
    assert_eq!(Program::script(script).check().status, 128 + 15);
}

#[test]
fn python() {
    let script = "import os; os.mkdir('new'); print(os.listdir('.')); os.rmdir('new')";
    assert_eq!(Program::new(&["/usr/bin/python3", "-I", "-S", "-c", script]).check().stdout, "['new']\n");
}

#[test]
fn git_log() {
    let program = Program::new(&["git", "--no-pager", "log", "--stat"]);
    let script =
        "git init -q . && echo 1 > f && git add f && git -c user.name=a -c user.email=a@b commit -qm first";
    let mut commit = Command::new("sh");
    let commit = commit.args(["-c", script]).current_dir(&program.folder).env("HOME", program.folder.path());
    assert_eq!(ended(commit).status, 0);
    assert!(program.check().stdout.contains("first"));
}

#[test]
fn tar() {
    let program = Program::new(&["tar", "cf", "-", "a", "b"]).with("a", lines(50)).with("b", "b");
    assert_eq!(program.check().status, 0);
}

#[test]
fn gzip() {
    let program = Program::script("gzip -nc file | gzip -dc | cksum").with("file", lines(5000));
    assert_eq!(program.check().status, 0);
}

#[test]
fn gcc() {
    let program =
        Program::new(&["gcc", "-c", "x.c", "-o", "x.o"]).with("x.c", "int main(void) { return 0; }\n");
    assert_eq!(program.check().status, 0);
}

#[test]
fn sort() {
    let program = Program::new(&["sort", "--parallel=1", "-n", "file"]).with("file", lines(1000));
    assert!(program.check().stdout.starts_with("0 line 0\n"));
}

#[test]
fn find() {
    let program = Program::new(&["find", ".", "-name", "f*", "-exec", "echo", "{}", ";"]).with("file", "");
    assert_eq!(program.check().stdout, "./file\n");
}

#[test]
fn grep() {
    assert_eq!(
        Program::new(&["grep", "-c", "line 1", "file"]).with("file", lines(100)).check().stdout,
        "11\n"
    );
}

#[test]
fn awk() {
    let program = Program::new(&["awk", "{ s += $1 } END { print s }", "file"]).with("file", lines(100));
    assert_eq!(program.check().stdout, "4950\n");
}

#[test]
fn perl() {
    let script = "open F, '>', 'new'; print F 'x'; close F; print -s 'new', \"\\n\"; unlink 'new'";
    assert_eq!(Program::new(&["perl", "-e", script]).check().stdout, "1\n");
}

/// It installs a filter of its own, where it has one.
#[test]
fn man() {
    let page = ".TH X 1\n.SH NAME\nx \\- a page\n";
    let program = Program::new(&["man", "--pager=cat", "-l", "x.1"]).with("x.1", page);
    assert!(program.check().stdout.contains("a page"));
}

#[test]
fn threads() {
    assert_eq!(Program::compiled("workers", "-m64").check().status, 5);
}

#[test]
fn a_program_of_32_bits() {
    let program = Program::compiled("workers", "-m32");
    assert_eq!(program.check().status, 5);
    let profile: Value = serde_json::from_slice(&fs::read(program.beside("profile.json")).unwrap()).unwrap();
    assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
}

#[test]
fn a_program_with_filters_of_its_own() {
    let program = Program::compiled("trap", "-m64");
    assert_eq!(program.check().status, 0);
    assert!(names(&program.beside("profile.json")).contains("prctl"));
}

#[test]
fn every_entry_has_its_architecture() {
    let program = Program::compiled("entries", "-m64");
    let profile = program.beside("profile.json");
    let recorded = program.record(&profile, &[]);
    assert_eq!((recorded.stdout.as_str(), recorded.status), ("i386 1\n", 0));
    assert_eq!(
        recorded.stderr,
        "seccomp-rbpf: warning: call 900 of x86_64 has no name, so no profile can allow it\n"
    );
    let json: Value = serde_json::from_slice(&fs::read(&profile).unwrap()).unwrap();
    assert_eq!(json["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    assert!(names(&profile).is_superset(&["getpid", "getppid"].map(String::from).into()));
    let (_, calls) = program.under(&profile);
    let denied: Vec<_> = calls.iter().filter(|(_, allowed)| !allowed).collect();
    assert_eq!(denied, [&("?".to_owned(), false)]);
}

/// The profile is JSON that stays as it is.
#[test]
fn a_profile_looks_like_this() {
    let program = Program::new(&["true"]);
    let (profile, again) = (program.beside("profile.json"), program.beside("again.json"));
    program.record(&profile, &["--default-errno", "ENOSYS"]);
    let text = fs::read_to_string(&profile).unwrap();
    let names: Vec<_> = names(&profile).into_iter().map(|name| format!("        \"{name}\"")).collect();
    assert_eq!(
        text,
        format!(
            "{{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"defaultErrnoRet\": 38,\n  \"architectures\": [\n    \
             \"SCMP_ARCH_X86_64\"\n  ],\n  \"syscalls\": [\n    {{\n      \"names\": [\n{}\n      ],\n      \
             \"action\": \"SCMP_ACT_ALLOW\"\n    }}\n  ]\n}}\n",
            names.join(",\n")
        )
    );
    assert_eq!(program.record(&again, &["--merge", profile.to_str().unwrap()]).stderr, "");
    assert_eq!(fs::read_to_string(&again).unwrap(), text);

    program.record(&again, &["--default-action", "kill-process"]);
    let json: Value = serde_json::from_slice(&fs::read(&again).unwrap()).unwrap();
    assert_eq!(
        (json["defaultAction"].as_str(), json.get("defaultErrnoRet")),
        (Some("SCMP_ACT_KILL_PROCESS"), None)
    );
    // To standard output, behind what the program prints.
    let printed = Program::new(&["echo", "text"]).record(Path::new("-"), &[]).stdout;
    let json = printed.strip_prefix("text\n").unwrap();
    assert!(serde_json::from_str::<Value>(json).unwrap()["syscalls"][0]["names"].is_array());
}

#[test]
fn what_cannot_be_recorded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("profile.json");
    let allow = folder.path().join("allow.json");
    fs::write(&allow, "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}").unwrap();
    let fails = |profile: &Path, options: &[&str], words: &str| {
        let ended = ended(record(profile, options).args(["sh", "-c", "echo ran; exit 3"]));
        assert_eq!((ended.stdout.as_str(), ended.status), ("", 2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    };
    // Known before the program runs.
    fails(
        Path::new("/no/such/folder/x.json"),
        &[],
        "/no/such/folder/x.json: /no/such/folder: No such file or directory",
    );
    fails(folder.path(), &[], ": a folder");
    fails(&path, &["--merge", "/no/such/file"], "/no/such/file: No such file");
    fails(&path, &["--merge", "-"], "standard input is the program's");
    fails(&path, &["--merge", allow.to_str().unwrap()], "it allows what it does not name");
    fails(&path, &["--default-errno", "ENOPE"], "no errno");
    fails(&path, &["--default-errno", "1", "--default-action", "log"], "--default-errno is for");
    fails(&path, &["--default-errno", "1", "--merge", allow.to_str().unwrap()], "cannot be used with");

    let missing = ended(record(&path, &[]).arg("/no/such/program"));
    assert_eq!(missing.status, 127);
    assert_eq!(
        missing.stderr,
        format!(
            "seccomp-rbpf: /no/such/program: No such file or directory (os error 2)
\
             seccomp-rbpf: warning: the program did not start, {} is not written
",
            path.display()
        )
    );
    assert!(!path.exists());
    let full = ended(record(Path::new("/dev/full"), &[]).args(["sh", "-c", "exit 3"]));
    assert_eq!(full.status, 2);
    assert_eq!(full.stderr, "seccomp-rbpf: /dev/full: No space left on device (os error 28)\n");
}

/// A full disk leaves what was there before.
#[test]
fn a_full_disk_leaves_the_old_profile() {
    let folder = TempDir::new().unwrap();
    let script = "
mount -t tmpfs -o size=8k none \"$1\" && echo old > \"$1/p\" && head -c 8192 /dev/zero > \"$1/fill\" 2>/dev/null
\"$0\" record -o \"$1/p\" -- true
echo $?; cat \"$1/p\"; ls \"$1\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_seccomp-rbpf")]).arg(folder.path());
    let ended = ended(&mut unshare);
    assert_eq!(ended.stdout, "2\nold\nfill\np\n", "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
}

/// A terminal's Ctrl-C goes to all of a process group.
#[test]
fn an_interrupted_program_leaves_its_profile() {
    use std::os::unix::process::CommandExt;
    for (script, status) in [("sleep 100", 128 + 2), ("trap 'mkdir /; exit 9' INT; echo; sleep 100", 9)] {
        let folder = TempDir::new().unwrap();
        let profile = folder.path().join("profile.json");
        // Where signals are ignored, such as in a job behind a shell's `&`, children would ignore them too.
        let mut command = Command::new("env");
        command.args(["--default-signal", env!("CARGO_BIN_EXE_seccomp-rbpf"), "record", "-o"]);
        command.arg(&profile).arg("--");
        let script = format!("echo ready > \"$0\"; {script}");
        command.args(["sh", "-c", &script]).arg(folder.path().join("ready")).process_group(0);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while fs::read(folder.path().join("ready")).unwrap_or_default().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(20));
        }
        // The shell waits for its child by now.
        thread::sleep(Duration::from_millis(500));
        kill(Pid::from_raw(-child.id().cast_signed()), Signal::SIGINT).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!((ended.code(), ended.signal()), (Some(status), None), "{script}");
        let names = names(&profile);
        assert!(names.contains("write") && names.contains("execve"), "{names:?}");
        assert_eq!(names.contains("mkdir"), status == 9);
    }
}

/// What a program leaves behind when it ends, gets the signals that are meant for the program.
#[test]
fn a_daemon_is_ended_by_a_signal() {
    let folder = TempDir::new().unwrap();
    let profile = folder.path().join("profile.json");
    let ready = folder.path().join("ready");
    let daemon = "trap 'mkdir /; exit 9' TERM; echo ready > \"$0\"; while :; do sleep 0.1; done";
    let mut command = record(&profile, &[]);
    command.args(["sh", "-c", "setsid sh -c \"$1\" \"$0\" & exit 7"]).arg(&ready).arg(daemon);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while fs::read(&ready).unwrap_or_default().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(20));
    }
    // The first shell has ended by now.
    thread::sleep(Duration::from_millis(500));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the daemon has not ended");
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(names(&profile).contains("mkdir"));
}

const OLD: &str = "{
\t\"defaultAction\": \"SCMP_ACT_KILL_PROCESS\",
\t\"architectures\": [\"SCMP_ARCH_X86_64\"],
\t\"flags\": [],
\t\"listenerPath\": \"/run/agent.sock\",
\t\"syscalls\": [
\t\t{\"names\": [\"mkdir\", \"chroot\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 38, \"comment\": \"never\"},
\t\t{\"names\": [\"rmdir\"], \"action\": \"SCMP_ACT_TRAP\"},
\t\t{\"names\": [\"personality\"], \"action\": \"SCMP_ACT_ALLOW\",
\t\t \"args\": [{\"index\": 0, \"value\": 0, \"op\": \"SCMP_CMP_EQ\"}]},
\t\t{\"names\": [\"umask\"], \"action\": \"SCMP_ACT_NOTIFY\"},
\t\t{\"names\": [\"acct\"], \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": [\"CAP_SYS_PACCT\"]}}
\t]
}
";

#[test]
fn a_profile_is_added_to() {
    let program = Program::new(&[
        "perl",
        "-e",
        "mkdir 'new'; rmdir 'new'; syscall(135, 0xffffffff); umask 022; print 'done'",
    ]);
    let (old, profile) = (program.beside("old.json"), program.beside("profile.json"));
    fs::write(&old, OLD).unwrap();
    let recorded = program.record(&profile, &["--merge", old.to_str().unwrap()]);
    let name = old.display();
    let warnings: Vec<_> = recorded.stderr.lines().collect();
    assert_eq!(
        warnings,
        [
            format!("seccomp-rbpf: warning: {name}: umask is left to whom syscalls[3] asks"),
            format!(
                "seccomp-rbpf: warning: {name}: mkdir is allowed now whatever its arguments, where syscalls[0] said otherwise"
            ),
            format!(
                "seccomp-rbpf: warning: {name}: personality is allowed now whatever its arguments, where syscalls[2] said otherwise"
            ),
            format!(
                "seccomp-rbpf: warning: {name}: rmdir is allowed now whatever its arguments, where syscalls[1] said otherwise"
            ),
        ]
    );
    assert_eq!((recorded.stdout.as_str(), recorded.status), ("done", 0));

    // Its own text stays, but for the names that a rule denied.
    let text = fs::read_to_string(&profile).unwrap();
    let (before, after) = OLD.split_once("\t\t{\"names\": [\"mkdir\", ").unwrap();
    let after = format!("\t\t{{\"names\": [{after}")
        .replace("\t\t{\"names\": [\"rmdir\"], \"action\": \"SCMP_ACT_TRAP\"},\n", "");
    assert!(text.starts_with(before) && text.ends_with(&after), "{text}");
    let added: Value =
        serde_json::from_str(text[before.len()..text.len() - after.len()].trim_end().trim_end_matches(','))
            .unwrap();
    assert_eq!(added["action"], "SCMP_ACT_ALLOW");

    let (_, calls) = program.under(&profile);
    let denied: Vec<_> = calls.iter().filter(|(_, allowed)| !allowed).collect();
    assert_eq!(denied, [&("umask".to_owned(), false)]);
    program.record(&profile, &["--merge", profile.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&profile).unwrap(), text);
}

/// What a profile allows by its names, it then allows at an entry that it had not.
#[test]
fn an_entry_that_is_added_is_told() {
    let program = Program::compiled("workers", "-m32");
    let (old, profile) = (program.beside("old.json"), program.beside("profile.json"));
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ALLOW"}]}"#;
    fs::write(&old, json).unwrap();
    let recorded = program.record(&profile, &["--merge", old.to_str().unwrap()]);
    assert_eq!(
        recorded.stderr,
        format!(
            "seccomp-rbpf: warning: {}: i386 is among its architectures now, with all calls that it allows\n",
            old.display()
        )
    );
    assert_eq!(program.record(&profile, &["--merge", profile.to_str().unwrap()]).stderr, "");
}

/// Debian's profile for containers, which allows personality(2) for some of its arguments.
#[test]
fn the_profile_of_containers_is_added_to() {
    let program = Program::new(&["perl", "-e", "syscall(135, 0x40000); print 'done'"]);
    let old = Path::new("/usr/share/containers/seccomp.json");
    let profile = program.beside("profile.json");
    let recorded = program.record(&profile, &["--merge", old.to_str().unwrap()]);
    assert!(
        recorded.stderr.contains("personality is allowed now whatever its arguments, where "),
        "{}",
        recorded.stderr
    );
    let (before, after) = (fs::read_to_string(old).unwrap(), fs::read_to_string(&profile).unwrap());
    let lost: Vec<_> = before.lines().filter(|line| !after.lines().any(|other| other == *line)).collect();
    assert_eq!(lost, [""; 0]);
    let (_, calls) = program.under(&profile);
    assert!(calls.iter().all(|(_, allowed)| *allowed), "{calls:?}");
    program.record(&profile, &["--merge", profile.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&profile).unwrap(), after);
}

/// The rest of a bundle's configuration stays as it is.
#[test]
fn a_bundles_profile_is_added_to_in_its_place() {
    let program = Program::new(&["true"]);
    let (old, new) = (program.beside("config.json"), program.beside("new.json"));
    let bundle = |rules: &str| {
        format!(
            "{{\"ociVersion\": \"1.0.2\",\n \"linux\": {{ \"seccomp\":{{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\
             \"syscalls\": {rules}}}, \"namespaces\": [] }},  \"root\": {{}}}}\n"
        )
    };
    fs::write(&old, bundle("[]")).unwrap();
    program.record(&new, &["--merge", old.to_str().unwrap()]);
    let after = fs::read_to_string(&new).unwrap();
    let config: Value = serde_json::from_str(&after).unwrap();
    let rules = config["linux"]["seccomp"]["syscalls"].as_array().unwrap();
    assert!(rules[0]["names"].as_array().unwrap().contains(&json!("exit_group")), "{after}");
    let (start, end) = (after.find('[').unwrap(), after.rfind("}, \"namespaces\"").unwrap());
    assert_eq!(after, bundle(&after[start..end]));
    assert!(program.under(&new).1.iter().all(|(_, allowed)| *allowed));
}

/// What the engine needs is there whatever its arguments, unless somebody is asked about it.
#[test]
fn what_an_engine_calls_is_added_to_a_profile() {
    let program = Program::new(&["true"]);
    let (old, new) = (program.beside("old.json"), program.beside("new.json"));
    let eq = |name: &str, action: &str| json!({ "names": [name], "action": action, "args": [{ "index": 0, "value": 0, "op": "SCMP_CMP_EQ" }] });
    let rules = [
        json!({ "names": ["close", "openat"], "action": "SCMP_ACT_ALLOW" }),
        // It holds for no argument, and for another than what is recorded.
        eq("prctl", "SCMP_ACT_ALLOW"),
        eq("setgid", "SCMP_ACT_ERRNO"),
        eq("chdir", "SCMP_ACT_NOTIFY"),
    ];
    fs::write(&old, json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": rules }).to_string()).unwrap();
    let ended = program.record(&new, &["--for", "runc", "--merge", old.to_str().unwrap()]);
    let named = names(&new);
    for name in ["capset", "getdents64", "prctl", "setgid", "tgkill"] {
        assert!(named.contains(name), "{name}: {named:?}");
        let overruled = ended.stderr.contains(&format!("{name} is allowed now whatever its arguments"));
        assert_eq!(overruled, ["prctl", "setgid"].contains(&name), "{}", ended.stderr);
    }
    assert!(!named.contains("chdir"));
    assert!(ended.stderr.contains("chdir is left to whom syscalls[3] asks"), "{}", ended.stderr);
    // The same again changes nothing.
    let text = fs::read_to_string(&new).unwrap();
    program.record(&new, &["--for", "runc", "--merge", new.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&new).unwrap(), text);
}

/// The host's own seccomp takes the filter: bubblewrap installs it and then starts the program.
#[test]
fn bubblewrap_starts_a_program_under_its_profile() {
    let program = Program::new(&["ls"]).with("file", "");
    let (profile, filter) = (program.beside("profile.json"), program.beside("filter"));
    program.record(&profile, &["--default-action", "kill-process"]);
    let start = |profile: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
        assert_eq!(ended(command.arg("compile").arg(profile).arg("-o").arg(&filter)).status, 0);
        let script = "exec bwrap --dev-bind / / --seccomp 9 ls 9< \"$0\"";
        let mut command = Command::new("sh");
        ended(command.args(["-c", script]).arg(&filter).current_dir(&program.folder))
    };
    assert_eq!(start(&profile), Ended { stdout: "file\n".into(), stderr: String::new(), status: 0 });
    // Which is why the profile has it, though the program does not call it.
    let text = fs::read_to_string(&profile).unwrap().replace("        \"execve\",\n", "");
    fs::write(&profile, text).unwrap();
    assert_ne!(start(&profile).status, 0);
}

fn explained(options: &[&str], program: &[&str]) -> String {
    ended(run(["--explain"].iter().chain(options)).args(program)).stderr
}

fn case(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name).to_str().unwrap().into()
}

#[test]
fn a_denied_call_is_explained() {
    let folder = TempDir::new().unwrap();
    let deny = case("deny-mkdir.bpfasm");
    let path = folder.path().join("a\"\u{1b}");
    let text = explained(
        &["--filter", &case("allow.bpfasm"), "--filter", &deny],
        &["mkdir", path.to_str().unwrap()],
    );
    let mut lines = text.lines();
    let first: Vec<_> = lines.next().unwrap().splitn(4, ' ').collect();
    assert_eq!(first[..2], ["seccomp-rbpf:", "denied:"]);
    assert!(first[2].parse::<u32>().is_ok());
    let shown = format!("{}/a\\\"\\033", folder.path().display());
    assert_eq!(first[3], format!("mkdir: mkdir(\"{shown}\", 0777) = ERRNO(1 EPERM)"));
    assert!(lines.next().unwrap().starts_with("x86_64 83 (mkdir), ip 0x"));
    assert_eq!(lines.next().unwrap(), format!("{deny} (classic): 0x00050001 ERRNO(1 EPERM)"));
    // The way is that of `explain`.
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let explain = ended(command.args(["explain", &deny, "mkdir(NULL, 0777)"])).stdout;
    let way: Vec<_> = explain.lines().skip_while(|line| !line.contains("(classic)")).skip(1).collect();
    let shown: Vec<_> = lines.by_ref().take(way.len()).collect();
    assert_eq!(shown, way);
    assert_eq!(
        lines.next().unwrap(),
        format!("0x00050001 ERRNO(1 EPERM) from {deny}, of 2 filters: ERRNO is the strictest action")
    );
}

#[test]
fn a_profile_is_explained_by_its_rule() {
    let folder = TempDir::new().unwrap();
    let profile = folder.path().join("profile.json");
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["rmdir", "mkdir"],
        "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [{"index": 1, "value": 511, "op": "SCMP_CMP_EQ"}]}]}"#;
    fs::write(&profile, json).unwrap();
    let text = explained(&["--filter", profile.to_str().unwrap()], &["mkdir", "/tmp/never-made"]);
    assert!(text.contains(" mkdir: mkdir(\"/tmp/never-made\", 0777) = ERRNO(13 EACCES)\n"), "{text}");
    assert!(text.contains("\n  syscalls[0] decides: rmdir mkdir, if arg1 == 0x1ff\n"), "{text}");
    // Also of a program of 32 bits, and by what it has not.
    let program = compile(folder.path(), "workers", "-m32", &[]);
    let text = explained(&["--filter", profile.to_str().unwrap()], &[program.to_str().unwrap()]);
    assert!(text.contains("KILL_THREAD\ni386 "), "{text}");
    assert!(text.contains("\n  the call is by an entry that the profile does not have\n"), "{text}");
}

#[test]
fn filters_of_the_program_are_explained() {
    let folder = TempDir::new().unwrap();
    let program = compile(folder.path(), "prctl_filter", "-m64", &[]);
    let text = explained(&["--filter", &case("allow.bpfasm")], &[program.to_str().unwrap()]);
    assert!(text.contains("\nfilter 1, which the program installed (classic): "), "{text}");
    assert!(text.contains(" from filter 1, which the program installed, of 2 filters: "), "{text}");
}

/// Many calls in a loop: a few are explained, and the others are counted.
#[test]
fn explanations_have_a_rate() {
    let count = generate::seeded().random_range(200..400);
    let script = format!("for my $i (1..{count}) {{ mkdir '/tmp/never-made' }}");
    let start = Instant::now();
    let text = explained(&["--filter", &case("deny-mkdir.bpfasm")], &["perl", "-e", &script]);
    let seconds = start.elapsed().as_secs() + 1;
    let told = text
        .lines()
        .filter(|line| line.starts_with("seccomp-rbpf: denied: ") && line.contains("mkdir("))
        .count();
    let dropped = text.lines().filter_map(|line| {
        line.strip_prefix("seccomp-rbpf: denied: ")?
            .strip_suffix(" calls not explained")?
            .parse::<usize>()
            .ok()
    });
    assert_eq!(told + dropped.sum::<usize>(), count, "{text}");
    assert!(told >= 5 && told as u64 <= 5 + 5 * seconds, "{told} in {seconds} s");
}
