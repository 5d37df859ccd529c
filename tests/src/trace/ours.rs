//! A case by the library: a kernel with one thread, and registers that a tracer changes.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use cbpf_translator::check;
use seccomp_kernel::notify::{Id, Interrupt, Next, Notifications, Reply, Response};
use seccomp_kernel::{
    Arch, Decision, Entry, Fault, Filter, GroupLock, Interrupted, Kernel, Listener, ListenerError, LogEntry,
    LogMask, NewListener, Notified, Sigsys, Thread, ThreadGroup, ThreadState, Traced, Verdict, attach, enter,
};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineKind, ExecMemory, SeccompData};
use syscalls::Errno;

use super::row::{By, Change, Row, Sets, Supervisor, Tracer};
use super::{Asked, End, Made, Registers, Told};
use crate::mock::Engine;

const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

/// Runs a case.
///
/// # Panics
///
/// A filter is none.
pub fn run(row: &Row, engine: Engine, made: Made) -> Told {
    let kernel =
        OneThread { thread: Only(ThreadState::new()), engine, closed: row.supervisor == Supervisor::Closed };
    for filter in &row.filters {
        let program = check(filter.program()).expect("a program");
        attach(&kernel, program, filter.flags()).expect("a filter");
    }
    let registers = Registers { nr: row.nr.into(), args: row.args, returned: error(Errno::ENOSYS) };
    let mut call =
        Call { row, made, registers, tracer: row.tracer, asked: Vec::new(), notified: None, killed: false };
    if let Some(change) = row.entry.as_ref().filter(|_| row.tracer != Tracer::None) {
        call.change(change);
    }
    let (mut end, mut log) = (End::Killed(SIGKILL), None);
    if !call.killed {
        let decision = enter(kernel.thread.seccomp(), LogMask::all(), &mut call);
        (end, log) = (call.end(decision.verdict), decision.log);
        kernel.count(&decision, &call.data());
    }
    Told { asked: call.asked, notified: call.notified, end, logged: log.map(logged) }
}

/// The end of an audit record.
fn logged(LogEntry { signal, code, nr, arch, instruction_pointer }: LogEntry) -> String {
    format!("sig={signal} arch={arch:x} syscall={nr} compat=0 ip={instruction_pointer:#x} code={code:#x}")
}

/// A kernel with one thread.
struct OneThread {
    thread: Only,
    engine: Engine,
    /// Listeners are closed at once.
    closed: bool,
}

struct Only(ThreadState);

impl Thread for Only {
    fn seccomp(&self) -> &ThreadState {
        &self.0
    }

    fn tid(&self) -> i32 {
        1
    }

    fn no_new_privs(&self) -> bool {
        true
    }

    fn set_no_new_privs(&self) {}
}

impl OneThread {
    /// Has the call counted, and checks that it was if and only if it does not run, and for the filter that decided.
    fn count(&self, decision: &Decision, data: &SeccompData) {
        let state = self.thread.seccomp();
        state.count_denial(decision, data);
        for index in 0..state.filter_count() as u16 {
            let denials = state.filter_at(index).and_then(Filter::denials).expect("this kernel counts");
            let denied = decision.verdict != Verdict::Proceed && decision.filter == Some(index);
            assert!(denials.iter().all(|denied| denied.nr == data.nr), "{denials:?}");
            let counted = denials.iter().map(|denied| denied.count).sum::<u32>() + denials.other();
            assert_eq!(counted, u32::from(denied), "filter {index}: {decision:?}");
        }
    }
}

impl ThreadGroup for OneThread {
    type Thread = Only;

    fn for_each_sibling(&self, _: &mut dyn FnMut(&Only) -> ControlFlow<()>) {}
}

#[derive(Debug)]
struct Requests(Mutex<Notifications<(), ()>>);

impl Listener for Requests {
    fn is_open(&self) -> bool {
        self.0.lock().expect("no test panicked").is_open()
    }

    fn users_gone(&self) {
        let _ = self.0.lock().expect("no test panicked").users_gone();
    }
}

struct New(Arc<Requests>);

impl NewListener for New {
    fn listener(&self) -> Arc<dyn Listener> {
        Arc::clone(&self.0) as Arc<dyn Listener>
    }

    fn publish(self) -> i32 {
        3
    }
}

impl Kernel for OneThread {
    type Thread = Only;
    type Group = Self;
    type NewListener = New;

    fn current(&self) -> &Only {
        &self.thread
    }

    fn read_user(&self, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn write_user(&self, _: u64, _: &[u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn may_install(&self) -> bool {
        true
    }

    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Self) -> R) -> Result<R, Interrupted> {
        Ok(f(self))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &HostExecMemory
    }

    fn engine(&self) -> EngineKind {
        self.engine.kind
    }

    fn planned_entries(&self) -> &[Arch] {
        if self.engine.plan { &[Arch::X86_64] } else { &[] }
    }

    fn counts_denials(&self) -> bool {
        true
    }

    fn new_listener(&self, wait_killable: bool) -> Result<New, ListenerError> {
        let mut requests = Notifications::new(Id(1), wait_killable);
        if self.closed {
            let _ = requests.close();
        }
        Ok(New(Arc::new(Requests(Mutex::new(requests)))))
    }
}

/// A call at its entry.
struct Call<'r> {
    row: &'r Row,
    made: Made,
    registers: Registers,
    tracer: Tracer,
    asked: Vec<Asked>,
    notified: Option<SeccompData>,
    killed: bool,
}

impl Entry for Call<'_> {
    fn data(&mut self) -> SeccompData {
        SeccompData {
            nr: self.registers.nr as i32,
            arch: Arch::X86_64.audit_arch(),
            instruction_pointer: self.made.instruction_pointer,
            args: self.registers.args,
        }
    }

    fn trace(&mut self, message: u16) -> Traced {
        if self.tracer != Tracer::Seccomp {
            return Traced::NoTracer;
        }
        self.asked.push(Asked { message: message.into(), registers: self.registers });
        self.change(&self.row.asked);
        if self.killed { Traced::Killed } else { Traced::Resumed }
    }

    fn notify(&mut self, listener: &dyn Listener, data: &SeccompData) -> Notified {
        let requests: &Requests = listener.downcast_ref().expect("ours");
        let mut requests = requests.0.lock().expect("no test panicked");
        let id = match requests.request((), *data) {
            Ok((id, _)) => id,
            Err(refused) => return Notified::Answered(Reply::Return(error(refused.into()))),
        };
        let received = requests.receive().ok().flatten().map(|(received, _)| *received.data);
        self.notified = received;
        match self.row.supervisor {
            Supervisor::Answers(reply) => {
                let _ = requests.send(Response { id, reply }).expect("it was received");
                match requests.next(id) {
                    Next::Return(reply) => Notified::Answered(reply),
                    next => panic!("{next:?}"),
                }
            }
            Supervisor::Signals => {
                assert!(requests.interrupt(id, Interrupt::Signal));
                Notified::Interrupted
            }
            Supervisor::Closed => panic!("a closed listener took a request"),
        }
    }
}

impl Call<'_> {
    fn change(&mut self, change: &Change) {
        match change {
            Change::Nothing => {}
            Change::Kill => self.killed = true,
            Change::Detach => self.tracer = Tracer::None,
            Change::Set(By::Registers, sets) => sets.apply(&mut self.registers),
            Change::Set(By::SyscallInfo, sets) => self.set_syscall_info(*sets),
        }
    }

    /// Arguments of a call that is skipped are not set.
    fn set_syscall_info(&mut self, sets: Sets) {
        let args = self.registers.args;
        sets.apply(&mut self.registers);
        if self.registers.nr == -1 {
            self.registers.args = args;
        }
    }

    fn end(&self, verdict: Verdict) -> End {
        if self.killed {
            return End::Killed(SIGKILL);
        }
        match verdict {
            Verdict::Proceed => End::Returned(self.run()),
            Verdict::Return(value) => End::Returned(value),
            Verdict::Skip => End::Returned(self.registers.returned),
            Verdict::Trap(Sigsys { errno, call_addr, syscall, arch }) => {
                let returned = self.registers.nr;
                End::Trapped { errno: errno.into(), syscall, arch, call_addr, returned }
            }
            Verdict::KillThread(_) | Verdict::KillProcess(_) => End::Killed(SIGSYS),
            // Whether a call is to be restarted is asked of a thread in a call, which number -1 says it is not.
            Verdict::Restart if self.registers.nr as i32 == -1 => End::Returned(error(Errno::ERESTARTSYS)),
            // The handler has no SA_RESTART.
            Verdict::Restart => End::Returned(error(Errno::EINTR)),
            Verdict::KillStrict | Verdict::Trace { .. } | Verdict::Notify { .. } => {
                panic!("{verdict:?}")
            }
        }
    }

    /// What the call in the registers returns.
    fn run(&self) -> i64 {
        let Registers { nr, args, returned } = self.registers;
        match (i64::from(nr as i32), args[0] as i32) {
            (-1, _) => returned,
            (libc::SYS_getpid, _) => self.made.pid.into(),
            (libc::SYS_sched_get_priority_max, libc::SCHED_FIFO) => 99,
            (libc::SYS_sched_get_priority_min, libc::SCHED_FIFO) => 1,
            (libc::SYS_sched_get_priority_max | libc::SYS_sched_get_priority_min, libc::SCHED_OTHER) => 0,
            (libc::SYS_sched_get_priority_max | libc::SYS_sched_get_priority_min, _) => error(Errno::EINVAL),
            _ => error(Errno::ENOSYS),
        }
    }
}

fn error(errno: Errno) -> i64 {
    -i64::from(errno.into_raw())
}
