//! What happened, in words that are the same whoever ran the case.

use std::fmt::{self, Write};

use seccomp_kernel::Sigsys;
use syscalls::Errno;

use super::plan::dispatched_by;
use super::row::{Action, Call, Letter, Step};
use crate::mock::End;

/// What came of a step.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was not reached, or the thread was no more.
    Unreached,
    /// The thread did not come back from it.
    Gone,
    /// A call, or what is like one, returned.
    Returned {
        /// Returns of 0 before this one.
        zeros: u32,
        /// The return register.
        value: i64,
        /// The SIGSYS that was handled meanwhile; its address is the distance from where the call was made.
        sigsys: Option<Sigsys>,
        /// The bytes that the step shows.
        shown: Vec<u8>,
    },
    /// These are a thread's seccomp lines.
    Status(String),
    /// A child process ended so, or came to the end of its steps.
    Child(Option<End>),
}

/// A case that was run.
#[derive(Clone, Debug)]
pub struct Run {
    /// For each step, what came of it.
    pub outcomes: Vec<Outcome>,
    /// The ids of the threads.
    pub tids: Vec<i32>,
    /// How the process ended, if no thread came to the end of the steps.
    pub end: Option<End>,
}

/// A run in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript(Vec<String>);

impl Transcript {
    /// Tells a run. Where `cores` is false nobody knows whether a process that was killed left a core.
    pub fn new(steps: &[Step<u64>], run: &Run, cores: bool) -> Self {
        let mut lines = Vec::new();
        for (step, outcome) in steps.iter().zip(&run.outcomes) {
            let what = match outcome {
                Outcome::Unreached => continue,
                Outcome::Gone => "gone".to_owned(),
                Outcome::Returned { zeros, value, sigsys, shown } => {
                    returned(step, run, *zeros, *value, *sigsys, shown)
                }
                Outcome::Status(lines) => lines.clone(),
                Outcome::Child(None) => "child done".to_owned(),
                Outcome::Child(Some(end)) => format!("child {}", ended(*end, cores)),
            };
            lines.push(format!("{}: {what}", Letter::name(step.thread.index())));
        }
        lines.extend(run.end.map(|end| ended(end, cores)));
        Self(lines)
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

fn returned(
    step: &Step<u64>,
    run: &Run,
    zeros: u32,
    value: i64,
    sigsys: Option<Sigsys>,
    shown: &[u8],
) -> String {
    let mut text = String::new();
    if zeros > 0 {
        text += &format!("{zeros} times 0, then ");
    }
    match (sigsys, &step.action) {
        (Some(Sigsys { errno, call_addr, syscall, arch }), _) => {
            let _ = write!(text, "SIGSYS {errno} {syscall} {arch:x} {call_addr:+}, then {value}");
        }
        (None, Action::Call(call)) => text += &call_value(call, run, value),
        (None, _) => text += &number(value),
    }
    if !shown.is_empty() {
        let _ = write!(text, " {shown:02x?}");
    }
    text
}

fn call_value(call: &Call<u64>, run: &Run, value: i64) -> String {
    match dispatched_by(call).syscall_name(call.nr) {
        Some("getpid" | "getppid" | "gettid") if value > 0 => "allowed".to_owned(),
        Some("seccomp") if value > 0 => match run.tids.iter().position(|tid| i64::from(*tid) == value) {
            Some(index) => format!("thread {}", Letter::name(index)),
            None => number(value),
        },
        _ => number(value),
    }
}

/// A value, by name if it is an errno.
fn number(value: i64) -> String {
    let errno = i32::try_from(-value).ok().filter(|errno| (1..4096).contains(errno));
    match errno.and_then(|errno| Errno::new(errno).name()) {
        Some(name) => name.to_owned(),
        None => value.to_string(),
    }
}

fn ended(end: End, cores: bool) -> String {
    match end {
        End::Exited(status) => format!("exited {status}"),
        End::Killed { signal, .. } if !cores => format!("killed by {signal}"),
        End::Killed { signal, core: true } => format!("killed by {signal} with a core"),
        End::Killed { signal, core: false } => format!("killed by {signal} without a core"),
    }
}
