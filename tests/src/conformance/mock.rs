//! Cases on the library, over the mock kernel.

use std::ops::Range;
use std::sync::Arc;

use seccomp_kernel::{Arch, Sigsys, Thread as _};
use syscalls::Errno;
use syscalls::x86_64::Sysno;

use super::plan::{Plan, block};
use super::row::{Action, Call, Letter, Row, THREADS};
use super::transcript::{Outcome, Run, Transcript};
use crate::mock::{Engine, Faults, INSTRUCTION_POINTER, Process, Progress, Reply, Signal, Thread};

/// Where a case's memory is.
const BASE: u64 = 0x1000_0000;

/// Runs a case with filters on `engine`.
///
/// # Panics
///
/// The case calls what the mock kernel has not.
pub fn run(row: &Row, engine: Engine, cores: bool) -> Transcript {
    let plan = Plan::new(row, BASE);
    let process = Process::new(engine, Faults::default()).exempting_uprobes();
    process.memory().map(BASE, plan.memory.clone());
    let mut story = Story {
        plan: &plan,
        threads: [const { None }; THREADS],
        processes: [const { None }; THREADS],
        executed: [false; THREADS],
        outcomes: vec![Outcome::Unreached; plan.steps.len()],
    };
    story.threads[Letter::A.index()] = Some(process.leader());
    story.run(&process, 0..plan.steps.len(), None);
    let tids = story.threads.iter().map(|thread| thread.as_ref().map_or(0, |thread| thread.tid())).collect();
    let run = Run { outcomes: story.outcomes, tids, end: process.end() };
    Transcript::new(&plan.steps, &run, cores)
}

struct Story<'p> {
    plan: &'p Plan,
    threads: [Option<Arc<Thread>>; THREADS],
    /// Those that are not A's.
    processes: [Option<Arc<Process>>; THREADS],
    /// Those that have become another program.
    executed: [bool; THREADS],
    outcomes: Vec<Outcome>,
}

impl Story<'_> {
    /// Runs steps in `process`; where it is a child, `child` is its thread.
    fn run(&mut self, process: &Process, steps: Range<usize>, child: Option<&Arc<Thread>>) {
        let mut next = steps.start;
        while next < steps.end && process.end().is_none() {
            let at = next;
            next = block(&self.plan.steps, at).end;
            let letter = self.plan.steps[at].thread.index();
            let thread = child.or(self.threads[letter].as_ref()).cloned();
            let own = self.processes[letter].clone().filter(|_| child.is_none());
            let process = own.as_deref().unwrap_or(process);
            if let Some(thread) = thread.filter(|thread| process.has(thread) && !self.executed[letter]) {
                self.outcomes[at] = self.step(process, own.as_ref(), &thread, at);
            }
        }
    }

    fn step(
        &mut self,
        process: &Process,
        own: Option<&Arc<Process>>,
        thread: &Arc<Thread>,
        at: usize,
    ) -> Outcome {
        match &self.plan.steps[at].action {
            Action::Call(call) => self.call(process, thread, at, call),
            Action::Status(letter) => {
                let other = (*letter != self.plan.steps[at].thread).then_some(letter.index());
                let of = other.map_or(Some(thread), |index| self.threads[index].as_ref());
                let is_zombie = *letter == Letter::A || self.processes[letter.index()].is_some();
                let Some(of) = of.filter(|of| is_zombie || process.has(of)) else {
                    return returned(-i64::from(Errno::ESRCH.into_raw()));
                };
                let calls = [Sysno::openat, Sysno::read, Sysno::close];
                let mut replies = calls.iter().map(|nr| process.enter(thread, Arch::X86_64, nr.id(), [0; 6]));
                match replies.find(|reply| *reply != Reply::Returned(0)) {
                    Some(reply) => outcome(reply, 0, Vec::new()),
                    None => Outcome::Status(of.status()),
                }
            }
            Action::Sigsys(disposition) => {
                process.set_disposition(thread, *disposition);
                returned(0)
            }
            Action::Thread(letter) => {
                self.threads[letter.index()] = Some(process.spawn(thread));
                self.processes[letter.index()] = own.cloned();
                returned(0)
            }
            Action::Process(letter) => {
                let child = process.fork_sharing_files(thread);
                self.threads[letter.index()] = Some(child.leader());
                self.processes[letter.index()] = Some(Arc::new(child));
                returned(0)
            }
            Action::Exec => {
                let reply = process.enter(thread, Arch::X86_64, Sysno::execveat.id(), [0; 6]);
                if reply != Reply::Returned(0) {
                    return outcome(reply, 0, Vec::new());
                }
                process.exec(thread);
                self.executed[self.plan.steps[at].thread.index()] = true;
                Outcome::Gone
            }
            Action::Kill(letter) => {
                let process = self.processes[letter.index()].as_ref().expect("a process");
                process.signal(self.threads[letter.index()].as_ref().expect("a thread"), Signal::Kill);
                returned(0)
            }
            Action::Wait(letter) => {
                let process = self.processes[letter.index()].as_ref().expect("a process");
                Outcome::Child(Some(process.end().expect("a process that has ended")))
            }
            Action::Fork(_) => {
                let child = process.fork(thread);
                self.run(&child, block(&self.plan.steps, at), Some(&child.leader()));
                Outcome::Child(child.end())
            }
            // The handler returns by a system call.
            Action::Breakpoint => {
                let reply = process.enter(thread, Arch::X86_64, Sysno::rt_sigreturn.id(), [0; 6]);
                outcome(reply, 0, Vec::new())
            }
            Action::ReadTime => outcome(process.read_time(thread), 0, Vec::new()),
        }
    }

    fn call(&self, process: &Process, thread: &Thread, at: usize, call: &Call<u64>) -> Outcome {
        let mut zeros = 0;
        let reply = loop {
            let mut reply = process.enter(thread, call.entry, call.nr, call.args);
            while reply == Reply::Asleep {
                match process.resume(thread) {
                    Progress::None => panic!("nobody will wake it"),
                    Progress::Some => {}
                    Progress::Ended(ended) => reply = ended,
                }
            }
            if reply != Reply::Returned(0) || zeros + 1 >= call.times {
                break reply;
            }
            zeros += 1;
        };
        let range = self.plan.shown[at].clone();
        let mut shown = vec![0; range.len()];
        process.memory().read(BASE + range.start as u64, &mut shown).expect("it is in the plan's memory");
        outcome(reply, zeros, shown)
    }
}

fn outcome(reply: Reply, zeros: u32, shown: Vec<u8>) -> Outcome {
    match reply {
        Reply::Returned(value) => Outcome::Returned { zeros, value, sigsys: None, shown },
        Reply::Trapped(sigsys, value) => {
            // As a distance, since the host's instruction is elsewhere.
            let call_addr = sigsys.call_addr.wrapping_sub(INSTRUCTION_POINTER);
            Outcome::Returned { zeros, value, sigsys: Some(Sigsys { call_addr, ..sigsys }), shown }
        }
        Reply::Gone => Outcome::Gone,
        Reply::Asleep => panic!("nobody has taken it further"),
    }
}

fn returned(value: i64) -> Outcome {
    Outcome::Returned { zeros: 0, value, sigsys: None, shown: Vec::new() }
}
