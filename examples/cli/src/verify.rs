//! `verify`: whether an eBPF filter is proved safe.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use cbpf_translator::Insn;
use cbpf_translator::disasm::EbpfInsn;
use cbpf_translator::ebpf::Opcode;
use seccomp_runtime::HELPERS;
use seccomp_runtime::verifier::{Log, State, Verified};
use serde_json::{Value, json};

use crate::extension::{self, Extension, Unverified};
use crate::filter::{self, Name};
use crate::maps::kind_name;
use crate::style::{self, Escaped};
use crate::{json, output, progress, report};

/// Prove that the eBPF filters of object files are safe
///
/// An object file is what `clang -target bpf -O2 -g -c` makes of C. Prints for each filter its length, how many
/// instructions were followed on all of its paths, its stack, its maps and its helpers. The exit status is 1 if one
/// cannot be proved safe, and 2 if a file cannot be read.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf verify count.o
  seccomp-rbpf verify --verbose filters.o:count")]
pub struct VerifyArgs {
    /// Object files; FILE:NAME is the filter NAME of one with several; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print each instruction that is followed, and what is known before it
    #[arg(long, conflicts_with = "json")]
    verbose: bool,
    /// Print JSON; docs/json.md has its shape
    #[arg(long)]
    json: bool,
}

pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.files.iter().map(PathBuf::as_path))?;
    if args.json {
        return as_json(args);
    }
    let mut worst = 0;
    for path in &args.files {
        match read(path) {
            Ok((path, filters)) => {
                for filter in filters {
                    let status =
                        one(&path, filter, args.verbose).unwrap_or_else(|error| report::error(&error));
                    worst = worst.max(status);
                }
            }
            Err(error) => worst = worst.max(report::error(&error)),
        }
    }
    Ok(worst.into())
}

fn as_json(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let (mut worst, mut shown) = (0, Vec::new());
    for argument in &args.files {
        let failed = |name: Option<&str>, path: &Path, error: &anyhow::Error| {
            let error = json::failure(error);
            json!({"file": Name(path).to_string(), "name": name, "ok": false, "error": error})
        };
        let (path, filters) = match read(argument) {
            Ok(read) => read,
            Err(error) => {
                shown.push(failed(None, argument, &error));
                worst = worst.max(report::error(&error));
                continue;
            }
        };
        for filter in filters {
            let name = filter.name.clone();
            match filter.verify(&mut ()).with_context(|| Name(&path).to_string()) {
                Ok(filter) => shown.push(proved(&path, &filter)),
                Err(error) => {
                    shown.push(failed(Some(&name), &path, &error));
                    worst = worst.max(report::error(&error));
                }
            }
        }
    }
    json::print(&json!({"filters": shown}))?;
    Ok(worst.into())
}

fn proved(path: &Path, filter: &Extension) -> Value {
    let verified = &filter.verified;
    let maps = filter.map_names().zip(verified.maps()).map(|(name, map)| {
        json!({
            "name": name,
            "kind": kind_name(map.kind),
            "max_entries": map.max_entries,
            "key_size": map.key_size,
            "value_size": map.value_size,
        })
    });
    let helpers = HELPERS.iter().filter(|row| calls(verified, row.helper.id));
    let helpers = helpers.map(|row| json!({"name": row.name, "capability": format!("{:?}", row.capability)}));
    json!({
        "file": Name(path).to_string(),
        "name": filter.name,
        "ok": true,
        "instructions": verified.insns().len(),
        "followed": verified.visited(),
        "stack": verified.stack(),
        "maps": maps.collect::<Vec<_>>(),
        "helpers": helpers.collect::<Vec<_>>(),
    })
}

fn read(argument: &Path) -> anyhow::Result<(PathBuf, Vec<Unverified>)> {
    let (path, name) = extension::split(argument);
    let bytes = filter::read(&path)?;
    let filters = extension::all(&bytes, name.as_deref()).with_context(|| Name(&path).to_string())?;
    Ok((path, filters))
}

fn one(path: &Path, filter: Unverified, verbose: bool) -> anyhow::Result<u8> {
    let context = || Name(path).to_string();
    let filter = if verbose {
        let insns = filter.insns.clone();
        output::with_stdout(|out| {
            let mut steps = Steps { insns: &insns, out, written: Ok(()) };
            let verified = filter.verify(&mut steps).with_context(context);
            steps.written.context(output::STDOUT)?;
            verified
        })?
    } else {
        progress::during("verifying", || filter.verify(&mut ())).with_context(context)?
    };
    let name = Escaped(&filter.name);
    output::text(format_args!("{}: {name}: {}: {filter}\n", Name(path), style::ok()))?;
    output::text(Uses(&filter))?;
    Ok(0)
}

/// Prints what the walk sees.
struct Steps<'s, 'o> {
    insns: &'s [Insn],
    out: &'s mut BufWriter<io::StdoutLock<'o>>,
    written: io::Result<()>,
}

impl Log for Steps<'_, '_> {
    fn visit(&mut self, pc: usize, state: &State) {
        if self.written.is_ok() {
            let insn = EbpfInsn { program: self.insns, pc };
            self.written = writeln!(self.out, "      ; {state}\n{pc:>5}: {insn}");
        }
    }
}

/// What a filter needs.
struct Uses<'f>(&'f Extension);

impl fmt::Display for Uses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extension { verified, .. } = self.0;
        for (name, map) in self.0.map_names().zip(verified.maps()) {
            let (name, kind) = (Escaped(name), kind_name(map.kind));
            writeln!(
                f,
                "  map {name}: {kind}, {} entries, keys of {} bytes, values of {}",
                map.max_entries, map.key_size, map.value_size
            )?;
        }
        for row in HELPERS.iter().filter(|row| calls(verified, row.helper.id)) {
            writeln!(f, "  helper {}: {:?}", row.name, row.capability)?;
        }
        Ok(())
    }
}

/// Whether some run may call the helper of this number.
fn calls(verified: &Verified, id: i32) -> bool {
    let is_call = |insn: &Insn| insn.code == Opcode::Call.code() && insn.src() == 0 && insn.imm == id;
    verified.insns().iter().enumerate().any(|(pc, insn)| verified.is_reached(pc) && is_call(insn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use seccomp_runtime::verifier::{Environment, Program, verify};

    #[test]
    fn a_helper_is_one_that_some_run_calls() {
        let insn = |code, src, imm| Insn::new(code, 0, src, 0, imm);
        // A call of the function at 2, by 1; one of helper 7; and one of helper 5 that no run gets to.
        let program = vec![
            insn(0x85, 1, 1),
            insn(0x95, 0, 0),
            insn(0x85, 0, 7),
            insn(0x95, 0, 0),
            insn(0x85, 0, 5),
            insn(0x95, 0, 0),
        ];
        let helpers = HELPERS.each_ref().map(|row| row.helper);
        let verified = verify(Program::new(program), &Environment { maps: &[], helpers: &helpers }).unwrap();
        assert_eq!([1, 5, 7].map(|id| calls(&verified, id)), [false, false, true]);
    }
}
