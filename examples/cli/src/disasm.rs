//! `disasm`: classic to text.

use std::path::PathBuf;
use std::process::ExitCode;

use cbpf_translator::disasm::Disassembly;
use seccomp_kernel::Arch;

use crate::profile_args::ProfileArgs;
use crate::{arch, filter, output};

/// Print a filter as assembler text, also one that Linux would refuse
///
/// `assemble` gives back the same bytes.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf disasm browser.bpf")]
pub struct DisasmArgs {
    /// Raw sock_filter bytes, assembler text or a profile; - is standard input
    filter: PathBuf,
    /// Whose numbers the names of system calls in assembler text have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub fn run(args: &DisasmArgs) -> anyhow::Result<ExitCode> {
    output::text(Disassembly(&filter::load(&args.filter, args.arch, &args.profile)?))?;
    Ok(ExitCode::SUCCESS)
}
