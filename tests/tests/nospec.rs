//! Look-ups by a system call number, as they are compiled: behind the comparison with the table's end the number is masked,
//! so that no load goes beyond the table where the comparison is guessed wrong. Read off this very program.

#![cfg(target_arch = "x86_64")]

use std::process::Command;

use seccomp_kernel::{Arch, Denials, LogMask, Pass, ThreadState, evaluate};
use seccomp_runtime::{NUMBERS, SeccompData};

/// The functions of the libraries that look something up by number, with their instructions.
fn functions() -> Vec<(String, Vec<String>)> {
    let this = std::env::current_exe().expect("a program has a file");
    let output = Command::new("objdump")
        .args(["--disassemble", "--demangle", "--no-show-raw-insn", "--section=.text"])
        .arg(&this)
        .output()
        .expect("binutils are there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut functions: Vec<(String, Vec<String>)> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once('<')) {
            functions.push((name.1.to_string(), Vec::new()));
        } else if let (Some((_, insn)), Some((_, insns))) = (line.split_once(":\t"), functions.last_mut()) {
            insns.push(insn.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    functions.retain(|(name, _)| name.contains("seccomp_kernel::") || name.contains("seccomp_runtime::"));
    functions
}

/// Whether an instruction compares a number, which has 32 bits, with the end of a table by number or with the last one.
fn compares(insn: &str) -> bool {
    let ends = [NUMBERS, NUMBERS - 1].map(|end| format!(" $0x{end:x},"));
    let register = ends.iter().find_map(|end| insn.strip_prefix("cmp")?.split_once(end.as_str()));
    register.is_some_and(|(_, register)| register.starts_with("%e") || register.ends_with('d'))
}

/// Whether it accesses memory at a multiple of a row's 8 bytes.
fn loads_row(insn: &str) -> bool {
    insn.contains(",8)") && !insn.starts_with("lea")
}

fn masks(insn: &str) -> bool {
    insn.starts_with("and") && insn.contains(&format!(" $0x{:x},", NUMBERS - 1))
}

#[test]
fn no_number_is_looked_up_that_is_not_masked() {
    // The functions are in this program because they are called.
    let data = SeccompData { nr: std::hint::black_box(39), ..SeccompData::default() };
    let decision = evaluate(&ThreadState::new(), &data, Pass::Entry, LogMask::default(), None);
    let denials = Denials::new(&[Arch::X86_64]).expect("there is memory");
    denials.count(&decision, &data);

    let functions = functions();
    let mut comparing = 0;
    for (name, insns) in &functions {
        // Behind each comparison with the end, as far as straight code goes on or the jump leads, is a mask: there are as
        // many look-ups as masks, and none without.
        if !insns.iter().any(|insn| compares(insn)) {
            continue;
        }
        comparing += 1;
        assert!(insns.iter().any(|insn| masks(insn)), "{name} compares with the end and masks nothing");
        // A row has 8 bytes: what finds one by a register was masked last.
        for (at, insn) in insns.iter().enumerate().filter(|(_, insn)| loads_row(insn)) {
            let Some(index) = insn.split(",8)").next().and_then(|before| before.rsplit("%r").next()) else {
                continue;
            };
            let names = names(index);
            let writes = |insn: &&String| names.iter().any(|name| insn.ends_with(&format!(",%{name}")));
            let last = insns[..at].iter().rev().find(writes);
            assert!(last.is_some_and(|insn| masks(insn)), "{name}: {insn} behind {last:?}");
        }
    }
    println!("{comparing} of {} functions look something up by number", functions.len());
    assert!(
        functions
            .iter()
            .any(|(name, insns)| name.contains("evaluate") && insns.iter().any(|insn| masks(insn)))
    );
    assert!(comparing >= 2, "{comparing}");
}

/// The names of a register of 64 bits, of which `tail` stands behind `%r`.
fn names(tail: &str) -> [String; 2] {
    let half =
        if tail.starts_with(|c: char| c.is_ascii_digit()) { format!("r{tail}d") } else { format!("e{tail}") };
    [format!("r{tail}"), half]
}
