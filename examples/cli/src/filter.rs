//! Filters from files: raw `sock_filter` bytes, classic assembler text, profiles, or eBPF object files.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use cbpf_translator::asm::AsmErrorKind;
use cbpf_translator::seccomp::{AUDIT_ARCH_NAMES, RET_NAMES};
use cbpf_translator::{Checked, SockFilter, asm, check};
use seccomp_kernel::Arch;
use seccomp_rbpf::names::Meant;
use seccomp_rbpf::profile::{Meaning, edit};

use crate::extension::{self, Extension, Unverified};
use crate::profile_args::ProfileArgs;
use crate::style::Escaped;

/// The most bytes a file may have. The longest program takes 32 KiB raw, and comments are not endless.
const MAX_FILE: u64 = 1 << 20;

const ELF_MAGIC: &[u8] = b"\x7fELF";

/// A filter that a thread can have.
pub enum Filter {
    /// One that Linux would accept.
    Classic(Checked),
    /// A verified one.
    Extension(Extension),
}

/// What a file holds, not checked.
pub enum Contents {
    Classic(Vec<SockFilter>),
    Object(Unverified),
}

/// Loads a filter of either kind: an object file's is `FILE` or `FILE:NAME`.
pub fn load_any(argument: &Path, arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Filter> {
    let checked = match load_contents(argument, arch, profile)? {
        Contents::Classic(insns) => check(insns).map(Filter::Classic).map_err(anyhow::Error::new),
        Contents::Object(filter) => filter.verify(&mut ()).map(Filter::Extension),
    };
    checked.with_context(|| Name(argument).to_string())
}

/// A profile's meaning, and its JSON, which is a part of that of a bundle.
pub type WithJson = (Meaning, Vec<u8>);

/// Loads a filter of either kind, and the profile that it was, with its JSON.
pub fn load_with_profile(
    argument: &Path,
    arch: Arch,
    options: &ProfileArgs,
) -> anyhow::Result<(Filter, Option<WithJson>)> {
    let is_assembler =
        argument.extension().is_some_and(|extension| extension == "asm" || extension == "bpfasm");
    // An object file's filter may have a name, and only a file is read twice.
    if is_assembler || !argument.exists() && !is_stdin(argument) {
        return Ok((load_any(argument, arch, options)?, None));
    }
    let load = || -> anyhow::Result<_> {
        let json = bounded(argument)?;
        if json.starts_with(ELF_MAGIC) {
            let filter = extension::one(&json, None)?.verify(&mut ())?;
            return Ok((Filter::Extension(filter), None));
        }
        if !is_profile(&json) {
            let insns = decode(argument, &json, arch, options)?;
            return Ok((Filter::Classic(check(insns)?), None));
        }
        let meaning = options.meaning(argument, &json, arch)?;
        let filter = check(meaning.compile()?)?;
        let section = edit::section(text(&json)?)?.as_bytes().to_vec();
        Ok((Filter::Classic(filter), Some((meaning, section))))
    };
    load().with_context(|| Name(argument).to_string())
}

/// Loads what an argument names, not checked.
pub fn load_contents(argument: &Path, arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Contents> {
    let (path, name) = extension::split(argument);
    let bytes = read(&path)?;
    let contents = if bytes.starts_with(ELF_MAGIC) {
        extension::one(&bytes, name.as_deref()).map(Contents::Object)
    } else {
        decode(&path, &bytes, arch, profile).map(Contents::Classic)
    };
    contents.with_context(|| Name(&path).to_string())
}

/// Loads a filter, not checked. Names of system calls in assembler text have their numbers on `arch`; a profile
/// is for a machine of that architecture.
///
/// What the file holds decides how it is read: every raw filter that Linux accepts has control bytes, text
/// has none, and only a profile begins with a brace.
pub fn load(path: &Path, arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Vec<SockFilter>> {
    let bytes = read(path)?;
    decode(path, &bytes, arch, profile).with_context(|| Name(path).to_string())
}

fn decode(path: &Path, bytes: &[u8], arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Vec<SockFilter>> {
    let named = path.extension().is_some_and(|extension| extension == "asm" || extension == "bpfasm");
    if named {
        text(bytes).and_then(|source| assemble(source, arch))
    } else if is_profile(bytes) {
        profile.compile(path, bytes, arch)
    } else if let Some(source) = text(bytes).ok().filter(|source| !source.contains(is_binary)) {
        assemble(source, arch).context("read as assembler text")
    } else {
        raw(bytes)
    }
}

/// Loads a filter that Linux would accept.
pub fn load_checked(path: &Path, arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Checked> {
    check(load(path, arch, profile)?).with_context(|| Name(path).to_string())
}

/// Loads assembler text, whatever the file is called.
pub fn load_text(path: &Path, arch: Arch) -> anyhow::Result<Vec<SockFilter>> {
    let bytes = read(path)?;
    text(&bytes).and_then(|source| assemble(source, arch)).with_context(|| Name(path).to_string())
}

/// The bytes of a small file that is not empty.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    bounded(path).with_context(|| Name(path).to_string())
}

fn bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    ensure!(!bytes.is_empty(), "empty");
    ensure!(bytes.len() as u64 <= MAX_FILE, "more than {} KiB, no filter is that long", MAX_FILE >> 10);
    Ok(bytes)
}

/// Opens a file, or standard input for `-`.
pub fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if is_stdin(path) { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) })
}

/// Fails if standard input is named twice: whoever reads it first leaves nothing to the other.
pub fn stdin_once<'p>(paths: impl IntoIterator<Item = &'p Path>) -> anyhow::Result<()> {
    let count = paths.into_iter().filter(|path| is_stdin(path)).count();
    ensure!(count <= 1, "standard input, -, is named {count} times and can be read once");
    Ok(())
}

/// Fails if what is written to `output` would take the place of one of the files that are read.
pub fn spared<'p>(output: Option<&Path>, inputs: impl IntoIterator<Item = &'p Path>) -> anyhow::Result<()> {
    let identity = |path: &Path| {
        let file = fs::metadata(path).ok().filter(Metadata::is_file);
        file.map(|file| (file.dev(), file.ino()))
    };
    let Some((output, file)) = output.and_then(|path| Some((path, identity(path)?))) else { return Ok(()) };
    let is_read = inputs.into_iter().any(|input| identity(&extension::split(input).0) == Some(file));
    ensure!(!is_read, "{}: it is what is read and would be lost, write to another file", Name(output));
    Ok(())
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A file's name in messages.
pub struct Name<'p>(pub &'p Path);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_stdin(self.0) { f.write_str("standard input") } else { Escaped(self.0.display()).fmt(f) }
    }
}

/// Whether this begins as a JSON object, which no assembler text does; no raw filter that Linux accepts has
/// such a first opcode.
pub fn is_profile(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

fn text(bytes: &[u8]) -> anyhow::Result<&str> {
    str::from_utf8(bytes).map_err(|_| anyhow!("not UTF-8 text"))
}

fn is_binary(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r')
}

fn assemble(source: &str, arch: Arch) -> anyhow::Result<Vec<SockFilter>> {
    let number = |name: &str| arch.syscall_number(name).map(i32::cast_unsigned);
    // The error borrows from the source.
    asm::assemble(source, &number).map_err(|error| match error.kind {
        AsmErrorKind::UnknownName(name) => anyhow!("{error}{}", meant(name, arch)),
        _ => anyhow!("{error}"),
    })
}

/// What a name in assembler text is likely meant to be.
fn meant(name: &str, arch: Arch) -> Meant<'static> {
    let calls = arch.syscalls().map(|(_, name)| name);
    let values = RET_NAMES.iter().chain(&AUDIT_ARCH_NAMES).map(|(name, _)| *name);
    Meant::of(name.strip_prefix("__NR_").unwrap_or(name), calls.chain(values))
}

fn raw(bytes: &[u8]) -> anyhow::Result<Vec<SockFilter>> {
    if bytes.starts_with(ELF_MAGIC) {
        bail!(
            "an object file; its eBPF filters are for verify, disasm, translate, plan, eval, bench and run"
        );
    }
    Ok(whole(bytes)?.iter().copied().map(SockFilter::from_ne_bytes).collect())
}

/// The instructions in `bytes`, classic or eBPF: both take eight bytes.
pub fn whole(bytes: &[u8]) -> anyhow::Result<&[[u8; SockFilter::SIZE]]> {
    let (insns, rest) = bytes.as_chunks();
    ensure!(
        rest.is_empty(),
        "{} bytes, not a multiple of the {} that an instruction has",
        bytes.len(),
        SockFilter::SIZE
    );
    Ok(insns)
}

/// The instructions as they stand in memory.
pub fn to_bytes(insns: &[SockFilter]) -> Vec<u8> {
    insns.iter().flat_map(|insn| insn.to_ne_bytes()).collect()
}
