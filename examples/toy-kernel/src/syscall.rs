//! The system calls that small static programs need.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use seccomp_kernel::uapi::{PR_GET_SECCOMP, PR_SET_SECCOMP};
use seccomp_kernel::{Fault, syscall as seccomp};
use syscalls::Errno;

use crate::arch::{self, Context, Sysno, calls};
use crate::files::{self, File};
use crate::futex;
use crate::memory::OutOfMemory;
use crate::memory::frame::PAGE;
use crate::memory::page_table::Access;
use crate::process::{Process, Status};
use crate::scheduler::{self, Woken};
use crate::seccomp::Caller;
use crate::signal::{self, Info};
use crate::thread::Thread;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// It returns this.
    Return(i64),
    /// A signal interrupted it: it is made again, or returns EINTR, as the signal's handler wants.
    Restart,
    /// The registers are as they are to be.
    Replaced,
    /// The thread ends.
    End(Status),
}

impl From<Result<i64, Errno>> for Outcome {
    fn from(result: Result<i64, Errno>) -> Self {
        Self::Return(result.unwrap_or_else(|errno| -i64::from(errno.into_raw())))
    }
}

impl From<OutOfMemory> for Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}

mod flag {
    pub const CLONE_VM: u64 = 0x100;
    pub const CLONE_FILES: u64 = 0x400;
    pub const CLONE_VFORK: u64 = 0x4000;
    pub const CLONE_THREAD: u64 = 0x1_0000;
    pub const CLONE_SETTLS: u64 = 0x8_0000;
    pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
    pub const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
    pub const CLONE_CHILD_SETTID: u64 = 0x100_0000;

    pub const MAP_FIXED: u64 = 0x10;
    pub const MAP_ANONYMOUS: u64 = 0x20;
    pub const PROT_READ: u64 = 1;
    pub const PROT_WRITE: u64 = 2;
    pub const PROT_EXEC: u64 = 4;

    pub const WNOHANG: u64 = 1;

    pub const FUTEX_WAIT: u64 = 0;
    pub const FUTEX_WAKE: u64 = 1;
    pub const FUTEX_PRIVATE: u64 = 128;

    pub const PR_SET_NO_NEW_PRIVS: u64 = 38;
    pub const PR_GET_NO_NEW_PRIVS: u64 = 39;

    pub const SI_TKILL: i32 = -6;
}

/// Runs the call `nr`, which the filters let through.
pub fn dispatch(thread: &Arc<Thread>, context: &mut Context, nr: i32, args: [u64; 6]) -> Outcome {
    let Some(nr) = usize::try_from(nr).ok().and_then(Sysno::new) else { return Err(Errno::ENOSYS).into() };
    let process = &thread.process;
    let [a, b, c, d, ..] = args;
    match nr {
        Sysno::read => read(thread, a, b, c),
        Sysno::write => write(thread, a, b, c),
        Sysno::close => process.files().close(a as u32).map(|()| 0).into(),
        Sysno::pipe2 => pipe(thread, a).into(),
        Sysno::ioctl => ioctl(thread, a, b as u32, c),
        Sysno::ppoll => match timeout(thread, c) {
            Ok(nanoseconds) => poll(thread, a, b, nanoseconds),
            Err(errno) => Err(errno).into(),
        },
        Sysno::exit => Outcome::End((a as i32 & 0xff) << 8),
        Sysno::exit_group => {
            process.end((a as i32 & 0xff) << 8);
            Outcome::End(0)
        }
        Sysno::getpid => Ok(process.pid.into()).into(),
        Sysno::gettid => Ok(thread.tid.into()).into(),
        Sysno::getppid => Ok(process.parent().map_or(0, |parent| parent.pid).into()).into(),
        Sysno::getuid | Sysno::geteuid => Ok(process.uid.load(Ordering::Relaxed).into()).into(),
        Sysno::setuid => set_uid(process, a as u32).into(),
        Sysno::set_tid_address => {
            thread.clear_tid.store(a, Ordering::Relaxed);
            Ok(thread.tid.into()).into()
        }
        Sysno::sched_yield => {
            scheduler::yield_now();
            Ok(0).into()
        }
        Sysno::nanosleep => nanosleep(thread, a),
        Sysno::clock_gettime => clock(thread, b).into(),
        Sysno::brk => memory(thread, |space| Ok(space.brk(a as usize) as i64)).into(),
        Sysno::mmap => map(thread, a, b, c, d).into(),
        Sysno::munmap => unmap(thread, a, b).into(),
        Sysno::mprotect => protect(thread, a, b, c).into(),
        Sysno::clone => clone(thread, context, a, b, calls::clone_args(args)),
        Sysno::wait4 => wait(thread, a as i32, b, c),
        Sysno::futex => futex(thread, args),
        Sysno::kill => kill(thread, a as i32, b as i32).into(),
        Sysno::tgkill => thread_kill(thread, a as i32, b as i32, c as i32).into(),
        Sysno::tkill => thread_kill(thread, process.pid, a as i32, b as i32).into(),
        Sysno::rt_sigaction => sigaction(thread, a as i32, b, c, d).into(),
        Sysno::rt_sigprocmask => sigprocmask(thread, a, b, c, d).into(),
        Sysno::rt_sigreturn => sigreturn(thread, context),
        Sysno::prctl => prctl(thread, args).into(),
        Sysno::seccomp => {
            let result = seccomp::seccomp(&Caller(thread), arch::ENTRY, a as u32, b as u32, c);
            result.map(i64::from).into()
        }
        _ => calls::own(thread, context, nr, args).unwrap_or_else(|| Err(Errno::ENOSYS).into()),
    }
}

/// Calls `f` with the memory of the thread's process.
fn memory<T>(
    thread: &Thread,
    f: impl FnOnce(&crate::memory::AddressSpace) -> Result<T, Errno>,
) -> Result<T, Errno> {
    f(&*thread.process.space().ok_or(Errno::EFAULT)?)
}

fn read_user<const N: usize>(thread: &Thread, address: u64) -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    memory(thread, |space| Ok(space.read(address, &mut bytes)?))?;
    Ok(bytes)
}

fn write_user(thread: &Thread, address: u64, from: &[u8]) -> Result<(), Errno> {
    memory(thread, |space| Ok(space.write(address, from)?))
}

/// Several words of user memory.
fn read_words<const N: usize>(thread: &Thread, address: u64) -> Result<[u64; N], Errno> {
    let mut words = [0; N];
    for (word, at) in words.iter_mut().zip((address..).step_by(8)) {
        *word = u64::from_ne_bytes(read_user(thread, at)?);
    }
    Ok(words)
}

/// The most bytes that are read or written at once.
const CHUNK: u64 = 4096;

fn read(thread: &Thread, fd: u64, address: u64, len: u64) -> Outcome {
    let read = || {
        let file = thread.process.files().get(fd as u32).map_err(Some)?;
        let bytes = file.read(len.min(CHUNK) as usize)?;
        write_user(thread, address, &bytes).map_err(Some)?;
        Ok(bytes.len() as i64)
    };
    interruptible(read())
}

fn write(thread: &Thread, fd: u64, address: u64, len: u64) -> Outcome {
    let write = || {
        let file = thread.process.files().get(fd as u32).map_err(Some)?;
        let mut bytes = vec![0; len.min(CHUNK) as usize];
        memory(thread, |space| Ok(space.read(address, &mut bytes)?)).map_err(Some)?;
        file.write(&bytes).map(|written| written as i64)
    };
    interruptible(write())
}

/// `None` is a signal.
fn interruptible(result: Result<i64, Option<Errno>>) -> Outcome {
    match result {
        Ok(value) => Ok(value).into(),
        Err(Some(errno)) => Err(errno).into(),
        Err(None) => Outcome::Restart,
    }
}

fn pipe(thread: &Thread, address: u64) -> Result<i64, Errno> {
    let files = thread.process.files();
    let (reader, writer) = files::pipe();
    let reader = files.open(reader)?;
    let writer = files.open(writer).or_else(|errno| files.close(reader).and(Err(errno)))?;
    let fds: Vec<u8> = [reader, writer].iter().flat_map(|fd| fd.to_ne_bytes()).collect();
    write_user(thread, address, &fds)?;
    Ok(0)
}

fn ioctl(thread: &Thread, fd: u64, cmd: u32, argument: u64) -> Outcome {
    let files = thread.process.files();
    match (files.get(fd as u32), thread.process.space()) {
        (Ok(File::Listener(open)), Some(space)) => open.listener().ioctl(&space, &files, cmd, argument),
        (Ok(_), _) => Err(Errno::ENOTTY).into(),
        (Err(errno), _) => Err(errno).into(),
    }
}

/// A `timespec` that may be absent, in nanoseconds.
fn timeout(thread: &Thread, address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let [seconds, nanoseconds] = read_words(thread, address)?;
    Ok(Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)))
}

/// poll(2), for so many nanoseconds.
pub fn poll(thread: &Thread, address: u64, count: u64, nanoseconds: Option<u64>) -> Outcome {
    const NVAL: u16 = 0x20;
    const ALWAYS: u16 = 0x18;
    let poll = || -> Result<Result<i64, Woken>, Errno> {
        if count > 64 {
            return Err(Errno::EINVAL);
        }
        let files = thread.process.files();
        let mut polled = Vec::new();
        for at in (address..).step_by(8).take(count as usize) {
            let [f0, f1, f2, f3, e0, e1, _, _] = read_user(thread, at)?;
            let fd = i32::from_ne_bytes([f0, f1, f2, f3]);
            let file = u32::try_from(fd).ok().map(|fd| files.get(fd));
            polled.push((file, u16::from_ne_bytes([e0, e1]), at + 6));
        }
        let queues: Vec<_> =
            polled.iter().filter_map(|(file, ..)| file.as_ref()?.as_ref().ok()?.changes()).collect();
        let deadline = nanoseconds.map(|timeout| arch::nanoseconds().saturating_add(timeout));
        let found = |(file, events, _): &(Option<Result<File, Errno>>, u16, u64)| match file {
            None => 0,
            Some(Err(_)) => NVAL,
            Some(Ok(file)) => file.poll().bits() as u16 & (events | ALWAYS),
        };
        let ready = || polled.iter().any(|one| found(one) != 0).then_some(());
        let woken = match scheduler::wait(&queues, deadline, ready) {
            Ok(()) | Err(Woken::TimedOut) => Ok(()),
            Err(interrupted) => Err(interrupted),
        };
        let mut ready = 0;
        for one in &polled {
            let events = found(one);
            ready += i64::from(events != 0);
            write_user(thread, one.2, &events.to_ne_bytes())?;
        }
        Ok(woken.map(|()| ready))
    };
    match poll() {
        Ok(Ok(ready)) => Ok(ready).into(),
        Ok(Err(_)) => Outcome::Restart,
        Err(errno) => Err(errno).into(),
    }
}

fn set_uid(process: &Process, uid: u32) -> Result<i64, Errno> {
    let old = process.uid.load(Ordering::Relaxed);
    if old != 0 && old != uid {
        return Err(Errno::EPERM);
    }
    process.uid.store(uid, Ordering::Relaxed);
    Ok(0)
}

fn nanosleep(thread: &Thread, address: u64) -> Outcome {
    match timeout(thread, address) {
        Ok(Some(nanoseconds)) => {
            let deadline = arch::nanoseconds().saturating_add(nanoseconds);
            match scheduler::wait(&[], Some(deadline), || None::<()>) {
                Err(Woken::Interrupted) => Err(Errno::EINTR).into(),
                _ => Ok(0).into(),
            }
        }
        Ok(None) => Err(Errno::EFAULT).into(),
        Err(errno) => Err(errno).into(),
    }
}

fn clock(thread: &Thread, address: u64) -> Result<i64, Errno> {
    let now = arch::nanoseconds();
    write_user(thread, address, &(now / 1_000_000_000).to_ne_bytes())?;
    write_user(thread, address + 8, &(now % 1_000_000_000).to_ne_bytes())?;
    Ok(0)
}

/// Memory is never writable and executable, not even a program's own.
fn access(protection: u64) -> Result<Option<Access>, Errno> {
    match protection & (flag::PROT_READ | flag::PROT_WRITE | flag::PROT_EXEC) {
        0 => Ok(None),
        p if p & flag::PROT_WRITE != 0 && p & flag::PROT_EXEC != 0 => Err(Errno::EACCES),
        p if p & flag::PROT_WRITE != 0 => Ok(Some(Access::Write)),
        p if p & flag::PROT_EXEC != 0 => Ok(Some(Access::Execute)),
        _ => Ok(Some(Access::Read)),
    }
}

fn pages(address: u64, len: u64) -> Result<(usize, usize), Errno> {
    if len == 0 || !address.is_multiple_of(PAGE as u64) {
        return Err(Errno::EINVAL);
    }
    let len = usize::try_from(len).ok().and_then(|len| len.checked_next_multiple_of(PAGE));
    Ok((address as usize, len.ok_or(Errno::ENOMEM)?))
}

fn map(thread: &Thread, address: u64, len: u64, protection: u64, flags: u64) -> Result<i64, Errno> {
    if flags & flag::MAP_ANONYMOUS == 0 {
        return Err(Errno::ENODEV);
    }
    let fixed = flags & flag::MAP_FIXED != 0;
    let (address, len) = pages(if fixed { address } else { 0 }, len)?;
    let access = access(protection)?;
    memory(thread, |space| {
        if fixed {
            space.map(address, len, access)?;
            return Ok(address as i64);
        }
        Ok(space.map_anywhere(len, access)? as i64)
    })
}

fn unmap(thread: &Thread, address: u64, len: u64) -> Result<i64, Errno> {
    let (address, len) = pages(address, len)?;
    memory(thread, |space| {
        space.unmap(address, len);
        Ok(0)
    })
}

fn protect(thread: &Thread, address: u64, len: u64, protection: u64) -> Result<i64, Errno> {
    let (address, len) = pages(address, len)?;
    let access = access(protection)?;
    memory(thread, |space| {
        space.protect(address, len, access)?;
        Ok(0)
    })
}

/// clone(2): threads, and processes with a copy of memory. `[parent_tid, child_tid, tls]` is what they mean.
pub fn clone(
    thread: &Arc<Thread>,
    context: &Context,
    flags: u64,
    stack: u64,
    [parent_tid, child_tid, tls]: [u64; 3],
) -> Outcome {
    let clone = || {
        let process = &thread.process;
        let is_thread = flags & flag::CLONE_THREAD != 0;
        if is_thread != (flags & flag::CLONE_VM != 0) && flags & flag::CLONE_VFORK == 0 {
            return Err(Errno::EINVAL);
        }
        let (process, tid) = if is_thread {
            (Arc::clone(process), Thread::next_id())
        } else {
            let child = process.fork(flags & flag::CLONE_FILES != 0)?;
            let tid = child.pid;
            (child, tid)
        };
        let tls = (flags & flag::CLONE_SETTLS != 0).then_some(tls);
        let context = context.child((stack != 0).then_some(stack), tls);
        // Memory first: nothing allocates for long under the lock below.
        let child = Thread::new(tid, Arc::clone(&process), Default::default(), context);
        let give_up = |errno| {
            if !is_thread {
                thread.process.disown(&process);
            }
            Err(errno)
        };
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return give_up(error.into()),
        };
        child.fpu.lock().save();
        *child.blocked.get_mut() = thread.blocked.load(Ordering::Relaxed);
        if flags & flag::CLONE_CHILD_CLEARTID != 0 {
            *child.clear_tid.get_mut() = child_tid;
        }
        if flags & flag::CLONE_PARENT_SETTID != 0 {
            // As in Linux, a fault is nobody's concern.
            let _ = write_user(thread, parent_tid, &tid.to_ne_bytes());
        }
        if flags & flag::CLONE_CHILD_SETTID != 0
            && let Some(space) = process.space()
        {
            let _ = space.write(child_tid, &tid.to_ne_bytes());
        }
        // From copying the state to adding the thread, under the lock of who makes it: or a TSYNC in between would
        // miss it. Its own lock is another, if it is a process.
        let mut group = thread.process.group.lock();
        if thread.seccomp.task_forked(thread.ids(), child.ids()).is_err() {
            // Its extensions have no place for what they are to remember of it.
            drop(group);
            return give_up(Errno::EAGAIN);
        }
        *child.no_new_privs.get_mut() = thread.no_new_privs.load(Ordering::Relaxed);
        child.seccomp = thread.seccomp.inherit();
        let child = Arc::new(child);
        if is_thread {
            group.threads.push(Arc::clone(&child));
        } else {
            process.group.lock().threads.push(Arc::clone(&child));
        }
        scheduler::start(child);
        Ok(tid.into())
    };
    clone().into()
}

fn wait(thread: &Thread, pid: i32, status_at: u64, options: u64) -> Outcome {
    let process = &thread.process;
    let ended = || {
        let mut children = process.children.lock();
        let mut asked = children.iter().filter(|child| pid <= 0 || child.pid == pid).peekable();
        if asked.peek().is_none() {
            return Some(Err(Errno::ECHILD));
        }
        match asked.find(|child| child.ended().is_some()).map(|child| child.pid) {
            Some(pid) => {
                let at = children.iter().position(|child| child.pid == pid)?;
                Some(Ok(Some(children.remove(at))))
            }
            None => (options & flag::WNOHANG != 0).then_some(Ok(None)),
        }
    };
    let child = match scheduler::wait(&[&process.child_ended], None, ended) {
        Ok(Ok(Some(child))) => child,
        Ok(Ok(None)) => return Ok(0).into(),
        Ok(Err(errno)) => return Err(errno).into(),
        Err(_) => return Outcome::Restart,
    };
    child.forget();
    let status = child.ended().unwrap_or_default();
    if status_at != 0 && write_user(thread, status_at, &status.to_ne_bytes()).is_err() {
        return Err(Errno::EFAULT).into();
    }
    Ok(child.pid.into()).into()
}

fn futex(thread: &Arc<Thread>, [address, op, value, timeout_at, ..]: [u64; 6]) -> Outcome {
    match op & !flag::FUTEX_PRIVATE {
        flag::FUTEX_WAIT => match timeout(thread, timeout_at) {
            Ok(nanoseconds) => {
                let deadline = nanoseconds.map(|timeout| arch::nanoseconds().saturating_add(timeout));
                futex::wait(thread, address, value as u32, deadline)
            }
            Err(errno) => Err(errno).into(),
        },
        flag::FUTEX_WAKE => Ok(futex::wake(&thread.process, address, value as u32).into()).into(),
        _ => Err(Errno::ENOSYS).into(),
    }
}

fn kill(thread: &Thread, pid: i32, signal: i32) -> Result<i64, Errno> {
    let target = Process::find(pid).ok_or(Errno::ESRCH)?;
    if !(0..=signal::MAX).contains(&signal) {
        return Err(Errno::EINVAL);
    }
    if signal != 0 {
        target.signal(signal, sender(thread, 0));
    }
    Ok(0)
}

fn thread_kill(thread: &Thread, pid: i32, tid: i32, signal: i32) -> Result<i64, Errno> {
    let target = {
        let process = Process::find(pid).ok_or(Errno::ESRCH)?;
        let group = process.group.lock();
        group.threads.iter().find(|thread| thread.tid == tid).cloned().ok_or(Errno::ESRCH)?
    };
    if !(0..=signal::MAX).contains(&signal) {
        return Err(Errno::EINVAL);
    }
    if signal != 0 {
        target.signal(signal, sender(thread, flag::SI_TKILL));
    }
    Ok(0)
}

fn sender(thread: &Thread, code: i32) -> Info {
    Info::User { code, pid: thread.process.pid, uid: thread.process.uid.load(Ordering::Relaxed) }
}

fn sigaction(thread: &Thread, signal: i32, new: u64, old: u64, size: u64) -> Result<i64, Errno> {
    if size != 8 || !(1..=signal::MAX).contains(&signal) {
        return Err(Errno::EINVAL);
    }
    if new != 0 && matches!(signal, signal::SIGKILL | signal::SIGSTOP) {
        return Err(Errno::EINVAL);
    }
    let read = match new {
        0 => None,
        at if arch::HAS_RESTORER => {
            let [handler, flags, restorer, mask] = read_words(thread, at)?;
            Some(signal::Action { handler, flags, restorer, mask })
        }
        at => {
            let [handler, flags, mask] = read_words(thread, at)?;
            Some(signal::Action { handler, flags, restorer: 0, mask })
        }
    };
    let was = {
        let mut actions = thread.process.actions.lock();
        let action = actions.of(signal);
        let was = *action;
        *action = read.unwrap_or(was);
        was
    };
    if old != 0 {
        let signal::Action { handler, flags, restorer, mask } = was;
        let words: &[u64] =
            if arch::HAS_RESTORER { &[handler, flags, restorer, mask] } else { &[handler, flags, mask] };
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        write_user(thread, old, &bytes)?;
    }
    Ok(0)
}

fn sigprocmask(thread: &Thread, how: u64, new: u64, old: u64, size: u64) -> Result<i64, Errno> {
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let blocked = thread.blocked.load(Ordering::Relaxed);
    if new != 0 {
        let [mask] = read_words(thread, new)?;
        let mask = match how {
            0 => blocked | mask,
            1 => blocked & !mask,
            2 => mask,
            _ => return Err(Errno::EINVAL),
        };
        thread.blocked.store(signal::unblockable(mask), Ordering::Relaxed);
    }
    if old != 0 {
        write_user(thread, old, &blocked.to_ne_bytes())?;
    }
    Ok(0)
}

fn sigreturn(thread: &Arc<Thread>, context: &mut Context) -> Outcome {
    let restored = thread.process.space().ok_or(Fault).and_then(|space| context.leave_handler(&space));
    match restored {
        Ok(mask) => thread.blocked.store(signal::unblockable(mask), Ordering::Relaxed),
        Err(Fault) => thread.process.end(arch::SIGSEGV),
    }
    Outcome::Replaced
}

fn prctl(thread: &Thread, [option, a, b, c, d, _]: [u64; 6]) -> Result<i64, Errno> {
    match option {
        flag::PR_SET_NO_NEW_PRIVS if [a, b, c, d] == [1, 0, 0, 0] => {
            thread.no_new_privs.store(true, Ordering::Relaxed);
            Ok(0)
        }
        flag::PR_GET_NO_NEW_PRIVS if [a, b, c, d] == [0; 4] => {
            Ok(thread.no_new_privs.load(Ordering::Relaxed).into())
        }
        _ if option == u64::from(PR_SET_SECCOMP) => {
            seccomp::prctl_set_seccomp(&Caller(thread), arch::ENTRY, a, b).map(i64::from)
        }
        _ if option == u64::from(PR_GET_SECCOMP) => Ok(seccomp::prctl_get_seccomp(&Caller(thread)).into()),
        _ => Err(Errno::EINVAL),
    }
}
