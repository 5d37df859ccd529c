//! A call in strace's notation.

use anyhow::{Context, bail, ensure};
use seccomp_kernel::Arch;
use seccomp_rbpf::names::Meant;

use super::layout;
use super::split::{Split, named, split};
use super::value::value;

/// A call that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub nr: i32,
    pub args: [u64; 6],
    /// The arguments that are addresses nobody knows; they are 0 in `args`.
    pub unknown: Vec<usize>,
}

/// Reads `NAME(ARGUMENT, ...)`; what follows from ` = ` on is no part of it.
pub fn parse(text: &str, arch: Arch) -> anyhow::Result<Call> {
    let (name, rest) = text.split_once('(').context("NAME(ARGUMENT, ...) is needed")?;
    let name = name.trim();
    let nr = arch
        .syscall_number(name)
        .with_context(|| format!("{name:?}: no system call of {}{}", arch.name(), Meant::call(name, arch)))?;
    let mut call = Call { nr, args: [0; 6], unknown: Vec::new() };
    let texts = arguments(rest)?;
    ensure!(texts.len() <= 6, "{} arguments, where a system call has six", texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        let (index, text) = match named(text) {
            Some((key, value)) => (register(name, key, arch)?, value),
            None => (index, text),
        };
        match value(text, arch).with_context(|| format!("argument {index}"))? {
            Some(value) => call.args[index] = narrow(value, arch).with_context(|| text.to_string())?,
            None => call.unknown.push(index),
        }
    }
    Ok(call)
}

/// A value as the register of an entry has it.
fn narrow(value: u64, arch: Arch) -> anyhow::Result<u64> {
    if !arch.is_compat() {
        return Ok(value);
    }
    let fits = value <= u32::MAX.into() || value.cast_signed() >= i32::MIN.into() && value.cast_signed() < 0;
    ensure!(fits, "does not fit the 32 bits of {}", arch.name());
    Ok(value & u64::from(u32::MAX))
}

fn register(call: &str, key: &str, arch: Arch) -> anyhow::Result<usize> {
    ensure!(call == "clone", "{key}=: arguments by name are understood of clone only");
    layout::of_clone(key, arch).with_context(|| format!("{key}=: no argument of clone"))
}

/// The texts between the commas, up to the parenthesis that ends the call.
fn arguments(text: &str) -> anyhow::Result<Vec<&str>> {
    let Split { texts, behind, unbalanced } = split(text);
    if let Some(bracket) = unbalanced {
        bail!("{bracket:?} is too much");
    }
    let behind = behind.context("the call has no end, a parenthesis is missing")?.trim();
    ensure!(behind.is_empty() || behind.starts_with('='), "{behind:?} is behind the call");
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_straces_notation() {
        let x86 = |text| parse(text, Arch::X86_64).map(|call| (call.nr, call.args, call.unknown));
        assert_eq!(
            x86("openat(AT_FDCWD, \"/a, (b)\\\"\", O_RDONLY|O_CLOEXEC, 0644) = 3").unwrap(),
            (257, [-100i64 as u64, 0, 0o2000000, 0o644, 0, 0], vec![1])
        );
        assert_eq!(
            x86("clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f0)").unwrap(),
            (56, [0x20_0011, 0, 0, 0x7f0, 0, 0], vec![])
        );
        assert_eq!(x86("getpid()").unwrap(), (39, [0; 6], vec![]));
        assert_eq!(
            x86("execve(\"/bin/ls\"..., [\"ls\"], 0x7ffc /* 3 vars */)").unwrap(),
            (59, [0, 0, 0x7ffc, 0, 0, 0], vec![0, 1])
        );
        assert_eq!(
            x86("mmap(0x7fffffffffffffff, 2, PROT_READ|PROT_READ, 4, 5, 6)").unwrap(),
            (9, [i64::MAX as u64, 2, 1, 4, 5, 6], vec![])
        );
        let i386 = parse("openat(AT_FDCWD, NULL, 0)", Arch::I386).unwrap();
        assert_eq!(i386.args[0], 0xffff_ff9c);
        for (text, error) in [
            ("open(\"/\", O_NOPE)", "argument 1: \"O_NOPE\": no constant that is known here"),
            ("nope(1)", "\"nope\": no system call of x86_64"),
            ("read(1, 2", "the call has no end, a parenthesis is missing"),
            ("read(1,2,3,4,5,6,7)", "7 arguments, where a system call has six"),
            ("read(1) x", "\"x\" is behind the call"),
            ("read(fd=1)", "fd=: arguments by name are understood of clone only"),
            ("read(, 1)", "argument 0: there is none"),
            ("read(1, )", "argument 1: there is none"),
            ("ioctl(1, _IOC(1, 2), 3)", "argument 1: \"_IOC\": no function that is known here"),
            ("read(089)", "argument 0: \"089\": no octal number: invalid digit found in string"),
        ] {
            assert_eq!(format!("{:#}", x86(text).unwrap_err()), error);
        }
        let arm = parse("openat(AT_FDCWD, \"/\", O_DIRECTORY)", Arch::Aarch64).unwrap();
        assert_eq!(arm.args[2], 0o40_000);
        let arm = parse("clone(child_stack=NULL, flags=SIGCHLD, tls=0x5)", Arch::Aarch64).unwrap();
        assert_eq!(arm.args, [17, 0, 0, 5, 0, 0]);
        let map = |arch| parse("mmap(0, 1, 0, MAP_32BIT)", arch).map(|call| call.args[3]);
        assert_eq!(map(Arch::X86_64).unwrap(), 0x40);
        assert!(map(Arch::Riscv64).unwrap_err().root_cause().to_string().contains("MAP_32BIT"));
    }
}
