//! eBPF filters from object files.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use cbpf_translator::Insn;
use cbpf_translator::disasm::EbpfInsn;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_rbpf::object::Object;
use seccomp_runtime::verifier::{
    Environment, Helper, Log, MapDescriptor, Program, Verified, VerifyError, verify_logged,
};
use seccomp_runtime::{self as runtime, HELPERS, Map, Update};

use crate::engine::Engine;

/// An eBPF filter of an object file, not proved safe.
pub struct Unverified {
    /// Its name in the object file.
    pub name: String,
    pub insns: Vec<Insn>,
    object: Arc<Object>,
}

/// One that is proved safe.
pub struct Extension {
    pub name: String,
    pub verified: Verified,
    /// What is put into its maps when they are made: which map, key and value.
    pub first_entries: Vec<(usize, Vec<u8>, Vec<u8>)>,
    object: Arc<Object>,
}

/// One in an engine, with maps of its own.
pub struct Loaded {
    pub filter: runtime::Extension,
    pub maps: Vec<NamedMap>,
}

/// A map, and what it is called.
#[derive(Clone)]
pub struct NamedMap {
    pub name: String,
    pub map: Arc<Map>,
}

/// The object file and the filter in it that an argument names: `FILE.o`, or `FILE.o:NAME` of one with several.
pub fn split(argument: &Path) -> (PathBuf, Option<String>) {
    let parts = argument.to_str().and_then(|text| text.rsplit_once(':'));
    match parts {
        // A file may have a colon in its name.
        Some((file, name)) if !argument.exists() && !name.is_empty() && Path::new(file).exists() => {
            (file.into(), Some(name.into()))
        }
        _ => (argument.into(), None),
    }
}

/// Every filter of an object file, or the one of this name.
pub fn all(bytes: &[u8], name: Option<&str>) -> anyhow::Result<Vec<Unverified>> {
    let object = Arc::new(Object::parse(bytes)?);
    let wanted = match name {
        None => object.filters.clone(),
        Some(_) => vec![object.filter(name)?.clone()],
    };
    let filters = wanted.into_iter().map(|filter| Unverified {
        name: filter.name,
        insns: filter.insns,
        object: Arc::clone(&object),
    });
    Ok(filters.collect())
}

/// The only filter of an object file, or the one of this name.
pub fn one(bytes: &[u8], name: Option<&str>) -> anyhow::Result<Unverified> {
    let object = Object::parse(bytes)?;
    let filter = object.filter(name)?.clone();
    Ok(Unverified { name: filter.name, insns: filter.insns, object: Arc::new(object) })
}

/// The helpers that filters may call: all of them.
fn helpers() -> [Helper; HELPERS.len()] {
    HELPERS.each_ref().map(|row| row.helper)
}

impl Unverified {
    /// Proves it safe. `log` hears of each step.
    pub fn verify(self, log: &mut dyn Log) -> anyhow::Result<Extension> {
        let Self { name, insns, object } = self;
        let environment = Environment { maps: &object.descriptors(), helpers: &helpers() };
        let program = Program::new(insns.clone());
        let verified = verify_logged(program, &environment, log).map_err(|error| match error {
            VerifyError::Insn { pc, .. } => {
                let insn = EbpfInsn { program: &insns, pc };
                anyhow::Error::new(error).context(format!("filter {name}: `{insn}`"))
            }
            error => anyhow::Error::new(error).context(format!("filter {name}")),
        })?;
        Ok(Extension { name, verified, first_entries: Vec::new(), object })
    }
}

impl Extension {
    /// Loads it with new maps.
    ///
    /// # Errors
    ///
    /// The engine cannot run it here.
    pub fn load(&self, engine: Engine) -> anyhow::Result<Loaded> {
        let load = || {
            let maps = self.object.create_maps(seed())?;
            for (index, key, value) in &self.first_entries {
                let name = || format!("--set: map {}", self.object.maps[*index].name);
                maps[*index].update(key, value, Update::Any).with_context(name)?;
            }
            let named = self.object.maps.iter().zip(&maps);
            let named = named.map(|(section, map)| NamedMap { name: section.name.clone(), map: map.clone() });
            let named = named.collect();
            let filter =
                runtime::Extension::load(&self.verified, maps, &HELPERS, engine.kind, &HostExecMemory)?;
            if let Some(error) = filter.fell_back() {
                return Err(anyhow!("{error}"));
            }
            let filter = filter.planned(engine.planned_arches())?;
            Ok(Loaded { filter, maps: named })
        };
        load().with_context(|| format!("filter {} on engine {}", self.name, engine.name()))
    }

    /// The map of this name, by its index.
    pub fn map(&self, name: &str) -> Option<(usize, MapDescriptor)> {
        let index = self.map_names().position(|other| other == name)?;
        Some((index, self.object.maps[index].descriptor))
    }

    /// The names of its maps, by their index.
    pub fn map_names(&self) -> impl Iterator<Item = &str> {
        self.object.maps.iter().map(|map| map.name.as_str())
    }
}

/// What nobody else knows.
pub fn seed() -> [u64; 2] {
    [(); 2].map(|()| RandomState::new().build_hasher().finish())
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verified = &self.verified;
        write!(
            f,
            "{} eBPF instructions, {} followed, {} bytes of stack",
            verified.insns().len(),
            verified.visited(),
            verified.stack()
        )
    }
}
