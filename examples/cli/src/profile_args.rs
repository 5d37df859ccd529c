//! `--caps`, `--kernel`, `--strict`: what is known of the machine that a profile is for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};
use cbpf_translator::SockFilter;
use seccomp_kernel::Arch;
use seccomp_rbpf::names::Meant;
use seccomp_rbpf::profile::{Kernel, Machine, Meaning, Profile};

use crate::filter::Name;
use crate::report;

/// Options for FILTERs that are profiles.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options for profiles")]
pub struct ProfileArgs {
    /// Capabilities that rules ask about, separated by commas, or `all`, or `none`
    /// [default: those of a Docker container]
    #[arg(long, value_name = "CAPS", value_parser = caps)]
    caps: Option<Caps>,
    /// Version of the kernel that rules ask about, such as 5.10 [default: the running kernel's]
    #[arg(long, value_name = "VERSION")]
    kernel: Option<Kernel>,
    /// Fail where there would be a warning, as about a system call that has no such name
    #[arg(long)]
    strict: bool,
}

/// A set of capabilities.
#[derive(Clone, Debug)]
struct Caps(BTreeSet<String>);

/// Linux's capabilities, without their prefix, in the order of their numbers.
pub const CAPS: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const PREFIX: &str = "CAP_";

/// As many warnings of one profile are told.
const MAX_WARNINGS: usize = 20;

impl ProfileArgs {
    /// The meaning of a profile. What is odd about it is told on standard error.
    ///
    /// # Errors
    ///
    /// It is none, or contradicts itself, or is odd and that is to fail.
    pub fn meaning(&self, path: &Path, json: &[u8], arch: Arch) -> anyhow::Result<Meaning> {
        let meaning = self.resolve(json, arch)?;
        let warnings = meaning.warnings();
        if let (true, Some(warning)) = (self.strict, warnings.first()) {
            bail!("{warning}");
        }
        for warning in warnings.iter().take(MAX_WARNINGS) {
            report::warning(format_args!("{}: {warning}", Name(path)));
        }
        if let Some(more @ 1..) = warnings.len().checked_sub(MAX_WARNINGS) {
            report::warning(format_args!("{}: {more} more of this kind", Name(path)));
        }
        Ok(meaning)
    }

    /// The meaning of a profile, without a word on what is odd about it.
    ///
    /// # Errors
    ///
    /// It is none, or contradicts itself.
    pub fn resolve(&self, json: &[u8], arch: Arch) -> anyhow::Result<Meaning> {
        let caps = match &self.caps {
            Some(Caps(caps)) => caps.clone(),
            None => Machine::DOCKER_CAPS.map(String::from).into(),
        };
        let kernel = self.kernel.map_or_else(Kernel::running, Ok)?;
        let machine = Machine { arch, caps, kernel };
        Profile::parse(json).and_then(|profile| profile.resolve(&machine)).context("read as a profile")
    }

    /// The filter that a profile comes to.
    ///
    /// # Errors
    ///
    /// As [`Self::meaning`], and where it is too long.
    pub fn compile(&self, path: &Path, json: &[u8], arch: Arch) -> anyhow::Result<Vec<SockFilter>> {
        Ok(self.meaning(path, json, arch)?.compile()?)
    }
}

fn caps(text: &str) -> Result<Caps, NoCapability> {
    let all = || CAPS.into_iter();
    let names: Vec<&str> = match text {
        "all" => all().collect(),
        "none" | "" => Vec::new(),
        text => text
            .split(',')
            .map(|name| {
                let bare = name.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
                let bare = bare.map_or(name, |start| &name[start.len()..]);
                all()
                    .find(|cap| cap.eq_ignore_ascii_case(bare))
                    .ok_or_else(|| NoCapability { text: name.into(), meant: Meant::of(bare, CAPS) })
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(Caps(names.into_iter().map(|name| format!("{PREFIX}{name}")).collect()))
}

/// What is no capability's name.
#[derive(Debug)]
struct NoCapability {
    text: String,
    meant: Meant<'static>,
}

impl fmt::Display for NoCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no capability{}", self.text, self.meant)
    }
}

impl std::error::Error for NoCapability {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_go_with_and_without_prefix() {
        let names = |text| caps(text).map(|Caps(caps)| caps.into_iter().collect::<Vec<_>>());
        assert_eq!(names("CAP_BPF,sys_admin").unwrap(), ["CAP_BPF", "CAP_SYS_ADMIN"]);
        assert_eq!(names("none").unwrap().len(), 0);
        assert_eq!(names("all").unwrap().len(), CAPS.len());
        assert_eq!(names("CAP_NOPE").unwrap_err().to_string(), "\"CAP_NOPE\" is no capability");
        assert!(names("CAP_BPF,").is_err() && names("é").is_err());
        let docker = Machine::DOCKER_CAPS.map(|cap| cap.trim_start_matches(PREFIX));
        assert!(docker.iter().all(|cap| CAPS.contains(cap)));
    }
}
