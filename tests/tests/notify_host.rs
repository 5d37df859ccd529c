//! User notification against this machine's kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use seccomp_tests::{host, notify};

#[test]
fn a_listener_is_as_linux_has_it() {
    if host::enabled() {
        println!("{} cases", notify::check(include_str!("../cases/notify.rows")));
    }
}
