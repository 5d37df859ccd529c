//! Linux's seccomp, for a kernel to embed.
//!
//! This crate decides; the kernel acts. A kernel keeps one [`ThreadState`] in each thread, implements
//! [`Kernel`], and calls
//!
//! - [`syscall::seccomp`] and [`syscall::prctl_set_seccomp`] for the system calls of those names,
//! - [`ThreadState::inherit`] when a thread or process is born and [`ThreadState::exit`] when one ends, under the
//!   lock of [`Kernel::with_group`],
//! - [`enter()`] at every system call entry, after the tracer's entry stop and before the number is looked
//!   up, and then does what the [`Verdict`] says.
//!
//! A filter's life: user memory is copied, then checked and loaded (`seccomp-runtime`), all without a lock;
//! then, under the thread group's lock, the loaded filter becomes a [`Filter`] node that points at the
//! thread's previous one. A thread's newest filter, its *leaf*, only ever gets descendants. So evaluation
//! reads it with one acquire load: it takes no lock, counts no reference and, on the jit and native engines,
//! allocates nothing.
//!
//! For the entries that [`Kernel::planned_entries`] names, filters are planned: what no argument can change costs
//! one load, however many the filters are and however long.
//!
//! Architectures are values ([`Arch`]), never `cfg`: a kernel names the one each entry belongs to.
//!
//! Around that: audit records ([`Record`], [`RateLimit`]), counters of what was denied ([`Denials`]), the
//! sysctls ([`sysctl`]), and what debuggers and `/proc` are told ([`introspect`], [`SeccompCache`]).
//!
//! eBPF filters that people wrote, *extensions*, stack with classic ones ([`Program`], [`attach_extension`]). Users
//! install them where the kernel says so ([`Kernel::extension_rights`]); what they ask is a
//! [`HelperHost`](runtime::HelperHost) of the kernel's.
//!
//! User notification is a state machine without a kernel in it ([`notify`]). The kernel keeps it behind a lock,
//! in a [`Listener`] that a filter and a descriptor share ([`Kernel::new_listener`]); [`enter()`] asks it to wait.
//!
//! All that a kernel has to bring, for one that has a single thread:
//!
//! ```
#![doc = include_str!("../examples/one_thread.rs")]
//! ```

#![no_std]
#![deny(unsafe_code)]
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

mod action;
mod arch;
mod audit;
mod cache;
mod decided;
mod denials;
mod enter;
mod evaluate;
mod extension;
mod filter;
mod install;
pub mod introspect;
mod kernel;
mod leaf;
pub mod notify;
mod program;
mod rate_limit;
mod record;
mod state;
mod storage;
mod sync;
pub mod syscall;
pub mod sysctl;
mod tsync;
pub mod uapi;

pub use action::Action;
pub use arch::{Arch, X32_SYSCALL_BIT};
pub use audit::{LogEntry, LogMask};
pub use cache::{NR_SYSCALLS, SeccompCache};
pub use denials::{Denials, Denied};
pub use enter::{Entry, Notified, Traced, enter};
pub use evaluate::{Decision, Pass, Sigsys, Verdict, combine, evaluate, strictest};
pub use extension::{ExtensionError, ExtensionRights, MAX_EXTENSION_MAPS};
pub use filter::Filter;
pub use install::{InstallError, Installed, attach, attach_extension, install};
pub use kernel::{
    Fault, GroupLock, Interrupted, Kernel, Listener, ListenerError, NewListener, Thread, ThreadGroup,
};
pub use program::Program;
pub use rate_limit::RateLimit;
pub use record::{AUDIT_SECCOMP, AUDIT_UNSET, Record, Untrusted};
pub use seccomp_runtime as runtime;
pub use state::{Exit, Mode, ThreadState};
pub use storage::TaskIds;
