//! What the tests of the workspace share.
//!
//! - [`vectors`]: the recorded answers of Linux.
//! - [`audit`]: what is written about a call, by the host and by the library.
//! - [`conformance`]: cases that run on the host and on the library, and must end alike.
//! - [`generate`]: programs and inputs out of a seed.
//! - [`host`]: the kernel that the tests run on, as a judge.
//! - [`introspect`]: what a debugger is told of a thread's filters, by both.
//! - [`mock`]: a kernel that embeds the library.
//! - [`notify`]: cases of user notification, on the host and on the library's state.
//! - [`verifier`]: eBPF programs, as rows and out of a seed, and what runs them with every check.

#![deny(unsafe_code)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod audit;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod conformance;
pub mod generate;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod introspect;
pub mod mock;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod notify;
pub mod vectors;
pub mod verifier;
