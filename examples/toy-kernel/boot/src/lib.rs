//! Builds the toy kernel and its programs for a machine, and boots them under QEMU.

mod archive;
mod compile;
mod profile;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use seccomp_kernel::Arch;

/// The programs that say the same on Linux.
pub const PROGRAMS: [&str; 7] = ["filter", "trap", "kill", "strict", "tsync", "fork", "notify"];

/// The program with filters that Linux has not. It says the same under `seccomp-rbpf run --allow-extensions`.
pub const EXTENSION: &str = "extension";

/// How long a machine may take from its first line to its last.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The machines that the kernel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// QEMU's `pc`.
    X86_64,
    /// QEMU's `virt` of RISC-V.
    Riscv64,
    /// QEMU's `virt` of ARM.
    Aarch64,
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Riscv64, Self::Aarch64];

    /// Its name, as Rust and clang know the architecture.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Riscv64 => "riscv64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The machine of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|machine| machine.name() == name)
    }

    const fn entry(self) -> Arch {
        match self {
            Self::X86_64 => Arch::X86_64,
            Self::Riscv64 => Arch::Riscv64,
            Self::Aarch64 => Arch::Aarch64,
        }
    }

    const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
            Self::Riscv64 => "riscv64gc-unknown-none-elf",
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
        }
    }

    /// What QEMU emulates: one processor that has what there is.
    const fn emulator(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::X86_64 => ("qemu-system-x86_64", &["-machine", "pc", "-cpu", "max"]),
            Self::Riscv64 => ("qemu-system-riscv64", &["-machine", "virt", "-cpu", "rv64"]),
            Self::Aarch64 => ("qemu-system-aarch64", &["-machine", "virt", "-cpu", "max"]),
        }
    }

    /// Builds the kernel and the programs.
    ///
    /// # Errors
    ///
    /// A tool is missing, or something does not compile.
    pub fn build(self) -> Result<Built> {
        let programs = self.programs()?;
        let kernel = compile::kernel(self)?;
        let initrd = compile::target_dir().join(format!("{}.cpio", self.name()));
        archive::write(&initrd, &programs)?;
        Ok(Built { machine: self, kernel, initrd })
    }

    /// Compiles the programs: their paths.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn programs(self) -> Result<Vec<PathBuf>> {
        compile::programs(self)
    }
}

/// A kernel, and an archive of programs for it.
#[derive(Debug)]
pub struct Built {
    machine: Machine,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Built {
    /// Runs these programs, each `NAME` or `NAME,ARGUMENT...`, one after another, and calls `line` with each line of
    /// the serial console. It may take `limit`.
    ///
    /// The machine counts an instruction as a nanosecond and waits for nothing, so every run is the same.
    ///
    /// # Errors
    ///
    /// The machine did not get to its end in time.
    pub fn boot(&self, programs: &[&str], limit: Duration, mut line: impl FnMut(&str)) -> Result<()> {
        let (emulator, machine) = self.machine.emulator();
        let mut child = Command::new(emulator)
            .args(machine)
            .args(["-m", "128", "-smp", "1", "-icount", "shift=0,sleep=off"])
            .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd)
            .args(["-append", &programs.join(" ")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{emulator} cannot be run"))?;
        let console = child.stdout.take().context("the console is a pipe")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for bytes in BufReader::new(console).split(b'\n') {
                let Ok(bytes) = bytes else { break };
                let text = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_string();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        let ended = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => {
                    line(&text);
                    last = text;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break true,
                Err(mpsc::RecvTimeoutError::Timeout) => break false,
            }
        };
        // It may have ended by itself.
        let _ = child.kill();
        child.wait()?;
        drop(lines);
        let _ = reader.join();
        match ended {
            true if last == "kernel: done" => Ok(()),
            true => bail!("{} ended with: {last}", self.machine.name()),
            false => bail!("{} did not end in {limit:?}; its last line: {last}", self.machine.name()),
        }
    }
}

/// The folder of the kernel.
fn kernel_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
