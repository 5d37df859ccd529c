//! The threads that are carried.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{c_int, user_regs_struct};
use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use seccomp_kernel::{Sigsys, TaskIds, Thread, ThreadState};

use super::birth::Guard;
use super::listener::Step;
use super::proc::{self, Status};
use super::sys::Event;
use crate::host;

/// A thread.
pub(super) struct Task {
    pub(super) tid: Pid,
    /// Its process.
    pub(super) tgid: Pid,
    /// What no other thread is called, also not one that later has its id.
    id: u64,
    pub(super) seccomp: ThreadState,
    /// TSYNC gave it no_new_privs, of which the host has not been told.
    no_new_privs: Cell<bool>,
    /// It is on its way out and counts as a live thread no longer.
    pub(super) exiting: Cell<bool>,
    /// It is in a call that may make another thread, and has told of none. The child begins with this guard.
    pub(super) in_clone: Cell<Option<Guard>>,
    /// What its registers are guarded by.
    pub(super) guard: Cell<Option<Guard>>,
    /// Its instruction pointer may have the mark of a call that a supervisor is asked about.
    pub(super) marked: Cell<bool>,
    /// That call waits killably once it is received.
    pub(super) killable: Cell<bool>,
    /// The id that it was received with, if it waits so.
    pub(super) received: Cell<Option<u64>>,
    /// The signal that its process dies of when its call ends, or 0.
    pub(super) dies_of: Cell<c_int>,
    /// It has stopped where it was born.
    begun: Cell<bool>,
    /// It is in a group stop.
    pub(super) stopped: Cell<bool>,
    /// What is to be done when its call ends.
    pub(super) at_exit: Cell<AtExit>,
    /// The SIGSYS that it has been sent and not yet got.
    pub(super) sigsys: Cell<Option<Sigsys>>,
}

/// What is to be done at the exit of a call.
#[derive(Default)]
pub(super) enum AtExit {
    /// Nothing, the call ran.
    #[default]
    Nothing,
    /// It did not run: let it return `value`, and put the number `nr` back.
    Return { nr: u64, value: i64 },
    /// It did not run: put the number `nr` back into both registers that hold it, and send SIGSYS.
    Trap { nr: u64, sigsys: Sigsys },
    /// It told the host of no_new_privs: let the call be made with these registers.
    Again(Box<user_regs_struct>),
    /// It did not run, or put SIGSYS back to its default instead: the process dies of that signal.
    Die { sigsys: Sigsys },
    /// The host made another call in its place.
    Host(Box<Step>),
    /// It receives for a supervisor, into this buffer.
    Received { notif: u64 },
}

impl Task {
    pub(super) fn new(tid: Pid, tgid: Pid, seccomp: ThreadState) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            tid,
            tgid,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            seccomp,
            no_new_privs: Cell::default(),
            exiting: Cell::default(),
            in_clone: Cell::default(),
            guard: Cell::default(),
            marked: Cell::default(),
            killable: Cell::default(),
            received: Cell::default(),
            dies_of: Cell::default(),
            begun: Cell::new(true),
            stopped: Cell::default(),
            at_exit: Cell::default(),
            sigsys: Cell::default(),
        }
    }

    /// A thread or process that this one has made.
    pub(super) fn child(&self, tid: Pid) -> Self {
        let mut child = Self::new(tid, tid, self.seccomp.inherit());
        if let Some(tgid) = child.known(Status::tgid) {
            child.tgid = tgid;
        }
        child.no_new_privs.set(self.no_new_privs.get());
        child.begun.set(false);
        // It has its parent's registers.
        child.marked.set(true);
        child.guard.set(self.in_clone.get());
        child
    }

    /// Whether what happened to the thread of its id happened to it. When it has executed a program, and not told of
    /// it, another may have been born with that id.
    pub(super) fn is_meant(&self, event: Event) -> bool {
        let may_be_birth = matches!(event, Event::Resumable | Event::GroupStop(_));
        !may_be_birth || !self.begun.replace(true) || self.known(Status::tgid) == Some(self.tgid)
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What `/proc` tells of it. Where that cannot be known nothing is taken in its place: the process is killed.
    pub(super) fn known<T>(&self, what: impl FnOnce(&Status) -> Option<T>) -> Option<T> {
        let known = Status::of(self.tid).and_then(|status| what(&status).ok_or(Errno::ENODATA));
        known.map_err(|error| self.kill_unknown("status", error)).ok()
    }

    /// Its name; of a process that is killed because that cannot be known, none.
    pub(super) fn comm(&self) -> Vec<u8> {
        proc::comm(self.tid).map_err(|error| self.kill_unknown("comm", error)).unwrap_or_default()
    }

    fn kill_unknown(&self, file: &str, error: Errno) {
        if error != Errno::ESRCH {
            let Self { tid, tgid, .. } = self;
            let error = error.desc();
            host::tell(format_args!(
                "seccomp-rbpf: process {tgid} is killed, for /proc/{tid}/{file} cannot be read: {error}\n"
            ));
        }
        // Fails if it is gone.
        let _ = signal::kill(self.tgid, Signal::SIGKILL);
    }

    /// The same thread after it executed a program, which makes it the first of its process.
    pub(super) fn executed(self) -> Self {
        let mut task = Self::new(self.tgid, self.tgid, self.seccomp);
        task.id = self.id;
        task.no_new_privs.set(self.no_new_privs.get());
        task
    }

    /// By what extensions remember it and its process.
    pub(super) fn ids(&self) -> TaskIds {
        TaskIds { thread: self.id, group: self.tgid.as_raw().cast_unsigned().into() }
    }

    /// Whether TSYNC gave it no_new_privs and the host is still to be told.
    pub(super) fn owes_no_new_privs(&self) -> bool {
        self.no_new_privs.get()
    }

    /// The host has been told.
    pub(super) fn told_no_new_privs(&self) {
        self.no_new_privs.set(false);
    }
}

impl Thread for Task {
    fn seccomp(&self) -> &ThreadState {
        &self.seccomp
    }

    fn tid(&self) -> i32 {
        self.known(Status::own_tid).unwrap_or(self.tid.as_raw())
    }

    fn no_new_privs(&self) -> bool {
        self.no_new_privs.get() || self.known(Status::no_new_privs) == Some(true)
    }

    fn set_no_new_privs(&self) {
        self.no_new_privs.set(true);
    }
}

/// Every thread that is carried.
#[derive(Default)]
pub(super) struct Tasks {
    /// By their ids.
    threads: HashMap<Pid, Task>,
    /// Those that have executed a program and not told of it, while another has got the id that they had: by their
    /// processes.
    executing: HashMap<Pid, Task>,
}

impl Tasks {
    pub(super) fn get(&self, tid: Pid) -> Option<&Task> {
        self.threads.get(&tid)
    }

    /// Who has its id has left it by executing a program.
    pub(super) fn insert(&mut self, task: Task) {
        if let Some(former) = self.threads.insert(task.tid, task) {
            self.executing.insert(former.tgid, former);
        }
    }

    pub(super) fn remove(&mut self, tid: Pid) -> Option<Task> {
        self.threads.remove(&tid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Whether every thread is in a group stop.
    pub(super) fn all_stopped(&self) -> bool {
        self.threads.values().all(|task| task.stopped.get())
    }

    /// Whether some thread may be about to tell of another that it has made.
    pub(super) fn any_in_clone(&self) -> bool {
        self.threads.values().any(|task| task.in_clone.get().is_some())
    }

    /// Whether the thread of this id may be about to tell of another that it has made.
    pub(super) fn is_in_clone(&self, id: u64) -> bool {
        self.threads.values().any(|task| task.id == id && task.in_clone.get().is_some())
    }

    /// Those that wait for a supervisor so that only a fatal signal ends it once the call is received.
    pub(super) fn killable(&self) -> impl Iterator<Item = &Task> {
        self.threads.values().filter(|task| task.killable.get())
    }

    /// The processes that they belong to.
    pub(super) fn processes(&self) -> HashSet<Pid> {
        self.threads.values().map(|task| task.tgid).collect()
    }

    /// The other threads of a thread's process that are not exiting.
    pub(super) fn siblings(&self, task: &Task) -> impl Iterator<Item = &Task> {
        let (tid, tgid) = (task.tid, task.tgid);
        self.threads
            .values()
            .filter(move |other| other.tgid == tgid && other.tid != tid && !other.exiting.get())
    }

    /// The thread `former` executed a program: it is now the only one of process `tgid`, and its first. The result
    /// is the others, of which extensions remember nothing any more; `None` if nobody knows the thread.
    pub(super) fn executed(&mut self, former: Pid, tgid: Pid) -> Option<Vec<Task>> {
        let is_it = |task: &Task| task.tid == former && task.tgid == tgid;
        let task = match self.executing.remove(&tgid) {
            None if self.get(former).is_some_and(is_it) => self.remove(former),
            executing => executing.filter(is_it),
        }?;
        let others = self.remove_process(tgid);
        for other in &others {
            other.seccomp.task_exited(other.ids(), [&task.seccomp]);
        }
        self.insert(task.executed());
        Some(others)
    }

    /// Takes out what threads there are of a process.
    pub(super) fn remove_process(&mut self, tgid: Pid) -> Vec<Task> {
        let executing = self.executing.remove(&tgid);
        let threads = self.threads.extract_if(|_, task| task.tgid == tgid).map(|(_, task)| task);
        threads.chain(executing).collect()
    }

    /// The thread, which is no longer among these, is gone: extensions forget it.
    pub(super) fn forget(&self, task: &Task) {
        let remaining = self.threads.values().filter(|other| other.tgid == task.tgid);
        task.seccomp.task_exited(task.ids(), remaining.map(|other| &other.seccomp));
    }
}
