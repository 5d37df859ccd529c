//! An archive of files as a boot loader takes it: cpio's format with new ASCII headers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes `files`, without their folders, to an archive at `path`.
///
/// # Errors
///
/// A file cannot be read or written.
pub(crate) fn write(path: &Path, files: &[PathBuf]) -> Result<()> {
    let mut archive = Vec::new();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).context("a file has a name")?;
        let content = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        put(&mut archive, name, 0o100_755, &content);
    }
    put(&mut archive, "TRAILER!!!", 0, &[]);
    fs::write(path, archive).with_context(|| format!("{} cannot be written", path.display()))
}

fn put(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    // Inode, mode, owner, group, links, time, length, two devices of two numbers, length of the name with its 0,
    // check sum.
    let fields = [0, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    archive.extend(b"070701");
    archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    archive.extend(name.bytes().chain([0]));
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
