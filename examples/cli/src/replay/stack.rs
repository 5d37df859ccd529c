//! What a stack of filters would decide about calls of which not everything is known.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context;
use cbpf_translator::{Checked, check};
use seccomp_kernel::{Action, Arch, strictest};
use seccomp_rbpf::symbolic::{Field, Partial, Work, possible};
use seccomp_runtime::{EngineKind, Loaded, SeccompData};

use super::extension::Unsure;
use crate::engine::Engine;
use crate::filter::{self, Contents, Name};
use crate::profile_args::ProfileArgs;

/// As much work as one call may be: a fraction of a second.
const WORK: usize = 1 << 22;

/// As many calls are remembered with what was found out about them.
const MAX_REMEMBERED: usize = 1 << 14;

/// What may be decided about a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the stack may return.
    pub values: BTreeSet<u32>,
    /// Whether it may also return something that is not known: any value at all where there are no others, otherwise
    /// one that is stricter.
    pub or_else: bool,
    /// The fields on which it depends and of which not all is known.
    pub fields: BTreeSet<Field>,
    /// What else is not known.
    pub because: Option<&'static str>,
}

/// What is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The call runs.
    Allowed,
    /// Something else happens, or is asked.
    Denied,
    /// One or the other.
    Undecided,
}

impl Outcome {
    fn of(value: u32) -> Self {
        Self { values: BTreeSet::from([value]), ..Self::default() }
    }

    fn unknown(because: &'static str) -> Self {
        Self { or_else: true, because: Some(because), ..Self::default() }
    }

    /// What both say together. `self` is of newer filters than `older`.
    fn with(mut self, older: Self) -> Self {
        self.fields.extend(older.fields);
        self.because = self.because.or(older.because);
        // What is not known may be no stricter than the other, or stricter.
        self.values = match (self.values.is_empty(), older.values.is_empty()) {
            (true, _) => older.values,
            (_, true) => self.values,
            _ => {
                let pairs =
                    self.values.iter().flat_map(|new| older.values.iter().map(move |old| [*new, *old]));
                pairs
                    .filter_map(|pair| strictest(pair.map(|value| (value, ()))))
                    .map(|(value, ())| value)
                    .collect()
            }
        };
        self.or_else |= older.or_else;
        let is_strictest = |value: &u32| Action::of(*value) == Action::KillProcess;
        if !self.values.is_empty() && self.values.iter().all(is_strictest) {
            self.or_else = false;
        }
        self
    }

    /// What is known of it.
    pub fn verdict(&self) -> Verdict {
        let runs = |value: &u32| matches!(Action::of(*value), Action::Allow | Action::Log);
        if !self.values.is_empty() && !self.values.iter().any(runs) {
            Verdict::Denied
        } else if !self.or_else && self.values.iter().all(runs) {
            Verdict::Allowed
        } else {
            Verdict::Undecided
        }
    }
}

/// Filters of a thread.
pub struct Stack {
    newest_first: Vec<Judge>,
    /// By architecture and number: what is decided whatever the rest is, if it is.
    constants: HashMap<(u32, i32), Option<Rc<Outcome>>>,
    /// Of other calls, where no filter has a memory of its own.
    remembered: HashMap<Partial, Rc<Outcome>>,
}

enum Judge {
    Classic { program: Checked, loaded: Loaded },
    Extension(Unsure),
}

impl Stack {
    /// Loads filters, the oldest first.
    ///
    /// # Errors
    ///
    /// A filter is refused.
    pub fn load(paths: &[PathBuf], arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Self> {
        let native = Engine { kind: EngineKind::Native, plan: false };
        let load = |path: &PathBuf| -> anyhow::Result<_> {
            let name = || Name(path).to_string();
            match filter::load_contents(path, arch, profile)? {
                Contents::Classic(insns) => {
                    let program = check(insns).with_context(name)?;
                    Ok(Judge::Classic { loaded: native.load(program.clone())?, program })
                }
                Contents::Object(filter) => Unsure::load(filter).with_context(name).map(Judge::Extension),
            }
        };
        let newest_first = paths.iter().rev().map(load).collect::<anyhow::Result<_>>()?;
        Ok(Self { newest_first, constants: HashMap::new(), remembered: HashMap::new() })
    }

    /// What it decides about a call. A filter that remembers sees them in the order in which this is asked.
    pub fn decide(&mut self, call: &Partial) -> Rc<Outcome> {
        let number = (call.data.arch, call.data.nr);
        if let Some(Some(outcome)) = self.constants.get(&number) {
            return Rc::clone(outcome);
        }
        if !self.constants.contains_key(&number) {
            if self.constants.len() >= MAX_REMEMBERED {
                self.constants.clear();
            }
            let constant = self.constant(call).map(Rc::new);
            self.constants.insert(number, constant.clone());
            if let Some(outcome) = constant {
                return outcome;
            }
        }
        if let Some(outcome) = self.remembered.get(call) {
            return Rc::clone(outcome);
        }
        let mut forgets = true;
        let outcomes = self.newest_first.iter_mut().map(|judge| match judge {
            Judge::Classic { program, loaded } => classic(program, loaded, call),
            Judge::Extension(filter) => {
                forgets = false;
                filter.decide(call)
            }
        });
        let outcome = Rc::new(outcomes.reduce(Outcome::with).unwrap_or_default());
        if forgets {
            if self.remembered.len() >= MAX_REMEMBERED {
                self.remembered.clear();
            }
            self.remembered.insert(*call, Rc::clone(&outcome));
        }
        outcome
    }

    /// What is decided about every call of this number, if that is one value.
    fn constant(&self, call: &Partial) -> Option<Outcome> {
        let number = Partial { ip: 0, args: [0; 6], ..*call };
        let outcomes = self.newest_first.iter().map(|judge| match judge {
            Judge::Classic { program, .. } => {
                let found = possible(program, &number, &mut Work::new(WORK)).ok()?;
                let mut values = found.values.into_iter();
                Some(Outcome::of(values.next().filter(|_| values.len() == 0)?))
            }
            Judge::Extension(filter) => filter.planned(&number.data).map(Outcome::of),
        });
        outcomes.collect::<Option<Vec<_>>>()?.into_iter().reduce(Outcome::with)
    }
}

fn classic(program: &Checked, loaded: &Loaded, call: &Partial) -> Outcome {
    if call.is_known() {
        return Outcome::of(loaded.run(&call.data));
    }
    match possible(program, call, &mut Work::new(WORK)) {
        Ok(found) => Outcome { values: found.values, fields: found.fields, ..Outcome::default() },
        Err(_) => Outcome::unknown("there are too many ways through the filter"),
    }
}

impl From<u32> for Outcome {
    fn from(value: u32) -> Self {
        Self::of(value)
    }
}

/// A filter whose value is not known, because of this.
pub fn unknown(because: &'static str, fields: BTreeSet<Field>) -> Outcome {
    Outcome { fields, ..Outcome::unknown(because) }
}

/// The call of which only these fields are known.
pub fn is_known(call: &Partial, field: Field) -> bool {
    match field {
        Field::Nr | Field::Arch => true,
        Field::Ip => call.ip == u64::MAX,
        Field::Arg(index) => call.args.get(usize::from(index)).is_none_or(|mask| *mask == u64::MAX),
    }
}

/// A call of which everything is known.
pub fn whole(data: SeccompData) -> Partial {
    Partial { data, ip: u64::MAX, args: [u64::MAX; 6] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const KILL: u32 = 0x8000_0000;

    #[test]
    fn what_is_known_of_stacks() {
        let of = |values: &[u32]| Outcome { values: values.iter().copied().collect(), ..Outcome::default() };
        let any = || Outcome::unknown("x");
        let rows = [
            (of(&[ALLOW]), of(&[EPERM]), &[EPERM][..], false, Verdict::Denied),
            (of(&[ALLOW, EPERM]), of(&[ALLOW]), &[EPERM, ALLOW], false, Verdict::Undecided),
            (of(&[ALLOW, EPERM]), of(&[KILL]), &[KILL], false, Verdict::Denied),
            (any(), of(&[ALLOW]), &[ALLOW], true, Verdict::Undecided),
            (of(&[EPERM]), any(), &[EPERM], true, Verdict::Denied),
            (of(&[KILL]), any(), &[KILL], false, Verdict::Denied),
            (any(), any(), &[], true, Verdict::Undecided),
            (of(&[ALLOW]), of(&[0x7ffc_0000]), &[0x7ffc_0000], false, Verdict::Allowed),
        ];
        for (new, old, values, or_else, verdict) in rows {
            let both = new.with(old);
            assert_eq!(both.values, values.iter().copied().collect());
            assert_eq!((both.or_else, both.verdict()), (or_else, verdict), "{values:x?}");
        }
    }
}
