//! A thread: its registers' loop between user mode and the kernel, and what seccomp knows of it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use seccomp_kernel::notify::{Interrupt, Wait};
use seccomp_kernel::{self as seccomp, TaskIds, ThreadState};
use spin::Mutex;

use crate::arch::{Context, Fpu, Trap};
use crate::memory::OutOfMemory;
use crate::memory::stack::Stack;
use crate::process::{Process, Status};
use crate::signal::{self, Info};
use crate::syscall::Outcome;
use crate::{entry, futex, scheduler};

/// A thread.
pub struct Thread {
    pub tid: i32,
    pub process: Arc<Process>,
    /// What seccomp knows of it. Others change it only under the lock of the process's group.
    pub seccomp: ThreadState,
    pub no_new_privs: AtomicBool,
    /// Signals that it blocks.
    pub blocked: AtomicU64,
    /// Signals that have come for it.
    pub pending: Mutex<BTreeMap<i32, Info>>,
    /// Where 0 is written when it ends.
    pub clear_tid: AtomicU64,
    pub fpu: Mutex<Fpu>,
    /// Where its stack was left.
    pub place: AtomicUsize,
    start: Mutex<Option<Context>>,
    state: AtomicU8,
    _stack: Stack,
}

/// What the scheduler knows of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Ready,
    Sleeping,
    Ended,
}

impl Thread {
    /// A thread that begins with `context`. Nobody knows of it yet.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(
        tid: i32,
        process: Arc<Process>,
        seccomp: ThreadState,
        context: Context,
    ) -> Result<Self, OutOfMemory> {
        let (stack, place) = Stack::new(life)?;
        Ok(Self {
            tid,
            process,
            seccomp,
            no_new_privs: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            pending: Mutex::default(),
            clear_tid: AtomicU64::new(0),
            fpu: Mutex::new(Fpu::new()),
            place: AtomicUsize::new(place),
            start: Mutex::new(Some(context)),
            state: AtomicU8::new(State::Ready as u8),
            _stack: stack,
        })
    }

    /// A number for a thread, and for its process if it is the first.
    pub fn next_id() -> i32 {
        static LAST: AtomicI32 = AtomicI32::new(0);
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What extensions know it and its process by. No later one gets these numbers.
    pub fn ids(&self) -> TaskIds {
        TaskIds {
            thread: u64::from(self.tid.cast_unsigned()),
            group: u64::from(self.process.pid.cast_unsigned()),
        }
    }

    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Ready,
            1 => State::Sleeping,
            _ => State::Ended,
        }
    }

    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// What ends a sleep, of what has come already.
    pub fn interrupt(&self, wait: Wait) -> Option<Interrupt> {
        let fatal = self.process.is_ending();
        match wait {
            Wait::Interruptible | Wait::Killable if fatal => Some(Interrupt::Fatal),
            Wait::Interruptible if signal::is_due(self) => Some(Interrupt::Signal),
            _ => None,
        }
    }
}

impl seccomp::Thread for Thread {
    fn seccomp(&self) -> &ThreadState {
        &self.seccomp
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

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} of {}", self.tid, self.process.pid)
    }
}

/// All of a thread's life, on its own kernel stack.
extern "C" fn life() -> ! {
    {
        let thread = scheduler::current();
        let context = thread.start.lock().take();
        let status = serve(&thread, context.expect("a thread begins once"));
        end(&thread, status);
    }
    scheduler::end()
}

/// Runs user mode and serves its traps until the thread ends. What it ends with, should it be what its process ends
/// with.
fn serve(thread: &Arc<Thread>, mut context: Context) -> Status {
    loop {
        let mut restart = false;
        match context.run() {
            Trap::Syscall => match entry::system_call(thread, &mut context) {
                Outcome::Return(value) => context.set_return(value),
                Outcome::Restart => restart = true,
                Outcome::Replaced => {}
                Outcome::End(status) => return status,
            },
            Trap::Interrupt => scheduler::yield_now(),
            Trap::Fault(fault) => signal::force(thread, fault.signal, Info::Fault(fault)),
        }
        signal::deliver(thread, &mut context, restart);
        if let Some(status) = thread.process.ending() {
            return status;
        }
    }
}

/// The thread leaves its process.
fn end(thread: &Arc<Thread>, status: Status) {
    let process = &thread.process;
    let clear_tid = thread.clear_tid.load(Ordering::Relaxed);
    if clear_tid != 0
        && let Some(space) = process.space()
    {
        // Where it cannot be written, nobody waits.
        let _ = space.write(clear_tid, &0_u32.to_ne_bytes());
        futex::wake(process, clear_tid, 1);
    }
    let (left, last) = {
        let mut group = process.group.lock();
        group.threads.retain(|other| other.tid != thread.tid);
        let last = group.threads.is_empty();
        thread.seccomp.task_exited(thread.ids(), group.threads.iter().map(|other| &other.seccomp));
        (thread.seccomp.exit(), last)
    };
    // A supervisor may hear of it now, so no lock is held.
    drop(left);
    if last {
        process.leave(status);
    }
}
