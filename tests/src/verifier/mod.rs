//! eBPF programs and what is to be made of them.
//!
//! - [`asm`]: programs as text, in the syntax of the listings.
//! - [`environment`]: the maps and helpers of the cases.
//! - [`row`]: programs with the verifier's answer.

pub mod asm;
pub mod environment;
pub mod row;
