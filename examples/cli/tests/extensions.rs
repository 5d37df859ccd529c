//! eBPF filters from C through the command, and real programs under them.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use common::{Ended, compile, ended, run};

/// A folder with object files.
struct Objects(TempDir);

impl Objects {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// One of `examples/extensions`, by clang.
    fn example(&self, name: &str) -> PathBuf {
        let source = examples().join(format!("{name}.c"));
        self.clang(name, &source)
    }

    /// A source of the test's.
    fn source(&self, name: &str, text: &str) -> PathBuf {
        let source = self.0.path().join(format!("{name}.c"));
        fs::write(&source, text).unwrap();
        self.clang(name, &source)
    }

    fn clang(&self, name: &str, source: &Path) -> PathBuf {
        let object = self.0.path().join(format!("{name}.o"));
        let mut clang = Command::new("clang");
        clang.args(["-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-I"]).arg(examples());
        let compiled = ended(clang.arg("-c").arg(source).arg("-o").arg(&object));
        assert_eq!(compiled.status, 0, "{}", compiled.stderr);
        object
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../extensions")
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").join(name)
}

fn command(arguments: &[&str]) -> Ended {
    ended(Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf")).args(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A Python script under a filter.
fn python(options: &[&str], filter: &Path, script: &str) -> Ended {
    let filter = ["--filter", text(filter)];
    ended(run(options.iter().copied().chain(filter)).args(["/usr/bin/python3", "-c", script]))
}

#[test]
fn a_process_deletes_so_many_files_a_second() {
    let objects = Objects::new();
    let script = "
import os, time
os.chdir(FOLDER)
for i in range(40): open(str(i), 'w').close()
begin, done = time.monotonic(), 0
for i in range(40):
    try: os.unlink(str(i)); done += 1
    except BlockingIOError: pass
print(done, time.monotonic() - begin, flush=True)
if os.fork() == 0:
    # A child has what its parent has left, and no more.
    begin, done = time.monotonic(), 0
    for i in os.listdir('.'):
        try: os.unlink(i); done += 1
        except BlockingIOError: pass
    print(done, time.monotonic() - begin)
else: os.wait()
";
    let folder = TempDir::new().unwrap();
    let script = script.replace("FOLDER", &format!("{:?}", text(folder.path())));
    let ended = python(&[], &objects.example("rate-limit"), &script);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!((ended.status, lines.len()), (0, 2), "{ended:?}");
    for (line, at_once) in lines.into_iter().zip([8.0, 0.0]) {
        let (done, seconds) = line.split_once(' ').expect("two numbers");
        let (done, seconds): (f64, f64) = (done.parse().unwrap(), seconds.parse().unwrap());
        // Four each second on top, and perhaps one more at each end.
        assert!((at_once..=at_once + seconds * 4.0 + 2.0).contains(&done), "{line}");
    }
}

#[test]
fn all_together_execute_so_many_programs() {
    let objects = Objects::new();
    let script = "for i in 1 2 3 4 5 6; do (/bin/echo $i) || echo $?; done";
    let filter = objects.example("max-execs");
    let ended = ended(run(["--filter", text(&filter)]).args(["sh", "-c", script]));
    assert_eq!(ended.stdout, "1\n2\n3\n4\n126\n126\n");
    assert!(ended.stderr.contains("Operation not permitted"), "{}", ended.stderr);
}

#[test]
fn who_serves_opens_and_runs_nothing_any_more() {
    let objects = Objects::new();
    let script = "
import ctypes, os
syscall = ctypes.CDLL(None).syscall
def attempt():
    for f in (lambda: os.close(os.open('/etc/passwd', 0)), lambda: os.execv('/bin/true', ['true'])):
        try: f(); print('done', flush=True)
        except OSError as e: print(e.errno, flush=True)
os.close(os.open('/etc/passwd', 0))
print(syscall(1000), flush=True)
attempt()
if os.fork() == 0: attempt()
else: os.wait()
";
    let ended = python(&[], &objects.example("phases"), script);
    assert_eq!((ended.stdout.as_str(), ended.status), ("0\n1\n1\n1\n1\n", 0), "{ended:?}");
}

#[test]
fn calls_are_counted_for_whoever_looks_at_the_map() {
    let objects = Objects::new();
    let script = "import os\nfor _ in range(123): os.getppid()";
    let ended = python(&["--maps"], &objects.example("count"), script);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("trace: ") && lines[0].contains(" ends: call "), "{lines:?}");
    assert!(lines.contains(&"map counts (array)") && lines.contains(&"  110: 123"), "{lines:?}");
    // Its constants are no memory.
    assert!(!ended.stderr.contains("rodata"), "{lines:?}");
}

#[test]
fn mail_servers_are_not_connected_to_and_who_tried_is_told() {
    let objects = Objects::new();
    let script = "
import os, socket
for port in (1, 25, 587):
    with socket.socket() as s: print(s.connect_ex(('127.0.0.1', port)))
print(os.getpid())
";
    let ended = python(&["--events"], &objects.example("deny-connect"), script);
    let lines: Vec<_> = ended.stdout.lines().collect();
    // ECONNREFUSED, and EACCES.
    assert_eq!(lines[..3], ["111", "13", "13"], "{ended:?}");
    let pid: u32 = lines[3].parse().unwrap();
    let event = |port: u32| {
        let hex = |n: u32| n.to_ne_bytes().map(|byte| format!("{byte:02x}")).concat();
        format!("event events: {} {}", hex(pid), hex(port))
    };
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), [event(25), event(587)]);
}

#[test]
fn files_are_opened_below_some_directories_only() {
    let objects = Objects::new();
    let filter = objects.example("open-prefix");
    let read = |path: &str| {
        let ended = ended(run(["--filter", text(&filter)]).args(["head", "-c1", path]));
        (ended.status, ended.stderr.contains("Permission denied"))
    };
    assert_eq!(read("/usr/share/common-licenses/GPL-3"), (0, false));
    assert_eq!(read("/etc/passwd"), (1, true));
    assert_eq!(read("/usr/../etc/passwd"), (1, true));
    assert_eq!(read("passwd"), (1, true));
}

#[test]
fn allowed_arguments_are_remembered() {
    let objects = Objects::new();
    let script = "
import mmap, socket
for _ in range(50): socket.socket(socket.AF_UNIX).close()
try: socket.socket(17, socket.SOCK_RAW)
except PermissionError: print('no packets')
try: mmap.mmap(-1, 4096, prot=7)
except PermissionError: print('no code')
";
    let ended = python(&["--maps"], &objects.example("argument-cache"), script);
    assert_eq!((ended.stdout.as_str(), ended.status), ("no packets\nno code\n", 0), "{ended:?}");
    let variables = ended.stderr.lines().skip_while(|line| *line != "map .bss (array)").nth(1);
    // Hits and misses, eight bytes each.
    let hex: String = variables.expect("variables").trim_start_matches("  0: ").replace(' ', "");
    let number = |at: usize| u64::from_str_radix(&hex[at..at + 16], 16).unwrap().swap_bytes();
    assert!(number(0) > 49 && (3..40).contains(&number(16)), "{hex}");
}

#[test]
fn filters_of_both_kinds_stack() {
    let objects = Objects::new();
    let count = objects.example("count");
    let filters = [&case("allow.bpfasm"), &count, &case("deny-mkdir.bpfasm")];
    let filters: Vec<_> = filters.iter().flat_map(|filter| ["--filter", text(filter)]).collect();
    let dir = objects.0.path().join("new");
    let denied = ended(run(filters.iter().copied().chain(["--maps"])).arg("mkdir").arg(&dir));
    // The filter counts what another denies.
    assert!(denied.stderr.contains("Operation not permitted") && !dir.exists(), "{}", denied.stderr);
    assert!(denied.stderr.contains("\n  83: 1\n"), "{}", denied.stderr);
}

/// A program's own filter: unknown to a kernel that does not grant them, as to the host's.
#[test]
fn a_program_installs_one_where_it_may() {
    let dir = TempDir::new().unwrap();
    let program = compile(dir.path(), "extension", "-m64", &[]);
    let alone = ended(&mut Command::new(&program));
    assert_eq!(alone.stdout, "installed: 22\nallowed\nallowed\nallowed\nallowed\n");
    let none: [&str; 0] = [];
    assert_eq!(ended(run(none).arg(&program)), alone);
    let expected = "installed: 0\nallowed\ndenied\nallowed\ndenied\n";
    for engine in ["plan", "jit", "interpreter", "native"] {
        let granted = ended(run(["--allow-extensions", "--engine", engine]).arg(&program));
        assert_eq!((granted.stdout.as_str(), granted.status), (expected, 0), "{engine}");
    }
    // The host does not use the copies that filters see.
    let copies = ended(run(["--allow-extensions"]).arg(&program).arg("copies"));
    assert!(copies.stdout.starts_with("installed: 95\n"), "{copies:?}");
    // Structures and pointers are the same for 32-bit programs.
    let program = compile(dir.path(), "extension", "-m32", &[]);
    let granted = ended(run(["--allow-extensions"]).arg(&program));
    assert_eq!((granted.stdout.as_str(), granted.status), (expected, 0));
}

#[test]
fn eval_decides_alike_on_every_engine_and_shows_what_is_remembered() {
    let objects = Objects::new();
    let execs = objects.example("max-execs");
    let calls = objects.0.path().join("calls");
    fs::write(&calls, "c000003e 59 0 0 0 0 0 0 0\n".repeat(6)).unwrap();
    let all = ["eval", text(&execs), "--batch", text(&calls), "--engine", "all", "--maps"];
    let evaluated = command(&all);
    let lines: Vec<_> = evaluated.stdout.lines().collect();
    let (allow, deny) = ("0x7fff0000", "0x00050001");
    assert_eq!(lines[..7], [allow, allow, allow, allow, deny, deny, "map execs (hash)"], "{evaluated:?}");
    assert_eq!(lines.len(), 11, "{lines:?}");

    // Three of four places are taken.
    let set: Vec<_> = (0..3).flat_map(|place| ["--set".into(), format!("execs:{place}=0x7")]).collect();
    let set: Vec<_> = set.iter().map(String::as_str).collect();
    let evaluated = command(&[&["eval", text(&execs), "--batch", text(&calls)], &set[..]].concat());
    assert_eq!(evaluated.stdout.lines().collect::<Vec<_>>(), [allow, deny, deny, deny, deny, deny]);

    let paths = objects.example("open-prefix");
    let open = |path: &str| {
        let memory = format!("0xffe={path}");
        let call = ["--nr", "openat", "--args", "-100,0xffe", "--memory", &memory, "--engine", "all"];
        command(&[&["eval", text(&paths)], &call[..]].concat()).stdout
    };
    assert_eq!(open("/usr/lib"), "0x7fff0000 ALLOW\n");
    assert_eq!(open("/etc"), "0x0005000d ERRNO(13 EACCES)\n");
    assert_eq!(open("/usr/\\x2e./etc"), "0x0005000d ERRNO(13 EACCES)\n");
    let unmapped = command(&["eval", text(&paths), "--nr", "openat", "--args", "-100,0xffe"]);
    assert_eq!(unmapped.stdout, "0x0005000e ERRNO(14 EFAULT)\n");

    let connect = objects.example("deny-connect");
    let memory = "--memory=0x1000=\\x02\\0\\0\\x19";
    let events =
        command(&["eval", text(&connect), "--nr", "connect", "--args", "3,0x1000", memory, "--events"]);
    assert!(events.stdout.starts_with("0x0005000d ERRNO(13 EACCES)\nevent events: "), "{events:?}");
    assert!(events.stdout.ends_with(" 19000000\n"), "{events:?}");
}

#[test]
fn a_filter_is_verified_shown_and_planned() {
    let objects = Objects::new();
    let count = objects.example("count");
    let verified = command(&["verify", text(&count)]);
    assert_eq!((verified.status, verified.stderr.as_str()), (0, ""));
    assert!(verified.stdout.contains(": count: ok: "), "{}", verified.stdout);
    assert!(verified.stdout.contains("  map counts: array, 512 entries, keys of 4 bytes, values of 8\n"));
    assert!(verified.stdout.contains("  helper trace_printk: Trace\n"));

    let steps = command(&["verify", "--verbose", text(&count)]);
    assert!(steps.stdout.starts_with("      ; r1=context\n    0: "), "{}", steps.stdout);

    let disassembled = command(&["disasm", text(&count)]);
    let translated = command(&["translate", text(&count)]);
    assert_eq!(disassembled, translated);
    let lowered = command(&["translate", "--lowered", "jit", text(&count)]);
    assert_eq!(lowered.status, 0);
    // Maps have become numbers.
    assert!(translated.stdout.contains("= map[0]\n") && !lowered.stdout.contains("map["));

    let execs = objects.example("max-execs");
    let plan = command(&["plan", text(&execs)]);
    assert!(plan.stdout.contains("\n0-58: 0x7fff0000 ALLOW\n59 execve: whole filter\n"), "{}", plan.stdout);
    let checked = command(&["check", text(&count)]);
    assert_eq!(checked.status, 2);
}

/// The code, the commands and the refusal of the guide.
#[test]
fn the_first_filter_of_the_guide_does_what_it_says() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/extensions.md"));
    let guide = guide.unwrap();
    let block = |language: &str| {
        let (_, rest) = guide.split_once(&format!("```{language}\n")).expect("a block");
        rest.split_once("```").expect("its end").0.to_owned()
    };
    let dir = TempDir::new().unwrap();
    let source = block("c");
    fs::write(dir.path().join("once.c"), &source).unwrap();
    let commands = block("sh")
        .replace("examples/extensions", text(&examples()))
        .replace("seccomp-rbpf", env!("CARGO_BIN_EXE_seccomp-rbpf"))
        .replace("python3", "/usr/bin/python3");
    let done = ended(Command::new("sh").args(["-ec", &commands]).current_dir(dir.path()));
    assert!(done.stdout.starts_with("once.o: once: ok: "), "{done:?}");
    assert!(done.stdout.ends_with("\n0x7fff0000 ALLOW\n"), "{done:?}");
    assert!(done.stderr.starts_with("map asked (task storage)\n"), "{done:?}");

    let unchecked = source.replace("if (!times)\n\t\treturn SECCOMP_RET_ERRNO | ENOMEM;\n", "\n");
    assert!(unchecked != source);
    fs::write(dir.path().join("once.c"), unchecked).unwrap();
    let build = commands.lines().take(2).collect::<Vec<_>>().join("\n");
    let refused = ended(Command::new("sh").args(["-ec", &build]).current_dir(dir.path()));
    assert_eq!((refused.status, refused.stderr), (1, block("text")));
}

/// An errno of a hundred for the process, ten for the thread, and what is wrong with what helpers say.
const TASKS: &str = r#"#include "seccomp_filter.h"
struct { __uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(max_entries, 8); __type(key, int);
	__type(value, __u32); } threads SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(max_entries, 8); __uint(scope, SCOPE_THREAD_GROUP);
	__type(key, int); __type(value, __u32); } groups SEC(".maps");
SEC("seccomp") int tasks(const struct seccomp_data *data)
{
	if (data->nr != __NR_getppid)
		return SECCOMP_RET_ALLOW;
	__u32 *thread = bpf_task_storage_get(&threads, 0, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	__u32 *group = bpf_task_storage_get(&groups, 0, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread || !group)
		return SECCOMP_RET_KILL_PROCESS;
	__u64 comm[2] = { 0 };
	bpf_get_current_comm(comm, sizeof(comm));
	int wrong = bpf_get_current_pid_tgid() != (data->args[0] << 32 | data->args[1]) ? 1
		: bpf_get_current_uid_gid() != (data->args[3] << 32 | data->args[2]) ? 2
		: comm[0] != data->args[4] || comm[1] != data->args[5] ? 3 : 0;
	return SECCOMP_RET_ERRNO | (++*group * 100 + ++*thread * 10 + wrong);
}"#;

/// A thread that executes a program stays the same thread of the same process; children are others.
#[test]
fn threads_and_processes_are_told_apart_and_forgotten() {
    let objects = Objects::new();
    let filter = objects.source("tasks", TASKS);
    let program = compile(objects.0.path(), "tasks", "-m64", &[]);
    let all = ended(run(["--maps", "--filter", text(&filter)]).arg(&program));
    assert_eq!(
        (all.stdout.as_str(), all.stderr.as_str(), all.status),
        (
            "main 110\nthread 210\nexecuted 320\nvforked 110\ncloned 110\nparent 430\n",
            "map threads (task storage)\nmap groups (task storage)\n",
            0
        )
    );
}

/// The names are no UTF-8, in the middle of a letter, and like another line of `/proc`. The user is nobody.
#[test]
fn helpers_know_who_calls_whatever_its_name() {
    let objects = Objects::new();
    fs::set_permissions(objects.0.path(), Permissions::from_mode(0o755)).unwrap();
    let filter = objects.source("tasks", TASKS);
    let program = compile(objects.0.path(), "tasks", "-m64", &[]);
    for name in [
        &b"\xff"[..],
        b"a\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf\xd0\xbf",
        b"\nUid:\t0\t0\t0\t0",
    ] {
        let named = objects.0.path().join(OsStr::from_bytes(name));
        fs::copy(&program, &named).unwrap();
        let mut command = run(["--filter", text(&filter)]);
        command
            .args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&named)
            .arg("named");
        assert_eq!(ended(&mut command).stdout, "named 110\n", "{name:?}");
    }
}

#[test]
fn a_child_does_not_start_if_a_filter_has_no_place_for_it() {
    let objects = Objects::new();
    let source =
        TASKS.replace("max_entries, 8); __type", "max_entries, 1); __uint(at_fork, AT_FORK_COPY); __type");
    let filter = objects.source("full", &source);
    let script = "import os, ctypes; libc = ctypes.CDLL(None); libc.syscall(110, 0)
pid = os.fork()
if pid == 0: os.write(1, b'runs'); os._exit(0)
os.write(1, str(os.waitpid(pid, 0)[1]).encode())";
    let all = python(&[], &filter, script);
    assert_eq!((all.stdout.as_str(), all.status), ("9", 0), "{all:?}");
    assert!(
        all.stderr.contains(" is killed: the task storage of a filter has no place for its copy"),
        "{all:?}"
    );
}

/// They are told while the program runs, or a ring would be full; and only to who wants them.
#[test]
fn events_are_told_as_they_come() {
    let objects = Objects::new();
    let source = r#"#include "seccomp_filter.h"
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
SEC("seccomp") int tell(const struct seccomp_data *data)
{
	if (data->nr == __NR_getppid) {
		bpf_ringbuf_output(&ring, (void *)"\x1b[31mred", 8, 0);
		bpf_printk("\x1b[31m");
	}
	return SECCOMP_RET_ALLOW;
}"#;
    let filter = objects.source("tell", source);
    let script = "import os\nfor _ in range(1000): os.getppid()";
    let told = python(&["--events"], &filter, script).stderr;
    let lines = |told: &str, line: &str| told.lines().filter(|other| *other == line).count();
    assert_eq!(lines(&told, "event ring: 1b5b3331 6d726564"), 1000);
    // Nor does a terminal do what a filter prints.
    assert_eq!(lines(&told, "trace: \\u{1b}[31m"), 1000, "{told}");
    let untold = python(&[], &filter, script).stderr;
    assert_eq!((lines(&untold, "trace: \\u{1b}[31m"), untold.lines().count()), (1000, 1000));
    // On all engines they are told once.
    let eval = command(&["eval", text(&filter), "--nr", "getppid", "--engine", "all", "--events"]);
    assert_eq!(eval.stderr, "trace: \\u{1b}[31m\n");
    assert_eq!(eval.stdout, "0x7fff0000 ALLOW\nevent ring: 1b5b3331 6d726564\n");
}

/// rbpf's engines keep registers of callers on the stack, so not all that is proved safe has room there.
#[test]
fn an_engine_that_cannot_have_a_filter_is_not_replaced_by_another() {
    let objects = Objects::new();
    let source = r#"#include "seccomp_filter.h"
static __attribute__((noinline)) int inner(__u64 a, __u64 b, __u64 c)
{
	volatile __u64 buffer[32];
	for (int i = 0; i < 32; i++)
		buffer[i] = a + i;
	__u64 random = bpf_get_prandom_u32();
	return buffer[8] + a + b * random + c;
}
SEC("seccomp") int deep(const struct seccomp_data *data)
{
	volatile __u64 buffer[32];
	for (int i = 0; i < 32; i++)
		buffer[i] = data->nr;
	int all = inner(data->args[0], buffer[0], data->args[2]);
	return all == 77 ? SECCOMP_RET_ERRNO | 1 : SECCOMP_RET_ALLOW;
}"#;
    let filter = objects.source("deep", source);
    let eval = |engine| command(&["eval", text(&filter), "--nr", "1", "--engine", engine]);
    assert_eq!(command(&["verify", text(&filter)]).status, 0);
    assert_eq!(eval("native").status, 0);
    for engine in ["plan", "jit", "interpreter"] {
        let refused = eval(engine);
        let line = format!("engine {engine}: the frames of its functions do not fit the stack\n");
        assert!(refused.status == 2 && refused.stderr.ends_with(&line), "{refused:?}");
    }
}

#[test]
fn every_filter_has_its_own_maps_and_its_first_entries() {
    let objects = Objects::new();
    let execs = objects.example("max-execs");
    let copy = objects.0.path().join("max:execs");
    fs::copy(&execs, &copy).unwrap();
    let [execs, copy] = [&execs, &copy].map(|path| text(path));
    let shown = "0x7fff0000 ALLOW\nmap execs (hash)\n  1: 7\nmap execs (hash)\n  1: 7\n";
    let both = command(&["eval", execs, copy, "--nr", "getppid", "--set", "execs:1=7", "--maps"]);
    assert_eq!((both.stdout.as_str(), both.status), (shown, 0), "{both:?}");
    // A colon can be part of a name, also where what is before it is a file.
    fs::write(objects.0.path().join("max"), "").unwrap();
    assert_eq!(command(&["verify", copy]).status, 0);
    // Whatever comes behind it, one that is refused counts.
    let missing = objects.0.path().join("missing.o");
    assert_eq!(command(&["verify", text(&missing), execs]).status, 2);
    let unproved = objects.source(
        "unproved",
        r#"#include "seccomp_filter.h"
SEC("seccomp/a") int a(const struct seccomp_data *data) { return *(volatile int *)(long)data->nr; }
SEC("seccomp/b") int b(const struct seccomp_data *data) { return SECCOMP_RET_ALLOW; }"#,
    );
    let status = command(&["verify", text(&unproved), execs]).status;
    assert_eq!(status, 1);
}

#[test]
fn one_of_several_filters_is_named() {
    let objects = Objects::new();
    let two = "#include \"seccomp_filter.h\"
SEC(\"seccomp\") int a(const struct seccomp_data *data) { return SECCOMP_RET_ALLOW; }
SEC(\"seccomp/b\") int c(const struct seccomp_data *data) { return SECCOMP_RET_ERRNO | 7; }";
    let path = objects.source("two", two);
    let named = format!("{}:b", text(&path));
    assert_eq!(command(&["eval", &named, "--nr", "0"]).stdout, "0x00050007 ERRNO(7 E2BIG)\n");
    let all = command(&["verify", text(&path)]);
    assert!(all.status == 0 && all.stdout.contains(": a: ok") && all.stdout.contains(": b: ok"), "{all:?}");
    for argument in [text(&path).to_owned(), format!("{}:c", text(&path))] {
        let refused = command(&["eval", &argument, "--nr", "0"]);
        let one_line = refused.stderr.lines().count() == 1;
        assert!(refused.status == 2 && one_line && refused.stderr.contains("a, b"), "{refused:?}");
    }
}

#[test]
fn what_is_wrong_is_said_on_one_line() {
    let objects = Objects::new();
    let header = "#include \"seccomp_filter.h\"\n";
    let map = "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); \
               __type(value, __u64); } m SEC(\".maps\");";
    let begin = "SEC(\"seccomp\") int f(const struct seccomp_data *data) {";
    let unchecked =
        format!("{header}{map}{begin} __u32 k = 0; return *(__u64 *)bpf_map_lookup_elem(&m, &k); }}");
    let unchecked = objects.source("unchecked", &unchecked);
    let unknown = format!("{header}int elsewhere(int);{begin} return elsewhere(data->nr); }}");
    let unknown = objects.source("unknown", &unknown);
    let cut = objects.0.path().join("cut.o");
    fs::write(&cut, &fs::read(&unchecked).unwrap()[..200]).unwrap();
    let missing = objects.0.path().join("missing.o");
    let execs = objects.example("max-execs");
    let execs = ["eval", text(&execs), "--nr", "0", "--set"];
    let set = |setting| [&execs[..], &[setting]].concat();
    let (storage, ring) = (objects.example("phases"), objects.example("deny-connect"));
    let [storage, ring] = [&storage, &ring].map(|path| text(path));
    let [unchecked, unknown, cut, missing] = [&unchecked, &unknown, &cut, &missing].map(|path| text(path));
    let classic = case("allow.bpfasm");
    let rows: [(&[&str], i32, &str); 18] = [
        (&set("execs"), 2, "MAP:KEY=VALUE is needed"),
        (&set("counts:0=1"), 2, "no filter has a map counts"),
        (&set("execs:x=1"), 2, "the key \"x\""),
        (&set("execs:0x100000000=1"), 2, "the key \"0x100000000\""),
        (&set("execs:0=hex:00"), 2, "1 bytes, 8 are needed"),
        (&set("execs:hex:+1000000=1"), 2, "two hexadecimal digits are needed a byte"),
        (&["eval", storage, "--nr", "0", "--set", "serving:1=1"], 2, "into a task storage"),
        (&["eval", ring, "--nr", "0", "--set", "events:hex:=hex:"], 2, "into a ring"),
        (&["eval", text(&classic), "--nr", "0", "--memory", "0x10=\\x+f"], 2, "two hexadecimal digits"),
        (
            &[
                &set("execs:1=1")[..],
                &["--set", "execs:2=2", "--set", "execs:3=3", "--set", "execs:4=3", "--set", "execs:5=3"],
            ]
            .concat(),
            2,
            "map execs: there is no place",
        ),
        (&["verify", unchecked], 1, "may be null (map value), check it before the load"),
        (
            &["eval", unchecked, "--nr", "0"],
            1,
            "filter f: `r0 = *(u64 *)(r0 +0)`: instruction 7: r0 may be null",
        ),
        (&["verify", unknown], 2, "elsewhere"),
        (&["verify", cut], 2, "cut.o: "),
        (&["verify", missing], 2, "missing.o: "),
        (&["verify", text(&classic)], 2, "allow.bpfasm: "),
        (&["translate", "--lowered", "jit", text(&classic)], 2, "--lowered: "),
        (&["eval", text(&classic), "--nr", "0", "--memory", "0x10"], 2, "ADDRESS=TEXT is needed"),
    ];
    for (arguments, status, message) in rows {
        let refused = command(arguments);
        assert_eq!((refused.status, refused.stdout.as_str()), (status, ""), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(message), "{message}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}
