//! Listeners are the host's own, so that descriptors, poll(2), signals and all that a supervisor does with them
//! are the real ones.
//!
//! For each filter that a carried program installs with a listener, the host gets one with a listener too: a
//! program that asks the supervisor about *marked* calls and allows all others. The runtime decides, and a call
//! that a supervisor is to be asked about is marked at its entry. The mark is a bit of the instruction pointer
//! that no user address has; it is gone before the thread runs on.

use std::sync::Arc;

use libc::user_regs_struct;
use nix::sys::ptrace::getregs;
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::runtime::translator::SockFilter;
use seccomp_kernel::runtime::translator::seccomp::{RET_ALLOW, RET_USER_NOTIF};
use seccomp_kernel::uapi::{FilterFlags, SockFprog};
use seccomp_kernel::{Arch, Filter, Kernel, Listener, NewListener, ThreadState, syscall};
use syscalls::{x86, x86_64};

use super::enforce;
use super::kernel::Caller;
use super::killable;
use super::task::{AtExit, Task};
use super::{registers, sys};

const MARK: u64 = 1 << 62;

/// The mark in the upper half of the instruction pointer, as the host's program loads it.
const MARK_WORD: u32 = (MARK >> 32) as u32;

/// Where that half is in `seccomp_data`.
const POINTER_HIGH: u32 = 12;

/// What the host runs: asks about marked calls. Where no listener comes with it, only the last instruction: a
/// newer filter that asks and has nobody to ask would answer for the one that has.
const PROGRAM: [SockFilter; 4] = [
    SockFilter::new((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, POINTER_HIGH),
    SockFilter::new((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, 0, 1, MARK_WORD),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, RET_USER_NOTIF),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, RET_ALLOW),
];

const PROGRAM_SIZE: usize = PROGRAM.len() * SockFilter::SIZE;

/// The program and a `sock_fprog`.
const SCRATCH_SIZE: usize = PROGRAM_SIZE + SockFprog::NATIVE_SIZE;

/// Where `seccomp_notif` has the thread's id.
const NOTIF_PID: u64 = 8;

/// Where it has the instruction pointer.
const NOTIF_POINTER: u64 = 24;

/// Bytes below the stack pointer that a function may use without moving it.
const RED_ZONE: u64 = 128;

/// A listener that the host has. What it is asked it knows better itself: whether it is open when it is to
/// make another, and when its last user is gone.
#[derive(Debug)]
struct OnHost {
    /// Calls wait killably once they are received.
    wait_killable: bool,
}

impl Listener for OnHost {
    fn is_open(&self) -> bool {
        false
    }

    fn users_gone(&self) {}
}

/// The descriptor of a listener that the host has made.
pub(super) struct Made {
    pub(super) fd: i32,
    pub(super) wait_killable: bool,
}

impl NewListener for Made {
    fn listener(&self) -> Arc<dyn Listener> {
        Arc::new(OnHost { wait_killable: self.wait_killable })
    }

    fn publish(self) -> i32 {
        self.fd
    }
}

/// What is to be done when a call ends that the host made in another's place.
pub(super) enum Step {
    /// Install the guest's filter, for which the host has now made its own.
    Install(Installation),
    /// Return from the installation whose listener had to be closed again.
    Closed(Closing),
}

/// An installation, while the host makes its part.
pub(super) struct Installation {
    entry: Arch,
    /// The arguments of seccomp(2).
    op: u32,
    flags: u32,
    fprog: u64,
    /// The registers at the entry of the call.
    regs: user_regs_struct,
    /// Where the host's program is, and what was there before.
    scratch: u64,
    overwritten: [u8; SCRATCH_SIZE],
}

/// The end of an installation that failed, while the listener is closed that the host had made for it.
pub(super) struct Closing {
    call: Close,
    /// Those that the installation returns with.
    regs: user_regs_struct,
    /// The signals that the thread blocked.
    blocked: u64,
}

/// close(2) of a descriptor.
struct Close {
    fd: u64,
    entry: Arch,
}

impl Close {
    fn nr(&self) -> i32 {
        match self.entry {
            Arch::I386 => x86::Sysno::close.id(),
            _ => x86_64::Sysno::close.id(),
        }
    }

    /// Whether a thread is at this call. Its number is another call's by another entry.
    fn is(&self, data: &SeccompData) -> bool {
        let [first, ..] = data.args;
        Arch::of_call(data.arch, data.nr) == Some(self.entry) && data.nr == self.nr() && first == self.fd
    }
}

impl Step {
    /// Whether this is the end of `data`, a call that the thread has just come to.
    pub(super) fn ends(&self, data: &SeccompData) -> bool {
        match self {
            Self::Install(_) => false,
            Self::Closed(Closing { call, .. }) => call.is(data),
        }
    }
}

/// Lets the host install a filter of its own in place of the one that `data`, a seccomp(2) call, asks for.
pub(super) fn install_on_host(caller: &Caller, entry: Arch, data: &SeccompData) -> nix::Result<()> {
    let task = caller.task;
    let regs = getregs(task.tid)?;
    let [op, flags, fprog, ..] = data.args;
    let asked_flags = FilterFlags::from_bits_truncate(flags as u32);
    let skipped = if asked_flags.contains(FilterFlags::NEW_LISTENER) { 0 } else { PROGRAM.len() - 1 };
    let Some((scratch, overwritten)) = write_program(caller, entry, regs.rsp, skipped) else {
        return enforce::return_value(task, -i64::from(libc::ENOMEM));
    };
    let installation =
        Installation { entry, op: op as u32, flags: flags as u32, fprog, regs, scratch, overwritten };
    // The runtime logs, not the host.
    let host_flags = asked_flags.difference(FilterFlags::LOG);
    let host_fprog = scratch.wrapping_add(PROGRAM_SIZE as u64);
    registers::change(task.tid, |regs| {
        enforce::set_arguments(regs, entry, &[op, host_flags.bits().into(), host_fprog]);
    })?;
    task.at_exit.set(AtExit::Host(Box::new(Step::Install(installation))));
    Ok(())
}

/// Puts the program and its `sock_fprog`, which begins behind `skipped` instructions, below the stack pointer. The
/// result is where, and what was there. `None` if nothing can be there, or the call's pointers do not reach it.
fn write_program(
    caller: &Caller,
    entry: Arch,
    stack: u64,
    skipped: usize,
) -> Option<(u64, [u8; SCRATCH_SIZE])> {
    const ALIGNMENT: u64 = 16;
    let scratch = stack.checked_sub(RED_ZONE + SCRATCH_SIZE as u64)? & !(ALIGNMENT - 1);
    if entry.is_compat() && u32::try_from(stack).is_err() {
        return None;
    }
    let mut overwritten = [0; SCRATCH_SIZE];
    caller.read_user(scratch, &mut overwritten).ok()?;
    let mut bytes = PROGRAM.map(SockFilter::to_ne_bytes).concat();
    // Of both widths: where the wide one has padding, the narrow one has its pointer.
    let first = scratch.wrapping_add((skipped * SockFilter::SIZE) as u64);
    bytes.extend((PROGRAM.len().saturating_sub(skipped) as u32).to_ne_bytes());
    bytes.extend((first as u32).to_ne_bytes());
    bytes.extend(first.to_ne_bytes());
    if caller.write_user(scratch, &bytes).is_err() {
        // Its first page may have been written.
        let _ = caller.write_user(scratch, &overwritten);
        return None;
    }
    Some((scratch, overwritten))
}

/// A call that the host made in another's place has ended.
pub(super) fn exit(caller: Caller, step: Step) -> nix::Result<()> {
    match step {
        Step::Install(installation) => installed_on_host(caller, installation),
        Step::Closed(Closing { regs, blocked, .. }) => {
            sys::set_signal_mask(caller.task.tid, blocked)?;
            registers::restore(caller.task.tid, regs)
        }
    }
}

fn installed_on_host(caller: Caller, installation: Installation) -> nix::Result<()> {
    let Installation { entry, op, flags, fprog, mut regs, scratch, overwritten } = installation;
    let task = caller.task;
    // Fails if another thread has unmapped it; then there is nothing to put back.
    let _ = caller.write_user(scratch, &overwritten);
    regs.rax = getregs(task.tid)?.rax;
    let listens = FilterFlags::from_bits_truncate(flags).contains(FilterFlags::NEW_LISTENER);
    let returned = regs.rax.cast_signed();
    // An error, or the thread that could not follow: it stands for the guest's call too.
    if returned < 0 || (!listens && returned != 0) {
        return registers::restore(task.tid, regs);
    }
    let caller = Caller { made: Some(returned as i32), ..caller };
    match syscall::seccomp(&caller, entry, op, flags, fprog) {
        Ok(value) => regs.rax = i64::from(value).cast_unsigned(),
        Err(errno) => {
            regs.rax = (-i64::from(errno.into_raw())).cast_unsigned();
            if listens {
                return close(task, Close { fd: returned.cast_unsigned(), entry }, regs);
            }
        }
    }
    registers::restore(task.tid, regs)
}

/// Makes a thread that is at the exit of a call close a descriptor, and then return with `regs`.
fn close(task: &Task, call: Close, regs: user_regs_struct) -> nix::Result<()> {
    // No handler is to run before.
    let blocked = sys::signal_mask(task.tid)?;
    sys::set_signal_mask(task.tid, sys::ALL_SIGNALS)?;
    registers::change(task.tid, |closing| {
        *closing = regs;
        closing.rip = regs.rip.wrapping_sub(enforce::CALL_LENGTH);
        closing.rax = call.nr() as u64;
        enforce::set_arguments(closing, call.entry, &[call.fd]);
    })?;
    task.at_exit.set(AtExit::Host(Box::new(Step::Closed(Closing { call, regs, blocked }))));
    Ok(())
}

/// Whether a filter is the newest with a listener of those that `state` has. A host that is asked asks that
/// one's supervisor; an older filter's listener is closed, or there could be no newer.
pub(super) fn is_newest(state: &ThreadState, filter: u16) -> bool {
    let newest = state.filter().and_then(with_listener);
    newest.is_some_and(|newest| newest.count() == u32::from(filter) + 1)
}

/// A filter with a listener: this one or its newest ancestor that has one.
pub(super) fn with_listener(filter: &Filter) -> Option<&Filter> {
    filter.newest_first().find(|filter| filter.listener().is_some())
}

/// Whether the supervisor of `state` makes calls wait killably.
fn waits_killably(state: &ThreadState) -> bool {
    let listener = state.filter().and_then(with_listener).and_then(Filter::listener);
    listener
        .and_then(|listener| listener.downcast_ref())
        .is_some_and(|OnHost { wait_killable }| *wait_killable)
}

/// Has the supervisor asked about the call that a thread is at the entry of.
pub(super) fn mark(task: &Task) -> nix::Result<()> {
    registers::change(task.tid, |regs| regs.rip |= MARK)?;
    task.marked.set(true);
    task.killable.set(waits_killably(&task.seccomp));
    Ok(())
}

/// Takes the mark from a thread that may have it.
pub(super) fn unmark(task: &Task) -> nix::Result<()> {
    task.killable.set(false);
    task.received.set(None);
    if task.marked.take() {
        registers::change(task.tid, |regs| regs.rip &= !MARK)?;
    }
    Ok(())
}

/// Takes the mark from what a supervisor may have received at `notif`, and notes who waits for it.
pub(super) fn received(caller: &Caller, notif: u64) -> nix::Result<()> {
    let address = notif.wrapping_add(NOTIF_POINTER);
    let mut pointer = [0; 8];
    if getregs(caller.task.tid)?.rax != 0 || caller.read_user(address, &mut pointer).is_err() {
        return Ok(());
    }
    let pointer = u64::from_ne_bytes(pointer);
    if pointer & MARK != 0 {
        // Fails if it is no longer to be written, and then the supervisor's other threads are at it.
        let _ = caller.write_user(address, &(pointer & !MARK).to_ne_bytes());
        let (mut id, mut pid) = ([0; 8], [0; 4]);
        if caller.read_user(notif, &mut id).is_ok()
            && caller.read_user(notif.wrapping_add(NOTIF_PID), &mut pid).is_ok()
        {
            let (id, pid) = (u64::from_ne_bytes(id), i32::from_ne_bytes(pid));
            killable::received(caller.tasks, caller.task.tid, id, pid);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_close_is_no_close_by_another_entry() {
        let entries = [(Arch::X86_64, 3), (Arch::I386, 6)];
        for (entry, _) in entries {
            let call = Close { fd: 5, entry };
            let at = |of: Arch, nr, fd| {
                let arch = of.audit_arch();
                call.is(&SeccompData { nr, arch, instruction_pointer: 0, args: [fd, 0, 0, 0, 0, 0] })
            };
            for (of, nr) in entries {
                assert_eq!(at(of, nr, 5), of == entry);
                assert!(!at(of, nr, 6));
            }
            // read(2) by `int 0x80`, lstat(2) by `syscall`, close(2) by x32's.
            assert!(!at(Arch::I386, 3, 5) && !at(Arch::X86_64, 6, 5) && !at(Arch::X86_64, 0x4000_0003, 5));
        }
    }
}
