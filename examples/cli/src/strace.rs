//! Calls in strace's notation.

mod call;
mod constants;

pub use call::{Call, parse};
