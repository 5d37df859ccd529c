//! `bench` works and prints all that it measures. How fast things are is not for tests.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use seccomp_rbpf::cases;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineKind, Loaded, RbpfVm};
use tempfile::TempDir;

fn bench() -> Command {
    let mut command = Command::cargo_bin("seccomp-rbpf").expect("the command is built");
    command.args(["bench", "--quick"]);
    command
}

fn printed(command: &mut Command) -> String {
    let output = command.assert().success().stderr("").get_output().stdout.clone();
    String::from_utf8(output).expect("text")
}

/// The rows of the table whose title begins with this.
fn rows<'t>(text: &'t str, title: &str) -> Vec<&'t str> {
    let mut tables = text.split("\n\n").filter(|table| table.starts_with(title));
    let table = tables.next().unwrap_or_else(|| panic!("no table {title:?} in {text}"));
    assert!(tables.next().is_none(), "{title}");
    table.lines().skip(2).collect()
}

fn have(rows: &[&str], names: &[&str]) {
    assert_eq!(rows.len(), names.len(), "{rows:?}");
    for (row, name) in rows.iter().zip(names) {
        assert!(row.starts_with(name), "{row:?} is not about {name}");
        assert!(!row.contains("NaN"), "{row}");
    }
}

const ENGINES: [&str; 7] = [
    "empty call",
    "plan on jit",
    "plan on interpreter",
    "plan on native",
    "whole on jit",
    "whole on interpreter",
    "whole on native",
];

/// Of single filters.
fn engines() -> Vec<&'static str> {
    [&ENGINES[..], &["whole through rbpf's VM"]].concat()
}

#[test]
fn every_row_is_there() {
    let folder = TempDir::new().unwrap();
    let text = printed(bench().arg("--plot").arg(folder.path()));

    let single = ["docker-like, linear", "docker-like, tree", "10 rules", "longest"];
    let stacks = ["stack of 1, ", "stack of 8, ", "stack of 64, "];
    have(&rows(&text, "installing"), &single);
    let mut with_hand = engines();
    with_hand.insert(1, "by hand");
    for title in &single[..2] {
        have(&rows(&text, &format!("{title}, ")), &with_hand);
    }
    for title in ["10 rules, ", "longest, "] {
        have(&rows(&text, title), &engines());
    }
    for title in stacks {
        have(&rows(&text, title), &ENGINES);
    }
    have(&rows(&text, "getppid by number of rules"), &["10", "30", "100", "300", "1000", "2000", "40"]);
    have(&rows(&text, "getppid by number of filters"), &["1", "2", "4", "8", "16", "32", "64"]);
    let work = ["in Rust", "classic filter", "eBPF on jit", "eBPF on interpreter", "eBPF on native"];
    have(&rows(&text, "eBPF filters, by what they do"), &work);
    have(&rows(&text, "verifying eBPF"), &["100", "1000", "10000"]);
    let mut host = vec!["(a call without a filter)"];
    host.extend(single.iter().chain(&stacks));
    have(&rows(&text, "the host's own seccomp"), &host);
    have(&rows(&text, "evaluate on threads"), &["plan, docker-like", "no filter"]);
    let (_, figures) = text.split_once("\nfigures").expect("figures");
    assert_eq!(figures.lines().skip(1).filter(|line| line.contains("x")).count(), 7, "{figures}");

    for plot in ["cost-by-rules.svg", "cost-by-filters.svg"] {
        let svg = fs::read_to_string(folder.path().join(plot)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("plan on jit"), "{svg}");
    }
}

/// What stands next to the engines in the tables decides the same.
#[test]
fn rbpf_itself_decides_as_the_engines_do() {
    let policy = cases::docker_like().unwrap();
    for filter in
        [policy.linear(), policy.tree(), cases::rules(10), cases::longest().map(|(_, filter)| filter)]
    {
        let filter = filter.unwrap();
        let vm = RbpfVm::load(&filter, &HostExecMemory).unwrap();
        let native = Loaded::load(filter, EngineKind::Native, &HostExecMemory).unwrap();
        for call in cases::workload().into_iter().chain([&cases::CONSTANT, &cases::ARGUMENT]) {
            assert_eq!(vm.run(call), native.run(call), "{call:x?}");
        }
    }
}

#[test]
fn filters_from_files_are_measured_each_for_itself() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let (deny, allow) = (cases.join("deny-mkdir.bpfasm"), cases.join("allow.bpfasm"));
    let text = printed(bench().arg(&deny).arg(&allow));
    have(&rows(&text, &format!("{}, 9 instructions: ns a decision", deny.display())), &engines());
    have(&rows(&text, &format!("{}, 4 instructions: ns a decision", allow.display())), &engines());
    assert_eq!(rows(&text, "the host's own seccomp").len(), 3);
}
