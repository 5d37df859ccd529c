//! What is counted of a log, and how it is told.

use std::collections::HashMap;
use std::fmt;

use seccomp_kernel::Arch;
use serde_json::{Value, json};

use super::stack::{Outcome, Verdict};
use crate::json;
use crate::return_value::Words;
use crate::style::Escaped;

/// The most rows. A log can have calls of any number, and filters can answer as many values.
const MAX_ROWS: usize = 10_000;

/// As much is shown of a line.
const MAX_SHOWN: usize = 200;

/// Why a line is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// It is nothing that strace or `run --trace` writes.
    Line,
    /// There is no such system call.
    Name,
    /// It is one of the machine's other entry.
    Mode,
    /// It has more arguments than a system call.
    Arguments,
}

impl Trouble {
    fn words(self) -> &'static str {
        match self {
            Self::Line => "no line of strace or of run --trace",
            Self::Name => "no system call of that name at this entry",
            Self::Mode => {
                "a call of the machine's 32-bit entry, and nothing says that the program runs there: strace tells it on \
                 standard error, not in the file of -o; strace -n or --arch help"
            }
            Self::Arguments => "more arguments than a system call has",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Name => "name",
            Self::Mode => "mode",
            Self::Arguments => "arguments",
        }
    }
}

/// A line as it is shown: its number and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    line: u64,
    text: String,
}

impl Shown {
    /// Cuts the text to what is shown of it, and leaves terminals alone.
    pub fn new(line: u64, text: &str) -> Self {
        let text = text.trim_end();
        let cut = text.char_indices().nth(MAX_SHOWN).map(|(place, _)| place);
        let (shown, more) = cut.map_or((text, ""), |place| (&text[..place], "..."));
        Self { line, text: format!("{}{more}", Escaped(shown)) }
    }

    fn json(&self) -> Value {
        json!({"line": self.line, "text": self.text})
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    arch: u32,
    nr: i32,
    values: Vec<u32>,
    or_else: bool,
}

struct Row {
    count: u64,
    verdict: Verdict,
    first: Shown,
    because: Vec<String>,
}

/// How often each call would have been denied, and what else there was.
#[derive(Default)]
pub struct Tally {
    /// Lines of the log.
    pub lines: u64,
    /// Lines about something else than calls.
    pub other_lines: u64,
    allowed: u64,
    denied: u64,
    undecided: u64,
    not_understood: u64,
    /// Calls, denied or undecided, that found the table full.
    not_told_apart: u64,
    rows: HashMap<Key, Row>,
    troubles: HashMap<Trouble, (u64, Shown)>,
}

impl Tally {
    /// Counts a call. `because` says what is not known of it.
    pub fn call(
        &mut self,
        arch: u32,
        nr: i32,
        outcome: &Outcome,
        line: u64,
        text: &str,
        because: impl FnOnce() -> Vec<String>,
    ) {
        let verdict = outcome.verdict();
        let count = match verdict {
            Verdict::Allowed => &mut self.allowed,
            Verdict::Denied => &mut self.denied,
            Verdict::Undecided => &mut self.undecided,
        };
        *count += 1;
        if verdict == Verdict::Allowed {
            return;
        }
        let key =
            Key { arch, nr, values: outcome.values.iter().copied().collect(), or_else: outcome.or_else };
        if let Some(row) = self.rows.get_mut(&key) {
            row.count += 1;
            // Calls are counted when they have ended.
            if line < row.first.line {
                (row.first, row.because) = (Shown::new(line, text), because());
            }
        } else if self.rows.len() < MAX_ROWS {
            let row = Row { count: 1, verdict, first: Shown::new(line, text), because: because() };
            self.rows.insert(key, row);
        } else {
            self.not_told_apart += 1;
        }
    }

    /// Counts a line that is not understood.
    pub fn trouble(&mut self, trouble: Trouble, line: u64, text: &str) {
        self.not_understood += 1;
        let (count, first) = self.troubles.entry(trouble).or_insert_with(|| (0, Shown::new(line, text)));
        *count += 1;
        if line < first.line {
            *first = Shown::new(line, text);
        }
    }

    /// What is known of the log as a whole: whether something would have been denied.
    pub fn verdict(&self) -> Verdict {
        match (self.denied, self.undecided + self.not_understood) {
            (1.., _) => Verdict::Denied,
            (_, 1..) => Verdict::Undecided,
            _ => Verdict::Allowed,
        }
    }

    fn rows(&self, verdict: Verdict) -> Vec<(&Key, &Row)> {
        let mut rows: Vec<_> = self.rows.iter().filter(|(_, row)| row.verdict == verdict).collect();
        rows.sort_by_key(|(_, row)| (std::cmp::Reverse(row.count), row.first.line));
        rows
    }

    fn troubles(&self) -> Vec<(Trouble, &(u64, Shown))> {
        let mut troubles: Vec<_> = self.troubles.iter().map(|(trouble, first)| (*trouble, first)).collect();
        troubles.sort_by_key(|(trouble, _)| *trouble);
        troubles
    }

    fn calls(&self) -> u64 {
        self.allowed + self.denied + self.undecided
    }

    /// All of it, in the shape of docs/replay.md.
    pub fn json(&self) -> Value {
        let rows =
            |verdict| -> Vec<_> { self.rows(verdict).into_iter().map(|(key, row)| row.json(key)).collect() };
        let troubles: Vec<_> = self
            .troubles()
            .into_iter()
            .map(|(trouble, (count, first))| {
                json!({
                    "kind": trouble.key(),
                    "words": trouble.words(),
                    "count": count,
                    "first": first.json(),
                })
            })
            .collect();
        json!({
            "lines": self.lines,
            "other_lines": self.other_lines,
            "calls": self.calls(),
            "allowed": self.allowed,
            "denied": { "count": self.denied, "rows": rows(Verdict::Denied) },
            "undecided": { "count": self.undecided, "rows": rows(Verdict::Undecided) },
            "not_understood": { "count": self.not_understood, "kinds": troubles },
            "not_told_apart": self.not_told_apart,
        })
    }
}

impl Row {
    fn json(&self, key: &Key) -> Value {
        let entry = Arch::of_call(key.arch, key.nr);
        json!({
            "call": {
                "arch": entry.map(Arch::name),
                "audit_arch": format!("{:#010x}", key.arch),
                "nr": key.nr,
                "name": entry.and_then(|entry| entry.syscall_name(key.nr)),
            },
            "decisions": key.values.iter().map(|value| json::value(*value)).collect::<Vec<_>>(),
            "or_else": key.or_else,
            "count": self.count,
            "first": self.first.json(),
            "because": self.because,
        })
    }
}

impl Key {
    fn name(&self) -> String {
        let entry = Arch::of_call(self.arch, self.nr);
        match (entry.and_then(|entry| entry.syscall_name(self.nr)), entry) {
            (Some(name), Some(Arch::X86_64)) => name.into(),
            (Some(name), Some(entry)) => format!("{name} ({})", entry.name()),
            _ => format!("{} ({:#x})", self.nr, self.arch),
        }
    }

    fn decisions(&self) -> String {
        let words: Vec<_> = self.values.iter().map(|value| Words(*value).to_string()).collect();
        match (words.join(" or "), self.or_else) {
            (words, false) => words,
            (words, true) if words.is_empty() => "anything".into(),
            (words, true) => format!("{words} or stricter"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (verdict, title) in [(Verdict::Denied, "denied"), (Verdict::Undecided, "undecided")] {
            let rows = self.rows(verdict);
            if rows.is_empty() {
                continue;
            }
            writeln!(f, "{title:>10} {:>10}  {:<24} decision", "first line", "syscall")?;
            for (key, row) in rows {
                let Row { count, first, because, .. } = row;
                writeln!(f, "{count:>10} {:>10}  {:<24} {}", first.line, key.name(), key.decisions())?;
                writeln!(f, "{:23}{}", "", first.text)?;
                for reason in because {
                    writeln!(f, "{:23}{reason}", "")?;
                }
            }
            writeln!(f)?;
        }
        let troubles = self.troubles();
        if !troubles.is_empty() {
            writeln!(f, "{:>10} {:>10}  not understood because", "lines", "first line")?;
            for (trouble, (count, first)) in troubles {
                writeln!(f, "{count:>10} {:>10}  {}", first.line, trouble.words())?;
                writeln!(f, "{:23}{}", "", first.text)?;
            }
            writeln!(f)?;
        }
        if self.not_told_apart > 0 {
            writeln!(f, "{} calls found the table full and have no row", self.not_told_apart)?;
        }
        writeln!(
            f,
            "{} lines: {} calls, {} allowed, {} denied, {} undecided; {} lines not understood, {} of something else",
            self.lines,
            self.calls(),
            self.allowed,
            self.denied,
            self.undecided,
            self.not_understood,
            self.other_lines
        )
    }
}
