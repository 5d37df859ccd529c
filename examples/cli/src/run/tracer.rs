//! The loop that serves the stops of every thread that is carried.

use std::collections::{HashMap, VecDeque};

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use seccomp_kernel::notify::SECCOMP_IOCTL_NOTIF_RECV;
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::uapi::FilterFlags;
use seccomp_kernel::{Arch, Kernel, LogMask, Pass, ThreadState, Verdict, evaluate, syscall, uapi};
use syscalls::{x86, x86_64};

use super::birth::{self, Makes};
use super::enforce;
use super::kernel::{Caller, Settings};
use super::killable;
use super::listener;
use super::record::Record;
use super::sys::{self, Call, Event};
use super::task::{AtExit, Task, Tasks};
use crate::host;

/// `CLONE_UNTRACED`: the child would not be traced.
const CLONE_UNTRACED: u64 = 0x0080_0000;

/// Carries a program and all that descends from it.
pub(super) struct Tracer {
    tasks: Tasks,
    /// Stops that are to be served, of each thread the last.
    stops: VecDeque<(Pid, Event)>,
    /// The stops, or ends, of threads whose parent has not told of them yet.
    unborn: HashMap<Pid, Unborn>,
    /// Threads that ended in a call that may have made another, which they cannot tell of any more.
    bereaved: VecDeque<Task>,
    /// Threads at the entry of a call for which it is too early.
    waiting: Vec<Pid>,
    /// Processes whose threads are about to get a filter on the host, with the thread that installs it. None of
    /// the others makes a thread or process meanwhile, of which it would not be clear what it inherits.
    syncing: HashMap<Pid, Pid>,
    /// Processes that are being killed, with the thread that does it. The other threads are not resumed.
    dying: HashMap<Pid, Pid>,
    program: Pid,
    /// How it ended, as a shell says it.
    status: u8,
    /// What the program's first image starts with, until it does.
    start: Option<Start>,
    settings: Settings,
    record: Record,
}

/// What a program's first image starts with.
pub(super) struct Start {
    pub(super) state: ThreadState,
    /// The signals that are blocked, signal n in bit n - 1.
    pub(super) blocked: u64,
}

/// A thread whose parent has not told of it yet.
enum Unborn {
    /// It has stopped, and has not run; `parent` is the id of who made it.
    Stopped {
        event: Event,
        parent: u64,
    },
    Ended,
}

/// The most threads in `bereaved`. Most have made no other; the newest count.
const MAX_BEREAVED: usize = 64;

impl Tracer {
    /// For the seized launcher `program`, whose program will start with `start`.
    pub(super) fn new(program: Pid, start: Start, settings: Settings, record: Record) -> Self {
        let mut tasks = Tasks::default();
        tasks.insert(Task::new(program, program, ThreadState::new()));
        Self {
            tasks,
            stops: VecDeque::new(),
            unborn: HashMap::new(),
            bereaved: VecDeque::new(),
            waiting: Vec::new(),
            syncing: HashMap::new(),
            dying: HashMap::new(),
            program,
            status: 0,
            start: Some(start),
            settings,
            record,
        }
    }

    /// Serves stops until no thread is left. The result is the program's exit status as a shell gives it.
    pub(super) fn run(mut self) -> anyhow::Result<(u8, Record)> {
        while !self.tasks.is_empty() || !self.unborn.is_empty() {
            let (tid, event) = match self.next_stop() {
                Ok(stop) => stop,
                Err(Errno::ECHILD) => break,
                Err(error) => return Err(error.into()),
            };
            if_alive(self.serve(tid, event))?;
            self.adopt()?;
            self.retry()?;
        }
        Ok((self.status, self.record))
    }

    fn next_stop(&mut self) -> nix::Result<(Pid, Event)> {
        while let Some((tid, event)) = self.stops.pop_front() {
            match sys::wait_now(Some(tid)) {
                Ok(newer) => return Ok(newer.unwrap_or((tid, event))),
                // Its id went with an exec(2).
                Err(Errno::ECHILD) => {}
                Err(error) => return Err(error),
            }
        }
        while self.tasks.killable().next().is_some() {
            if let Some(stop) = sys::wait_for(killable::PERIOD)? {
                return Ok(stop);
            }
            killable::end_waits(&self.tasks);
        }
        sys::wait()
    }

    /// Serves the ends of all threads that have ended. Until then the host does not let their parents find them,
    /// whatever a pidfd has told these already. Other stops are kept for later.
    fn serve_ended(&mut self) -> nix::Result<()> {
        loop {
            let (tid, event) = match sys::wait_now(None) {
                Ok(Some(stop)) => stop,
                Ok(None) | Err(Errno::ECHILD) => return Ok(()),
                Err(error) => return Err(error),
            };
            // It was killed in the stop that is kept.
            self.stops.retain(|(stopped, _)| *stopped != tid);
            if matches!(event, Event::Ended(_)) {
                if_alive(self.serve(tid, event))?;
            } else {
                self.stops.push_back((tid, event));
            }
        }
    }

    fn serve(&mut self, tid: Pid, event: Event) -> nix::Result<()> {
        if let (Event::Ended(code), true) = (event, tid == self.program) {
            self.status = code;
        }
        let Some(task) = self.tasks.get(tid).filter(|task| task.is_meant(event)) else {
            if event == Event::Ptrace(libc::PTRACE_EVENT_EXIT) {
                // Who made it may be waiting for its end, and so never tell of it.
                return sys::resume(tid, 0);
            }
            let unborn = match event {
                Event::Ended(_) => Unborn::Ended,
                event => Unborn::Stopped { event, parent: birth::parent(tid)? },
            };
            self.unborn.insert(tid, unborn);
            return Ok(());
        };
        let tgid = task.tgid;
        let killer = self.dying.get(&tgid).copied();
        let held = killer.is_some_and(|killer| killer != tid);
        if !matches!(event, Event::Ended(_)) {
            listener::unmark(task)?;
            birth::lift(task)?;
        }
        match event {
            Event::Ended(_) => {
                self.killer_gone(tid, tgid);
                self.synced(tid, tgid);
                self.ended(tid);
                Ok(())
            }
            Event::Ptrace(libc::PTRACE_EVENT_EXIT) => {
                task.exiting.set(true);
                drop(task.seccomp.exit());
                self.killer_gone(tid, tgid);
                self.synced(tid, tgid);
                sys::resume(tid, 0)
            }
            Event::Ptrace(libc::PTRACE_EVENT_EXEC) => {
                // Whoever was about to kill the process is one of the threads that ended for this.
                self.dying.remove(&tgid);
                self.syncing.remove(&tgid);
                self.executed(tid)?;
                sys::resume(tid, 0)
            }
            _ if held => Ok(()),
            Event::Syscall => match sys::call(tid)? {
                Call::Entry(_) if killer.is_some() => signal::kill(tgid, Signal::SIGKILL),
                Call::Entry(data) => match task.at_exit.take() {
                    AtExit::Host(step) if step.ends(&data) => {
                        task.at_exit.set(AtExit::Host(step));
                        sys::resume(tid, 0)
                    }
                    // It has changed the instruction that it was to make the call with.
                    AtExit::Host(_) => signal::kill(tgid, Signal::SIGKILL),
                    _ => self.enter(tid, &data),
                },
                Call::Exit(returned) => self.leave(tid, returned),
            },
            Event::Signal(libc::SIGSYS) => {
                if let Some(sigsys) = task.sigsys.take() {
                    sys::set_sigsys(tid, sigsys)?;
                }
                sys::resume(tid, libc::SIGSYS)
            }
            // A process that is being killed gets no other signal.
            Event::Signal(signal) => sys::resume(tid, if killer.is_some() { 0 } else { signal }),
            Event::GroupStop(signal) => self.group_stop(tid, signal),
            Event::Resumable => {
                task.stopped.set(false);
                sys::resume(tid, 0)
            }
            Event::Ptrace(event) => {
                let child = sys::told(tid, event)?;
                self.born(tid, child)?;
                sys::resume(tid, 0)
            }
        }
    }

    /// A thread that was killing its process is gone. If the process is not, it dies of another signal: its
    /// other threads are not to stay where they are held.
    fn killer_gone(&mut self, tid: Pid, tgid: Pid) {
        if self.dying.get(&tgid) == Some(&tid) {
            self.dying.remove(&tgid);
            // Fails if nobody is left, as it should be.
            let _ = signal::kill(tgid, Signal::SIGKILL);
        }
    }

    fn ended(&mut self, tid: Pid) {
        // The first of a process ends as the last.
        for task in self.tasks.remove(tid).into_iter().chain(self.tasks.remove_process(tid)) {
            self.gone(task);
        }
    }

    /// A thread is no longer among those that are carried.
    fn gone(&mut self, task: Task) {
        if task.in_clone.get().is_none() {
            self.tasks.forget(&task);
            return;
        }
        if self.bereaved.len() >= MAX_BEREAVED
            && let Some(oldest) = self.bereaved.pop_back()
        {
            self.tasks.forget(&oldest);
        }
        self.bereaved.push_front(task);
    }

    fn executed(&mut self, tid: Pid) -> nix::Result<()> {
        let former = sys::told(tid, libc::PTRACE_EVENT_EXEC)?;
        let Some(others) = self.tasks.executed(former, tid) else {
            // Nobody knows its filters.
            return signal::kill(tid, Signal::SIGKILL);
        };
        for other in others {
            self.gone(other);
        }
        if self.tasks.get(tid).is_some_and(Task::owes_no_new_privs) {
            // It was given them on the way here, which Linux does not let happen, and may have got privileges.
            signal::kill(tid, Signal::SIGKILL)?;
        }
        if tid == self.program
            && let Some(Start { state, blocked }) = self.start.take()
        {
            self.tasks.remove(tid);
            self.tasks.insert(Task::new(tid, tid, state));
            // What starts processes here unblocks them all.
            sys::set_signal_mask(tid, blocked)?;
            self.record.started();
        }
        Ok(())
    }

    fn born(&mut self, parent: Pid, child: Pid) -> nix::Result<()> {
        let Some(parent) = self.tasks.get(parent) else { return Ok(()) };
        let first = self.unborn.remove(&child);
        let task = (!matches!(first, Some(Unborn::Ended))).then(|| parent.child(child));
        // Told; should it be killed now, there is no other to tell of.
        parent.in_clone.set(None);
        let Some(task) = task else { return Ok(()) };
        if parent.seccomp.task_forked(parent.ids(), task.ids()).is_err() {
            if_alive(no_place(child))?;
        }
        self.tasks.insert(task);
        match first {
            Some(Unborn::Stopped { event, .. }) => if_alive(self.serve(child, event)),
            _ => Ok(()),
        }
    }

    /// Takes in threads whose parent ended before it could tell of them, with the parent's filters.
    fn adopt(&mut self) -> nix::Result<()> {
        let any_in_clone = !self.unborn.is_empty() && self.tasks.any_in_clone();
        for (tid, unborn) in std::mem::take(&mut self.unborn) {
            let (event, parent) = match unborn {
                Unborn::Stopped { event, parent } if !self.tasks.is_in_clone(parent) => (event, parent),
                // Also processes that were children of this one before it was this command.
                Unborn::Ended if !any_in_clone => continue,
                may_be_told => {
                    self.unborn.insert(tid, may_be_told);
                    continue;
                }
            };
            let parent = self.bereaved.iter().position(|task| task.id() == parent);
            match parent.and_then(|index| self.bereaved.remove(index)) {
                Some(parent) => {
                    let task = parent.child(tid);
                    if parent.seccomp.task_forked(parent.ids(), task.ids()).is_err() {
                        if_alive(no_place(tid))?;
                    }
                    self.tasks.insert(task);
                    self.tasks.forget(&parent);
                    if_alive(self.serve(tid, event))?;
                }
                // Nobody knows its filters.
                None => if_alive(signal::kill(tid, Signal::SIGKILL).and_then(|()| sys::resume(tid, 0)))?,
            }
        }
        Ok(())
    }

    /// A thread of a stopped process. When the terminal has stopped all that is carried, this process stops
    /// too, because it is the one that the shell watches; the shell continues them together.
    fn group_stop(&self, tid: Pid, signal: c_int) -> nix::Result<()> {
        if let Some(task) = self.tasks.get(tid) {
            task.stopped.set(true);
        }
        sys::listen(tid)?;
        if signal != libc::SIGSTOP && self.tasks.all_stopped() {
            signal::raise(Signal::SIGSTOP)?;
        }
        Ok(())
    }

    /// Threads for which it was too early may try again.
    fn retry(&mut self) -> nix::Result<()> {
        for tid in std::mem::take(&mut self.waiting) {
            if_alive(self.enter_again(tid))?;
        }
        Ok(())
    }

    fn enter_again(&mut self, tid: Pid) -> nix::Result<()> {
        match self.tasks.get(tid) {
            // If its process is being killed, it stays where it is.
            Some(task) if !self.dying.contains_key(&task.tgid) => match sys::call(tid)? {
                Call::Entry(data) => self.enter(tid, &data),
                // It was killed meanwhile.
                Call::Exit(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether it is too early for a call: it gives its thread's siblings a filter on the host while one of them
    /// may be making a thread or process, or the other way round.
    fn is_early(&mut self, tid: Pid, entry: Arch, data: &SeccompData) -> bool {
        let Some(task) = self.tasks.get(tid) else { return false };
        let by_other = |syncing: &HashMap<_, _>| syncing.get(&task.tgid).is_some_and(|other| *other != tid);
        match Served::of(entry, data.nr) {
            Some(Served::Fork | Served::Clone | Served::Clone3) => by_other(&self.syncing),
            Some(Served::Seccomp) if syncs_listener(task, data) => {
                if by_other(&self.syncing) {
                    return true;
                }
                self.syncing.insert(task.tgid, tid);
                // Who waits for a supervisor may wait for long, perhaps for this thread.
                self.tasks.siblings(task).any(|other| other.in_clone.get().is_some() && !other.marked.get())
            }
            _ => false,
        }
    }

    /// If a thread was giving the others of its process a filter on the host, it does so no longer.
    fn synced(&mut self, tid: Pid, tgid: Pid) {
        if self.syncing.get(&tgid) == Some(&tid) {
            self.syncing.remove(&tgid);
        }
    }

    /// A thread is at the entry of a call: decide, record, carry out.
    fn enter(&mut self, tid: Pid, data: &SeccompData) -> nix::Result<()> {
        let Some(entry) = Arch::of_call(data.arch, data.nr) else {
            // No entry of this machine: what the call would do is not known.
            signal::kill(tid, Signal::SIGKILL)?;
            return sys::resume(tid, 0);
        };
        if let Some(task) = self.tasks.get(tid)
            && task.owes_no_new_privs()
        {
            enforce::tell_no_new_privs(task, entry)?;
            return sys::resume(tid, 0);
        }
        if self.is_early(tid, entry, data) {
            self.waiting.push(tid);
            return Ok(());
        }
        if matches!(Served::of(entry, data.nr), Some(Served::Wait)) {
            self.serve_ended()?;
            if self.stops.iter().any(|(stopped, _)| *stopped == tid) {
                // It was killed here.
                return Ok(());
            }
        }
        let Some(task) = self.tasks.get(tid) else { return Ok(()) };
        let caller = Caller::new(&self.tasks, task, self.settings);

        let decision = evaluate(&task.seccomp, data, Pass::Entry, LogMask::all(), Some(&caller));
        if self.start.is_none() {
            self.record.call(task, data, decision.value);
        }
        self.record.events();
        if let Some(log) = decision.log {
            self.record.log(task, &log);
        }
        self.record.decided(&caller, data, &decision);
        let is_last = || self.tasks.siblings(task).next().is_none();
        let mut dies = None;
        match decision.verdict {
            Verdict::Proceed => proceed(&caller, entry, data)?,
            Verdict::Return(value) => enforce::return_value(task, value)?,
            Verdict::Notify { filter } if listener::is_newest(&task.seccomp, filter) => {
                notify(&caller, entry, data)?
            }
            // Nobody else can trace what is traced here, and who could be asked is gone.
            Verdict::Trace { .. } | Verdict::Notify { .. } | Verdict::Skip | Verdict::Restart => {
                enforce::return_value(task, -i64::from(libc::ENOSYS))?
            }
            Verdict::Trap(sigsys) if enforce::handles_sigsys(task) => enforce::trap(task, sigsys)?,
            Verdict::KillStrict if is_last() => signal::kill(task.tgid, Signal::SIGKILL)?,
            Verdict::KillStrict => enforce::end_thread(task, entry)?,
            Verdict::KillThread(_) if !is_last() => enforce::end_thread(task, entry)?,
            Verdict::Trap(sigsys) | Verdict::KillThread(sigsys) | Verdict::KillProcess(sigsys) => {
                enforce::die(&caller, entry, sigsys)?;
                dies = Some(task.tgid);
            }
        }
        if let Some(tgid) = dies {
            self.dying.insert(tgid, tid);
        }
        sys::resume(tid, 0)
    }

    fn leave(&mut self, tid: Pid, returned: i64) -> nix::Result<()> {
        let Some(task) = self.tasks.get(tid) else { return Ok(()) };
        if birth::is_untold(task, returned) {
            signal::kill(task.tgid, Signal::SIGKILL)?;
            return sys::resume(tid, 0);
        }
        task.in_clone.set(None);
        let exit = enforce::exit(Caller::new(&self.tasks, task, self.settings))?;
        let signal = match task.dies_of.take() {
            0 => exit,
            fatal => fatal,
        };
        self.synced(tid, task.tgid);
        sys::resume(tid, signal)
    }
}

/// A thread for which extensions have no place that are to remember what its parent did. It does not run.
fn no_place(tid: Pid) -> nix::Result<()> {
    host::tell(format_args!(
        "seccomp-rbpf: thread {tid} is killed: the task storage of a filter has no place for its copy\n"
    ));
    signal::kill(tid, Signal::SIGKILL)
}

/// A thread can be killed at any time; then there is nothing to do for it, and its end is reported next.
fn if_alive(result: nix::Result<()>) -> nix::Result<()> {
    result.or_else(|error| if error == Errno::ESRCH { Ok(()) } else { Err(error) })
}

/// A call that the filters let through: most run on the host, the ones about seccomp are answered here.
fn proceed(caller: &Caller, entry: Arch, data: &SeccompData) -> nix::Result<()> {
    let task = caller.task;
    let [first, second, third, ..] = data.args;
    let served = Served::of(entry, data.nr);
    let result = match served {
        // What x32 offers differs from host to host; it offers no seccomp here.
        Some(Served::Seccomp | Served::Prctl) if entry == Arch::X32 => Err(syscalls::Errno::ENOSYS),
        Some(Served::Seccomp) => syscall::seccomp(caller, entry, first as u32, second as u32, third),
        Some(Served::Prctl) => match first as u32 {
            uapi::PR_SET_SECCOMP => syscall::prctl_set_seccomp(caller, entry, second, third),
            uapi::PR_GET_SECCOMP => Ok(syscall::prctl_get_seccomp(caller)),
            _ => return Ok(()),
        },
        // A child that is not traced would run without its filters.
        Some(Served::Clone | Served::Clone3) if makes_untraced(caller, served, data) => {
            Err(syscalls::Errno::ENOSYS)
        }
        _ => return prepare(task, served, data, false),
    };
    if caller.needs_host.get() {
        return listener::install_on_host(caller, entry, data);
    }
    enforce::return_value(task, result.map_or_else(|errno| -i64::from(errno.into_raw()), i64::from))
}

/// A call that a supervisor is asked about. If it lets the call run, the host runs it; so nobody is asked about
/// calls that the host is not to run.
fn notify(caller: &Caller, entry: Arch, data: &SeccompData) -> nix::Result<()> {
    let served = Served::of(entry, data.nr);
    let is_ours = match served {
        Some(Served::Seccomp) => {
            matches!(data.args[0] as u32, uapi::SECCOMP_SET_MODE_STRICT | uapi::SECCOMP_SET_MODE_FILTER)
        }
        Some(Served::Prctl) => data.args[0] as u32 == uapi::PR_SET_SECCOMP,
        _ => makes_untraced(caller, served, data),
    };
    if is_ours {
        return enforce::return_value(caller.task, -i64::from(libc::ENOSYS));
    }
    prepare(caller.task, served, data, true)?;
    listener::mark(caller.task)
}

/// Prepares a thread for a call that the host runs, after it has `asked` a supervisor.
fn prepare(task: &Task, served: Option<Served>, data: &SeccompData, asked: bool) -> nix::Result<()> {
    let [_, request, argument, ..] = data.args;
    match served {
        Some(Served::Fork | Served::Clone) => birth::guard(task, Makes::Judged, asked),
        Some(Served::Clone3) => birth::guard(task, Makes::Unjudged, asked),
        Some(Served::Ioctl) if request as u32 == SECCOMP_IOCTL_NOTIF_RECV => {
            task.at_exit.set(AtExit::Received { notif: argument });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether a call is to make a thread or process that is not traced, and so without its filters. What clone3(2) is
/// given may change until the host reads it, and then the child does not run.
fn makes_untraced(caller: &Caller, served: Option<Served>, data: &SeccompData) -> bool {
    let [first, ..] = data.args;
    match served {
        Some(Served::Clone) => first & CLONE_UNTRACED != 0,
        Some(Served::Clone3) => {
            let mut flags = [0; 8];
            caller.read_user(first, &mut flags).is_ok() && u64::from_ne_bytes(flags) & CLONE_UNTRACED != 0
        }
        _ => false,
    }
}

/// Whether seccomp(2) is asked to give other threads a filter with a listener.
fn syncs_listener(task: &Task, data: &SeccompData) -> bool {
    let [op, flags, ..] = data.args;
    let flags = FilterFlags::from_bits_truncate(flags as u32);
    op as u32 == uapi::SECCOMP_SET_MODE_FILTER
        && flags.contains(FilterFlags::TSYNC)
        && (flags.contains(FilterFlags::NEW_LISTENER)
            || task.seccomp.filter().and_then(listener::with_listener).is_some())
}

/// Calls that do not simply go to the host.
#[derive(Clone, Copy)]
enum Served {
    Seccomp,
    Prctl,
    /// fork(2) and vfork(2).
    Fork,
    Clone,
    Clone3,
    Ioctl,
    /// wait4(2), waitid(2) and waitpid(2).
    Wait,
}

impl Served {
    fn of(entry: Arch, nr: i32) -> Option<Self> {
        let nr = usize::try_from(nr).ok()?;
        match entry {
            Arch::I386 => match x86::Sysno::new(nr)? {
                x86::Sysno::seccomp => Some(Self::Seccomp),
                x86::Sysno::prctl => Some(Self::Prctl),
                x86::Sysno::fork | x86::Sysno::vfork => Some(Self::Fork),
                x86::Sysno::clone => Some(Self::Clone),
                x86::Sysno::clone3 => Some(Self::Clone3),
                x86::Sysno::ioctl => Some(Self::Ioctl),
                x86::Sysno::wait4 | x86::Sysno::waitid | x86::Sysno::waitpid => Some(Self::Wait),
                _ => None,
            },
            _ => match x86_64::Sysno::new(nr & !(seccomp_kernel::X32_SYSCALL_BIT as usize))? {
                x86_64::Sysno::seccomp => Some(Self::Seccomp),
                x86_64::Sysno::prctl => Some(Self::Prctl),
                x86_64::Sysno::fork | x86_64::Sysno::vfork => Some(Self::Fork),
                x86_64::Sysno::clone => Some(Self::Clone),
                x86_64::Sysno::clone3 => Some(Self::Clone3),
                x86_64::Sysno::ioctl => Some(Self::Ioctl),
                x86_64::Sysno::wait4 | x86_64::Sysno::waitid => Some(Self::Wait),
                _ => None,
            },
        }
    }
}
