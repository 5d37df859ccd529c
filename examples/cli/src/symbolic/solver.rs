//! An SMT solver as another process, for what following paths leaves undecided.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use cbpf_translator::Checked;
use easy_smt::{Context, ContextBuilder, Response};

use super::diff::{Difference, Differences, data};
use super::expr::WORDS;
use super::formula::Formula;
use crate::trace::trace;

/// One question may take a part of the time for all: this many take all of it.
const QUESTIONS: u32 = 3;

/// As much memory as z3 may have, in MiB.
const MEMORY: u32 = 4096;

/// coreutils' `timeout`, which ends a solver that does not end by itself.
const TIMEOUT: &str = "timeout";

/// A solver that speaks SMT-LIB, and how long it may be asked.
#[derive(Debug)]
pub struct Solver {
    program: OsString,
    until: Instant,
    question: Duration,
}

/// Why a solver has left something undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsolved {
    /// It, or coreutils' `timeout`, is not installed.
    Missing,
    /// It had no answer in the time that it has, or says that it has none.
    GaveUp,
    /// It ended, or said what is no answer.
    Failed,
}

impl fmt::Display for Unsolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is not installed",
            Self::GaveUp => "had no answer in the time that it has",
            Self::Failed => "gave no answer",
        })
    }
}

impl Error for Unsolved {}

/// Calls of which there may be one.
enum Found {
    None,
    Call([u32; WORDS]),
}

impl Solver {
    /// The solver of this name or path: z3, or cvc5. From now on it may be asked for so long, and for a third of
    /// that each time.
    pub fn new(program: impl Into<OsString>, time: Duration) -> Self {
        let now = Instant::now();
        Self {
            program: program.into(),
            until: now.checked_add(time).unwrap_or(now),
            question: time / QUESTIONS,
        }
    }

    /// Asks for a call that has what `say` says. Each question has a process of its own: a solver that keeps what it was
    /// told before reasons worse.
    fn ask(&self, say: impl Fn(&mut Formula<'_>) -> io::Result<()>) -> Result<Found, Unsolved> {
        let left = self.until.saturating_duration_since(Instant::now()).min(self.question);
        if left.is_zero() {
            return Err(Unsolved::GaveUp);
        }
        if !(is_installed(OsStr::new(TIMEOUT)) && is_installed(&self.program)) {
            return Err(Unsolved::Missing);
        }
        let ends = Instant::now() + left;
        let answer = self.start(left).and_then(|mut smt| {
            let mut formula = Formula::new(&mut smt)?;
            say(&mut formula)?;
            let words = formula.words();
            Ok(match smt.check()? {
                Response::Unsat => Ok(Found::None),
                Response::Unknown => Err(Unsolved::GaveUp),
                Response::Sat => values(&mut smt, words)?.map(Found::Call).ok_or(Unsolved::Failed),
            })
        });
        // One that was ended by force has no answer either.
        answer.unwrap_or(Err(if Instant::now() >= ends { Unsolved::GaveUp } else { Unsolved::Failed }))
    }

    fn start(&self, time: Duration) -> io::Result<Context> {
        let is_cvc5 = Path::new(&self.program)
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"cvc5"));
        let memory = format!("-memory:{MEMORY}");
        let options = if is_cvc5 { ["--quiet", "--lang=smt2"] } else { ["-in", &memory] };
        let seconds = format!("{:.3}", time.as_secs_f64());
        let arguments = ["--signal=KILL", &seconds].map(OsString::from).into_iter();
        let arguments = arguments.chain([self.program.clone()]).chain(options.map(OsString::from));
        ContextBuilder::new().solver(TIMEOUT).solver_args(arguments).build()
    }
}

/// Whether a program is there to be run.
fn is_installed(program: &OsStr) -> bool {
    if Path::new(program).components().count() > 1 {
        return Path::new(program).is_file();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What these constants are in the call that was found; `None` if the solver does not say it.
fn values(smt: &mut Context, words: [easy_smt::SExpr; WORDS]) -> io::Result<Option<[u32; WORDS]>> {
    // `Context::get_value` takes for granted that the answer is a list of pairs.
    let asked = smt.list(vec![smt.atom("get-value"), smt.list(words.to_vec())]);
    smt.raw_send(asked)?;
    let answer = smt.raw_recv()?;
    let mut values = [0; WORDS];
    let pairs = smt.get_list(answer).unwrap_or_default();
    if pairs.len() != WORDS {
        return Ok(None);
    }
    for ((pair, word), to) in pairs.iter().zip(words).zip(&mut values) {
        let value = match smt.get_list(*pair) {
            Some([name, value]) if *name == word => smt.get_atom(*value).and_then(number),
            _ => None,
        };
        let Some(value) = value else { return Ok(None) };
        *to = value;
    }
    Ok(Some(values))
}

/// A bit vector of 32 as SMT-LIB writes it.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.split_at_checked(2)? {
        ("#x", digits) => (digits, 16),
        ("#b", digits) => (digits, 2),
        _ => return None,
    };
    u32::from_str_radix(digits, radix).ok()
}

impl Differences {
    /// Lets a solver decide what is undecided of the two programs that were compared. What it finds is run through both
    /// before it counts.
    ///
    /// # Errors
    ///
    /// Something is still undecided, because of this.
    pub fn decide(&mut self, programs: [&Checked; 2], solver: &Solver) -> Result<(), Unsolved> {
        if !self.undecided {
            return Ok(());
        }
        let mut trouble = Ok(());
        let mut whole = None;
        if self.found.is_empty() {
            let found = solver.call(programs, |formula| formula.assert_differ(programs));
            match found {
                Ok(None) => {
                    self.undecided = false;
                    self.left.clear();
                    return Ok(());
                }
                Ok(witness) => whole = witness,
                // Each by itself may be easier.
                Err(Unsolved::Missing) => return Err(Unsolved::Missing),
                Err(error) => trouble = Err(error),
            }
        }
        // Where all paths were followed, these are all that is left.
        if !self.cut {
            trouble = Ok(());
        }
        let mut left = std::mem::take(&mut self.left);
        left.retain(|(facts, values)| {
            match solver.call(programs, |formula| formula.assert_facts(&self.exprs, facts)) {
                Ok(witness) => {
                    let facts = Some(facts.clone());
                    let difference = witness.map(|witness| Difference { facts, values: *values, witness });
                    self.found.extend(difference);
                    false
                }
                Err(error) => {
                    trouble = Err(error);
                    true
                }
            }
        });
        self.left = left;
        self.undecided = self.cut || !self.left.is_empty();
        if self.found.is_empty() {
            // Only that there is one is known of what was not followed.
            let difference = whole.map(|witness| Difference { facts: None, values: [None; 2], witness });
            self.found.extend(difference);
        }
        trouble
    }
}

impl Solver {
    /// A call that has what `say` says, and that the programs decide otherwise; of an architecture that there is, if
    /// one is found.
    fn call(
        &self,
        programs: [&Checked; 2],
        say: impl Fn(&mut Formula<'_>) -> io::Result<()>,
    ) -> Result<Option<seccomp_runtime::SeccompData>, Unsolved> {
        let Found::Call(words) = self.ask(&say)? else { return Ok(None) };
        let usual = self.ask(|formula| {
            formula.assert_usual()?;
            say(formula)
        });
        let calls = [usual, Ok(Found::Call(words))].into_iter().filter_map(|found| match found {
            Ok(Found::Call(words)) => Some(data(words)),
            _ => None,
        });
        let differ = |call: &seccomp_runtime::SeccompData| {
            let [a, b] = programs.map(|program| trace(program, call).value);
            a != b
        };
        // A solver that is wrong decides nothing.
        calls.into_iter().find(differ).map(Some).ok_or(Unsolved::Failed)
    }
}
