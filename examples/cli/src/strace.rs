//! Calls in strace's notation.

mod arguments;
mod call;
mod constants;
mod show;

pub use call::{Call, parse};
pub use show::Shown;
