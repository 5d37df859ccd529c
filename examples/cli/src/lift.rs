//! `lift`: eBPF of Linux's shape back to classic.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cbpf_translator::disasm::Disassembly;
use cbpf_translator::{Checked, Insn, lift};
use clap::ValueEnum;

use crate::filter::Name;
use crate::{filter, output};

/// Find the classic filter that Linux translates to an eBPF program
///
/// The exit status is 1 if there is none.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf lift deny.ebpf")]
pub struct LiftArgs {
    /// Raw eBPF instructions; - is standard input
    ebpf_file: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Assembler text
    Text,
    /// The bytes of the sock_filters
    Raw,
}

pub fn run(args: &LiftArgs) -> anyhow::Result<ExitCode> {
    let bytes = filter::read(&args.ebpf_file)?;
    let classic = classic(&bytes).with_context(|| Name(&args.ebpf_file).to_string())?;
    match args.format {
        Format::Text => output::text(Disassembly(classic.insns()))?,
        Format::Raw => output::bytes(&filter::to_bytes(classic.insns()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn classic(bytes: &[u8]) -> anyhow::Result<Checked> {
    let insns: Vec<_> = filter::whole(bytes)?.iter().copied().map(Insn::from_le_bytes).collect();
    Ok(lift(&insns)?)
}
