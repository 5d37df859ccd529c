//! Names the linker script of the architecture that the kernel is built for.

use std::env;

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let script = format!("{root}/src/arch/{arch}/kernel.ld");
    println!("cargo:rustc-link-arg=-T{script}");
    if arch == "aarch64" {
        // What QEMU boots as Linux is a flat image.
        println!("cargo:rustc-link-arg=--oformat=binary");
    }
    println!("cargo:rerun-if-changed={script}");
}
