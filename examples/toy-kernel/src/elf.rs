//! Static programs: from an ELF file to memory with its first stack.

use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::{ET_EXEC, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use seccomp_kernel::Fault;

use crate::arch::Context;
use crate::memory::OutOfMemory;
use crate::memory::address_space::{AddressSpace, STACK_END};
use crate::memory::frame::PAGE;
use crate::memory::page_table::Access;

/// Bytes of a stack.
const STACK: usize = 16 * PAGE;

/// What the kernel tells a program about itself.
mod auxv {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const ENTRY: u64 = 9;
    pub const RANDOM: u64 = 25;
}

/// Why a program cannot be run.
#[derive(Clone, Copy, Debug)]
pub enum LoadError {
    /// It is not a static program, or has pages that are writable and executable.
    Format,
    OutOfMemory,
}

impl From<elf::ParseError> for LoadError {
    fn from(_: elf::ParseError) -> Self {
        Self::Format
    }
}

impl From<Fault> for LoadError {
    fn from(_: Fault) -> Self {
        Self::Format
    }
}

impl From<OutOfMemory> for LoadError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Memory with the program `file` in it, and registers at its beginning.
///
/// # Errors
///
/// [`LoadError`].
pub fn load(file: &[u8], args: &[&str]) -> Result<(AddressSpace, Context), LoadError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    if elf.ehdr.e_type != ET_EXEC {
        return Err(LoadError::Format);
    }
    let space = AddressSpace::new()?;
    let mut end = 0;
    let mut headers = 0;
    for segment in elf.segments().ok_or(LoadError::Format)?.iter().filter(|segment| segment.p_type == PT_LOAD)
    {
        let access = match (segment.p_flags & PF_W != 0, segment.p_flags & PF_X != 0) {
            (true, true) => return Err(LoadError::Format),
            (true, false) => Access::Write,
            (false, true) => Access::Execute,
            (false, false) => Access::Read,
        };
        let start = segment.p_vaddr as usize;
        let segment_end = start.checked_add(segment.p_memsz as usize).ok_or(LoadError::Format)?;
        let pages = start & !(PAGE - 1)..segment_end.next_multiple_of(PAGE);
        space.map(pages.start, pages.len(), Some(access))?;
        space.initialise(start, elf.segment_data(&segment)?)?;
        end = end.max(pages.end);
        if (segment.p_offset..segment.p_offset + segment.p_filesz).contains(&elf.ehdr.e_phoff) {
            headers = segment.p_vaddr + (elf.ehdr.e_phoff - segment.p_offset);
        }
    }
    space.set_heap(end);
    space.map(STACK_END - STACK, STACK, Some(Access::Write))?;
    let auxv = [
        (auxv::PHDR, headers),
        (auxv::PHENT, elf.ehdr.e_phentsize.into()),
        (auxv::PHNUM, elf.ehdr.e_phnum.into()),
        (auxv::PAGESZ, PAGE as u64),
        (auxv::ENTRY, elf.ehdr.e_entry),
    ];
    let stack = first_stack(&space, args, &auxv)?;
    Ok((space, Context::new(elf.ehdr.e_entry, stack)))
}

/// Puts arguments and auxiliary values on the stack. Its pointer.
fn first_stack(space: &AddressSpace, args: &[&str], auxv: &[(u64, u64)]) -> Result<u64, LoadError> {
    let mut at = STACK_END as u64 - 16;
    // 16 bytes that nobody can rely on. This kernel has no source of random numbers, and needs none.
    space.write(at, &[0x5a; 16])?;
    let random = at;
    let mut words = Vec::from([args.len() as u64]);
    for arg in args {
        at -= arg.len() as u64 + 1;
        space.write(at, arg.as_bytes())?;
        words.push(at);
    }
    // The end of the arguments, and an empty environment.
    words.extend([0, 0]);
    words.extend(auxv.iter().flat_map(|(kind, value)| [*kind, *value]));
    words.extend([auxv::RANDOM, random, auxv::NULL, 0]);
    at = (at - 8 * words.len() as u64) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    space.write(at, &bytes)?;
    Ok(at)
}
