//! `check`: whether Linux would accept a filter.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cbpf_translator::translate;
use seccomp_kernel::Arch;
use serde_json::json;

use crate::filter::Name;
use crate::profile_args::ProfileArgs;
use crate::{arch, filter, json, output, report, style};

/// Check filters as Linux does when they are installed
///
/// Prints the length of each that Linux would accept, and of its translation. The exit status is 1 if it
/// would refuse one, and 2 if one cannot be read.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  seccomp-rbpf check deny.bpfasm browser.bpf")]
pub struct CheckArgs {
    /// Raw sock_filter bytes, assembler text or a profile; - is standard input
    #[arg(value_name = "FILTER", required = true)]
    filters: Vec<PathBuf>,
    /// Whose numbers the names of system calls in assembler text have
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/json.md has its shape
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    profile: ProfileArgs,
}

pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    filter::stdin_once(args.filters.iter().map(PathBuf::as_path))?;
    let mut worst = 0;
    let mut filters = Vec::new();
    for path in &args.filters {
        let file = Name(path).to_string();
        match lengths(path, args.arch, &args.profile) {
            Ok((classic, ebpf)) if args.json => {
                filters.push(json!({"file": file, "ok": true, "classic": classic, "ebpf": ebpf}));
            }
            Err(error) if args.json => {
                filters.push(json!({"file": file, "ok": false, "error": json::failure(&error)}));
                worst = worst.max(report::error(&error));
            }
            Ok((classic, ebpf)) => {
                let name = if args.filters.len() > 1 { format!("{}: ", Name(path)) } else { String::new() };
                output::text(format_args!(
                    "{name}{}: {classic} classic, {ebpf} eBPF instructions\n",
                    style::ok()
                ))?;
            }
            Err(error) => worst = worst.max(report::error(&error)),
        }
    }
    if args.json {
        json::print(&json!({"filters": filters}))?;
    }
    Ok(worst.into())
}

/// Instructions of a filter and of its translation.
fn lengths(path: &Path, arch: Arch, profile: &ProfileArgs) -> anyhow::Result<(usize, usize)> {
    let checked = filter::load_checked(path, arch, profile)?;
    Ok((checked.insns().len(), translate(&checked)?.insns().len()))
}
