//! Results, to standard output or a file. A result that cannot be written whole is an error.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process;

use anyhow::{Context, ensure};

/// Its name in messages.
pub const STDOUT: &str = "standard output";

/// Prints text.
pub fn text(text: impl fmt::Display) -> anyhow::Result<()> {
    with_stdout(|out| write!(out, "{text}").context(STDOUT))
}

/// Prints bytes, but not to a terminal, which might take them for commands.
pub fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    ensure!(!io::stdout().is_terminal(), "{STDOUT} is a terminal, raw bytes need a file or a pipe");
    with_stdout(|out| out.write_all(bytes).context(STDOUT))
}

/// Lets `write` have standard output with a buffer. What it wrote is printed even if it fails.
pub fn with_stdout<T>(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'_>>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out);
    let flushed = out.flush().context(STDOUT);
    written.and_then(|value| flushed.map(|()| value))
}

/// Writes a file whole or not at all: a new file takes the place of an old one once it is complete.
///
/// Only what is no regular file (a device, a pipe, a link) is written in place.
pub fn file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = match fs::symlink_metadata(path) {
        Ok(old) if !old.is_file() => fs::write(path, bytes),
        old => replace(path, bytes, old.ok().map(|old| old.permissions())),
    };
    written.with_context(|| path.display().to_string())
}

fn replace(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", process::id()));

    let mut file = File::create_new(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions)))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written
}
