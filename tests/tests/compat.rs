//! `docs/linux-compat.md` names tests that exist, and leaves no file of cases out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A row's place and its three cells: the behaviour, Linux's functions, the tests.
type Row<'d> = (usize, [&'d str; 3]);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    fs::read_to_string(root().join("docs/linux-compat.md")).expect("the document is there")
}

fn rows(document: &str) -> Vec<Row<'_>> {
    let is_row = |line: &str| line.starts_with("| ") && !line.starts_with("| behaviour |");
    let cells = |line: &str| line.split('|').count();
    let lines = (1..).zip(document.lines()).filter(|(_, line)| is_row(line));
    lines
        .map(|(at, line)| {
            assert_eq!(cells(line), 5, "line {at} does not have three cells");
            let mut cells = line.split('|').skip(1).map(str::trim);
            (at, [(); 3].map(|()| cells.next().expect("three cells")))
        })
        .collect()
}

/// What stands in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether `source` has a test of this name that is run; `*` is any.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let tests = lines.iter().enumerate().filter(|(_, line)| **line == "#[test]");
    tests.into_iter().any(|(at, _)| {
        let behind = &lines[at + 1..];
        let function = behind.iter().position(|line| line.starts_with("fn ")).map_or(behind.len(), |at| at);
        let ignored = behind[..function].iter().any(|line| line.starts_with("#[ignore"));
        let named = behind.get(function).and_then(|line| line["fn ".len()..].split(['(', '<']).next());
        !ignored && (name == "*" || named == Some(name))
    })
}

/// Whether a file of cases has a row of this name; `*` is any.
fn has_row(source: &str, name: &str) -> bool {
    source.lines().any(|line| match line.split_once(" |") {
        Some((row, _)) => !line.starts_with(['#', '$', ' ']) && (name == "*" || row == name),
        None => false,
    })
}

#[test]
fn every_test_that_is_named_exists() {
    let document = document();
    let rows = rows(&document);
    assert!(rows.len() > 40, "{} rows", rows.len());
    let mut sources = BTreeMap::new();
    for (at, [behaviour, functions, shown]) in rows {
        assert!(quoted(functions).next().is_some(), "line {at}: no function of Linux: {behaviour}");
        assert!(quoted(shown).next().is_some(), "line {at}: no test: {behaviour}");
        for reference in quoted(shown) {
            let (path, name) = reference.split_once(": ").unwrap_or_else(|| panic!("line {at}: {reference}"));
            let source = sources.entry(path).or_insert_with(|| {
                fs::read_to_string(root().join(path))
                    .unwrap_or_else(|error| panic!("line {at}: {path}: {error}"))
            });
            let found = if path.ends_with(".rows") { has_row(source, name) } else { has_test(source, name) };
            assert!(found, "line {at}: {path} has no {name}");
        }
    }
}

#[test]
fn no_file_of_cases_is_left_out() {
    let document = document();
    for entry in fs::read_dir(root().join("tests/cases")).expect("the cases are there") {
        let name = entry.expect("it can be listed").file_name().into_string().expect("a name in ASCII");
        let named = document.contains(&format!("`tests/cases/{name}: "));
        assert!(named || !name.ends_with(".rows"), "{name}");
    }
}

#[test]
fn a_test_is_one_that_runs() {
    let source = "#[test]\nfn one() {}\n#[test]\n#[ignore]\nfn two() {}\nfn three() {}\n";
    assert_eq!(
        ["one", "two", "three", "on", "*"].map(|name| has_test(source, name)),
        [true, false, false, false, true]
    );
    assert!(!has_test("#[test]\n#[ignore = \"slow\"]\nfn two() {}\n", "*"));
    let rows = "# no | row\n$no = |\nis one | x;\n  nor this | y\n";
    assert_eq!(
        ["is one", "no", "nor this", "is", "*"].map(|name| has_row(rows, name)),
        [true, false, false, false, true]
    );
}
