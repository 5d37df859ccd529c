//! `translate`: classic to eBPF.

use std::path::PathBuf;
use std::process::ExitCode;

use cbpf_translator::disasm::EbpfListing;
use cbpf_translator::translate;
use clap::ValueEnum;
use seccomp_kernel::Arch;

use crate::profile_args::ProfileArgs;
use crate::{arch, filter, output};

/// Translate a filter to eBPF, byte for byte as Linux does
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf translate deny.bpfasm --format raw > deny.ebpf")]
pub struct TranslateArgs {
    /// Raw sock_filter bytes, assembler text or a profile; - is standard input
    filter: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Whose numbers the names of system calls in assembler text have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    #[command(flatten)]
    profile: ProfileArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// What each instruction does, with its index and its bytes
    Text,
    /// An instruction a line, its eight bytes as they stand in memory
    Hex,
    /// The bytes
    Raw,
}

pub fn run(args: &TranslateArgs) -> anyhow::Result<ExitCode> {
    let translated = translate(&filter::load_checked(&args.filter, args.arch, &args.profile)?)?;
    match args.format {
        Format::Text => output::text(EbpfListing(translated.insns()))?,
        Format::Hex => output::text(hex(&translated.to_bytes()?))?,
        Format::Raw => output::bytes(&translated.to_bytes()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn hex(program: &[u8]) -> String {
    let (insns, _) = program.as_chunks();
    insns.iter().map(|insn| format!("{:016x}\n", u64::from_be_bytes(*insn))).collect()
}
