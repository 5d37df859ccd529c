//! What calls a program made, and the profile that they come to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::uapi::MAX_ERRNO;
use seccomp_kernel::{Action, Arch};
use seccomp_rbpf::profile::{self, Alternative, Meaning, edit};

use super::starter::Starter;
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
    match number::parse(text, u16::BITS) {
        Ok(number) => {
            let errno = u16::try_from(number).ok().filter(|errno| (1..=MAX_ERRNO).contains(errno));
            errno.context("no errno")
        }
        Err(_) => profile::errno(text),
    }
}

/// The calls that were seen, on top of a profile.
pub struct Seen {
    /// Where the profile is from, if it was there before.
    old: Option<PathBuf>,
    options: ProfileArgs,
    /// What the old one is a part of, or all of it.
    whole: Option<String>,
    /// Who starts the program under the profile, and calls more than execve(2) for it.
    starter: Option<Starter>,
    /// The profile, with every architecture that was seen.
    json: String,
    meaning: Meaning,
    started: bool,
    /// The entries that it did not have.
    arches: Vec<Arch>,
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
            let whole = String::from_utf8(json.clone())?;
            Ok((edit::section(&whole)?.to_string(), whole, meaning))
        };
        let (json, whole, meaning) = load().with_context(|| Name(path).to_string())?;
        Ok(Self { whole: Some(whole), ..Self::with(Some(path.into()), options, json, meaning) })
    }

    /// For a program that is started by this engine.
    pub fn started_by(self, starter: Option<Starter>) -> Self {
        Self { starter, ..self }
    }

    fn with(old: Option<PathBuf>, options: ProfileArgs, json: String, meaning: Meaning) -> Self {
        Self {
            old,
            options,
            whole: None,
            starter: None,
            json,
            meaning,
            started: false,
            arches: Vec::new(),
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
        self.starter.into_iter().flat_map(Starter::calls).for_each(|nr| self.needed(nr));
    }

    /// A call will be made under the profile, with arguments that are not known.
    fn needed(&mut self, nr: i32) {
        let alternatives = self.meaning.alternatives(NATIVE, nr.cast_unsigned());
        let asks = |each: &&Alternative| matches!(Action::of(each.value), Action::Trace | Action::UserNotif);
        let asked = alternatives.iter().find(asks).map(|each| each.rule);
        let is_conditional = alternatives.iter().any(|each| !each.comparisons.is_empty());
        match (NATIVE.syscall_name(nr), asked) {
            (Some(name), Some(rule)) => _ = self.asked.insert(name, rule),
            (Some(name), None) if is_conditional => _ = self.added.insert(name),
            // Its arguments do not matter.
            _ => self.call(&SeccompData {
                nr,
                arch: NATIVE.audit_arch(),
                instruction_pointer: 0,
                args: [0; 6],
            }),
        }
    }

    /// A call was made.
    pub fn call(&mut self, data: &SeccompData) {
        let call = (data.arch, data.nr);
        if self.settled.contains(&call) || self.error.is_some() {
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
            self.error = Some(error);
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
        self.arches.push(arch);
        Ok(())
    }

    /// The profile with all that was seen; none if the program did not start. What is odd about it is told on standard
    /// error.
    ///
    /// # Errors
    ///
    /// The old profile contradicts itself on an architecture that was seen, or cannot allow what was.
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
        for arch in self.arches.iter().filter(|_| self.old.is_some()) {
            let arch = arch.name();
            report::warning(format_args!(
                "{old}: {arch} is among its architectures now, with all calls that it allows"
            ));
        }
        for (name, rule) in self.asked.iter().filter(|(name, _)| !self.added.contains(*name)) {
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
        let json = edit::allow(&self.json, &self.added)?;
        // A rule of socketcall(2) can contradict one of socket(2).
        self.options
            .resolve(json.as_bytes(), NATIVE)
            .with_context(|| format!("{old}, with what was seen"))?;
        Ok(Some(match &self.whole {
            Some(whole) => edit::with_section(whole, &json)?,
            None => json,
        }))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use rand::Rng;
    use seccomp_rbpf::profile::Profile;
    use seccomp_tests::generate;
    use seccomp_tests::profiles::{self, Asked, Libseccomp, Names};
    use tempfile::TempDir;

    use super::*;

    const ASKED: Asked<'static> = Asked { arch: "amd64", caps: &[], kernel: (6, 1) };

    fn decide(meaning: &Meaning, call: &SeccompData) -> Action {
        Action::of(meaning.decide(call).0)
    }

    /// What was seen is allowed on top of generated profiles, what is not about it is decided as before, and seen
    /// again it changes nothing.
    #[test]
    fn profiles_get_what_was_seen_and_keep_the_rest() {
        let mut rng = generate::seeded();
        let names = Names::of(&[Arch::X86_64, Arch::I386], &Libseccomp::new());
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("old.json");
        let mut merged = 0;
        for _ in 0..300 {
            let profile = profiles::profile(&mut rng, &names);
            let json = serde_json::to_string_pretty(&profile).unwrap();
            let options = ProfileArgs::default();
            fs::write(&path, &json).unwrap();
            let (Ok(before), Ok(mut seen)) =
                (options.resolve(json.as_bytes(), NATIVE), Seen::on_top_of(&path, options.clone()))
            else {
                continue;
            };
            let rules = profiles::rules(&profile, ASKED);
            let calls: Vec<_> = [Arch::X86_64, Arch::I386, Arch::X32]
                .into_iter()
                .flat_map(|arch| profiles::calls(arch, &rules, &mut rng))
                .collect();
            let mut made = Vec::new();
            for _ in 0..rng.random_range(1..30) {
                let call = calls[rng.random_range(0..calls.len())];
                if call.arch == NATIVE.audit_arch() || rng.random_bool(0.3) {
                    made.push(call);
                }
            }
            seen.started();
            made.iter().for_each(|call| seen.call(call));
            let added = seen.added.clone();
            // A new architecture, or a name of two ways to make a call, can contradict what is there.
            let Ok(Some(text)) = seen.finish() else { continue };
            merged += 1;
            Profile::parse(text.as_bytes()).unwrap();
            let after = options.resolve(text.as_bytes(), NATIVE).unwrap();
            let name = |call: &SeccompData| Arch::of_call(call.arch, call.nr)?.syscall_name(call.nr);
            for call in made.iter().filter(|call| name(call).is_some()) {
                let (value, rule) = after.decide(call);
                let runs = match Action::of(value) {
                    Action::Allow => true,
                    Action::Log | Action::Trace | Action::UserNotif => rule.is_some(),
                    _ => false,
                };
                assert!(runs, "{call:?}\n{json}\n{text}");
            }
            for call in calls.iter().filter(|call| before.entry_of(call).is_some()) {
                let is_added = name(call)
                    .is_some_and(|name| added.contains(name) || matches!(name, "socketcall" | "ipc"));
                if is_added {
                    assert!(decide(&before, call) != Action::Allow || decide(&after, call) == Action::Allow);
                } else {
                    assert_eq!(after.decide(call).0, before.decide(call).0, "{call:?}\n{json}\n{text}");
                }
            }
            fs::write(&path, &text).unwrap();
            let mut again = Seen::on_top_of(&path, options).unwrap();
            again.started();
            made.iter().for_each(|call| again.call(call));
            assert_eq!(again.finish().unwrap().unwrap(), text);
        }
        assert!(merged > 50, "{merged}");
    }
}
