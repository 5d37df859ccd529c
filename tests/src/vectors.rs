//! The recorded answers of Linux 6.18: what it makes of 931 programs and what they decide.

use cbpf_translator::SockFilter;
use seccomp_runtime::SeccompData;

const PROGRAMS: &str = include_str!("../vectors/programs.tsv");
const DECISIONS: &str = include_str!("../vectors/decisions.tsv");

/// A program and what Linux makes of it.
#[derive(Clone, Debug)]
pub struct Vector {
    /// Its name, which [`Decision::name`] refers to.
    pub name: &'static str,
    /// What it is about: `opcode`, `jump`, `mem`, a program it was captured from, ...
    pub class: &'static str,
    /// The program as it was offered.
    pub program: Vec<SockFilter>,
    /// Linux's answer.
    pub answer: Answer,
}

/// What Linux says to a program that is offered as a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted, and translated to these bytes of eBPF.
    Accepted(Vec<u8>),
    /// Refused with this errno.
    Refused(i32),
}

/// What a program returned for an input.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The program's [`Vector::name`].
    pub name: &'static str,
    /// What the program saw.
    pub data: SeccompData,
    /// What it returned.
    pub value: u32,
}

/// The recorded programs.
///
/// # Panics
///
/// `programs.tsv` is malformed.
pub fn programs() -> Vec<Vector> {
    rows(PROGRAMS)
        .map(|[name, class, program, answer]| Vector {
            name,
            class,
            program: insns(program),
            answer: match answer.strip_prefix("REJECT ") {
                Some(errno) => Answer::Refused(errno.parse().expect("an errno")),
                None => Answer::Accepted(bytes(answer)),
            },
        })
        .collect()
}

/// The recorded decisions.
///
/// # Panics
///
/// `decisions.tsv` is malformed.
pub fn decisions() -> Vec<Decision> {
    rows(DECISIONS)
        .map(|[name, arch, nr, instruction_pointer, args @ .., value]: [_; 11]| Decision {
            name,
            data: SeccompData {
                nr: nr.parse().expect("a system call number"),
                arch: hex(arch) as u32,
                instruction_pointer: hex(instruction_pointer),
                args: args.map(hex),
            },
            value: hex(value) as u32,
        })
        .collect()
}

/// The rows of a table with `N` columns.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        columns.try_into().unwrap_or_else(|_| panic!("not {N} columns: {line}"))
    })
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).expect("a hexadecimal number")
}

fn bytes(digits: &str) -> Vec<u8> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte");
    pairs.iter().map(|pair| hex(str::from_utf8(pair).expect("ASCII")) as u8).collect()
}

/// The instructions, little endian in the table.
fn insns(digits: &str) -> Vec<SockFilter> {
    let bytes = bytes(digits);
    let (insns, rest) = bytes.as_chunks::<{ SockFilter::SIZE }>();
    assert!(rest.is_empty(), "half an instruction");
    let insn = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| {
        SockFilter::new(u16::from_le_bytes([c0, c1]), jt, jf, u32::from_le_bytes([k0, k1, k2, k3]))
    };
    insns.iter().map(insn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let programs = programs();
        let decisions = decisions();
        assert_eq!((programs.len(), decisions.len()), (931, 16_975));
        assert!(decisions.iter().all(|decision| programs.iter().any(|vector| vector.name == decision.name)));
    }
}
