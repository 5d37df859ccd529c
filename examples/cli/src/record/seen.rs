//! What calls a program made, and the profile that they come to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::{Action, Arch};
use seccomp_rbpf::profile::{Meaning, edit};
use syscalls::Errno;

use crate::filter::{self, Name};
use crate::profile_args::ProfileArgs;
use crate::{number, report};

/// The machine's own entry. The program is started by it.
const NATIVE: Arch = Arch::X86_64;

/// As many calls without a name are told apart, and as many warnings of one kind are told.
const MAX_TOLD: usize = 20;

/// What calls get that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DefaultAction {
    /// They fail
    #[default]
    Errno,
    /// They are made, and logged
    Log,
    /// The thread gets SIGSYS
    Trap,
    /// The process dies of SIGSYS
    KillProcess,
}

impl DefaultAction {
    fn name(self) -> &'static str {
        match self {
            Self::Errno => "SCMP_ACT_ERRNO",
            Self::Log => "SCMP_ACT_LOG",
            Self::Trap => "SCMP_ACT_TRAP",
            Self::KillProcess => "SCMP_ACT_KILL_PROCESS",
        }
    }
}

/// An errno by its number or name.
pub fn errno(text: &str) -> anyhow::Result<u16> {
    let named = (1..=4095).find(|errno| Errno::new(*errno).name() == Some(text));
    let number = || number::parse(text, u16::BITS).ok().filter(|errno| (1..=4095).contains(errno));
    let errno = named.map(i64::from).or_else(|| number().map(u64::cast_signed));
    Ok(errno.context("no errno")? as u16)
}

/// The calls that were seen, on top of a profile.
pub struct Seen {
    /// Where the profile is from, if it was there before.
    old: Option<PathBuf>,
    options: ProfileArgs,
    /// The profile, with every architecture that was seen.
    json: String,
    meaning: Meaning,
    started: bool,
    /// The calls that it does not let run, by name.
    added: BTreeSet<&'static str>,
    /// The calls that it leaves to a supervisor or a tracer, with the index of the rule.
    asked: BTreeMap<&'static str, usize>,
    /// The calls of which nothing new can be learnt. All have names, so they are not many.
    settled: BTreeSet<(u32, i32)>,
    unnamed: BTreeSet<(u32, i32)>,
    more_unnamed: bool,
    /// Why the profile could not get an architecture.
    error: Option<anyhow::Error>,
}

impl Seen {
    /// On top of a profile that allows nothing.
    ///
    /// # Errors
    ///
    /// The running kernel does not tell its version.
    pub fn new(default: DefaultAction, errno: Option<u16>) -> anyhow::Result<Self> {
        let errno = errno.unwrap_or(libc::EPERM as u16);
        let errno = match default {
            DefaultAction::Errno => format!(",\n  \"defaultErrnoRet\": {errno}"),
            _ => String::new(),
        };
        let json = format!("{{\n  \"defaultAction\": \"{}\"{errno}\n}}\n", default.name());
        let json = edit::add_arch(&json, NATIVE, NATIVE)?;
        let options = ProfileArgs::default();
        let meaning = options.resolve(json.as_bytes(), NATIVE)?;
        Ok(Self::with(None, options, json, meaning))
    }

    /// On top of the profile in a file.
    ///
    /// # Errors
    ///
    /// It cannot be read, is none, or allows what it does not name.
    pub fn on_top_of(path: &Path, options: ProfileArgs) -> anyhow::Result<Self> {
        ensure!(path.as_os_str() != "-", "--merge -: standard input is the program's");
        let json = filter::read(path)?;
        let load = || {
            let meaning = options.meaning(path, &json, NATIVE)?;
            ensure!(
                Action::of(meaning.default_value()) != Action::Allow,
                "it allows what it does not name, so there is nothing to add"
            );
            Ok((String::from_utf8(json.clone())?, meaning))
        };
        let (json, meaning) = load().with_context(|| Name(path).to_string())?;
        Ok(Self::with(Some(path.into()), options, json, meaning))
    }

    fn with(old: Option<PathBuf>, options: ProfileArgs, json: String, meaning: Meaning) -> Self {
        Self {
            old,
            options,
            json,
            meaning,
            started: false,
            added: BTreeSet::new(),
            asked: BTreeMap::new(),
            settled: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            more_unnamed: false,
            error: None,
        }
    }

    /// The program was started, which is an execve(2) that a container engine makes under the profile.
    pub fn started(&mut self) {
        self.started = true;
        let nr = syscalls::x86_64::Sysno::execve.id();
        self.call(&SeccompData { nr, arch: NATIVE.audit_arch(), instruction_pointer: 0, args: [0; 6] });
    }

    /// A call was made.
    pub fn call(&mut self, data: &SeccompData) {
        let call = (data.arch, data.nr);
        if self.settled.contains(&call) {
            return;
        }
        let Some((arch, name)) =
            Arch::of_call(data.arch, data.nr).and_then(|arch| Some((arch, arch.syscall_name(data.nr)?)))
        else {
            if self.unnamed.len() < MAX_TOLD || self.unnamed.contains(&call) {
                self.unnamed.insert(call);
            } else {
                self.more_unnamed = true;
            }
            return;
        };
        if self.meaning.entry_of(data).is_none()
            && let Err(error) = self.add_arch(arch)
        {
            // The program goes on; what could not be written is told when it ends.
            self.error.get_or_insert(error);
            return;
        }
        let (value, rule) = self.meaning.decide(data);
        match (Action::of(value), rule) {
            (Action::Allow, _) | (Action::Log, Some(_)) => {}
            (Action::Trace | Action::UserNotif, Some(rule)) => {
                self.asked.insert(name, rule);
            }
            _ => {
                self.added.insert(name);
            }
        }
        let alternatives = self.meaning.alternatives(arch, data.nr.cast_unsigned());
        if self.added.contains(name) || alternatives.iter().all(|each| each.comparisons.is_empty()) {
            self.settled.insert(call);
        }
    }

    fn add_arch(&mut self, arch: Arch) -> anyhow::Result<()> {
        let json = edit::add_arch(&self.json, NATIVE, arch)?;
        self.meaning = self.options.resolve(json.as_bytes(), NATIVE)?;
        self.json = json;
        Ok(())
    }

    /// The profile with all that was seen; none if the program did not start. What is odd about it is told on standard
    /// error.
    ///
    /// # Errors
    ///
    /// The old profile contradicts itself on an architecture that was seen.
    pub fn finish(self) -> anyhow::Result<Option<String>> {
        let old = self.old.as_deref().map_or("the profile".into(), |old| Name(old).to_string());
        if let Some(error) = self.error {
            return Err(error.context(old));
        }
        if !self.started {
            return Ok(None);
        }
        for (arch, nr) in &self.unnamed {
            let arch = Arch::of_call(*arch, *nr).map_or("an unknown architecture", Arch::name);
            report::warning(format_args!("call {nr} of {arch} has no name, so no profile can allow it"));
        }
        if self.more_unnamed {
            report::warning("there were more calls without a name");
        }
        for (name, rule) in &self.asked {
            report::warning(format_args!("{old}: {name} is left to whom syscalls[{rule}] asks"));
        }
        let overruled = self.added.iter().filter_map(|name| Some((name, self.overruled(name)?)));
        for (index, (name, rules)) in overruled.enumerate() {
            if index == MAX_TOLD {
                report::warning(format_args!("{old}: other calls are overruled too"));
                break;
            }
            report::warning(format_args!(
                "{old}: {name} is allowed now whatever its arguments, where {rules} said otherwise"
            ));
        }
        edit::allow(&self.json, &self.added).map(Some)
    }

    /// The rules that say something of a call, in words.
    fn overruled(&self, name: &str) -> Option<String> {
        let rules = self.meaning.arches().filter_map(|arch| {
            let nr = arch.syscall_number(name)?;
            Some(self.meaning.alternatives(arch, nr.cast_unsigned()))
        });
        let rules: BTreeSet<_> = rules.flatten().map(|alternative| alternative.rule).collect();
        let rules: Vec<_> = rules.iter().map(|rule| format!("syscalls[{rule}]")).collect();
        (!rules.is_empty()).then(|| rules.join(", "))
    }
}
