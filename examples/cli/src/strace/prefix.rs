//! What stands before the call in a line: thread, time, number and instruction pointer.

use crate::number;

/// What is told there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    /// The thread.
    pub pid: Option<i32>,
    /// The number of the call.
    pub nr: Option<i32>,
    /// The instruction pointer.
    pub ip: Option<u64>,
}

/// Linux gives no thread a greater id (`PID_MAX_LIMIT`); a greater number is a time.
const MAX_PID: i32 = 1 << 22;

impl Prefix {
    /// The prefix of a line, and the rest.
    pub fn parse(line: &str) -> (Self, &str) {
        let mut prefix = Self::default();
        let mut rest = line;
        loop {
            let next = if let Some(text) = rest.strip_prefix("[pid ") {
                let thread = thread(text, "]");
                thread.map(|(pid, rest)| (Self { pid: Some(pid), ..prefix }, rest))
            } else if let Some(text) = rest.strip_prefix('[').filter(|_| !rest.starts_with("[ Process")) {
                prefix.bracket(text)
            } else if let Some((pid, rest)) = thread(rest, " ").filter(|_| prefix == Self::default()) {
                Some((Self { pid: Some(pid), ..prefix }, rest))
            } else {
                time(rest).map(|rest| (prefix, rest))
            };
            match next {
                Some((found, text)) => (prefix, rest) = (found, text.trim_start()),
                None => return (prefix, rest),
            }
        }
    }

    /// `  257] ` or `00007f0123456789] `
    fn bracket(self, text: &str) -> Option<(Self, &str)> {
        let (inner, rest) = text.split_once("] ")?;
        let is_address = matches!(inner.len(), 8 | 16);
        if is_address && inner.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some((Self { ip: u64::from_str_radix(inner, 16).ok(), ..self }, rest));
        }
        if is_address && inner.bytes().all(|byte| byte == b'?') {
            return Some((self, rest));
        }
        let nr = number::syscall(inner.trim_start()).ok()?;
        Some((Self { nr: Some(nr), ..self }, rest))
    }
}

/// `N` or `N<NAME>`, up to what is behind it.
fn thread<'t>(text: &'t str, behind: &str) -> Option<(i32, &'t str)> {
    let text = text.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (pid, mut rest) = text.split_at_checked(digits)?;
    let pid = pid.parse().ok().filter(|pid| (1..=MAX_PID).contains(pid))?;
    if rest.starts_with('<') && !rest.starts_with("<...") {
        // A name ends where no other can begin.
        let end = rest.find(&format!(">{behind}"))?;
        rest = rest.get(end + 1..)?;
    }
    rest.strip_prefix(behind).map(|rest| (pid, rest))
}

/// `10:11:12.123456`, `1700000000.123456`, `0.000012`, `(+     0.000012)`, or seconds alone.
fn time(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix("(+") {
        let (time, rest) = inner.split_once(") ")?;
        return is_time(time.trim_start()).then_some(rest);
    }
    let (time, rest) = text.split_once(' ')?;
    is_time(time).then_some(rest)
}

fn is_time(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_options_strace_had() {
        let rows = [
            ("read(3)", None, None, None),
            ("[pid    12] read(3)", Some(12), None, None),
            ("12    read(3)", Some(12), None, None),
            ("[pid 12<a] b>] 10:11:12 read(3)", Some(12), None, None),
            ("12<a> 10:11:12.123456 read(3)", Some(12), None, None),
            ("1700000000.123456 read(3)", None, None, None),
            ("1700000000 read(3)", None, None, None),
            ("     0.000012 read(3)", None, None, None),
            (
                "[pid 12] 10:11:12.1 (+     0.000072) [ 231] [00007f0000000010] read(3)",
                Some(12),
                Some(231),
                Some(0x7f00_0000_0010),
            ),
            ("[   0] [????????] read(3)", None, Some(0), None),
            ("[4294967295] read(3)", None, Some(-1), None),
            ("[f7f1b5e9] read(3)", None, None, Some(0xf7f1_b5e9)),
        ];
        for (line, pid, nr, ip) in rows {
            assert_eq!(Prefix::parse(line), (Prefix { pid, nr, ip }, "read(3)"), "{line}");
        }
        for line in [
            "[pid x] read(3)",
            "[ Process PID=7 runs in 32 bit mode. ]",
            "[4294967296] read(3)",
            "(+ 1",
            "[1 read(3)",
            ") = 3",
        ] {
            assert_eq!(Prefix::parse(line), (Prefix::default(), line));
        }
    }
}
