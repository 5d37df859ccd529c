//! Maps: definitions of both kinds, and sections of variables.

use seccomp_runtime::verifier::{MapAccess, MapDescriptor, MapKind};
use seccomp_runtime::{AtFork, MAX_VALUE_SIZE, MapOptions, TaskScope};

use super::MapSection;
use super::btf::{self, Btf, TypeId};
use super::elf::{Elf, Home, Section, Symbol};
use super::error::{MapProblem, ObjectError, Place};

const F_NO_PREALLOC: u32 = 1 << 0;
const F_RDONLY_PROG: u32 = 1 << 7;
const F_CLONE: u32 = 1 << 9;

/// What is in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Definitions that BTF describes.
    Described,
    /// Definitions that are a `struct bpf_map_def` each.
    Legacy,
    Constants,
    Variables,
}

impl Holds {
    fn of(section: &str) -> Option<Self> {
        let is = |name: &str, separator: char| {
            section.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
        };
        Some(match section {
            ".maps" => Self::Described,
            _ if is("maps", '/') => Self::Legacy,
            _ if is(".rodata", '.') => Self::Constants,
            _ if is(".data", '.') || is(".bss", '.') => Self::Variables,
            _ => return None,
        })
    }
}

/// What an address in a section is to a program.
pub(super) enum Target {
    /// The map of this index.
    Map(u32),
    /// A byte of the only value of the map of this index.
    Value(u32, u32),
}

/// The maps of an object file, and where in it they are.
pub(super) struct Maps<'e, 'd> {
    elf: &'e Elf<'d>,
    pub(super) sections: Vec<MapSection>,
    /// Of each map, its section and its offset there; a section of variables is one map.
    places: Vec<(usize, u64)>,
}

impl<'e, 'd> Maps<'e, 'd> {
    /// All that are defined. Sections of variables come when something refers to them.
    pub(super) fn parse(elf: &'e Elf<'d>) -> Result<Self, ObjectError> {
        if elf.section(".BTF.ext").is_some_and(|section| btf::has_core_relocations(section.data)) {
            return Err(ObjectError::CoRe);
        }
        let btf = elf.section(".BTF").map(|section| section.data);
        let mut defined: Vec<(usize, u64, &Symbol<'d>, Holds)> = Vec::new();
        for symbol in &elf.symbols {
            let Home::Section(index) = symbol.home else { continue };
            let holds = elf.sections.get(index).and_then(|section| Holds::of(section.name));
            if let Some(holds @ (Holds::Described | Holds::Legacy)) = holds
                && !symbol.is_section
                && !symbol.name.is_empty()
            {
                defined.push((index, symbol.offset, symbol, holds));
            }
        }
        defined.sort_by_key(|(section, offset, ..)| (*section, *offset));
        defined.dedup_by_key(|(section, offset, ..)| (*section, *offset));
        let mut maps = Self { elf, sections: Vec::new(), places: Vec::new() };
        let is_described = |(.., holds): &(_, _, _, Holds)| *holds == Holds::Described;
        // BTF is read only where something depends on it.
        let btf = match btf {
            Some(data) if defined.iter().any(is_described) => Some(Btf::parse(data)?),
            _ => None,
        };
        for (index, offset, symbol, holds) in defined {
            let Some(section) = elf.sections.get(index) else { continue };
            let definition = match (holds, &btf) {
                (Holds::Described, Some(btf)) => described(btf, symbol.name),
                (Holds::Described, None) => Err(MapProblem::NoBtf),
                _ => legacy(section, symbol),
            };
            let map = definition.and_then(|definition| definition.finish(symbol.name));
            let fail = |why| ObjectError::Map { map: symbol.name.into(), why };
            maps.sections.push(map.map_err(fail)?);
            maps.places.push((index, offset));
        }
        Ok(maps)
    }

    /// What the byte at `offset` of a section is, for the instruction at `at`.
    pub(super) fn target(&mut self, section: usize, offset: i64, at: Place) -> Result<Target, ObjectError> {
        let Some(home) = self.elf.sections.get(section) else {
            return Err(ObjectError::Section { at, section: section.to_string() });
        };
        let name = || String::from(home.name);
        let Some(holds) = Holds::of(home.name) else {
            return Err(ObjectError::Section { at, section: name() });
        };
        let is_variables = matches!(holds, Holds::Constants | Holds::Variables);
        let within = u64::try_from(offset).ok().filter(|offset| *offset < home.size);
        let Some(within) = within else {
            return Err(ObjectError::Address { at, section: name(), offset });
        };
        let place = (section, if is_variables { 0 } else { within });
        let index = match self.places.iter().position(|other| *other == place) {
            Some(index) => index,
            None if is_variables => {
                self.sections.push(variables(home, holds)?);
                self.places.push(place);
                self.sections.len().saturating_sub(1)
            }
            None => return Err(ObjectError::Address { at, section: name(), offset }),
        };
        // As many maps as symbols, and no section of variables is longer than a value.
        let (index, within) = (index as u32, within as u32);
        Ok(if is_variables { Target::Value(index, within) } else { Target::Map(index) })
    }
}

/// A section of variables, as an array of one value.
fn variables(section: &Section<'_>, holds: Holds) -> Result<MapSection, ObjectError> {
    if let Some(first) = section.relocations.first() {
        let at = Place { section: section.name.into(), offset: first.offset };
        return Err(ObjectError::DataAddress(at));
    }
    let size = u32::try_from(section.size).ok().filter(|size| *size <= MAX_VALUE_SIZE);
    let Some(value_size) = size else {
        let why = MapProblem::TooLarge(section.size);
        return Err(ObjectError::Map { map: section.name.into(), why });
    };
    if !section.is_zero && section.data.len() != value_size as usize {
        return Err(ObjectError::NoData(section.name.into()));
    }
    let is_constant = holds == Holds::Constants;
    Ok(MapSection {
        name: section.name.into(),
        descriptor: MapDescriptor {
            kind: MapKind::Array,
            key_size: 4,
            value_size,
            max_entries: 1,
            access: if is_constant { MapAccess::ReadOnly } else { MapAccess::ReadWrite },
        },
        options: MapOptions::default(),
        initial: (!section.is_zero).then(|| section.data.to_vec()),
        freeze: is_constant,
    })
}

/// The numbers of a definition, as they stand there.
#[derive(Default)]
struct Definition {
    kind: Option<u32>,
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: Option<u32>,
    flags: u32,
    scope: Option<u32>,
    at_fork: Option<u32>,
}

impl Definition {
    fn finish(self, name: &str) -> Result<MapSection, MapProblem> {
        let kind = self.kind.ok_or(MapProblem::Missing("type"))?;
        let kind = MapKind::of_number(kind).ok_or(MapProblem::Kind(kind))?;
        let is_task_storage = kind == MapKind::TaskStorage;
        // Linux wants the first of task storage, where it says nothing else.
        let known = F_RDONLY_PROG | if is_task_storage { F_NO_PREALLOC | F_CLONE } else { 0 };
        if self.flags & !known != 0 {
            return Err(MapProblem::Flags(self.flags & !known));
        }
        let scope = match self.scope {
            Some(_) if !is_task_storage => return Err(MapProblem::Member("scope".into())),
            None | Some(0) => TaskScope::Thread,
            Some(1) => TaskScope::ThreadGroup,
            Some(other) => return Err(MapProblem::MemberValue("scope".into(), other)),
        };
        let at_fork = match self.at_fork {
            Some(_) if !is_task_storage => return Err(MapProblem::Member("at_fork".into())),
            Some(1) => AtFork::Copy,
            None if self.flags & F_CLONE != 0 => AtFork::Copy,
            None | Some(0) => AtFork::Reset,
            Some(other) => return Err(MapProblem::MemberValue("at_fork".into(), other)),
        };
        let size = |size: Option<u32>, name| match (size, kind) {
            (Some(size), _) => Ok(size),
            (None, MapKind::Ring) => Ok(0),
            (None, _) => Err(MapProblem::Missing(name)),
        };
        let read_only = self.flags & F_RDONLY_PROG != 0;
        let descriptor = MapDescriptor {
            kind,
            key_size: size(self.key_size, "key")?,
            value_size: size(self.value_size, "value")?,
            max_entries: self.max_entries.ok_or(MapProblem::Missing("max_entries"))?,
            access: if read_only { MapAccess::ReadOnly } else { MapAccess::ReadWrite },
        };
        let options = MapOptions { scope, at_fork, ..MapOptions::default() };
        Ok(MapSection { name: name.into(), descriptor, options, initial: None, freeze: false })
    }
}

/// A map of the section `.maps`: a struct whose members' types say what they are.
fn described(btf: &Btf<'_>, name: &str) -> Result<Definition, MapProblem> {
    let variable = btf.variables(".maps").find(|(variable, _)| *variable == name);
    let (_, ty) = variable.ok_or(MapProblem::NoBtf)?;
    let mut definition = Definition::default();
    let (mut key, mut value) = (None, None);
    for (member, ty) in btf.members(ty).ok_or(MapProblem::Shape)? {
        let shape = || MapProblem::MemberShape(member.into());
        let pointee = btf.pointee(ty).ok_or_else(shape)?;
        let number = || btf.array_len(pointee).ok_or_else(shape);
        let size = |ty: TypeId| btf.size(ty).ok_or_else(shape);
        match member {
            "type" => definition.kind = Some(number()?),
            "max_entries" => definition.max_entries = Some(number()?),
            "map_flags" => definition.flags = number()?,
            "key_size" => definition.key_size = Some(number()?),
            "value_size" => definition.value_size = Some(number()?),
            "scope" => definition.scope = Some(number()?),
            "at_fork" => definition.at_fork = Some(number()?),
            "key" => key = Some(size(pointee)?),
            "value" => value = Some(size(pointee)?),
            other => return Err(MapProblem::Member(other.into())),
        }
    }
    definition.key_size = same("key", definition.key_size, key)?;
    definition.value_size = same("value", definition.value_size, value)?;
    Ok(definition)
}

/// A size that is given as a number, as a type, or as both.
fn same(name: &'static str, number: Option<u32>, ty: Option<u32>) -> Result<Option<u32>, MapProblem> {
    match (number, ty) {
        (Some(number), Some(ty)) if number != ty => Err(MapProblem::Sizes(name)),
        (number, ty) => Ok(number.or(ty)),
    }
}

/// A map of the section `maps`: type, size of keys, size of values, entries, flags, and what was added later.
fn legacy(section: &Section<'_>, symbol: &Symbol<'_>) -> Result<Definition, MapProblem> {
    const FIELDS: usize = 5;
    const SHORTEST: u64 = 4 * FIELDS as u64;
    let len = symbol.size.max(SHORTEST);
    let range = symbol
        .offset
        .checked_add(len)
        .and_then(|end| section.data.get(usize::try_from(symbol.offset).ok()?..usize::try_from(end).ok()?));
    let (words, odd) = range.ok_or(MapProblem::Cut)?.as_chunks();
    let Some((fields, later)) = words.split_first_chunk::<FIELDS>() else { return Err(MapProblem::Cut) };
    if later.as_flattened().iter().chain(odd).any(|byte| *byte != 0) {
        return Err(MapProblem::Fields);
    }
    let [kind, key_size, value_size, max_entries, flags] = fields.map(u32::from_le_bytes);
    Ok(Definition {
        kind: Some(kind),
        key_size: Some(key_size),
        value_size: Some(value_size),
        max_entries: Some(max_entries),
        flags,
        ..Definition::default()
    })
}
