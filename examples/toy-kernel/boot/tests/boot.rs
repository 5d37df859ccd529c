//! Each machine boots to its end, and every program says there what it says on the host's Linux, or, if it wants filters
//! that Linux has not, under the command `run`. What filters cost is counted in instructions, and a random walk through all of it leaves no memory behind.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use toy_kernel_boot::{EXTENSION, LIMIT, Machine, PROGRAMS};

/// What one program wrote, and its status, as wait4(2) has it.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    lines: Vec<String>,
    status: i32,
}

/// What a machine said of itself and of each program.
struct Console {
    kernel: Vec<String>,
    ran: Vec<(String, Ran)>,
}

impl Console {
    fn of(machine: Machine, programs: &[&str], limit: Duration) -> Self {
        let mut console = Self { kernel: Vec::new(), ran: Vec::new() };
        let mut lines = Vec::new();
        let built = machine.build().expect("a kernel and its programs");
        let booted = built.boot(programs, limit, |line| match line.strip_prefix("kernel: ") {
            None => lines.push(line.to_string()),
            Some(said) => {
                if let Some(end) = said.strip_prefix("end ") {
                    let (name, status) = end.split_once(": status 0x").expect("a status");
                    let status = status.split_once(',').expect("what is kept").0;
                    let status = i32::from_str_radix(status, 16).expect("a number");
                    let lines = std::mem::take(&mut lines);
                    console.ran.push((name.to_string(), Ran { lines, status }));
                } else if said.starts_with("begin ") {
                    // The firmware has said something before the first.
                    lines.clear();
                }
                console.kernel.push(said.to_string());
            }
        });
        if let Err(error) = booted {
            panic!("{error:#}\n{}\n{}", console.kernel.join("\n"), lines.join("\n"));
        }
        console
    }

    fn says(&self, what: &str) -> bool {
        self.kernel.iter().any(|line| line.contains(what))
    }
}

impl From<&Output> for Ran {
    fn from(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self { lines: lines(&output.stdout), status: output.status.into_raw() }
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    str::from_utf8(text).expect("text").lines().map(String::from).collect()
}

/// The same program on the host.
fn on_host(program: &Path) -> Ran {
    let mut host = Command::new(program);
    // Where core dumps of what it kills may go.
    host.stdin(Stdio::null()).current_dir(program.parent().expect("a folder"));
    Ran::from(&host.output().expect("the program runs on the host"))
}

/// The same program on the host, where it may install extensions: what it said, and what they traced.
fn under_run(program: &Path) -> (Ran, Vec<String>) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--locked", "--package", "seccomp-rbpf"]);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../../Cargo.toml")]);
    cargo.args(["--", "run", "--allow-extensions", "--"]).arg(program).stdin(Stdio::null());
    let output = cargo.output().expect("the command runs");
    (Ran::from(&output), lines(&output.stderr))
}

fn without_host() -> bool {
    env::var_os("SECCOMP_TESTS_NO_HOST").is_some_and(|value| value == "1")
}

/// The program as the host runs it.
fn program_of_host(name: &str) -> PathBuf {
    let programs = Machine::X86_64.programs().expect("programs for the host");
    programs.into_iter().find(|program| program.ends_with(name)).expect("the program")
}

fn says_what_linux_says(machine: Machine) {
    let console = Console::of(machine, &PROGRAMS, LIMIT);
    let programs = Machine::X86_64.programs().expect("programs for the host");
    assert_eq!(console.ran.len(), PROGRAMS.len());
    for (name, ran) in &console.ran {
        let program = programs.iter().find(|program| program.ends_with(name)).expect("the program");
        assert!(!ran.lines.is_empty(), "{name} says nothing");
        if !without_host() {
            assert_eq!(*ran, on_host(program), "{name} on {} and on the host", machine.name());
        }
        assert!(console.says(&format!("end {name}: status {:#x}, 0 bytes kept", ran.status)), "{name} leaks");
    }
    assert!(console.says(" 0 writable and executable"));
    assert!(console.says("a write to sealed code faults"));
    let (first, second) =
        if machine == Machine::X86_64 { ("jit", "native") } else { ("interpreter", "interpreter") };
    assert!(console.says(&format!("filters run on {first}, and on {second} without memory for code")));
}

fn grants_extensions(machine: Machine) {
    let full = format!("{EXTENSION},full");
    let console = Console::of(machine, &[EXTENSION, &full], LIMIT);
    for name in [EXTENSION, &full] {
        assert!(console.says(&format!("end {name}: status 0x0, 0 bytes kept")), "{:#?}", console.kernel);
    }
    let [(_, ran), (_, of_full)] = &console.ran[..] else { panic!("{:?}", console.ran) };
    // Linux, and so `run`, cannot let a fork fail for this.
    let expected = ["installed: 0", "copied thread: 0", "count: 1", "fork: -11", "wait: -10", "count: 2"];
    assert_eq!(of_full.lines, expected, "{}", machine.name());
    assert!(ran.lines.len() > 50, "{:#?}", ran.lines);
    if without_host() {
        return;
    }
    let program = program_of_host(EXTENSION);
    let (reference, traced) = under_run(&program);
    assert_eq!(*ran, reference, "on {} and under `run`, which said {traced:#?}", machine.name());
    let traces: Vec<_> = console.kernel.iter().filter(|line| line.starts_with("trace: ")).collect();
    assert_eq!(traces, traced.iter().collect::<Vec<_>>(), "{}", machine.name());
    let refused = Ran { lines: vec!["installed: -22".to_string()], status: 1 << 8 };
    assert_eq!(on_host(&program), refused, "Linux has no such filters");
}

/// How many times as much a call costs than without filters, for each line that says so.
fn ratios(lines: &[String]) -> Vec<(&str, f64)> {
    let ratio = |line: &'_ String| {
        let (_, ratio) = line.strip_suffix(" times as much as without")?.split_once(", ")?;
        ratio.parse().ok()
    };
    lines.iter().filter_map(|line| Some((line.trim().split_once(':')?.0, ratio(line)?))).collect()
}

fn costs_no_more_for_more_filters(machine: Machine) {
    let console = Console::of(machine, &["bench"], LIMIT);
    let (_, Ran { lines, .. }) = console.ran.first().expect("the program has ended");
    let ratios = ratios(lines);
    let [_, _, profile, profile_argument, stack, stack_argument] = ratios[..] else { panic!("{lines:?}") };
    for (what, ratio) in [profile, stack] {
        assert!(what == "by the number" && ratio < 1.25, "{}: {lines:#?}", machine.name());
    }
    // What an argument decides is found out by running filters.
    assert!(profile_argument.1 > profile.1 && stack_argument.1 > stack.1, "{}: {lines:#?}", machine.name());
}

/// A variable that is a number.
fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn leaves_nothing_behind(machine: Machine) {
    let rounds = variable("SECCOMP_TOY_ROUNDS").unwrap_or(100);
    let seed = variable("SECCOMP_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 1);
    let soak = format!("soak,{rounds},{seed}");
    let console = Console::of(machine, &[&soak], LIMIT * (1 + rounds as u32 / 200));
    assert!(console.says(&format!("end {soak}: status 0x0, 0 bytes kept")), "{:#?}", console.kernel.last());
}

#[test]
fn x86_64() {
    says_what_linux_says(Machine::X86_64);
}

#[test]
fn riscv64() {
    says_what_linux_says(Machine::Riscv64);
}

#[test]
fn aarch64() {
    says_what_linux_says(Machine::Aarch64);
}

#[test]
fn x86_64_cost() {
    costs_no_more_for_more_filters(Machine::X86_64);
}

#[test]
fn x86_64_extensions() {
    grants_extensions(Machine::X86_64);
}

#[test]
fn x86_64_soak() {
    leaves_nothing_behind(Machine::X86_64);
}

#[test]
fn riscv64_cost() {
    costs_no_more_for_more_filters(Machine::Riscv64);
}

#[test]
fn riscv64_extensions() {
    grants_extensions(Machine::Riscv64);
}

#[test]
fn riscv64_soak() {
    leaves_nothing_behind(Machine::Riscv64);
}

#[test]
fn aarch64_cost() {
    costs_no_more_for_more_filters(Machine::Aarch64);
}

#[test]
fn aarch64_extensions() {
    grants_extensions(Machine::Aarch64);
}

#[test]
fn aarch64_soak() {
    leaves_nothing_behind(Machine::Aarch64);
}
