//! Calls in strace's notation.

mod arguments;
mod call;
mod constants;
mod layout;
mod prefix;
mod read;
mod show;
mod split;
mod value;

#[cfg(test)]
mod tests;

pub use call::{Call, parse};
pub use prefix::Prefix;
pub use read::{Gap, NotRead, Reading, is_open, read};
pub use show::Shown;
