//! C programs as eBPF objects, by clang.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What clang makes of a C program with these options, besides `-target bpf -g -c`. Warnings are errors, and the
/// header of `examples/extensions` is found.
///
/// # Errors
///
/// clang refuses it; what it says.
///
/// # Panics
///
/// There is no clang.
pub fn compile(source: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    run(source, &[&["-g", "-Wall", "-Wextra", "-Werror"], options, &["-x", "c"]].concat())
}

/// What clang makes of an assembler program of eBPF.
///
/// # Errors
///
/// clang refuses it; what it says.
///
/// # Panics
///
/// There is no clang.
pub fn assemble(source: &str) -> Result<Vec<u8>, String> {
    run(source, &["-x", "assembler"])
}

fn run(source: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/extensions");
    let mut child = Command::new("clang")
        .args(["-target", "bpf"])
        .args(options)
        .arg("-I")
        .arg(header)
        .args(["-c", "-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("clang is installed");
    child.stdin.take().expect("it is a pipe").write_all(source.as_bytes()).expect("clang reads");
    let output = child.wait_with_output().expect("clang ends");
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into())
    }
}
