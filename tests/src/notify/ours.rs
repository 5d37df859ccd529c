//! A case on the library, over the mock kernel.

use std::sync::Arc;

use cbpf_translator::SockFilter;
use cbpf_translator::seccomp::{RET_ALLOW, RET_USER_NOTIF};
use seccomp_kernel::notify::{SECCOMP_IOCTL_NOTIF_RECV, SeccompNotif};
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{Arch, Thread as _};
use seccomp_runtime::EngineKind;
use syscalls::x86_64::Sysno;
use zerocopy::FromBytes;

use super::row::{ACTORS, Action, Actor, Argument, Ioctl, Place, Row, Signal, Step, TARGETS, bytes};
use super::{EVENTS, End, host, line};
use crate::mock::{self, Faults, File, Process, Progress, Reply, SOME_PID, Thread};

/// Where the memory of the first actor is, how far it is to the next one's, and to what can only be read.
const MEMORY: u64 = 0x1_0000;
const NEXT: u64 = 0x10_0000;
const READ_ONLY: u64 = 0x8_0000;

/// Runs a case.
pub fn run(row: &Row) -> Vec<String> {
    let mut world = World::new(row.killable);
    row.steps
        .iter()
        .map(|step| {
            world.begin(step);
            while world.go_on() {}
            line(std::mem::take(&mut world.ends))
        })
        .collect()
}

struct World<'r> {
    actors: Vec<Player<'r>>,
    /// The supervisors' descriptors.
    listener: u32,
    file: u32,
    ends: Vec<(Actor, End)>,
}

/// An actor: a process with one thread.
struct Player<'r> {
    process: Process,
    thread: Arc<Thread>,
    /// It does not get to run.
    held: bool,
    dead: bool,
    /// What it is at, if that is an ioctl.
    ioctl: Option<&'r Ioctl>,
}

impl From<Process> for Player<'_> {
    fn from(process: Process) -> Self {
        Self { thread: process.leader(), process, held: false, dead: false, ioctl: None }
    }
}

impl<'r> World<'r> {
    fn new(killable: bool) -> Self {
        let process = || Process::new(EngineKind::DEFAULT, Faults::default());
        let (a, x) = (process(), process());
        let program = [
            SockFilter::new(0x20, 0, 0, 0),
            SockFilter::new(0x15, 0, 1, host::NOTIFIED as u32),
            SockFilter::new(0x06, 0, 0, RET_USER_NOTIF),
            SockFilter::new(0x06, 0, 0, RET_ALLOW),
        ];
        let mut flags = FilterFlags::NEW_LISTENER;
        flags.set(FilterFlags::WAIT_KILLABLE_RECV, killable);
        let theirs = a.install(&a.leader(), flags.bits(), &program).expect("a filter");
        let listener = a.file(theirs.cast_unsigned()).and_then(|file| x.open(file)).expect("a descriptor");
        let file = x.open(File::Plain).expect("a descriptor");
        let closed = a.enter(&a.leader(), Arch::X86_64, Sysno::close.id(), [theirs as u64, 0, 0, 0, 0, 0]);
        assert_eq!(closed, Reply::Returned(0));
        let b = a.fork(&a.leader());
        let others: Vec<Process> = (TARGETS + 1..ACTORS).map(|_| x.fork_sharing_files(&x.leader())).collect();
        let actors = [a, b, x].into_iter().chain(others).map(Player::from).collect();
        Self { actors, listener: listener.cast_unsigned(), file: file.cast_unsigned(), ends: Vec::new() }
    }

    fn begin(&mut self, step: &'r Step) {
        let at = step.actor.index();
        let actor = &mut self.actors[at];
        if step.action.is_made() && (actor.dead || actor.thread.sleeps()) {
            self.ends.push((step.actor, End::Unmade));
            return;
        }
        let listener = u64::from(self.listener);
        let (nr, args) = match &step.action {
            Action::Call => (host::NOTIFIED, [0; 6]),
            Action::Signal(signal) => {
                let signal = match signal {
                    Signal::Handled => mock::Signal::Handled,
                    Signal::Restarting => mock::Signal::Restarting,
                    Signal::Kill => mock::Signal::Kill,
                };
                return actor.process.signal(&actor.thread, signal);
            }
            Action::Hold => return actor.held = true,
            Action::Release => return actor.held = false,
            Action::Limit(limit) => {
                let limit = put(&actor.process, at, 0, &limit.to_ne_bytes());
                (Sysno::setrlimit.id(), [libc::RLIMIT_NOFILE.into(), limit, 0, 0, 0, 0])
            }
            Action::CloseOnExec(fd) => (Sysno::fcntl.id(), [(*fd).into(), libc::F_GETFD as u64, 0, 0, 0, 0]),
            Action::Ioctl(ioctl) => {
                actor.ioctl = Some(ioctl);
                let argument = argument(&actor.process, at, &ioctl.argument, self.file);
                (Sysno::ioctl.id(), [listener, ioctl.cmd.into(), argument, 0, 0, 0])
            }
            Action::Poll => {
                let poll = [self.listener.to_ne_bytes(), u32::from(EVENTS).to_ne_bytes()];
                let poll = put(&actor.process, at, 0, poll.as_flattened());
                (Sysno::poll.id(), [poll, 1, 0, 0, 0, 0])
            }
            Action::Close => (Sysno::close.id(), [listener, 0, 0, 0, 0, 0]),
        };
        let reply = actor.process.enter(&actor.thread, Arch::X86_64, nr, args);
        self.end(at, reply, matches!(step.action, Action::Poll));
    }

    /// Takes everybody one step further; `false` if all sleep.
    fn go_on(&mut self) -> bool {
        for at in 0..ACTORS {
            let actor = &mut self.actors[at];
            if !actor.dead && !actor.process.has(&actor.thread) {
                actor.dead = true;
                self.ends.push((Actor::of(at), End::Killed));
                return true;
            }
            if actor.held {
                continue;
            }
            match actor.process.resume(&actor.thread) {
                Progress::None => {}
                Progress::Some => return true,
                Progress::Ended(reply) => {
                    self.end(at, reply, false);
                    return true;
                }
            }
        }
        false
    }

    fn end(&mut self, at: usize, reply: Reply, polled: bool) {
        let actor = &mut self.actors[at];
        let end = match reply {
            Reply::Asleep | Reply::Gone => return,
            Reply::Returned(0 | 1) if polled => {
                let found = take::<2>(&actor.process, at, 6);
                End::Polled(u16::from_ne_bytes(found).into())
            }
            Reply::Returned(0) => match actor.ioctl.take() {
                Some(Ioctl { cmd: SECCOMP_IOCTL_NOTIF_RECV, argument: Argument::At(place, words) }) => {
                    End::Received(self.received(at, offset(*place, words.len())))
                }
                _ => End::Returned(0),
            },
            Reply::Returned(SOME_PID) => End::Allowed,
            Reply::Returned(value) => End::Returned(value),
            Reply::Trapped(..) => panic!("no filter here traps"),
        };
        self.actors[at].ioctl = None;
        self.ends.push((Actor::of(at), end));
    }

    fn received(&self, at: usize, offset: u64) -> SeccompNotif {
        let bytes = take::<{ size_of::<SeccompNotif>() }>(&self.actors[at].process, at, offset);
        let SeccompNotif { id, pid, flags, data } =
            SeccompNotif::read_from_bytes(&bytes).expect("as many bytes");
        let target = self.actors[..TARGETS].iter().position(|actor| actor.thread.tid() == pid.cast_signed());
        let pid = target.map_or(pid, |target| target as u32);
        SeccompNotif { id, pid, flags, data: SeccompData { nr: data.nr, ..SeccompData::default() } }
    }
}

fn argument(process: &Process, at: usize, argument: &Argument, file: u32) -> u64 {
    match argument {
        Argument::Number(number) => *number,
        Argument::At(Place::Null, _) => 0,
        Argument::At(Place::ReadOnly, _) => {
            let address = base(at) + READ_ONLY;
            process.memory().map_read_only(address, vec![0; 4096]);
            address
        }
        Argument::At(place, words) => {
            let bytes = bytes(words, 0, file);
            put(process, at, offset(*place, bytes.len()), &bytes)
        }
    }
}

fn base(at: usize) -> u64 {
    MEMORY + at as u64 * NEXT
}

/// Where in an actor's memory so many bytes are put.
fn offset(place: Place, len: usize) -> u64 {
    if place == Place::Cut { (host::MEMORY - len) as u64 } else { 0 }
}

/// Puts bytes into an actor's memory, with zeros around, and returns their address.
fn put(process: &Process, at: usize, offset: u64, bytes: &[u8]) -> u64 {
    process.memory().map(base(at), vec![0; host::MEMORY]);
    process.memory().write(base(at) + offset, bytes).expect("it fits");
    base(at) + offset
}

fn take<const N: usize>(process: &Process, at: usize, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    process.memory().read(base(at) + offset, &mut bytes).expect("it was put there");
    bytes
}
