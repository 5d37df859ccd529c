//! Profiles: what container engines say in JSON about system calls, and the filters that come of it.
//!
//! ```text
//! JSON --parse--> Profile --resolve, for a Machine--> Meaning --compile--> SockFilter
//! ```
//!
//! A [`Profile`] is the format: OCI's and what Docker, Podman and containerd add to it. A [`Meaning`] is what
//! is left of it for one machine: for each architecture and system call the alternatives in the order in which
//! they count. It can be asked ([`Meaning::decide`]), and compiled ([`Meaning::compile`]) to a filter that
//! searches for the number.
//!
//! The meaning is that of libseccomp, as runtimes call it; `docs/profiles.md` has it in full.

mod action;
mod arguments;
mod comparison;
mod compile;
pub mod edit;
mod emit;
mod facts;
mod format;
mod graph;
mod machine;
mod meaning;
mod multiplexed;
mod names;
mod order;

pub use action::errno;
pub use comparison::{Comparison, Operator};
pub use compile::TooLong;
pub use format::Profile;
pub use machine::{Kernel, Machine};
pub use meaning::{Alternative, Meaning};
pub use multiplexed::multiplexed;
