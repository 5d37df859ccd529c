//! The lines of StarryOS around `task/seccomp.rs`, as they become: its thread, clone, exit, sys_seccomp, sys_prctl
//! and the entry of a system call, over a process that lives in a test.
//!
//! User memory is the mock kernel's. What is no part of the subject (signals, exits, running a call) is told as
//! an [`End`].

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use seccomp_kernel::notify::Reply;
use seccomp_kernel::runtime::{EngineKind, ExecMemory, NoExecMemory};
use seccomp_kernel::{
    Fault, GroupLock, Interrupted, Kernel, ListenerError, ThreadGroup, ThreadState, syscall,
};
use seccomp_tests::mock::Memory;
use starryos_adapter::{
    ARCH, Listener, LogEntry, Notified, SeccompData, SeccompDecision, SeccompState, Sigsys, SyscallContext,
    Traced, TracedContext, seccomp_errno,
};
use syscalls::Errno;

/// The saved registers of a thread, on x86_64: rax is the number when a call comes in and its result when it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserContext {
    pub rax: usize,
    pub rip: usize,
    pub args: [usize; 6],
}

/// What becomes of a thread at the end of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It goes on. If `restarts`, a result of EINTR may restart the call.
    Returns { restarts: bool },
    /// It gets a SIGSYS first.
    Signal(Sigsys),
    /// `do_exit(signal, group)`; the process with a core dump.
    Exits { signal: i32, group: bool },
    /// The call sleeps no more for a signal: it is restarted after a handler, or returns EINTR.
    Interrupted,
}

/// `task::Thread`. The state was `SpinNoIrq<SeccompState>`.
#[derive(Debug)]
pub struct Thread {
    pub tid: i32,
    pub seccomp: SeccompState,
    no_new_privs: AtomicBool,
    /// The tracer that has asked for seccomp stops.
    pub tracer: Mutex<Option<Tracer>>,
}

/// What a tracer does at a seccomp stop: it gets the message and may change number and return register.
pub type Tracer = fn(u16, &mut UserContext, &mut usize);

/// `task::ProcessData`.
#[derive(Debug, Default)]
pub struct Process {
    /// What its lock protects: who is a thread, and changes of their seccomp states.
    threads: Mutex<Vec<Arc<Thread>>>,
    pub memory: Memory,
    /// CAP_SYS_ADMIN.
    pub privileged: bool,
    last_tid: AtomicI32,
    audit: Mutex<Vec<LogEntry>>,
    answer: Mutex<Option<Reply>>,
}

impl Process {
    pub fn new(privileged: bool) -> Self {
        let process = Self { privileged, ..Self::default() };
        process.lock().push(Arc::new(process.thread(SeccompState::default(), false)));
        process
    }

    pub fn leader(&self) -> Arc<Thread> {
        Arc::clone(self.lock().first().expect("a live thread"))
    }

    fn thread(&self, seccomp: SeccompState, no_new_privs: bool) -> Thread {
        let tid = self.last_tid.fetch_add(1, Ordering::Relaxed) + 1;
        Thread { tid, seccomp, no_new_privs: no_new_privs.into(), tracer: Mutex::default() }
    }

    /// `clone`: the lock is held from copying the state to publishing the thread.
    pub fn clone_thread(&self, parent: &Thread) -> Arc<Thread> {
        let mut threads = self.lock();
        let no_new_privs = seccomp_kernel::Thread::no_new_privs(parent);
        let child = Arc::new(self.thread(parent.seccomp.clone(), no_new_privs));
        threads.push(Arc::clone(&child));
        child
    }

    /// `do_exit`: out of the group and out of its filters under one lock.
    pub fn exit(&self, thread: &Thread) {
        let mut threads = self.lock();
        let exit = thread.seccomp.thread_state().exit();
        threads.retain(|other| other.tid != thread.tid);
        drop(threads);
        drop(exit);
    }

    /// What supervisors answer.
    pub fn supervise(&self, answer: Reply) {
        *self.answer.lock().expect("no test panicked") = Some(answer);
    }

    /// The audit records so far.
    pub fn audited(&self) -> Vec<LogEntry> {
        std::mem::take(&mut self.audit.lock().expect("no test panicked"))
    }

    pub fn current<'p>(&'p self, thread: &'p Thread) -> Current<'p> {
        Current { process: self, thread }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Thread>>> {
        self.threads.lock().expect("no test panicked")
    }
}

impl seccomp_kernel::Thread for Thread {
    fn seccomp(&self) -> &ThreadState {
        self.seccomp.thread_state()
    }

    fn tid(&self) -> i32 {
        self.tid
    }

    fn no_new_privs(&self) -> bool {
        self.no_new_privs.load(Ordering::Relaxed)
    }

    fn set_no_new_privs(&self) {
        self.no_new_privs.store(true, Ordering::Relaxed);
    }
}

/// `current()`.
#[derive(Clone, Copy)]
pub struct Current<'p> {
    process: &'p Process,
    thread: &'p Thread,
}

impl Current<'_> {
    /// `handle_syscall`. The call comes in with `uctx`, and leaves with what a handler or the program finds there.
    pub fn handle_syscall(&self, uctx: &mut UserContext) -> End {
        // Once, at entry: rax will hold results.
        let mut call = Call { current: *self, sysno: uctx.rax, uctx: *uctx };
        let decision = self.thread.seccomp.enter(&mut call);
        *uctx = call.uctx;
        match decision {
            SeccompDecision::Allow => {}
            SeccompDecision::Errno(errno) => {
                uctx.rax = seccomp_errno(errno);
                return End::Returns { restarts: false };
            }
            SeccompDecision::Return(value) => {
                uctx.rax = value as usize;
                return End::Returns { restarts: false };
            }
            SeccompDecision::Skip => return End::Returns { restarts: false },
            SeccompDecision::Restart => return End::Interrupted,
            SeccompDecision::Trap(sigsys) => {
                uctx.rax = call.sysno;
                return End::Signal(sigsys);
            }
            SeccompDecision::KillStrict => return End::Exits { signal: 9, group: false },
            SeccompDecision::KillThread => {
                let last = self.process.lock().len() == 1;
                return End::Exits { signal: 31, group: last };
            }
            SeccompDecision::KillProcess => return End::Exits { signal: 31, group: true },
            // Never said.
            SeccompDecision::UnsupportedAction => {
                uctx.rax = seccomp_errno(Errno::ENOSYS.into_raw() as u16);
                return End::Returns { restarts: true };
            }
        }

        // Only now is the number looked up.
        let sysno = i32::try_from(call.sysno).ok().and_then(|nr| ARCH.syscall_name(nr));
        let [op, flags, uargs, ..] = uctx.args;
        let result = match sysno {
            Some("seccomp") => self.sys_seccomp(op as u32, flags as u32, uargs),
            Some("prctl") => self.sys_prctl(uctx.args),
            // A blocking call that a signal interrupts.
            Some("pause") => Err(Errno::EINTR),
            Some(_) => Ok(0),
            None => Err(Errno::ENOSYS),
        };
        uctx.rax = result.map_or_else(|errno| seccomp_errno(errno.into_raw() as u16), |value| value as usize);
        End::Returns { restarts: true }
    }

    /// `sys_seccomp`, whole.
    pub fn sys_seccomp(&self, op: u32, flags: u32, uargs: usize) -> Result<i32, Errno> {
        syscall::seccomp(self, ARCH, op, flags, uargs as u64)
    }

    /// `sys_prctl`, the part that is about seccomp.
    fn sys_prctl(&self, [option, arg2, arg3, arg4, arg5, _]: [usize; 6]) -> Result<i32, Errno> {
        match (option, arg2) {
            (21, _) => Ok(syscall::prctl_get_seccomp(self)),
            (22, mode) => syscall::prctl_set_seccomp(self, ARCH, mode as u64, arg3 as u64),
            (38, 1) if [arg3, arg4, arg5] == [0; 3] => {
                seccomp_kernel::Thread::set_no_new_privs(self.thread);
                Ok(0)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

impl<'p> Kernel for Current<'p> {
    type Thread = Thread;
    type Group = Group<'p>;
    type NewListener = NewListener;

    fn current(&self) -> &Thread {
        self.thread
    }

    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.process.memory.read(address, into)
    }

    fn write_user(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        self.process.memory.write(address, from)
    }

    fn may_install(&self) -> bool {
        self.process.privileged
    }

    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Group<'p>) -> R) -> Result<R, Interrupted> {
        Ok(f(&Group { threads: self.process.lock(), caller: self.thread.tid }))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &NoExecMemory
    }

    fn engine(&self) -> EngineKind {
        EngineKind::Native
    }

    fn planned_entries(&self) -> &[seccomp_kernel::Arch] {
        &[ARCH]
    }

    fn new_listener(&self, _: bool) -> Result<NewListener, ListenerError> {
        Ok(NewListener)
    }
}

/// The threads of a process while its lock is held, as one of them sees them.
pub struct Group<'p> {
    threads: MutexGuard<'p, Vec<Arc<Thread>>>,
    caller: i32,
}

impl ThreadGroup for Group<'_> {
    type Thread = Thread;

    fn for_each_sibling(&self, f: &mut dyn FnMut(&Thread) -> ControlFlow<()>) {
        let mut siblings = self.threads.iter().filter(|thread| thread.tid != self.caller);
        let _ = siblings.try_for_each(|thread| f(thread));
    }
}

/// The call that `handle_syscall` is about.
struct Call<'p> {
    current: Current<'p>,
    sysno: usize,
    uctx: UserContext,
}

impl SyscallContext for Call<'_> {
    fn sysno(&self) -> usize {
        self.sysno
    }

    fn ip(&self) -> usize {
        self.uctx.rip
    }

    fn args(&self) -> [usize; 6] {
        self.uctx.args
    }

    fn audit(&self, record: LogEntry) {
        self.current.process.audit.lock().expect("no test panicked").push(record);
    }
}

impl TracedContext for Call<'_> {
    fn trace(&mut self, message: u16) -> Traced {
        let Some(tracer) = self.current.thread.tracer.lock().map_or(None, |tracer| *tracer) else {
            return Traced::NoTracer;
        };
        self.uctx.rax = seccomp_errno(Errno::ENOSYS.into_raw() as u16);
        tracer(message, &mut self.uctx, &mut self.sysno);
        Traced::Resumed
    }

    fn notify(&mut self, _: &dyn Listener, _: &SeccompData) -> Notified {
        let answer = self.current.process.answer.lock().map_or(None, |answer| *answer);
        answer.map_or(Notified::Interrupted, Notified::Answered)
    }
}

/// A supervisor's end of a filter, which is always open. What it answers is [`Process::supervise`]'s.
#[derive(Debug)]
struct Supervisor;

impl Listener for Supervisor {
    fn is_open(&self) -> bool {
        true
    }

    fn users_gone(&self) {}
}

pub struct NewListener;

impl seccomp_kernel::NewListener for NewListener {
    fn listener(&self) -> Arc<dyn Listener> {
        Arc::new(Supervisor)
    }

    fn publish(self) -> i32 {
        3
    }
}
