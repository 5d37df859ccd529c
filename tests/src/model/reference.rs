//! What Linux's seccomp is, written down plainly: every thread has a list of filters, every listener a list of
//! requests, and whatever is asked is counted anew.

use std::collections::BTreeMap;

use cbpf_translator::SockFilter;

const EACCES: i64 = 13;
const ENOENT: i64 = 2;
const ESRCH: i64 = 3;
const EINTR: i64 = 4;
const EBADF: i64 = 9;
const ENOMEM: i64 = 12;
const EBUSY: i64 = 16;
const EINVAL: i64 = 22;
const ENOSYS: i64 = 38;
const EINPROGRESS: i64 = 115;

pub const TSYNC: u32 = 1;
pub const LOG: u32 = 2;
pub const NEW_LISTENER: u32 = 8;
pub const TSYNC_ESRCH: u32 = 16;
pub const WAIT_KILLABLE: u32 = 32;
const KNOWN_FLAGS: u32 = 63;

pub const KILL_PROCESS: u32 = 0x8000_0000;
pub const KILL_THREAD: u32 = 0;
pub const TRAP: u32 = 0x0003_0000;
pub const ERRNO: u32 = 0x0005_0000;
pub const USER_NOTIF: u32 = 0x7fc0_0000;
pub const TRACE: u32 = 0x7ff0_0000;
pub const LOGGED: u32 = 0x7ffc_0000;
pub const ALLOW: u32 = 0x7fff_0000;

pub const READ: i32 = 0;
pub const CLOSE: i32 = 3;
pub const GETPID: i32 = 39;
pub const EXIT: i32 = 60;
pub const GETPPID: i32 = 110;
pub const CAPSET: i32 = 126;
pub const PRCTL: i32 = 157;
pub const GETTID: i32 = 186;
pub const EXIT_GROUP: i32 = 231;

/// A program: the first rule that fits answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Rules, and the value for all other calls.
    Rules(Vec<Rule>, u32),
    /// As long as can be: this value, again and again.
    Long(u32),
    /// One that Linux refuses.
    Bad,
}

/// This value for calls of a number, perhaps only with a first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub nr: i32,
    pub argument: Option<u32>,
    pub value: u32,
}

impl Program {
    fn value(&self, nr: i32, argument: u64) -> u32 {
        match self {
            Self::Rules(rules, otherwise) => {
                let fits = |rule: &&Rule| {
                    rule.nr == nr && rule.argument.is_none_or(|wanted| wanted == argument as u32)
                };
                rules.iter().find(fits).map_or(*otherwise, |rule| rule.value)
            }
            Self::Long(value) => *value,
            Self::Bad => unreachable!("it was refused"),
        }
    }

    /// Its instructions.
    pub fn insns(&self) -> Vec<SockFilter> {
        const LD: u16 = 0x20;
        const JEQ: u16 = 0x15;
        const RET: u16 = 0x06;
        const FIRST_ARGUMENT: u32 = 16;
        let insn = |code, jf, k| SockFilter::new(code, 0, jf, k);
        match self {
            Self::Rules(rules, otherwise) => {
                let mut insns = Vec::new();
                for rule in rules {
                    let nr = rule.nr.cast_unsigned();
                    insns.push(insn(LD, 0, 0));
                    match rule.argument {
                        Some(argument) => insns.extend([
                            insn(JEQ, 3, nr),
                            insn(LD, 0, FIRST_ARGUMENT),
                            insn(JEQ, 1, argument),
                        ]),
                        None => insns.push(insn(JEQ, 1, nr)),
                    }
                    insns.push(insn(RET, 0, rule.value));
                }
                insns.push(insn(RET, 0, *otherwise));
                insns
            }
            Self::Long(value) => vec![insn(RET, 0, *value); 4096],
            Self::Bad => vec![insn(LD, 0, 64), insn(RET, 0, ALLOW)],
        }
    }

    /// The instructions of Linux's translation: three to begin with, two for each return, one for everything else.
    fn translated(&self) -> usize {
        match self {
            Self::Rules(rules, _) => {
                let rule = |rule: &Rule| if rule.argument.is_some() { 4 + 2 } else { 2 + 2 };
                3 + rules.iter().map(rule).sum::<usize>() + 2
            }
            Self::Long(_) => 3 + 2 * 4096,
            Self::Bad => unreachable!("it was refused"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Filter {
    program: Program,
    log: bool,
    listener: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Disabled,
    Strict,
    Filter,
}

#[derive(Clone, Debug)]
pub struct Thread {
    pub process: usize,
    pub tid: i32,
    pub alive: bool,
    pub mode: Mode,
    /// The oldest first.
    pub filters: Vec<usize>,
    pub no_new_privs: bool,
    admin: bool,
    /// The call in which it waits for a supervisor, and where.
    pub waits: Option<Waits>,
}

#[derive(Clone, Copy, Debug)]
pub struct Waits {
    listener: usize,
    nr: i32,
    arguments: [u64; 2],
    log: Option<Logged>,
}

/// Signal, action and number of an audit record.
pub type Logged = (i32, u32, i32);

#[derive(Clone, Debug)]
pub struct Process {
    pub ended: bool,
    /// Descriptors, and the listeners that some of them lead to.
    pub descriptors: BTreeMap<u32, Option<usize>>,
    pub log: Vec<Logged>,
    traps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Init,
    Sent,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    id: u64,
    thread: usize,
    state: State,
}

#[derive(Clone, Debug)]
pub struct Listener {
    filter: usize,
    killable: bool,
    requests: Vec<Request>,
    next_id: u64,
    /// How many RECVs do not wait.
    announced: u32,
    /// The supervisor's descriptor.
    pub held: Option<u32>,
    closed: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Returned(i64),
    Trapped,
    Gone,
    Asleep,
}

/// Who is told of an end: a thread, or one of the supervisor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Thread(usize),
    Supervisor(usize),
}

/// Somebody's call that had slept came to this end.
pub type Event = (Actor, Outcome);

/// What all filters of a thread say of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub value: u32,
    /// The place of the filter that it is from, from the oldest.
    pub winner: usize,
    log: bool,
    listener: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub processes: Vec<Process>,
    pub threads: Vec<Thread>,
    pub filters: Vec<Filter>,
    pub listeners: Vec<Listener>,
    /// The listener that each of the supervisor's threads waits at in RECV.
    pub receiving: [Option<usize>; 2],
    /// The numbers that the supervisor's descriptors have.
    supervisor: BTreeMap<u32, Option<usize>>,
    pub events: Vec<Event>,
}

/// What an installation answers.
pub type Answer = Result<i64, i64>;

impl World {
    /// One process with one thread. `traps`: it has a handler for SIGSYS.
    pub fn new(tid: i32, traps: bool) -> Self {
        let standard: BTreeMap<u32, Option<usize>> = (0..3).map(|fd| (fd, None)).collect();
        Self {
            processes: vec![Process { ended: false, descriptors: standard.clone(), log: Vec::new(), traps }],
            threads: vec![Thread {
                process: 0,
                tid,
                alive: true,
                mode: Mode::Disabled,
                filters: Vec::new(),
                no_new_privs: false,
                admin: true,
                waits: None,
            }],
            filters: Vec::new(),
            listeners: Vec::new(),
            receiving: [None; 2],
            supervisor: standard,
            events: Vec::new(),
        }
    }

    pub fn live(&self) -> Vec<usize> {
        (0..self.threads.len()).filter(|at| self.threads[*at].alive).collect()
    }

    fn group(&self, process: usize) -> Vec<usize> {
        self.live().into_iter().filter(|at| self.threads[*at].process == process).collect()
    }

    pub fn is_open(&self, listener: usize) -> bool {
        let held = |table: &BTreeMap<u32, Option<usize>>| table.values().any(|file| *file == Some(listener));
        held(&self.supervisor)
            || self.processes.iter().any(|process| held(&process.descriptors))
            || self.receiving.contains(&Some(listener))
    }

    fn is_used(&self, listener: usize) -> bool {
        let filter = self.listeners[listener].filter;
        self.live().iter().any(|at| self.threads[*at].filters.contains(&filter))
    }

    /// IN 1, OUT 4, HUP 16.
    pub fn poll(&self, listener: usize) -> u32 {
        let of = &self.listeners[listener];
        let any = |state| of.requests.iter().any(|request| request.state == state);
        u32::from(any(State::Init))
            | u32::from(any(State::Sent)) << 2
            | u32::from(!self.is_used(listener)) << 4
    }

    pub fn born(&mut self, parent: usize, tid: i32) {
        let child = Thread { tid, waits: None, ..self.threads[parent].clone() };
        self.threads.push(child);
    }

    pub fn forked(&mut self, parent: usize, tid: i32) {
        let of = self.threads[parent].process;
        self.processes.push(Process { log: Vec::new(), ..self.processes[of].clone() });
        let process = self.processes.len() - 1;
        self.threads.push(Thread { process, tid, waits: None, ..self.threads[parent].clone() });
    }

    pub fn install(&mut self, thread: usize, flags: u32, program: &Program) -> Answer {
        if flags & !KNOWN_FLAGS != 0
            || flags & (TSYNC | NEW_LISTENER) == TSYNC | NEW_LISTENER && flags & TSYNC_ESRCH == 0
            || flags & WAIT_KILLABLE != 0 && flags & NEW_LISTENER == 0
        {
            return Err(EINVAL);
        }
        let of = self.threads[thread].clone();
        if !of.no_new_privs && !of.admin {
            return Err(EACCES);
        }
        if *program == Program::Bad || of.mode == Mode::Strict {
            return Err(EINVAL);
        }
        let listens = |at: &usize| self.filters[*at].listener.is_some_and(|listener| self.is_open(listener));
        if flags & NEW_LISTENER != 0 && of.filters.iter().any(listens) {
            return Err(EBUSY);
        }
        let below: usize = of.filters.iter().map(|at| self.filters[*at].program.translated() + 4).sum();
        if below + program.translated() > 32768 {
            return Err(ENOMEM);
        }
        let siblings: Vec<usize> =
            self.group(of.process).into_iter().filter(|sibling| *sibling != thread).collect();
        if flags & TSYNC != 0 {
            let diverged = siblings.iter().find(|sibling| {
                let sibling = &self.threads[**sibling];
                sibling.mode == Mode::Strict || !of.filters.starts_with(&sibling.filters)
            });
            if let Some(diverged) = diverged {
                let tid = self.threads[*diverged].tid;
                return if flags & TSYNC_ESRCH != 0 { Err(ESRCH) } else { Ok(tid.into()) };
            }
        }
        let new = self.filters.len();
        let listener = (flags & NEW_LISTENER != 0).then_some(self.listeners.len());
        self.filters.push(Filter { program: program.clone(), log: flags & LOG != 0, listener });
        let mut filters = of.filters;
        filters.push(new);
        let synced = if flags & TSYNC != 0 { siblings } else { Vec::new() };
        for at in synced {
            self.threads[at].filters.clone_from(&filters);
            self.threads[at].mode = Mode::Filter;
            self.threads[at].no_new_privs |= of.no_new_privs;
        }
        self.threads[thread].filters = filters;
        self.threads[thread].mode = Mode::Filter;
        let Some(listener) = listener else { return Ok(0) };
        self.listeners.push(Listener {
            filter: new,
            killable: flags & WAIT_KILLABLE != 0,
            requests: Vec::new(),
            next_id: 1,
            announced: 0,
            held: None,
            closed: false,
        });
        let descriptors = &mut self.processes[of.process].descriptors;
        let fd = lowest_free(descriptors);
        descriptors.insert(fd, Some(listener));
        Ok(fd.into())
    }

    /// The supervisor gets the listener too.
    pub fn handed_over(&mut self, listener: usize) -> u32 {
        let fd = lowest_free(&self.supervisor);
        self.supervisor.insert(fd, Some(listener));
        self.listeners[listener].held = Some(fd);
        fd
    }

    /// What the filters of a thread in filter mode say.
    pub fn decide(&self, thread: usize, nr: i32, argument: u64) -> Decided {
        let mut decided: Option<Decided> = None;
        let filters = &self.threads[thread].filters;
        for (winner, at) in filters.iter().enumerate() {
            let filter = &self.filters[*at];
            let value = filter.program.value(nr, argument);
            let lower =
                |other: u32| (value & 0xffff_0000).cast_signed() <= (other & 0xffff_0000).cast_signed();
            // Of equals the newest.
            if decided.is_none_or(|decided| lower(decided.value)) {
                decided = Some(Decided { value, winner, log: filter.log, listener: filter.listener });
            }
        }
        decided.expect("filter mode has filters")
    }

    /// A call, from its entry on.
    pub fn call(&mut self, thread: usize, nr: i32, argument: u64, second: u64) -> Outcome {
        let of = self.threads[thread].process;
        match self.threads[thread].mode {
            Mode::Disabled => return self.run(thread, nr, argument, second),
            Mode::Strict if [READ, EXIT].contains(&nr) => return self.run(thread, nr, argument, second),
            Mode::Strict => {
                self.processes[of].log.push((9, KILL_THREAD, nr));
                return self.leave(thread);
            }
            Mode::Filter => {}
        }
        let Decided { value, log, listener, .. } = self.decide(thread, nr, argument);
        let action = value & 0xffff_0000;
        let data = i64::from(value & 0xffff);
        let requested = log.then_some((0, action, nr));
        match action {
            ALLOW => return self.run(thread, nr, argument, second),
            LOGGED => {
                self.processes[of].log.push((0, action, nr));
                return self.run(thread, nr, argument, second);
            }
            KILL_THREAD => {
                self.processes[of].log.push((31, action, nr));
                return if self.group(of).len() > 1 { self.leave(thread) } else { self.end(of) };
            }
            USER_NOTIF => {
                if let Some(listener) = listener.filter(|listener| !self.listeners[*listener].closed) {
                    self.threads[thread].waits =
                        Some(Waits { listener, nr, arguments: [argument, second], log: requested });
                    let listener = &mut self.listeners[listener];
                    let id = listener.next_id;
                    listener.next_id += 1;
                    listener.announced += 1;
                    listener.requests.push(Request { id, thread, state: State::Init });
                    return Outcome::Asleep;
                }
            }
            ERRNO | TRACE | TRAP => {}
            // KILL_PROCESS, and what Linux does not know.
            _ => {
                self.processes[of].log.push((31, action, nr));
                return self.end(of);
            }
        }
        self.processes[of].log.extend(requested);
        match action {
            ERRNO => Outcome::Returned(-data.min(4095)),
            TRAP if self.processes[of].traps => Outcome::Trapped,
            TRAP => self.end(of),
            _ => Outcome::Returned(-ENOSYS),
        }
    }

    fn run(&mut self, thread: usize, nr: i32, argument: u64, second: u64) -> Outcome {
        const SET_SECCOMP: u64 = 22;
        const NO_NEW_PRIVS: u64 = 38;
        let of = self.threads[thread].process;
        match nr {
            GETPID | GETPPID | GETTID => Outcome::Returned(crate::mock::SOME_PID),
            READ => Outcome::Returned(0),
            EXIT => self.leave(thread),
            EXIT_GROUP => self.end(of),
            CAPSET => {
                self.threads[thread].admin = false;
                Outcome::Returned(0)
            }
            CLOSE => {
                let fd = argument as u32;
                match self.processes[of].descriptors.remove(&fd) {
                    Some(_) => {
                        self.close_unheld();
                        Outcome::Returned(0)
                    }
                    None => Outcome::Returned(-EBADF),
                }
            }
            PRCTL if argument == NO_NEW_PRIVS && second == 1 => {
                self.threads[thread].no_new_privs = true;
                Outcome::Returned(0)
            }
            PRCTL if argument == SET_SECCOMP && second == 1 => match self.threads[thread].mode {
                Mode::Filter => Outcome::Returned(-EINVAL),
                _ => {
                    self.threads[thread].mode = Mode::Strict;
                    Outcome::Returned(0)
                }
            },
            _ => unreachable!("no step makes call {nr}({argument}, {second})"),
        }
    }

    /// One thread ends, and with the last its process.
    fn leave(&mut self, thread: usize) -> Outcome {
        let of = self.threads[thread].process;
        self.threads[thread].alive = false;
        if self.group(of).is_empty() {
            self.processes[of].ended = true;
            self.processes[of].descriptors.clear();
        }
        self.close_unheld();
        Outcome::Gone
    }

    /// All threads of a process end; those that wait say so.
    fn end(&mut self, process: usize) -> Outcome {
        self.processes[process].ended = true;
        for thread in self.group(process) {
            if let Some(waits) = self.threads[thread].waits.take() {
                self.forget(thread, waits.listener);
                self.processes[process].log.extend(waits.log);
                self.events.push((Actor::Thread(thread), Outcome::Gone));
            }
            self.threads[thread].alive = false;
        }
        self.processes[process].descriptors.clear();
        self.close_unheld();
        Outcome::Gone
    }

    fn forget(&mut self, thread: usize, listener: usize) {
        self.listeners[listener].requests.retain(|request| request.thread != thread);
    }

    /// What nobody holds is closed, and whoever waits there gets ENOSYS.
    fn close_unheld(&mut self) {
        for listener in 0..self.listeners.len() {
            if self.listeners[listener].closed || self.is_open(listener) {
                continue;
            }
            self.listeners[listener].closed = true;
            for request in self.listeners[listener].requests.clone() {
                self.answer(request.thread, Some(-ENOSYS));
            }
        }
    }

    /// The call of a thread that waits returns this, or runs.
    fn answer(&mut self, thread: usize, value: Option<i64>) {
        let Some(waits) = self.threads[thread].waits.take() else { return };
        self.forget(thread, waits.listener);
        let process = self.threads[thread].process;
        let outcome = match value {
            Some(value) => {
                self.processes[process].log.extend(waits.log);
                Outcome::Returned(value)
            }
            None => self.run(thread, waits.nr, waits.arguments[0], waits.arguments[1]),
        };
        self.events.push((Actor::Thread(thread), outcome));
    }

    /// Whether a signal that does not kill reaches the thread where it waits.
    fn is_interruptible(&self, thread: usize, listener: usize) -> bool {
        let listener = &self.listeners[listener];
        let request = listener.requests.iter().find(|request| request.thread == thread);
        !(listener.killable && request.is_some_and(|request| request.state == State::Sent))
    }

    /// A signal with a handler for a thread that waits.
    pub fn signal(&mut self, thread: usize, restarts: bool) {
        let Some(waits) = self.threads[thread].waits else { return };
        if !self.is_interruptible(thread, waits.listener) {
            return;
        }
        self.threads[thread].waits = None;
        self.forget(thread, waits.listener);
        let process = self.threads[thread].process;
        self.processes[process].log.extend(waits.log);
        let outcome = if restarts {
            match self.call(thread, waits.nr, waits.arguments[0], waits.arguments[1]) {
                Outcome::Asleep => return,
                outcome => outcome,
            }
        } else {
            Outcome::Returned(-EINTR)
        };
        self.events.push((Actor::Thread(thread), outcome));
    }

    /// SIGKILL for a process.
    pub fn kill(&mut self, process: usize) {
        self.end(process);
    }

    /// RECV by one of the supervisor's threads.
    pub fn receive(&mut self, supervisor: usize, listener: usize) {
        self.receiving[supervisor] = Some(listener);
    }

    /// Serves RECVs that wait, as far as there is something to serve.
    pub fn settle(&mut self) {
        for supervisor in 0..self.receiving.len() {
            let Some(at) = self.receiving[supervisor] else { continue };
            let used = self.is_used(at);
            let listener = &mut self.listeners[at];
            if used {
                match listener.announced.checked_sub(1) {
                    Some(announced) => listener.announced = announced,
                    None => continue,
                }
            }
            let outcome = match listener.requests.iter_mut().find(|request| request.state == State::Init) {
                Some(request) => {
                    request.state = State::Sent;
                    Outcome::Returned(0)
                }
                None => Outcome::Returned(-ENOENT),
            };
            self.receiving[supervisor] = None;
            self.events.push((Actor::Supervisor(supervisor), outcome));
            self.close_unheld();
        }
    }

    /// The id of the request at this place, the oldest first, or one that no request has.
    pub fn request_id(&self, listener: usize, place: usize) -> u64 {
        let requests = &self.listeners[listener].requests;
        requests.get(place).map_or(u64::MAX, |request| request.id)
    }

    fn sent(&self, listener: usize, id: u64) -> Result<usize, i64> {
        let request = self.listeners[listener].requests.iter().find(|request| request.id == id);
        match request {
            None => Err(ENOENT),
            Some(request) if request.state == State::Init => Err(EINPROGRESS),
            Some(request) => Ok(request.thread),
        }
    }

    /// SEND: a value, or CONTINUE.
    pub fn send(&mut self, supervisor: usize, listener: usize, id: u64, value: Option<i64>) {
        let outcome = match self.sent(listener, id) {
            Ok(thread) => {
                self.answer(thread, value);
                0
            }
            Err(errno) => -errno,
        };
        self.events.push((Actor::Supervisor(supervisor), Outcome::Returned(outcome)));
    }

    /// ID_VALID.
    pub fn id_valid(&mut self, supervisor: usize, listener: usize, id: u64) {
        let outcome = if self.sent(listener, id).is_ok() { 0 } else { -ENOENT };
        self.events.push((Actor::Supervisor(supervisor), Outcome::Returned(outcome)));
    }

    /// ADDFD of a plain file; `send`: it is the answer.
    pub fn add_fd(&mut self, supervisor: usize, listener: usize, id: u64, newfd: Option<u32>, send: bool) {
        let outcome = match self.sent(listener, id) {
            Ok(thread) => {
                let descriptors = &mut self.processes[self.threads[thread].process].descriptors;
                let fd = newfd.unwrap_or_else(|| lowest_free(descriptors));
                descriptors.insert(fd, None);
                if send {
                    self.answer(thread, Some(fd.into()));
                }
                fd.into()
            }
            Err(errno) => -errno,
        };
        self.events.push((Actor::Supervisor(supervisor), Outcome::Returned(outcome)));
        self.close_unheld();
    }

    /// The supervisor closes its descriptor.
    pub fn let_go(&mut self, listener: usize) {
        let Some(fd) = self.listeners[listener].held.take() else { return };
        self.supervisor.remove(&fd);
        self.close_unheld();
    }
}

fn lowest_free(descriptors: &BTreeMap<u32, Option<usize>>) -> u32 {
    (0..).find(|fd| !descriptors.contains_key(fd)).expect("there is no end of numbers")
}
