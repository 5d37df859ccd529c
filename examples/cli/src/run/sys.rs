//! ptrace(2) and wait(2) where the bindings of `nix` end: signals beyond its enum (the real-time ones), the
//! union in `ptrace_syscall_info`, and requests it has no function for.

#![allow(unsafe_code, reason = "system calls that nix does not bind; each block has its proof")]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use cbpf_translator::SockFilter;
use cbpf_translator::cbpf::MAX_INSNS;
use libc::c_int;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use seccomp_kernel::Sigsys;
use seccomp_kernel::introspect::{PTRACE_SECCOMP_GET_FILTER, PTRACE_SECCOMP_GET_METADATA};
use seccomp_kernel::notify::{SECCOMP_IOCTL_NOTIF_SEND, SeccompNotifResp};
use seccomp_kernel::uapi::{FilterFlags, SYS_SECCOMP};
use seccomp_runtime::SeccompData;

/// The event of a group stop and of a thread's first stop (`linux/ptrace.h`), which libc lacks.
const PTRACE_EVENT_STOP: c_int = 128;

/// What wait(2) said of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It ended: the status a shell would give, 128 + n for signal n.
    Ended(u8),
    /// It is at the entry or exit of a system call.
    Syscall,
    /// It is about to get this signal.
    Signal(c_int),
    /// It is stopped together with its process by this signal.
    GroupStop(c_int),
    /// A `PTRACE_EVENT_*`.
    Ptrace(c_int),
    /// It has just been born, or a group stop is over.
    Resumable,
}

/// Waits for any thread.
///
/// # Errors
///
/// ECHILD if there is none left.
pub(super) fn wait() -> nix::Result<(Pid, Event)> {
    loop {
        if let Some(stop) = wait_with(ANY, 0)? {
            return Ok(stop);
        }
    }
}

/// Any thread, or this one, if it has stopped or ended already.
///
/// # Errors
///
/// ECHILD if there is none left.
pub(super) fn wait_now(thread: Option<Pid>) -> nix::Result<Option<(Pid, Event)>> {
    wait_with(thread.unwrap_or(ANY), libc::WNOHANG)
}

/// Waits for any thread, but no longer than this. SIGCHLD is blocked.
///
/// # Errors
///
/// As [`wait`].
pub(super) fn wait_for(time: Duration) -> nix::Result<Option<(Pid, Event)>> {
    if let Some(stop) = wait_now(None)? {
        return Ok(Some(stop));
    }
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    let time = TimeSpec::from_duration(time);
    // SAFETY: both point at values that live as long as the call, which writes nothing to a null pointer. That the time
    // is over is no failure, for there is another look.
    unsafe { libc::sigtimedwait(set.as_ref(), ptr::null_mut(), time.as_ref()) };
    wait_now(None)
}

/// Every thread, to waitpid(2).
const ANY: Pid = Pid::from_raw(-1);

fn wait_with(thread: Pid, options: c_int) -> nix::Result<Option<(Pid, Event)>> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: `status` is a valid place for an int for the whole call.
        match Errno::result(unsafe {
            libc::waitpid(thread.as_raw(), &raw mut status, libc::__WALL | options)
        }) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    Ok((pid != 0).then(|| (Pid::from_raw(pid), event(status))))
}

fn event(status: c_int) -> Event {
    if libc::WIFEXITED(status) {
        return Event::Ended(libc::WEXITSTATUS(status) as u8);
    }
    if libc::WIFSIGNALED(status) {
        return Event::Ended((128 + libc::WTERMSIG(status)) as u8);
    }
    match (status >> 16, libc::WSTOPSIG(status)) {
        (0, signal) if signal == libc::SIGTRAP | 0x80 => Event::Syscall,
        (0, signal) => Event::Signal(signal),
        (PTRACE_EVENT_STOP, signal @ (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)) => {
            Event::GroupStop(signal)
        }
        (PTRACE_EVENT_STOP, _) => Event::Resumable,
        (event, _) => Event::Ptrace(event),
    }
}

/// Lets a stopped thread run to its next system call stop, with `signal` if not 0.
pub(super) fn resume(tid: Pid, signal: c_int) -> nix::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, ptr::without_provenance_mut(signal as usize))
}

/// Sends any signal.
pub(super) fn send(pid: Pid, signal: c_int) -> nix::Result<()> {
    // SAFETY: kill(2) takes two numbers and touches no memory of this process.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Puts a signal of this process back to its default action, also one that the C library keeps to itself.
pub(super) fn reset_signal(signal: c_int) -> nix::Result<()> {
    /// The kernel's `sigaction`: `SIG_DFL`, no flags, no restorer, an empty mask.
    const DEFAULT: [u64; 4] = [0; 4];
    let size = size_of::<u64>();
    let action = DEFAULT.as_ptr();
    let former = ptr::null_mut::<u64>();
    // SAFETY: rt_sigaction(2) reads a `sigaction` at `action`, which is one, and writes nothing to a null pointer. No
    // handler is put in place that could not run.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, former, size) };
    Errno::result(result).map(drop)
}

/// A descriptor of another process, which is traced.
///
/// # Errors
///
/// It is closed, or the process has ended.
pub(super) fn descriptor(process: Pid, fd: c_int) -> nix::Result<OwnedFd> {
    let no_flags: libc::c_uint = 0;
    // SAFETY: pidfd_open(2) takes two numbers and touches no memory of this process.
    let pidfd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), no_flags) })?;
    // SAFETY: the call has just made it, and nothing else has it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as c_int) };
    // SAFETY: pidfd_getfd(2) takes three numbers and touches no memory of this process.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, no_flags) };
    let copy = Errno::result(copy)?;
    // SAFETY: the call has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as c_int) })
}

/// Answers a call in its supervisor's place.
///
/// # Errors
///
/// ENOENT if the listener has received no such call, EINPROGRESS if it is answered.
pub(super) fn answer(listener: &OwnedFd, response: &SeccompNotifResp) -> nix::Result<()> {
    let request = libc::c_ulong::from(SECCOMP_IOCTL_NOTIF_SEND);
    let response = ptr::from_ref(response);
    // SAFETY: SEND reads a `seccomp_notif_resp` at `response`, and it is one. The caller has made sure of the file, but
    // others' ioctls of another meaning would have another number.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), request, response) }).map(drop)
}

/// Leaves a thread in its group stop, but lets SIGCONT end that.
///
/// # Errors
///
/// ESRCH if it is no longer there: it has been killed, and may have stopped again on its way out.
pub(super) fn listen(tid: Pid) -> nix::Result<()> {
    let result = request(libc::PTRACE_LISTEN, tid, ptr::null_mut());
    result.map_err(|error| if error == Errno::EIO { Errno::ESRCH } else { error })
}

/// The thread that another, which has stopped for this `PTRACE_EVENT_*`, tells of.
///
/// # Errors
///
/// ESRCH if it is no longer there: it has been killed, and may have stopped again on its way out.
pub(super) fn told(tid: Pid, event: c_int) -> nix::Result<Pid> {
    let message = ptrace::getevent(tid)?;
    // Looked at later than the message, for on its way out the thread tells of its status.
    let stop = ptrace::getsiginfo(tid)?.si_code >> 8;
    if stop == event { Ok(Pid::from_raw(message as i32)) } else { Err(Errno::ESRCH) }
}

/// A request without an address, whose data is a number.
fn request(request: libc::c_uint, tid: Pid, data: *mut c_void) -> nix::Result<()> {
    // SAFETY: the requests above neither read nor write memory of this process.
    let result = unsafe { libc::ptrace(request, tid.as_raw(), ptr::null_mut::<c_void>(), data) };
    Errno::result(result).map(drop)
}

/// Every signal; those that cannot be blocked the host leaves out.
pub(super) const ALL_SIGNALS: u64 = u64::MAX;

/// The signals that are blocked, signal n in bit n - 1.
pub(super) fn signal_mask(tid: Pid) -> nix::Result<u64> {
    let mut mask = 0_u64;
    let size = ptr::without_provenance_mut::<c_void>(size_of::<u64>());
    let to = ptr::from_mut(&mut mask).cast::<c_void>();
    // SAFETY: PTRACE_GETSIGMASK writes as many bytes to `data` as `addr` says, and `mask` has them.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETSIGMASK, tid.as_raw(), size, to) };
    Errno::result(result).map(|_| mask)
}

/// Replaces the mask of blocked signals.
pub(super) fn set_signal_mask(tid: Pid, mask: u64) -> nix::Result<()> {
    let size = ptr::without_provenance_mut::<c_void>(size_of::<u64>());
    let mask = ptr::from_ref(&mask).cast::<c_void>();
    // SAFETY: PTRACE_SETSIGMASK reads as many bytes at `data` as `addr` says, and `mask` has them.
    let result = unsafe { libc::ptrace(libc::PTRACE_SETSIGMASK, tid.as_raw(), size, mask) };
    Errno::result(result).map(drop)
}

/// `siginfo_t` as a SIGSYS of seccomp fills it.
#[repr(C, align(8))]
struct SigsysInfo {
    signo: i32,
    errno: i32,
    code: i32,
    // Where the compiler would leave a gap.
    zero: i32,
    call_addr: u64,
    syscall: i32,
    arch: u32,
    unused: [u64; 12],
}

const _: () = assert!(size_of::<SigsysInfo>() == size_of::<libc::siginfo_t>());
const _: () = assert!(std::mem::offset_of!(SigsysInfo, call_addr) == 16);

/// Describes the signal that a thread is about to get as `sigsys`.
pub(super) fn set_sigsys(tid: Pid, sigsys: Sigsys) -> nix::Result<()> {
    let info = SigsysInfo {
        signo: libc::SIGSYS,
        errno: i32::from(sigsys.errno),
        code: SYS_SECCOMP,
        zero: 0,
        call_addr: sigsys.call_addr,
        syscall: sigsys.syscall,
        arch: sigsys.arch,
        unused: [0; 12],
    };
    let info = ptr::from_ref(&info).cast::<c_void>();
    // SAFETY: PTRACE_SETSIGINFO reads one `siginfo_t` at `data`, and `info` is one, initialised throughout.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_SETSIGINFO, tid.as_raw(), ptr::null_mut::<c_void>(), info) };
    Errno::result(result).map(drop)
}

/// Where in a system call a thread has stopped.
pub(super) enum Call {
    /// At its entry, with what a filter sees of it.
    Entry(SeccompData),
    /// At its exit, with what the host returns.
    Exit(i64),
}

/// The call that a thread in a system call stop is at.
///
/// # Errors
///
/// ESRCH if the thread that was there is gone. Another one's exec(2) may have taken its id since.
pub(super) fn call(tid: Pid) -> nix::Result<Call> {
    let info = ptrace::syscall_info(tid)?;
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says that the kernel filled this member.
            let entry = unsafe { info.u.entry };
            Ok(Call::Entry(SeccompData {
                nr: entry.nr as i32,
                arch: info.arch,
                instruction_pointer: info.instruction_pointer,
                args: entry.args,
            }))
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            // SAFETY: `op` says that the kernel filled this member.
            let exit = unsafe { info.u.exit };
            Ok(Call::Exit(exit.sval))
        }
        // It is at no call, though its stop was one: it has been killed.
        _ => Err(Errno::ESRCH),
    }
}

/// A thread of another program, stopped as long as this is there.
pub(crate) struct Stopped {
    tid: Pid,
    /// What it was about to get when it was stopped, or 0.
    signal: c_int,
}

impl Stopped {
    /// Stops a thread.
    ///
    /// # Errors
    ///
    /// It cannot be traced, or has ended.
    pub(crate) fn seize(tid: Pid) -> nix::Result<Self> {
        ptrace::seize(tid, ptrace::Options::empty())?;
        let mut seized = Self { tid, signal: 0 };
        ptrace::interrupt(tid)?;
        loop {
            let mut status = 0;
            // SAFETY: `status` is a valid place for an int for the whole call.
            match Errno::result(unsafe { libc::waitpid(tid.as_raw(), &raw mut status, libc::__WALL) }) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
                Ok(_) if libc::WIFSTOPPED(status) => {
                    if let Event::Signal(signal) = event(status) {
                        seized.signal = signal;
                    }
                    return Ok(seized);
                }
                Ok(_) => return Err(Errno::ESRCH),
            }
        }
    }

    /// The classic program of a filter; 0 is the oldest.
    ///
    /// # Errors
    ///
    /// ENOENT if it has not so many.
    pub(crate) fn filter(&self, index: u64) -> nix::Result<Vec<SockFilter>> {
        let mut insns = vec![SockFilter::new(0, 0, 0, 0); MAX_INSNS];
        let index = ptr::without_provenance_mut::<c_void>(index as usize);
        let to = insns.as_mut_ptr().cast::<c_void>();
        // SAFETY: PTRACE_SECCOMP_GET_FILTER writes a program to `data`, and `insns` has room for the longest; its
        // elements are laid out as `struct sock_filter`, and any bytes are one.
        let len = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_FILTER, self.tid.as_raw(), index, to) };
        insns.truncate(Errno::result(len)? as usize);
        Ok(insns)
    }

    /// Whether a filter was installed with SECCOMP_FILTER_FLAG_LOG.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub(crate) fn filter_logs(&self, index: u64) -> nix::Result<bool> {
        let mut metadata = [index, 0];
        let size = ptr::without_provenance_mut::<c_void>(size_of_val(&metadata));
        let to = metadata.as_mut_ptr().cast::<c_void>();
        // SAFETY: PTRACE_SECCOMP_GET_METADATA reads and writes as many bytes at `data` as `addr` says, and
        // `metadata` has them.
        let written = unsafe { libc::ptrace(PTRACE_SECCOMP_GET_METADATA, self.tid.as_raw(), size, to) };
        Errno::result(written)?;
        Ok(metadata[1] & u64::from(FilterFlags::LOG.bits()) != 0)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended.
        let signal = ptr::without_provenance_mut(self.signal as usize);
        let _ = request(libc::PTRACE_DETACH, self.tid, signal);
    }
}
