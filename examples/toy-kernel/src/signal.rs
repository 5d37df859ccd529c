//! Signals: what has come, what is done about it, and handlers.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use seccomp_kernel::uapi::SYS_SECCOMP;
use seccomp_kernel::{self as seccomp, Sigsys};
use syscalls::Errno;

use crate::arch::{Context, Fault, Handler, SIGSEGV};
use crate::process::{Process, Status};
use crate::scheduler;
use crate::thread::Thread;

pub const SIGKILL: i32 = 9;
pub const SIGCHLD: i32 = 17;
pub const SIGCONT: i32 = 18;
pub const SIGSTOP: i32 = 19;
pub const SIGURG: i32 = 23;
pub const SIGWINCH: i32 = 28;
pub const SIGSYS: i32 = 31;

/// Signals are 1 to this.
pub const MAX: i32 = 64;

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;

const SA_RESTORER: u64 = 0x0400_0000;
const SA_RESTART: u64 = 0x1000_0000;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;

/// `struct sigaction` of the system call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Action {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: u64,
}

/// What a process does about each signal.
#[derive(Clone, Debug)]
pub struct Actions([Action; MAX as usize]);

impl Default for Actions {
    fn default() -> Self {
        Self([Action::default(); MAX as usize])
    }
}

impl Actions {
    pub fn of(&mut self, signal: i32) -> &mut Action {
        &mut self.0[signal as usize - 1]
    }

    /// Whether a signal that comes has no effect.
    fn ignores(&mut self, signal: i32) -> bool {
        match self.of(signal).handler {
            SIG_DFL => matches!(signal, SIGCHLD | SIGCONT | SIGURG | SIGWINCH),
            handler => handler == SIG_IGN,
        }
    }
}

/// Why a signal came: what `siginfo` tells.
#[derive(Clone, Copy, Debug)]
pub enum Info {
    /// kill(2) and its like, with this `si_code`.
    User {
        code: i32,
        pid: i32,
        uid: u32,
    },
    Fault(Fault),
    Child {
        pid: i32,
        status: Status,
    },
    Seccomp(Sigsys),
}

impl Info {
    fn siginfo(self, signal: i32) -> [u8; 128] {
        let mut bytes = [0; 128];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let (code, errno) = match self {
            Self::User { code, pid, uid } => {
                put(16, &pid.to_ne_bytes());
                put(20, &uid.to_ne_bytes());
                (code, 0)
            }
            Self::Fault(fault) => {
                put(16, &fault.address.to_ne_bytes());
                (fault.code, 0)
            }
            Self::Child { pid, status } => {
                const CLD_EXITED: i32 = 1;
                const CLD_KILLED: i32 = 2;
                let (code, value) =
                    if status & 0x7f == 0 { (CLD_EXITED, status >> 8) } else { (CLD_KILLED, status & 0x7f) };
                put(16, &pid.to_ne_bytes());
                put(24, &value.to_ne_bytes());
                (code, 0)
            }
            Self::Seccomp(Sigsys { errno, call_addr, syscall, arch }) => {
                put(16, &call_addr.to_ne_bytes());
                put(24, &syscall.to_ne_bytes());
                put(28, &arch.to_ne_bytes());
                (SYS_SECCOMP, i32::from(errno))
            }
        };
        put(0, &signal.to_ne_bytes());
        put(4, &errno.to_ne_bytes());
        put(8, &code.to_ne_bytes());
        bytes
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

impl Process {
    /// A signal comes for one of its threads: the first that does not block it.
    pub fn signal(&self, signal: i32, info: Info) {
        if signal == SIGKILL {
            return self.end(SIGKILL);
        }
        let takes = |thread: &&Arc<Thread>| thread.blocked.load(Ordering::Relaxed) & bit(signal) == 0;
        let thread = {
            let threads = &self.group.lock().threads;
            threads.iter().find(takes).or(threads.first()).cloned()
        };
        if let Some(thread) = thread {
            thread.signal(signal, info);
        }
    }
}

impl Thread {
    /// A signal comes for this thread.
    pub fn signal(self: &Arc<Self>, signal: i32, info: Info) {
        if signal == SIGKILL {
            return self.process.end(SIGKILL);
        }
        let blocks = self.blocked.load(Ordering::Relaxed) & bit(signal) != 0;
        if !blocks && self.process.actions.lock().ignores(signal) {
            return;
        }
        self.pending.lock().entry(signal).or_insert(info);
        scheduler::make_ready(self);
    }
}

/// Whether a signal has come that the thread does not block.
pub fn is_due(thread: &Thread) -> bool {
    let blocked = thread.blocked.load(Ordering::Relaxed);
    thread.pending.lock().keys().any(|signal| blocked & bit(*signal) == 0)
}

/// A signal that cannot be blocked or ignored: the process dies of it then (`force_sig_info`).
pub fn force(thread: &Arc<Thread>, signal: i32, info: Info) {
    let mut actions = thread.process.actions.lock();
    let blocked = thread.blocked.load(Ordering::Relaxed);
    let action = actions.of(signal);
    if blocked & bit(signal) != 0 || action.handler == SIG_IGN {
        action.handler = SIG_DFL;
        thread.blocked.store(blocked & !bit(signal), Ordering::Relaxed);
    }
    drop(actions);
    thread.pending.lock().insert(signal, info);
}

/// On the way back to user mode: what has come for the thread takes effect. `restart` is whether a call was
/// interrupted: it is made again, unless a handler runs that does not want that.
pub fn deliver(thread: &Arc<Thread>, context: &mut Context, mut restart: bool) {
    let process = &thread.process;
    while !process.is_ending() {
        let blocked = thread.blocked.load(Ordering::Relaxed);
        let Some((signal, info)) = next(thread, blocked) else { break };
        let mut actions = process.actions.lock();
        if actions.ignores(signal) {
            continue;
        }
        let action = *actions.of(signal);
        if action.handler == SIG_DFL {
            drop(actions);
            process.end(signal);
            break;
        }
        if action.flags & SA_RESETHAND != 0 {
            actions.of(signal).handler = SIG_DFL;
        }
        drop(actions);
        if core::mem::take(&mut restart) {
            if action.flags & SA_RESTART != 0 {
                context.restart();
            } else {
                context.set_return(-i64::from(Errno::EINTR.into_raw()));
            }
        }
        let handler = Handler {
            entry: action.handler,
            restorer: (action.flags & SA_RESTORER != 0).then_some(action.restorer),
            signal,
            info: info.siginfo(signal),
            mask: blocked,
        };
        let own = if action.flags & SA_NODEFER == 0 { bit(signal) } else { 0 };
        thread.blocked.store(unblockable(blocked | action.mask | own), Ordering::Relaxed);
        let space = process.space().ok_or(seccomp::Fault);
        if space.and_then(|space| context.enter_handler(&space, &handler)).is_err() {
            // There is no room on its stack.
            process.end(SIGSEGV);
        }
    }
    if restart {
        context.restart();
    }
}

/// A mask without what cannot be blocked.
pub fn unblockable(mask: u64) -> u64 {
    mask & !(bit(SIGKILL) | bit(SIGSTOP))
}

/// The next signal to take effect: those of the thread's own doing first.
fn next(thread: &Thread, blocked: u64) -> Option<(i32, Info)> {
    let mut pending = thread.pending.lock();
    let due = pending.iter().filter(|(signal, _)| blocked & bit(**signal) == 0);
    let own = |info: &Info| matches!(info, Info::Fault(_) | Info::Seccomp(_));
    let (&signal, _) = due.min_by_key(|(signal, info)| (!own(info), **signal))?;
    pending.remove_entry(&signal)
}
