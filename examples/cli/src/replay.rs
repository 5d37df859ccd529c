//! `replay`: what filters would have decided about the calls of a log.

mod extension;
mod line;
mod stack;
mod tally;
mod tasks;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use seccomp_kernel::Arch;
use seccomp_rbpf::symbolic::{Field, Partial};
use seccomp_runtime::SeccompData;

use crate::filter::{self, Name};
use crate::profile_args::ProfileArgs;
use crate::strace::{self, Gap, NotRead, Prefix, Reading};
use crate::{arch, json, output};
use line::{End, Line};
use stack::{Outcome, Stack, Verdict};
use tally::{Tally, Trouble};
use tasks::{Begun, MAX_HEAD, Tasks};

/// Show what filters would have denied of a log of strace's, or of `run --trace`
///
/// Several filters stack as with `eval`. All that is not allowed or logged counts as denied. A decision that depends on
/// what the log does not show (what is at an address, the instruction pointer, constants whose names are not known
/// here) is undecided, and said so.
///
/// The exit status is 0 if nothing would have been denied, 1 if something would, and 3 if nothing would for certain,
/// but a call is undecided or a line was not understood.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  strace -f -o log make
  seccomp-rbpf replay profile.json log
  strace -f ls 2>&1 >/dev/null | seccomp-rbpf replay deny.bpfasm - --json")]
pub struct ReplayArgs {
    /// Filters as `eval` takes them, the oldest first, and behind them the log; - is standard input
    #[arg(value_name = "FILTER... LOG", required = true, num_args = 2..)]
    paths: Vec<PathBuf>,
    /// The machine's entry that the program begins at, and whose numbers names in filters have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/replay.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

/// The most bytes of a line that are looked at. Of a longer one, what is behind is not known.
const MAX_LINE: u64 = 1 << 20;

/// The status where something would have been denied.
const DENIED: u8 = 1;

/// The status where that is not known.
const UNDECIDED: u8 = 3;

pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.paths.iter().map(PathBuf::as_path))?;
    let (log, filters) = args.paths.split_last().context("no log")?;
    let stack = Stack::load(filters, args.arch, &args.profile)?;
    let mut replay = Replay::new(stack, args.arch);
    replay.read(log).with_context(|| Name(log).to_string())?;
    let tally = replay.finish();
    if args.json {
        json::print(&tally.json())?;
    } else {
        output::text(&tally)?;
    }
    Ok(match tally.verdict() {
        Verdict::Allowed => 0,
        Verdict::Denied => DENIED,
        Verdict::Undecided => UNDECIDED,
    }
    .into())
}

/// A log on its way through filters.
struct Replay {
    stack: Stack,
    tasks: Tasks,
    tally: Tally,
    /// A call in which a note of strace's stands; the next line is the rest of it.
    interrupted: Option<Begun>,
    /// The last call has no end, as if the program had written to the log.
    is_open: bool,
}

impl Replay {
    fn new(stack: Stack, arch: Arch) -> Self {
        Self { stack, tasks: Tasks::new(arch), tally: Tally::default(), interrupted: None, is_open: false }
    }

    fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut log = BufReader::with_capacity(1 << 16, filter::open(path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            let is_cut = line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE;
            if is_cut {
                log.skip_until(b'\n')?;
            }
            self.line(&line, is_cut)?;
        }
    }

    /// Takes the next line. One that is cut off was longer.
    fn line(&mut self, bytes: &[u8], is_cut: bool) -> anyhow::Result<()> {
        self.tally.lines += 1;
        let number = self.tally.lines;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let is_open = std::mem::take(&mut self.is_open);
        if let Some(mut begun) = self.interrupted.take() {
            if begun.text.len() + text.len() <= MAX_LINE as usize {
                begun.text.push_str(&text);
            }
            let text = std::mem::take(&mut begun.text);
            return match line::call(&text) {
                Line::Call { text, end } => self.begun(Begun { text: text.into(), ..begun }, end, is_cut),
                _ => Ok(()),
            };
        }
        let (prefix, parsed) = line::parse(&text);
        match parsed {
            Line::Call { text, end } => {
                let arch = self.tasks.arch(prefix.pid)?;
                let text = text.to_owned();
                self.begun(Begun { line: number, prefix, arch, text, is_counted: false }, end, is_cut)?;
            }
            Line::Resumed(name, rest) => {
                let arch = self.tasks.arch(prefix.pid)?;
                match self.tasks.resume(prefix.pid, name) {
                    Some(begun) if begun.is_counted => self.tally.other_lines += 1,
                    Some(mut begun) => {
                        self.tally.other_lines += 1;
                        begun.text.push_str(rest);
                        self.call(&begun, !is_cut);
                    }
                    None if self.tasks.has_dropped() => self.tally.other_lines += 1,
                    // The log begins in the middle of it.
                    None => {
                        let text = format!("{name}(<...");
                        let begun = Begun { line: number, prefix, arch, text, is_counted: false };
                        self.call(&begun, true);
                    }
                }
            }
            Line::Mode(pid, mode) => {
                if self.tasks.change(pid, mode)? {
                    self.tally.other_lines += 1;
                } else {
                    self.tally.trouble(Trouble::Mode, number, &text);
                }
            }
            Line::Exit => {
                self.tally.other_lines += 1;
                if let Some(begun) = self.tasks.exit(prefix.pid) {
                    self.call(&begun, true);
                }
            }
            Line::Traced(data) => self.traced(data, number, &text),
            Line::Other => self.tally.other_lines += 1,
            // What the program wrote stands before it.
            Line::Unknown if is_open && text.starts_with(')') => self.tally.other_lines += 1,
            Line::Unknown => self.tally.trouble(Trouble::Line, number, &text),
        }
        Ok(())
    }

    /// Takes a call, or the beginning of one.
    fn begun(&mut self, mut begun: Begun, end: End, is_cut: bool) -> anyhow::Result<()> {
        ensure!(begun.text.len() <= 2 * MAX_LINE as usize, "a line is too long");
        match end {
            End::Whole => {
                self.is_open = self.call(&begun, false);
            }
            End::Never => drop(self.call(&begun, true)),
            End::Interrupted if !is_cut => self.interrupted = Some(begun),
            End::Interrupted => drop(self.call(&begun, false)),
            End::Unfinished => {
                if begun.text.len() > MAX_HEAD {
                    self.call(&begun, true);
                    begun.is_counted = true;
                    let name = begun.text.find('(').map_or(0, |place| place + 1);
                    begun.text.truncate(name);
                }
                if let Some(other) = self.tasks.begin(begun) {
                    self.call(&other, true);
                }
            }
        }
        Ok(())
    }

    /// Counts a call as strace prints it. `true` if it has no end.
    fn call(&mut self, begun: &Begun, whole: bool) -> bool {
        if begun.is_counted {
            return false;
        }
        let Begun { line, prefix, text, .. } = begun;
        let (reading, arch) = match read(text, begun.arch, *prefix, whole) {
            Ok(read) => read,
            Err(trouble) => {
                self.tally.trouble(trouble, *line, text);
                return false;
            }
        };
        let partial = partial(&reading, reading.nr, arch, prefix.ip);
        let mut outcome = self.stack.decide(&partial);
        if let Some(other) = reading.or_nr {
            // Its arguments are in memory.
            let unknown = Reading::unknown(other);
            let either = self.stack.decide(&self::partial(&unknown, other, arch, prefix.ip));
            if *either != *outcome {
                let mut both = Outcome::clone(&outcome);
                both.values.extend(&either.values);
                both.or_else |= either.or_else;
                both.because = Some("it may have been made by socketcall(2) or ipc(2); strace -n tells");
                outcome = both.into();
            }
        }
        let because = || because(&outcome, &reading);
        self.tally.call(partial.data.arch, reading.nr, &outcome, *line, text, because);
        strace::is_open(text)
    }

    fn traced(&mut self, data: SeccompData, line: u64, text: &str) {
        let outcome = self.stack.decide(&stack::whole(data));
        let because = || outcome.because.map(String::from).into_iter().collect();
        self.tally.call(data.arch, data.nr, &outcome, line, text, because);
    }

    fn finish(mut self) -> Tally {
        let rest = self.tasks.rest();
        for begun in self.interrupted.take().into_iter().chain(rest) {
            self.call(&begun, true);
        }
        self.tally
    }
}

/// Reads a call, by the entry of its thread, or by the one that its number says.
fn read(text: &str, arch: Arch, prefix: Prefix, whole: bool) -> Result<(Reading, Arch), Trouble> {
    let name = text.split('(').next().unwrap_or_default();
    let other = match arch {
        Arch::X86_64 => Some(Arch::I386),
        Arch::I386 => Some(Arch::X86_64),
        Arch::Aarch64 => Some(Arch::Arm),
        Arch::Arm => Some(Arch::Aarch64),
        _ => None,
    };
    let has = |arch: Arch| prefix.nr.is_some_and(|nr| arch.syscall_name(nr) == Some(name));
    let arch = other.filter(|other| !has(arch) && has(*other)).unwrap_or(arch);
    match strace::read(text, arch, prefix.nr, whole) {
        Ok(reading) => Ok((reading, arch)),
        Err(NotRead::Shape) => Err(Trouble::Line),
        Err(NotRead::Arguments) => Err(Trouble::Arguments),
        Err(NotRead::Name) => Err(match other {
            Some(other) if other.syscall_number(name).is_some() => Trouble::Mode,
            _ => Trouble::Name,
        }),
    }
}

fn partial(reading: &Reading, nr: i32, arch: Arch, ip: Option<u64>) -> Partial {
    let data = SeccompData {
        nr,
        arch: arch.audit_arch(),
        instruction_pointer: ip.unwrap_or_default(),
        args: reading.args,
    };
    Partial { data, ip: if ip.is_some() { u64::MAX } else { 0 }, args: reading.known }
}

/// What is not known of a call, and counts.
fn because(outcome: &Outcome, reading: &Reading) -> Vec<String> {
    let fields = outcome.fields.iter().map(|field| match field {
        Field::Arg(index) => {
            let gap = reading.gaps.get(usize::from(*index)).unwrap_or(&Gap::NotShown);
            format!("{field}: {gap}")
        }
        Field::Ip => format!("{field}: not shown, strace -i does"),
        field => field.to_string(),
    });
    fields.chain(outcome.because.map(String::from)).collect()
}

#[cfg(test)]
mod tests;
