//! User notification on the kernel of this machine and on the library's state, case by case.
//!
//! A case is a row (`row.rs` has the grammar): what two targets and three supervisors of one listener do, step
//! by step. After each step everybody runs until all sleep; who has come to an end is told. Both sides get
//! the same numbers and bytes.

mod host;
mod ours;
mod row;

use seccomp_kernel::notify::{Errno, SeccompNotif};

use self::row::{Actor, Row};

/// The events that are asked for: `POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM`.
pub(crate) const EVENTS: u16 = 0x145;

/// Runs every case of `rows` both ways and returns how many there were.
///
/// # Panics
///
/// The rows are malformed, this kernel does not let us ask it, or the two sides of a case differ.
pub fn check(rows: &str) -> usize {
    const SHOWN: usize = 12;
    let rows = row::parse(rows).unwrap_or_else(|why| panic!("{why}"));
    let different = |row: &Row| {
        let (linux, ours) = (host::run(row), ours::run(row));
        (linux != ours)
            .then(|| format!("{}\n  linux: {}\n  ours:  {}", row.name, linux.join("; "), ours.join("; ")))
    };
    let differences: Vec<String> = rows.iter().filter_map(different).collect();
    let shown = differences.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {} cases differ:\n{shown}", differences.len(), rows.len());
    rows.len()
}

/// How somebody's call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It returned this.
    Returned(i64),
    /// It ran as if there were no filter.
    Allowed,
    /// RECV returned 0 and wrote this, with the id counted from 1 and the target as pid.
    Received(SeccompNotif),
    /// Poll found these.
    Polled(u32),
    /// It never returned.
    Killed,
    /// It was not made: its actor is still in another, or dead.
    Unmade,
}

/// The line of a step: who came to an end, and how.
fn line(mut ends: Vec<(Actor, End)>) -> String {
    ends.sort_by_key(|(actor, _)| actor.index());
    let ends: Vec<String> =
        ends.into_iter().map(|(actor, end)| format!("{} {}", actor.name(), told(end))).collect();
    if ends.is_empty() { "-".to_owned() } else { ends.join(", ") }
}

fn told(end: End) -> String {
    match end {
        End::Returned(value) => {
            let errno = i32::try_from(value.wrapping_neg()).ok().filter(|errno| (1..4096).contains(errno));
            let name = errno.and_then(|errno| Errno::new(errno).name());
            name.map_or_else(|| value.to_string(), str::to_owned)
        }
        End::Allowed => "allowed".to_owned(),
        End::Received(SeccompNotif { id, pid, flags, data }) => {
            format!("received {id} of {pid}, flags {flags}, call {}({:#x})", data.nr, data.args[0])
        }
        End::Polled(events) => format!("polled {events:#x}"),
        End::Killed => "killed".to_owned(),
        End::Unmade => "busy or dead".to_owned(),
    }
}
