//! Whether standard output was closed when the command started.
//!
//! Before `main`, std puts `/dev/null` in the place of a closed stream, so that no file gets its number. What is printed
//! would be lost, and nobody told. So this looks before std does.

#![allow(unsafe_code, reason = "a function that runs before main; each piece has its proof")]

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT: AtomicBool = AtomicBool::new(false);

/// Whether it was.
pub fn stdout() -> bool {
    STDOUT.load(Ordering::Relaxed)
}

// SAFETY: the section is a list of such functions, which the C runtime calls one after the other before `main`. This one
// needs nothing that comes later: it makes one system call and stores a flag.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: F_GETFD reads and writes no memory, and takes any number for a descriptor.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    STDOUT.store(flags == -1, Ordering::Relaxed);
}
