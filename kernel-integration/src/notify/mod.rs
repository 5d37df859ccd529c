//! User notification: a thread's call becomes a *request* that another process, the *supervisor*, receives
//! from a *listener* and answers.
//!
//! [`Notifications`] is one listener's state and nothing else: it does not lock, sleep, wake or touch memory.
//! A kernel keeps it behind one lock, beside the filter that has the listener. Each thread asks it what to do
//! and does that: sleeps as [`Wait`] says, wakes whom a [`Wake`] names, installs a file. All calls on a
//! sleeper's behalf are made by the sleeper, so that state and sleep cannot part: whoever is woken takes the
//! lock and asks again.
//!
//! A request's life:
//!
//! | state   | becomes | by |
//! |---------|---------|----|
//! | Init    | Sent    | `receive` |
//! | Sent    | Init    | `receive_failed` |
//! | Sent    | Replied | `send`, or `add_fd` of a file that is the answer |
//! | Replied | Sent    | that file could not be installed |
//! | Init, Sent | Replied | `close`, with ENOSYS |
//! | Replied | gone    | the target takes the answer: its call returns or runs |
//! | Init, Sent | gone | `interrupt`; with WAIT_KILLABLE_RECV, from Sent only a fatal one |
//!
//! A call that is restarted after a signal makes a new request.
//!
//! The target serves the files that supervisors give it, one each time it wakes, the newest first. Once the
//! request is answered it serves one more and leaves; what is queued then fails with ESRCH.
//!
//! Bounds: a thread has one request and waits in it, and a thread that gives a file waits for that file. So
//! there are never more of each than threads, and no other state grows. Memory for both is asked for
//! fallibly, when they are made; nothing later allocates.
//!
//! What is left to the kernel: [`Notifications::users_gone`] when the last thread and child filter have left
//! the filter, and [`Notifications::close`] when the last descriptor is closed and the last ioctl has
//! returned. A path of filters has one open listener at most (EBUSY).
//!
//! Where it leaves Linux: an answer to a request whose receiver then faults is kept; a file that was to be the
//! answer and fails behind a closed listener leaves ENOSYS, not a target that waits for ever; a request or a
//! file for which there is no memory fails with ENOMEM; and ADDFD's structures end at 4096 bytes whatever the
//! machine's page.
//!
//! # Example
//!
//! Both sides over a mutex. A kernel has a wait queue for each thread; here one condition variable wakes
//! everybody, and signals are not shown.
//!
//! ```
//! use std::sync::{Condvar, Mutex, PoisonError};
//!
//! use seccomp_kernel::notify::{
//!     AddFd, Errno, FdProgress, Id, Interrupt, IoctlError, Next, Notifications, Reply, RequestError, Response,
//!     SeccompNotif, Wait, Wake,
//! };
//! use seccomp_kernel::runtime::SeccompData;
//!
//! type State = Notifications<u32, &'static str>; // a target is its thread id, a file is its name
//! type Guard<'l> = std::sync::MutexGuard<'l, State>;
//!
//! struct Listener {
//!     state: Mutex<State>,
//!     woken: Condvar,
//! }
//!
//! impl Listener {
//!     fn lock(&self) -> Guard<'_> {
//!         self.state.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//!
//!     /// With the lock held: `Notifications::woken` says which targets, and they are there as long as it is.
//!     fn wake(&self, _: &Guard<'_>, wake: Wake) {
//!         if !wake.is_none() {
//!             self.woken.notify_all();
//!         }
//!     }
//!
//!     /// Gives the lock up, sleeps until woken or interrupted, and takes the lock.
//!     fn sleep<'l>(&self, guard: Guard<'l>, _: Wait) -> (Guard<'l>, Option<Interrupt>) {
//!         (self.woken.wait(guard).unwrap_or_else(PoisonError::into_inner), None)
//!     }
//!
//!     /// The target, when its filters say USER_NOTIF: `None` is ERESTARTSYS.
//!     fn notify(&self, tid: u32, data: SeccompData) -> Result<Option<Reply>, RequestError> {
//!         let mut state = self.lock();
//!         let (id, wake) = state.request(tid, data)?;
//!         self.wake(&state, wake);
//!         loop {
//!             match state.next(id) {
//!                 Next::Return(reply) => return Ok(Some(reply)),
//!                 Next::Wait(wait) => {
//!                     let interrupt;
//!                     (state, interrupt) = self.sleep(state, wait);
//!                     if interrupt.is_some_and(|interrupt| state.interrupt(id, interrupt)) {
//!                         return Ok(None);
//!                     }
//!                 }
//!                 Next::Install(file, at) => {
//!                     drop(state); // it may sleep
//!                     let fd = if file.is_empty() { Err(Errno::EMFILE) } else { Ok(at.newfd.unwrap_or(3)) };
//!                     state = self.lock();
//!                     let wake = state.fd_installed(id, fd);
//!                     self.wake(&state, wake);
//!                 }
//!             }
//!         }
//!     }
//!
//!     /// RECV, behind `SeccompNotif::check_buffer`.
//!     fn receive(&self) -> Result<SeccompNotif, IoctlError> {
//!         let mut state = self.lock();
//!         let (notif, wake) = loop {
//!             if let Some((received, wake)) = state.receive()? {
//!                 let pid = *received.target; // as the receiver sees it
//!                 break (received.notif(pid), wake);
//!             }
//!             (state, _) = self.sleep(state, Wait::Interruptible); // interrupted: ERESTARTSYS
//!         };
//!         self.wake(&state, wake);
//!         Ok(notif) // and if it cannot be written, `receive_failed`
//!     }
//!
//!     /// SEND.
//!     fn send(&self, response: Response) -> Result<(), IoctlError> {
//!         let mut state = self.lock();
//!         let wake = state.send(response)?;
//!         self.wake(&state, wake);
//!         Ok(())
//!     }
//!
//!     /// ADDFD, with the file of `srcfd`.
//!     fn add_fd(&self, add_fd: AddFd, file: &'static str) -> Result<u32, Errno> {
//!         let mut state = self.lock();
//!         let (ticket, wake) = state.add_fd(add_fd, file).map_err(|refused| refused.error)?;
//!         self.wake(&state, wake);
//!         loop {
//!             match state.fd_progress(ticket) {
//!                 FdProgress::Installed(fd) => return fd,
//!                 FdProgress::TargetGone(_file) => return Err(Errno::ESRCH),
//!                 FdProgress::Wait(wait) => {
//!                     let interrupt;
//!                     (state, interrupt) = self.sleep(state, wait);
//!                     if interrupt.is_some() && state.cancel_fd(ticket).is_some() {
//!                         return Err(Errno::ERESTARTSYS);
//!                     }
//!                 }
//!             }
//!         }
//!     }
//! }
//!
//! let listener = Listener { state: Mutex::new(Notifications::new(Id(7), false)), woken: Condvar::new() };
//! std::thread::scope(|threads| {
//!     let target = threads.spawn(|| listener.notify(42, SeccompData { nr: 39, ..SeccompData::default() }));
//!     let notif = listener.receive().unwrap();
//!     assert_eq!((notif.id, notif.pid, notif.data.nr), (7, 42, 39));
//!     let at = seccomp_kernel::notify::FdPlace { newfd: Some(5), close_on_exec: true };
//!     let add_fd = AddFd { id: Id(7), srcfd: 3, at, send: false };
//!     assert_eq!(listener.add_fd(add_fd, "socket"), Ok(5));
//!     listener.send(Response { id: Id(7), reply: Reply::Return(-1) }).unwrap();
//!     assert_eq!(target.join().unwrap(), Ok(Some(Reply::Return(-1))));
//! });
//! ```

mod error;
mod files;
mod ioctl;

use alloc::vec::Vec;
use core::fmt;

use bitflags::bitflags;
use seccomp_runtime::SeccompData;
pub use syscalls::Errno;

use crate::uapi::ENOSYS;

pub use self::error::{IoctlError, RequestError};
use self::files::Files;
pub use self::files::{FdProgress, Ticket};
pub use self::ioctl::{
    AddFd, FdPlace, Ioctl, Response, SECCOMP_ADDFD_FLAG_SEND, SECCOMP_ADDFD_FLAG_SETFD,
    SECCOMP_IOCTL_NOTIF_ADDFD, SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR,
    SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
    SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, SECCOMP_USER_NOTIF_FLAG_CONTINUE, SeccompNotif, SeccompNotifAddfd,
    SeccompNotifResp, read_id,
};

/// A request's name. No two requests of a listener have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(pub u64);

/// A supervisor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Run the call, with the registers as they are and memory read again. So this is no way to allow a call
    /// because of what it points to.
    Continue,
    /// Do not run it; it returns this, as it stands.
    Return(i64),
}

/// What a target is to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a target that does not do it is not served"]
pub enum Next<F> {
    /// Sleep until woken, then ask again; if a signal comes that this wait lets through, call
    /// [`Notifications::interrupt`] before.
    Wait(Wait),
    /// Install this file, call [`Notifications::fd_installed`], and ask again. The lock need not be held in
    /// between.
    Install(F, FdPlace),
    /// The request is over: this is the answer.
    Return(Reply),
}

/// What a sleep lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Every signal.
    Interruptible,
    /// Fatal signals.
    Killable,
    /// No signal; the wait is for one installation.
    Uninterruptible,
}

/// The signal that ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// One that does not kill.
    Signal,
    /// One that kills.
    Fatal,
}

/// Whom a change concerns: the caller wakes them, with the lock or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "somebody may sleep for ever"]
pub struct Wake {
    /// Targets. [`Notifications::woken`] has them.
    pub targets: Targets,
    /// Those that sleep in RECV and ADDFD.
    pub supervisors: bool,
    /// What those that sleep in poll may have waited for; empty if nothing.
    pub events: Poll,
    /// On the waker's processor, if the kernel can ([`SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`]).
    pub same_cpu: bool,
}

/// Targets to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// None.
    None,
    /// The one that made this request.
    One(Id),
    /// All.
    All,
}

bitflags! {
    /// What poll finds, with the values of `EPOLL*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Poll: u32 {
        /// `EPOLLIN | EPOLLRDNORM`: there is a request to receive.
        const IN = 0x041;
        /// `EPOLLOUT | EPOLLWRNORM`: a request awaits its answer.
        const OUT = 0x104;
        /// `EPOLLHUP`: nobody is left to make a request.
        const HUP = 0x010;
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Wake {
    /// Nobody.
    const NONE: Self =
        Self { targets: Targets::None, supervisors: false, events: Poll::empty(), same_cpu: false };

    /// Whether it concerns nobody.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// The state of a listener. `T` is how the kernel knows a target; it is dropped as the target leaves, with the
/// lock held. `F` is a file; none is dropped here.
#[derive(Debug)]
pub struct Notifications<T, F> {
    open: bool,
    used: bool,
    wait_killable: bool,
    sync_wake_up: bool,
    next_id: u64,
    /// How many RECVs do not wait. More than there are requests to receive once a target has left early:
    /// Linux counts so too, and that RECV ends with ENOENT.
    announced: u32,
    /// The oldest first.
    requests: Vec<Request<T>>,
    files: Files<F>,
}

#[derive(Debug)]
struct Request<T> {
    id: Id,
    target: T,
    data: SeccompData,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Init,
    Sent,
    Replied(Reply),
}

/// A request, as its receiver gets it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'n, T> {
    /// Its id.
    pub id: Id,
    /// Whose call it is.
    pub target: &'n T,
    /// The call.
    pub data: &'n SeccompData,
}

/// A file that was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<F> {
    /// Why.
    pub error: IoctlError,
    /// It. Drop it without the lock.
    pub file: F,
}

impl<T> Received<'_, T> {
    /// What RECV writes. `pid` is the target's thread id as the receiver sees it, or 0.
    pub const fn notif(&self, pid: u32) -> SeccompNotif {
        SeccompNotif { id: self.id.0, pid, flags: 0, data: *self.data }
    }
}

/// The answer to calls that a listener does not answer: ENOSYS.
const UNANSWERED: Reply = Reply::Return(-ENOSYS);

impl<T, F> Notifications<T, F> {
    /// A new listener, whose first request is `first`: a random number, so that nobody relies on one.
    /// `wait_killable` is whether its filter has `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
    pub const fn new(first: Id, wait_killable: bool) -> Self {
        Self {
            open: true,
            used: true,
            wait_killable,
            sync_wake_up: false,
            next_id: first.0,
            announced: 0,
            requests: Vec::new(),
            files: Files::new(),
        }
    }

    /// Whether the listener is open: there cannot be another one on the path then.
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// The targets that `wake` concerns.
    pub fn woken(&self, wake: Wake) -> impl Iterator<Item = &T> {
        let concerns = move |request: &&Request<T>| match wake.targets {
            Targets::None => false,
            Targets::One(id) => request.id == id,
            Targets::All => true,
        };
        self.requests.iter().filter(concerns).map(|request| &request.target)
    }

    /// `target` makes a call that its filters leave to a supervisor (`seccomp_do_user_notification`). It
    /// then does what [`next`](Self::next) says until that is to return.
    ///
    /// # Errors
    ///
    /// The listener is closed, or there is no memory: the call returns that error.
    pub fn request(&mut self, target: T, data: SeccompData) -> Result<(Id, Wake), RequestError> {
        if !self.open {
            return Err(RequestError::NotListening);
        }
        self.requests.try_reserve(1).map_err(|_| RequestError::OutOfMemory)?;
        let id = Id(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.announced = self.announced.saturating_add(1);
        self.requests.push(Request { id, target, data, state: State::Init });
        Ok((id, Wake { supervisors: true, events: Poll::IN, same_cpu: self.sync_wake_up, ..Wake::NONE }))
    }

    /// What the target of request `id` is to do now. Only it asks.
    ///
    /// A request that is not there returns ENOSYS.
    pub fn next(&mut self, id: Id) -> Next<F> {
        let Some(at) = self.position(id) else {
            debug_assert!(false, "request {id} is over");
            return Next::Return(UNANSWERED);
        };
        let state = self.requests.get(at).map_or(State::Replied(UNANSWERED), |request| request.state);
        let last = matches!(state, State::Replied(_));
        if let Some((file, place)) = self.files.begin(id, last) {
            return Next::Install(file, place);
        }
        match state {
            State::Replied(reply) => {
                self.requests.remove(at);
                Next::Return(reply)
            }
            State::Sent if self.wait_killable => Next::Wait(Wait::Killable),
            State::Init | State::Sent => Next::Wait(Wait::Interruptible),
        }
    }

    /// The target of request `id` has installed the file that it was told to, as the descriptor `fd`, or
    /// could not (`seccomp_handle_addfd`).
    pub fn fd_installed(&mut self, id: Id, fd: Result<u32, Errno>) -> Wake {
        let Some(send) = self.files.end(id, fd) else {
            debug_assert!(false, "request {id} has no file");
            return Wake::NONE;
        };
        let state = match fd {
            Ok(fd) => State::Replied(Reply::Return(fd.into())),
            Err(_) if self.open => State::Sent,
            // Who could give another answer?
            Err(_) => State::Replied(UNANSWERED),
        };
        if send && let Some(request) = self.find(id) {
            request.state = state;
        }
        Wake { supervisors: true, ..Wake::NONE }
    }

    /// A signal has ended the sleep of the target of request `id`. Whether the request is gone by that: the
    /// call ends with ERESTARTSYS then. If not, the signal stays pending and the target asks for the
    /// [`next`](Self::next) thing to do, which does not end with the same signal again.
    ///
    /// What has already come for the target goes before a signal, so an answer that was accepted is never
    /// lost; and where a received request waits killably, only a fatal signal ends it.
    #[must_use = "the call may have to end"]
    pub fn interrupt(&mut self, id: Id, interrupt: Interrupt) -> bool {
        let Some(at) = self.position(id) else { return true };
        let stays = match self.requests.get(at).map(|request| request.state) {
            _ if self.files.are_queued(id) => true,
            Some(State::Replied(_)) => true,
            Some(State::Sent) => self.wait_killable && interrupt == Interrupt::Signal,
            Some(State::Init) | None => false,
        };
        if !stays {
            self.requests.remove(at);
        }
        !stays
    }

    /// RECV: the oldest request that nobody received, or `None`: sleep interruptibly until woken, and try
    /// again. The buffer was [checked](SeccompNotif::check_buffer) before. If it then cannot be written, call
    /// [`receive_failed`](Self::receive_failed).
    ///
    /// # Errors
    ///
    /// [`IoctlError::NoRequest`].
    pub fn receive(&mut self) -> Result<Option<(Received<'_, T>, Wake)>, IoctlError> {
        if self.used && self.open {
            match self.announced.checked_sub(1) {
                Some(announced) => self.announced = announced,
                None => return Ok(None),
            }
        }
        let request = self.requests.iter_mut().find(|request| request.state == State::Init);
        let Request { id, target, data, state } = request.ok_or(IoctlError::NoRequest)?;
        *state = State::Sent;
        Ok(Some((Received { id: *id, target, data }, Wake { events: Poll::OUT, ..Wake::NONE })))
    }

    /// Request `id` was received but could not be told: it can be received again. If it was answered
    /// meanwhile by somebody who guessed its id, the answer stays, where Linux loses it.
    pub fn receive_failed(&mut self, id: Id) -> Wake {
        let Some(request) = self.find(id).filter(|request| request.state == State::Sent) else {
            return Wake::NONE;
        };
        request.state = State::Init;
        self.announced = self.announced.saturating_add(1);
        // From now on, every signal ends its sleep.
        let targets = if self.wait_killable { Targets::One(id) } else { Targets::None };
        Wake { targets, supervisors: true, events: Poll::IN, ..Wake::NONE }
    }

    /// SEND.
    ///
    /// # Errors
    ///
    /// [`IoctlError::UnknownId`], [`IoctlError::NotSent`].
    pub fn send(&mut self, response: Response) -> Result<Wake, IoctlError> {
        let id = response.id;
        self.sent(id)?.state = State::Replied(response.reply);
        Ok(Wake { targets: Targets::One(id), same_cpu: self.sync_wake_up, ..Wake::NONE })
    }

    /// ID_VALID: whether request `id` awaits its answer.
    ///
    /// # Errors
    ///
    /// [`IoctlError::UnknownId`], also for a request that awaits none.
    pub fn id_valid(&self, id: Id) -> Result<(), IoctlError> {
        let valid = self.requests.iter().any(|request| request.id == id && request.state == State::Sent);
        if valid { Ok(()) } else { Err(IoctlError::UnknownId(id)) }
    }

    /// ADDFD: queues `file`, the one of `srcfd`, for the target. The supervisor then does what
    /// [`fd_progress`](Self::fd_progress) of the ticket says.
    ///
    /// # Errors
    ///
    /// [`IoctlError::UnknownId`], [`IoctlError::NotSent`], [`IoctlError::Busy`], [`IoctlError::OutOfMemory`].
    pub fn add_fd(&mut self, add_fd: AddFd, file: F) -> Result<(Ticket, Wake), Refused<F>> {
        if let Err(error) = self.accept_fd(add_fd) {
            return Err(Refused { error, file });
        }
        let ticket = self.files.queue(add_fd, file);
        Ok((ticket, Wake { targets: Targets::One(add_fd.id), ..Wake::NONE }))
    }

    /// How the ADDFD of `ticket` goes on. Only its supervisor asks, until the sleep is over.
    pub fn fd_progress(&mut self, ticket: Ticket) -> FdProgress<F> {
        self.files.progress(ticket)
    }

    /// A signal has ended the sleep of the supervisor of `ticket`. If the target has not begun with the file,
    /// here it is again (drop it without the lock) and the ioctl ends with ERESTARTSYS; if it has, the
    /// supervisor asks for the [progress](Self::fd_progress).
    ///
    /// As in Linux, an answer by ADDFD remains one: the call then returns 0.
    #[must_use = "the ioctl may have to end"]
    pub fn cancel_fd(&mut self, ticket: Ticket) -> Option<F> {
        self.files.cancel(ticket)
    }

    /// SET_FLAGS.
    ///
    /// # Errors
    ///
    /// [`IoctlError::Flags`].
    pub const fn set_flags(&mut self, flags: u64) -> Result<(), IoctlError> {
        if flags & !SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP != 0 {
            return Err(IoctlError::Flags(flags));
        }
        self.sync_wake_up = flags != 0;
        Ok(())
    }

    /// What poll finds.
    pub fn poll(&self) -> Poll {
        let hup = if self.used { Poll::empty() } else { Poll::HUP };
        self.requests.iter().fold(hup, |found, request| match request.state {
            State::Init => found | Poll::IN,
            State::Sent => found | Poll::OUT,
            State::Replied(_) => found,
        })
    }

    /// The listener is closed: every request without an answer, and every later one, returns ENOSYS
    /// (`seccomp_notify_detach`).
    pub fn close(&mut self) -> Wake {
        self.open = false;
        for request in &mut self.requests {
            if !matches!(request.state, State::Replied(_)) {
                request.state = State::Replied(UNANSWERED);
            }
        }
        Wake { targets: Targets::All, supervisors: true, ..Wake::NONE }
    }

    /// Nobody is left who could make a request (`__seccomp_filter_orphan`).
    pub const fn users_gone(&mut self) -> Wake {
        self.used = false;
        Wake { supervisors: true, events: Poll::HUP, ..Wake::NONE }
    }

    /// Whether a file may be queued, and room for it. One that is the answer makes the request answered:
    /// nobody else may answer until the target fails to install it.
    fn accept_fd(&mut self, AddFd { id, send, .. }: AddFd) -> Result<(), IoctlError> {
        self.sent(id)?;
        if send && self.files.are_queued(id) {
            return Err(IoctlError::Busy(id));
        }
        self.files.reserve()?;
        if send {
            self.sent(id)?.state = State::Replied(Reply::Return(0));
        }
        Ok(())
    }

    fn sent(&mut self, id: Id) -> Result<&mut Request<T>, IoctlError> {
        let request = self.find(id).ok_or(IoctlError::UnknownId(id))?;
        if request.state == State::Sent { Ok(request) } else { Err(IoctlError::NotSent(id)) }
    }

    fn find(&mut self, id: Id) -> Option<&mut Request<T>> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    fn position(&self, id: Id) -> Option<usize> {
        self.requests.iter().position(|request| request.id == id)
    }
}
