//! A case by the library: registers that a tracer changes, as a kernel has them.

use seccomp_kernel::{
    Arch, Entry, Listener, LogEntry, LogMask, Notified, Sigsys, Thread, Traced, Verdict, enter,
};
use seccomp_runtime::SeccompData;
use syscalls::Errno;

use super::row::{By, Change, Row, Sets, Tracer};
use super::{Asked, End, Made, Registers, Told};
use crate::mock::{Engine, Faults, Process};

const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

/// Runs a case.
///
/// # Panics
///
/// A filter is none.
pub fn run(row: &Row, engine: Engine, made: Made) -> Told {
    let process = Process::new(engine, Faults::default());
    let thread = process.leader();
    for filter in &row.filters {
        assert_eq!(process.install(&thread, filter.flags(), &filter.program()), Ok(0));
    }
    let registers = Registers { nr: row.nr.into(), args: row.args, returned: error(Errno::ENOSYS) };
    let mut call = Call { row, made, registers, tracer: row.tracer, asked: Vec::new(), killed: false };
    if let Some(change) = row.entry.as_ref().filter(|_| row.tracer != Tracer::None) {
        call.change(change);
    }
    let (mut end, mut log) = (End::Killed(SIGKILL), None);
    if !call.killed {
        let decision = enter(thread.seccomp(), LogMask::all(), &mut call);
        (end, log) = (call.end(decision.verdict), decision.log);
    }
    Told { asked: call.asked, end, logged: log.map(logged) }
}

/// The end of an audit record.
fn logged(LogEntry { signal, code, nr, arch, instruction_pointer }: LogEntry) -> String {
    format!("sig={signal} arch={arch:x} syscall={nr} compat=0 ip={instruction_pointer:#x} code={code:#x}")
}

/// A call at its entry.
struct Call<'r> {
    row: &'r Row,
    made: Made,
    registers: Registers,
    tracer: Tracer,
    asked: Vec<Asked>,
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

    fn notify(&mut self, _: &dyn Listener, _: &SeccompData) -> Notified {
        panic!("no filter has a listener");
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
            Verdict::Restart | Verdict::KillStrict | Verdict::Trace { .. } | Verdict::Notify { .. } => {
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
