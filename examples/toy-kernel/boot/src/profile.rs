//! The profile of `tests/cases/docker-like.policy` for each machine, as a header of C.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use seccomp_rbpf::policy::Policy;

use crate::Machine;

const PROFILE: &str = include_str!("../../../../tests/cases/docker-like.policy");

/// Writes it: one comparison for each call that the machine has.
pub(crate) fn write(path: &Path, machine: Machine) -> Result<()> {
    let filter = Policy::parse(&for_machine(machine))?.linear()?;
    let mut header = String::from("static const struct sock_filter docker_like[] = {\n");
    for insn in filter.insns() {
        writeln!(header, "\t{{ {:#x}, {}, {}, {:#x} }},", insn.code, insn.jt, insn.jf, insn.k)?;
    }
    header.push_str("};\n");
    fs::write(path, header).with_context(|| format!("{} cannot be written", path.display()))
}

/// The profile without the calls that the machine does not have.
fn for_machine(machine: Machine) -> String {
    let entry = machine.entry();
    let mut policy = String::new();
    for line in PROFILE.lines() {
        let line = line.split(';').next().unwrap_or_default();
        let (calls, condition) = line.split_at(line.find(" when ").unwrap_or(line.len()));
        let mut words = calls.split_whitespace();
        let Some(first) = words.next() else { continue };
        policy.push_str(first);
        match first {
            "arch" => policy.extend([" ", entry.name()]),
            "default" => policy.extend(words.flat_map(|word| [" ", word])),
            _ => {
                // The number of an errno, and names.
                let is_known =
                    |word: &&str| word.parse::<u32>().is_ok() || entry.syscall_number(word).is_some();
                policy.extend(words.filter(is_known).flat_map(|word| [" ", word]));
            }
        }
        policy.push_str(condition);
        policy.push('\n');
    }
    policy
}
