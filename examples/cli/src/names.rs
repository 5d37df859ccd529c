//! Names of system calls, and which of some names one that nobody knows is likely meant to be.

use std::fmt;

use seccomp_kernel::Arch;
use strsim::osa_distance;

/// As many letters of a name stand for one that may be wrong.
const LETTERS_A_FAULT: usize = 3;

/// The most faults.
const MAX_FAULTS: usize = 3;

/// The fewest letters that are looked for at the beginning and the end of names.
const MIN_PART: usize = 3;

/// The name that is likely meant, to stand behind a message: nothing where none is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meant<'n>(pub Option<&'n str>);

impl<'n> Meant<'n> {
    /// The nearest of `names`, with few letters wrong or missing, or the one that `text` is the end of. What all names
    /// begin with is no part of them.
    pub fn of(text: &str, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<_> = names.into_iter().map(|name| (name, name.to_ascii_lowercase())).collect();
        let shared = names.iter().map(|(_, name)| name.as_str()).reduce(common).unwrap_or_default();
        let wanted = text.to_ascii_lowercase();
        let wanted = wanted.strip_prefix(shared).unwrap_or(&wanted);
        let allowed = (wanted.chars().count() / LETTERS_A_FAULT).clamp(1, MAX_FAULTS);
        let faults = |name: &str| {
            let is_part = wanted.len() >= MIN_PART;
            if is_part && name.strip_suffix(wanted).is_some_and(|start| start.ends_with('_')) {
                return Some(0);
            }
            let allowed = if is_part && name.starts_with(wanted) { MAX_FAULTS } else { allowed };
            Some(osa_distance(wanted, name)).filter(|faults| *faults <= allowed)
        };
        let near = names.iter().filter_map(|(name, lower)| {
            // All of them begin so.
            Some((faults(lower.strip_prefix(shared)?)?, *name))
        });
        Self(near.min_by_key(|(faults, _)| *faults).map(|(_, name)| name))
    }

    /// A system call of an entry.
    pub fn call(text: &str, arch: Arch) -> Meant<'static> {
        Meant::of(text, arch.syscalls().map(|(_, name)| name))
    }
}

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, ", did you mean {name:?}?"))
    }
}

/// What two texts begin with.
fn common<'t>(a: &'t str, b: &str) -> &'t str {
    let same = a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b);
    let end = same.map_or(a.len().min(b.len()), |((place, _), _)| place);
    a.get(..end).unwrap_or_default()
}

/// What is said of a text that is none of few names.
pub(crate) fn no_such(
    kind: &str,
    text: &str,
    names: impl IntoIterator<Item = &'static str> + Clone,
) -> String {
    match Meant::of(text, names.clone()) {
        Meant(None) => {
            let all: Vec<_> = names.into_iter().collect();
            format!("{text:?} is no {kind}; there are {}", all.join(", "))
        }
        meant => format!("{text:?} is no {kind}{meant}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let call = |text| Meant::call(text, Arch::X86_64).0;
        for (text, name) in [
            ("mkdirr", "mkdir"),
            ("mkdri", "mkdir"),
            ("raed", "read"),
            ("MKDIR", "mkdir"),
            ("open_at", "openat"),
            ("opennat2", "openat2"),
            ("exit_gruop", "exit_group"),
            ("pidfd_sendsignal", "pidfd_send_signal"),
        ] {
            assert_eq!(call(text), Some(name), "{text}");
        }
        for text in ["", "x", "frobnicate", "nope", "é"] {
            assert_eq!(call(text), None, "{text}");
        }
        assert_eq!(Meant::call("mkdir", Arch::Aarch64).0, Some("mkdirat"));
        assert_eq!(Meant::of("allow", ["SCMP_ACT_KILL", "SCMP_ACT_ALLOW"]).0, Some("SCMP_ACT_ALLOW"));
        assert_eq!(Meant::of("SCMP_ACT_KIL", ["SCMP_ACT_KILL", "SCMP_ACT_ALLOW"]).0, Some("SCMP_ACT_KILL"));
        assert_eq!(Meant::of("SCMP_ACT_XX", ["SCMP_ACT_A", "SCMP_ACT_BC"]).0, None);
        assert_eq!(Meant(Some("a")).to_string(), ", did you mean \"a\"?");
        assert_eq!(Meant(None).to_string(), "");
    }
}
