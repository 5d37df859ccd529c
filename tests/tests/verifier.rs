//! Which eBPF programs are safe, by rows.

use std::collections::HashSet;

use seccomp_runtime::verifier::{Log, Program, State, verify, verify_logged};
use seccomp_tests::verifier::environment::ENVIRONMENT;
use seccomp_tests::verifier::row;

/// The states on the way, for a row that went wrong.
#[derive(Default)]
struct Lines(Vec<String>);

impl Log for Lines {
    fn visit(&mut self, pc: usize, state: &State) {
        self.0.push(format!("{pc}: {state}"));
    }
}

#[test]
fn rows() {
    let rows = row::all();
    let mut wrong = Vec::new();
    for row in &rows {
        let answer = match verify(Program::new(row.program.clone()), &ENVIRONMENT) {
            Ok(_) => "ok".into(),
            Err(error) => error.to_string(),
        };
        if answer != row.answer {
            let mut log = Lines::default();
            let _ = verify_logged(Program::new(row.program.clone()), &ENVIRONMENT, &mut log);
            log.0.truncate(60);
            wrong.push(format!("[{}]\n{}\n=> {answer}\nnot {}", row.name, log.0.join("\n"), row.answer));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
    println!("{} rows", rows.len());
}

#[test]
fn rows_have_names_of_their_own() {
    let mut names = HashSet::new();
    for row in row::all() {
        assert!(names.insert(row.name.clone()), "{} is there twice", row.name);
    }
}
