//! BTF, as far as it describes maps: variables of a section, members of structs, sizes of types.

use super::error::ObjectError;

const MAGIC: u16 = 0xeb9f;

/// How many types may be between a name and what it stands for, and arrays in one another.
const MAX_DEPTH: usize = 32;

const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const FLOAT: u8 = 16;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// A type's number; 0 is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeId(u32);

/// The types of an object file.
pub(super) struct Btf<'d> {
    /// From number 1.
    types: Vec<Type<'d>>,
    strings: &'d [u8],
}

#[derive(Clone, Copy)]
struct Type<'d> {
    name: u32,
    kind: u8,
    /// The size of a type that has one, or the type that it is made of.
    size_or_type: u32,
    /// What follows, of a size that the kind and its number of parts give.
    rest: &'d [u8],
}

impl<'d> Btf<'d> {
    /// Reads the section `.BTF`.
    pub(super) fn parse(data: &'d [u8]) -> Result<Self, ObjectError> {
        let cut = ObjectError::Btf("the header is cut short");
        let mut header = data;
        let magic = half(&mut header).ok_or(cut.clone())?;
        if magic != MAGIC {
            return Err(ObjectError::Btf("it does not begin as BTF does"));
        }
        // Version and flags have not changed since there is BTF.
        half(&mut header).ok_or(cut.clone())?;
        let mut field = || word(&mut header).map(|word| word as usize).ok_or(cut.clone());
        let (start, type_off, type_len, str_off, str_len) =
            (field()?, field()?, field()?, field()?, field()?);
        let part = |off: usize, len: usize| {
            let from = start.checked_add(off)?;
            data.get(from..from.checked_add(len)?)
        };
        let mut rest =
            part(type_off, type_len).ok_or(ObjectError::Btf("the types reach past the section"))?;
        let strings = part(str_off, str_len).ok_or(ObjectError::Btf("the strings reach past the section"))?;
        let mut types = Vec::new();
        while !rest.is_empty() {
            types.push(next(&mut rest)?);
        }
        Ok(Self { types, strings })
    }

    /// The types of the variables of a section, with the variables' names.
    pub(super) fn variables(&self, section: &str) -> impl Iterator<Item = (&'d str, TypeId)> {
        let section =
            self.types.iter().find(|ty| ty.kind == DATASEC && self.string(ty.name) == Some(section));
        let parts = section.map_or(&[][..], |section| section.rest);
        parts.chunks_exact(12).filter_map(|mut part| {
            let var = self.get(TypeId(word(&mut part)?)).filter(|ty| ty.kind == VAR)?;
            Some((self.string(var.name)?, TypeId(var.size_or_type)))
        })
    }

    /// The members of a struct.
    pub(super) fn members(&self, id: TypeId) -> Option<Vec<(&'d str, TypeId)>> {
        let ty = self.get(self.resolve(id)?).filter(|ty| ty.kind == STRUCT)?;
        let member = |mut part: &'d [u8]| {
            let name = self.string(word(&mut part)?)?;
            Some((name, TypeId(word(&mut part)?)))
        };
        ty.rest.chunks_exact(12).map(member).collect()
    }

    /// What a pointer points to.
    pub(super) fn pointee(&self, id: TypeId) -> Option<TypeId> {
        let ty = self.get(self.resolve(id)?).filter(|ty| ty.kind == PTR)?;
        Some(TypeId(ty.size_or_type))
    }

    /// The length of an array.
    pub(super) fn array_len(&self, id: TypeId) -> Option<u32> {
        self.array(self.resolve(id)?).map(|(_, len)| len)
    }

    /// The size of a type in bytes.
    pub(super) fn size(&self, id: TypeId) -> Option<u32> {
        let mut id = id;
        let mut count = 1_u32;
        for _ in 0..MAX_DEPTH {
            id = self.resolve(id)?;
            let ty = self.get(id)?;
            let size = match ty.kind {
                ARRAY => {
                    let (element, len) = self.array(id)?;
                    count = count.checked_mul(len)?;
                    id = element;
                    continue;
                }
                INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => ty.size_or_type,
                PTR => 8,
                _ => return None,
            };
            return size.checked_mul(count);
        }
        None
    }

    /// The type behind its other names.
    fn resolve(&self, id: TypeId) -> Option<TypeId> {
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let ty = self.get(id)?;
            match ty.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = TypeId(ty.size_or_type),
                _ => return Some(id),
            }
        }
        None
    }

    fn array(&self, id: TypeId) -> Option<(TypeId, u32)> {
        let ty = self.get(id).filter(|ty| ty.kind == ARRAY)?;
        let mut rest = ty.rest;
        let element = word(&mut rest)?;
        word(&mut rest)?;
        Some((TypeId(element), word(&mut rest)?))
    }

    fn get(&self, id: TypeId) -> Option<&Type<'d>> {
        self.types.get(id.0.checked_sub(1)? as usize)
    }

    fn string(&self, at: u32) -> Option<&'d str> {
        let rest = self.strings.get(at as usize..)?;
        let len = rest.iter().position(|byte| *byte == 0)?;
        str::from_utf8(rest.get(..len)?).ok()
    }
}

/// The first type of `rest`, which is then without it.
fn next<'d>(rest: &mut &'d [u8]) -> Result<Type<'d>, ObjectError> {
    let cut = ObjectError::Btf("a type is cut short");
    let mut field = || word(rest).ok_or(cut.clone());
    let (name, info, size_or_type) = (field()?, field()?, field()?);
    let (parts, kind) = ((info & 0xffff) as usize, (info >> 24 & 0x1f) as u8);
    let len = match kind {
        INT | VAR => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => parts.saturating_mul(12),
        ENUM => parts.saturating_mul(8),
        // Parameters of functions.
        13 => parts.saturating_mul(8),
        // Where a declaration has a tag.
        17 => 4,
        PTR | TYPEDEF | VOLATILE | CONST | RESTRICT | FLOAT | TYPE_TAG => 0,
        // Declarations, and functions.
        7 | 12 => 0,
        _ => return Err(ObjectError::Btf("a kind of type that is not known here")),
    };
    let (own, after) = rest.split_at_checked(len).ok_or(cut)?;
    *rest = after;
    Ok(Type { name, kind, size_or_type, rest: own })
}

/// Whether the section `.BTF.ext` has relocations of the kind that are made for the running kernel.
pub(super) fn has_core_relocations(data: &[u8]) -> bool {
    let mut rest = data;
    let magic = half(&mut rest);
    half(&mut rest);
    let header = word(&mut rest);
    // Where function and line information is, each with its length; then these relocations.
    let mut field = || word(&mut rest).unwrap_or(0);
    let (_, _, _, _, _, len) = (field(), field(), field(), field(), field(), field());
    magic == Some(MAGIC) && header.is_some_and(|len| len >= 32) && len > 0
}

fn half(from: &mut &[u8]) -> Option<u16> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u16::from_le_bytes(*first))
}

fn word(from: &mut &[u8]) -> Option<u32> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_header_has_no_kernel_relocations() {
        let section = |header: u32, len: u32| {
            let words = [1 << 16 | u32::from(MAGIC), header, 0, 0, 0, 0, 0, len];
            words.map(u32::to_le_bytes).as_flattened().to_vec()
        };
        assert!(has_core_relocations(&section(32, 8)));
        assert!(!has_core_relocations(&section(32, 0)));
        // Information on lines stands there.
        assert!(!has_core_relocations(&section(24, 8)));
        assert!(!has_core_relocations(&section(32, 8)[..16]));
    }
}
