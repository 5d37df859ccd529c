//! `graph`: what it writes can be read by those it is for, whatever filters and files are called.

use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::{env, fs};

use assert_cmd::Command;
use cbpf_translator::SockFilter;
use seccomp_tests::generate;
use serde_json::Value;
use tempfile::TempDir;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn graph(filter: &Path, options: &[&str]) -> String {
    let mut command = Command::cargo_bin("seccomp-rbpf").expect("the command is built");
    let output =
        command.arg("graph").arg(filter).args(options).assert().success().stderr("").get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// All text of an XML document, by a parser that is not ours.
fn text_of_xml(document: &str) -> String {
    const SCRIPT: &str = "import sys, xml.etree.ElementTree as t; \
                          print('\\n'.join(t.fromstring(sys.stdin.buffer.read()).itertext()))";
    let mut python = Program::new("python3");
    python.args(["-c", SCRIPT]).env("PYTHONIOENCODING", "utf-8").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().expect("python3");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "no XML: {document}");
    String::from_utf8(output.stdout).unwrap()
}

/// The statements of a graph, with the strings in them taken out.
fn statements_of_dot(dot: &str) -> (Vec<String>, Vec<String>) {
    let (mut plain, mut strings) = (String::new(), Vec::new());
    let mut characters = dot.chars();
    while let Some(c) = characters.next() {
        if c != '"' {
            plain.push(c);
            continue;
        }
        let mut string = String::new();
        loop {
            match characters.next().expect("a string ends") {
                '"' => break,
                '\\' => match characters.next().expect("a string ends") {
                    'l' => string.push('\n'),
                    c @ ('"' | '\\') => string.push(c),
                    other => panic!("\\{other} in {dot}"),
                },
                c => string.push(c),
            }
        }
        strings.push(string);
        plain.push('S');
    }
    let body = plain.trim().strip_prefix("digraph filter {").and_then(|rest| rest.strip_suffix('}')).unwrap();
    (body.split(';').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(), strings)
}

/// The picture in docs/graph.md is what the command draws.
#[test]
fn the_picture_in_the_documentation_is_true() {
    let drawn = graph(&repository("tests/cases/deny-mkdir.bpfasm"), &[]);
    let picture = repository("docs/deny-mkdir.svg");
    if env::var("SECCOMP_WRITE_CASES").is_ok_and(|value| value == "1") {
        fs::write(&picture, &drawn).unwrap();
    }
    assert!(fs::read_to_string(&picture).unwrap() == drawn, "SECCOMP_WRITE_CASES=1 writes it anew");
}

#[test]
fn a_picture_has_its_text_and_a_title() {
    let svg = graph(&repository("tests/cases/deny-mkdir.bpfasm"), &[]);
    let text = text_of_xml(&svg);
    for words in
        ["deny-mkdir.bpfasm", "arch == x86_64", "mkdir mkdirat", "ERRNO(1 EPERM)", "every other number"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("viewBox=") && svg.contains("<desc"));
}

#[test]
fn names_cannot_break_out() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a\"b\\<&]]>\u{1b}[31m\n;.bpfasm");
    fs::write(&path, "ld [0]\njeq #mkdir, a, b\na: ret #0\nb: ret #0x7fff0000\n").unwrap();
    let svg = graph(&path, &[]);
    assert!(text_of_xml(&svg).contains("a\"b\\<&]]>") && !svg.contains('\u{1b}'));
    let dot = graph(&path, &["--format", "dot"]);
    let (statements, strings) = statements_of_dot(&dot);
    assert!(strings[0].starts_with("a\"b\\<&amp;]]>") && !dot.contains('\u{1b}'), "{:?}", strings[0]);
    assert!(statements.len() > 5);
}

/// Also of programs as nobody writes them.
#[test]
fn every_format_can_be_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("filter.bpf");
    let mut rng = generate::seeded();
    for _ in 0..12 {
        let program = generate::program(&mut rng, 64);
        let bytes: Vec<u8> = program.iter().flat_map(|insn: &SockFilter| insn.to_ne_bytes()).collect();
        // Without bytes of control characters it would be text.
        if bytes.iter().all(|byte| byte.is_ascii_graphic()) {
            continue;
        }
        fs::write(&path, &bytes).unwrap();
        text_of_xml(&graph(&path, &[]));

        let (statements, _) = statements_of_dot(&graph(&path, &["--format", "dot"]));
        let is_name = |name: &str| name.strip_prefix('b').is_some_and(|rest| rest.parse::<u32>().is_ok());
        let known = ["rankdir=LR", "labelloc=t", "label=S", "node [", "edge ["];
        for statement in &statements {
            let words: Vec<_> = statement.split_whitespace().collect();
            let is_box = is_name(words[0]) && words[1].starts_with("[label=S");
            let is_arrow = words.len() > 2 && is_name(words[0]) && words[1] == "->" && is_name(words[2]);
            assert!(
                is_box || is_arrow || known.iter().any(|known| statement.starts_with(known)),
                "{statement}"
            );
        }

        let json: Value = serde_json::from_str(&graph(&path, &["--json"])).unwrap();
        let blocks = json["blocks"].as_array().unwrap();
        for edge in json["edges"].as_array().unwrap() {
            assert!(
                edge["from"].as_u64().unwrap() < edge["to"].as_u64().unwrap() || {
                    let to = &blocks[edge["to"].as_u64().unwrap() as usize];
                    to["end"]["kind"] == "return"
                }
            );
        }
        for block in blocks {
            let id = &block["id"];
            let edges = json["edges"].as_array().unwrap().iter().filter(|edge| edge["from"] == *id).count();
            match block["end"]["kind"].as_str().unwrap() {
                "return" => assert_eq!(edges, 0),
                "goto" => assert_eq!(edges, 1),
                "test" => assert_eq!(edges, 2),
                "cases" => assert!(edges > 1),
                other => panic!("{other}"),
            }
        }
    }
}

/// Blocks with loops and functions.
#[test]
fn filters_in_ebpf_are_drawn() {
    const SOURCE: &str = r#"
        struct data { int nr; unsigned arch; unsigned long long ip, args[6]; };
        static __attribute__((noinline)) int low(unsigned long long value) { return value & 0xff; }
        __attribute__((section("seccomp"))) int f(struct data *d) {
            if (d->nr == 83) return 0x50001;
            int sum = 0;
            #pragma clang loop unroll(disable)
            for (int i = 0; i < 9; i++) sum += low(d->args[0] >> sum) + i;
            return sum > 99 ? 0x7fff0000 : sum & 0xffff | 0x50000;
        }"#;
    let folder = TempDir::new().unwrap();
    let object = folder.path().join("filter.o");
    fs::write(&object, seccomp_tests::clang::compile(SOURCE, &["-O2", "-Wno-error"]).unwrap()).unwrap();
    let text = text_of_xml(&graph(&object, &[]));
    for words in ["== 0x53", "function at", "back to the caller", "to step", "returns r0"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    statements_of_dot(&graph(&object, &["--format", "dot"]));

    let constant = "__attribute__((section(\"seccomp\"))) int f(void *c) { (void)c; return 0x50001; }";
    fs::write(&object, seccomp_tests::clang::compile(constant, &["-O2", "-Wno-error"]).unwrap()).unwrap();
    let text = text_of_xml(&graph(&object, &[]));
    assert!(text.contains("ERRNO(1 EPERM)") && !text.contains("r0"), "{text}");
}

#[test]
fn failures_are_one_line() {
    let folder = TempDir::new().unwrap();
    let object = folder.path().join("filter.o");
    let source =
        "int f(void *c) __attribute__((section(\"seccomp\"))); int f(void *c) { (void)c; return 0; }";
    fs::write(&object, seccomp_tests::clang::compile(source, &["-O2"]).unwrap()).unwrap();
    let mut ebpf = Command::cargo_bin("seccomp-rbpf").unwrap();
    ebpf.args(["graph", "--json"]).arg(&object).assert().code(2).stdout("").stderr(format!(
        "seccomp-rbpf: {}: --json is for classic filters and profiles only\n",
        object.display()
    ));
    let mut full = Command::cargo_bin("seccomp-rbpf").unwrap();
    let filter = repository("tests/cases/deny-mkdir.bpfasm");
    full.arg("graph")
        .arg(&filter)
        .args(["-o", "/dev/full"])
        .assert()
        .code(2)
        .stdout("")
        .stderr("seccomp-rbpf: /dev/full: No space left on device (os error 28)\n");
    // A file with this name is not meant.
    let printed = |output: &[&str]| {
        let mut graph = Command::cargo_bin("seccomp-rbpf").unwrap();
        let graph = graph.current_dir(&folder).arg("graph").arg(&filter).args(output);
        graph.assert().success().get_output().stdout.clone()
    };
    assert_eq!(printed(&["-o", "-"]), printed(&[]));
    assert!(!folder.path().join("-").exists());
    let mut missing = Command::cargo_bin("seccomp-rbpf").unwrap();
    missing
        .args(["graph", "/nowhere"])
        .assert()
        .code(2)
        .stdout("")
        .stderr("seccomp-rbpf: /nowhere: No such file or directory (os error 2)\n");
}
