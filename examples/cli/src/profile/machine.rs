//! The machine that a profile is for: what its `includes` and `excludes` ask about.

use std::collections::BTreeSet;
use std::io;
use std::str::FromStr;

use anyhow::{Context, ensure};
use nix::sys::utsname::uname;
use seccomp_kernel::Arch;

use super::format::Conditions;

/// A machine, and what a container on it may do.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its own architecture. A filter has this one always.
    pub arch: Arch,
    /// The container's capabilities, by names such as `CAP_CHOWN`.
    pub caps: BTreeSet<String>,
    /// The kernel that it runs.
    pub kernel: Kernel,
}

/// A kernel's version: the two first numbers, which are all that profiles ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    major: u32,
    minor: u32,
}

impl Machine {
    /// The capabilities that Docker gives to a container unless it is asked for others.
    pub const DOCKER_CAPS: [&'static str; 14] = [
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];

    /// Whether a rule with these conditions counts here.
    pub(super) fn takes(
        &self,
        includes: Option<&Conditions>,
        excludes: Option<&Conditions>,
    ) -> anyhow::Result<bool> {
        let arch = |name: &String| self.is_named(name);
        let cap = |name: &String| self.caps.contains(name);
        if let Some(Conditions { caps, arches, min_kernel }) = includes {
            let arches = arches.as_deref().unwrap_or_default();
            if !(arches.is_empty() || arches.iter().any(arch))
                || !caps.iter().flatten().all(cap)
                || !self.has_kernel(min_kernel.as_deref()).context("includes")?.unwrap_or(true)
            {
                return Ok(false);
            }
        }
        if let Some(Conditions { caps, arches, min_kernel }) = excludes
            && (arches.iter().flatten().any(arch)
                || caps.iter().flatten().any(cap)
                || self.has_kernel(min_kernel.as_deref()).context("excludes")?.unwrap_or(false))
        {
            return Ok(false);
        }
        Ok(true)
    }

    fn has_kernel(&self, least: Option<&str>) -> anyhow::Result<Option<bool>> {
        let least = least.filter(|least| !least.is_empty());
        Ok(least.map(Kernel::from_str).transpose()?.map(|least| self.kernel >= least))
    }

    /// Whether this is the architecture's name in `arches`: libseccomp's.
    fn is_named(&self, name: &str) -> bool {
        let names: &[&str] = match self.arch {
            Arch::X86_64 => &["amd64", "x86_64"],
            Arch::I386 => &["x86"],
            Arch::X32 => &["x32"],
            Arch::Aarch64 => &["arm64", "aarch64"],
            Arch::Arm => &["arm"],
            Arch::Riscv64 => &["riscv64"],
            Arch::Loongarch64 => &["loongarch64", "loong64"],
        };
        names.contains(&name)
    }
}

impl Kernel {
    /// The running kernel's version.
    ///
    /// # Errors
    ///
    /// It does not tell it.
    pub fn running() -> anyhow::Result<Self> {
        let system = uname().map_err(io::Error::from).context("uname(2)")?;
        let release = system.release().to_string_lossy();
        Self::prefix(&release)
            .with_context(|| format!("uname(2): {release:?} is no kernel version, --kernel gives one"))
    }

    /// The version at the beginning of `text`, and what is behind it.
    fn prefix(text: &str) -> Option<Self> {
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self { major: decimal(major)?, minor: decimal(minor)? })
    }
}

impl FromStr for Kernel {
    type Err = anyhow::Error;

    /// Reads `MAJOR.MINOR`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = Self::prefix(text).filter(|version| {
            let [major, minor] = [version.major, version.minor].map(|number| number.to_string().len());
            // What comes behind the two numbers does not count, and leading zeros are no version.
            text.len() == major + 1 + minor
        });
        let version = version.with_context(|| format!("{text:?} is no kernel version such as \"5.10\""))?;
        ensure!(version > Self { major: 0, minor: 0 }, "there is no kernel 0.0");
        Ok(version)
    }
}

fn decimal(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            arch: Arch::X86_64,
            caps: ["CAP_A", "CAP_B"].map(String::from).into(),
            kernel: "5.10".parse().unwrap(),
        }
    }

    fn conditions(caps: &[&str], arches: &[&str], kernel: &str) -> Conditions {
        let strings = |list: &[&str]| Some(list.iter().copied().map(String::from).collect());
        Conditions { caps: strings(caps), arches: strings(arches), min_kernel: Some(kernel.into()) }
    }

    #[test]
    fn includes_want_all_capabilities_and_excludes_one() {
        let rows = [
            (conditions(&[], &[], ""), true, true),
            (conditions(&["CAP_A", "CAP_B"], &[], ""), true, false),
            (conditions(&["CAP_A", "CAP_C"], &[], ""), false, false),
            (conditions(&["CAP_C"], &[], ""), false, true),
            (conditions(&[], &["arm64", "amd64"], ""), true, false),
            (conditions(&[], &["arm64"], ""), false, true),
            (conditions(&[], &[], "5.10"), true, false),
            (conditions(&[], &[], "5.9"), true, false),
            (conditions(&[], &[], "5.11"), false, true),
        ];
        for (row, included, excluded) in rows {
            assert_eq!(machine().takes(Some(&row), None).unwrap(), included, "{row:?}");
            assert_eq!(machine().takes(None, Some(&row)).unwrap(), excluded, "{row:?}");
        }
        assert!(machine().takes(None, None).unwrap());
    }

    #[test]
    fn versions_have_two_numbers() {
        for text in ["5", "5.", ".1", "5.1.2", "5.1-rc1", "+5.1", "05.1", "", "0.0", "99999999999.1"] {
            assert!(text.parse::<Kernel>().is_err(), "{text}");
        }
        assert!("6.1".parse::<Kernel>().unwrap() > "5.10".parse().unwrap());
        assert_eq!(Kernel::prefix("6.1.0-9-amd64\n"), Some(Kernel { major: 6, minor: 1 }));
        assert!(Kernel::running().is_ok());
    }
}
