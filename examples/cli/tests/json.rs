//! The shapes in docs/json.md and docs/replay.md are those that the commands print.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[expect(dead_code, reason = "these are for programs that are carried")]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// The keys that a section of a document names.
fn documented(document: &str, section: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(path(document)).unwrap();
    let (_, rest) =
        text.split_once(&format!("## {section}\n")).unwrap_or_else(|| panic!("{document}: {section}"));
    let section = rest.split("\n## ").next().unwrap();
    let shapes = section.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("text\n"));
    let keys: BTreeSet<String> =
        shapes.flat_map(|shape| shape.split('"').skip(1).step_by(2)).map(String::from).collect();
    assert!(!keys.is_empty(), "{document}: {section}");
    keys
}

fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

struct Printed {
    status: i32,
    stderr: String,
    json: Value,
}

fn printed(folder: &TempDir, args: &[&str]) -> Printed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
    let output = command.current_dir(folder).args(args).output().unwrap();
    let json = serde_json::from_slice(&output.stdout);
    Printed {
        status: output.status.code().unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        json: json.unwrap_or_else(|error| panic!("{args:?}: {error}")),
    }
}

/// What these calls of a command print has the keys that a section names, and no others.
fn agree(folder: &TempDir, document: &str, section: &str, calls: &[&[&str]]) {
    let mut found = BTreeSet::new();
    for args in calls {
        keys(&printed(folder, args).json, &mut found);
    }
    assert_eq!(found, documented(document, section), "{document}: {section}");
}

const ARGUMENT: &str = "ld [0]\njeq #83, deny\njeq #41, more\nret #SECCOMP_RET_ALLOW\nmore: ld [16]\njeq #10, deny\n\
                        ret #SECCOMP_RET_ALLOW\ndeny: ret #SECCOMP_RET_ERRNO|1\n";

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    write("deny.bpfasm", ARGUMENT.as_bytes());
    write("bad.bpf", &[6, 0, 0, 0, 0, 0, 0, 0, 0x15, 0, 1, 9, 0, 0, 0, 0]);
    write("log", b"mkdir(\"x\", 0777) = 0\nsocket(AF_NOPE, 1, 0) = 3\nhello\n");
    write(
        "unsafe.c",
        b"#include \"seccomp_filter.h\"\nSEC(\"seccomp\") int f(const struct seccomp_data *data) { return *(int *)8; }\n",
    );
    let include = path("examples/extensions");
    for (source, object) in
        [(folder.path().join("unsafe.c"), "unsafe.o"), (include.join("count.c"), "count.o")]
    {
        let mut clang = Command::new("clang");
        clang.args(["-target", "bpf", "-O2", "-g", "-I"]).arg(&include).arg("-c").arg(source).arg("-o");
        assert!(clang.arg(folder.path().join(object)).status().unwrap().success());
    }
    folder
}

/// A process with this filter of `tests/cases`. It ends when it is dropped.
struct Confined(Child);

impl Confined {
    fn start(folder: &TempDir, case: &str) -> Self {
        let raw = folder.path().join("raw.bpf");
        let mut assemble = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
        assemble.arg("assemble").arg(path("tests/cases").join(case)).arg("-o").arg(&raw);
        assert!(assemble.status().unwrap().success());
        let mut install = Command::new(common::compile(folder.path(), "install", "-m64", &[]));
        let mut child = install.arg(&raw).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn every_documented_shape_is_what_is_printed() {
    let folder = folder();
    let agree = |document: &str, section: &str, calls: &[&[&str]]| agree(&folder, document, section, calls);
    let json = "docs/json.md";
    agree(json, "`check`", &[&["check", "--json", "deny.bpfasm", "bad.bpf", "/nowhere"]]);
    agree(json, "`verify`", &[&["verify", "--json", "count.o", "unsafe.o", "/nowhere"]]);
    agree(json, "`eval`", &[&["eval", "--json", "deny.bpfasm", "--nr", "mkdir"]]);
    agree(json, "`plan`", &[&["plan", "--json", "deny.bpfasm"]]);
    agree(json, "`disasm`", &[&["disasm", "--json", "deny.bpfasm"], &["disasm", "--json", "count.o"]]);
    agree(json, "`translate`", &[&["translate", "--format", "json", "deny.bpfasm"]]);
    let confined = Confined::start(&folder, "deny-mkdir.bpfasm");
    agree(json, "`dump`", &[&["dump", "--json", &confined.pid()]]);
    agree(json, "`run`", &[&["run", "--summary-json", "-", "true"]]);
    agree(json, "`bench`", &[&["bench", "--quick", "--json"]]);
    agree("docs/replay.md", "Result", &[&["replay", "--json", "deny.bpfasm", "log"]]);
    // Each command with a shape was asked.
    let text = fs::read_to_string(path(json)).unwrap();
    let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let asked = ["check", "verify", "eval", "plan", "disasm", "translate", "dump", "run", "bench"];
    assert_eq!(sections, asked.map(|command| format!("`{command}`")));
}

#[test]
fn failures_are_said_twice() {
    let folder = folder();
    let check = printed(&folder, &["check", "--json", "deny.bpfasm", "bad.bpf"]);
    assert_eq!(check.status, 1);
    let [good, bad] = [0, 1].map(|index| &check.json["filters"][index]);
    assert_eq!((&good["ok"], &good["classic"], &bad["ok"]), (&true.into(), &8.into(), &false.into()));
    let error = &bad["error"];
    assert_eq!((&error["refused"], &error["pc"]), (&true.into(), &1.into()));
    let message = error["message"].as_str().unwrap();
    assert_eq!(check.stderr, format!("seccomp-rbpf: {message}\n"));
    assert!(message.ends_with(error["reason"].as_str().unwrap()), "{error}");

    let verify = printed(&folder, &["verify", "--json", "unsafe.o", "/nowhere"]);
    assert_eq!(verify.status, 2);
    let [refused, missing] = [0, 1].map(|index| &verify.json["filters"][index]);
    assert!(refused["error"]["refused"] == true && refused["error"]["pc"].is_u64() && refused["name"] == "f");
    assert!(missing["error"]["refused"] == false && missing["name"].is_null(), "{missing}");
    assert_eq!(verify.stderr.lines().count(), 2);
}

#[test]
fn what_is_printed_is_what_the_text_says() {
    let folder = folder();
    let eval = printed(&folder, &["eval", "--json", "deny.bpfasm", "--nr", "socket", "--args", "10,-1"]).json;
    assert_eq!(
        eval,
        serde_json::json!({
            "call": {"arch": "x86_64", "nr": 41, "name": "socket", "instruction_pointer": "0x0",
                "args": ["0xa", "0xffffffffffffffff", "0x0", "0x0", "0x0", "0x0"]},
            "value": "0x00050001", "decision": "ERRNO(1 EPERM)", "from": "deny.bpfasm",
        })
    );
    fs::write(folder.path().join("calls"), "c000003e 83 0 0 0 0 0 0 0\n").unwrap();
    let line = printed(&folder, &["eval", "--json", "deny.bpfasm", "--batch", "calls"]).json;
    assert_eq!(
        line,
        serde_json::json!({"value": "0x00050001", "decision": "ERRNO(1 EPERM)", "from": "deny.bpfasm"})
    );
    let plan = printed(&folder, &["plan", "--json", "deny.bpfasm", "--nr", "mkdir"]).json;
    assert_eq!(
        plan["plan"],
        serde_json::json!({"kind": "constant", "then": {"value": "0x00050001", "decision": "ERRNO(1 EPERM)"}})
    );
    let disasm = printed(&folder, &["disasm", "--json", "deny.bpfasm"]).json;
    assert_eq!(
        disasm["instructions"][1],
        serde_json::json!({"pc": 1, "code": 0x15, "jt": 5, "jf": 0, "k": 83, "text": "jeq #83, L7, L2"})
    );
    let translate = printed(&folder, &["translate", "--format", "json", "deny.bpfasm"]).json;
    assert_eq!(
        translate["instructions"][0],
        serde_json::json!({"pc": 0, "bytes": "ac00000000000000", "text": "w0 ^= w0"})
    );
}

#[test]
fn dumped_filters_are_those_of_disasm() {
    let folder = folder();
    let confined = Confined::start(&folder, "deny-mkdir.bpfasm");
    let dump = printed(&folder, &["dump", "--json", &confined.pid()]).json;
    let disasm = printed(&folder, &["disasm", "--json", "raw.bpf"]).json;
    // It installs the first of its filters with the flag.
    let filter = serde_json::json!({"index": 0, "logs": true, "instructions": disasm["instructions"]});
    assert_eq!(dump, serde_json::json!({"filters": [filter]}));
    assert_eq!(printed(&folder, &["dump", "--json", "--filter", "0", &confined.pid()]).json, dump);
}

/// The summary in words, of which the JSON has to have every number.
#[test]
fn the_summary_is_written_as_it_is_printed() {
    let folder = folder();
    let run = |file: &str, program: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seccomp-rbpf"));
        command.current_dir(&folder).args(["run", "--summary", "--summary-json", file]);
        let output = command.args(["--filter", "deny.bpfasm", "--"]).args(program).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, printed) = run("summary", &["sh", "-c", "mkdir x 2>/dev/null; exit 3"]);
    assert_eq!(status, 3, "{printed}");
    let summary: Value = serde_json::from_slice(&fs::read(folder.path().join("summary")).unwrap()).unwrap();
    let rows = summary["rows"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let lines = rows.iter().map(|row| {
        let decisions = row["decisions"].as_array().unwrap().iter();
        let words: Vec<_> = decisions
            .map(|decision| format!("{} {}", decision["count"], decision["decision"].as_str().unwrap()))
            .collect();
        let name = row["call"]["name"].as_str().unwrap();
        let [count, denied] = ["count", "denied"].map(|key| number(&row[key]));
        format!("{count:>10} {denied:>10}  {name:<24} {}", words.join(", "))
    });
    let total = format!("{:>10} {:>10}  total", number(&summary["count"]), number(&summary["denied"]));
    let lines: Vec<_> = lines.chain([total]).collect();
    assert_eq!(lines, printed.lines().skip(1).collect::<Vec<_>>());
    let mkdir = rows.iter().find(|row| row["call"]["name"] == "mkdir").unwrap();
    let eperm = serde_json::json!([{"value": "0x00050001", "decision": "ERRNO(1 EPERM)", "count": 1}]);
    assert_eq!((&mkdir["decisions"], &mkdir["call"]["nr"]), (&eperm, &83.into()));

    let (status, printed) = run("/dev/full", &["true"]);
    assert_eq!(status, 2);
    assert!(
        printed.ends_with("\nseccomp-rbpf: /dev/full: No space left on device (os error 28)\n"),
        "{printed}"
    );
    // Nothing runs for nothing.
    for place in ["/no/such/folder/summary", "."] {
        let (status, printed) = run(place, &["touch", "ran"]);
        assert!(status == 2 && printed.lines().count() == 1 && printed.contains(place), "{printed}");
    }
    assert!(!folder.path().join("ran").exists());
}

#[test]
fn benchmarks_have_their_engines() {
    let folder = folder();
    let all = printed(&folder, &["bench", "--quick", "--json", "deny.bpfasm", "count.o"]).json;
    for (key, len) in
        [("installs", 1), ("decisions", 2), ("host", 2), ("verification", 0), ("threads", 0), ("figures", 0)]
    {
        assert_eq!(all[key].as_array().unwrap().len(), len, "{key}");
    }
    let grid = &all["decisions"][0];
    assert_eq!(
        (&grid["title"], &grid["base"]),
        (&"deny.bpfasm, 8 instructions".into(), &"plan on jit".into())
    );
    for cell in grid["cells"].as_array().unwrap() {
        let name = match (cell["plan"].as_bool(), cell["engine"].as_str()) {
            (Some(plan), Some(engine)) => format!("{} on {engine}", if plan { "plan" } else { "whole" }),
            _ => cell["row"].as_str().unwrap().into(),
        };
        assert!(cell["row"] == *name && name.contains(" on ") != cell["engine"].is_null(), "{cell}");
        let [low, high] = [0, 1].map(|index| cell["quartiles"][index].as_f64().unwrap());
        let nanos = cell["ns"].as_f64().unwrap();
        assert!(low > 0.0 && low <= nanos && nanos <= high, "{cell}");
        assert!(cell["row"] != grid["base"] || cell["ratio"] == 1.0, "{cell}");
    }
    let steps = all["installs"][0]["steps"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (&step["step"], &step["engine"], &step["plan"])).collect();
    let [check, .., planned] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(*check, (&"check".into(), &Value::Null, &Value::Null));
    assert_eq!(*planned, (&"load".into(), &"jit".into(), &true.into()));
}
