//! Seccomp filters, loaded and run.
//!
//! ```text
//! Checked --Filter::load--> Loaded --run(SeccompData)--> the filter's 32-bit return value
//! ```
//!
//! A [`Loaded`] filter runs on one of three engines behind one [`Loaded::run`], chosen by a value when it is
//! loaded ([`EngineKind`]):
//!
//! | engine | what it is | needs |
//! |---|---|---|
//! | jit | rbpf's JIT as a code generator; the code runs from sealed pages of the embedder | x86_64, an [`ExecMemory`] |
//! | interpreter | rbpf's interpreter | 512 bytes on every run; without them the native engine answers |
//! | native | this crate's own classic interpreter | nothing |
//!
//! All of them give the same answer for every input; that is what their tests are for. A filter always
//! answers: an engine that fails at run time answers `SECCOMP_RET_KILL_PROCESS`, and one that cannot be
//! had when a filter is loaded gives way to the native one ([`Loaded::fell_back`]).
//!
//! ```
//! use cbpf_translator::{SockFilter, check};
//! use seccomp_runtime::{EngineKind, Loaded, NoExecMemory, SeccompData};
//!
//! let checked = check(vec![
//!     SockFilter::new(0x20, 0, 0, 0),
//!     SockFilter::new(0x15, 0, 1, 39),
//!     SockFilter::new(0x06, 0, 0, 0x0005_0001),
//!     SockFilter::new(0x06, 0, 0, 0x7fff_0000),
//! ])?;
//! let filter = Loaded::load(checked, EngineKind::Interpreter, &NoExecMemory)?;
//! let getpid = SeccompData { nr: 39, arch: 0xc000_003e, ..Default::default() };
//! assert_eq!(filter.run(&getpid), 0x0005_0001);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! [`Loaded::planned`] specialises a filter by system call number: what no argument can change costs one load,
//! however long the filter is, and the rest runs what is left for its number.
//!
//! [`verifier`] proves eBPF programs safe that are not translations. Such a program runs as an [`Extension`], on the
//! same engines (the native one is then an eBPF interpreter), with [`Map`]s and helpers ([`HELPERS`]); what
//! those need of the kernel is a [`HelperHost`].
//!
//! What it does not do: decide what a return value means to a thread, or which filters a thread has; that is
//! `seccomp-kernel`.

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

mod budget;
mod by_number;
mod data;
mod engine;
mod error;
mod extension;
mod helper;
mod map;
mod nospec;
mod plan;
mod program;
pub mod verifier;

pub use budget::Budget;
pub use by_number::{ByNumber, NUMBERS};
pub use cbpf_translator as translator;
pub use data::SeccompData;
pub use engine::EngineKind;
pub use engine::ebpf::{Call, CallError};
pub use engine::exec_mem::{ExecMemory, ExecMemoryError, ExecPages, NoExecMemory};
pub use engine::lower::{LowerError, Lowered};
#[cfg(all(feature = "rbpf-vm", target_arch = "x86_64"))]
pub use engine::rbpf_vm::{ExecInPlace, RbpfVm};
pub use error::{EngineError, LoadError, RunError};
pub use extension::Extension;
pub use helper::{Capability, HELPERS, HelperFn, HelperHost, HelperRow, UserFault};
pub use map::{
    AccessError, AtFork, CreateError, MAX_BYTES, MAX_ENTRIES, MAX_KEY_SIZE, MAX_VALUE_SIZE, MIN_RING, Map,
    MapOptions, Preemption, TaskScope, Update, UserSpace,
};
pub use plan::Planned;
pub use program::Loaded;
