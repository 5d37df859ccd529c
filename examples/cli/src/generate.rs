//! `completions` and `man`: what shells and man(1) want, out of the command's own definition.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::output;

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  seccomp-rbpf completions bash > ~/.local/share/bash-completion/completions/seccomp-rbpf")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write man pages into a folder, one for the command and one for each subcommand
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  seccomp-rbpf man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::text(String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    ensure!(args.folder.is_dir(), "{}: not a folder", args.folder.display());
    // Subcommands get their whole name, as they are called.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    for page in std::iter::once(&command).chain(subcommands) {
        let page = Man::new(page.clone());
        let mut text = Vec::new();
        page.render(&mut text)?;
        output::file(&args.folder.join(page.get_filename()), &text)?;
    }
    Ok(ExitCode::SUCCESS)
}
