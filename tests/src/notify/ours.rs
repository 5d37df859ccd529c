//! A case on the library's state: one thread plays everybody, as the glue of a kernel would.

use std::collections::BTreeMap;

use seccomp_kernel::Fault;
use seccomp_kernel::notify::{
    AddFd, Errno, FdPlace, FdProgress, Id, Interrupt, Ioctl, IoctlError, Next, Notifications, Reply,
    Response, SeccompNotif, Ticket, Wait, Wake, read_id,
};
use seccomp_kernel::runtime::SeccompData;

use super::row::{self, ACTORS, Action, Actor, Argument, Place, Row, Signal, Step, TARGETS, bytes};
use super::{End, host, line};

/// Where memory is.
const MEMORY: u64 = 0x1000;

/// A file of supervisors, beside the first three descriptors.
const FILE: u32 = 5;

/// Runs a case.
pub fn run(row: &Row) -> Vec<String> {
    let mut world = World {
        state: Notifications::new(Id(1), row.killable),
        targets: [const { Target::new() }; TARGETS],
        supervisors: [const { Supervisor::new() }; ACTORS - TARGETS],
        ends: Vec::new(),
    };
    let mut lines = Vec::new();
    for step in &row.steps {
        world.begin(step);
        while world.go_on() {}
        lines.push(line(std::mem::take(&mut world.ends)));
    }
    lines
}

struct World<'r> {
    state: Notifications<usize, ()>,
    targets: [Target; TARGETS],
    supervisors: [Supervisor<'r>; ACTORS - TARGETS],
    ends: Vec<(Actor, End)>,
}

/// A target. It has the descriptors that a process begins with.
struct Target {
    held: bool,
    dead: bool,
    signal: Option<Signal>,
    call: Option<Call>,
    /// Beyond the first three, and whether they close on exec.
    fds: BTreeMap<u32, bool>,
    limit: u32,
}

/// What a target's call does.
#[derive(Clone, Copy)]
enum Call {
    Awake(Id),
    Asleep(Id, Wait),
}

/// A supervisor.
struct Supervisor<'r> {
    dead: bool,
    signal: Option<Signal>,
    job: Option<Job<'r>>,
}

#[derive(Clone, Copy)]
struct Job<'r> {
    ioctl: &'r row::Ioctl,
    at: At,
}

/// How far an ioctl has come.
#[derive(Clone, Copy)]
enum At {
    Beginning,
    Receiving,
    Adding(Ticket),
    Ended(End),
}

impl Target {
    const fn new() -> Self {
        Self {
            held: false,
            dead: false,
            signal: None,
            call: None,
            fds: BTreeMap::new(),
            limit: host::LIMIT as u32,
        }
    }

    /// `receive_fd` and `receive_fd_replace`.
    fn install(&mut self, at: FdPlace) -> Result<u32, Errno> {
        let fd = match at.newfd {
            Some(fd) if fd >= self.limit => return Err(Errno::EBADF),
            Some(fd) => fd,
            None => {
                let free = (3..self.limit).find(|fd| !self.fds.contains_key(fd));
                free.ok_or(Errno::EMFILE)?
            }
        };
        self.fds.insert(fd, at.close_on_exec);
        Ok(fd)
    }
}

impl Supervisor<'_> {
    const fn new() -> Self {
        Self { dead: false, signal: None, job: None }
    }
}

fn lets_through(wait: Wait, signal: Signal) -> bool {
    match wait {
        Wait::Interruptible => true,
        Wait::Killable => signal == Signal::Kill,
        Wait::Uninterruptible => false,
    }
}

impl<'r> World<'r> {
    fn begin(&mut self, step: &'r Step) {
        let at = step.actor.index();
        if step.action.is_made() && self.is_busy(at) {
            self.end(at, End::Unmade);
            return;
        }
        match &step.action {
            Action::Call => self.call(at),
            Action::Signal(signal) if at < TARGETS => self.signal_target(at, *signal),
            Action::Signal(signal) => self.signal_supervisor(at - TARGETS, *signal),
            Action::Hold => self.targets[at].held = true,
            Action::Release => self.targets[at].held = false,
            Action::Limit(limit) => {
                self.targets[at].limit = *limit as u32;
                self.end(at, End::Returned(0));
            }
            Action::CloseOnExec(fd) => {
                let flags = self.targets[at].fds.get(fd).map(|close_on_exec| i64::from(*close_on_exec));
                self.end(at, End::Returned(flags.unwrap_or(-i64::from(Errno::EBADF.into_raw()))));
            }
            Action::Ioctl(ioctl) => {
                self.supervisors[at - TARGETS].job = Some(Job { ioctl, at: At::Beginning });
            }
            Action::Poll => self.end(at, End::Polled(self.state.poll().bits())),
            Action::Close => {
                let wake = self.state.close();
                self.wake(wake);
                self.end(at, End::Returned(0));
            }
        }
    }

    /// Takes somebody one step further; `false` if all sleep.
    fn go_on(&mut self) -> bool {
        (0..TARGETS).any(|at| self.target_goes_on(at))
            || (0..ACTORS - TARGETS).any(|at| self.supervisor_goes_on(at))
    }

    fn is_busy(&self, at: usize) -> bool {
        match at.checked_sub(TARGETS) {
            None => self.targets[at].call.is_some() || self.targets[at].dead,
            Some(at) => self.supervisors[at].job.is_some() || self.supervisors[at].dead,
        }
    }

    fn end(&mut self, at: usize, end: End) {
        self.ends.push((Actor::of(at), end));
    }

    fn wake(&mut self, wake: Wake) {
        for &at in self.state.woken(wake) {
            if let Some(Call::Asleep(id, _)) = self.targets[at].call {
                self.targets[at].call = Some(Call::Awake(id));
            }
        }
        // Supervisors are not put to sleep: they ask again each time round.
    }

    fn call(&mut self, at: usize) {
        let data = SeccompData { nr: host::NOTIFIED, ..SeccompData::default() };
        match self.state.request(at, data) {
            Ok((id, wake)) => {
                self.targets[at].call = Some(Call::Awake(id));
                self.wake(wake);
            }
            Err(error) => self.end(at, End::Returned(-i64::from(Errno::from(error).into_raw()))),
        }
    }

    fn signal_target(&mut self, at: usize, signal: Signal) {
        if self.targets[at].call.is_some() {
            self.targets[at].signal = self.targets[at].signal.max(Some(signal));
        } else if signal == Signal::Kill && !self.targets[at].dead {
            self.die(at);
        }
    }

    fn die(&mut self, at: usize) {
        let target = &mut self.targets[at];
        (target.dead, target.call) = (true, None);
        self.end(at, End::Killed);
        if self.targets.iter().all(|target| target.dead) {
            let wake = self.state.users_gone();
            self.wake(wake);
        }
    }

    fn target_goes_on(&mut self, at: usize) -> bool {
        let target = &mut self.targets[at];
        let Some(call) = target.call.filter(|_| !target.held) else { return false };
        match call {
            Call::Awake(id) => match self.state.next(id) {
                Next::Wait(wait) => target.call = Some(Call::Asleep(id, wait)),
                Next::Install((), place) => {
                    let fd = target.install(place);
                    let wake = self.state.fd_installed(id, fd);
                    self.wake(wake);
                }
                Next::Return(reply) => {
                    target.call = None;
                    match (target.signal.take(), reply) {
                        (Some(Signal::Kill), _) => self.die(at),
                        (_, Reply::Continue) => self.end(at, End::Allowed),
                        (_, Reply::Return(value)) => self.end(at, End::Returned(value)),
                    }
                }
            },
            Call::Asleep(id, wait) => {
                let Some(signal) = target.signal.filter(|signal| lets_through(wait, *signal)) else {
                    return false;
                };
                let how = if signal == Signal::Kill { Interrupt::Fatal } else { Interrupt::Signal };
                target.call = Some(Call::Awake(id));
                if self.state.interrupt(id, how) {
                    (target.call, target.signal) = (None, None);
                    match signal {
                        Signal::Handled => {
                            self.end(at, End::Returned(-i64::from(Errno::EINTR.into_raw())));
                        }
                        Signal::Restarting => self.call(at),
                        Signal::Kill => self.die(at),
                    }
                }
            }
        }
        true
    }

    fn signal_supervisor(&mut self, at: usize, signal: Signal) {
        let supervisor = &mut self.supervisors[at];
        if supervisor.job.is_some() {
            supervisor.signal = supervisor.signal.max(Some(signal));
        } else if signal == Signal::Kill && !supervisor.dead {
            supervisor.dead = true;
            self.end(at + TARGETS, End::Killed);
        }
    }

    fn supervisor_goes_on(&mut self, at: usize) -> bool {
        let Some(job) = self.supervisors[at].job else { return false };
        match job.at {
            At::Beginning => {
                let next = self.begin_ioctl(job.ioctl).unwrap_or_else(|errno| At::Ended(failed(errno)));
                self.supervisors[at].job = Some(Job { at: next, ..job });
            }
            At::Ended(end) => self.end_ioctl(at, end),
            At::Receiving => match self.receive(job.ioctl) {
                Ok(Some(end)) => self.end_ioctl(at, end),
                Err(errno) => self.end_ioctl(at, failed(errno)),
                Ok(None) if self.supervisors[at].signal.is_some() => self.interrupt_ioctl(at, job),
                Ok(None) => return false,
            },
            At::Adding(ticket) => match self.state.fd_progress(ticket) {
                FdProgress::Installed(Ok(fd)) => self.end_ioctl(at, End::Returned(fd.into())),
                FdProgress::Installed(Err(errno)) => self.end_ioctl(at, failed(errno)),
                FdProgress::TargetGone(()) => self.end_ioctl(at, failed(Errno::ESRCH)),
                FdProgress::Wait(_) => {
                    if self.supervisors[at].signal.is_none() || self.state.cancel_fd(ticket).is_none() {
                        return false;
                    }
                    self.interrupt_ioctl(at, job);
                }
            },
        }
        true
    }

    fn end_ioctl(&mut self, at: usize, end: End) {
        let supervisor = &mut self.supervisors[at];
        supervisor.job = None;
        let end = if supervisor.signal.take() == Some(Signal::Kill) { End::Killed } else { end };
        supervisor.dead |= end == End::Killed;
        self.end(at + TARGETS, end);
    }

    fn interrupt_ioctl(&mut self, at: usize, job: Job<'r>) {
        match self.supervisors[at].signal {
            Some(Signal::Restarting) => {
                self.supervisors[at].signal = None;
                self.supervisors[at].job = Some(Job { at: At::Beginning, ..job });
            }
            _ => self.end_ioctl(at, failed(Errno::EINTR)),
        }
    }

    /// An ioctl up to where it sleeps.
    fn begin_ioctl(&mut self, ioctl: &row::Ioctl) -> Result<At, Errno> {
        let (address, memory) = memory(&ioctl.argument);
        let read = |address: u64, into: &mut [u8]| memory.read(address, into);
        const DONE: At = At::Ended(End::Returned(0));
        match Ioctl::of(ioctl.cmd)? {
            Ioctl::Receive => {
                SeccompNotif::check_buffer(address, read)?;
                Ok(At::Receiving)
            }
            Ioctl::Send => {
                let response = Response::read(address, read)?;
                let wake = self.state.send(response)?;
                self.wake(wake);
                Ok(DONE)
            }
            Ioctl::IdValid => {
                self.state.id_valid(read_id(address, read)?)?;
                Ok(DONE)
            }
            Ioctl::SetFlags => {
                let Argument::Number(flags) = ioctl.argument else { return Err(Errno::EFAULT) };
                self.state.set_flags(flags)?;
                Ok(DONE)
            }
            Ioctl::AddFd(size) => {
                let add_fd = AddFd::read(address, size, read)?;
                if !matches!(add_fd.srcfd, 0..=2 | FILE) {
                    return Err(IoctlError::BadFd(add_fd.srcfd).into());
                }
                let (ticket, wake) = self.state.add_fd(add_fd, ()).map_err(|refused| refused.error)?;
                self.wake(wake);
                Ok(At::Adding(ticket))
            }
        }
    }

    fn receive(&mut self, ioctl: &row::Ioctl) -> Result<Option<End>, Errno> {
        let Some((received, wake)) = self.state.receive()? else { return Ok(None) };
        let notif = received.notif(*received.target as u32);
        self.wake(wake);
        if matches!(ioctl.argument, Argument::At(Place::ReadOnly, _)) {
            let wake = self.state.receive_failed(Id(notif.id));
            self.wake(wake);
            return Err(Errno::EFAULT);
        }
        Ok(Some(End::Received(notif)))
    }
}

fn failed(errno: Errno) -> End {
    End::Returned(-i64::from(errno.into_raw()))
}

/// What can be read, from [`MEMORY`] on.
struct Memory(Vec<u8>);

impl Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let start = address.checked_sub(MEMORY).ok_or(Fault)? as usize;
        into.copy_from_slice(self.0.get(start..start + into.len()).ok_or(Fault)?);
        Ok(())
    }
}

fn memory(argument: &Argument) -> (u64, Memory) {
    let mut memory = vec![0; host::MEMORY];
    match argument {
        Argument::Number(number) => (*number, Memory(memory)),
        Argument::At(Place::Null, _) => (0, Memory(memory)),
        Argument::At(Place::ReadOnly, _) => (MEMORY, Memory(memory)),
        Argument::At(place, words) => {
            let bytes = bytes(words, 0, FILE);
            let at = if *place == Place::At { 0 } else { host::MEMORY - bytes.len() };
            memory[at..at + bytes.len()].copy_from_slice(&bytes);
            (MEMORY + at as u64, Memory(memory))
        }
    }
}
