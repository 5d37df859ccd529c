//! libseccomp as a judge: a small program of C lets it compile rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

use cbpf_translator::SockFilter;
use seccomp_kernel::Arch;

use super::{OPERATORS, Rule};

/// The program.
pub struct Libseccomp {
    path: PathBuf,
}

/// How libseccomp writes a filter (`SCMP_FLTATR_CTL_OPTIMIZE`).
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Optimize {
    Linear = 1,
    Tree = 2,
}

/// What it made of rules.
pub struct Compiled {
    /// The filter.
    pub filter: Vec<SockFilter>,
    /// Rules that it refused, by their place in the list, with its errno; they are left out.
    pub refused: BTreeMap<usize, i32>,
}

impl Libseccomp {
    /// Builds the program.
    ///
    /// # Panics
    ///
    /// There is no compiler, or no libseccomp.
    pub fn new() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/seccomp_compile.c");
        // Tests of one process each have their own, and remove it.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("seccomp_compile.{}.{count}", process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&path).arg(&source).arg("-lseccomp");
        let output = cc.output().expect("there is a compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { path }
    }

    /// Compiles rules for these architectures.
    ///
    /// # Panics
    ///
    /// libseccomp refuses more than rules.
    pub fn compile(&self, default: u32, arches: &[Arch], rules: &[Rule], optimize: Optimize) -> Compiled {
        let mut text = format!("default {default:#x}\n");
        for arch in arches {
            let _ = writeln!(text, "arch {:#x}", token(*arch).expect("libseccomp has it"));
        }
        let _ = writeln!(text, "optimize {}", optimize as u32);
        for (id, Rule { name, action, args, .. }) in rules.iter().enumerate() {
            let _ = write!(text, "rule {id} {action:#x} {name}");
            for (arg, op, value, second) in args {
                let op = OPERATORS.iter().zip(1..).find(|(other, _)| *other == op).expect("an operator").1;
                let _ = write!(text, " {arg} {op} {value:#x} {second:#x}");
            }
            text.push('\n');
        }
        let (filter, told) = self.run(text);
        let (insns, rest) = filter.as_chunks();
        assert!(rest.is_empty());
        let refused = told.lines().map(|line| {
            let (id, errno) = line.strip_prefix("rule ").and_then(|line| line.split_once(' ')).expect(line);
            (id.parse().expect(line), errno.parse().expect(line))
        });
        let refused = refused.collect();
        Compiled { filter: insns.iter().copied().map(SockFilter::from_ne_bytes).collect(), refused }
    }

    /// The numbers of names: negative where an architecture has none, none where libseccomp knows no such name.
    ///
    /// # Panics
    ///
    /// Something goes wrong.
    pub fn numbers(&self, arch: Arch, names: &[&str]) -> Vec<Option<i32>> {
        /// `__NR_SCMP_ERROR`.
        const UNKNOWN: i32 = -1;
        let mut text = String::from("default 0\n");
        for name in names {
            let _ = writeln!(text, "number {:#x} {name}", token(arch).expect("libseccomp has it"));
        }
        let (_, told) = self.run(text);
        let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok());
        let numbers: Vec<i32> = told.lines().filter_map(number).collect();
        assert_eq!(numbers.len(), names.len());
        numbers.into_iter().map(|number| Some(number).filter(|number| *number != UNKNOWN)).collect()
    }

    /// The names of numbers, none where libseccomp knows none.
    ///
    /// # Panics
    ///
    /// Something goes wrong.
    pub fn names(&self, arch: Arch, numbers: &[i32]) -> Vec<Option<String>> {
        let mut text = String::from("default 0\n");
        for nr in numbers {
            let _ = writeln!(text, "name {:#x} {nr}", token(arch).expect("libseccomp has it"));
        }
        let (_, told) = self.run(text);
        let name = |line: &str| line.rsplit(' ').next().filter(|name| *name != "-").map(String::from);
        let names: Vec<_> = told.lines().map(name).collect();
        assert_eq!(names.len(), numbers.len());
        names
    }

    fn run(&self, text: String) -> (Vec<u8>, String) {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        // It may fill its own pipes before it has read all.
        let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("no panic").expect("it reads everything");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success(), "{told}");
        (output.stdout, told)
    }
}

impl Default for Libseccomp {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Libseccomp {
    fn drop(&mut self) {
        // It is in the folder for what may go.
        let _ = fs::remove_file(&self.path);
    }
}

/// What libseccomp names an architecture by; none for what Debian 12's does not know.
pub fn token(arch: Arch) -> Option<u32> {
    match arch {
        // Not its `AUDIT_ARCH`, which it shares.
        Arch::X32 => Some(0x4000_003e),
        Arch::Loongarch64 => None,
        arch => Some(arch.audit_arch()),
    }
}

/// Calls that Debian 12's libseccomp does not have where Linux has them, and since when Linux does.
pub const LACKS: [(Arch, &str, &str); 1] = [(Arch::X32, "map_shadow_stack", "6.10")];

/// Its name in profiles.
pub(super) fn name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "SCMP_ARCH_X86_64",
        Arch::I386 => "SCMP_ARCH_X86",
        Arch::X32 => "SCMP_ARCH_X32",
        Arch::Aarch64 => "SCMP_ARCH_AARCH64",
        Arch::Arm => "SCMP_ARCH_ARM",
        Arch::Riscv64 => "SCMP_ARCH_RISCV64",
        Arch::Loongarch64 => "SCMP_ARCH_LOONGARCH64",
    }
}
