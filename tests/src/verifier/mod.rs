//! eBPF programs and what is to be made of them.
//!
//! - [`asm`]: programs as text, in the syntax of the listings.
//! - [`environment`]: the maps and helpers of the cases.
//! - [`generate`]: programs out of a seed, as compilers write them, with mistakes.
//! - [`host`]: the kernel's own verifier.
//! - [`interpreter`]: runs them with every check, and against what the verifier claimed.
//! - [`row`]: programs with the verifier's answer.

pub mod asm;
pub mod environment;
pub mod generate;
#[cfg(target_os = "linux")]
pub mod host;
pub mod interpreter;
pub mod row;
