//! `disasm`: classic to text.

use std::path::PathBuf;
use std::process::ExitCode;

use cbpf_translator::SockFilter;
use cbpf_translator::disasm::{Disassembly, EbpfListing};
use seccomp_kernel::Arch;
use serde_json::json;

use crate::filter::Contents;
use crate::profile_args::ProfileArgs;
use crate::{arch, filter, json, output};

/// Print a filter as assembler text, also one that Linux would refuse
///
/// `assemble` gives back the same bytes. A filter of an object file is printed as eBPF, linked and not verified.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf disasm browser.bpf")]
pub struct DisasmArgs {
    /// Raw sock_filter bytes, assembler text, a profile or an eBPF object file; - is standard input
    filter: PathBuf,
    /// Whose numbers the names of system calls in assembler text have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/json.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub fn run(args: &DisasmArgs) -> anyhow::Result<ExitCode> {
    match filter::load_contents(&args.filter, args.arch, &args.profile)? {
        Contents::Classic(insns) if args.json => {
            json::print(&json!({"kind": "classic", "instructions": json::classic(&insns)}))?;
        }
        Contents::Object(filter) if args.json => {
            json::print(&json!({"kind": "ebpf", "instructions": json::ebpf(&filter.insns)}))?;
        }
        Contents::Classic(insns) => output::text(Disassembly(&insns))?,
        Contents::Object(filter) => output::text(EbpfListing(&filter.insns))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The instructions of a program, each as it stands there without its label and with single spaces.
pub fn lines(insns: &[SockFilter]) -> Vec<String> {
    let text = Disassembly(insns).to_string();
    let lines = text.lines().enumerate().map(|(pc, line)| {
        // A label stands before the first instruction that a jump goes to.
        let line = line.strip_prefix(&format!("L{pc}:")).unwrap_or(line);
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    lines.collect()
}
