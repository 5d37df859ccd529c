//! What of an ELF file matters here: sections, symbols, relocations.

use object::elf::{EM_BPF, ET_REL, SHF_EXECINSTR};
use object::read::elf::{ElfFile64, FileHeader};
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
    SectionFlags, SectionKind, SymbolKind, SymbolSection,
};

use super::error::ObjectError;

/// An object file of eBPF.
pub(super) struct Elf<'d> {
    /// In the order of the file.
    pub(super) sections: Vec<Section<'d>>,
    pub(super) symbols: Vec<Symbol<'d>>,
}

pub(super) struct Section<'d> {
    pub(super) name: &'d str,
    /// Nothing, if its bytes are all 0 and not in the file.
    pub(super) data: &'d [u8],
    pub(super) size: u64,
    pub(super) is_zero: bool,
    pub(super) is_code: bool,
    pub(super) relocations: Vec<Relocation>,
}

pub(super) struct Relocation {
    pub(super) offset: u64,
    /// `R_BPF_*`.
    pub(super) kind: u32,
    /// The index of the symbol.
    pub(super) symbol: Option<usize>,
    /// The addend, unless it is where the relocation is.
    pub(super) addend: Option<i64>,
}

#[derive(Clone, Copy)]
pub(super) struct Symbol<'d> {
    pub(super) name: &'d str,
    pub(super) home: Home,
    /// Its offset in the section.
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) is_function: bool,
    pub(super) is_global: bool,
    /// Whether it stands for its section.
    pub(super) is_section: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Undefined,
    Common,
    /// The index of the section in [`Elf::sections`].
    Section(usize),
    Elsewhere,
}

impl<'d> Elf<'d> {
    pub(super) fn parse(bytes: &'d [u8]) -> Result<Self, ObjectError> {
        check_ident(bytes)?;
        let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(malformed)?;
        let header = file.elf_header();
        let endian = LittleEndian;
        if header.e_machine(endian) != EM_BPF {
            return Err(ObjectError::Machine(header.e_machine(endian)));
        }
        if header.e_type(endian) != ET_REL {
            return Err(ObjectError::Linked);
        }
        let places: Vec<usize> = file.sections().map(|section| section.index().0).collect();
        let mut sections = Vec::with_capacity(places.len());
        let mut numbers = Vec::new();
        for symbol in file.symbols() {
            numbers.push(symbol.index().0);
        }
        for section in file.sections() {
            let code = u64::from(SHF_EXECINSTR);
            let is_code = matches!(section.flags(), SectionFlags::Elf { sh_flags } if sh_flags & code != 0);
            let mut relocations = Vec::new();
            for (offset, relocation) in section.relocations() {
                let RelocationFlags::Elf { r_type: kind } = relocation.flags() else { continue };
                let symbol = match relocation.target() {
                    RelocationTarget::Symbol(index) => numbers.binary_search(&index.0).ok(),
                    _ => None,
                };
                let addend = (!relocation.has_implicit_addend()).then(|| relocation.addend());
                relocations.push(Relocation { offset, kind, symbol, addend });
            }
            sections.push(Section {
                name: section.name().map_err(malformed)?,
                data: section.data().map_err(malformed)?,
                size: section.size(),
                is_zero: section.kind() == SectionKind::UninitializedData,
                is_code,
                relocations,
            });
        }
        let mut symbols = Vec::with_capacity(numbers.len());
        for symbol in file.symbols() {
            let home = match symbol.section() {
                SymbolSection::Undefined => Home::Undefined,
                SymbolSection::Common => Home::Common,
                SymbolSection::Section(index) => {
                    places.binary_search(&index.0).map_or(Home::Elsewhere, Home::Section)
                }
                _ => Home::Elsewhere,
            };
            symbols.push(Symbol {
                name: symbol.name().map_err(malformed)?,
                home,
                offset: symbol.address(),
                size: symbol.size(),
                is_function: symbol.kind() == SymbolKind::Text,
                is_global: symbol.is_global(),
                is_section: symbol.kind() == SymbolKind::Section,
            });
        }
        Ok(Self { sections, symbols })
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section<'d>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// What a symbol is called in messages.
    pub(super) fn name_of(&self, symbol: &Symbol<'d>) -> String {
        match symbol.home {
            Home::Section(index) if symbol.name.is_empty() => {
                self.sections.get(index).map_or("?", |section| section.name).into()
            }
            _ => symbol.name.into(),
        }
    }
}

/// The first bytes say what every other field means.
fn check_ident(bytes: &[u8]) -> Result<(), ObjectError> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(ObjectError::Malformed("it does not begin as one".into()));
    }
    match (bytes.get(4), bytes.get(5)) {
        (Some(1), _) => Err(ObjectError::Class),
        (_, Some(2)) => Err(ObjectError::BigEndian),
        _ => Ok(()),
    }
}

fn malformed(error: object::read::Error) -> ObjectError {
    ObjectError::Malformed(error.to_string())
}
