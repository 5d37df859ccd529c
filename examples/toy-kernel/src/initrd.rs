//! The archive that programs come in: cpio, as the boot loader put it into memory.

use spin::Once;

use crate::memory::{Range, boot_module};

static ARCHIVE: Once<&'static [u8]> = Once::new();

/// Remembers where it is.
pub fn init(range: Range) {
    ARCHIVE.call_once(|| boot_module(range));
}

/// The file of this name.
pub fn file(name: &str) -> Option<&'static [u8]> {
    let archive = ARCHIVE.get()?;
    cpio_reader::iter_files(archive).find(|entry| entry.name() == name).map(|entry| entry.file())
}
