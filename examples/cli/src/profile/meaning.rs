//! What a profile means on one machine.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use cbpf_translator::seccomp::RET_KILL_THREAD;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_runtime::SeccompData;

use super::action::Action;
use super::comparison::{Comparison, Operator};
use super::format::{Arg, Op, Profile, Rule};
use super::machine::Machine;
use super::multiplexed::multiplexed;
use super::names::{self, ArchName};
use super::order::{Conflict, Order};
use crate::names::{Meant, no_such};

/// The most rules for one system call with its comparisons that a profile may come to. No filter has room for
/// so many.
const MAX_RULES: usize = 1 << 15;

/// The return value for calls by an entry that the profile does not have (libseccomp's `act_badarch`).
pub(super) const OTHER_ENTRY: u32 = RET_KILL_THREAD;

/// What `flags` may hold. They are for whoever installs the filter, which is the same with them.
const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// A profile's meaning on a machine: what each call gets, and by which rule.
#[derive(Clone, Debug)]
pub struct Meaning {
    pub(super) default: u32,
    pub(super) entries: Vec<Entry>,
    warnings: Vec<String>,
}

/// The calls of one architecture.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) arch: Arch,
    /// Those with rules, by number.
    pub(super) calls: BTreeMap<u32, Vec<Alternative>>,
}

/// What one rule says of one call. The first alternative that holds counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// All have to hold, in the order of the arguments; each argument has one at most.
    pub comparisons: Vec<Comparison>,
    /// The return value.
    pub value: u32,
    /// The rule's index in the profile's `syscalls`.
    pub rule: usize,
}

impl Alternative {
    pub(super) fn holds(&self, args: &[u64; 6]) -> bool {
        self.comparisons.iter().all(|comparison| comparison.holds(args))
    }
}

impl Profile {
    /// The profile's meaning on `machine`.
    ///
    /// # Errors
    ///
    /// The profile contradicts itself, or says what there is not. The message has the rule's index.
    pub fn resolve(&self, machine: &Machine) -> anyhow::Result<Meaning> {
        let mut warnings: Vec<_> =
            self.unknown_keys.iter().map(|key| format!("{key}: not a key of profiles, ignored")).collect();
        for flag in self.flags.iter().flatten() {
            ensure!(FLAGS.contains(&flag.as_str()), "flags: {}", no_such("flag", flag, FLAGS));
        }
        let default = self
            .default_action
            .value(self.default_errno_ret, self.default_errno.as_deref())
            .context("defaultAction")?;
        ensure!(
            self.default_action != Action::Notify,
            "defaultAction: SCMP_ACT_NOTIFY, which runc refuses there"
        );
        let arches = self.arches(machine.arch, &mut warnings)?;
        let mut resolver =
            Resolver { default, rules: Vec::new(), unknown: BTreeSet::new(), notified: None, warnings };
        for (index, rule) in self.syscalls.iter().flatten().enumerate() {
            resolver.rule(index, rule, machine).with_context(|| format!("syscalls[{index}]"))?;
        }
        let has_listener = self.listener_path.as_deref().is_some_and(|path| !path.is_empty());
        if let Some(index) = resolver.notified.filter(|_| !has_listener) {
            resolver.warnings.push(format!(
                "syscalls[{index}]: SCMP_ACT_NOTIFY, and listenerPath is not set: runc starts no container so"
            ));
        }
        let entries = arches.into_iter().map(|arch| resolver.entry(arch)).collect::<anyhow::Result<_>>()?;
        Ok(Meaning { default, entries, warnings: resolver.warnings })
    }

    /// The architectures that the filter is for, the machine's own first.
    fn arches(&self, native: Arch, warnings: &mut Vec<String>) -> anyhow::Result<Vec<Arch>> {
        let listed = self.architectures.as_deref().unwrap_or_default();
        let mapped = self.arch_map.as_deref().unwrap_or_default();
        ensure!(
            listed.is_empty() || mapped.is_empty(),
            "both architectures and archMap, where one is enough"
        );

        let mut arches = vec![native];
        let mut add = |name: &str, place: &dyn Fn() -> String| -> anyhow::Result<()> {
            match ArchName::parse(name) {
                Some(ArchName::Known(arch)) if !arches.contains(&arch) => arches.push(arch),
                Some(ArchName::Known(_)) => {}
                Some(ArchName::BigEndian) => bail!(
                    "{}: {name} has another byte order than {}, and libseccomp refuses both in one filter",
                    place(),
                    native.name()
                ),
                Some(ArchName::Foreign) => {
                    warnings.push(format!("{}: {name} is not known here and left out", place()));
                }
                None => bail!("{}: {}", place(), no_such("architecture", name, names::arches())),
            }
            Ok(())
        };
        for (index, name) in listed.iter().enumerate() {
            add(name, &|| format!("architectures[{index}]"))?;
        }
        for (index, map) in mapped.iter().enumerate() {
            match ArchName::parse(&map.architecture) {
                Some(ArchName::Known(arch)) if arch == native => {
                    for (sub, name) in map.sub_architectures.iter().flatten().enumerate() {
                        add(name, &|| format!("archMap[{index}].subArchitectures[{sub}]"))?;
                    }
                }
                Some(_) => {}
                None => {
                    bail!("archMap[{index}]: {}", no_such("architecture", &map.architecture, names::arches()))
                }
            }
        }
        Ok(arches)
    }
}

/// A rule for one name, on no architecture yet.
struct Named<'p> {
    name: &'p str,
    /// No argument stands twice.
    args: Vec<(u8, Operator, u64)>,
    value: u32,
    rule: usize,
}

struct Resolver<'p> {
    default: u32,
    rules: Vec<Named<'p>>,
    /// Names that no architecture has.
    unknown: BTreeSet<&'p str>,
    /// The first rule that asks a supervisor.
    notified: Option<usize>,
    warnings: Vec<String>,
}

impl<'p> Resolver<'p> {
    /// Takes a rule, if it is for the machine and says another thing than the default.
    fn rule(&mut self, index: usize, rule: &'p Rule, machine: &Machine) -> anyhow::Result<()> {
        let names = rule.names()?;
        let value = rule.action.value(rule.errno_ret, rule.errno.as_deref())?;
        let args = rule.args.iter().flatten().enumerate();
        let args: Vec<_> = args
            .map(|(place, arg)| comparison(arg).with_context(|| format!("args[{place}]")))
            .collect::<anyhow::Result<_>>()?;
        if !machine.takes(rule.includes.as_ref(), rule.excludes.as_ref())? {
            return Ok(());
        }
        for name in names.iter().map(String::as_str) {
            ensure!(!name.is_empty(), "a name is empty");
            if rule.action == Action::Notify {
                ensure!(
                    name != "write",
                    "SCMP_ACT_NOTIFY for write, which runc refuses: it hands the listener over with that call"
                );
                self.notified.get_or_insert(index);
            }
            if !names::is_syscall(name) && self.unknown.insert(name) {
                let meant = Meant::call(name, machine.arch);
                let said = format!("syscalls[{index}]: no system call is called {name:?}, ignored{meant}");
                self.warnings.push(said);
            }
        }
        if value == self.default {
            return Ok(());
        }
        let alternatives: Vec<_> = if has_pair(&args) {
            args.iter().map(|arg| vec![*arg]).collect()
        } else {
            let mut args = args;
            args.sort_by_key(|(arg, ..)| *arg);
            vec![args]
        };
        for name in names {
            for args in &alternatives {
                ensure!(self.rules.len() < MAX_RULES, "more than {MAX_RULES} rules with those before it");
                self.rules.push(Named { name, args: args.clone(), value, rule: index });
            }
        }
        Ok(())
    }

    /// What the rules say on `arch`.
    fn entry(&self, arch: Arch) -> anyhow::Result<Entry> {
        let mut calls: BTreeMap<u32, Vec<Alternative>> = BTreeMap::new();
        let wide = !arch.is_compat();
        for named in &self.rules {
            let Named { name, args, value, rule } = named;
            let comparisons = |args: &[(u8, Operator, u64)]| {
                args.iter()
                    .filter_map(|(arg, operator, value)| Comparison::new(*arg, *operator, *value, wide))
                    .collect()
            };
            let mut add = |nr, comparisons| {
                calls.entry(nr).or_default().push(Alternative { comparisons, value: *value, rule: *rule });
            };
            if let Some((nr, number)) = multiplexed(arch, name) {
                // The number takes the place of the first argument; the others' comparisons stay.
                let others = args.iter().filter(|(arg, ..)| *arg != 0).copied();
                let args: Vec<_> = [(0, Operator::Eq, number.into())].into_iter().chain(others).collect();
                add(nr, comparisons(&args));
            }
            if let Some(nr) = arch.syscall_number(name) {
                add(nr.cast_unsigned(), comparisons(args));
            }
        }
        for (nr, alternatives) in &mut calls {
            let ordered = ordered(alternatives).map_err(|Conflict(other)| other);
            *alternatives = ordered.or_else(|(rule, other)| {
                let name = arch.syscall_name(nr.cast_signed()).unwrap_or("a call");
                bail!("syscalls[{rule}]: contradicts syscalls[{other}], of {name} on {}", arch.name())
            })?;
        }
        Ok(Entry { arch, calls })
    }
}

/// The alternatives that count, in their order.
fn ordered(alternatives: &[Alternative]) -> Result<Vec<Alternative>, Conflict<(usize, usize)>> {
    let mut order = Order::new();
    for (index, alternative) in alternatives.iter().enumerate() {
        let Alternative { comparisons, value, rule } = alternative;
        if comparisons.is_empty() {
            // It is for all calls, whatever was said before and is said behind it.
            return Ok(vec![alternative.clone()]);
        }
        order
            .add(index, *value, comparisons)
            .map_err(|Conflict(other)| Conflict((*rule, alternatives[other].rule)))?;
    }
    Ok(order.rules().map(|index| alternatives[index].clone()).collect())
}

fn comparison(arg: &Arg) -> anyhow::Result<(u8, Operator, u64)> {
    let index = u8::try_from(arg.index).ok().filter(|index| *index < 6);
    let index = index.with_context(|| format!("index {}, where a call has six arguments", arg.index))?;
    let (operator, value) = match arg.op {
        Op::Ne => (Operator::Ne, arg.value),
        Op::Lt => (Operator::Lt, arg.value),
        Op::Le => (Operator::Le, arg.value),
        Op::Eq => (Operator::Eq, arg.value),
        Op::Ge => (Operator::Ge, arg.value),
        Op::Gt => (Operator::Gt, arg.value),
        Op::MaskedEq => (Operator::MaskedEq(arg.value), arg.value_two),
    };
    Ok((index, operator, value))
}

/// Whether two comparisons are of one argument. libseccomp refuses such a rule; runtimes then make a rule of
/// each comparison.
fn has_pair(args: &[(u8, Operator, u64)]) -> bool {
    let mut seen = [false; 6];
    args.iter().any(|(arg, ..)| std::mem::replace(&mut seen[usize::from(*arg)], true))
}

impl Meaning {
    /// What is odd about the profile, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The return value where no rule holds.
    pub fn default_value(&self) -> u32 {
        self.default
    }

    /// The calls of `arch` that have rules, by number, with their alternatives in the order in which they count.
    pub fn calls(&self, arch: Arch) -> impl Iterator<Item = (u32, &[Alternative])> {
        let entry = self.entries.iter().filter(move |entry| entry.arch == arch);
        entry.flat_map(|entry| &entry.calls).map(|(nr, alternatives)| (*nr, alternatives.as_slice()))
    }

    /// The architectures that have rules, the machine's own first. Calls by others are killed.
    pub fn arches(&self) -> impl Iterator<Item = Arch> {
        self.entries.iter().map(|entry| entry.arch)
    }

    /// The alternatives for a call, in the order in which they count.
    pub fn alternatives(&self, arch: Arch, nr: u32) -> &[Alternative] {
        let entry = self.entries.iter().find(|entry| entry.arch == arch);
        entry.and_then(|entry| entry.calls.get(&nr)).map_or(&[], Vec::as_slice)
    }

    /// The return value for a call, and the index of the rule that gives it, if one does.
    pub fn decide(&self, call: &SeccompData) -> (u32, Option<usize>) {
        let Some(arch) = self.entry_of(call) else { return (OTHER_ENTRY, None) };
        let alternatives = self.alternatives(arch, call.nr.cast_unsigned()).iter();
        match alternatives.into_iter().find(|alternative| alternative.holds(&call.args)) {
            Some(alternative) => (alternative.value, Some(alternative.rule)),
            None => (self.default, None),
        }
    }

    /// The entry that made the call, if the profile has it.
    pub fn entry_of(&self, call: &SeccompData) -> Option<Arch> {
        let has = |arch| self.arches().any(|other| other == arch);
        let nr = call.nr.cast_unsigned();
        if call.arch != Arch::X86_64.audit_arch() {
            return Arch::of_call(call.arch, call.nr).filter(|arch| has(*arch));
        }
        // -1 is what a tracer makes of a call that is to be skipped; it is not x32's.
        let x32 = nr >= X32_SYSCALL_BIT.cast_unsigned() && (has(Arch::X32) || nr != u32::MAX);
        let arch = if x32 { Arch::X32 } else { Arch::X86_64 };
        has(arch).then_some(arch)
    }
}
