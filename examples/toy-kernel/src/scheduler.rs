//! One processor, threads in turn. The kernel itself is not preempted: interrupts are let in by user mode, and while
//! nothing is ready.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use seccomp_kernel::notify::{Interrupt, Wait};
use spin::Mutex;

use crate::arch;
use crate::memory::AddressSpace;
use crate::thread::{State, Thread};

/// Threads that can run.
static READY: Mutex<VecDeque<Arc<Thread>>> = Mutex::new(VecDeque::new());

/// The one that runs.
static CURRENT: Mutex<Option<Arc<Thread>>> = Mutex::new(None);

/// Threads that sleep until some time.
static TIMERS: Mutex<BTreeMap<(u64, i32), Arc<Thread>>> = Mutex::new(BTreeMap::new());

/// Threads that have not ended.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The place on the stack of [`run`], which all threads are switched to and from.
static LOOP: AtomicUsize = AtomicUsize::new(0);

/// Lets a new thread run.
pub fn start(thread: Arc<Thread>) {
    LIVE.fetch_add(1, Ordering::Relaxed);
    READY.lock().push_back(thread);
}

/// Runs threads until all have ended.
pub fn run() {
    while LIVE.load(Ordering::Relaxed) > 0 {
        wake_expired();
        let next = READY.lock().pop_front();
        let Some(thread) = next else {
            assert!(!TIMERS.lock().is_empty(), "all threads sleep, and nothing will wake them");
            arch::idle();
            continue;
        };
        resume(&thread);
        match thread.state() {
            State::Ready => READY.lock().push_back(thread),
            State::Sleeping => {}
            State::Ended => {
                LIVE.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
    // What empty lists keep would count as memory that programs have left behind.
    *READY.lock() = VecDeque::new();
    *TIMERS.lock() = BTreeMap::new();
}

/// Runs `thread` until it gives the processor up.
fn resume(thread: &Arc<Thread>) {
    *CURRENT.lock() = Some(Arc::clone(thread));
    let space = thread.process.space();
    if let Some(space) = &space {
        // SAFETY: `space` keeps it until `leave`.
        unsafe { space.enter() };
    }
    thread.fpu.lock().restore();
    let place = thread.place.load(Ordering::Relaxed);
    // SAFETY: it was saved when the thread gave the processor up, or prepared when it was made, and the thread
    // runs here only.
    unsafe { arch::switch(LOOP.as_ptr(), place) };
    thread.fpu.lock().save();
    AddressSpace::leave();
    *CURRENT.lock() = None;
}

/// The thread that runs.
pub fn current() -> Arc<Thread> {
    CURRENT.lock().clone().expect("a thread runs")
}

/// The memory of the program whose thread runs, if one does.
pub fn current_space() -> Option<Arc<AddressSpace>> {
    CURRENT.lock().as_ref()?.process.space()
}

/// Lets others run first.
pub fn yield_now() {
    leave(&current());
}

/// Sleeps until [`Thread::wake`], a signal that `wait` lets through, or the time `deadline`. Which signal, or that
/// there is one already. May also end for no reason.
pub fn sleep(wait: Wait, deadline: Option<u64>) -> Option<Interrupt> {
    let thread = current();
    // With more processors the state has to be set first, and what is waited for looked at again after that.
    if let Some(interrupt) = thread.interrupt(wait) {
        return Some(interrupt);
    }
    let timer = deadline.map(|deadline| (deadline, thread.tid));
    if let Some(timer) = timer {
        TIMERS.lock().insert(timer, Arc::clone(&thread));
    }
    thread.set_state(State::Sleeping);
    leave(&thread);
    if let Some(timer) = timer {
        TIMERS.lock().remove(&timer);
    }
    thread.interrupt(wait)
}

/// Ends the thread that runs. Nothing of it may be left on its stack.
pub fn end() -> ! {
    let place = {
        let thread = current();
        thread.set_state(State::Ended);
        thread.place.as_ptr()
    };
    // SAFETY: `run` has saved its place when it resumed this thread. The thread is not resumed again; `run` holds it
    // until it is off this stack.
    unsafe { arch::switch(place, LOOP.load(Ordering::Relaxed)) };
    unreachable!("a thread that has ended is not resumed");
}

fn leave(thread: &Thread) {
    // SAFETY: `run` has saved its place when it resumed this thread.
    unsafe { arch::switch(thread.place.as_ptr(), LOOP.load(Ordering::Relaxed)) };
}

/// Makes a thread that sleeps ready.
pub fn make_ready(thread: &Arc<Thread>) {
    if thread.state() == State::Sleeping {
        thread.set_state(State::Ready);
        READY.lock().push_back(Arc::clone(thread));
    }
}

fn wake_expired() {
    let now = arch::nanoseconds();
    loop {
        let expired =
            TIMERS.lock().first_entry().filter(|first| first.key().0 <= now).map(|first| first.remove());
        match expired {
            Some(thread) => make_ready(&thread),
            None => return,
        }
    }
}

/// Threads that wait for something to change.
#[derive(Debug, Default)]
pub struct WaitQueue(Mutex<Vec<Arc<Thread>>>);

/// Why a wait has ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    Interrupted,
    TimedOut,
}

impl WaitQueue {
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// It has changed.
    pub fn wake_all(&self) {
        let woken = mem::take(&mut *self.0.lock());
        woken.iter().for_each(make_ready);
    }

    /// Sleeps until it has changed, as [`sleep`] does.
    pub fn sleep(&self, wait: Wait) -> Option<Interrupt> {
        sleep_on(&[self], wait, None)
    }
}

fn sleep_on(queues: &[&WaitQueue], wait: Wait, deadline: Option<u64>) -> Option<Interrupt> {
    let thread = current();
    queues.iter().for_each(|queue| queue.0.lock().push(Arc::clone(&thread)));
    let interrupt = sleep(wait, deadline);
    queues.iter().for_each(|queue| queue.0.lock().retain(|other| !Arc::ptr_eq(other, &thread)));
    interrupt
}

/// Sleeps, interruptibly, until `ready` has something. It is asked whenever one of `queues` is woken.
///
/// # Errors
///
/// A signal came, or the time `deadline`.
pub fn wait<T>(
    queues: &[&WaitQueue],
    deadline: Option<u64>,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, Woken> {
    loop {
        if let Some(ready) = ready() {
            return Ok(ready);
        }
        if deadline.is_some_and(|deadline| deadline <= arch::nanoseconds()) {
            return Err(Woken::TimedOut);
        }
        if sleep_on(queues, Wait::Interruptible, deadline).is_some() {
            return ready().ok_or(Woken::Interrupted);
        }
    }
}
