//! Colours, which terminals get and nothing else does.
//!
//! A colour only repeats what the words say. Whether a terminal wants any is what `anstream` finds: `NO_COLOR`,
//! `CLICOLOR`, `CLICOLOR_FORCE` and `TERM`.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::sync::LazyLock;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use seccomp_kernel::Action;

use crate::return_value::Words;

static STDOUT: LazyLock<bool> = LazyLock::new(|| wants(&io::stdout()));
static STDERR: LazyLock<bool> = LazyLock::new(|| wants(&io::stderr()));

fn wants(stream: &(impl anstream::stream::RawStream + IsTerminal)) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Whether standard output gets colours.
pub fn on_stdout() -> bool {
    *STDOUT
}

/// Text with a style, if it goes where colours are wanted.
pub struct Styled<T> {
    text: T,
    style: Option<Style>,
}

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            Some(style) => write!(f, "{style}{}{style:#}", self.text),
            None => self.text.fmt(f),
        }
    }
}

const fn colour(colour: AnsiColor) -> Style {
    colour.on_default()
}

const fn action_style(value: u32) -> Style {
    match Action::of(value) {
        Action::KillProcess | Action::KillThread | Action::Unknown(_) => colour(AnsiColor::Red).bold(),
        Action::Trap => colour(AnsiColor::Red),
        Action::Errno => colour(AnsiColor::Yellow),
        Action::UserNotif | Action::Trace => colour(AnsiColor::Magenta),
        Action::Log => colour(AnsiColor::Cyan),
        Action::Allow => colour(AnsiColor::Green),
    }
}

/// For standard output: what says what a filter returned.
pub fn decision<T>(value: u32, text: T) -> Styled<T> {
    Styled { text, style: on_stdout().then(|| action_style(value)) }
}

/// For standard output: what filters returned, in words.
pub fn words(value: u32) -> Styled<Words> {
    decision(value, Words(value))
}

/// For standard output: that all is well.
pub fn ok() -> Styled<&'static str> {
    Styled { text: "ok", style: on_stdout().then(|| colour(AnsiColor::Green)) }
}

/// For standard error: who speaks of a failure.
pub fn error<T>(text: T) -> Styled<T> {
    Styled { text, style: STDERR.then(|| colour(AnsiColor::Red).bold()) }
}

/// For standard error: that something is odd.
pub fn warning<T>(text: T) -> Styled<T> {
    Styled { text, style: STDERR.then(|| colour(AnsiColor::Yellow)) }
}

/// Text from elsewhere, such as a file's name: it stays on its line and says nothing to a terminal.
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Into<'a, 'f>(&'a mut fmt::Formatter<'f>);
        impl Write for Into<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c.is_control() || reorders(c) {
                    true => write!(self.0, "{}", c.escape_default()),
                    false => self.0.write_char(c),
                })
            }
        }
        write!(Into(f), "{}", self.0)
    }
}

/// Whether text around it is shown in another order (Unicode's `Bidi_Control`), or on another line.
const fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are() {
        let escaped = Escaped("gpj\u{202e}.\u{2066}é\u{301}\\\"\n\x1b[1m\u{9b}").to_string();
        assert_eq!(escaped, "gpj\\u{202e}.\\u{2066}é\u{301}\\\"\\n\\u{1b}[1m\\u{9b}");
    }
}
