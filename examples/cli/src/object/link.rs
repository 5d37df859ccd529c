//! Programs out of functions: each filter with all that it calls, and with indices in place of maps.

use std::collections::HashMap;

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{INSN_SIZE, Opcode, Unsupported};

use super::FilterSection;
use super::elf::{Elf, Home, Relocation, Symbol};
use super::error::{ObjectError, Place};
use super::map::{Maps, Target};

/// A 64-bit load gets an address.
const R_BPF_64_64: u32 = 1;
/// A call gets its distance.
const R_BPF_64_32: u32 = 10;

/// `src` of a 64-bit load of a map, and of a byte of its only value.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
/// `src` of a call of a function of the program.
const PSEUDO_CALL: u8 = 1;

/// A call whose target is in a register; clang's, and no kernel's.
const CALLX: u8 = 0x8d;

/// The most instructions of all filters together: each has its own copy of what it calls.
const MAX_LINKED: usize = 1 << 20;

/// The index of the instruction at an offset.
fn index_of(offset: i64) -> Option<i64> {
    const SHIFT: u32 = INSN_SIZE.trailing_zeros();
    (offset.trailing_zeros() >= SHIFT).then_some(offset >> SHIFT)
}

/// The index of a function in [`Linker::functions`].
type FunctionId = usize;

struct Function<'d> {
    section: usize,
    name: &'d str,
    is_global: bool,
    /// The first instruction in its section.
    start: usize,
    insns: Vec<Insn>,
}

pub(super) struct Linker<'e, 'd> {
    elf: &'e Elf<'d>,
    /// By section and place.
    functions: Vec<Function<'d>>,
    /// By section and first instruction.
    entries: HashMap<(usize, i64), FunctionId>,
    /// By section and instruction.
    relocations: HashMap<(usize, usize), &'e Relocation>,
}

/// A program that grows.
#[derive(Default)]
struct Program {
    insns: Vec<Insn>,
    /// Where functions begin.
    placed: HashMap<FunctionId, usize>,
    /// Functions to be put behind.
    pending: Vec<FunctionId>,
    /// Calls, each with what it calls.
    calls: Vec<(usize, FunctionId)>,
}

impl<'e, 'd> Linker<'e, 'd> {
    pub(super) fn new(elf: &'e Elf<'d>) -> Result<Self, ObjectError> {
        let mut functions: Vec<(usize, usize, &Symbol<'d>)> = Vec::new();
        for symbol in elf.symbols.iter().filter(|symbol| symbol.is_function) {
            let Home::Section(index) = symbol.home else { continue };
            let Some(section) = elf.sections.get(index).filter(|section| section.is_code) else { continue };
            let start = usize::try_from(symbol.offset).ok();
            let start = start.filter(|at| at.is_multiple_of(INSN_SIZE) && *at < section.data.len());
            let Some(start) = start else { return Err(ObjectError::Function(symbol.name.into())) };
            functions.push((index, start / INSN_SIZE, symbol));
        }
        // Of several names for one place, a global one counts.
        functions.sort_by_key(|(section, start, symbol)| (*section, *start, !symbol.is_global));
        functions.dedup_by_key(|(section, start, _)| (*section, *start));

        let mut linker =
            Self { elf, functions: Vec::new(), entries: HashMap::new(), relocations: HashMap::new() };
        let mut ends = functions.iter().skip(1).map(|(section, start, _)| (*section, *start));
        for (section, start, symbol) in &functions {
            let (section, start) = (*section, *start);
            let end = ends.next().filter(|(next, _)| *next == section).map(|(_, end)| end);
            let Some(home) = elf.sections.get(section) else { continue };
            let (insns, rest) = home.data.as_chunks::<INSN_SIZE>();
            if !rest.is_empty() {
                return Err(ObjectError::Ragged(home.name.into()));
            }
            let insns = insns.get(start..end.unwrap_or(insns.len())).unwrap_or_default();
            linker.entries.insert((section, start as i64), linker.functions.len());
            linker.functions.push(Function {
                section,
                name: symbol.name,
                is_global: symbol.is_global,
                start,
                insns: insns.iter().copied().map(Insn::from_le_bytes).collect(),
            });
        }
        for (index, section) in elf.sections.iter().enumerate().filter(|(_, section)| section.is_code) {
            for relocation in &section.relocations {
                let offset = usize::try_from(relocation.offset).ok();
                let offset = offset.filter(|at| at.is_multiple_of(INSN_SIZE));
                let place = offset.map(|at| (index, at / INSN_SIZE));
                if place.is_none_or(|place| linker.relocations.insert(place, relocation).is_some()) {
                    let at = Place { section: section.name.into(), offset: relocation.offset };
                    return Err(ObjectError::Relocation { at, kind: relocation.kind });
                }
            }
        }
        Ok(linker)
    }

    /// All filters; none is linked that has something wrong in it.
    pub(super) fn filters(&self, maps: &mut Maps<'_, '_>) -> Result<Vec<FilterSection>, ObjectError> {
        let mut filters: Vec<FilterSection> = Vec::new();
        let mut left = MAX_LINKED;
        for (id, function) in self.functions.iter().enumerate() {
            let section = self.elf.sections.get(function.section).map_or("", |section| section.name);
            let name = match section.strip_prefix("seccomp") {
                Some("") => function.name,
                Some(rest) if rest.len() > 1 && rest.starts_with('/') => rest.get(1..).unwrap_or_default(),
                _ => continue,
            };
            if !function.is_global {
                continue;
            }
            if filters.iter().any(|other| other.name == name) {
                return Err(ObjectError::TwoFilters(name.into()));
            }
            let insns = self.link(id, maps, left)?;
            left = left.saturating_sub(insns.len());
            filters.push(FilterSection { name: name.into(), insns });
        }
        if filters.is_empty() { Err(ObjectError::NoFilter) } else { Ok(filters) }
    }

    /// The program that begins with this function, of at most `most` instructions.
    fn link(&self, main: FunctionId, maps: &mut Maps<'_, '_>, most: usize) -> Result<Vec<Insn>, ObjectError> {
        let mut program = Program { pending: vec![main], ..Program::default() };
        while let Some(id) = program.pending.pop() {
            let Some(function) = self.functions.get(id) else { continue };
            if !program.placed.contains_key(&id) {
                if function.insns.len() > most.saturating_sub(program.insns.len()) {
                    return Err(ObjectError::TooLong(MAX_LINKED));
                }
                program.placed.insert(id, program.insns.len());
                self.place(function, &mut program, maps)?;
            }
        }
        let Program { mut insns, placed, calls, .. } = program;
        for (pc, callee) in calls {
            if let (Some(insn), Some(target)) = (insns.get_mut(pc), placed.get(&callee)) {
                // A file that is in memory has no more instructions than an `i32` counts: 16 GiB.
                let distance = (*target as i64).wrapping_sub(pc as i64).wrapping_sub(1);
                insn.imm = distance as i32;
            }
        }
        Ok(insns)
    }

    /// Appends a function to a program.
    fn place(
        &self,
        function: &Function<'d>,
        program: &mut Program,
        maps: &mut Maps<'_, '_>,
    ) -> Result<(), ObjectError> {
        let section = self.elf.sections.get(function.section).map_or("", |section| section.name);
        let mut insns = function.insns.iter().copied().zip(function.start..);
        while let Some((mut insn, at)) = insns.next() {
            let place = || Place { section: section.into(), offset: (at as u64).wrapping_mul(8) };
            let relocation = self.relocations.get(&(function.section, at)).copied();
            let bad =
                |relocation: &Relocation| ObjectError::Relocation { at: place(), kind: relocation.kind };
            if let Some(which) = Unsupported::of(insn) {
                return Err(ObjectError::Insn { at: place(), which });
            }
            match (Opcode::decode(insn.code), relocation) {
                (Some(Opcode::LoadImm64), None) => {
                    // Without its second half it is the verifier's to refuse.
                    program.insns.push(insn);
                    if let Some((second, _)) = insns.next() {
                        program.insns.push(second);
                    }
                    continue;
                }
                (Some(Opcode::LoadImm64), Some(relocation)) => {
                    let (Some((mut second, at)), R_BPF_64_64) = (insns.next(), relocation.kind) else {
                        return Err(bad(relocation));
                    };
                    if let Some(within) = self.relocations.get(&(function.section, at)) {
                        return Err(bad(within));
                    }
                    let addend = relocation.addend.unwrap_or_else(|| i64::from(insn.imm));
                    let (home, offset) = self.target(relocation, addend, &place)?;
                    let is_code = self.elf.sections.get(home).is_some_and(|section| section.is_code);
                    if is_code {
                        let function = index_of(offset).and_then(|start| self.entries.get(&(home, start)));
                        let function = function.and_then(|id| self.functions.get(*id));
                        let symbol = function.map_or("not at its start", |function| function.name).into();
                        return Err(ObjectError::FunctionAddress { at: place(), symbol });
                    }
                    let (src, map, offset) = match maps.target(home, offset, place())? {
                        Target::Map(map) => (PSEUDO_MAP, map, 0),
                        Target::Value(map, offset) => (PSEUDO_MAP_VALUE, map, offset),
                    };
                    insn = Insn::new(insn.code, insn.dst(), src, insn.off, map.cast_signed());
                    second.imm = offset.cast_signed();
                    program.insns.extend([insn, second]);
                    continue;
                }
                (Some(Opcode::Call), Some(relocation)) => {
                    if relocation.kind != R_BPF_64_32 {
                        return Err(bad(relocation));
                    }
                    // Where it is in the instruction it counts from the next one, and in instructions.
                    let (bytes, insns) = match relocation.addend {
                        Some(addend) => (addend, 0),
                        None => (0, i64::from(insn.imm).wrapping_add(1)),
                    };
                    let (home, offset) = self.target(relocation, bytes, &place)?;
                    let start = index_of(offset).and_then(|start| start.checked_add(insns));
                    let Some(start) = start else { return Err(ObjectError::Call(place())) };
                    insn = Insn::new(insn.code, insn.dst(), PSEUDO_CALL, insn.off, insn.imm);
                    self.call(home, start, program, &place)?;
                }
                (Some(Opcode::Call), None) if insn.src() == PSEUDO_CALL => {
                    let start = (at as i64).wrapping_add(1).wrapping_add(insn.imm.into());
                    self.call(function.section, start, program, &place)?;
                }
                (_, Some(relocation)) => return Err(bad(relocation)),
                (None, None) if insn.code == CALLX => return Err(ObjectError::IndirectCall(place())),
                _ => {}
            }
            program.insns.push(insn);
        }
        Ok(())
    }

    /// Notes that the next instruction calls what begins at this instruction of a section.
    fn call(
        &self,
        section: usize,
        start: i64,
        program: &mut Program,
        place: &dyn Fn() -> Place,
    ) -> Result<(), ObjectError> {
        let callee = *self.entries.get(&(section, start)).ok_or_else(|| ObjectError::Call(place()))?;
        program.calls.push((program.insns.len(), callee));
        program.pending.push(callee);
        Ok(())
    }

    fn symbol(&self, relocation: &Relocation) -> Option<&Symbol<'d>> {
        relocation.symbol.and_then(|index| self.elf.symbols.get(index))
    }

    /// The section and the byte there that a relocation names.
    fn target(
        &self,
        relocation: &Relocation,
        addend: i64,
        place: &dyn Fn() -> Place,
    ) -> Result<(usize, i64), ObjectError> {
        let Some(symbol) = self.symbol(relocation) else {
            return Err(ObjectError::Relocation { at: place(), kind: relocation.kind });
        };
        let (at, name) = (place(), self.elf.name_of(symbol));
        match symbol.home {
            Home::Undefined => Err(ObjectError::Undefined { at, symbol: name }),
            Home::Common => Err(ObjectError::Common { at, symbol: name }),
            Home::Elsewhere => Err(ObjectError::Section { at, section: name }),
            Home::Section(index) => Ok((index, symbol.offset.cast_signed().saturating_add(addend))),
        }
    }
}
