//! Cases that run twice, on the kernel of this machine and on the library over the mock kernel, and must
//! tell the same story. Nobody writes expected values: Linux is asked.
//!
//! A row of a file (`row.rs` has the grammar) is a name and what threads do, step by step; `{a, b}` in it makes
//! it several cases. A case becomes a plan: steps whose arguments are numbers, and the memory that those
//! point to. The host runs it in a forked child and the mock kernel on each engine, and both runs are told in
//! the same words.

mod host;
mod mock;
mod plan;
mod row;
mod transcript;

use crate::mock::Engine;

/// Runs every case of `rows` both ways and returns how many there were.
///
/// # Panics
///
/// The rows are malformed, this kernel does not let us ask it, or the transcripts of a case differ: the
/// message has the first of those.
pub fn check(rows: &str) -> usize {
    const SHOWN: usize = 12;
    let rows = row::parse(rows).unwrap_or_else(|why| panic!("{why}"));
    let host = host::Host::new();
    let mut differences = Vec::new();
    for row in &rows {
        let linux = host.run(row);
        for engine in Engine::all() {
            let ours = mock::run(row, engine, host.dumps_core());
            if ours != linux {
                differences.push(format!("{} ({engine:?})\n  linux: {linux}\n  ours:  {ours}", row.name));
            }
        }
    }
    let shown = differences.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(
        differences.is_empty(),
        "{} of {} runs differ:\n{shown}",
        differences.len(),
        Engine::all().count() * rows.len()
    );
    rows.len()
}
