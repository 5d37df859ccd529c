//! The value of an argument.

use anyhow::{Context, bail, ensure};
use seccomp_kernel::Arch;

use super::constants;
use super::split::comment;
use crate::number;

/// What is read of one expression; that is how deep they go.
const MAX_DEPTH: usize = 4;

/// The value of an argument; `None` of an address that is not known.
///
/// # Errors
///
/// It is neither a number nor names that are known.
pub fn value(text: &str, arch: Arch) -> anyhow::Result<Option<u64>> {
    if is_address(text) {
        return Ok(None);
    }
    let parts = parts(text).map(|part| word(part, arch, MAX_DEPTH));
    parts.into_iter().try_fold(0, |all, part| Ok(all | part?)).map(Some)
}

/// The bits of an argument that are known to be set, whatever the rest of it is, and the first text that is not known.
pub fn known(text: &str, arch: Arch) -> (u64, Option<&str>) {
    let mut missing = None;
    let bits = parts(text).fold(0, |all, part| match word(part, arch, MAX_DEPTH) {
        Ok(value) => all | value,
        Err(_) => {
            missing.get_or_insert(part);
            all
        }
    });
    (bits, missing)
}

/// Whether only what is at an address is told.
pub fn is_address(text: &str) -> bool {
    text.starts_with(['"', '[', '{', '@']) || text.starts_with("~[")
}

/// The words between the bars, without comments and what is said of descriptors.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, behind) = bar(text);
        rest = behind;
        Some(part)
    })
}

/// The first word, and what is behind the next bar. Comments count what is at an address, or give a number's name.
fn bar(text: &str) -> (&str, Option<&str>) {
    let bytes = text.as_bytes();
    let (mut place, mut depth, mut end) = (0, 0usize, None);
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'/' if depth == 0 && bytes.get(place + 1) == Some(&b'*') => {
                end.get_or_insert(place);
                place = comment(bytes, place);
            }
            b'|' if depth == 0 => {
                // All places are of ASCII.
                let part = text.get(..end.unwrap_or(place)).unwrap_or_default();
                return (part.trim(), text.get(place + 1..));
            }
            _ => {}
        }
        place += 1;
    }
    (text.get(..end.unwrap_or(text.len())).unwrap_or_default().trim(), None)
}

fn word(text: &str, arch: Arch, depth: usize) -> anyhow::Result<u64> {
    let depth = depth.checked_sub(1).context("too deep")?;
    let text = text.trim();
    if let Some((left, right)) = text.split_once("<<") {
        let by = u32::try_from(word(right, arch, depth)?).ok();
        let shifted = by.and_then(|by| word(left, arch, depth).map(|left| left.checked_shl(by)).transpose());
        return shifted.context("too far")?;
    }
    // What a descriptor is.
    let text = text.split_once('<').map_or(text, |(text, _)| text);
    if text == "NULL" {
        return Ok(0);
    }
    ensure!(!text.is_empty(), "there is none");
    if let Some((name, rest)) = text.split_once('(') {
        let inner = rest.strip_suffix(')').context("a parenthesis is missing")?;
        return function(name, inner, arch, depth);
    }
    if let Some((left, right)) = text.split_once('*') {
        return Ok(word(left, arch, depth)?.wrapping_mul(word(right, arch, depth)?));
    }
    if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        let octal = text.strip_prefix('0').filter(|rest| !rest.is_empty() && !rest.starts_with(['x', 'X']));
        return match octal {
            Some(digits) => {
                u64::from_str_radix(digits, 8).with_context(|| format!("{text:?}: no octal number"))
            }
            None => number::parse(text, u64::BITS).with_context(|| format!("{text:?}")),
        };
    }
    // Several drivers gave one number a name each.
    let mut names = text.split(" or ").map(|name| constants::value(name, arch));
    let first = names.next().context("there is none")?;
    first.or_else(|error| names.find_map(Result::ok).ok_or(error))
}

/// What strace writes as macros of the kernel's headers.
fn function(name: &str, inner: &str, arch: Arch, depth: usize) -> anyhow::Result<u64> {
    let numbers = inner.split(',').map(|text| {
        parts(text).try_fold(0, |all, part| Ok::<_, anyhow::Error>(all | word(part, arch, depth)?))
    });
    let numbers: Vec<u64> = numbers.collect::<anyhow::Result<_>>()?;
    Ok(match (name, numbers.as_slice()) {
        // As the kernel packs them for user space (`new_encode_dev`).
        ("makedev", [major, minor]) => (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12,
        ("htons", [value]) => u64::from((*value as u16).swap_bytes()),
        ("QCMD", [command, kind]) => command << 8 & 0xffff_ffff | kind & 0xff,
        ("IOPRIO_PRIO_VALUE", [class, data]) => class << 13 & 0xffff_ffff | data,
        ("_IOC", [direction, kind, number, size]) => {
            direction << 30 & 0xffff_ffff | (size & 0x3fff) << 16 | (kind & 0xff) << 8 | number & 0xff
        }
        _ => bail!("{name:?}: no function that is known here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strace_prints_of_numbers() {
        let rows: [(&str, u64); 21] = [
            ("3</etc/passwd>", 3),
            ("AT_FDCWD</tmp>", -100i64 as u64),
            ("S_IFREG|0644", 0o100_644),
            ("makedev(0x1, 0x3)", 0x103),
            ("makedev(0xfd, 0x123)", 0x10_fd23),
            ("1<<3", 8),
            ("MAP_HUGETLB|21<<MAP_HUGE_SHIFT", 0x5404_0000),
            ("0x80 /* O_??? */", 0x80),
            ("0x1200000 /* CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID */|17 /* SIGCHLD */", 0x120_0011),
            ("BTRFS_IOC_CLONE or FICLONE", 0x4004_9409),
            ("_IOC(_IOC_READ|_IOC_WRITE, 0xbe, 0xef, 0x1ead)", 0xdead_beef),
            ("htons(ETH_P_ALL)", 0x300),
            ("QCMD(Q_GETQUOTA, USRQUOTA)", 0x8000_0700),
            ("IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 4)", 0x4004),
            ("SIGRT_3", 35),
            ("FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME", 0x189),
            ("CAP_FOWNER", 3),
            ("BPF_PROG_LOAD", 5),
            ("TIOCSTI", 0x5412),
            ("8192*1024", 8 << 20),
            ("O_RDWR|O_NOFOLLOW|O_TMPFILE", 0o20_600_002),
        ];
        for (text, number) in rows {
            assert_eq!(value(text, Arch::X86_64).ok().flatten(), Some(number), "{text}");
        }
        for text in ["\"a\"...", "[1]", "{a=1} => {b=2}", "~[KILL]", "@\"x\""] {
            assert_eq!(value(text, Arch::X86_64).unwrap(), None, "{text}");
        }
        for text in ["", "f(1)", "1<<64", "1<<x", "1|", "a(", "((((((1))))))", "CAP_", "SIGRT_99", "|"] {
            assert!(value(text, Arch::X86_64).is_err(), "{text}");
        }
        assert_eq!(value("O_DIRECTORY", Arch::Aarch64).unwrap(), Some(0o40_000));
        assert_eq!(known("O_RDWR|O_NOPE|O_CLOEXEC", Arch::X86_64), (0o2_000_002, Some("O_NOPE")));
    }
}
