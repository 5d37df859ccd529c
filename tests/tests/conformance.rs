//! The library against this machine's kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use seccomp_tests::{conformance, host};

macro_rules! cases {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            if host::enabled() {
                let cases = conformance::check(include_str!(concat!("../cases/", stringify!($name), ".rows")));
                println!("{cases} cases");
            }
        }
    )*};
}

cases!(install modes actions precedence tsync inherit path);
