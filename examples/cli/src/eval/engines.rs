//! A stack of filters on one engine or on each.

use std::fmt::Write;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use cbpf_translator::Checked;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use seccomp_kernel::{Arch, strictest};
use seccomp_runtime::{Loaded, SeccompData};

use crate::engine::Engine;
use crate::filter::{self, Name};
use crate::profile_args::ProfileArgs;

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
    ) -> anyhow::Result<Self> {
        let paths: Vec<_> = paths.iter().rev().cloned().collect();
        let filters: Vec<_> = paths
            .iter()
            .map(|path| filter::load_checked(path, arch, profile))
            .collect::<anyhow::Result<_>>()?;
        let stacks = match selection {
            Selection::One(engine) => vec![Stack::load(engine, &filters)?],
            Selection::All => {
                Engine::all().map(|engine| Stack::load(engine, &filters)).collect::<anyhow::Result<_>>()?
            }
        };
        Ok(Self { paths, stacks })
    }

    /// The filters' return value for a call, and the filter that it is from.
    ///
    /// # Errors
    ///
    /// The engines disagree.
    #[inline]
    pub fn decide(&self, data: &SeccompData) -> anyhow::Result<(u32, &Path)> {
        let (first, others) = self.stacks.split_first().context("no engine")?;
        let decision = first.run(data);
        if others.iter().any(|other| other.run(data) != decision) {
            return Err(self.disagreement(data));
        }
        let (value, index) = decision.context("no filter")?;
        Ok((value, &self.paths[index]))
    }

    #[cold]
    fn disagreement(&self, data: &SeccompData) -> anyhow::Error {
        let mut text = String::from("the engines disagree:");
        for stack in &self.stacks {
            let value = stack.run(data).map_or(String::new(), |(value, _)| format!(" {value:#010x}"));
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
    newest_first: Vec<Loaded>,
}

impl Stack {
    fn load(engine: Engine, newest_first: &[Checked]) -> anyhow::Result<Self> {
        let loaded = newest_first.iter().cloned().map(|filter| engine.load(filter));
        Ok(Self { engine, newest_first: loaded.collect::<anyhow::Result<_>>()? })
    }

    /// The return value that counts, and the index of its filter.
    #[inline]
    fn run(&self, data: &SeccompData) -> Option<(u32, usize)> {
        strictest(self.newest_first.iter().map(|filter| filter.run(data)).zip(0..))
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
            Stack::load(Engine { kind, plan: false }, &[filter]).unwrap()
        };
        let engines = |value| Engines {
            paths: vec!["a.bpf".into()],
            stacks: vec![stack(EngineKind::Interpreter, 1), stack(EngineKind::Native, value)],
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
