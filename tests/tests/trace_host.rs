//! Calls that are left to a tracer, against this machine's kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use seccomp_tests::{host, trace};

#[test]
fn a_tracer_is_asked_as_linux_asks_it() {
    if host::enabled() {
        let (cases, skipped) = trace::check(include_str!("../cases/trace.rows"));
        println!("{cases} cases, {skipped} of them not on this kernel");
    }
}
