//! Verdicts carried out on x86-64, through the registers of a thread that is stopped at a call.
//!
//! A call is kept from running by the number -1; what it would have returned is put in its place when it
//! ends. Both registers then hold what they would under Linux's own seccomp.

use std::mem;

use libc::user_regs_struct;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use seccomp_kernel::{Arch, Kernel, Sigsys};
use syscalls::{x86, x86_64};

use super::kernel::Caller;
use super::listener;
use super::proc::{self, Status};
use super::task::{AtExit, Task};
use super::{registers, sys};

const SIGSYS_BIT: u64 = 1 << (libc::SIGSYS - 1);

/// The length of each instruction that makes a call: the host goes back by it too when it restarts one.
pub(super) const CALL_LENGTH: u64 = 2;

/// A number that no call has.
const SKIP: u64 = u64::MAX;

/// The call does not run and returns `value`.
pub(super) fn return_value(task: &Task, value: i64) -> nix::Result<()> {
    let nr = skip(task.tid)?;
    task.at_exit.set(AtExit::Return { nr, value });
    Ok(())
}

/// The call does not run, and the thread gets this SIGSYS.
pub(super) fn trap(task: &Task, sigsys: Sigsys) -> nix::Result<()> {
    let nr = skip(task.tid)?;
    task.at_exit.set(AtExit::Trap { nr, sigsys });
    Ok(())
}

/// Whether the thread does with SIGSYS what is not its default.
fn disposes_of_sigsys(status: &Status) -> Option<bool> {
    Some((status.caught()? | status.ignored()?) & SIGSYS_BIT != 0)
}

/// Whether a SIGSYS would reach a handler. If not, Linux makes it fatal.
pub(super) fn handles_sigsys(task: &Task) -> bool {
    let masks = task.known(|status| status.caught().zip(status.blocked()));
    masks.is_some_and(|(caught, blocked)| caught & !blocked & SIGSYS_BIT != 0)
}

/// The host is told of no_new_privs instead of the call, which is made when that has ended.
pub(super) fn tell_no_new_privs(task: &Task, entry: Arch) -> nix::Result<()> {
    let nr = match entry {
        Arch::I386 => x86::Sysno::prctl.id(),
        _ => x86_64::Sysno::prctl.id(),
    };
    let before = registers::change(task.tid, |regs| {
        let before = *regs;
        regs.orig_rax = nr as u64;
        set_arguments(regs, entry, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0]);
        before
    })?;
    task.at_exit.set(AtExit::Again(Box::new(before)));
    Ok(())
}

/// The thread ends instead of the call, and its process goes on.
pub(super) fn end_thread(task: &Task, entry: Arch) -> nix::Result<()> {
    let nr = match entry {
        Arch::I386 => x86::Sysno::exit.id(),
        _ => x86_64::Sysno::exit.id(),
    };
    registers::change(task.tid, |regs| {
        regs.orig_rax = nr as u64;
        set_arguments(regs, entry, &[0; 4]);
    })
}

/// The process dies of this SIGSYS instead of the call, whatever it had planned for the signal: if it has a
/// handler or ignores it, the call becomes the one that puts the default back.
pub(super) fn die(caller: &Caller, entry: Arch, sigsys: Sigsys) -> nix::Result<()> {
    let task = caller.task;
    let known = task.known(|status| status.is_init().zip(disposes_of_sigsys(status)));
    // Otherwise it is killed.
    let Some((is_init, reset)) = known else { return Ok(()) };
    if is_init {
        // The first process of a pid namespace would not die of a signal that it did not ask for.
        return signal::kill(task.tgid, Signal::SIGKILL);
    }
    if !reset {
        skip(task.tid)?;
    } else {
        let Some(default) = default_action(caller).filter(|at| entry != Arch::I386 || *at <= u32::MAX.into())
        else {
            // Nothing to point the call at. The process dies all the same, of another signal.
            return signal::kill(task.tgid, Signal::SIGKILL);
        };
        let nr = match entry {
            Arch::I386 => x86::Sysno::rt_sigaction.id(),
            _ => x86_64::Sysno::rt_sigaction.id(),
        };
        registers::change(task.tid, |regs| {
            regs.orig_rax = nr as u64;
            set_arguments(regs, entry, &[libc::SIGSYS as u64, default, 0, size_of::<u64>() as u64]);
        })?;
    }
    task.at_exit.set(AtExit::Die { sigsys });
    Ok(())
}

/// The address of a `sigaction` with the default handler in the thread's memory: its first word is null, and
/// nothing else of it matters. The padding of the vDSO's ELF header is one.
fn default_action(caller: &Caller) -> Option<u64> {
    const PADDING: u64 = 8;
    let address = proc::vdso(caller.task.tid)? + PADDING;
    let mut handler = [0; 8];
    caller.read_user(address, &mut handler).ok()?;
    (handler == [0; 8]).then_some(address)
}

/// Finishes a call; the signal to resume with is the result.
pub(super) fn exit(caller: Caller) -> nix::Result<i32> {
    let task = caller.task;
    match task.at_exit.take() {
        AtExit::Nothing => Ok(0),
        AtExit::Host(step) => listener::exit(caller, *step).map(|()| 0),
        AtExit::Received { notif } => listener::received(&caller, notif).map(|()| 0),
        AtExit::Return { nr, value } => {
            registers::change(task.tid, |regs| (regs.rax, regs.orig_rax) = (value.cast_unsigned(), nr))?;
            Ok(0)
        }
        AtExit::Again(before) => {
            let returned = registers::change(task.tid, |regs| {
                let returned = regs.rax;
                *regs = *before;
                (regs.rip, regs.rax) = (before.rip.wrapping_sub(CALL_LENGTH), before.orig_rax);
                // Whatever the number is, nobody restarts a call.
                regs.orig_rax = SKIP;
                returned
            })?;
            if returned != 0 {
                signal::kill(task.tgid, Signal::SIGKILL)?;
            }
            task.told_no_new_privs();
            Ok(0)
        }
        AtExit::Trap { nr, sigsys } => {
            registers::change(task.tid, |regs| (regs.rax, regs.orig_rax) = (nr, nr))?;
            task.sigsys.set(Some(sigsys));
            Ok(libc::SIGSYS)
        }
        AtExit::Die { sigsys } => {
            if task.known(disposes_of_sigsys) != Some(false) {
                // The default could not be put back, or another thread has changed what was put there. The
                // process dies all the same, of another signal.
                signal::kill(task.tgid, Signal::SIGKILL)?;
            }
            sys::set_signal_mask(task.tid, sys::signal_mask(task.tid)? & !SIGSYS_BIT)?;
            task.sigsys.set(Some(sigsys));
            Ok(libc::SIGSYS)
        }
    }
}

/// Keeps a call from running. The result is its number, as the register had it.
fn skip(tid: Pid) -> nix::Result<u64> {
    registers::change(tid, |regs| mem::replace(&mut regs.orig_rax, SKIP))
}

/// Sets the first five arguments of a call, or as many as there are.
pub(super) fn set_arguments(regs: &mut user_regs_struct, entry: Arch, arguments: &[u64]) {
    let registers = match entry {
        Arch::I386 => [&mut regs.rbx, &mut regs.rcx, &mut regs.rdx, &mut regs.rsi, &mut regs.rdi],
        _ => [&mut regs.rdi, &mut regs.rsi, &mut regs.rdx, &mut regs.r10, &mut regs.r8],
    };
    for (register, argument) in registers.into_iter().zip(arguments) {
        *register = *argument;
    }
}
