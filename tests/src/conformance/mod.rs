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

use self::row::Row;
use crate::mock::Engine;

/// Runs every case of `rows` both ways and returns how many there were.
///
/// # Panics
///
/// The rows are malformed, this kernel does not let us ask it, or the transcripts of a case differ: the
/// message has the first of those.
pub fn check(rows: &str) -> usize {
    check_part(rows, 0, 1)
}

/// As [`check`], of the cases one in `parts`, from `part` on.
///
/// # Panics
///
/// As [`check`].
pub fn check_part(rows: &str, part: usize, parts: usize) -> usize {
    let cases = parsed(rows).into_iter().skip(part).step_by(parts);
    compare(cases.map(|case| (case.clone(), case)), Engine::all())
}

/// As [`check`], for the calls of uprobes, 335 and 336, which Linux lets past filters. That is a part of its
/// cache, as it is a part of plans here. So without a plan they are what Linux makes of 337 and 338, which mean
/// nothing to it.
///
/// # Panics
///
/// As [`check`].
pub fn check_uprobes(rows: &str) -> usize {
    let planned = |plan| Engine::all().filter(move |engine| engine.plan == plan);
    let others = ["335", "336", "0000014f"].into_iter().zip(["337", "338", "00000151"]);
    let others = others.fold(rows.to_owned(), |rows, (call, other)| {
        rows.replace(&format!("int80 {call}"), "int80 @").replace(call, other).replace('@', call)
    });
    let same = parsed(rows).into_iter().map(|case| (case.clone(), case));
    compare(same, planned(true)) + compare(parsed(&others).into_iter().zip(parsed(rows)), planned(false))
}

fn parsed(rows: &str) -> Vec<Row> {
    row::parse(rows).unwrap_or_else(|why| panic!("{why}"))
}

/// Compares what this kernel makes of the first of each two cases with what the library makes of the other.
fn compare(cases: impl Iterator<Item = (Row, Row)>, engines: impl Iterator<Item = Engine> + Clone) -> usize {
    const SHOWN: usize = 12;
    let host = host::Host::new();
    let mut differences = Vec::new();
    let mut count = 0;
    for (theirs, ours) in cases {
        let linux = host.run(&theirs);
        for engine in engines.clone() {
            let told = mock::run(&ours, engine, host.dumps_core());
            if told != linux {
                differences.push(format!("{} ({engine:?})\n  linux: {linux}\n  ours:  {told}", ours.name));
            }
        }
        count += 1;
    }
    let shown = differences.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    let runs = engines.count() * count;
    assert!(differences.is_empty(), "{} of {runs} runs differ:\n{shown}", differences.len());
    count
}
