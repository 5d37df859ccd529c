//! Random walks of processes, threads, filters, supervisors and signals: on the library over the mock kernel, and on
//! a plain model of Linux (`reference.rs`). After each step both are in the same state and have answered the same.
//!
//! A walk begins with one process. Another process, without filters, supervises: its two threads make the ioctls
//! of listeners.

mod reference;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rand::Rng;
use rand::seq::IndexedRandom;
use seccomp_kernel::notify::{
    SECCOMP_ADDFD_FLAG_SEND, SECCOMP_ADDFD_FLAG_SETFD, SECCOMP_IOCTL_NOTIF_ADDFD,
    SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE, SeccompNotif, SeccompNotifAddfd, SeccompNotifResp,
};
use seccomp_kernel::{Arch, Filter, Pass, Thread as _, evaluate};
use seccomp_runtime::SeccompData;
use zerocopy::IntoBytes;

use self::reference::{Actor, Decided, Event, Mode, Outcome, Program, World};
use crate::mock::{self, Disposition, Engine, Faults, File, Process, Progress, Reply, Signal};

/// The most steps of a walk.
const WALK: usize = 160;

/// The most live processes and threads; beyond that none are born.
const CROWD: usize = 10;

/// One step. Who does it is counted among those who can, so that any part of a walk is a walk.
#[derive(Clone, Debug)]
enum Step {
    Install { thread: usize, flags: u32, program: Program, handed_over: bool },
    Call { thread: usize, nr: i32, arguments: [u64; 2] },
    CloseListener { thread: usize },
    Spawn { parent: usize },
    Fork { parent: usize },
    Receive { supervisor: usize, listener: usize },
    Send { supervisor: usize, listener: usize, place: usize, value: Option<i64> },
    IdValid { supervisor: usize, listener: usize, place: usize },
    AddFd { supervisor: usize, listener: usize, place: usize, newfd: Option<u32>, send: bool },
    LetGo { supervisor: usize, listener: usize },
    Signal { thread: usize, restarts: bool },
    Kill { thread: usize },
}

/// How often which step had which outcome.
pub type Tally = BTreeMap<String, u64>;

/// Walks until `steps` steps are made.
///
/// # Panics
///
/// The library and the model differ: the message has the shortest walk that was found to show it.
pub fn check(rng: &mut impl Rng, steps: u64) -> Tally {
    let mut tally = Tally::new();
    let engines: Vec<Engine> = Engine::all().collect();
    let mut made = 0;
    while made < steps {
        let engine = engines[made as usize % engines.len()];
        let traps = rng.random();
        let walk: Vec<Step> = (0..WALK).map(|_| step(rng)).collect();
        match run(&walk, engine, traps, &mut tally) {
            Ok(steps) => made += steps.max(1),
            Err(_) => {
                let walk = shortest(walk, |walk| run(walk, engine, traps, &mut Tally::new()).is_err());
                let why = run(&walk, engine, traps, &mut Tally::new()).expect_err("it differs");
                let mut message = format!("{engine:?}, SIGSYS handled: {traps}\n");
                walk.iter().for_each(|step| writeln!(message, "  {step:?}").expect("a string"));
                panic!("{message}{why}");
            }
        }
    }
    tally
}

/// Cuts steps as long as the walk still shows what it shows.
fn shortest(mut walk: Vec<Step>, shows: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut part = walk.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < walk.len() {
            let mut cut = walk.clone();
            cut.drain(at..(at + part).min(walk.len()));
            if shows(&cut) {
                walk = cut;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    walk
}

fn step(rng: &mut impl Rng) -> Step {
    let [thread, listener] = [rng.random_range(0..1000), rng.random_range(0..1000)];
    let supervisor = rng.random_range(0..2);
    let place = *[0, 0, 0, 0, 1, 2].choose(rng).expect("places");
    match rng.random_range(0..100) {
        0..22 => {
            let flags = *[
                0,
                0,
                0,
                1,
                1,
                2,
                4,
                16,
                17,
                3,
                8,
                8,
                8,
                10,
                25,
                24,
                40,
                57,
                41,
                32,
                9,
                33,
                64,
                0x8000_0000,
            ]
            .choose(rng)
            .expect("flags");
            let mut program = program(rng);
            // A listener is of use to a filter that asks it.
            if let (true, Program::Rules(rules, _)) = (flags & reference::NEW_LISTENER != 0, &mut program) {
                let value = reference::USER_NOTIF;
                rules.insert(0, reference::Rule { nr: reference::GETPPID, argument: None, value });
            }
            Step::Install { thread, flags, program, handed_over: rng.random_ratio(7, 8) }
        }
        22..48 => {
            use reference::*;
            let nr = *[
                GETPID, GETPPID, GETTID, GETPPID, GETPPID, GETPPID, READ, EXIT, CAPSET, PRCTL, PRCTL,
                EXIT_GROUP,
            ]
            .choose(rng)
            .expect("numbers");
            let arguments = match nr {
                // no_new_privs more often than strict mode.
                PRCTL => [*[38, 38, 38, 22].choose(rng).expect("options"), 1],
                _ => [rng.random_range(0..3), 0],
            };
            let rare = matches!(nr, EXIT | EXIT_GROUP) && rng.random_ratio(1, 2);
            Step::Call { thread, nr: if rare { GETPID } else { nr }, arguments }
        }
        48..51 => Step::CloseListener { thread },
        51..58 => Step::Spawn { parent: thread },
        58..63 => Step::Fork { parent: thread },
        63..75 => Step::Receive { supervisor, listener },
        75..84 => {
            let value = *[None, None, Some(0), Some(7), Some(-1), Some(-4095), Some(i64::MAX)]
                .choose(rng)
                .expect("values");
            Step::Send { supervisor, listener, place, value }
        }
        84..86 => Step::IdValid { supervisor, listener, place },
        86..90 => {
            let newfd = *[None, None, Some(3), Some(9)].choose(rng).expect("numbers");
            Step::AddFd { supervisor, listener, place, newfd, send: rng.random() }
        }
        90..92 => Step::LetGo { supervisor, listener },
        92..98 => Step::Signal { thread, restarts: rng.random() },
        _ => Step::Kill { thread },
    }
}

fn program(rng: &mut impl Rng) -> Program {
    use reference::*;
    // What kills is rare, or walks would be short.
    let value = |rng: &mut _| {
        let harmless = [
            ALLOW,
            ALLOW,
            LOGGED,
            ERRNO | 1,
            ERRNO | 2,
            ERRNO | 0xffff,
            TRACE | 3,
            USER_NOTIF,
            USER_NOTIF | 1,
            TRAP | 5,
        ];
        let lethal = [KILL_THREAD, KILL_PROCESS, 0x0001_0000, 0x7ffe_0000, 0x8001_0000];
        let values: &[u32] = if Rng::random_ratio(rng, 1, 12) { &lethal } else { &harmless };
        *values.choose(rng).expect("values")
    };
    match rng.random_range(0..40) {
        0 => Program::Bad,
        1..3 => Program::Long(ALLOW),
        _ => {
            let rules = (0..rng.random_range(0..4)).map(|_| Rule {
                nr: *[GETPID, GETPPID, GETTID, GETPID, GETPPID, GETTID, CAPSET, PRCTL, EXIT]
                    .choose(rng)
                    .expect("numbers"),
                argument: rng.random_bool(0.4).then(|| rng.random_range(0..3)),
                value: value(rng),
            });
            let rules = rules.collect();
            Program::Rules(rules, if rng.random_ratio(1, 20) { ERRNO | 3 } else { ALLOW })
        }
    }
}

/// The library's side.
struct Library {
    processes: Vec<Process>,
    threads: Vec<Arc<mock::Thread>>,
    supervisor: Process,
    /// The supervisor's threads, and where each receives.
    receivers: [(Arc<mock::Thread>, u64); 2],
    /// The addresses of filters, to know them again.
    filters: Vec<*const Filter>,
    /// The supervisor's descriptors, by listener.
    held: Vec<Option<u32>>,
    listeners: Vec<mock::Listener>,
}

/// Makes the walk on both sides. The number of steps made, or how they differ.
fn run(walk: &[Step], engine: Engine, traps: bool, tally: &mut Tally) -> Result<u64, String> {
    let first = Process::new(engine, Faults::default());
    let leader = first.leader();
    first.set_disposition(&leader, if traps { Disposition::Handled } else { Disposition::Default });
    let supervisor = Process::new(engine, Faults::default());
    let main = supervisor.leader();
    let second = supervisor.spawn(&main);
    let buffer = || supervisor.memory().add(SeccompNotif::default().as_bytes());
    let receivers = [(main, buffer()), (second, buffer())];
    let mut world = World::new(leader.tid(), traps);
    let mut library = Library {
        processes: vec![first],
        threads: vec![leader],
        supervisor,
        receivers,
        filters: Vec::new(),
        held: Vec::new(),
        listeners: Vec::new(),
    };
    let mut made = 0;
    for step in walk {
        let Some((name, expected, found)) = library.make(step, &mut world) else { continue };
        made += 1;
        world.settle();
        let found_events = library.settle();
        let mut expected_events = std::mem::take(&mut world.events);
        expected_events.sort();
        if expected != found || expected_events != found_events {
            return Err(format!(
                "{step:?}\n  expected {expected}, {expected_events:?}\n  found {found}, {found_events:?}"
            ));
        }
        library.compare(&world).map_err(|why| format!("after {step:?}: {why}"))?;
        let class = expected.split('(').next().unwrap_or_default();
        let class = if expected.starts_with("Returned(-") { &expected } else { class };
        *tally.entry(format!("{name} {class}")).or_default() += 1;
        for (actor, outcome) in expected_events {
            let who = if matches!(actor, Actor::Thread(_)) { "waiting" } else { name };
            *tally.entry(format!("{who}: {outcome:?}")).or_default() += 1;
        }
        if world.live().is_empty() {
            break;
        }
    }
    Ok(made)
}

impl Library {
    /// Makes a step on both sides, if there is somebody to make it: its name, and what each side answered at
    /// once.
    fn make(&mut self, step: &Step, world: &mut World) -> Option<(&'static str, String, String)> {
        let awake: Vec<usize> =
            world.live().into_iter().filter(|at| world.threads[*at].waits.is_none()).collect();
        let waiting: Vec<usize> =
            world.live().into_iter().filter(|at| world.threads[*at].waits.is_some()).collect();
        let pick = |among: &[usize], which: usize| among.get(which.checked_rem(among.len())?).copied();
        let held: Vec<usize> =
            (0..self.held.len()).filter(|listener| world.listeners[*listener].held.is_some()).collect();
        let free = |supervisor: &usize| world.receiving[*supervisor].is_none();
        let nothing = || ("-".to_owned(), "-".to_owned());
        let (name, (expected, found)) = match step {
            Step::Install { thread, flags, program, handed_over } => {
                let thread = pick(&awake, *thread)?;
                let listeners = world.listeners.len();
                let expected = world.install(thread, *flags, program);
                let process = &self.processes[world.threads[thread].process];
                let caller = &self.threads[thread];
                let found = process.install(caller, *flags, &program.insns());
                if world.filters.len() > self.filters.len() {
                    let newest = caller.seccomp().filter().map_or(std::ptr::null(), std::ptr::from_ref);
                    self.filters.push(newest);
                }
                if let (true, Ok(fd)) = (world.listeners.len() > listeners, found) {
                    let file = process.file(fd.cast_unsigned()).expect("the new listener");
                    let File::Listener(opened) = &file else { panic!("descriptor {fd} is no listener") };
                    self.listeners.push(opened.0.clone());
                    self.held.push(None);
                    if *handed_over {
                        let fd = self.supervisor.open(file).expect("room for it").cast_unsigned();
                        assert_eq!(world.handed_over(listeners), fd);
                        self.held[listeners] = Some(fd);
                    }
                }
                let found = found.map(i64::from).map_err(|errno| i64::from(errno.into_raw()));
                ("install", (format!("{expected:?}"), format!("{found:?}")))
            }
            Step::Call { thread, nr, arguments } => {
                let thread = pick(&awake, *thread)?;
                ("call", self.call(world, thread, *nr, *arguments))
            }
            Step::CloseListener { thread } => {
                let thread = pick(&awake, *thread)?;
                let descriptors = &world.processes[world.threads[thread].process].descriptors;
                let fd = descriptors.iter().find(|(_, file)| file.is_some()).map(|(fd, _)| *fd)?;
                ("close", self.call(world, thread, reference::CLOSE, [fd.into(), 0]))
            }
            Step::Spawn { parent } | Step::Fork { parent } if world.live().len() >= CROWD => {
                let _ = parent;
                return None;
            }
            Step::Spawn { parent } => {
                let parent = pick(&awake, *parent)?;
                let (process, thread) = self.of(world, parent);
                let child = process.spawn(thread);
                world.born(parent, child.tid());
                self.threads.push(child);
                ("spawn", nothing())
            }
            Step::Fork { parent } => {
                let parent = pick(&awake, *parent)?;
                let (process, thread) = self.of(world, parent);
                let child = process.fork(thread);
                let leader = child.leader();
                world.forked(parent, leader.tid());
                self.processes.push(child);
                self.threads.push(leader);
                ("fork", nothing())
            }
            Step::Receive { supervisor, listener } => {
                let supervisor = Some(*supervisor).filter(free)?;
                let listener = pick(&held, *listener)?;
                world.receive(supervisor, listener);
                let (_, buffer) = self.receivers[supervisor];
                let zero = SeccompNotif::default();
                self.supervisor.memory().write(buffer, zero.as_bytes()).expect("the buffer is there");
                self.ioctl(supervisor, listener, SECCOMP_IOCTL_NOTIF_RECV, buffer);
                ("receive", nothing())
            }
            Step::Send { supervisor, listener, place, value } => {
                let supervisor = Some(*supervisor).filter(free)?;
                let listener = pick(&held, *listener)?;
                let id = world.request_id(listener, *place);
                let (val, error, flags) = match value {
                    None => (0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE),
                    Some(errno @ -4095..=-1) => (0, *errno as i32, 0),
                    Some(value) => (*value, 0, 0),
                };
                let response = SeccompNotifResp { id, val, error, flags };
                self.ioctl_with(supervisor, listener, SECCOMP_IOCTL_NOTIF_SEND, response.as_bytes());
                world.send(supervisor, listener, id, *value);
                ("send", nothing())
            }
            Step::IdValid { supervisor, listener, place } => {
                let supervisor = Some(*supervisor).filter(free)?;
                let listener = pick(&held, *listener)?;
                let id = world.request_id(listener, *place);
                self.ioctl_with(supervisor, listener, SECCOMP_IOCTL_NOTIF_ID_VALID, id.as_bytes());
                world.id_valid(supervisor, listener, id);
                ("id valid", nothing())
            }
            Step::AddFd { supervisor, listener, place, newfd, send } => {
                let supervisor = Some(*supervisor).filter(free)?;
                let listener = pick(&held, *listener)?;
                let id = world.request_id(listener, *place);
                let set = if newfd.is_some() { SECCOMP_ADDFD_FLAG_SETFD } else { 0 };
                let flags = set | if *send { SECCOMP_ADDFD_FLAG_SEND } else { 0 };
                let newfd_number = newfd.unwrap_or(0);
                let add_fd = SeccompNotifAddfd { id, flags, srcfd: 0, newfd: newfd_number, newfd_flags: 0 };
                self.ioctl_with(supervisor, listener, SECCOMP_IOCTL_NOTIF_ADDFD, add_fd.as_bytes());
                world.add_fd(supervisor, listener, id, *newfd, *send);
                ("addfd", nothing())
            }
            Step::LetGo { supervisor, listener } => {
                let supervisor = Some(*supervisor).filter(free)?;
                let listener = pick(&held, *listener)?;
                let fd = self.held[listener].take().expect("the supervisor has it");
                let (thread, _) = &self.receivers[supervisor];
                let args = [fd.into(), 0, 0, 0, 0, 0];
                let reply = self.supervisor.enter(thread, Arch::X86_64, reference::CLOSE, args);
                assert_eq!(reply, Reply::Returned(0));
                world.let_go(listener);
                ("let go", nothing())
            }
            Step::Signal { thread, restarts } => {
                let thread = pick(&waiting, *thread)?;
                let (process, caller) = self.of(world, thread);
                process.signal(caller, if *restarts { Signal::Restarting } else { Signal::Handled });
                world.signal(thread, *restarts);
                ("signal", nothing())
            }
            Step::Kill { thread } => {
                let thread = pick(&world.live(), *thread)?;
                let (process, caller) = self.of(world, thread);
                process.signal(caller, Signal::Kill);
                world.kill(world.threads[thread].process);
                ("kill", nothing())
            }
        };
        Some((name, expected, found))
    }

    fn of(&self, world: &World, thread: usize) -> (&Process, &mock::Thread) {
        (&self.processes[world.threads[thread].process], &self.threads[thread])
    }

    fn call(&self, world: &mut World, thread: usize, nr: i32, [first, second]: [u64; 2]) -> (String, String) {
        let expected = world.call(thread, nr, first, second);
        let (process, caller) = self.of(world, thread);
        let found = outcome(process.enter(caller, Arch::X86_64, nr, [first, second, 0, 0, 0, 0]));
        (format!("{expected:?}"), format!("{found:?}"))
    }

    fn ioctl_with(&self, supervisor: usize, listener: usize, cmd: u32, argument: &[u8]) {
        // Left there: the ioctl reads it when it goes on.
        let address = self.supervisor.memory().add(argument);
        self.ioctl(supervisor, listener, cmd, address);
    }

    fn ioctl(&self, supervisor: usize, listener: usize, cmd: u32, argument: u64) {
        const IOCTL: i32 = 16;
        let fd = self.held[listener].expect("the supervisor has it");
        let (thread, _) = &self.receivers[supervisor];
        let args = [fd.into(), cmd.into(), argument, 0, 0, 0];
        let reply = self.supervisor.enter(thread, Arch::X86_64, IOCTL, args);
        assert_eq!(reply, Reply::Asleep);
    }

    /// Takes everybody who sleeps as far as it goes. Who came to an end, in order.
    fn settle(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            let of = |thread: &Arc<mock::Thread>| self.processes.iter().find(|process| process.has(thread));
            let threads =
                (0..).zip(&self.threads).map(|(at, thread)| (Actor::Thread(at), of(thread), thread));
            let supervisors = (0..).zip(&self.receivers);
            let supervisors =
                supervisors.map(|(at, (thread, _))| (Actor::Supervisor(at), Some(&self.supervisor), thread));
            for (actor, process, thread) in threads.chain(supervisors) {
                let Some(process) = process else { continue };
                loop {
                    match process.resume(thread) {
                        Progress::None => break,
                        Progress::Some => goes_on = true,
                        Progress::Ended(reply) => {
                            goes_on = true;
                            events.push((actor, outcome(reply)));
                            break;
                        }
                    }
                }
            }
        }
        events.sort();
        events
    }

    /// Whether the library is in the model's state.
    fn compare(&self, world: &World) -> Result<(), String> {
        for (at, (expected, thread)) in world.threads.iter().zip(&self.threads).enumerate() {
            let process = &self.processes[expected.process];
            if process.has(thread) != expected.alive {
                return Err(format!("thread {at} lives: {}", process.has(thread)));
            }
            if !expected.alive {
                continue;
            }
            let state = thread.seccomp();
            let mode = match expected.mode {
                Mode::Disabled => 0,
                Mode::Strict => 1,
                Mode::Filter => 2,
            };
            let found =
                (state.mode() as u8, thread.no_new_privs(), state.filter_count() as usize, thread.sleeps());
            let wanted = (mode, expected.no_new_privs, expected.filters.len(), expected.waits.is_some());
            if found != wanted {
                return Err(format!(
                    "mode, no_new_privs, filters, asleep of thread {at}: {found:?}, not {wanted:?}"
                ));
            }
            let newest_first =
                state.filter().into_iter().flat_map(Filter::newest_first).map(std::ptr::from_ref);
            if !newest_first.eq(expected.filters.iter().rev().map(|filter| self.filters[*filter])) {
                return Err(format!("thread {at} has other filters"));
            }
            self.compare_decision(world, at)?;
        }
        for (at, (expected, process)) in world.processes.iter().zip(&self.processes).enumerate() {
            // Threads that are answered at once are woken in any order.
            let mut log: Vec<_> =
                process.log().iter().map(|entry| (entry.signal, entry.code, entry.nr)).collect();
            log.sort();
            let mut wanted = expected.log.clone();
            wanted.sort();
            if log != wanted {
                return Err(format!("the log of process {at}: {log:x?}, not {wanted:x?}"));
            }
            let open: Vec<u32> = expected.descriptors.keys().copied().collect();
            if process.end().is_some() != expected.ended || !expected.ended && process.open_files() != open {
                return Err(format!("process {at}: {:?}", process.end()));
            }
        }
        for (at, listener) in self.listeners.iter().enumerate() {
            let found = listener.poll().bits() & 0x15;
            if world.is_open(at) && found != world.poll(at) {
                return Err(format!("poll of listener {at}: {found:#x}, not {:#x}", world.poll(at)));
            }
        }
        Ok(())
    }

    /// Whether a thread's filters say the same of calls of one number, unless they kill.
    fn compare_decision(&self, world: &World, thread: usize) -> Result<(), String> {
        use reference::{ALLOW, GETPPID, KILL_THREAD, TRAP};
        let of = &world.threads[thread];
        if of.mode != Mode::Filter {
            return Ok(());
        }
        for argument in 0..2 {
            let Decided { value, winner, .. } = world.decide(thread, GETPPID, argument);
            let action = value & 0xffff_0000;
            if action.cast_signed() < TRAP as i32 || action == KILL_THREAD || action == 0x7ffe_0000 {
                continue;
            }
            let args = [argument, 0, 0, 0, 0, 0];
            let data = SeccompData {
                nr: GETPPID,
                arch: Arch::X86_64.audit_arch(),
                instruction_pointer: mock::INSTRUCTION_POINTER,
                args,
            };
            let decision =
                evaluate(self.threads[thread].seccomp(), &data, Pass::Entry, Default::default(), None);
            let allows = action == ALLOW;
            let same = if allows {
                decision.value & 0xffff_0000 == ALLOW
            } else {
                (decision.value, decision.filter) == (value, u16::try_from(winner).ok())
            };
            if !same {
                return Err(format!("thread {thread}: {decision:x?}, not {value:#x} of filter {winner}"));
            }
        }
        Ok(())
    }
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Returned(value) => Outcome::Returned(value),
        Reply::Trapped(..) => Outcome::Trapped,
        Reply::Gone => Outcome::Gone,
        Reply::Asleep => Outcome::Asleep,
    }
}
