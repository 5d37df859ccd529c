//! `run` on real programs: what they print and how they end is what they print and how they end without it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use seccomp_tests::generate;
use tempfile::TempDir;

use common::{Ended, compile, ended, run};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

fn filter(name: &str) -> [PathBuf; 2] {
    ["--filter".into(), case(name)]
}

/// The same program, directly and under `run` with a filter that allows everything.
fn same(program: &str, args: &[&str]) -> Ended {
    let without = ended(Command::new(program).args(args));
    let with = ended(run(filter("allow.bpfasm")).arg(program).args(args));
    assert_eq!(with, without, "{program} {args:?}");
    without
}

fn same_script(script: &str) -> Ended {
    same("sh", &["-c", script])
}

#[test]
fn a_long_listing() {
    let listing = same("ls", &["-lR", "/usr/share"]);
    assert!(listing.stdout.len() > 1 << 16 && listing.status == 0);
}

#[test]
fn python_with_threads_and_subprocesses() {
    let script = "
import subprocess, threading
results = [None] * 8
def work(i):
    out = subprocess.run(['sh', '-c', f'echo {i}; exit {i}'], capture_output=True)
    results[i] = (out.stdout.decode(), out.returncode)
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(results)
raise SystemExit(sum(code for _, code in results))
";
    let ended = same("python3", &["-c", script]);
    assert_eq!((ended.status, ended.stderr.as_str()), (28, ""));
}

#[test]
fn git_log() {
    let dir = TempDir::new().unwrap();
    let script = "cd \"$1\" && git init -q . && for i in 1 2 3; do echo $i > f && git add f && \
                  git -c user.name=a -c user.email=a@b commit -qm \"commit $i\"; done";
    let path = dir.path().to_str().unwrap();
    assert_eq!(ended(Command::new("sh").args(["-c", script, "sh", path])).status, 0);
    let log = same("git", &["-C", path, "log", "--stat"]);
    assert!(log.stdout.contains("commit 3") && log.status == 0);
}

#[test]
fn tar_and_gzip() {
    // The time stamp of a gzip header would differ from run to run.
    let ended = same_script("tar cf - /usr/share/common-licenses 2>/dev/null | gzip -n | gzip -dc | cksum");
    assert_eq!(ended.status, 0);
}

#[test]
fn scripts_end_with_their_status() {
    assert_eq!(same_script("exit 7").status, 7);
    assert_eq!(same_script("kill -TERM $$").status, 128 + 15);
    assert_eq!(same_script("kill -SEGV $$").status, 128 + 11);
    assert_eq!(same_script("kill -RTMIN $$").status, 128 + 34);
    assert_eq!(same_script("trap 'echo trapped; exit 4' USR1; kill -USR1 $$; exit 5").status, 4);
    assert_eq!(same_script("(exit 3) & wait $!; echo $?; sleep 0.1 & kill %1; wait; echo $?").status, 0);
    let forks = "n=0; for i in 1 2 3 4 5; do p=; for j in 1 2 3 4 5 6 7 8; do (exit $j) & p=\"$p $!\"; done; \
                 for q in $p; do wait $q; n=$((n + $?)); done; done; echo $n; exit $n";
    assert_eq!(same_script(forks).status, 180);
    assert_eq!(same_script("sh -c 'sh -c \"sh -c \\\"kill -9 \\\\$\\\\$\\\"; exit 9\"; exit 8'").status, 8);
}

#[test]
fn stopped_and_continued() {
    let script =
        "(sleep 0.2; echo child) & p=$!; kill -STOP $p; sleep 0.4; echo first; kill -CONT $p; wait $p";
    assert_eq!(same_script(script).stdout, "first\nchild\n");
}

#[test]
fn stopped_from_within() {
    let script = "(sleep 0.3; kill -CONT $$) & kill -TSTP $$; echo continued; wait";
    assert_eq!(same_script(script).stdout, "continued\n");
}

#[test]
fn children_from_before_are_not_waited_for() {
    let script = format!("sleep 5 & exec {} run -- true", env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let start = Instant::now();
    let mut command = Command::new("sh");
    let status = command.args(["-c", &script]).stdout(Stdio::null()).status().unwrap();
    assert!(status.success() && start.elapsed() < Duration::from_secs(5));
}

/// It tells of other processes by the ids of those that are carried.
#[test]
fn proc_is_of_another_pid_namespace() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "timeout", "--signal=KILL", "60"]);
    let ended = ended(command.args([env!("CARGO_BIN_EXE_seccomp-rbpf"), "run", "--", "echo", "ran"]));
    assert_eq!((ended.stdout.as_str(), ended.status), ("", 2));
    assert_eq!(ended.stderr, "seccomp-rbpf: /proc is of another pid namespace\n");
}

#[test]
fn nobody_reads_standard_error() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for option in ["--summary", "--engine=native"] {
        let status = run([option]).args(["sh", "-c", "exit 3"]).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(3));
    }
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "socket", "-m64", &[]);
    let status = run(filter("kill-socket.bpfasm")).arg(program).stdout(Stdio::null()).stderr(full()).status();
    assert_eq!(status.unwrap().code(), Some(128 + 31));
}

#[test]
fn a_command_that_cannot_run() {
    let missing = ended(run([""; 0]).arg("/no/such/program"));
    assert_eq!(missing.status, 127);
    assert_eq!(missing.stderr, "seccomp-rbpf: /no/such/program: No such file or directory (os error 2)\n");
    let forbidden = ended(run([""; 0]).arg("/etc/passwd"));
    assert_eq!(forbidden.status, 126);
}

#[test]
fn a_filter_denies_mkdir() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new");
    let denied = ended(run(filter("deny-mkdir.bpfasm")).arg("mkdir").arg(&path));
    let message = format!("mkdir: cannot create directory '{}': Operation not permitted", path.display());
    assert_eq!(denied.stderr.replace(['\u{2018}', '\u{2019}'], "'").trim_end(), message);
    assert_eq!(denied.status, 1);
    assert!(!path.exists());
}

#[test]
fn a_filter_kills_socket() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "socket", "-m64", &[]);
    let killed = ended(run(filter("kill-socket.bpfasm")).arg(&program));
    assert_eq!((killed.stdout.as_str(), killed.status), ("before\n", 128 + 31));
    assert!(killed.stderr.starts_with("seccomp-rbpf: audit: type=1326 "), "{}", killed.stderr);
    // The shell lives, and sees what became of its child.
    let script = "\"$0\"; echo $?";
    assert_eq!(
        ended(run(filter("kill-socket.bpfasm")).args(["sh", "-c", script]).arg(&program)).stdout,
        "before\n159\n"
    );
}

/// A thread dies with its process, also one that nobody has told of yet.
#[test]
fn processes_are_killed_while_they_make_threads() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "workers", "-m64", &[]);
    let filter = dir.path().join("kill.json");
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["pipe2"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    fs::write(&filter, json).unwrap();
    for _ in 0..100 {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "30", env!("CARGO_BIN_EXE_seccomp-rbpf"), "run", "--filter"]);
        assert_eq!(ended(command.arg(&filter).arg("--").arg(&program)).status, 128 + 31);
    }
}

#[test]
fn every_engine_enforces() {
    for engine in ["jit", "interpreter", "native"] {
        let options = ["--engine".into(), engine.into(), "--filter".into(), case("deny-mkdir.bpfasm")];
        let ended = ended(run(options).args(["mkdir", "/tmp/never-made"]));
        assert_eq!(ended.status, 1, "{engine}");
        assert!(ended.stderr.contains("Operation not permitted"));
    }
}

#[test]
fn the_summary_and_the_trace_tell_every_call() {
    let dir = TempDir::new().unwrap();
    let trace = dir.path().join("trace");
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    command.args(["run", "--summary", "--trace"]).arg(&trace).args(filter("deny-mkdir.bpfasm"));
    let ended = ended(command.args(["--", "sh", "-c", "mkdir /tmp/never-made 2>&1; exit 3"]));
    assert_eq!(ended.status, 3);

    let trace = fs::read_to_string(trace).unwrap();
    let denied: Vec<_> =
        trace.lines().filter(|line| line.ends_with(" = 0x00050001 ERRNO(1 EPERM)")).collect();
    assert_eq!(denied.len(), 1, "{trace}");
    assert!(denied[0].contains(" mkdir c000003e 83 "));
    let total = format!("{:>10} {:>10}  total", trace.lines().count(), 1);
    assert!(ended.stderr.lines().any(|line| line == total), "{total}\n{}", ended.stderr);

    // A trace is a batch for `eval`, between the name and the equals sign.
    let batch: String = trace
        .lines()
        .map(|line| line.split(' ').skip(2).take(9).collect::<Vec<_>>().join(" ") + "\n")
        .collect();
    fs::write(dir.path().join("batch"), batch).unwrap();
    let mut eval = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    eval.arg("eval").arg(case("deny-mkdir.bpfasm")).arg("--batch").arg(dir.path().join("batch"));
    let answers = self::ended(eval.args(["--engine", "all"])).stdout;
    let recorded: String =
        trace.lines().map(|line| line.split(" = ").nth(1).unwrap()[..10].to_owned() + "\n").collect();
    assert_eq!(answers, recorded);
}

#[test]
fn a_trace_that_cannot_be_written_is_told() {
    let full = ended(run(["--trace", "/dev/full"]).arg("true"));
    assert_eq!(full.status, 2);
    assert_eq!(
        full.stderr,
        "seccomp-rbpf: /dev/full: the trace is incomplete: No space left on device (os error 28)\n"
    );
    let missing = ended(run(["--trace", "/no/such/dir/trace"]).args(["echo", "ran"]));
    assert_eq!((missing.stdout.as_str(), missing.status), ("", 2));
}

#[test]
fn signals_to_the_command_reach_the_program() {
    let script = "trap 'echo terminated; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child =
        run([""; 0]).args(["sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("it starts");
    thread::sleep(Duration::from_millis(500));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\nterminated\n");
    assert_eq!(status.code(), Some(9));
}

/// Lines of `/proc/self/status` that tell what a program begins with.
fn begins_with(status: &str) -> Vec<&str> {
    let same = ["Umask", "Uid", "Gid", "Groups", "Threads", "NoNewPrivs", "Cpus_allowed", "Mems_allowed"];
    let starts = |line: &str, names: &[&str]| names.iter().any(|name| line.starts_with(name));
    status
        .lines()
        .filter(|line| starts(line, &same) || starts(line, &["SigP", "ShdP", "SigB", "SigC", "Cap"]))
        .collect()
}

/// The signals that a program ignores, signal n in bit n - 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("a mask");
    u64::from_str_radix(mask, 16).expect("of signals")
}

/// Also signals that the C library keeps to itself, which posix_spawn(3) leaves ignored.
#[test]
fn signals_begin_as_without() {
    const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);
    let dir = TempDir::new().unwrap();
    let begins = compile(dir.path(), "begins", "-m64", &[]);
    for action in ["default", "ignored"] {
        for blocked in ["0", "5555555555555555", "ffffffffffffffff"] {
            let begin = || {
                let mut command = Command::new(&begins);
                command.args([action, blocked]);
                command
            };
            let without = ended(begin().args(["cat", "/proc/self/status"])).stdout;
            let with = ended(begin().args([
                env!("CARGO_BIN_EXE_seccomp-rbpf"),
                "run",
                "--",
                "cat",
                "/proc/self/status",
            ]));
            let with = with.stdout;
            assert_eq!(begins_with(&with), begins_with(&without), "{action} {blocked}");
            // Its default is stated.
            assert_eq!(ignored(&with), ignored(&without) & !SIGPIPE, "{action} {blocked}");
            assert_eq!(ignored(&without) & SIGPIPE != 0, action == "ignored");
        }
    }
}

/// The host gives it to what a privileged process traces only.
#[test]
fn set_user_id_counts_where_run_is_privileged() {
    const NOBODY: u32 = 65534;
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let command = dir.path().join("seccomp-rbpf");
    fs::copy(env!("CARGO_BIN_EXE_seccomp-rbpf"), &command).unwrap();
    let id_of = |owner: u32| {
        let id = dir.path().join(format!("id-{owner}"));
        fs::copy("/usr/bin/id", &id).unwrap();
        unix::fs::chown(&id, Some(owner), None).unwrap();
        fs::set_permissions(&id, Permissions::from_mode(0o4755)).unwrap();
        id
    };
    let (roots, nobodys) = (id_of(0), id_of(NOBODY));
    let prints = |command: &mut Command| ended(command).stdout;
    let nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
    };
    assert_eq!(prints(nobody().arg(&roots).arg("-u")), "0\n");
    assert_eq!(prints(nobody().arg(&command).args(["run", "--"]).arg(&roots).arg("-u")), "65534\n");
    assert_eq!(prints(Command::new(&nobodys).arg("-u")), "65534\n");
    assert_eq!(prints(run([""; 0]).arg(&nobodys).arg("-u")), "65534\n");
}

#[test]
fn the_program_does_not_outlive_the_command() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("pid");
    let mut child = run([""; 0])
        .args(["sh", "-c", "echo $$ > \"$0\"; exec sleep 1000"])
        .arg(&file)
        .spawn()
        .expect("it starts");
    let pid = loop {
        match fs::read_to_string(&file).unwrap_or_default().trim().parse::<i32>() {
            Ok(pid) => break pid,
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    for _ in 0..500 {
        if !Path::new(&format!("/proc/{pid}/exe")).exists() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{pid} is alive");
}

/// C programs that install filters themselves. They print what Linux answers; `run` has to answer the same.
fn same_program(name: &str) {
    same_program_on(name, &["plan", "jit", "interpreter", "native"]);
}

fn same_program_on(name: &str, engines: &[&str]) {
    let dir = TempDir::new().unwrap();
    for width in ["-m64", "-m32"] {
        let program = compile(dir.path(), name, width, &[]);
        let without = ended(&mut Command::new(&program));
        for engine in engines {
            let with = ended(run(["--engine", engine]).arg(&program));
            assert_eq!(
                (&with.stdout, with.status),
                (&without.stdout, without.status),
                "{name} {width} {engine}"
            );
        }
        assert!(without.stdout.lines().count() > 5, "{}", without.stdout);
    }
}

#[test]
fn a_program_with_a_prctl_filter() {
    same_program("prctl_filter");
}

#[test]
fn a_program_with_tsync() {
    same_program("tsync");
}

/// Or a program that has its owner's id would have it, under a filter that somebody else chose.
#[test]
fn no_new_privs_by_tsync_is_the_hosts() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    for width in ["-m64", "-m32"] {
        let program = compile(dir.path(), "set_id", width, &[]);
        fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let without = ended(Command::new("setpriv").args(nobody).arg(&program));
        assert!(without.stdout.starts_with("has its owner's id: 1 \n"), "{}", without.stdout);
        assert!(without.stdout.contains("a thread: 1 \ngetppid: -1 "), "{}", without.stdout);
        let with = ended(run([""; 0]).arg("setpriv").args(nobody).arg(&program));
        assert_eq!(with, without, "{width}");
    }
}

#[test]
fn a_program_that_traps() {
    same_program("trap");
}

/// With a plan in front, as Linux has it: the calls get past filters by its cache.
#[test]
fn a_program_that_makes_the_calls_of_uprobes() {
    same_program_on("uprobes", &["plan"]);
}

#[test]
fn a_program_that_polls_pidfds() {
    same_program_on("pidfd", &["plan"]);
}

#[test]
fn threads_that_nobody_tells_of() {
    same_program("exit_clone");
}

#[test]
fn processes_that_are_killed_while_they_fork() {
    same_program("kill_forking");
}

#[test]
fn programs_that_are_killed() {
    same_program("kill");
}

#[test]
fn registers_that_ptrace_does_not_take_back() {
    same_program("selectors");
}

#[test]
fn a_supervisor_answers() {
    same_program("notify");
}

#[test]
fn a_supervisor_gives_descriptors() {
    same_program("notify_addfd");
}

#[test]
fn a_supervisor_lets_calls_run() {
    same_program("notify_continue");
}

#[test]
fn calls_that_wait_for_a_supervisor_end_otherwise() {
    same_program("notify_ends");
}

#[test]
fn calls_that_wait_for_a_supervisor_are_killable() {
    same_program("notify_killable");
}

#[test]
fn listeners_are_refused_in_order() {
    same_program("notify_flags");
}

#[test]
fn threads_get_a_filter_with_a_listener() {
    same_program("notify_tsync");
}

#[test]
fn a_program_with_clone3() {
    same_program("clone3");
}

/// clone3(2) reads what child it is to make from memory, which another thread may change until then.
#[test]
fn no_child_runs_untraced() {
    const KILLED: [i32; 2] = [128 + 9, 128 + 11];
    let dir = TempDir::new().unwrap();
    for (width, entries) in [("-m64", &["native", "int80"][..]), ("-m32", &["native"])] {
        let program = compile(dir.path(), "untraced", width, &[]);
        for (kind, entry) in ["fork", "vfork", "thread"]
            .into_iter()
            .flat_map(|kind| entries.iter().map(move |entry| (kind, entry)))
        {
            let mut command = run([""; 0]);
            command.arg(&program).args([kind, entry]).process_group(0);
            let ended = ended(&mut command);
            assert_eq!(ended.stdout, "", "{width} {kind} {entry}");
            assert!(KILLED.contains(&ended.status), "{width} {kind} {entry}: {ended:?}");
        }
    }
}

/// Programs that race with what is done for them, and print what goes wrong on no Linux.
fn nothing_goes_wrong(name: &str, widths: &[&str]) {
    let dir = TempDir::new().unwrap();
    for width in widths {
        let program = compile(dir.path(), name, width, &[]);
        let without = ended(&mut Command::new(&program));
        assert_eq!((without.stdout.as_str(), without.status), ("done\n", 0), "{name} {width}");
        let with = ended(run([""; 0]).arg(&program));
        assert_eq!((with.stdout.as_str(), with.status), ("done\n", 0), "{name} {width}");
    }
}

#[test]
fn children_have_what_their_own_parent_had() {
    nothing_goes_wrong("orphans", &["-m64", "-m32"]);
}

#[test]
fn an_id_that_a_thread_left_is_anothers() {
    nothing_goes_wrong("same_id", &["-m64", "-m32"]);
}

#[test]
fn whoever_is_born_has_what_it_must() {
    // Few on the host, for which many filters that go at once are too much.
    const FEW: &str = "200";
    const MANY: &str = "2000";
    let dir = TempDir::new().unwrap();
    let seed: u32 = generate::seeded().random_range(0..1 << 30);
    for width in ["-m64", "-m32"] {
        let program = compile(dir.path(), "births", width, &[]);
        let seed = seed.to_string();
        let without = ended(Command::new(&program).args([FEW, &seed]));
        assert_eq!((without.stdout.as_str(), without.status), ("done\n", 0), "{width} {seed}");
        let with = ended(run([""; 0]).arg(&program).args([MANY, &seed]));
        assert_eq!((with.stdout.as_str(), with.status), ("done\n", 0), "{width} {seed}");
    }
}

#[test]
fn who_is_to_die_keeps_no_handler() {
    nothing_goes_wrong("keeps_handler", &["-m64", "-m32"]);
}

#[test]
fn threads_of_every_name_get_a_filter() {
    same_program("names");
}

/// A program may see to it that `run` cannot read what it has to know. Nothing is taken in its place.
#[test]
fn who_cannot_be_known_is_killed() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "names", "-m64", &[]);
    let ended = ended(run([""; 0]).arg(program).arg("0"));
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("cannot be read: Too many open files\n"), "{}", ended.stderr);
}

/// By programs of the same user. Root has the right to trace everybody.
#[test]
fn the_memory_that_decides_is_out_of_reach() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = compile(dir.path(), "tracer_memory", "-m64", &[]);
    let own = dir.path().join("seccomp-rbpf");
    fs::copy(env!("CARGO_BIN_EXE_seccomp-rbpf"), &own).unwrap();
    let nobody: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let is_root = nix::unistd::geteuid().is_root();
    let rows: &[(&[&str], bool)] =
        if is_root { &[(nobody, false), (&["env"], true)] } else { &[(&["env"], false)] };
    for (user, reaches) in rows {
        let mut command = Command::new(user[0]);
        command.args(&user[1..]).arg(&own).args(["run", "--explain", "--summary", "--"]).arg(&program);
        let ended = ended(&mut command);
        assert_eq!(ended.status, 0, "{ended:?}");
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert!(lines.len() >= 6, "{ended:?}");
        assert!(lines.iter().all(|line| line.ends_with(": yes") == *reaches), "{ended:?}");
        assert!(ended.stderr.contains("process_vm_writev"), "{ended:?}");
    }
}

/// With all that is carried, also what makes no call: nobody is left who could write.
#[test]
fn who_kills_the_command_dies() {
    for _ in 0..20 {
        let script = "(while :; do :; done) & kill -KILL $PPID; while :; do echo lives; done";
        let killed = ended(run([""; 0]).args(["sh", "-c", script]));
        assert_eq!((killed.stdout.as_str(), killed.status), ("", 128 + 9));
    }
}
