//! Failures: one line on standard error and an exit status.

use std::fmt::Display;
use std::io::{self, Write};

use cbpf_translator::{CheckError, LiftError};
use clap::error::ErrorKind;
use seccomp_rbpf::profile::TooLong;
use seccomp_runtime::verifier::VerifyError;

use crate::style::{self, Escaped};

/// The status of a program that Linux would refuse, or that is not proved safe.
const REFUSED: u8 = 1;

/// The status of bad usage, bad input and everything else.
const FAILED: u8 = 2;

/// The status of a program that died of SIGPIPE, as a shell shows it.
const BROKEN_PIPE: u8 = 128 + 13;

/// Reports an error. The result is the exit status.
pub fn error(error: &anyhow::Error) -> u8 {
    let broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(broken_pipe) {
        // Whoever read the output has enough.
        return BROKEN_PIPE;
    }
    line(style::error(NAME), format_args!("{error:#}"));
    if is_refused(error) { REFUSED } else { FAILED }
}

/// Whether it is of a program that Linux would refuse, or that is not proved safe.
pub fn is_refused(error: &anyhow::Error) -> bool {
    error.is::<CheckError>() || error.is::<LiftError>() || error.is::<VerifyError>() || error.is::<TooLong>()
}

/// Reports what clap has to say: help and version as they are, an error on one line. The result is the exit
/// status.
pub fn usage(error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match crate::output::text(help(error)) {
            Ok(()) => 0,
            Err(error) => self::error(&error),
        };
    }
    if error.kind() == ErrorKind::MissingSubcommand {
        line(style::error(NAME), "no command is given; --help lists them");
        return FAILED;
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let mut message = words(first);
    for tip in paragraphs.flat_map(str::lines).filter_map(|line| line.trim_start().strip_prefix("tip: ")) {
        message.push_str("; ");
        message.push_str(tip);
    }
    line(style::error(NAME), message);
    FAILED
}

/// Tells of something odd that nothing fails of.
pub fn warning(message: impl Display) {
    line(format_args!("{NAME} {}", style::warning("warning:")), message);
}

/// The text on one line.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Help, as clap styles it where colours are wanted.
fn help(error: &clap::Error) -> String {
    let text = error.render();
    if style::on_stdout() { text.ansi().to_string() } else { text.to_string() }
}

/// Who speaks.
const NAME: &str = "seccomp-rbpf:";

/// Writes a line to standard error. File names may hold anything; it stays one line and leaves a terminal
/// alone.
fn line(who: impl Display, message: impl Display) {
    // There is nowhere left to say that standard error is full or closed.
    let _ = writeln!(io::stderr(), "{who} {}", Escaped(message));
}
