//! A call as strace prints it, which [`parse`](super::parse) reads.

use std::fmt;

use seccomp_kernel::Arch;

use super::arguments::{self, Flags, Kind};
use super::constants;

/// The most bytes of a string that are shown.
const MAX_STRING: usize = 256;

/// What can be read of a string together: a page is there as a whole, the next one may not be.
const PAGE: u64 = 4096;

/// A call. Of the arguments those are shown that it has; of a call that is not known here, up to the last that is
/// not 0.
pub struct Shown<'m> {
    pub arch: Arch,
    pub nr: i32,
    pub args: [u64; 6],
    /// The memory of whoever makes the call: reads at an address, if all is there.
    pub memory: &'m dyn Fn(u64, &mut [u8]) -> bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.arch.syscall_name(self.nr);
        match name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "syscall_{:#x}", self.nr)?,
        }
        let used = self.args.iter().rposition(|arg| *arg != 0).map_or(0, |last| last + 1);
        let mut kinds = name.and_then(arguments::of).unwrap_or(&[Kind::Word; 6][..used]);
        if let [.., Kind::ModeOfNew] = kinds
            && !self.makes_file(kinds)
        {
            kinds = &kinds[..kinds.len() - 1];
        }
        f.write_str("(")?;
        for (index, (kind, arg)) in kinds.iter().zip(self.args).enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            self.argument(f, *kind, arg)?;
        }
        f.write_str(")")
    }
}

impl Shown<'_> {
    fn argument(&self, f: &mut fmt::Formatter<'_>, kind: Kind, arg: u64) -> fmt::Result {
        match kind {
            Kind::Word if arg == 0 => f.write_str("0"),
            Kind::Word => write!(f, "{arg:#x}"),
            Kind::Number => self.number(f, arg),
            Kind::Folder => match self.constant("AT_FDCWD") {
                Some(here) if arg == here => f.write_str("AT_FDCWD"),
                // Only half of the register counts for the call; a filter may look at all of it.
                Some(here) if arg as u32 == here as u32 => write!(f, "{arg:#x} /* AT_FDCWD */"),
                _ => self.number(f, arg),
            },
            Kind::Mode | Kind::ModeOfNew if arg == 0 => f.write_str("0"),
            Kind::Mode | Kind::ModeOfNew => write!(f, "0{arg:o}"),
            Kind::Flags(flags) => f.write_str(&self.flags(flags, arg)),
            Kind::Text if arg == 0 => f.write_str("NULL"),
            Kind::Text => match self.text(arg) {
                Some((text, whole)) => write!(f, "\"{text}\"{}", if whole { "" } else { "..." }),
                None => write!(f, "{arg:#x}"),
            },
        }
    }

    fn number(&self, f: &mut fmt::Formatter<'_>, arg: u64) -> fmt::Result {
        let low = (arg as u32).cast_signed();
        match u32::try_from(arg) {
            Ok(_) if low < 0 && self.arch.is_compat() => write!(f, "{low}"),
            Ok(_) if low < 0 => write!(f, "{arg:#x} /* {low} */"),
            _ => write!(f, "{}", arg.cast_signed()),
        }
    }

    /// The value of a name, as a register has it.
    fn constant(&self, name: &str) -> Option<u64> {
        let value = constants::value(name, self.arch).ok()?;
        Some(if self.arch.is_compat() { value & u64::from(u32::MAX) } else { value })
    }

    fn flags(&self, Flags { mask, values, flags }: &Flags, arg: u64) -> String {
        let mut parts = Vec::new();
        let mut rest = arg;
        let is_value = |name: &&&str| self.constant(name) == Some(arg & mask);
        if let (true, Some(name)) = (*mask != 0 || arg == 0, values.iter().find(is_value)) {
            parts.push((*name).to_owned());
            rest &= !mask;
        }
        for name in *flags {
            if let Some(bits) = self.constant(name).filter(|bits| *bits != 0 && rest & bits == *bits) {
                parts.push((*name).to_owned());
                rest &= !bits;
            }
        }
        if rest != 0 {
            parts.push(format!("{rest:#x}"));
        }
        if parts.is_empty() { "0".into() } else { parts.join("|") }
    }

    fn makes_file(&self, kinds: &[Kind]) -> bool {
        let flags = kinds.iter().zip(self.args).find(|(kind, _)| matches!(kind, Kind::Flags(_)));
        let makes = |name| self.constant(name).zip(flags).is_some_and(|(bits, (_, arg))| arg & bits == bits);
        makes("O_CREAT") || makes("O_TMPFILE")
    }

    /// What stands at an address, escaped, and whether that is all; nothing if there is no memory.
    fn text(&self, address: u64) -> Option<(String, bool)> {
        let mut bytes = Vec::new();
        while bytes.len() <= MAX_STRING {
            let Some(from) = address.checked_add(bytes.len() as u64) else { break };
            let of_page = (PAGE - from % PAGE) as usize;
            let mut chunk = vec![0; of_page.min(MAX_STRING + 1 - bytes.len())];
            if !(self.memory)(from, &mut chunk) {
                break;
            }
            if let Some(end) = chunk.iter().position(|byte| *byte == 0) {
                bytes.extend(&chunk[..end]);
                return Some((escaped(&bytes), true));
            }
            bytes.extend(chunk);
        }
        bytes.truncate(MAX_STRING);
        (!bytes.is_empty()).then(|| (escaped(&bytes), false))
    }
}

/// Bytes in C's notation, in which a terminal finds no commands.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use seccomp_tests::generate;

    use super::*;
    use crate::strace::parse;

    fn shown(arch: Arch, name: &str, args: &[u64], memory: &dyn Fn(u64, &mut [u8]) -> bool) -> String {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let nr = arch.syscall_number(name).unwrap();
        Shown { arch, nr, args: all, memory }.to_string()
    }

    /// A memory with `text` at an address, and 0 up to the end of its page.
    fn with(at: u64, text: &'static [u8]) -> impl Fn(u64, &mut [u8]) -> bool {
        let end = (at + text.len() as u64).next_multiple_of(PAGE);
        move |from, into| {
            let is_there = from >= at && from + into.len() as u64 <= end;
            for (byte, place) in into.iter_mut().zip(from..) {
                *byte =
                    place.checked_sub(at).and_then(|index| text.get(index as usize)).copied().unwrap_or(0);
            }
            is_there
        }
    }

    #[test]
    fn calls_look_like_straces() {
        let nothing = |_: u64, _: &mut [u8]| false;
        let path = with(0x1ffe, b"/a\"b\\\n\x1b\xff");
        let x86 = |name, args: &[u64]| shown(Arch::X86_64, name, args, &path);
        assert_eq!(
            x86("openat", &[-100i64 as u64, 0x1ffe, 0o2000000, 0o7777]),
            r#"openat(AT_FDCWD, "/a\"b\\\n\033\377", O_RDONLY|O_CLOEXEC)"#
        );
        assert_eq!(
            x86("openat", &[0xffff_ff9c, 0x10, 0o102, 0o644]),
            "openat(0xffffff9c /* AT_FDCWD */, 0x10, O_RDWR|O_CREAT, 0644)"
        );
        assert_eq!(x86("open", &[0, 0o20200000, 0]), "open(NULL, O_RDONLY|O_TMPFILE, 0)");
        assert_eq!(x86("close", &[0xffff_ffff]), "close(0xffffffff /* -1 */)");
        assert_eq!(x86("close", &[u64::MAX]), "close(-1)");
        assert_eq!(x86("getpid", &[7, 8]), "getpid()");
        assert_eq!(x86("mprotect", &[0x1000, 4096, 0]), "mprotect(0x1000, 4096, PROT_NONE)");
        assert_eq!(x86("mprotect", &[0x1000, 4096, 5]), "mprotect(0x1000, 4096, PROT_READ|PROT_EXEC)");
        assert_eq!(
            x86("mmap", &[0, 1, 3, 0x22, u64::MAX, 0]),
            "mmap(0, 1, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
        );
        assert_eq!(x86("clone", &[0x1000_0011]), "clone(SIGCHLD|CLONE_NEWUSER, 0, 0, 0, 0)");
        assert_eq!(x86("socket", &[1, 0x8_0001, 0]), "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)");
        assert_eq!(x86("socket", &[99, 0x4f, 0]), "socket(0x63, 0x4f, 0)");
        assert_eq!(x86("keyctl", &[0, 5, 0]), "keyctl(0, 0x5)");
        assert_eq!(x86("access", &[0x1ffe, 0]), r#"access("/a\"b\\\n\033\377", F_OK)"#);
        let i386 = shown(Arch::I386, "openat", &[0xffff_ff9c, 9, 1], &nothing);
        assert_eq!(i386, "openat(AT_FDCWD, 0x9, O_WRONLY)");
        assert_eq!(shown(Arch::I386, "close", &[0xffff_ffff], &nothing), "close(-1)");
        let unnamed = Shown { arch: Arch::X86_64, nr: 999, args: [1, 0, 0, 0, 0, 0], memory: &nothing };
        assert_eq!(unnamed.to_string(), "syscall_0x3e7(0x1)");
    }

    #[test]
    fn strings_have_a_bound() {
        const LONG: [u8; 5000] = [b'a'; 5000];
        let memory = with(0x1f80, &LONG);
        let text = shown(Arch::X86_64, "chdir", &[0x1f80], &memory);
        assert_eq!(text, format!("chdir(\"{}\"...)", "a".repeat(MAX_STRING)));
        let cut = with(0x1fff, b"b");
        assert_eq!(shown(Arch::X86_64, "chdir", &[0x1fff], &cut), "chdir(\"b\"...)");
        assert_eq!(shown(Arch::X86_64, "chdir", &[0x2000], &cut), "chdir(0x2000)");
        assert_eq!(
            shown(Arch::X86_64, "chdir", &[u64::MAX], &|_, into| {
                into.fill(b'c');
                true
            }),
            "chdir(\"c\"...)"
        );
    }

    /// What is shown is read back as the arguments that the call has; a string is an address that nobody knows.
    #[test]
    fn what_is_shown_can_be_read() {
        let mut rng = generate::seeded();
        let interesting =
            [0, 1, 2, 0x11, 0x42, 0o644, 0x80_0000, 0xffff_ff9c, 0xffff_ffff, u64::MAX, -100i64 as u64];
        let memory = |at: u64, into: &mut [u8]| {
            into.fill_with(|| (at >> 3) as u8);
            at & 1 == 0
        };
        for _ in 0..50_000 {
            let arch = [Arch::X86_64, Arch::I386, Arch::Aarch64, Arch::Riscv64][rng.random_range(0..4)];
            let nr = rng.random_range(0..470);
            let Some(name) = arch.syscall_name(nr) else { continue };
            let mut args: [u64; 6] = std::array::from_fn(|_| match rng.random_range(0..3) {
                0 => interesting[rng.random_range(0..interesting.len())],
                1 => {
                    rng.random::<u64>() & rng.random::<u64>() & rng.random::<u64>() >> rng.random_range(0..64)
                }
                _ => rng.random(),
            });
            if arch.is_compat() {
                args = args.map(|arg| arg & u64::from(u32::MAX));
            }
            let text = Shown { arch, nr, args, memory: &memory }.to_string();
            let call = parse(&text, arch).unwrap_or_else(|error| panic!("{text}: {error:#}"));
            assert_eq!(call.nr, nr, "{text}");
            let kinds = arguments::of(name).unwrap_or(&[Kind::Word; 6]);
            for (index, kind) in kinds.iter().enumerate() {
                let is_text = matches!(kind, Kind::Text) && args[index] != 0 && args[index] & 1 == 0;
                assert_eq!(call.unknown.contains(&index), is_text, "{text}");
                let is_shown = !is_text && (!matches!(kind, Kind::ModeOfNew) || call.args[index] != 0);
                assert_eq!(call.args[index], if is_shown { args[index] } else { 0 }, "{text}");
            }
        }
    }
}
