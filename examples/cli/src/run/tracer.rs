//! The loop that serves the stops of every thread that is carried.

use std::collections::HashMap;

use libc::c_int;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::{Arch, Kernel, LogMask, Pass, ThreadState, Verdict, evaluate, syscall, uapi};
use syscalls::{x86, x86_64};

use super::enforce;
use super::kernel::Caller;
use super::record::Record;
use super::sys::{self, Call, Event};
use super::task::{Task, Tasks};
use crate::engine::Engine;

/// `CLONE_UNTRACED`: the child would not be seized.
const CLONE_UNTRACED: u64 = 0x0080_0000;

const PR_GET_NO_NEW_PRIVS: u32 = 39;

/// Carries a program and all that descends from it.
pub(super) struct Tracer {
    tasks: Tasks,
    /// Stops of threads whose birth has not been served yet.
    unborn: HashMap<Pid, Event>,
    /// Processes that are being killed, with the thread that does it. The other threads are not resumed.
    dying: HashMap<Pid, Pid>,
    program: Pid,
    /// What the program's first image starts with, until it does.
    initial: Option<ThreadState>,
    engine: Engine,
    record: Record,
}

impl Tracer {
    /// For the seized launcher `program`, whose program will start with the state `initial`.
    pub(super) fn new(program: Pid, initial: ThreadState, engine: Engine, record: Record) -> Self {
        let mut tasks = Tasks::default();
        tasks.insert(Task::new(program, program, ThreadState::new()));
        Self {
            tasks,
            unborn: HashMap::new(),
            dying: HashMap::new(),
            program,
            initial: Some(initial),
            engine,
            record,
        }
    }

    /// Serves stops until no thread is left. The result is the program's exit status as a shell gives it.
    pub(super) fn run(mut self) -> anyhow::Result<(u8, Record)> {
        let mut status = 0;
        loop {
            let (tid, event) = match sys::wait() {
                Ok(stop) => stop,
                Err(Errno::ECHILD) => return Ok((status, self.record)),
                Err(error) => return Err(error.into()),
            };
            if let (Event::Ended(code), true) = (event, tid == self.program) {
                status = code;
            }
            match self.serve(tid, event) {
                // A thread can be killed at any time; then its end is reported next.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn serve(&mut self, tid: Pid, event: Event) -> nix::Result<()> {
        let Some(task) = self.tasks.get(tid) else {
            self.unborn.insert(tid, event);
            return Ok(());
        };
        if let Event::Ended(_) = event {
            let tgid = task.tgid;
            self.tasks.remove(tid);
            if tid == tgid {
                self.dying.remove(&tgid);
            }
            return Ok(());
        }
        let killer = self.dying.get(&task.tgid).copied();
        if event != Event::Ptrace(libc::PTRACE_EVENT_EXIT) && killer.is_some_and(|killer| killer != tid) {
            return Ok(());
        }
        match event {
            Event::Syscall => match sys::call(tid)? {
                Call::Entry(data) => self.enter(tid, &data),
                Call::Exit => self.leave(tid),
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
            Event::Resumable => sys::resume(tid, 0),
            Event::Ptrace(event) => self.ptrace_event(tid, event),
            Event::Ended(_) => Ok(()),
        }
    }

    /// A thread of a stopped process. If the terminal stopped the program, this process stops too, because it
    /// is the one that the shell watches, and continues with it.
    fn group_stop(&self, tid: Pid, signal: c_int) -> nix::Result<()> {
        sys::listen(tid)?;
        if tid == self.program && signal != libc::SIGSTOP {
            signal::raise(Signal::SIGSTOP)?;
        }
        Ok(())
    }

    fn ptrace_event(&mut self, tid: Pid, event: c_int) -> nix::Result<()> {
        match event {
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                let child = Pid::from_raw(ptrace::getevent(tid)? as i32);
                self.born(tid, child)?;
            }
            libc::PTRACE_EVENT_EXEC => {
                let former = Pid::from_raw(ptrace::getevent(tid)? as i32);
                self.tasks.executed(former, tid);
                if let (true, Some(initial)) = (tid == self.program, self.initial.take()) {
                    self.tasks.insert(Task::new(tid, tid, initial));
                }
            }
            libc::PTRACE_EVENT_EXIT => {
                if let Some(task) = self.tasks.get(tid) {
                    task.exiting.set(true);
                }
            }
            _ => {}
        }
        sys::resume(tid, 0)
    }

    fn born(&mut self, parent: Pid, child: Pid) -> nix::Result<()> {
        let first = self.unborn.remove(&child);
        if let (Some(parent), false) = (self.tasks.get(parent), matches!(first, Some(Event::Ended(_)))) {
            let task = parent.child(child);
            self.tasks.insert(task);
        }
        match first {
            Some(event) => self.serve(child, event),
            None => Ok(()),
        }
    }

    /// A thread is at the entry of a call: decide, record, carry out.
    fn enter(&mut self, tid: Pid, data: &SeccompData) -> nix::Result<()> {
        let Some(task) = self.tasks.get(tid) else { return Ok(()) };
        let caller = Caller { tasks: &self.tasks, task, engine: self.engine };
        let entry = Arch::of_call(data.arch, data.nr).unwrap_or(Arch::X86_64);

        let decision = evaluate(&task.seccomp, data, Pass::Entry, LogMask::all());
        if self.initial.is_none() {
            self.record.call(task, data, decision.value);
        }
        if let Some(log) = decision.log {
            self.record.log(task, &log);
        }
        let last = self.tasks.siblings(task).next().is_none();
        let mut dies = None;
        match decision.verdict {
            Verdict::Proceed => proceed(&caller, entry, data)?,
            Verdict::Return(value) => enforce::return_value(task, value.into())?,
            // Nobody else can trace what is traced here.
            Verdict::Trace { .. } => enforce::return_value(task, -i64::from(libc::ENOSYS))?,
            Verdict::Trap(sigsys) if enforce::handles_sigsys(task) => enforce::trap(task, sigsys)?,
            Verdict::KillStrict if last => signal::kill(task.tgid, Signal::SIGKILL)?,
            Verdict::KillStrict => enforce::end_thread(task, entry)?,
            Verdict::KillThread(_) if !last => enforce::end_thread(task, entry)?,
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

    fn leave(&mut self, tid: Pid) -> nix::Result<()> {
        let Some(task) = self.tasks.get(tid) else { return Ok(()) };
        sys::resume(tid, enforce::exit(task)?)
    }
}

/// A call that the filters let through: most run on the host, the ones about seccomp are answered here.
fn proceed(caller: &Caller, entry: Arch, data: &SeccompData) -> nix::Result<()> {
    let task = caller.task;
    let [first, second, third, ..] = data.args;
    let result = match Served::of(entry, data.nr) {
        Some(Served::Seccomp) => syscall::seccomp(caller, entry, first as u32, second as u32, third),
        Some(Served::Prctl) => match first as u32 {
            uapi::PR_SET_SECCOMP => syscall::prctl_set_seccomp(caller, entry, second, third),
            uapi::PR_GET_SECCOMP => Ok(syscall::prctl_get_seccomp(caller)),
            PR_GET_NO_NEW_PRIVS if task.has_emulated_no_new_privs() && data.args[1..5] == [0; 4] => Ok(1),
            _ => return Ok(()),
        },
        // A child that is not traced would run without its filters.
        Some(Served::Clone) if first & CLONE_UNTRACED != 0 => {
            return enforce::clear_in_first_argument(task, entry, CLONE_UNTRACED);
        }
        Some(Served::Clone3) => {
            let mut flags = [0; 8];
            if caller.read_user(first, &mut flags).is_err() || u64::from_ne_bytes(flags) & CLONE_UNTRACED == 0
            {
                return Ok(());
            }
            Err(syscalls::Errno::ENOSYS)
        }
        _ => return Ok(()),
    };
    enforce::return_value(task, result.map_or_else(|errno| -i64::from(errno.into_raw()), i64::from))
}

/// Calls that do not simply go to the host.
#[derive(Clone, Copy)]
enum Served {
    Seccomp,
    Prctl,
    Clone,
    Clone3,
}

impl Served {
    fn of(entry: Arch, nr: i32) -> Option<Self> {
        let nr = usize::try_from(nr).ok()?;
        match entry {
            Arch::I386 => match x86::Sysno::new(nr)? {
                x86::Sysno::seccomp => Some(Self::Seccomp),
                x86::Sysno::prctl => Some(Self::Prctl),
                x86::Sysno::clone => Some(Self::Clone),
                x86::Sysno::clone3 => Some(Self::Clone3),
                _ => None,
            },
            _ => match x86_64::Sysno::new(nr & !(seccomp_kernel::X32_SYSCALL_BIT as usize))? {
                x86_64::Sysno::seccomp => Some(Self::Seccomp),
                x86_64::Sysno::prctl => Some(Self::Prctl),
                x86_64::Sysno::clone => Some(Self::Clone),
                x86_64::Sysno::clone3 => Some(Self::Clone3),
                _ => None,
            },
        }
    }
}
