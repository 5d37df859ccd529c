//! The shapes in docs/json.md and docs/replay.md are those that the commands print.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    agree("docs/replay.md", "Result", &[&["replay", "--json", "deny.bpfasm", "log"]]);
    // Each command with a shape was asked.
    let text = fs::read_to_string(path(json)).unwrap();
    let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, ["`check`", "`verify`", "`eval`", "`plan`", "`disasm`", "`translate`"]);
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
