//! The tools that build: cargo for the kernel, by rustup's target or Debian's toolchain, and clang for programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::{Machine, kernel_dir, profile};

/// Where what is built goes.
pub(crate) fn target_dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target");
    env::var_os("CARGO_TARGET_DIR").map_or(root, PathBuf::from).join("toy-kernel")
}

/// The kernel's file.
pub(crate) fn kernel(machine: Machine) -> Result<PathBuf> {
    let target = machine.target();
    let mut cargo = if has_target(target) {
        Command::new("cargo")
    } else {
        // As `.ci/bare-metal`: core and alloc from source.
        let mut cargo = Command::new("/usr/bin/cargo");
        cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core,alloc");
        cargo
    };
    // What the cargo that runs this has set is for the host.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_") || matches!(&*name, "RUSTFLAGS" | "RUSTUP_TOOLCHAIN") {
            cargo.env_remove(name);
        }
    }
    cargo.args(["build", "--release", "--locked", "--target", target]);
    cargo.arg("--target-dir").arg(target_dir()).current_dir(kernel_dir());
    run(&mut cargo)?;
    let kernel = target_dir().join(target).join("release/toy-kernel");
    Ok(kernel)
}

/// The programs' files.
pub(crate) fn programs(machine: Machine) -> Result<Vec<PathBuf>> {
    let folder = target_dir().join("programs").join(machine.name());
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    replace(&folder.join("docker_like.h"), |new| profile::write(new, machine))?;
    let mut programs = Vec::new();
    for entry in fs::read_dir(kernel_dir().join("user"))? {
        let source = entry?.path();
        if source.extension().is_none_or(|extension| extension != "c") {
            continue;
        }
        let program = folder.join(source.file_stem().context("a source has a name")?);
        let mut clang = Command::new("clang");
        clang.arg(format!("--target={}-linux-gnu", machine.name()));
        clang.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]);
        clang.arg("-I").arg(&folder).args(["-Wno-unused-function", "-Wno-unused-parameter"]);
        clang.args([
            "-ffreestanding",
            "-fno-stack-protector",
            "-fno-pic",
            "-nostdlib",
            "-static",
            "-fuse-ld=lld",
        ]);
        if machine == Machine::Riscv64 {
            clang.args(["-march=rv64gc", "-mabi=lp64d", "-mno-relax"]);
        }
        replace(&program, |new| run(clang.arg("-o").arg(new).arg(&source)))?;
        programs.push(program);
    }
    programs.sort();
    Ok(programs)
}

/// Makes a file with `make` and then puts it at `path`, where the old one may be in use.
fn replace(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let new = path.with_extension(format!("{}-{}", process::id(), TURN.fetch_add(1, Ordering::Relaxed)));
    make(&new)?;
    fs::rename(&new, path).with_context(|| format!("{} cannot be replaced", path.display()))
}

/// Whether rustup has the target, or can get it.
fn has_target(target: &str) -> bool {
    let rustup = |args: &[&str]| Command::new("rustup").args(args).output();
    match rustup(&["target", "list", "--installed"]) {
        Ok(output) if String::from_utf8_lossy(&output.stdout).lines().any(|line| line == target) => true,
        // `.ci/bare-metal` has tried to get it.
        _ => false,
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{:?} cannot be run", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
