//! Each machine boots to its end, and every program says there what it says on the host's Linux. What filters cost is
//! counted in instructions, and a random walk through all of it leaves no memory behind.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use toy_kernel_boot::{LIMIT, Machine, PROGRAMS};

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

/// The same program on the host.
fn on_host(program: &Path) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let mut host = Command::new(program);
    // Where core dumps of what it kills may go.
    host.stdin(Stdio::null()).current_dir(program.parent().expect("a folder"));
    let output = host.output().expect("the program runs on the host");
    let lines = String::from_utf8(output.stdout).expect("text").lines().map(String::from).collect();
    Ran { lines, status: output.status.into_raw() }
}

fn says_what_linux_says(machine: Machine) {
    let console = Console::of(machine, &PROGRAMS, LIMIT);
    let without_host = env::var_os("SECCOMP_TESTS_NO_HOST").is_some_and(|value| value == "1");
    let programs = Machine::X86_64.programs().expect("programs for the host");
    assert_eq!(console.ran.len(), PROGRAMS.len());
    for (name, ran) in &console.ran {
        let program = programs.iter().find(|program| program.ends_with(name)).expect("the program");
        assert!(!ran.lines.is_empty(), "{name} says nothing");
        if !without_host {
            assert_eq!(*ran, on_host(program), "{name} on {} and on the host", machine.name());
        }
        assert!(console.says(&format!("end {name}: status {:#x}, 0 bytes kept", ran.status)), "{name} leaks");
    }
    assert!(console.says(" 0 writable and executable"));
    assert!(console.says("a write to sealed code faults"));
    let engine = if machine == Machine::X86_64 { "jit" } else { "interpreter" };
    assert!(console.says(&format!("filters run on {engine}, and on interpreter without memory for code")));
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
fn x86_64_soak() {
    leaves_nothing_behind(Machine::X86_64);
}

#[test]
fn riscv64_cost() {
    costs_no_more_for_more_filters(Machine::Riscv64);
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
fn aarch64_soak() {
    leaves_nothing_behind(Machine::Aarch64);
}
