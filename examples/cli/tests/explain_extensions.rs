//! `explain` and `table` of eBPF filters that clang makes of C.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rand::Rng;
use rand::seq::IndexedRandom;
use seccomp_tests::{clang, generate};
use serde_json::{Value, json};
use tempfile::TempDir;

fn command(name: &str) -> Command {
    let mut command = Command::cargo_bin("seccomp-rbpf").expect("the command is built");
    command.arg(name);
    command
}

fn printed(command: &mut Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn fails(command: &mut Command, words: &str) {
    let output = command.assert().code(2).get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains(words) && stderr.lines().count() == 1, "{stderr}");
}

fn object(folder: &TempDir, name: &str, source: &str) -> PathBuf {
    let path = folder.path().join(format!("{name}.o"));
    fs::write(&path, clang::compile(source, &["-O2"]).unwrap()).unwrap();
    path
}

fn example(folder: &TempDir, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../extensions").join(format!("{name}.c"));
    object(folder, name, &fs::read_to_string(source).unwrap())
}

fn json_of(command: &mut Command) -> Value {
    serde_json::from_str(&printed(command.arg("--json"))).unwrap()
}

/// The first filter of an explanation: its value, whether it is planned, what it asked.
fn first(explained: &Value) -> (&str, bool, Vec<&str>) {
    let filter = &explained["filters"][0];
    assert_eq!((&filter["kind"], filter.get("steps")), (&json!("ebpf"), None));
    let asked = filter["asked"].as_array().unwrap().iter().map(|words| words.as_str().unwrap());
    (filter["value"].as_str().unwrap(), filter["planned"].as_bool().unwrap(), asked.collect())
}

#[test]
fn memory_that_a_filter_reads_is_told() {
    let folder = TempDir::new().unwrap();
    let paths = example(&folder, "open-prefix");
    let open = |memory: &[&str]| {
        json_of(command("explain").arg(&paths).args(memory).arg("openat(AT_FDCWD, 0x1000, O_RDONLY)"))
    };
    let read = "user memory at 0x1000";
    assert_eq!(first(&open(&["--memory", "0x1000=/usr/lib"])), ("0x7fff0000", false, vec![read]));
    assert_eq!(first(&open(&["--memory", "0x1000=/etc/x"])), ("0x0005000d", false, vec![read]));
    let missing = "user memory at 0x1000, which is not there";
    assert_eq!(first(&open(&[])), ("0x0005000e", false, vec![missing]));
    // Of a string strace tells no address.
    let unknown = json_of(command("explain").arg(&paths).arg("openat(AT_FDCWD, \"/usr/lib\", O_RDONLY)"));
    assert_eq!(unknown["call"]["unknown"], json!([1]));
    assert_eq!(first(&unknown), ("0x0005000e", false, vec!["user memory at 0x0, which is not there"]));
    // The plan has what no argument changes.
    let planned = json_of(command("explain").arg(&paths).arg("getpid()"));
    assert_eq!(first(&planned), ("0x7fff0000", true, vec![]));
    let text = printed(command("explain").arg(&paths).arg("getpid()"));
    assert!(
        text.contains(" (ebpf): 0x7fff0000 ALLOW\n  the plan has this value for all calls of the number"),
        "{text}"
    );
    assert!(text.ends_with("\n  asked of the system: nothing\n"), "{text}");
    let text =
        printed(command("explain").arg(&paths).args(["--memory", "0x1000=/etc"]).arg("openat(0, 0x1000)"));
    assert!(
        text.ends_with("(ebpf): 0x0005000d ERRNO(13 EACCES)\n  asked of the system: user memory at 0x1000\n"),
        "{text}"
    );
    // By another entry the filter kills, and that is planned for that entry.
    let foreign = json_of(command("explain").arg(&paths).args(["--arch", "i386", "--nr", "getpid"]));
    assert_eq!(first(&foreign), ("0x80000000", true, vec![]));
}

const ASKS: &str = r#"
#include "seccomp_filter.h"
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(max_entries, 64);
    __type(key, int);
    __type(value, __u64);
} storage SEC(".maps");

SEC("seccomp") int asks(const struct seccomp_data *data)
{
    char name[16];
    switch (data->nr) {
    case 0:
        return bpf_ktime_get_ns() ? 0x7fff0000 : 1;
    case 1:
        return (__u16)bpf_get_prandom_u32() | 0x7fff0000;
    case 2:
        return (__u16)bpf_get_current_pid_tgid() | 0x50000;
    case 3:
        return (__u32)bpf_get_current_uid_gid() | 0x50000;
    case 4:
        return bpf_get_current_comm(name, sizeof(name)) || name[0] != 's' ? 1 : 0x7fff0000;
    case 5:
        return bpf_task_storage_get(&storage, 0, 0, BPF_LOCAL_STORAGE_GET_F_CREATE) ? 0x7fff0000 : 1;
    case 6:
        bpf_printk("%d", data->nr);
        return 0x7fff0000;
    case 7:
        bpf_ktime_get_ns();
        bpf_ktime_get_ns();
        bpf_get_prandom_u32();
        bpf_ktime_get_ns();
        return 7;
    case 8:
        return data->instruction_pointer >> 32;
    }
    return 0x50026;
}
"#;

#[test]
fn each_question_to_the_system_is_told() {
    let folder = TempDir::new().unwrap();
    let path = object(&folder, "asks", ASKS);
    let asked = |nr: &str| json_of(command("explain").arg(&path).args(["--nr", nr, "--ip", "0x2a00000000"]));
    let [ids, user] = ["bpf_get_current_pid_tgid", "bpf_get_current_uid_gid"];
    for (nr, expected) in [
        ("0", vec!["bpf_ktime_get_ns"]),
        ("1", vec!["bpf_get_prandom_u32"]),
        ("2", vec![ids]),
        ("3", vec![user]),
        ("4", vec!["bpf_get_current_comm"]),
        ("5", vec!["storage of the task"]),
        ("6", vec!["bpf_trace_printk"]),
        ("7", vec!["bpf_ktime_get_ns", "bpf_get_prandom_u32", "bpf_ktime_get_ns"]),
        ("8", vec![]),
        ("9", vec![]),
    ] {
        let explained = asked(nr);
        let (value, planned, asked) = first(&explained);
        assert_eq!((planned, asked), (nr == "9", expected), "{nr}");
        match nr {
            "3" => assert_eq!(value, format!("{:#010x}", 0x50000 | uid()), "{nr}"),
            "2" => assert!(value.starts_with("0x0005"), "{nr} {value}"),
            "7" => assert_eq!(value, "0x00000007"),
            "8" => assert_eq!(value, "0x0000002a"),
            "9" => assert_eq!(value, "0x00050026"),
            _ => assert!(value.starts_with("0x7fff"), "{nr} {value}"),
        }
    }
    let trace = command("explain").arg(&path).args(["--nr", "6"]).assert().success().get_output().clone();
    assert_eq!(String::from_utf8(trace.stderr).unwrap(), "trace: 6\n");
}

/// This process's user, from its own file.
fn uid() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn entries_that_are_set_are_what_the_filter_finds() {
    let folder = TempDir::new().unwrap();
    let execs = example(&folder, "max-execs");
    let explained = |set: &[&str]| {
        let mut explain = command("explain");
        explain.arg(&execs).args(["--nr", "execve"]);
        json_of(explain.args(set.iter().flat_map(|entry| ["--set", *entry])))["value"].clone()
    };
    assert_eq!(explained(&[]), "0x7fff0000");
    let full = ["execs:0=7", "execs:1=7", "execs:2=7", "execs:3=7"];
    assert_eq!(explained(&full), "0x00050001");
    fails(
        command("explain").arg(&execs).args(["--nr", "execve", "--set", "nope:0=1"]),
        "no filter has a map nope",
    );
}

/// A stack of both kinds: who is strictest counts, and of equals the newest.
#[test]
fn filters_of_both_kinds_are_explained_together() {
    let folder = TempDir::new().unwrap();
    let paths = example(&folder, "open-prefix");
    let classic = |name: &str, value: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("ret #{value}\n")).unwrap();
        path
    };
    let (allow, deny) = (classic("allow.asm", "0x7fff0000"), classic("deny.asm", "0x50001"));
    let call = "openat(0, 0x1000, 0)";
    for (stack, winner, value) in [
        ([&allow, &paths], 1, "0x0005000e"),
        ([&paths, &allow], 0, "0x0005000e"),
        ([&deny, &paths], 1, "0x0005000e"),
        ([&paths, &deny], 1, "0x00050001"),
    ] {
        let explained = json_of(command("explain").args(stack).arg(call));
        assert_eq!((&explained["winner"], &explained["value"]), (&json!(winner), &json!(value)), "{stack:?}");
        let kinds: Vec<_> =
            stack.iter().map(|path| if *path == &paths { "ebpf" } else { "classic" }).collect();
        let shown = explained["filters"].as_array().unwrap().iter().map(|filter| filter["kind"].clone());
        assert_eq!(shown.collect::<Vec<_>>(), kinds);
        let eval = printed(command("eval").args(stack).args(["--nr", "openat", "--args", "0,0x1000"]));
        assert!(eval.starts_with(value), "{eval}");
        let equal = stack.contains(&&deny);
        let words =
            if equal { "all say ERRNO, and the newest counts" } else { "ERRNO is the strictest action" };
        assert_eq!(explained["reason"], words);
    }
}

/// `explain` and `table` say of random calls what `eval` says; what is planned is in the table.
#[test]
fn explain_and_table_agree_with_eval() {
    let mut rng = generate::seeded();
    let folder = TempDir::new().unwrap();
    let depends = "depends on arguments";
    for name in ["open-prefix", "deny-connect", "max-execs", "phases"] {
        let path = example(&folder, name);
        let table = json_of(command("table").arg(&path));
        assert_eq!((&table["arch"], &table["others"]["kind"]), (&json!("x86_64"), &json!(depends)));
        let rows = table["rows"].as_array().unwrap();
        let decision_of = |nr: i64| {
            let has = |row: &&Value| row["calls"].as_array().unwrap().iter().any(|call| call["nr"] == nr);
            &rows.iter().find(has).unwrap()["decision"]
        };
        // What phases decides depends on what was before, for every call.
        let has_planned = rows.iter().any(|row| row["decision"]["kind"] == "always");
        assert_eq!(has_planned, name != "phases", "{name}");
        for _ in 0..25 {
            let nr =
                *[0, 2, 42, 49, 59, 85, 257, 322, 39, rng.random_range(0..335)].choose(&mut rng).unwrap();
            let args = [(); 6].map(|()| *[0u64, 1, 0x1000, u64::MAX, rng.random()].choose(&mut rng).unwrap());
            let args = args.map(|arg| format!("{arg:#x}")).join(",");
            let memory =
                *["0x1000=/usr/x", "0x1000=/etc/x", "0x1000=\\x02\\0\\0\\x19"].choose(&mut rng).unwrap();
            let call = ["--nr", &nr.to_string(), "--args", &args, "--memory", memory];
            let explained = json_of(command("explain").arg(&path).args(call));
            let eval = printed(command("eval").arg(&path).args(call));
            let (value, planned, asked) = first(&explained);
            assert!(eval.starts_with(value), "{name} {call:?} {eval}");
            let decision = decision_of(nr);
            assert_eq!(decision["kind"] == "always", planned, "{name} {nr} {decision}");
            if planned {
                assert_eq!(decision["otherwise"]["value"], value, "{name} {nr}");
                assert!(asked.is_empty());
            }
        }
    }
    let text = printed(command("table").arg(folder.path().join("max-execs.o")));
    assert!(text.contains("depends on arguments:\n  execve execveat\n"), "{text}");
    assert!(text.starts_with("0x7fff0000 ALLOW ("), "{text}");
    assert!(text.ends_with("every other number:\n  depends on arguments\n"), "{text}");
    fails(
        command("diff").args([folder.path().join("max-execs.o"), folder.path().join("phases.o")]),
        "max-execs.o: ",
    );
}
