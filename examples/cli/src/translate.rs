//! `translate`: classic to eBPF.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use cbpf_translator::disasm::EbpfListing;
use cbpf_translator::{Insn, translate};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use seccomp_kernel::Arch;
use seccomp_runtime::EngineKind;
use serde_json::json;

use crate::engine::Engine;
use crate::extension::Extension;
use crate::filter::Filter;
use crate::profile_args::ProfileArgs;
use crate::{arch, filter, json, output};

/// Translate a filter to eBPF, byte for byte as Linux does
///
/// A filter of an object file is eBPF already: it is proved safe, and printed with all that it calls.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf translate deny.bpfasm --format raw > deny.ebpf")]
pub struct TranslateArgs {
    /// Raw sock_filter bytes, assembler text, a profile or an eBPF object file; - is standard input
    filter: PathBuf,
    /// Print what an engine of rbpf's is given of an eBPF filter, in which nothing is left that it gets wrong
    #[arg(long, value_name = "ENGINE", value_parser = lowered_engine())]
    lowered: Option<EngineKind>,
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
    /// A list of instructions; docs/json.md has its shape
    Json,
}

pub fn run(args: &TranslateArgs) -> anyhow::Result<ExitCode> {
    let filter = filter::load_any(&args.filter, args.arch, &args.profile)?;
    let insns = match (&filter, args.lowered) {
        (Filter::Classic(filter), None) => translate(filter)?.insns().to_vec(),
        (Filter::Classic(_), Some(_)) => bail!("--lowered: a classic filter is run as it is translated"),
        (Filter::Extension(filter), None) => filter.verified.insns().to_vec(),
        (Filter::Extension(filter), Some(kind)) => lowered(filter, kind)?,
    };
    match args.format {
        Format::Text => output::text(EbpfListing(&insns))?,
        Format::Json => json::print(&json!({"kind": "ebpf", "instructions": json::ebpf(&insns)}))?,
        Format::Hex => output::text(hex(&insns))?,
        Format::Raw => {
            output::bytes(insns.iter().map(|insn| insn.to_le_bytes()).collect::<Vec<_>>().as_flattened())?
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lowered(filter: &Extension, kind: EngineKind) -> anyhow::Result<Vec<Insn>> {
    let native = Engine { kind: EngineKind::Native, plan: false };
    let lowered = filter.load(native)?.filter.lowered(kind)?;
    Ok(lowered.context("that engine runs it as it is")?.insns().to_vec())
}

/// The engines of rbpf's.
fn lowered_engine() -> impl TypedValueParser<Value = EngineKind> {
    const ENGINES: [EngineKind; 2] = [EngineKind::Jit, EngineKind::Interpreter];
    PossibleValuesParser::new(ENGINES.map(EngineKind::name))
        .try_map(|name| ENGINES.into_iter().find(|kind| kind.name() == name).ok_or("no such engine"))
}

fn hex(insns: &[Insn]) -> String {
    insns.iter().map(|insn| format!("{:016x}\n", u64::from_be_bytes(insn.to_le_bytes()))).collect()
}
