//! What the tests of the workspace share.
//!
//! - [`vectors`]: the recorded answers of Linux.
//! - [`conformance`]: cases that run on the host and on the library, and must end alike.
//! - [`generate`]: programs and inputs out of a seed.
//! - [`host`]: the kernel that the tests run on, as a judge.
//! - [`mock`]: a kernel that embeds the library.

#![deny(unsafe_code)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod conformance;
pub mod generate;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod host;
pub mod mock;
pub mod vectors;
