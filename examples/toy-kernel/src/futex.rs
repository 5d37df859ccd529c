//! futex(2): threads of a process that wait for a word of its memory to change.

use alloc::sync::Arc;
use alloc::vec::Vec;

use seccomp_kernel::notify::Wait;
use spin::Mutex;
use syscalls::Errno;

use crate::arch;
use crate::process::Process;
use crate::scheduler;
use crate::syscall::Outcome;
use crate::thread::Thread;

struct Waiter {
    address: u64,
    thread: Arc<Thread>,
}

/// The one that waits longest comes first.
static WAITERS: Mutex<Vec<Waiter>> = Mutex::new(Vec::new());

/// Sleeps until the word at `address` is woken, if it is `expected`.
pub fn wait(thread: &Arc<Thread>, address: u64, expected: u32, deadline: Option<u64>) -> Outcome {
    let mut word = [0; 4];
    match thread.process.space().map(|space| space.read(address, &mut word)) {
        Some(Ok(())) => {}
        _ => return Err(Errno::EFAULT).into(),
    }
    if u32::from_ne_bytes(word) != expected {
        return Err(Errno::EAGAIN).into();
    }
    WAITERS.lock().push(Waiter { address, thread: Arc::clone(thread) });
    loop {
        let interrupt = scheduler::sleep(Wait::Interruptible, deadline);
        let mut waiters = WAITERS.lock();
        let Some(at) = waiters.iter().position(|waiter| waiter.thread.tid == thread.tid) else {
            return Ok(0).into();
        };
        let expired = deadline.is_some_and(|deadline| deadline <= arch::nanoseconds());
        if interrupt.is_some() || expired {
            let waiter = waiters.remove(at);
            if waiters.is_empty() {
                *waiters = Vec::new();
            }
            drop(waiters);
            drop(waiter);
            return if interrupt.is_some() { Outcome::Restart } else { Err(Errno::ETIMEDOUT).into() };
        }
    }
}

/// Wakes up to `count` threads of `process` that wait at `address`. How many.
pub fn wake(process: &Process, address: u64, count: u32) -> u32 {
    let mut woken = 0;
    while woken < count {
        let mut waiters = WAITERS.lock();
        let position = waiters
            .iter()
            .position(|waiter| waiter.address == address && waiter.thread.process.pid == process.pid);
        let waiter = position.map(|at| waiters.remove(at));
        if waiters.is_empty() {
            *waiters = Vec::new();
        }
        drop(waiters);
        let Some(waiter) = waiter else { break };
        scheduler::make_ready(&waiter.thread);
        woken += 1;
    }
    woken
}
