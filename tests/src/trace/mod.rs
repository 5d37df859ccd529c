//! Calls that filters leave to a tracer or a supervisor, on the kernel of this machine and by the library's
//! [`enter`], case by case.
//!
//! A case is a row (`row.rs` has the grammar): filters, what a tracer and a supervisor do, and one call. Both sides
//! tell what the two were asked and saw, what came of the call, and what was written to the audit log.
//!
//! [`enter`]: seccomp_kernel::enter()

mod host;
mod ours;
mod row;

use std::fmt;

use seccomp_kernel::Arch;
use seccomp_runtime::SeccompData;

use self::row::Row;
use crate::audit::{Event, Lost, Records, Sysctl};
use crate::mock::Engine;

/// Records may be lost where many are written, so each case is run this often.
const TRIES: usize = 5;

/// Runs every case of `rows` both ways and returns how many there were, and how many this kernel is too old for.
///
/// # Panics
///
/// The rows are malformed, this kernel does not let us ask it, or the two sides of a case differ.
pub fn check(rows: &str) -> (usize, usize) {
    const SHOWN: usize = 12;
    let rows = row::parse(rows).unwrap_or_else(|why| panic!("{why}"));
    let _sysctl = Sysctl::lock();
    let mut records = Records::new();
    let mut differences = Vec::new();
    let mut skipped = 0;
    for row in &rows {
        let Some((made, linux)) =
            (0..TRIES).find_map(|_| ask(row, &mut records).ok()).expect("no record was lost")
        else {
            skipped += 1;
            continue;
        };
        for engine in Engine::all() {
            let ours = ours::run(row, engine, made);
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
    (rows.len(), skipped)
}

/// A case on the host, with what was logged of it. `None` if the kernel is too old for it.
fn ask(row: &Row, records: &mut Records) -> Result<Option<(Made, Told)>, Lost> {
    let Some((made, told)) = host::run(row) else { return Ok(None) };
    let later = Event {
        comm: b"later".to_vec(),
        ids: (0, 0),
        filter: (0, row::Filter::logs(libc::SYS_getppid as i32).program()),
        entry: Arch::X86_64,
        nr: libc::SYS_getppid as i32,
    };
    let later = later.make();
    let record = records.of(made.pid, Some(later.pid))?;
    if record.is_some() {
        // It is told once, and nothing stays behind for the next.
        let more = records.of(made.pid, Some(later.pid))?;
        assert_eq!(more, None, "{}: a second record", row.name);
    }
    let logged = record.map(|record| {
        let at = record.find("sig=").expect("a record of seccomp");
        record[at..].to_owned()
    });
    Ok(Some((made, Told { logged, ..told })))
}

/// Who made a call, and where.
#[derive(Clone, Copy, Debug)]
struct Made {
    pid: i32,
    instruction_pointer: u64,
}

/// What is told of a case.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    asked: Vec<Asked>,
    /// What the supervisor was told of the call.
    notified: Option<SeccompData>,
    end: End,
    /// The end of the audit record.
    logged: Option<String>,
}

/// What the tracer was asked, and what it saw then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    message: u64,
    registers: Registers,
}

/// What a tracer can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Registers {
    nr: i64,
    args: [u64; 6],
    returned: i64,
}

/// What came of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Returned(i64),
    /// SIGSYS was handled.
    Trapped {
        errno: i32,
        syscall: i32,
        arch: u32,
        call_addr: u64,
        /// The return register in the handler, and so afterwards.
        returned: i64,
    },
    Killed(i32),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Asked { message, registers: Registers { nr, args, returned } } in &self.asked {
            write!(f, "asked with {message} at {nr}{args:x?} = {returned}; ")?;
        }
        if let Some(data) = self.notified {
            write!(f, "notified of {}{:x?}; ", data.nr, data.args)?;
        }
        write!(f, "{:x?}; logged {:?}", self.end, self.logged)
    }
}
