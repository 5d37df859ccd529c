//! `--batch`: many calls, one a line.

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use seccomp_runtime::SeccompData;

use super::engines::Engines;
use crate::filter::{self, Name};
use crate::number::{self, NumberError};
use crate::progress::Steps;
use crate::{json, output};

const FORMAT: &str = "arch nr ip a0 a1 a2 a3 a4 a5";

/// After as many lines it is looked at whether a bar is to be drawn.
const LINES: u64 = 4096;

/// More than any call takes, so that a file without lines ends soon.
const MAX_LINE: u64 = 1024;

/// Prints the filters' return value for each line of a file, as an object if `as_json`.
pub fn run(engines: &Engines, path: &Path, as_json: bool) -> anyhow::Result<()> {
    let name = || Name(path).to_string();
    let mut calls = BufReader::with_capacity(1 << 16, filter::open(path).with_context(name)?);
    // Where answers go to the terminal, they are what shows that it goes on.
    let len = fs::metadata(path).ok().filter(|of| of.is_file() && !io::stdout().is_terminal());
    let mut progress = len.map(|of| Steps::of_bytes("deciding".into(), of.len()));
    output::with_stdout(|out| {
        let mut line = Vec::new();
        let mut read = 0;
        for number in 1_u64.. {
            if calls.buffer().is_empty() {
                // The next read may wait for someone who waits for these answers.
                out.flush().context(output::STDOUT)?;
            }
            line.clear();
            calls.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).with_context(name)?;
            if line.is_empty() {
                break;
            }
            read += line.len() as u64;
            if let Some(progress) = progress.as_mut().filter(|_| number % LINES == 0) {
                progress.at(|| read);
            }
            let data = call(&line).with_context(|| format!("{}: line {number}", name()))?;
            let (value, winner) = engines.decide(&data)?;
            if as_json {
                let from = Name(winner).to_string();
                let mut line = json::value(value);
                line["from"] = from.into();
                writeln!(out, "{line}").context(output::STDOUT)?;
                continue;
            }
            writeln!(out, "{value:#010x}").context(output::STDOUT)?;
        }
        Ok(())
    })
}

/// Reads a call from a line.
fn call(line: &[u8]) -> anyhow::Result<SeccompData> {
    ensure!((line.len() as u64) < MAX_LINE || line.ends_with(b"\n"), "more than {MAX_LINE} bytes");
    let line = str::from_utf8(line).map_err(|_| anyhow!("not UTF-8 text"))?;
    let fields = &mut line.split_ascii_whitespace();

    let arch = field(fields, "arch", |text| number::hex(text, 32))? as u32;
    let nr = field(fields, "nr", number::syscall)?;
    let instruction_pointer = field(fields, "ip", |text| number::hex(text, 64))?;
    let mut args = [0; 6];
    for (arg, name) in args.iter_mut().zip(["a0", "a1", "a2", "a3", "a4", "a5"]) {
        *arg = field(fields, name, |text| number::hex(text, 64))?;
    }
    if let Some(extra) = fields.next() {
        return Err(anyhow!("{extra:?} is too much, a line is {FORMAT:?}"));
    }
    Ok(SeccompData { nr, arch, instruction_pointer, args })
}

fn field<'t, T>(
    fields: &mut impl Iterator<Item = &'t str>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, NumberError>,
) -> anyhow::Result<T> {
    let text = fields.next().ok_or_else(|| anyhow!("{name} is missing, a line is {FORMAT:?}"))?;
    parse(text).with_context(|| format!("{name} {text:?}"))
}
