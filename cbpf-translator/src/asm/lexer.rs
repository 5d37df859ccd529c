//! Source text to tokens.

/// A word, a number, or one character of anything else. Empty at the end of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// The byte of the source it begins at.
    pub(super) at: usize,
}

impl Token<'_> {
    pub(super) fn end(self) -> usize {
        self.at.saturating_add(self.text.len())
    }

    pub(super) fn is_end_of_source(self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn is_word(self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }

    pub(super) fn is_number(self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_digit())
    }

    /// Keywords are the same in either case, as in `bpf_asm`.
    pub(super) fn is(self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }
}

/// What is left of the source.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    source: &'a str,
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    /// The token of a comment that is never closed. No other token has two punctuation characters.
    pub(super) const UNCLOSED: &'static str = "/*";

    pub(super) fn new(source: &'a str) -> Self {
        Self { source, rest: source }
    }

    pub(super) fn next_token(&mut self) -> Token<'a> {
        self.skip_blanks();
        let at = self.at();
        let other = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let len = match self.rest.find(other) {
            Some(0) if self.rest.starts_with(Self::UNCLOSED) => Self::UNCLOSED.len(),
            Some(0) => self.rest.chars().next().map_or(0, char::len_utf8),
            Some(len) => len,
            None => self.rest.len(),
        };
        let (text, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        Token { text, at }
    }

    fn at(&self) -> usize {
        self.source.len().saturating_sub(self.rest.len())
    }

    fn at_line_start(&self) -> bool {
        self.source.get(..self.at()).is_none_or(|before| before.is_empty() || before.ends_with('\n'))
    }

    /// Skips white space and comments, but not a comment that is never closed.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            // `bpf_asm` skips what a C preprocessor leaves: lines with # in the first column.
            let directive = self.rest.starts_with('#') && self.at_line_start();
            if directive || self.rest.starts_with(';') || self.rest.starts_with("//") {
                self.rest = self.rest.trim_start_matches(|c| c != '\n');
            } else if let Some(comment) = self.rest.strip_prefix("/*")
                && let Some((_, rest)) = comment.split_once("*/")
            {
                self.rest = rest;
            } else {
                return;
            }
        }
    }
}
