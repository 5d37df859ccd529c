//! `graph`: a picture of a filter's control flow.

mod chart;
mod dot;
mod ebpf;
mod json;
mod layout;
mod svg;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use seccomp_kernel::Arch;
use seccomp_rbpf::flow::Flow;

use crate::filter::{self, Filter, Name};
use crate::profile_args::ProfileArgs;
use crate::{arch, output};
use chart::Chart;
use words::Words;

/// Draw the control flow of a filter
///
/// Tests are said in fields of the call, and tests of one field that follow one another are drawn as one, with the calls
/// that go each way. Of an eBPF filter the instructions are shown. docs/graph.md says how to read it.
///
/// Numbers have the names of the architecture that the filter has asked for; before it has, those of --arch.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf graph profile.json -o profile.svg
  seccomp-rbpf graph deny.bpfasm --format dot | dot -Tpdf > deny.pdf")]
pub struct GraphArgs {
    /// Raw sock_filter bytes, assembler text, a profile or an eBPF object file; - is standard input
    filter: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// Write to this file rather than to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print blocks and edges as JSON; docs/graph.md has its shape
    #[arg(long, conflicts_with_all = ["format", "output"])]
    json: bool,
    /// Whose numbers the names of system calls have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    #[command(flatten)]
    profile: ProfileArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A picture that browsers show
    Svg,
    /// A graph in graphviz's language
    Dot,
}

pub fn run(args: &GraphArgs) -> anyhow::Result<ExitCode> {
    filter::spared(args.output.as_deref(), [args.filter.as_path()])?;
    let name = Name(&args.filter).to_string();
    let filter = filter::load_any(&args.filter, args.arch, &args.profile)?;
    let title = Name(args.filter.file_name().map_or(&args.filter, Path::new)).to_string();
    let chart = match &filter {
        Filter::Extension(_) if args.json => bail!("{name}: --json is for classic filters and profiles only"),
        Filter::Extension(filter) => ebpf::chart(filter, title),
        Filter::Classic(program) => {
            let flow = Flow::of(program);
            let words = Words::of(&flow, args.arch);
            if args.json {
                crate::json::print(&json::of(&flow, &words, args.arch))?;
                return Ok(ExitCode::SUCCESS);
            }
            Chart::of(&flow, &words, title, program.insns().len())
        }
    };
    let drawn = match args.format {
        Format::Svg => svg::draw(chart),
        Format::Dot => dot::write(&chart),
    };
    output::text_to(args.output.as_deref(), drawn)?;
    Ok(ExitCode::SUCCESS)
}
