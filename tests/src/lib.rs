//! What the tests of the workspace share.
//!
//! - [`vectors`]: the recorded answers of Linux.
//! - [`audit`]: what is written about a call, by the host and by the library.
//! - [`clang`]: C programs as eBPF objects.
//! - [`conformance`]: cases that run on the host and on the library, and must end alike.
//! - [`extension`]: a kernel for the helpers of eBPF filters.
//! - [`generate`]: programs and inputs out of a seed.
//! - [`host`]: the kernel that the tests run on, as a judge.
//! - [`introspect`]: what a debugger is told of a thread's filters, by both.
//! - [`mock`]: a kernel that embeds the library.
//! - [`model`]: random walks on the library and on a plain model of Linux.
//! - [`notify`]: cases of user notification, on the host and on the library's state.
//! - [`profiles`]: profiles of container engines out of a seed, and libseccomp to compile them.
//! - [`trace`]: calls that are left to a tracer or a supervisor, on the host and by the library.
//! - [`verifier`]: eBPF programs, as rows and out of a seed, and what runs them with every check.

#![deny(unsafe_code)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod audit;
pub mod clang;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod conformance;
pub mod extension;
pub mod generate;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod introspect;
pub mod mock;
pub mod model;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod notify;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod profiles;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod trace;
pub mod vectors;
pub mod verifier;
