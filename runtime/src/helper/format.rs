//! Lines that programs print.

use core::fmt::{self, Write};

/// The most bytes of a line; what is longer is cut.
pub(super) const MAX_LINE: usize = 128;

/// A line, without memory of its own.
pub(super) struct Line {
    bytes: [u8; MAX_LINE],
    len: usize,
}

impl Line {
    /// `format` with its `%d`, `%i`, `%u`, `%x`, `%X` and `%c`, each with `l` or `ll` or without, taken from
    /// `numbers` one after the other; without `l` a number has 32 bits. `%%` is a percent sign. `None` if there
    /// is anything else behind a percent sign, or are more than there are numbers, or it is not ASCII.
    ///
    /// There is no `%s` and no `%p`: what a program prints is numbers.
    pub(super) fn new(format: &[u8], numbers: [u64; 3]) -> Option<Self> {
        let mut line = Self { bytes: [0; MAX_LINE], len: 0 };
        let mut numbers = numbers.into_iter();
        let mut rest = format.iter().copied().take_while(|byte| *byte != 0);
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                line.push(byte)?;
                continue;
            }
            let mut conversion = rest.next()?;
            if conversion == b'%' {
                line.push(b'%')?;
                continue;
            }
            let mut longs = 0_u8;
            while conversion == b'l' && longs < 2 {
                longs = longs.saturating_add(1);
                conversion = rest.next()?;
            }
            let number = numbers.next()?;
            let written = match (conversion, longs > 0) {
                (b'd' | b'i', true) => write!(line, "{}", number.cast_signed()),
                (b'd' | b'i', false) => write!(line, "{}", number as i32),
                (b'u', true) => write!(line, "{number}"),
                (b'u', false) => write!(line, "{}", number as u32),
                (b'x', true) => write!(line, "{number:x}"),
                (b'x', false) => write!(line, "{:x}", number as u32),
                (b'X', true) => write!(line, "{number:X}"),
                (b'X', false) => write!(line, "{:X}", number as u32),
                (b'c', false) => line.push(number as u8).ok_or(fmt::Error),
                _ => return None,
            };
            written.ok()?;
        }
        Some(line)
    }

    pub(super) fn text(&self) -> &str {
        let text = self.bytes.get(..self.len).unwrap_or_default();
        // Only ASCII is pushed.
        core::str::from_utf8(text).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        if !byte.is_ascii() {
            return None;
        }
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len = self.len.saturating_add(1);
        }
        Some(())
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| self.push(byte)).ok_or(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    fn line(format: &str, numbers: [u64; 3]) -> Option<std::string::String> {
        Line::new(format.as_bytes(), numbers).map(|line| line.text().to_string())
    }

    #[test]
    fn numbers_are_as_wide_as_they_are_said_to_be() {
        let all = [u64::MAX, 1 << 32 | 10, 1 << 32];
        assert_eq!(line("%d %u %x", all).as_deref(), Some("-1 10 0"));
        assert_eq!(line("%ld %llu %lX", all).as_deref(), Some("-1 4294967306 100000000"));
        assert_eq!(line("100%% %i\0 rest", all).as_deref(), Some("100% -1"));
        assert_eq!(line("%c%c", [104, 105, 0]).as_deref(), Some("hi"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for format in ["%s", "%p", "%", "%l", "%llld", "%d %d %d %d", "\u{e9}", "%5d", "%lc"] {
            assert_eq!(line(format, [0; 3]), None, "{format}");
        }
        assert_eq!(line("%c", [0xe9, 0, 0]), None);
    }

    #[test]
    fn a_long_line_is_cut() {
        let long = "0123456789".repeat(13);
        assert_eq!(line(&long, [0; 3]).unwrap(), long[..MAX_LINE]);
    }
}
