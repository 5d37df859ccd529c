//! The command with files of its own.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use tempfile::TempDir;

/// One of its subcommands.
pub fn command(name: &str) -> Command {
    let mut command = Command::cargo_bin("seccomp-rbpf").expect("the command is built");
    command.arg(name);
    command
}

/// A file with this content.
pub fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the file is written");
    path
}
