//! `--engine`: what runs a filter.

use anyhow::{Context, anyhow};
use cbpf_translator::Checked;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use seccomp_kernel::{Arch, Program};
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::{EngineKind, Loaded};

use crate::extension::NamedMap;
use crate::filter::Filter;

/// An engine, and whether a plan stands in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    pub kind: EngineKind,
    pub plan: bool,
}

impl Engine {
    /// The machine's engine with a plan in front of it.
    pub const PLAN: Self = Self { kind: EngineKind::DEFAULT, plan: true };

    /// Every one that this machine has: the engines on the whole program, and the plan.
    pub fn all() -> impl Iterator<Item = Self> {
        let whole = EngineKind::ALL
            .into_iter()
            .filter(|kind| *kind != EngineKind::Jit || cfg!(target_arch = "x86_64"));
        whole.map(|kind| Self { kind, plan: false }).chain([Self::PLAN])
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        if self.plan { "plan" } else { self.kind.name() }
    }

    /// The entries that it plans filters for.
    pub fn planned_entries(self) -> &'static [Arch] {
        if self.plan {
            &[Arch::X86_64, Arch::I386, Arch::Aarch64, Arch::Riscv64, Arch::Loongarch64]
        } else {
            &[]
        }
    }

    /// The entries that it plans filters for, as filters see them.
    pub fn planned_arches(self) -> impl Iterator<Item = u32> {
        self.planned_entries().iter().map(|entry| entry.audit_arch())
    }

    /// Loads a filter of either kind. An extension has new maps.
    ///
    /// # Errors
    ///
    /// The engine cannot run it here.
    pub fn load_any(self, filter: &Filter) -> anyhow::Result<(Program, Vec<NamedMap>)> {
        Ok(match filter {
            Filter::Classic(filter) => (Program::Classic(self.load(filter.clone())?), Vec::new()),
            Filter::Extension(filter) => {
                let loaded = filter.load(self)?;
                (Program::Extension(loaded.filter), loaded.maps)
            }
        })
    }

    /// Loads a filter.
    ///
    /// # Errors
    ///
    /// The engine cannot run it here.
    pub fn load(self, filter: Checked) -> anyhow::Result<Loaded> {
        let load = || {
            let loaded = Loaded::load(filter, self.kind, &HostExecMemory)?;
            if let Some(error) = loaded.fell_back() {
                return Err(anyhow!("{error}"));
            }
            Ok(loaded.planned(self.planned_arches(), &HostExecMemory)?)
        };
        load().with_context(|| format!("engine {}", self.name()))
    }
}

/// Parses an engine's name.
pub fn parser() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::all().map(Engine::name))
        .try_map(|name| Engine::all().find(|engine| engine.name() == name).ok_or("no such engine"))
}
