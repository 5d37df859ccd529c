//! eBPF filters out of object files, as `clang -target bpf -O2 -c` and Rust's bpf-linker (aya) make them.
//!
//! A filter is a global function in the section `seccomp` or `seccomp/NAME`. Functions that it calls are put behind
//! it, maps become indices, and so do global variables: a section of them is an array of one value.
//!
//! | section | what it is |
//! |---|---|
//! | `seccomp`, `seccomp/NAME` | filters |
//! | `.text` and others with code | functions that filters call |
//! | `.maps` | maps, described by BTF (`clang -g`) |
//! | `maps`, `maps/NAME` | maps, each a `struct bpf_map_def` |
//! | `.rodata*` | constants: read-only for programs, and frozen |
//! | `.data*`, `.bss*` | variables, that all runs of all threads share |
//!
//! Nothing here proves that a filter is safe: that is for the [verifier](seccomp_runtime::verifier).

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod btf;
mod elf;
mod error;
mod link;
mod map;

use std::sync::Arc;

use cbpf_translator::Insn;
use seccomp_runtime::verifier::MapDescriptor;
use seccomp_runtime::{Map, MapOptions, Update, UserSpace};

pub use error::{Advice, MapProblem, ObjectError, Place};

use elf::Elf;
use link::Linker;
use map::Maps;

/// The filters of an object file, and their maps.
#[derive(Clone, Debug)]
pub struct Object {
    /// The filters, in the order of the file. There is at least one, and no name is there twice.
    pub filters: Vec<FilterSection>,
    /// The maps, by the index that the filters' 64-bit loads name: those that are defined, then the variables.
    pub maps: Vec<MapSection>,
}

/// A filter with all that it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterSection {
    /// `NAME` of the section `seccomp/NAME`, or the function's name in the section `seccomp`.
    pub name: String,
    /// The program, for [`verifier::Program`](seccomp_runtime::verifier::Program).
    pub insns: Vec<Insn>,
}

/// A map, not made.
#[derive(Clone, Debug)]
pub struct MapSection {
    /// Its name in C, or that of the section of variables.
    pub name: String,
    /// What a program is verified against.
    pub descriptor: MapDescriptor,
    /// The rest of its description; the seed is 0.
    pub options: MapOptions,
    /// What its only value is at the start, if not all 0.
    pub initial: Option<Vec<u8>>,
    /// Whether it is frozen when it has that value.
    pub freeze: bool,
}

impl Object {
    /// Reads an object file and links its filters.
    ///
    /// # Errors
    ///
    /// It is none, or has something in it that cannot be run here.
    pub fn parse(bytes: &[u8]) -> Result<Self, ObjectError> {
        let elf = Elf::parse(bytes)?;
        let mut maps = Maps::parse(&elf)?;
        let filters = Linker::new(&elf)?.filters(&mut maps)?;
        Ok(Self { filters, maps: maps.sections })
    }

    /// The filter of this name, or the only one.
    ///
    /// # Errors
    ///
    /// There is no such filter, or several and no name.
    pub fn filter(&self, name: Option<&str>) -> Result<&FilterSection, ObjectError> {
        let names = || self.filters.iter().map(|filter| filter.name.clone()).collect();
        match (name, self.filters.as_slice()) {
            (Some(name), filters) => filters
                .iter()
                .find(|filter| filter.name == name)
                .ok_or_else(|| ObjectError::UnknownFilter { name: name.into(), names: names() }),
            (None, [filter]) => Ok(filter),
            (None, _) => Err(ObjectError::Ambiguous(names())),
        }
    }

    /// What the maps are to the verifier, by index.
    pub fn descriptors(&self) -> Vec<MapDescriptor> {
        self.maps.iter().map(|map| map.descriptor).collect()
    }

    /// Makes the maps, each with its first value. `seed` is what the places of keys in hashes depend on, to be
    /// kept from whoever can choose keys.
    ///
    /// # Errors
    ///
    /// There is no map of such sizes, or no memory.
    pub fn create_maps(&self, seed: [u64; 2]) -> Result<Vec<Arc<Map>>, ObjectError> {
        self.maps.iter().map(|map| map.create(seed).map(Arc::new)).collect()
    }
}

impl MapSection {
    fn create(&self, seed: [u64; 2]) -> Result<Map, ObjectError> {
        let fail = |why| ObjectError::Map { map: self.name.clone(), why };
        let map = Map::new(self.descriptor, MapOptions { seed, ..self.options }, &UserSpace)
            .map_err(|error| fail(MapProblem::Create(error)))?;
        if let Some(initial) = &self.initial {
            map.update(&0_u32.to_ne_bytes(), initial, Update::Any)
                .map_err(|error| fail(MapProblem::Initial(error)))?;
        }
        if self.freeze {
            map.freeze();
        }
        Ok(map)
    }
}
