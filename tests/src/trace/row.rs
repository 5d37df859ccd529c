//! Rows: the text of cases.
//!
//! ```text
//! row    = name '|' step { ';' step }
//! step   = 'filter' [ 'log' ] [ 'listener' ] { rule }
//!                                                the oldest first; a call that no rule is about is allowed
//!        | 'tracer' ( 'none' | 'plain' )         none, or one without PTRACE_O_TRACESECCOMP; else there is one
//!        | 'entry' change                        what the tracer does at the plain stop of the call's entry
//!        | 'asked' change                        what it does at PTRACE_EVENT_SECCOMP
//!        | 'supervisor' ( 'continue' | 'return' number | 'signal' | 'closed' )
//!                                                what comes of the listener's requests: an answer, or a signal for
//!                                                who waits for it; or the listener is closed before the call
//!        | 'call' number { argument }            the last step
//! rule   = number [ '(' argument ')' ] '=' ACTION [ ':' data ]
//! change = 'nothing' | 'kill' | 'detach'
//!        | 'regs' { set } | 'info' { set }       by PTRACE_SETREGS, or by PTRACE_SET_SYSCALL_INFO
//! set    = ( 'nr' | 'arg' | 'ret' ) '=' number   the return register only by 'regs'
//! ```
//!
//! Numbers of calls may be `pid` (getpid), `max` and `min` (sched_get_priority_max and _min, whose values tell
//! their argument). `{a, b}` makes a row one for each, `#` begins a line of comment, and a line that begins with a
//! blank continues the one before.

use cbpf_translator::SockFilter;
use cbpf_translator::seccomp::{
    RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_KILL_THREAD, RET_LOG, RET_TRACE, RET_TRAP, RET_USER_NOTIF,
};
use seccomp_kernel::notify::Reply;
use seccomp_kernel::uapi::FilterFlags;

use super::Registers;

/// A case.
#[derive(Debug, Default)]
pub struct Row {
    /// The row's name and the alternatives of this case.
    pub name: String,
    /// The oldest first.
    pub filters: Vec<Filter>,
    /// Who traces.
    pub tracer: Tracer,
    /// What the tracer does at the call's entry.
    pub entry: Option<Change>,
    /// What the tracer does when a filter wants it asked.
    pub asked: Change,
    /// Who answers for filters with a listener.
    pub supervisor: Supervisor,
    /// The call.
    pub nr: i32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Who traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracer {
    /// Nobody.
    None,
    /// A tracer that wants nothing of seccomp.
    Plain,
    /// A tracer with PTRACE_O_TRACESECCOMP.
    #[default]
    Seccomp,
}

/// What comes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    /// This answer.
    Answers(Reply),
    /// None: a signal with a handler comes first.
    Signals,
    /// None: the listener is closed when the call is made.
    Closed,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::Answers(Reply::Continue)
    }
}

/// A filter: the first rule that matches counts.
#[derive(Debug, Default)]
pub struct Filter {
    log: bool,
    /// Whether it has a listener.
    pub listener: bool,
    rules: Vec<Rule>,
}

/// What a filter returns for a call.
#[derive(Debug)]
struct Rule {
    nr: i32,
    argument: Option<u32>,
    value: u32,
}

/// What a tracer does.
#[derive(Clone, Debug, Default)]
pub enum Change {
    /// It lets the thread go on.
    #[default]
    Nothing,
    /// It kills it.
    Kill,
    /// It goes away.
    Detach,
    /// It changes registers.
    Set(By, Sets),
}

/// How registers are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// PTRACE_SETREGS.
    Registers,
    /// PTRACE_SET_SYSCALL_INFO.
    SyscallInfo,
}

/// New values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sets {
    nr: Option<i64>,
    argument: Option<u64>,
    returned: Option<i64>,
}

impl Sets {
    /// Changes `registers` so.
    pub fn apply(self, registers: &mut Registers) {
        registers.nr = self.nr.unwrap_or(registers.nr);
        registers.args[0] = self.argument.unwrap_or(registers.args[0]);
        registers.returned = self.returned.unwrap_or(registers.returned);
    }
}

impl Filter {
    /// One that has calls of `nr` logged.
    pub fn logs(nr: i32) -> Self {
        let rules = vec![Rule { nr, argument: None, value: RET_LOG }];
        Self { rules, ..Self::default() }
    }

    /// What it is installed with.
    pub fn flags(&self) -> FilterFlags {
        let flag = |set, flag| if set { flag } else { FilterFlags::empty() };
        flag(self.log, FilterFlags::LOG) | flag(self.listener, FilterFlags::NEW_LISTENER)
    }

    /// Its program.
    pub fn program(&self) -> Vec<SockFilter> {
        const NR: u32 = 0;
        const ARGUMENT: u32 = 16;
        let load = |offset| SockFilter::new(0x20, 0, 0, offset);
        let ret = |value| SockFilter::new(0x06, 0, 0, value);
        let mut program = Vec::new();
        for Rule { nr, argument, value } in &self.rules {
            let skip = if argument.is_some() { 3 } else { 1 };
            program.extend([load(NR), SockFilter::new(0x15, 0, skip, nr.cast_unsigned())]);
            if let Some(argument) = argument {
                program.extend([load(ARGUMENT), SockFilter::new(0x15, 0, 1, *argument)]);
            }
            program.push(ret(*value));
        }
        program.push(ret(RET_ALLOW));
        program
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
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, steps) = line.split_once('|').ok_or_else(|| format!("no `|` in `{line}`"))?;
        for (choices, steps) in alternatives(steps) {
            let name = format!("{} {choices}", name.trim()).trim_end().to_owned();
            let mut row = Row { name, ..Row::default() };
            for step in steps.split(';').map(str::trim).filter(|step| !step.is_empty()) {
                parse_step(&mut row, step).map_err(|why| format!("{}: `{step}`: {why}", row.name))?;
            }
            rows.push(row);
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

fn parse_step(row: &mut Row, text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match *words {
        ["filter", ref rules @ ..] => row.filters.push(filter(rules)?),
        ["supervisor", "continue"] => row.supervisor = Supervisor::Answers(Reply::Continue),
        ["supervisor", "return", value] => {
            row.supervisor = Supervisor::Answers(Reply::Return(number(value)?));
        }
        ["supervisor", "signal"] => row.supervisor = Supervisor::Signals,
        ["supervisor", "closed"] => row.supervisor = Supervisor::Closed,
        ["tracer", "none"] => row.tracer = Tracer::None,
        ["tracer", "plain"] => row.tracer = Tracer::Plain,
        ["entry", ref words @ ..] => row.entry = Some(change(words)?),
        ["asked", ref words @ ..] => row.asked = change(words)?,
        ["call", nr, ref args @ ..] => {
            row.nr = call(nr)?;
            for (to, argument) in row.args.iter_mut().zip(args) {
                *to = number(argument)?.cast_unsigned();
            }
        }
        _ => return Err("no such step".to_owned()),
    }
    Ok(())
}

fn filter(words: &[&str]) -> Result<Filter, String> {
    let flag = |words: &mut &[&str], name| match words.split_first() {
        Some((first, rest)) if *first == name => {
            *words = rest;
            true
        }
        _ => false,
    };
    let mut rules = words;
    let (log, listener) = (flag(&mut rules, "log"), flag(&mut rules, "listener"));
    let rule = |text: &&str| {
        let (calls, action) = text.split_once('=').ok_or("no `=`")?;
        let (name, argument) = match calls.split_once('(') {
            Some((name, argument)) => (name, Some(number(argument.trim_end_matches(')'))? as u32)),
            None => (calls, None),
        };
        let (action, data) = action.split_once(':').unwrap_or((action, "0"));
        let action = match action {
            "KILL_PROCESS" => RET_KILL_PROCESS,
            "KILL_THREAD" => RET_KILL_THREAD,
            "TRAP" => RET_TRAP,
            "ERRNO" => RET_ERRNO,
            "NOTIFY" => RET_USER_NOTIF,
            "TRACE" => RET_TRACE,
            "LOG" => RET_LOG,
            "ALLOW" => RET_ALLOW,
            "UNKNOWN" => 0x0001_0000,
            _ => return Err(format!("`{action}` is no action")),
        };
        Ok(Rule { nr: call(name)?, argument, value: action | number(data)? as u32 })
    };
    let rules = rules.iter().map(rule).collect::<Result<_, String>>()?;
    Ok(Filter { log, listener, rules })
}

fn change(words: &[&str]) -> Result<Change, String> {
    let (by, sets) = match *words {
        ["nothing"] => return Ok(Change::Nothing),
        ["kill"] => return Ok(Change::Kill),
        ["detach"] => return Ok(Change::Detach),
        ["regs", ref sets @ ..] => (By::Registers, sets),
        ["info", ref sets @ ..] => (By::SyscallInfo, sets),
        _ => return Err("no such change".to_owned()),
    };
    let mut new = Sets::default();
    for set in sets {
        match set.split_once('=') {
            Some(("nr", value)) => {
                new.nr = Some(call(value).map_or_else(|_| number(value), |nr| Ok(nr.into()))?)
            }
            Some(("arg", value)) => new.argument = Some(number(value)?.cast_unsigned()),
            Some(("ret", value)) if by == By::Registers => new.returned = Some(number(value)?),
            _ => return Err(format!("`{set}` sets nothing")),
        }
    }
    Ok(Change::Set(by, new))
}

fn call(text: &str) -> Result<i32, String> {
    match text {
        "pid" => Ok(libc::SYS_getpid as i32),
        "max" => Ok(libc::SYS_sched_get_priority_max as i32),
        "min" => Ok(libc::SYS_sched_get_priority_min as i32),
        _ => number(text)?.try_into().map_err(|_| format!("`{text}` is no number of a call")),
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}
