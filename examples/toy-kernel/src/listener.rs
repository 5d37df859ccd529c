//! Listeners of user notification: the library's state behind a lock, a file, and the threads that sleep.

use alloc::sync::Arc;

use seccomp_kernel::notify::{
    AddFd, Errno, FdProgress, Id, Interrupt, Ioctl, IoctlError, Next, Notifications, Poll, RequestError,
    Response, SeccompNotif, Wake, read_id,
};
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::{self as seccomp, ListenerError};
use spin::Mutex;
use zerocopy::IntoBytes;

use crate::arch;
use crate::files::{File, Files};
use crate::memory::AddressSpace;
use crate::scheduler::{self, WaitQueue};
use crate::syscall::Outcome;
use crate::thread::Thread;

type State = Notifications<Arc<Thread>, File>;

/// A listener. Its filter and its file share it.
#[derive(Clone, Debug)]
pub struct Listener(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Supervisors that receive, give files, or poll.
    changes: WaitQueue,
}

impl Listener {
    fn new(wait_killable: bool) -> Self {
        // Ids begin anywhere, so that nobody relies on one.
        let state = Mutex::new(Notifications::new(Id(arch::counter()), wait_killable));
        Self(Arc::new(Shared { state, changes: WaitQueue::new() }))
    }

    /// Changes the state and wakes whom that concerns.
    fn change<T>(&self, f: impl FnOnce(&mut State) -> (T, Option<Wake>)) -> T {
        let (result, wake) = {
            let mut state = self.0.state.lock();
            let (result, wake) = f(&mut state);
            if let Some(wake) = wake {
                state.woken(wake).for_each(scheduler::make_ready);
            }
            (result, wake)
        };
        if wake.is_some_and(|wake| wake.supervisors || !wake.events.is_empty()) {
            self.0.changes.wake_all();
        }
        result
    }

    /// `thread` makes a call that is to be asked about.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub fn request(&self, thread: &Arc<Thread>, data: SeccompData) -> Result<Id, RequestError> {
        self.change(|state| match state.request(Arc::clone(thread), data) {
            Ok((id, wake)) => (Ok(id), Some(wake)),
            Err(error) => (Err(error), None),
        })
    }

    /// What the thread of request `id` does now.
    pub fn next(&self, id: Id) -> Next<File> {
        self.0.state.lock().next(id)
    }

    /// It has installed a file, or could not.
    pub fn installed(&self, id: Id, fd: Result<u32, Errno>) {
        self.change(|state| ((), Some(state.fd_installed(id, fd))));
    }

    /// A signal has ended its sleep. Whether the call ends.
    pub fn interrupt(&self, id: Id, interrupt: Interrupt) -> bool {
        self.0.state.lock().interrupt(id, interrupt)
    }

    pub fn poll(&self) -> Poll {
        self.0.state.lock().poll()
    }

    /// What wakes when [`poll`](Self::poll) may find something else.
    pub fn changes(&self) -> &WaitQueue {
        &self.0.changes
    }

    /// ioctl(2) of a supervisor.
    pub fn ioctl(&self, space: &AddressSpace, files: &Files, cmd: u32, argument: u64) -> Outcome {
        match self.try_ioctl(space, files, cmd, argument) {
            Err(Errno::ERESTARTSYS) => Outcome::Restart,
            result => result.into(),
        }
    }

    fn try_ioctl(&self, space: &AddressSpace, files: &Files, cmd: u32, argument: u64) -> Result<i64, Errno> {
        let read = |address: u64, into: &mut [u8]| space.read(address, into);
        match Ioctl::of(cmd)? {
            Ioctl::Receive => {
                SeccompNotif::check_buffer(argument, read)?;
                let notif = self.receive()?;
                if let Err(fault) = space.write(argument, notif.as_bytes()) {
                    self.change(|state| ((), Some(state.receive_failed(Id(notif.id)))));
                    return Err(fault.into());
                }
            }
            Ioctl::Send => {
                let response = Response::read(argument, read)?;
                self.change(|state| match state.send(response) {
                    Ok(wake) => (Ok(()), Some(wake)),
                    Err(error) => (Err(error), None),
                })?;
            }
            Ioctl::IdValid => {
                let id = read_id(argument, read)?;
                self.0.state.lock().id_valid(id)?;
            }
            Ioctl::SetFlags => self.0.state.lock().set_flags(argument)?,
            Ioctl::AddFd(size) => {
                let add_fd = AddFd::read(argument, size, read)?;
                let file = files.get(add_fd.srcfd).map_err(|_| IoctlError::BadFd(add_fd.srcfd))?;
                return self.add_fd(add_fd, file).map(i64::from);
            }
        }
        Ok(0)
    }

    fn receive(&self) -> Result<SeccompNotif, Errno> {
        let received = scheduler::wait(&[&self.0.changes], None, || {
            self.change(|state| match state.receive() {
                Ok(Some((received, wake))) => {
                    let notif = received.notif(received.target.tid.cast_unsigned());
                    (Some(Ok(notif)), Some(wake))
                }
                Ok(None) => (None, None),
                Err(error) => (Some(Err(error)), None),
            })
        });
        received.map_err(|_| Errno::ERESTARTSYS)?.map_err(Errno::from)
    }

    fn add_fd(&self, add_fd: AddFd, file: File) -> Result<u32, Errno> {
        let queued = self.change(|state| match state.add_fd(add_fd, file) {
            Ok((ticket, wake)) => (Ok(ticket), Some(wake)),
            Err(refused) => (Err(refused), None),
        });
        // What was refused is dropped without the lock.
        let ticket = queued.map_err(|refused| refused.error)?;
        loop {
            let progress = self.0.state.lock().fd_progress(ticket);
            match progress {
                FdProgress::Installed(fd) => return fd,
                FdProgress::TargetGone(_file) => return Err(Errno::ESRCH),
                FdProgress::Wait(wait) => {
                    let interrupt = self.0.changes.sleep(wait);
                    if interrupt.is_some() {
                        let file = self.0.state.lock().cancel_fd(ticket);
                        if file.is_some() {
                            return Err(Errno::ERESTARTSYS);
                        }
                    }
                }
            }
        }
    }
}

impl seccomp::Listener for Listener {
    fn is_open(&self) -> bool {
        self.0.state.lock().is_open()
    }

    fn users_gone(&self) {
        self.change(|state| ((), Some(state.users_gone())));
    }
}

/// A listener as descriptors lead to it: with the last of them it closes.
#[derive(Debug)]
pub struct OpenListener(Listener);

impl OpenListener {
    pub fn listener(&self) -> &Listener {
        &self.0
    }
}

impl Drop for OpenListener {
    fn drop(&mut self) {
        self.0.change(|state| ((), Some(state.close())));
    }
}

/// A listener whose descriptor is taken and leads nowhere yet.
#[derive(Debug)]
pub struct NewListener {
    files: Arc<Files>,
    fd: u32,
    listener: Listener,
    published: bool,
}

impl NewListener {
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new(files: Arc<Files>, wait_killable: bool) -> Result<Self, ListenerError> {
        let fd = files.reserve().map_err(|_| ListenerError::Descriptors)?;
        Ok(Self { files, fd, listener: Listener::new(wait_killable), published: false })
    }
}

impl seccomp::NewListener for NewListener {
    fn listener(&self) -> Arc<dyn seccomp::Listener> {
        Arc::new(self.listener.clone())
    }

    fn publish(mut self) -> i32 {
        self.published = true;
        let open = Arc::new(OpenListener(self.listener.clone()));
        self.files.publish(self.fd, File::Listener(open));
        self.fd.cast_signed()
    }
}

impl Drop for NewListener {
    fn drop(&mut self) {
        if !self.published {
            self.files.release(self.fd);
        }
    }
}
