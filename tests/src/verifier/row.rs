//! Rows: a name in brackets, the program, and behind `=>` what the verifier says of it: `ok`, or the error.

use std::fs;
use std::path::{Path, PathBuf};

use cbpf_translator::Insn;

use super::asm::assemble;

/// A program and the verifier's answer.
#[derive(Clone, Debug)]
pub struct Row {
    /// The file's name and the row's.
    pub name: String,
    /// The program.
    pub program: Vec<Insn>,
    /// `ok`, or the error.
    pub answer: String,
}

/// Where the rows are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/verifier")
}

/// Every row of every file.
///
/// # Panics
///
/// A file is not there, or a row is none.
pub fn all() -> Vec<Row> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory())
        .expect("the cases are there")
        .map(|entry| entry.expect("the directory can be read").path())
        .collect();
    files.sort();
    files.iter().flat_map(|file| parse(file)).collect()
}

fn parse(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).expect("the file can be read");
    let topic = file.file_stem().expect("it has a name").display();
    let mut rows = Vec::new();
    let mut name = None;
    let mut program = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            assert!(name.is_none(), "{topic}: {name:?} has no answer");
            name = Some(format!("{topic}: {title}"));
        } else if let Some(answer) = line.strip_prefix("=>") {
            let name = name.take().unwrap_or_else(|| panic!("{topic}: {answer} has no program"));
            let program =
                assemble(&std::mem::take(&mut program)).unwrap_or_else(|error| panic!("{name}: {error}"));
            rows.push(Row { name, program, answer: answer.trim().into() });
        } else {
            program.push_str(line);
            program.push('\n');
        }
    }
    assert!(name.is_none(), "{topic}: {name:?} has no answer");
    rows
}
