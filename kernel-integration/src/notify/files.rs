//! Files on their way from supervisors to targets.

use alloc::vec::Vec;
use core::mem;

use syscalls::Errno;

use super::{AddFd, FdPlace, Id, IoctlError, Wait};

/// An ADDFD that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// How ADDFD goes on for its supervisor.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the result of an installation is told once"]
pub enum FdProgress<F> {
    /// Sleep until woken, then ask again; if a signal comes that this wait lets through, call
    /// [`cancel_fd`](super::Notifications::cancel_fd) before.
    Wait(Wait),
    /// The target installed the file as this descriptor, or failed to.
    Installed(Result<u32, Errno>),
    /// The target left before it got to the file: ESRCH. Drop the file without the lock.
    TargetGone(F),
}

/// The files of a listener, from the ADDFD that queues one until its supervisor has the result.
#[derive(Debug)]
pub(super) struct Files<F> {
    next_ticket: u64,
    /// The oldest first.
    requests: Vec<Request<F>>,
}

#[derive(Debug)]
struct Request<F> {
    ticket: Ticket,
    id: Id,
    send: bool,
    stage: Stage<F>,
}

#[derive(Debug)]
enum Stage<F> {
    Queued(F, FdPlace),
    /// The target is at it. `last` is whether it leaves afterwards.
    Installing {
        last: bool,
    },
    Installed(Result<u32, Errno>),
    TargetGone(F),
}

impl<F> Request<F> {
    fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued(..))
    }
}

impl<F> Files<F> {
    pub(super) const fn new() -> Self {
        Self { next_ticket: 0, requests: Vec::new() }
    }

    /// Whether files are queued for the target of request `id`.
    pub(super) fn are_queued(&self, id: Id) -> bool {
        self.requests.iter().any(|request| request.id == id && request.is_queued())
    }

    /// Makes room for one more.
    pub(super) fn reserve(&mut self) -> Result<(), IoctlError> {
        self.requests.try_reserve(1).map_err(|_| IoctlError::OutOfMemory)
    }

    /// Queues a file, where there is [room](Self::reserve).
    pub(super) fn queue(&mut self, add_fd: AddFd, file: F) -> Ticket {
        let AddFd { id, at, send, srcfd: _ } = add_fd;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.requests.push(Request { ticket, id, send, stage: Stage::Queued(file, at) });
        ticket
    }

    /// The newest file that is queued for the target of request `id`, which begins with it: Linux's queue is a
    /// stack (`list_add` in `seccomp_notify_addfd`). `last` is whether the target leaves afterwards.
    pub(super) fn begin(&mut self, id: Id, last: bool) -> Option<(F, FdPlace)> {
        let mut newest_first = self.requests.iter_mut().rev();
        let request = newest_first.find(|request| request.id == id && request.is_queued())?;
        match mem::replace(&mut request.stage, Stage::Installing { last }) {
            Stage::Queued(file, place) => Some((file, place)),
            _ => None,
        }
    }

    /// The target of request `id` is done with its file. Whether that is the answer; `None` if it has none.
    pub(super) fn end(&mut self, id: Id, fd: Result<u32, Errno>) -> Option<bool> {
        let (request, last) = self.requests.iter_mut().find_map(|request| match request.stage {
            Stage::Installing { last } if request.id == id => Some((request, last)),
            _ => None,
        })?;
        let send = request.send;
        request.stage = Stage::Installed(fd);
        if last {
            self.abandon(id);
        }
        Some(send)
    }

    /// [`fd_progress`](super::Notifications::fd_progress).
    pub(super) fn progress(&mut self, ticket: Ticket) -> FdProgress<F> {
        let Some(at) = self.requests.iter().position(|request| request.ticket == ticket) else {
            debug_assert!(false, "its result was told");
            return FdProgress::Installed(Err(Errno::ESRCH));
        };
        match self.requests.get(at).map(|request| &request.stage) {
            Some(Stage::Queued(..)) => return FdProgress::Wait(Wait::Interruptible),
            Some(Stage::Installing { .. }) => return FdProgress::Wait(Wait::Uninterruptible),
            _ => {}
        }
        match self.requests.remove(at).stage {
            Stage::Installed(fd) => FdProgress::Installed(fd),
            Stage::TargetGone(file) | Stage::Queued(file, _) => FdProgress::TargetGone(file),
            Stage::Installing { .. } => FdProgress::Installed(Err(Errno::ESRCH)),
        }
    }

    /// [`cancel_fd`](super::Notifications::cancel_fd).
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<F> {
        let at = self.requests.iter().position(|request| request.ticket == ticket && request.is_queued())?;
        match self.requests.remove(at).stage {
            Stage::Queued(file, _) => Some(file),
            _ => None,
        }
    }

    /// The target of request `id` leaves: what is queued for it will not be installed.
    fn abandon(&mut self, id: Id) {
        for request in self.requests.iter_mut().filter(|request| request.id == id) {
            request.stage = match mem::replace(&mut request.stage, Stage::Installed(Err(Errno::ESRCH))) {
                Stage::Queued(file, _) => Stage::TargetGone(file),
                stage => stage,
            };
        }
    }
}
