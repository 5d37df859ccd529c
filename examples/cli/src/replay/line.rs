//! A line of a log.

use seccomp_kernel::Arch;
use seccomp_runtime::SeccompData;

use crate::number;
use crate::strace::Prefix;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'l> {
    /// A call, or the beginning of one that goes on in another line.
    Call {
        /// `NAME(ARGUMENT, ...) = RESULT`, or up to where it is cut.
        text: &'l str,
        /// Where it goes on, or that it does not.
        end: End,
    },
    /// How a call goes on that a line before began: its name, and the rest of the text.
    Resumed(&'l str, &'l str),
    /// The process runs in another mode from here on.
    Mode(i32, Mode),
    /// The thread has ended.
    Exit,
    /// Of something that is no call: signals, notes of strace's, dumps.
    Other,
    /// A line of `run --trace`: its call.
    Traced(SeccompData),
    /// None of these.
    Unknown,
}

/// How a call ends in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its result, or nobody knows why not.
    Whole,
    /// A line of this thread will say how it goes on.
    Unfinished,
    /// A note of strace's stands in it; the next line goes on where this one was.
    Interrupted,
    /// It does not go on.
    Never,
}

/// The names that strace has for modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 64 bit.
    Wide,
    /// 32 bit.
    Narrow,
    /// x32.
    X32,
}

impl Mode {
    /// The entry of this mode on a machine that has `arch`.
    pub fn entry(self, arch: Arch) -> Option<Arch> {
        let is_x86 = matches!(arch, Arch::X86_64 | Arch::I386 | Arch::X32);
        let is_arm = matches!(arch, Arch::Aarch64 | Arch::Arm);
        match self {
            Self::Wide if is_x86 => Some(Arch::X86_64),
            Self::Narrow if is_x86 => Some(Arch::I386),
            Self::X32 if is_x86 => Some(Arch::X32),
            Self::Wide if is_arm => Some(Arch::Aarch64),
            Self::Narrow if is_arm => Some(Arch::Arm),
            _ => None,
        }
    }
}

const UNFINISHED: &str = "<unfinished ...>";
const DETACHED: &str = "<detached ...>";
const NOTE: &str = "strace: Process ";

/// Reads a line, without its newline.
pub fn parse(line: &str) -> (Prefix, Line<'_>) {
    // Stacks and dumps stand behind the call that they are of.
    if line.trim().is_empty() || [" > ", " | ", " * "].iter().any(|mark| line.starts_with(mark)) {
        return (Prefix::default(), Line::Other);
    }
    let (prefix, rest) = Prefix::parse(line);
    let parsed = if let Some(text) = rest.strip_prefix("<... ") {
        match text.split_once(" resumed>") {
            Some((name, rest)) => Line::Resumed(name, rest),
            None => Line::Unknown,
        }
    } else if let Some(text) = rest.strip_prefix("+++ ") {
        let is_exit = ["exited", "killed", "superseded"].iter().any(|word| text.starts_with(word));
        if is_exit { Line::Exit } else { Line::Other }
    } else if rest.starts_with("--- ") || rest.starts_with("strace: ") && !rest.contains("[ Process") {
        Line::Other
    } else if let Some(text) = rest.trim_start_matches("strace: ").strip_prefix("[ Process PID=") {
        mode(text).map_or(Line::Unknown, |(pid, mode)| Line::Mode(pid, mode))
    } else if let Some(data) = traced(line) {
        Line::Traced(data)
    } else if is_call(rest) {
        call(rest)
    } else {
        Line::Unknown
    };
    (prefix, parsed)
}

/// Whether this begins as a call does.
fn is_call(text: &str) -> bool {
    let name = text.split('(').next().unwrap_or_default();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'?'));
    !name.is_empty() && name.len() < text.len() && is_name
}

/// Reads a line that begins as a call.
pub fn call(text: &str) -> Line<'_> {
    let trimmed = text.trim_end();
    // A process that ends may have a parenthesis behind it, and its result.
    let unfinished = trimmed.strip_suffix(UNFINISHED);
    if let Some(text) = unfinished {
        return Line::Call { text, end: End::Unfinished };
    }
    if let Some(text) = trimmed.strip_suffix(DETACHED) {
        return Line::Call { text, end: End::Never };
    }
    if let Some((text, _)) =
        trimmed.split_once(UNFINISHED).filter(|(_, rest)| rest.trim_start().starts_with(')'))
    {
        return Line::Call { text, end: End::Never };
    }
    let note = trimmed.rfind(NOTE).and_then(|place| trimmed.split_at_checked(place));
    if let Some((text, note)) = note
        && [" attached", " detached"].iter().any(|end| note.ends_with(end))
        && note.split_whitespace().count() == 4
    {
        return Line::Call { text, end: End::Interrupted };
    }
    Line::Call { text, end: End::Whole }
}

/// `N runs in 32 bit mode. ]`
fn mode(text: &str) -> Option<(i32, Mode)> {
    let (pid, rest) = text.split_once(" runs in ")?;
    let mode = match rest.trim_end() {
        "64 bit mode. ]" => Mode::Wide,
        "32 bit mode. ]" => Mode::Narrow,
        "x32 mode. ]" => Mode::X32,
        _ => return None,
    };
    Some((pid.parse().ok()?, mode))
}

/// `TID NAME ARCH NR IP A0 A1 A2 A3 A4 A5 = VALUE WORDS`, as `run --trace` writes it.
fn traced(line: &str) -> Option<SeccompData> {
    let (call, value) = line.split_once(" = 0x")?;
    number::hex(value.split(' ').next()?, 32).ok()?;
    let mut words = call.split(' ');
    words.next()?.parse::<i32>().ok()?;
    let _name = words.next()?;
    let arch = number::hex(words.next()?, 32).ok()? as u32;
    let nr = number::syscall(words.next()?).ok()?;
    let mut wide = || number::hex(words.next()?, 64).ok();
    let instruction_pointer = wide()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = wide()?;
    }
    words.next().is_none().then_some(SeccompData { nr, arch, instruction_pointer, args })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        parse(text).1
    }

    #[test]
    fn kinds_of_lines() {
        let whole = |text| Line::Call { text, end: End::Whole };
        assert_eq!(line("[pid 7] 10:00:00 read(3, \"\", 1) = 0"), whole("read(3, \"\", 1) = 0"));
        assert_eq!(
            line("7 read(3,  <unfinished ...>"),
            Line::Call { text: "read(3,  ", end: End::Unfinished }
        );
        assert_eq!(line("7 <... read resumed>\"\", 1) = 0"), Line::Resumed("read", "\"\", 1) = 0"));
        assert_eq!(
            line("exit_group(0 <unfinished ...>) = ?"),
            Line::Call { text: "exit_group(0 ", end: End::Never }
        );
        assert_eq!(
            line("clone(flags=SIGCHLDstrace: Process 12 attached"),
            Line::Call { text: "clone(flags=SIGCHLD", end: End::Interrupted }
        );
        assert_eq!(
            line("nanosleep({}, <detached ...>"),
            Line::Call { text: "nanosleep({}, ", end: End::Never }
        );
        assert_eq!(line("[ Process PID=7 runs in 32 bit mode. ]"), Line::Mode(7, Mode::Narrow));
        assert_eq!(line("strace: [ Process PID=7 runs in x32 mode. ]"), Line::Mode(7, Mode::X32));
        assert_eq!(line("[pid 7] +++ killed by SIGSYS (core dumped) +++"), Line::Exit);
        for other in
            ["", "--- SIGCHLD {si_signo=SIGCHLD} ---", "strace: Process 7 attached", " > /lib/x(f+0x1) [0x2]"]
        {
            assert_eq!(line(other), Line::Other, "{other}");
        }
        for unknown in
            ["hello", ") = 2", "a b(c) = 1", "<... read", "7 mkdir c000003e 83 = 0x1", "[ Process PID=x ]"]
        {
            assert_eq!(line(unknown), Line::Unknown, "{unknown}");
        }
        let data =
            SeccompData { nr: 83, arch: 0xc000_003e, instruction_pointer: 16, args: [1, 2, 3, 4, 5, 255] };
        assert_eq!(
            line("7 mkdir c000003e 83 10 1 2 3 4 5 ff = 0x00050001 ERRNO(1 EPERM)"),
            Line::Traced(data)
        );
    }
}
