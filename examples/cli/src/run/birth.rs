//! Births. A thread goes into a call that may make another with changed registers, of which the child gets a copy.
//!
//! They tell whose child it is, also if the parent is killed before it can tell of it. And where the host reads
//! from memory what child to make, so that another thread may change it meanwhile, they keep a child from running
//! that nobody traces: it would return to user space with a segment of code that holds none, and with every signal
//! blocked, so it dies of the SIGSEGV that follows before its first instruction and before any handler.

use std::mem;

use nix::sys::ptrace::getregs;
use nix::unistd::Pid;

use super::task::Task;
use super::{registers, sys};

/// A segment of data for programs (`__USER_DS`).
const NO_CODE: u64 = 0x2b;

/// What a thread has had before its call.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    /// A register that no entry has an argument in: it has had this, and has the thread's id.
    r15: u64,
    /// If no untraced child may run: the code segment, and the signals that were blocked.
    untraced: Option<(u64, u64)>,
    /// Whether the call returns what a supervisor likes.
    asked: bool,
}

/// How a call makes a child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Makes {
    /// As its registers say.
    Judged,
    /// As memory says, by the time that the host reads it.
    Unjudged,
}

/// Guards a thread at the entry of a call that may make another, until `lift`.
pub(super) fn guard(task: &Task, makes: Makes, asked: bool) -> nix::Result<()> {
    let blocked = match makes {
        Makes::Judged => None,
        Makes::Unjudged => Some(sys::signal_mask(task.tid)?),
    };
    if blocked.is_some() {
        sys::set_signal_mask(task.tid, sys::ALL_SIGNALS)?;
    }
    let guard = registers::change(task.tid, |regs| {
        let r15 = mem::replace(&mut regs.r15, task.id());
        let untraced = blocked.map(|blocked| (mem::replace(&mut regs.cs, NO_CODE), blocked));
        Guard { r15, untraced, asked }
    })?;
    task.in_clone.set(Some(guard));
    task.guard.set(Some(guard));
    Ok(())
}

/// Gives a thread that has stopped, the one that was guarded or its child, what it is to have.
pub(super) fn lift(task: &Task) -> nix::Result<()> {
    let Some(Guard { r15, untraced, .. }) = task.guard.take() else { return Ok(()) };
    if let Some((_, blocked)) = untraced {
        sys::set_signal_mask(task.tid, blocked)?;
    }
    registers::change(task.tid, |regs| {
        regs.r15 = r15;
        if let Some((cs, _)) = untraced {
            regs.cs = cs;
        }
    })
}

/// The id of the thread that made this one, which has been born and has not run yet.
pub(super) fn parent(child: Pid) -> nix::Result<u64> {
    Ok(getregs(child)?.r15)
}

/// Whether a thread at the exit of a call has made another and not told of it, so that nobody traces that.
pub(super) fn is_untold(task: &Task, returned: i64) -> bool {
    // Where a birth is told, it is told before.
    returned > 0 && task.in_clone.get().is_some_and(|guard| !guard.asked)
}
