//! Rows: the text of cases.
//!
//! ```text
//! row   = name '|' step { ';' step }
//! step  = 'killable'                              the filter has WAIT_KILLABLE_RECV; the first step
//!       | target 'call'                           a call that its filter leaves to a supervisor
//!       | actor ('eintr' | 'restart' | 'kill')    a signal with a handler, one that restarts calls, SIGKILL
//!       | target ('hold' | 'release')             it does not get to run, or does again
//!       | target 'limit' number                   sets RLIMIT_NOFILE
//!       | target 'cloexec' number                 asks for the descriptor's flags
//!       | supervisor 'recv' place [ byte ]        with this byte not zero
//!       | supervisor 'send' place id val error flags
//!       | supervisor ('valid' | 'wrong') place id by ID_VALID's number, or the historic one
//!       | supervisor 'addfd' place id flags ('file' | 'bad') newfd newfd_flags [ size [ byte ] ]
//!       | supervisor 'flags' number
//!       | supervisor 'ioctl' number
//!       | supervisor 'poll'
//!       | supervisor 'close'
//! place = 'at'                                    in memory, with zeros behind
//!       | 'cut'                                   before the end of memory
//!       | 'ro'                                    in memory that can only be read and is zero
//!       | 'null'
//! ```
//!
//! Targets are `A` and `B`, supervisors `X`, `Y` and `Z`. A step of an actor that is still in a call, or
//! dead, is not made. Ids count from 1. `{a, b}` makes a row one for each, `#` begins a line of comment, and a line
//! that begins with a blank continues the one before.

use seccomp_kernel::notify::{
    SECCOMP_IOCTL_NOTIF_ADDFD, SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR,
    SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
};

/// A case.
#[derive(Debug)]
pub struct Row {
    /// The row's name and the alternatives of this case.
    pub name: String,
    /// Whether the filter has WAIT_KILLABLE_RECV.
    pub killable: bool,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What one actor does.
#[derive(Debug)]
pub struct Step {
    /// Who, or to whom.
    pub actor: Actor,
    /// What.
    pub action: Action,
}

/// A target or supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor(usize);

/// The most targets.
pub const TARGETS: usize = 2;
/// All actors.
pub const ACTORS: usize = TARGETS + 3;

const NAMES: [&str; ACTORS] = ["A", "B", "X", "Y", "Z"];

/// What happens in a step.
#[derive(Debug)]
pub enum Action {
    /// A call that a supervisor is asked about.
    Call,
    /// A signal comes.
    Signal(Signal),
    /// It does not get to run.
    Hold,
    /// It does again.
    Release,
    /// Sets RLIMIT_NOFILE.
    Limit(u64),
    /// Asks for the flags of a descriptor.
    CloseOnExec(u32),
    /// An ioctl.
    Ioctl(Ioctl),
    /// Asks what the listener is ready for.
    Poll,
    /// Closes the listener.
    Close,
}

/// A signal. Of several, the greatest decides what becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// One with a handler and SA_RESTART, SIGUSR2.
    Restarting,
    /// One with a handler, SIGUSR1.
    Handled,
    /// SIGKILL.
    Kill,
}

/// An ioctl and what its argument points to.
#[derive(Clone, Debug)]
pub struct Ioctl {
    /// The number.
    pub cmd: u32,
    /// The argument.
    pub argument: Argument,
}

/// An ioctl's argument.
#[derive(Clone, Debug)]
pub enum Argument {
    /// This number.
    Number(u64),
    /// The address of words, the first of which may be an id.
    At(Place, Vec<Word>),
}

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory, with zeros behind.
    At,
    /// Before the end of memory.
    Cut,
    /// In zeros that can only be read.
    ReadOnly,
    /// Nowhere.
    Null,
}

/// A piece of a structure.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// The id of a request, counted from 1.
    Id(u64),
    /// The supervisor's file.
    File,
    /// 32 bits.
    Half(u32),
    /// 64 bits.
    Whole(u64),
    /// A byte.
    Byte(u8),
}

impl Action {
    /// Whether its actor makes a call for it.
    pub fn is_made(&self) -> bool {
        !matches!(self, Self::Signal(_) | Self::Hold | Self::Release)
    }
}

impl Actor {
    /// Its place among [`ACTORS`]; targets come first.
    pub fn index(self) -> usize {
        self.0
    }

    /// The actor of a place.
    pub fn of(index: usize) -> Self {
        Self(index)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES[self.0]
    }
}

/// The bytes of `words`, where requests are numbered from behind `base`, and the supervisor's file is `file`.
pub fn bytes(words: &[Word], base: u64, file: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        match *word {
            Word::Id(ordinal) => bytes.extend(base.wrapping_add(ordinal).to_ne_bytes()),
            Word::File => bytes.extend(file.to_ne_bytes()),
            Word::Half(value) => bytes.extend(value.to_ne_bytes()),
            Word::Whole(value) => bytes.extend(value.to_ne_bytes()),
            Word::Byte(value) => bytes.push(value),
        }
    }
    bytes
}

/// Reads rows.
///
/// # Errors
///
/// What is wrong, and in which row.
pub fn parse(text: &str) -> Result<Vec<Row>, String> {
    let text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let text = text.replace("\n ", " ");
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, steps) = line.split_once('|').ok_or_else(|| format!("no `|` in `{line}`"))?;
        for (choices, steps) in alternatives(steps) {
            let name = format!("{} {choices}", name.trim()).trim_end().to_owned();
            let mut texts: Vec<&str> =
                steps.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
            let killable = texts.first() == Some(&"killable");
            texts.drain(..usize::from(killable));
            let step = |text: &str| parse_step(text).map_err(|why| format!("{name}: `{text}`: {why}"));
            let steps = texts.into_iter().map(step).collect::<Result<_, _>>()?;
            rows.push(Row { name, killable, steps });
        }
    }
    Ok(rows)
}

/// The texts that `text` stands for, and what was chosen for each. Alternatives do not nest.
fn alternatives(text: &str) -> Vec<(String, String)> {
    let braces = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (inside, after))) = braces else {
        return vec![(String::new(), text.to_owned())];
    };
    let mut all = Vec::new();
    for choice in inside.split(',').map(str::trim) {
        for (others, text) in alternatives(after) {
            all.push((format!("[{choice}]{others}"), format!("{before}{choice}{text}")));
        }
    }
    all
}

fn parse_step(text: &str) -> Result<Step, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [name, words @ ..] = &words[..] else { return Err("no step".to_owned()) };
    let actor = NAMES.iter().position(|known| known == name).ok_or("nobody has this name")?;
    let ioctl = |cmd, argument| Ok(Action::Ioctl(Ioctl { cmd, argument }));
    let action = match *words {
        ["call"] => Ok(Action::Call),
        ["eintr"] => Ok(Action::Signal(Signal::Handled)),
        ["restart"] => Ok(Action::Signal(Signal::Restarting)),
        ["kill"] => Ok(Action::Signal(Signal::Kill)),
        ["hold"] => Ok(Action::Hold),
        ["release"] => Ok(Action::Release),
        ["limit", limit] => Ok(Action::Limit(number(limit)?)),
        ["cloexec", fd] => Ok(Action::CloseOnExec(number(fd)? as u32)),
        ["poll"] => Ok(Action::Poll),
        ["close"] => Ok(Action::Close),
        ["ioctl", cmd] => ioctl(number(cmd)? as u32, Argument::At(Place::At, vec![])),
        ["flags", flags] => ioctl(SECCOMP_IOCTL_NOTIF_SET_FLAGS, Argument::Number(number(flags)?)),
        ["recv", at, ref dirty @ ..] => {
            let mut buffer = vec![Word::Byte(0); 80];
            if let [at] = dirty {
                *buffer.get_mut(number(at)? as usize).ok_or("beyond the buffer")? = Word::Byte(1);
            }
            ioctl(SECCOMP_IOCTL_NOTIF_RECV, Argument::At(place(at)?, buffer))
        }
        ["send", at, id, val, error, flags] => {
            let words = vec![
                Word::Id(number(id)?),
                Word::Whole(number(val)?),
                Word::Half(number(error)? as u32),
                Word::Half(number(flags)? as u32),
            ];
            ioctl(SECCOMP_IOCTL_NOTIF_SEND, Argument::At(place(at)?, words))
        }
        ["valid", at, id] => {
            ioctl(SECCOMP_IOCTL_NOTIF_ID_VALID, Argument::At(place(at)?, vec![Word::Id(number(id)?)]))
        }
        ["wrong", at, id] => ioctl(
            SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR,
            Argument::At(place(at)?, vec![Word::Id(number(id)?)]),
        ),
        ["addfd", at, id, flags, file, newfd, newfd_flags, ref size @ ..] => {
            let mut words = vec![
                Word::Id(number(id)?),
                Word::Half(number(flags)? as u32),
                if file == "file" { Word::File } else { Word::Half(1000) },
                Word::Half(number(newfd)? as u32),
                Word::Half(number(newfd_flags)? as u32),
            ];
            let (size, not_zero) = match *size {
                [] => (24, None),
                [size] => (number(size)?, None),
                [size, at] => (number(size)?, Some(number(at)?)),
                _ => return Err("too many words".to_owned()),
            };
            words.extend((24..size).map(|at| Word::Byte(u8::from(not_zero == Some(at)))));
            let cmd = SECCOMP_IOCTL_NOTIF_ADDFD & !0x3fff_0000 | (size as u32) << 16;
            ioctl(cmd, Argument::At(place(at)?, words))
        }
        _ => Err("no such step".to_owned()),
    }?;
    let for_supervisors = matches!(action, Action::Ioctl(_) | Action::Poll | Action::Close);
    let for_both = matches!(action, Action::Signal(_));
    if !for_both && for_supervisors == (actor < TARGETS) {
        return Err("somebody else's step".to_owned());
    }
    Ok(Step { actor: Actor(actor), action })
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "at" => Ok(Place::At),
        "cut" => Ok(Place::Cut),
        "ro" => Ok(Place::ReadOnly),
        "null" => Ok(Place::Null),
        _ => Err(format!("`{text}` is no place")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match (text.strip_prefix("0x"), text.starts_with('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (None, true) => text.parse::<i64>().map(i64::cast_unsigned),
        (None, false) => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_on_and_multiply() {
        let rows = parse("# x\na | killable; {A, B} call;\n  X recv {at, ro}\nb | X poll").unwrap();
        let names: Vec<_> = rows.iter().map(|row| (&*row.name, row.killable, row.steps.len())).collect();
        let a = ["a [A][at]", "a [A][ro]", "a [B][at]", "a [B][ro]"].map(|name| (name, true, 2));
        assert_eq!(names, [&a[..], &[("b", false, 1)]].concat());
    }

    #[test]
    fn what_is_no_row_is_said() {
        for text in ["x", "x | C call", "x | A recv at", "x | X call", "x | X send at", "x | X recv here"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
