//! `assemble`: text to classic.

use std::path::PathBuf;
use std::process::ExitCode;

use seccomp_kernel::Arch;

use crate::{arch, filter, output};

/// Assemble text to raw sock_filter bytes
///
/// The syntax is that of the kernel's bpf_asm, with system calls, architectures and actions by name. The
/// program is not checked; `check` does that.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf assemble deny.bpfasm -o deny.bpf")]
pub struct AssembleArgs {
    /// Assembler text; - is standard input
    file: PathBuf,
    /// Where to write the bytes, instead of standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Whose numbers the names of system calls have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
}

pub fn run(args: &AssembleArgs) -> anyhow::Result<ExitCode> {
    filter::spared(args.output.as_deref(), [args.file.as_path()])?;
    let program = filter::to_bytes(&filter::load_text(&args.file, args.arch)?);
    output::bytes_to(args.output.as_deref(), &program)?;
    Ok(ExitCode::SUCCESS)
}
