//! Results, to standard output or a file. A result that cannot be written whole is an error.

use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use anstream::adapter::strip_str;
use anyhow::{Context, ensure};
use nix::unistd::{AccessFlags, access};
use terminal_size::{Width, terminal_size_of};

use crate::closed;

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
    let Some(path) = named(Some(path)) else { return is_open().context(STDOUT) };
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

/// Fails if standard output was closed when the command started.
fn is_open() -> io::Result<()> {
    if closed::stdout() { Err(io::Error::from_raw_os_error(libc::EBADF)) } else { Ok(()) }
}

/// Standard output as a file, for what is written bit by bit.
pub fn stdout() -> io::Result<File> {
    is_open()?;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
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
    is_open().context(STDOUT)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out);
    let flushed = out.flush().context(STDOUT);
    written.and_then(|value| flushed.map(|()| value))
}

/// Writes a file whole or not at all: a new file takes the place of an old one, and of one that a link leads to, once it
/// is complete. It has the old one's owner, group and permissions, without set-user-ID, set-group-ID and sticky bit, which
/// were given to other contents.
///
/// Written in place is what is no regular file (a device, a pipe, a link to nothing), what has other names, and what this
/// process cannot give away to its owner.
pub fn file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = match fs::metadata(path) {
        Ok(old) if old.is_file() && old.nlink() == 1 => {
            fs::canonicalize(path).and_then(|path| replace(&path, bytes, Some(&old)))
        }
        Ok(old) => in_place(path, bytes, &old),
        Err(_) if !path.is_symlink() => replace(path, bytes, None),
        Err(_) => fs::write(path, bytes),
    };
    written.with_context(|| path.display().to_string())
}

/// The bits of a mode that a file keeps with other contents.
const PERMISSIONS: u32 = 0o777;

/// Errors name no path: that of the new file is nobody's business.
fn replace(path: &Path, bytes: &[u8], old: Option<&Metadata>) -> io::Result<()> {
    let new = |path: &Path| File::options().write(true).create_new(true).mode(0o666).open(path);
    let mut file = tempfile::Builder::new().make_in(folder(path), new)?;
    if let Some(old) = old {
        let new = file.as_file().metadata()?;
        let is_owned = (new.uid(), new.gid()) == (old.uid(), old.gid());
        if !is_owned && fchown(file.as_file(), Some(old.uid()), Some(old.gid())).is_err() {
            return in_place(path, bytes, old);
        }
        file.as_file().set_permissions(Permissions::from_mode(old.mode() & PERMISSIONS))?;
    }
    file.as_file_mut().write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn in_place(path: &Path, bytes: &[u8], old: &Metadata) -> io::Result<()> {
    let mut file = File::options().write(true).truncate(true).open(path)?;
    if old.is_file() && old.mode() & !PERMISSIONS & 0o7777 != 0 {
        // Of whoever may not do this, the kernel takes the bits away at the first write.
        let _ = file.set_permissions(Permissions::from_mode(old.mode() & PERMISSIONS));
    }
    file.write_all(bytes)
}
