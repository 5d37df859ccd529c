//! A stack of filters on one engine or on each.

use std::fmt::Write;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use seccomp_kernel::{Arch, Program, strictest};
use seccomp_runtime::SeccompData;

use crate::engine::Engine;
use crate::extension::NamedMap;
use crate::filter::{self, Filter, Name};
use crate::host::{Asked, ThisProcess};
use crate::profile_args::ProfileArgs;
use crate::setting::{self, Setting};

/// `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// This engine.
    One(Engine),
    /// Every engine that the machine has, to compare them.
    All,
}

const ALL: &str = "all";

/// Parses an engine's name, or `all`.
pub fn parser() -> impl TypedValueParser<Value = Selection> {
    let names = Engine::all().map(Engine::name).chain(iter::once(ALL));
    PossibleValuesParser::new(names).map(|name| {
        let engine = Engine::all().find(|engine| engine.name() == name);
        engine.map_or(Selection::All, Selection::One)
    })
}

/// Filters, loaded into each engine of a [`Selection`].
pub struct Engines {
    /// The filters' names, the newest first.
    paths: Vec<PathBuf>,
    stacks: Vec<Stack>,
    host: ThisProcess,
}

impl Engines {
    /// Loads filters, the oldest first.
    ///
    /// # Errors
    ///
    /// A filter is refused, or a selected engine cannot run it.
    pub fn load(
        paths: &[PathBuf],
        arch: Arch,
        profile: &ProfileArgs,
        selection: Selection,
        settings: &[Setting],
        host: ThisProcess,
    ) -> anyhow::Result<Self> {
        let paths: Vec<_> = paths.iter().rev().cloned().collect();
        let mut filters: Vec<_> =
            paths.iter().map(|path| filter::load_any(path, arch, profile)).collect::<anyhow::Result<_>>()?;
        setting::apply(&mut filters, settings)?;
        let stacks = match selection {
            Selection::One(engine) => vec![Stack::load(engine, &filters)?],
            Selection::All => {
                Engine::all().map(|engine| Stack::load(engine, &filters)).collect::<anyhow::Result<_>>()?
            }
        };
        Ok(Self { paths, stacks, host })
    }

    /// The filters' return value for a call, and the filter that it is from.
    ///
    /// # Errors
    ///
    /// The engines disagree.
    #[inline]
    pub fn decide(&self, data: &SeccompData) -> anyhow::Result<(u32, &Path)> {
        let (first, others) = self.stacks.split_first().context("no engine")?;
        let moment = self.host.moment();
        let decision = first.run(data, &moment.told());
        if !others.is_empty() {
            // Each has maps of its own, and all have to do the same with them.
            let mut all = vec![decision];
            all.extend(others.iter().map(|other| other.run(data, &moment.untold())));
            if all.iter().any(|other| *other != decision) {
                return Err(self.disagreement(data, &all));
            }
        }
        let (value, index) = decision.context("no filter")?;
        Ok((value, &self.paths[index]))
    }

    /// The maps of the filters, the oldest first, on the first engine.
    pub fn maps(&self) -> impl Iterator<Item = &NamedMap> {
        let filters = self.stacks.first().into_iter().flat_map(|stack| stack.newest_first.iter().rev());
        filters.flat_map(|(_, maps)| maps)
    }

    #[cold]
    fn disagreement(&self, data: &SeccompData, decisions: &[Option<(u32, usize)>]) -> anyhow::Error {
        let mut text = String::from("the engines disagree:");
        for (stack, decision) in self.stacks.iter().zip(decisions) {
            let value = decision.map_or(String::new(), |(value, _)| format!(" {value:#010x}"));
            // A string takes everything.
            let _ = write!(text, " {}{value},", stack.engine.name());
        }
        let SeccompData { nr, arch, instruction_pointer, args } = data;
        let _ = write!(text, " for nr {nr} arch {arch:#x} ip {instruction_pointer:#x} args {args:x?}");
        let names: Vec<_> = self.paths.iter().rev().map(|path| Name(path).to_string()).collect();
        anyhow!("{text} and filters {}", names.join(" "))
    }
}

/// Filters on one engine.
struct Stack {
    engine: Engine,
    newest_first: Vec<(Program, Vec<NamedMap>)>,
}

impl Stack {
    fn load(engine: Engine, newest_first: &[Filter]) -> anyhow::Result<Self> {
        let loaded = newest_first.iter().map(|filter| engine.load_any(filter));
        Ok(Self { engine, newest_first: loaded.collect::<anyhow::Result<_>>()? })
    }

    /// The return value that counts, and the index of its filter.
    #[inline]
    fn run(&self, data: &SeccompData, host: &Asked<'_>) -> Option<(u32, usize)> {
        strictest(self.newest_first.iter().map(|(filter, _)| filter.run(data, Some(host))).zip(0..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbpf_translator::{SockFilter, check};
    use seccomp_runtime::EngineKind;

    #[test]
    fn a_disagreement_names_engines_call_and_filters() {
        let stack = |kind, value| {
            let filter = check(vec![SockFilter::new(0x06, 0, 0, value)]).unwrap();
            Stack::load(Engine { kind, plan: false }, &[Filter::Classic(filter)]).unwrap()
        };
        let engines = |value| Engines {
            paths: vec!["a.bpf".into()],
            stacks: vec![stack(EngineKind::Interpreter, 1), stack(EngineKind::Native, value)],
            host: ThisProcess::new(Vec::new()),
        };
        let data =
            SeccompData { nr: -1, arch: 0xc000_003e, args: [255, 0, 0, 0, 0, 1], ..Default::default() };
        assert_eq!(engines(1).decide(&data).unwrap(), (1, Path::new("a.bpf")));
        assert_eq!(
            engines(2).decide(&data).unwrap_err().to_string(),
            "the engines disagree: interpreter 0x00000001, native 0x00000002, for nr -1 arch 0xc000003e ip 0x0 \
             args [ff, 0, 0, 0, 0, 1] and filters a.bpf"
        );
    }
}
