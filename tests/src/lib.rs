//! What the tests of the workspace share.
//!
//! - [`vectors`]: the recorded answers of Linux.
//! - [`generate`]: programs and inputs out of a seed.
//! - [`host`]: the kernel that the tests run on, as a judge.

#![deny(unsafe_code)]

pub mod generate;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod host;
pub mod vectors;
