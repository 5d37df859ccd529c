//! The library against this machine's kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use seccomp_tests::conformance::{check, check_part, check_uprobes};
use seccomp_tests::{generate, host};

/// A test for each file of cases.
macro_rules! cases {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            if host::enabled() {
                println!("{} cases", check(include_str!(concat!("../cases/", stringify!($name), ".rows"))));
            }
        }
    )*};
}

/// Tests that share the cases of a long file, so that they run at the same time.
macro_rules! parts {
    ($($file:ident: $parts:literal { $($name:ident $part:literal)* })*) => {$($(
        #[test]
        fn $name() {
            const ROWS: &str = include_str!(concat!("../cases/", stringify!($file), ".rows"));
            if host::enabled() {
                println!("{} cases", check_part(ROWS, $part, $parts));
            }
        }
    )*)*};
}

cases!(modes actions precedence inherit path lifetimes);
parts! {
    install: 2 { install_1 0  install_2 1 }
    tsync: 4 { tsync_1 0  tsync_2 1  tsync_3 2  tsync_4 3 }
    matrix: 4 { matrix_1 0  matrix_2 1  matrix_3 2  matrix_4 3 }
}

/// The rest of `matrix`, where somebody has the time.
#[test]
fn matrix_threads() {
    if host::enabled() && generate::campaign(0, "SECCOMP_FULL_MATRIX") > 0 {
        println!("{} cases", check(include_str!("../cases/matrix_threads.rows")));
    }
}

#[test]
fn uprobes() {
    if host::enabled() {
        println!("{} cases", check_uprobes(include_str!("../cases/uprobes.rows")));
    }
}
