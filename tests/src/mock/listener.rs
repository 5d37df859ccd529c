//! User notification as a kernel keeps it: the library's state behind a lock, and threads that sleep on it.
//!
//! Nobody blocks: a thread that sleeps is a thread in a state ([`Sleep`]), which [`Process::resume`] takes one
//! step further.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use seccomp_kernel::notify::{
    AddFd, Errno, FdProgress, Id, Interrupt, Ioctl, IoctlError, Next, Notifications, Poll, RequestError,
    Response, SeccompNotif, Ticket, Wait, Wake, read_id,
};
use seccomp_kernel::runtime::{HelperHost, SeccompData};
use seccomp_kernel::{self as kernel, Arch, Entry, ListenerError, LogEntry, Notified, Traced};
use zerocopy::IntoBytes;

use super::extensions::Asking;
use super::files::{Descriptors, File, Opened};
use super::{End, Process, Reply, SIGKILL, Thread, error};

type State = Notifications<Target, File>;

/// How a listener knows who waits.
#[derive(Debug)]
struct Target {
    tid: i32,
    awake: Arc<AtomicBool>,
}

/// A listener. The filter and the open file share it.
#[derive(Clone, Debug)]
pub struct Listener(Arc<Mutex<State>>);

impl Listener {
    /// Requests are counted from 1, as cases count them.
    fn new(wait_killable: bool) -> Self {
        Self(Arc::new(Mutex::new(Notifications::new(Id(1), wait_killable))))
    }

    /// What poll finds.
    pub fn poll(&self) -> Poll {
        self.lock().poll()
    }

    /// The last descriptor was closed.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        let wake = state.close();
        awaken(&state, wake);
    }

    fn request(&self, thread: &Thread, data: SeccompData) -> Result<Id, RequestError> {
        let mut state = self.lock();
        let (id, wake) = state.request(Target { tid: thread.tid, awake: Arc::clone(&thread.awake) }, data)?;
        awaken(&state, wake);
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panicked")
    }
}

/// Supervisors are not put to sleep: they ask again each time they are resumed.
fn awaken(state: &State, wake: Wake) {
    state.woken(wake).for_each(|target| target.awake.store(true, Ordering::Relaxed));
}

impl kernel::Listener for Listener {
    fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    fn users_gone(&self) {
        let mut state = self.lock();
        let wake = state.users_gone();
        awaken(&state, wake);
    }
}

/// A listener whose number is taken.
pub struct NewListener {
    descriptors: Arc<Descriptors>,
    listener: Listener,
    fd: u32,
    published: bool,
}

impl NewListener {
    pub(super) fn new(descriptors: Arc<Descriptors>, wait_killable: bool) -> Result<Self, ListenerError> {
        let fd = descriptors.reserve().map_err(|_| ListenerError::Descriptors)?;
        Ok(Self { descriptors, listener: Listener::new(wait_killable), fd, published: false })
    }
}

impl kernel::NewListener for NewListener {
    fn listener(&self) -> Arc<dyn kernel::Listener> {
        Arc::new(self.listener.clone())
    }

    fn publish(mut self) -> i32 {
        self.published = true;
        let opened = Arc::new(Opened(self.listener.clone()));
        self.descriptors.publish(self.fd, File::Listener(opened));
        self.fd.cast_signed()
    }
}

impl Drop for NewListener {
    fn drop(&mut self) {
        if !self.published {
            self.descriptors.close(self.fd);
        }
    }
}

/// A signal that is not SIGSYS. Of several, the greatest decides what becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// One with a handler and SA_RESTART.
    Restarting,
    /// One with a handler.
    Handled,
    /// SIGKILL.
    Kill,
}

impl Signal {
    fn ends(self, wait: Wait) -> bool {
        match wait {
            Wait::Interruptible => true,
            Wait::Killable => self == Self::Kill,
            Wait::Uninterruptible => false,
        }
    }
}

/// What a thread sleeps in.
#[derive(Debug)]
pub(super) enum Sleep {
    /// A call that waits for its supervisor.
    Call {
        listener: Listener,
        id: Id,
        wait: Option<Wait>,
        call: SeccompData,
        entry: Arch,
        log: Option<LogEntry>,
    },
    /// An ioctl of a supervisor, which holds its file meanwhile.
    Ioctl { file: Arc<Opened>, cmd: u32, argument: u64, at: At },
}

/// How far an ioctl has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Beginning,
    Receiving,
    Adding(Ticket),
}

/// How far [`Process::resume`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nowhere: the thread sleeps, or is in no call.
    None,
    /// One step.
    Some,
    /// To the call's end.
    Ended(Reply),
}

/// A thread at the entry of a call.
pub(super) struct Entering<'t> {
    pub(super) thread: &'t Thread,
    pub(super) data: SeccompData,
    /// What extensions ask.
    pub(super) asking: Option<Asking<'t>>,
    /// The request that was made.
    pub(super) request: Option<(Listener, Id)>,
}

impl Entry for Entering<'_> {
    fn data(&mut self) -> SeccompData {
        self.data
    }

    fn helper_host(&self) -> Option<&dyn HelperHost> {
        self.asking.as_ref().map(|asking| asking as &dyn HelperHost)
    }

    fn trace(&mut self, _: u16) -> Traced {
        Traced::NoTracer
    }

    /// Makes the request and does not wait: what it returns then does not count.
    fn notify(&mut self, listener: &dyn kernel::Listener, data: &SeccompData) -> Notified {
        let listener = listener.downcast_ref::<Listener>().expect("this kernel has one kind of listener");
        match listener.request(self.thread, *data) {
            Ok(id) => {
                self.request = Some((listener.clone(), id));
                Notified::Interrupted
            }
            Err(error) => {
                let errno = i64::from(Errno::from(error).into_raw());
                Notified::Answered(kernel::notify::Reply::Return(-errno))
            }
        }
    }
}

impl Process {
    /// An ioctl of `thread`, up to where it sleeps.
    pub(super) fn ioctl(&self, thread: &Thread, fd: u32, cmd: u32, argument: u64) -> Reply {
        match self.descriptors().get(fd) {
            Ok(File::Listener(file)) => {
                thread.fall_asleep(Sleep::Ioctl { file, cmd, argument, at: At::Beginning });
                Reply::Asleep
            }
            Ok(File::Plain) => error(Errno::ENOTTY),
            Err(errno) => error(errno),
        }
    }

    /// Sends a signal to `thread`; SIGKILL ends its whole process.
    pub fn signal(&self, thread: &Thread, signal: Signal) {
        if signal == Signal::Kill {
            self.finish(End::Killed { signal: SIGKILL, core: false });
        } else if thread.sleeps() {
            thread.notice(signal);
        }
    }

    /// Takes a thread that sleeps one step further.
    pub fn resume(&self, thread: &Thread) -> Progress {
        if !self.has(thread) {
            return Progress::None;
        }
        let Some(sleep) = thread.sleep().take() else { return Progress::None };
        match sleep {
            Sleep::Call { .. } => self.resume_call(thread, sleep),
            Sleep::Ioctl { .. } => self.resume_ioctl(thread, sleep),
        }
    }

    fn resume_call(&self, thread: &Thread, sleep: Sleep) -> Progress {
        let Sleep::Call { listener, id, mut wait, call, entry, log } = sleep else { return Progress::None };
        let mut state = listener.lock();
        if thread.awake.swap(false, Ordering::Relaxed) {
            wait = None;
        }
        let signal = *thread.signal();
        match wait {
            None => match state.next(id) {
                Next::Wait(next) => wait = Some(next),
                Next::Install(file, at) => {
                    drop(state);
                    let fd = self.descriptors().install(at, file);
                    state = listener.lock();
                    let wake = state.fd_installed(id, fd);
                    awaken(&state, wake);
                }
                Next::Return(reply) => {
                    drop(state);
                    return Progress::Ended(self.answered(thread, reply, call, entry, log));
                }
            },
            Some(slept) => {
                let Some(signal) = signal.filter(|signal| signal.ends(slept)) else {
                    drop(state);
                    thread.fall_asleep(Sleep::Call { listener, id, wait, call, entry, log });
                    return Progress::None;
                };
                let how = if signal == Signal::Kill { Interrupt::Fatal } else { Interrupt::Signal };
                if state.interrupt(id, how) {
                    drop(state);
                    self.record(log);
                    *thread.signal() = None;
                    return match signal {
                        Signal::Handled => Progress::Ended(error(Errno::EINTR)),
                        Signal::Restarting => match self.enter(thread, entry, call.nr, call.args) {
                            Reply::Asleep => Progress::Some,
                            reply => Progress::Ended(reply),
                        },
                        Signal::Kill => Progress::Ended(self.die(thread)),
                    };
                }
                wait = None;
            }
        }
        drop(state);
        thread.fall_asleep(Sleep::Call { listener, id, wait, call, entry, log });
        Progress::Some
    }

    /// What [`seccomp_kernel::enter`] makes of an answer.
    fn answered(
        &self,
        thread: &Thread,
        reply: kernel::notify::Reply,
        call: SeccompData,
        entry: Arch,
        log: Option<LogEntry>,
    ) -> Reply {
        let fatal = thread.signal().take() == Some(Signal::Kill);
        match reply {
            _ if fatal => self.die(thread),
            kernel::notify::Reply::Continue => self.dispatch(thread, entry, call.nr, call.args),
            kernel::notify::Reply::Return(value) => {
                self.record(log);
                Reply::Returned(value)
            }
        }
    }

    fn resume_ioctl(&self, thread: &Thread, sleep: Sleep) -> Progress {
        let Sleep::Ioctl { file, cmd, argument, at } = sleep else { return Progress::None };
        let listener = &file.0;
        let next = match at {
            At::Beginning => self.begin_ioctl(listener, cmd, argument),
            At::Receiving => self.receive(listener, argument),
            At::Adding(ticket) => {
                let progress = listener.lock().fd_progress(ticket);
                match progress {
                    FdProgress::Installed(fd) => fd.map(|fd| Step::Done(fd.into())),
                    FdProgress::TargetGone(_) => Err(Errno::ESRCH),
                    FdProgress::Wait(_) => Ok(Step::Sleep(at)),
                }
            }
        };
        let reply = match next {
            Ok(Step::Done(value)) => Reply::Returned(value),
            Err(errno) => error(errno),
            Ok(Step::GoOn(at)) => {
                thread.fall_asleep(Sleep::Ioctl { file, cmd, argument, at });
                return Progress::Some;
            }
            Ok(Step::Sleep(at)) => {
                let signal = *thread.signal();
                let (true, Some(signal)) = (signal.is_some() && cancel(listener, at), signal) else {
                    thread.fall_asleep(Sleep::Ioctl { file, cmd, argument, at });
                    return Progress::None;
                };
                if signal == Signal::Restarting {
                    *thread.signal() = None;
                    thread.fall_asleep(Sleep::Ioctl { file, cmd, argument, at: At::Beginning });
                    return Progress::Some;
                }
                error(Errno::EINTR)
            }
        };
        drop(file);
        let fatal = thread.signal().take() == Some(Signal::Kill);
        Progress::Ended(if fatal { self.die(thread) } else { reply })
    }

    fn begin_ioctl(&self, listener: &Listener, cmd: u32, argument: u64) -> Result<Step, Errno> {
        let read = |address: u64, into: &mut [u8]| self.memory().read(address, into);
        match Ioctl::of(cmd)? {
            Ioctl::Receive => {
                SeccompNotif::check_buffer(argument, read)?;
                Ok(Step::GoOn(At::Receiving))
            }
            Ioctl::Send => {
                let response = Response::read(argument, read)?;
                let mut state = listener.lock();
                let wake = state.send(response)?;
                awaken(&state, wake);
                Ok(Step::Done(0))
            }
            Ioctl::IdValid => {
                listener.lock().id_valid(read_id(argument, read)?)?;
                Ok(Step::Done(0))
            }
            Ioctl::SetFlags => {
                listener.lock().set_flags(argument)?;
                Ok(Step::Done(0))
            }
            Ioctl::AddFd(size) => {
                let add_fd = AddFd::read(argument, size, read)?;
                let file = self.descriptors().get(add_fd.srcfd);
                let file = file.map_err(|_| IoctlError::BadFd(add_fd.srcfd))?;
                let mut state = listener.lock();
                let (ticket, wake) = match state.add_fd(add_fd, file) {
                    Ok(queued) => queued,
                    Err(refused) => {
                        drop(state);
                        return Err(refused.error.into());
                    }
                };
                awaken(&state, wake);
                Ok(Step::GoOn(At::Adding(ticket)))
            }
        }
    }

    fn receive(&self, listener: &Listener, address: u64) -> Result<Step, Errno> {
        let mut state = listener.lock();
        let Some((received, wake)) = state.receive()? else { return Ok(Step::Sleep(At::Receiving)) };
        let notif = received.notif(received.target.tid.cast_unsigned());
        awaken(&state, wake);
        drop(state);
        if self.memory().write(address, notif.as_bytes()).is_err() {
            let mut state = listener.lock();
            let wake = state.receive_failed(Id(notif.id));
            awaken(&state, wake);
            return Err(Errno::EFAULT);
        }
        Ok(Step::Done(0))
    }
}

/// What an ioctl does next.
enum Step {
    Done(i64),
    GoOn(At),
    Sleep(At),
}

/// Whether a signal ends the ioctl there.
fn cancel(listener: &Listener, at: At) -> bool {
    match at {
        At::Adding(ticket) => {
            let file = listener.lock().cancel_fd(ticket);
            file.is_some()
        }
        At::Beginning | At::Receiving => true,
    }
}
