//! Classic BPF seccomp programs, checked and translated to eBPF exactly as Linux does it.
//!
//! ```text
//! [SockFilter] --check--> Checked --translate--> Translated (eBPF, byte for byte Linux's)
//!      ^  |                  ^                        |
//!      |  +--disassemble     +---------lift-----------+
//!  assemble
//! ```
//!
//! - A *classic* program is an array of [`SockFilter`], what `seccomp(2)` takes. It has an accumulator A,
//!   an index register X, sixteen 32-bit scratch slots M\[\], and jumps only forward.
//! - [`Checked`] is a classic program that Linux would accept as a seccomp filter. Holding one proves that
//!   it ends, reads only the 64 bytes of `seccomp_data`, and reads no scratch slot that it did not write.
//! - [`Translated`] is the eBPF that Linux's conversion makes of it. It is safe because the classic program
//!   was checked; it is not meant to pass an eBPF verifier (its prologue reads registers nobody wrote, and
//!   unused fields keep what the classic program had there).
//!
//! ```
//! use cbpf_translator::{SockFilter, check, translate};
//!
//! // if (nr == 39) return ERRNO(1); return ALLOW;
//! let program = vec![
//!     SockFilter::new(0x20, 0, 0, 0),
//!     SockFilter::new(0x15, 0, 1, 39),
//!     SockFilter::new(0x06, 0, 0, 0x0005_0001),
//!     SockFilter::new(0x06, 0, 0, 0x7fff_0000),
//! ];
//! let checked = check(program)?;
//! let translated = translate(&checked)?;
//! assert_eq!(translated.insns().len(), 9);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! What it does not do: socket filters (no packet loads, no ancillary data), optimisation (the output is
//! Linux's, dead code and all), running programs.

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

pub mod asm;
pub mod cbpf;
mod check;
pub mod disasm;
pub mod ebpf;
mod error;
pub mod fallible;
mod layout;
mod lift;
pub mod seccomp;
mod translate;

pub use cbpf::SockFilter;
pub use check::{Checked, check};
pub use ebpf::Insn;
pub use error::{CheckError, LiftError, LiftRefusal, OutOfMemory, Refusal};
pub use lift::lift;
pub use translate::{Translated, translate};
