//! Rows: the text of cases.
//!
//! ```text
//! row     = name '|' step { ';' step }
//! step    = [ thread ':' ] action              a thread is a letter; A is the first, and the default
//! action  = call | 'repeat' count call         makes it until it does not return 0
//!         | 'int80' call                       by the 32-bit entry
//!         | 'drop'                             gives up all capabilities
//!         | 'nnp'                              sets no_new_privs
//!         | 'status' [ thread ]                reads its seccomp lines in /proc, also of a zombie
//!         | 'sigsys' ('default' | 'handled' | 'ignored' | 'blocked')
//!         | 'thread' letter                    starts it
//!         | 'fork' '[' step { ';' step } ']'   steps of a child process, whose end the parent awaits
//!         | 'process' letter                   starts a process that shares descriptors; A outlives it
//!         | 'exec'                             becomes a program that sleeps; only such a process does
//!         | 'kill' letter                      sends a process SIGKILL and sees it die; it stays a zombie
//!         | 'wait' letter                      reaps a process
//!         | 'poll' fd                          asks for everything that there is to ask for
//!         | 'limit' number                     sets RLIMIT_NOFILE
//!         | 'int3'                             takes a signal and returns from its handler
//!         | 'rdtsc'
//! call    = (name | number) { argument }
//! argument = constant | 'null' | 'bad' | 'cut'  a bad address, and one with 8 bytes up to a bad one
//!         | 'u32(' constant ')'                a pointer to it
//!         | 'out(' bytes ')'                   a pointer to zeros, which are shown afterwards
//!         | 'text(' text ')'                   a pointer to it
//!         | program                            a pointer to a sock_fprog that points to it
//!         | 'fprog(' length ',' ('null' | 'bad' | 'cut' | program) ')'
//! program = '"' text for the assembler '"'
//!         | 'ret(' value ')'
//!         | 'on(' call ',' value ')'           for that call; others are allowed
//!         | 'fill(' count ',' value ')'        that many returns
//!         | 'raw(' code jt jf k { ',' code jt jf k } ')'
//! ```
//!
//! An argument that is a list, `[a, b]`, makes the call a step for each. Constants are numbers or names of
//! `SECCOMP_RET_*` without that prefix, joined by `|`. A brace with alternatives, `{a, b}`, may stand anywhere
//! behind the name, also around or inside of others: the row is then one for each. A row goes on in lines that
//! begin with a blank; `$name = text` names a text for the rows below, and `#` begins a line of comment. A case
//! begins with the descriptors 0, 1 and 2.

use cbpf_translator::SockFilter;
use cbpf_translator::asm::assemble;
use cbpf_translator::seccomp::{RET_ALLOW, RET_NAMES};
use seccomp_kernel::Arch;
use syscalls::x86_64::Sysno;

use crate::mock::Disposition;

/// A case.
#[derive(Clone, Debug)]
pub struct Row {
    /// The row's name and the alternatives of this case.
    pub name: String,
    /// What happens, in this order.
    pub steps: Vec<Step>,
}

/// What one thread does; `A` is what arguments of calls are.
#[derive(Clone, Debug)]
pub struct Step<A = Argument> {
    /// Who.
    pub thread: Letter,
    /// What.
    pub action: Action<A>,
}

/// A thread of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter(u8);

/// The most threads that a case can have.
pub const THREADS: usize = 8;

/// What a thread can do.
#[derive(Clone, Debug)]
pub enum Action<A> {
    /// Makes a system call.
    Call(Call<A>),
    /// Reads a thread's seccomp lines in `/proc`.
    Status(Letter),
    /// Says what is to happen to SIGSYS.
    Sigsys(Disposition),
    /// Starts a thread.
    Thread(Letter),
    /// Forks a process; the next so many steps are the child's.
    Fork(usize),
    /// Starts a process of one thread.
    Process(Letter),
    /// Executes a program that sleeps.
    Exec,
    /// Kills a process.
    Kill(Letter),
    /// Reaps a process.
    Wait(Letter),
    /// Takes a signal and returns from its handler.
    Breakpoint,
    /// Reads the time stamp counter.
    ReadTime,
}

/// A system call.
#[derive(Clone, Debug)]
pub struct Call<A> {
    /// [`Arch::X86_64`] by `syscall`, [`Arch::I386`] by `int $0x80`.
    pub entry: Arch,
    /// The number.
    pub nr: i32,
    /// The arguments.
    pub args: [A; 6],
    /// At most so many times, until it does not return 0.
    pub times: u32,
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Argument {
    /// This number.
    Number(u64),
    /// An address.
    At(Address),
    /// The address of a `sock_fprog` with this length and pointer.
    Fprog(u16, Address),
    /// The address of these bytes, which are shown afterwards.
    Shown(Vec<u8>),
}

/// What an address points to.
#[derive(Clone, Debug)]
pub enum Address {
    /// Nothing.
    Null,
    /// Nothing, and it is not null.
    Bad,
    /// Eight bytes, `BPF_RET | BPF_K` of ALLOW, and nothing behind them.
    Cut,
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Letter {
    /// The first thread.
    pub const A: Self = Self(0);

    /// Its place among [`THREADS`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The letter of an index.
    pub fn name(index: usize) -> char {
        char::from(b'A' + index as u8)
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            [letter @ b'A'..=b'H'] => Ok(Self(letter - b'A')),
            _ => Err(format!("`{text}` is no thread")),
        }
    }
}

/// Reads rows.
///
/// # Errors
///
/// What is wrong, and in which row.
pub fn parse(text: &str) -> Result<Vec<Row>, String> {
    let text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let text = text.replace("\n ", " ");
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let expanded = |text: &str, names: &[(String, String)]| {
            names.iter().fold(text.to_owned(), |text, (name, meaning)| text.replace(name, meaning))
        };
        if let Some((name, meaning)) = line.strip_prefix('$').and_then(|line| line.split_once('=')) {
            let meaning = expanded(meaning.trim(), &names);
            names.push((format!("${}", name.trim()), meaning));
            continue;
        }
        let line = expanded(line, &names);
        let (name, steps) = line.split_once('|').ok_or_else(|| format!("no `|` in `{line}`"))?;
        for (choices, steps) in alternatives(steps) {
            let name = format!("{} {choices}", name.trim()).trim_end().to_owned();
            let steps = parse_steps(&steps, Letter::A).map_err(|why| format!("{name}: {why}"))?;
            rows.push(Row { name, steps });
        }
    }
    Ok(rows)
}

/// The texts that `text` stands for, and what was chosen for each.
fn alternatives(text: &str) -> Vec<(String, String)> {
    let Some((before, rest)) = text.split_once('{') else {
        return vec![(String::new(), text.to_owned())];
    };
    let mut depth = 1;
    let closes = |c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    };
    let Some((inside, after)) = rest.find(closes).map(|at| (&rest[..at], &rest[at + 1..])) else {
        return vec![(String::new(), text.to_owned())];
    };
    let mut all = Vec::new();
    for choice in split(inside, ',') {
        for (others, text) in alternatives(&format!("{before}{choice}{after}")) {
            let choice = if choice.contains('{') { "" } else { choice };
            all.push((format!("[{choice}]{others}"), text));
        }
    }
    all
}

/// Splits where `at` is not inside of quotes or brackets.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    let mut depth = 0;
    text.split(move |c| {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        c == at && !quoted && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn parse_steps(text: &str, default: Letter) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for text in split(text, ';').into_iter().filter(|text| !text.is_empty()) {
        parse_step(text, default, &mut steps).map_err(|why| format!("`{text}`: {why}"))?;
    }
    Ok(steps)
}

fn parse_step(text: &str, default: Letter, steps: &mut Vec<Step>) -> Result<(), String> {
    let (thread, text) = match text.split_once(':') {
        Some((letter, text)) if letter.len() == 1 => (Letter::parse(letter)?, text),
        _ => (default, text),
    };
    let words: Vec<&str> = split(text, ' ').into_iter().filter(|word| !word.is_empty()).collect();
    let list = |word: &str| word.starts_with('[') && words[0] != "fork";
    if let Some(at) = words.iter().position(|word| list(word)) {
        for choice in split(words[at].trim_matches(['[', ']']), ',') {
            let words = [&words[..at], &[choice], &words[at + 1..]].concat();
            steps.push(Step { thread, action: Action::Call(parse_entry(&words)?) });
        }
        return Ok(());
    }
    let action = match *words {
        ["drop"] => Action::Call(drop_capabilities()),
        ["nnp"] => Action::Call(parse_call(Arch::X86_64, &["prctl", "38", "1"])?),
        ["status"] => Action::Status(thread),
        ["status", other] => Action::Status(Letter::parse(other)?),
        ["sigsys", "default"] => Action::Sigsys(Disposition::Default),
        ["sigsys", "handled"] => Action::Sigsys(Disposition::Handled),
        ["sigsys", "ignored"] => Action::Sigsys(Disposition::Ignored),
        ["sigsys", "blocked"] => Action::Sigsys(Disposition::Blocked),
        ["thread", letter] => Action::Thread(Letter::parse(letter)?),
        ["process", letter] => Action::Process(Letter::parse(letter)?),
        ["exec"] => Action::Exec,
        ["kill", letter] => Action::Kill(Letter::parse(letter)?),
        ["wait", letter] => Action::Wait(Letter::parse(letter)?),
        ["poll", fd] => Action::Call(poll(number(fd)? as u32)),
        ["limit", limit] => {
            let limits = [number(limit)?; 2].map(u64::to_ne_bytes);
            let limits = Argument::At(Address::Bytes(limits.as_flattened().to_vec()));
            Action::Call(native(Sysno::setrlimit, [Argument::Number(libc::RLIMIT_NOFILE.into()), limits]))
        }
        ["fork", block] => {
            let block = block.strip_prefix('[').and_then(|block| block.strip_suffix(']'));
            let child = parse_steps(block.ok_or("not in brackets")?, thread)?;
            let another =
                |action: &Action<_>| matches!(action, Action::Thread(_) | Action::Process(_) | Action::Exec);
            if child.iter().any(|step| step.thread != thread || another(&step.action)) {
                return Err("the child has one thread".to_owned());
            }
            steps.push(Step { thread, action: Action::Fork(child.len()) });
            steps.extend(child);
            return Ok(());
        }
        ["int3"] => Action::Breakpoint,
        ["rdtsc"] => Action::ReadTime,
        ["repeat", times, ref call @ ..] => {
            let times = number(times)? as u32;
            Action::Call(Call { times, ..parse_call(Arch::X86_64, call)? })
        }
        ref call => Action::Call(parse_entry(call)?),
    };
    steps.push(Step { thread, action });
    Ok(())
}

fn parse_entry(words: &[&str]) -> Result<Call<Argument>, String> {
    match words {
        ["int80", call @ ..] => parse_call(Arch::I386, call),
        call => parse_call(Arch::X86_64, call),
    }
}

fn parse_call(entry: Arch, words: &[&str]) -> Result<Call<Argument>, String> {
    let [name, words @ ..] = words else {
        return Err("no call".to_owned());
    };
    if words.len() > 6 {
        return Err("more than six arguments".to_owned());
    }
    let mut args = [const { Argument::Number(0) }; 6];
    for (arg, word) in args.iter_mut().zip(words) {
        *arg = argument(word)?;
    }
    Ok(Call { entry, nr: call_number(entry, name)?, args, times: 1 })
}

/// `capset` of the caller to nothing at all.
fn drop_capabilities() -> Call<Argument> {
    const VERSION_3: u32 = 0x2008_0522;
    let bytes = |words: &[u32]| {
        Argument::At(Address::Bytes(words.iter().flat_map(|word| word.to_ne_bytes()).collect()))
    };
    native(Sysno::capset, [bytes(&[VERSION_3, 0]), bytes(&[0; 6])])
}

/// poll(2) of one descriptor for all that a listener has, without time.
fn poll(fd: u32) -> Call<Argument> {
    let asked = u32::from(crate::notify::EVENTS);
    let pollfd = [fd, asked].map(u32::to_ne_bytes);
    native(Sysno::poll, [Argument::Shown(pollfd.as_flattened().to_vec()), Argument::Number(1)])
}

/// A call whose other arguments are 0.
fn native<const N: usize>(nr: Sysno, some: [Argument; N]) -> Call<Argument> {
    let mut args = [const { Argument::Number(0) }; 6];
    args.iter_mut().zip(some).for_each(|(to, arg)| *to = arg);
    Call { entry: Arch::X86_64, nr: nr.id(), args, times: 1 }
}

fn argument(text: &str) -> Result<Argument, String> {
    if let Some(value) = form(text, "u32") {
        return Ok(Argument::At(Address::Bytes(value_of(value)?.to_ne_bytes().to_vec())));
    }
    if let Some(len) = form(text, "out") {
        return Ok(Argument::Shown(vec![0; number(len)? as usize]));
    }
    if let Some(text) = form(text, "text") {
        return Ok(Argument::At(Address::Bytes([text.as_bytes(), &[0]].concat())));
    }
    if let Some(fprog) = form(text, "fprog") {
        let [len, address] = *split(fprog, ',') else {
            return Err(format!("`{text}` is not of two"));
        };
        return Ok(Argument::Fprog(number(len)? as u16, address_of(address)?));
    }
    match text {
        "null" | "bad" | "cut" => address_of(text).map(Argument::At),
        _ => match program(text)? {
            Some(program) => Ok(Argument::Fprog(program.len() as u16, address(&program))),
            None => number(text).map(Argument::Number),
        },
    }
}

fn address_of(text: &str) -> Result<Address, String> {
    match text {
        "null" => Ok(Address::Null),
        "bad" => Ok(Address::Bad),
        "cut" => Ok(Address::Cut),
        _ => program(text)?.map(|program| address(&program)).ok_or_else(|| format!("`{text}` is no program")),
    }
}

fn address(program: &[SockFilter]) -> Address {
    Address::Bytes(program.iter().flat_map(|insn| insn.to_ne_bytes()).collect())
}

/// The program that `text` is, if it is one.
fn program(text: &str) -> Result<Option<Vec<SockFilter>>, String> {
    let ret = |value| SockFilter::new(0x06, 0, 0, value);
    let program = if let Some(source) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        let names = |name: &str| Arch::X86_64.syscall_number(name).map(i32::cast_unsigned);
        assemble(source, &names).map_err(|error| error.to_string())?
    } else if let Some(value) = form(text, "ret") {
        vec![ret(value_of(value)?)]
    } else if let Some(text) = form(text, "on") {
        let [call, value] = *split(text, ',') else {
            return Err(format!("`{text}` is not of two"));
        };
        let nr = call_number(Arch::X86_64, call)?.cast_unsigned();
        let load = SockFilter::new(0x20, 0, 0, 0);
        vec![load, SockFilter::new(0x15, 0, 1, nr), ret(value_of(value)?), ret(RET_ALLOW)]
    } else if let Some(text) = form(text, "fill") {
        let [count, value] = *split(text, ',') else {
            return Err(format!("`{text}` is not of two"));
        };
        vec![ret(value_of(value)?); number(count)? as usize]
    } else if let Some(text) = form(text, "raw") {
        split(text, ',').into_iter().map(raw).collect::<Result<_, _>>()?
    } else {
        return Ok(None);
    };
    Ok(Some(program))
}

fn raw(text: &str) -> Result<SockFilter, String> {
    let fields = text.split_whitespace().map(number).collect::<Result<Vec<_>, _>>()?;
    match *fields {
        [code, jt, jf, k] => Ok(SockFilter::new(code as u16, jt as u8, jf as u8, k as u32)),
        _ => Err(format!("`{text}` is no instruction")),
    }
}

/// What is between the parentheses of `name(...)`.
fn form<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

fn call_number(entry: Arch, text: &str) -> Result<i32, String> {
    entry.syscall_number(text).map_or_else(|| Ok(number(text)? as i32), Ok)
}

/// Constants joined by `|`.
fn value_of(text: &str) -> Result<u32, String> {
    text.split('|').try_fold(0, |value, text| {
        let named = RET_NAMES.iter().find(|(name, _)| name.strip_prefix("SECCOMP_RET_") == Some(text.trim()));
        Ok(value | named.map_or_else(|| Ok(number(text)? as u32), |(_, value)| Ok::<_, String>(*value))?)
    })
}

fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let magnitude = magnitude.map_err(|_| format!("`{text}` is no number"))?;
    Ok(if digits.len() < text.len() { magnitude.wrapping_neg() } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_multiply_and_nest() {
        let texts: Vec<_> =
            alternatives("a{1,2{x,y}} {\"c, d\",}").into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a1 \"c, d\"", "a1 ", "a2x \"c, d\"", "a2x ", "a2y \"c, d\"", "a2y "]);
    }

    #[test]
    fn rows_go_on_and_use_names() {
        let rows =
            parse("$some = 1,\n  2\n# x | y\nx |\n  getpid {$some};\n  status\n\ny | {0, $some}").unwrap();
        let names: Vec<_> = rows.iter().map(|row| (&*row.name, row.steps.len())).collect();
        assert_eq!(names, [("x [1]", 2), ("x [2]", 2), ("y [0]", 1), ("y [1]", 1), ("y [2]", 1)]);
    }

    #[test]
    fn a_fork_holds_its_steps() {
        let rows = parse("x | B:fork [getpid; fork [nnp]; getppid]; getpid").unwrap();
        let steps: Vec<_> = rows[0].steps.iter().map(|step| (step.thread.index(), &step.action)).collect();
        assert!(matches!(
            *steps,
            [
                (1, Action::Fork(4)),
                (1, Action::Call(_)),
                (1, Action::Fork(1)),
                (1, Action::Call(_)),
                (1, Action::Call(_)),
                (0, Action::Call(_)),
            ]
        ));
    }

    #[test]
    fn what_is_no_row_is_said() {
        for (text, why) in [
            ("x", "no `|` in `x`"),
            ("x | frobnicate", "x: `frobnicate`: `frobnicate` is no number"),
            ("x | getpid 1 2 3 4 5 6 7", "x: `getpid 1 2 3 4 5 6 7`: more than six arguments"),
            ("x | seccomp 1 0 raw(1 2 3)", "x: `seccomp 1 0 raw(1 2 3)`: `1 2 3` is no instruction"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
    }
}
