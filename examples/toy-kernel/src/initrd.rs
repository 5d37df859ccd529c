//! The archive that programs come in: cpio, as the boot loader put it into memory.

use core::slice;

use spin::Once;

use crate::memory::{Range, virtual_address};

static ARCHIVE: Once<&'static [u8]> = Once::new();

/// Remembers where it is.
pub fn init(range: Range) {
    let start = core::ptr::with_exposed_provenance(virtual_address(range.start));
    // SAFETY: the boot loader put it there, it is mapped, and `memory::init` gives these pages to nobody.
    let archive = unsafe { slice::from_raw_parts(start, range.end - range.start) };
    ARCHIVE.call_once(|| archive);
}

/// The file of this name.
pub fn file(name: &str) -> Option<&'static [u8]> {
    let archive = ARCHIVE.get()?;
    cpio_reader::iter_files(archive).find(|entry| entry.name() == name).map(|entry| entry.file())
}
