//! What stands in for StarryOS's `task/seccomp.rs`: its public names over `seccomp-kernel`.
//!
//! A thread has a [`SeccompState`]. The entry of a system call asks [`SeccompState::enter`] (or
//! [`SeccompState::evaluate`], if nobody can trace or supervise) and does what the [`SeccompDecision`] says.
//! `README.md` beside this crate lists the lines around that file that change, and why; `tests/glue/` has them.
//!
//! ```
//! use starryos_adapter::{ARCH, LogEntry, SeccompDecision, SeccompState, SockFilter, SyscallContext};
//!
//! // Taken once, when the call comes in.
//! struct Call {
//!     sysno: usize,
//!     ip: usize,
//!     args: [usize; 6],
//! }
//!
//! impl SyscallContext for Call {
//!     fn sysno(&self) -> usize {
//!         self.sysno
//!     }
//!     fn ip(&self) -> usize {
//!         self.ip
//!     }
//!     fn args(&self) -> [usize; 6] {
//!         self.args
//!     }
//!     fn audit(&self, record: LogEntry) {
//!         println!("{record:?}");
//!     }
//! }
//!
//! let mut state = SeccompState::default();
//! state.append_filter(vec![SockFilter::new(0x06, 0, 0, 0x0005_0001)])?;
//! let child = state.clone();
//! let call = Call { sysno: 2000, ip: 0x1000, args: [0; 6] };
//! assert_eq!(child.evaluate(&call), SeccompDecision::Errno(1));
//! # Ok::<(), syscalls::Errno>(())
//! ```
//!
//! Errors are [`syscalls::Errno`], of the crate that StarryOS has its numbers from; where its own error type is
//! wanted, it is made of that.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;

mod caller;

use alloc::vec::Vec;
use core::fmt;

use seccomp_kernel::runtime::translator::{Checked, check};
use seccomp_kernel::sysctl::ActionsLogged;
use seccomp_kernel::uapi::{FilterFlags, MAX_ERRNO, SECCOMP_MODE_STRICT};
use seccomp_kernel::{Arch, Decision, Entry, InstallError, Pass, ThreadState, Verdict, attach, syscall};
use syscalls::Errno;

use caller::Caller;

pub use seccomp_kernel::runtime::SeccompData;
pub use seccomp_kernel::runtime::translator::SockFilter;
pub use seccomp_kernel::{Listener, LogEntry, Notified, Sigsys, Traced};

/// The entry that calls come through. StarryOS has one on each machine, for 64-bit programs.
pub const ARCH: Arch = if cfg!(target_arch = "x86_64") {
    Arch::X86_64
} else if cfg!(target_arch = "riscv64") {
    Arch::Riscv64
} else if cfg!(target_arch = "aarch64") {
    Arch::Aarch64
} else {
    Arch::Loongarch64
};

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "riscv64",
    target_arch = "aarch64",
    target_arch = "loongarch64"
)))]
compile_error!("StarryOS does not run on this architecture");

/// What the administrator wants logged: `/proc/sys/kernel/seccomp/actions_logged` reads and writes it.
pub static ACTIONS_LOGGED: ActionsLogged = ActionsLogged::new();

/// `struct sock_fprog`, what a program passes to install a filter.
///
/// For glue that reads it itself. [`syscall::seccomp`] needs none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SockFprog {
    /// The number of instructions.
    pub len: u16,
    /// Where the first is in user memory.
    pub filter: *const SockFilter,
}

/// A thread's seccomp state. The default is none, and every call is allowed.
///
/// One for each thread, as a plain field: the thread evaluates with it while others of its process change it (TSYNC),
/// without a lock. Neither with a copy of it nor with one in an `Arc` that threads share: that a filter has killed the
/// thread is a part of it.
///
/// A clone is what a new thread or process has from its parent (`copy_seccomp`). It takes the same time however many
/// filters there are, for they are shared. The kernel clones under the process's lock, the one of
/// [`Kernel::with_group`](seccomp_kernel::Kernel::with_group), and releases that when the new thread can be found, or a
/// TSYNC in between misses it. execve keeps the state as it is. Dropped, it leaves its filters; a thread that ends
/// leaves them earlier, by [`ThreadState::exit`].
#[derive(Default)]
pub struct SeccompState(ThreadState);

/// A program that Linux would accept as a filter.
///
/// Made before locks are taken, for that allocates; then [`SeccompState::append`] puts it on a thread.
#[derive(Debug)]
pub struct SeccompFilter(Checked);

/// What becomes of a call. The kernel does it; nothing has been done yet but that the audit record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a decision that is not carried out leaves the call allowed"]
pub enum SeccompDecision {
    /// Look the number up and run the call. What the filters wanted logged first has been.
    Allow,
    /// Do not run it; it returns [`seccomp_errno`] of this, 4095 at most. It was not interrupted, whatever the errno:
    /// the code behind the call that restarts after signals must leave it alone, EINTR and 512 to 516 too.
    Errno(u16),
    /// The process dies of SIGSYS, with a core dump; no handler runs.
    KillProcess,
    /// The thread dies of SIGSYS; no handler runs. If it is the process's last, as for
    /// [`KillProcess`](Self::KillProcess).
    KillThread,
    /// What StarryOS's own file says of TRAP and TRACE. Never said here; glue that has an arm for it compiles.
    UnsupportedAction,
    /// The thread dies of SIGKILL, without a core dump: strict mode does not allow the call, or the thread was killed
    /// before and should not have called.
    KillStrict,
    /// Do not run it. Put the registers back to what they were at entry (on x86_64 rax is the number again, on the others
    /// a0 or x0 the first argument), then force SIGSYS with this siginfo and `si_code` 1. Blocked or ignored, it kills
    /// as [`KillProcess`](Self::KillProcess) does. What the handler leaves in the return register is the result.
    Trap(Sigsys),
    /// Do not run it; it returns this, as a supervisor said. Not to be restarted, as for [`Errno`](Self::Errno).
    Return(i64),
    /// Do not run it; it returns what is in the return register: what a tracer left there, or ENOSYS.
    Skip,
    /// Do not run it: a signal came while it waited for a supervisor, and it is restarted or not as for a call that waits
    /// (ERESTARTSYS).
    Restart,
}

/// A call as it came in.
///
/// A type of the kernel's own, filled once at entry, and not the saved registers: on x86_64 the register of the
/// number is that of the result, and nothing else remembers the number.
pub trait SyscallContext {
    /// The number. It need not be one that there is; what does not fit in 32 bits is cut off, as in Linux.
    fn sysno(&self) -> usize;

    /// The address behind the instruction that made the call.
    fn ip(&self) -> usize;

    /// The six arguments.
    fn args(&self) -> [usize; 6];

    /// Writes the audit record of this call: with [`Record`](seccomp_kernel::Record), in Linux's words. Called at most
    /// once, before the decision is answered. [`ACTIONS_LOGGED`] has been looked at.
    fn audit(&self, record: LogEntry);
}

/// A call of a thread that may be traced, or supervised.
pub trait TracedContext: SyscallContext {
    /// If a tracer has set PTRACE_O_TRACESECCOMP, stops for it with PTRACE_EVENT_SECCOMP and this message. May sleep.
    ///
    /// The tracer finds the number where it looks for it, and ENOSYS in the return register; afterwards
    /// [`sysno`](SyscallContext::sysno) and the rest say what it has left there.
    fn trace(&mut self, message: u16) -> Traced;

    /// Makes a request to `listener` and waits for its end. Called only if
    /// [`Kernel::new_listener`](seccomp_kernel::Kernel::new_listener) makes listeners.
    fn notify(&mut self, listener: &dyn Listener, data: &SeccompData) -> Notified;
}

impl SeccompState {
    /// Enters strict mode. On x86_64 the kernel then has `rdtsc` fault.
    ///
    /// The kernel's own use, of a thread that nobody else sees yet; programs come by [`syscall`].
    ///
    /// # Errors
    ///
    /// EINVAL: the thread has filters.
    pub fn install_strict(&mut self) -> Result<(), Errno> {
        syscall::prctl_set_seccomp(&Caller(&self.0), ARCH, SECCOMP_MODE_STRICT, 0).map(drop)
    }

    /// Puts a filter on top of those that there are and enters filter mode. Allocates.
    ///
    /// The kernel's own use, as for [`install_strict`](Self::install_strict). It does not ask for the right to install.
    ///
    /// # Errors
    ///
    /// Those of [`SeccompFilter::new`], then those of [`append`](Self::append).
    pub fn append_filter(&mut self, insns: Vec<SockFilter>) -> Result<(), Errno> {
        self.append(SeccompFilter::new(insns)?)
    }

    /// As [`append_filter`](Self::append_filter), with a program that was checked before.
    ///
    /// # Errors
    ///
    /// ENOMEM: there is no memory, or the filters would be too long together. EINVAL: the thread is in strict mode.
    pub fn append(&mut self, filter: SeccompFilter) -> Result<(), Errno> {
        attach(&Caller(&self.0), filter.0, FilterFlags::empty())?;
        Ok(())
    }

    /// Decides about a call of a thread that has neither tracer nor supervisor: a filter that wants one asked makes it
    /// return ENOSYS. But for the audit record it takes no lock and does not sleep, and it allocates only for filters on
    /// rbpf's interpreter.
    pub fn evaluate(&self, uctx: &impl SyscallContext) -> SeccompDecision {
        let data = seccomp_data(uctx);
        answer(seccomp_kernel::evaluate(&self.0, &data, Pass::Entry, ACTIONS_LOGGED.mask(), None), uctx)
    }

    /// Decides about a call, and asks the tracer or the supervisor that a filter wants asked; after a tracer all filters
    /// decide again. May sleep.
    pub fn enter(&self, uctx: &mut impl TracedContext) -> SeccompDecision {
        answer(seccomp_kernel::enter(&self.0, ACTIONS_LOGGED.mask(), &mut Attended(uctx)), uctx)
    }

    /// What the rest of `seccomp-kernel` takes: the kernel's [`Thread::seccomp`](seccomp_kernel::Thread::seccomp) is
    /// this, and by that [`syscall::seccomp`] and [`syscall::prctl_set_seccomp`] install what programs bring.
    pub fn thread_state(&self) -> &ThreadState {
        &self.0
    }
}

impl Clone for SeccompState {
    fn clone(&self) -> Self {
        Self(self.0.inherit())
    }
}

impl fmt::Debug for SeccompState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = f.debug_struct("SeccompState");
        state.field("mode", &self.0.mode()).field("filters", &self.0.filter_count()).finish()
    }
}

impl SeccompFilter {
    /// Checks a program as Linux does (`bpf_check_classic`, `seccomp_check_filter`).
    ///
    /// # Errors
    ///
    /// EINVAL: Linux refuses it. ENOMEM: there is no memory.
    pub fn new(insns: Vec<SockFilter>) -> Result<Self, Errno> {
        Ok(Self(check(insns).map_err(InstallError::from)?))
    }
}

/// What the return register of a call holds that returns `-errno`.
pub fn seccomp_errno(errno: u16) -> usize {
    usize::from(errno.min(MAX_ERRNO)).wrapping_neg()
}

fn seccomp_data(uctx: &impl SyscallContext) -> SeccompData {
    SeccompData {
        nr: uctx.sysno() as i32,
        arch: ARCH.audit_arch(),
        instruction_pointer: uctx.ip() as u64,
        args: uctx.args().map(|arg| arg as u64),
    }
}

fn answer(decision: Decision, uctx: &impl SyscallContext) -> SeccompDecision {
    if let Some(record) = decision.log {
        uctx.audit(record);
    }
    match decision.verdict {
        Verdict::Proceed => SeccompDecision::Allow,
        Verdict::Return(value) => match u16::try_from(value.wrapping_neg()) {
            Ok(errno) if errno <= MAX_ERRNO => SeccompDecision::Errno(errno),
            _ => SeccompDecision::Return(value),
        },
        Verdict::Trap(sigsys) => SeccompDecision::Trap(sigsys),
        Verdict::Skip => SeccompDecision::Skip,
        Verdict::Restart => SeccompDecision::Restart,
        Verdict::KillStrict => SeccompDecision::KillStrict,
        Verdict::KillThread(_) => SeccompDecision::KillThread,
        Verdict::KillProcess(_) => SeccompDecision::KillProcess,
        // Nobody was asked, so nobody answers.
        Verdict::Trace { .. } | Verdict::Notify { .. } => {
            SeccompDecision::Errno(Errno::ENOSYS.into_raw() as u16)
        }
    }
}

/// The call of a thread that may have a tracer or a supervisor.
struct Attended<'c, C>(&'c mut C);

impl<C: TracedContext> Entry for Attended<'_, C> {
    fn data(&mut self) -> SeccompData {
        seccomp_data(self.0)
    }

    fn trace(&mut self, message: u16) -> Traced {
        self.0.trace(message)
    }

    fn notify(&mut self, listener: &dyn Listener, data: &SeccompData) -> Notified {
        self.0.notify(listener, data)
    }
}
