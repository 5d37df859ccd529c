//! Results, to standard output or a file. A result that cannot be written whole is an error.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anstream::adapter::strip_str;
use anyhow::{Context, ensure};
use nix::unistd::{AccessFlags, access};
use terminal_size::{Width, terminal_size_of};

/// Its name in messages.
pub const STDOUT: &str = "standard output";

/// The width of a terminal that does not tell it.
const COLUMNS: usize = 100;

/// Whether a path that was given for a result means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The file that is meant, if it is not standard output.
fn named(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !is_stdout(path))
}

/// Writes text to a file, or prints it where none is named. A file gets no colours.
pub fn text_to(path: Option<&Path>, text: impl fmt::Display) -> anyhow::Result<()> {
    let Some(path) = named(path) else { return self::text(text) };
    let text = text.to_string();
    // Nothing but colours has this byte: names are escaped, and JSON, HTML and SVG cannot have it. So all else
    // is written as it is.
    let text = if text.contains('\x1b') { strip_str(&text).to_string() } else { text };
    file(path, text.as_bytes())
}

/// Writes bytes to a file, or prints them where none is named.
pub fn bytes_to(path: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
    match named(path) {
        Some(path) => file(path, bytes),
        None => self::bytes(bytes),
    }
}

/// How wide a result may be: as the terminal that shows it. Files and pipes have no width.
pub fn columns(path: Option<&Path>) -> Option<usize> {
    let stdout = io::stdout();
    let is_shown = named(path).is_none() && stdout.is_terminal();
    is_shown.then(|| terminal_size_of(stdout).map_or(COLUMNS, |(Width(columns), _)| columns.into()))
}

/// Whether a result can be written there, as far as can be known before there is one.
///
/// # Errors
///
/// It cannot, or the folder does not take a new file in its place.
pub fn writable(path: &Path) -> anyhow::Result<()> {
    let Some(path) = named(Some(path)) else { return Ok(()) };
    let writable = || {
        ensure!(!path.is_dir(), "a folder");
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let written = if path.is_file() || !path.exists() { folder(&path) } else { &path };
        access(written, AccessFlags::W_OK)
            .map_err(io::Error::from)
            .with_context(|| written.display().to_string())
    };
    writable().with_context(|| path.display().to_string())
}

/// Where a file is, or is to be.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

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

/// Writes a file whole or not at all: a new file takes the place of an old one, and of one that a link leads to, once it
/// is complete.
///
/// Only what is no regular file (a device, a pipe, a link to nothing) is written in place.
pub fn file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = match fs::metadata(path) {
        Ok(old) if old.is_file() => {
            fs::canonicalize(path).and_then(|path| replace(&path, bytes, Some(old.permissions())))
        }
        Err(_) if !path.is_symlink() => replace(path, bytes, None),
        _ => fs::write(path, bytes),
    };
    written.with_context(|| path.display().to_string())
}

fn replace(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let new = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(new).tempfile_in(folder(path))?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(path)?;
    Ok(())
}
