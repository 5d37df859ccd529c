//! The command `seccomp-rbpf`: one file for each subcommand.

#![deny(unsafe_code)]

mod arch;
mod assemble;
mod bench;
mod check;
mod closed;
mod compile;
mod diff;
mod disasm;
mod dump;
mod engine;
mod eval;
mod explain;
mod extension;
mod filter;
mod generate;
mod graph;
mod host;
mod json;
mod lift;
mod maps;
mod number;
mod output;
mod plan;
mod profile_args;
mod progress;
mod record;
mod replay;
mod report;
mod return_value;
mod run;
mod setting;
mod strace;
mod style;
mod table;
mod translate;
mod verify;
mod wrap;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Check, translate and evaluate seccomp filters, and run programs under them
///
/// A FILTER is a file of raw sock_filter bytes, classic assembler text in the syntax of the kernel's bpf_asm with
/// system calls, architectures and actions by name, a profile in JSON as OCI runtimes, Docker, Podman and containerd
/// take it, or an eBPF object file that clang made of C, with `:NAME` behind it if it has several filters; - is
/// standard input.
///
/// The exit status is 1 for a program that Linux would refuse or that is not proved safe, and 2 for everything else
/// that fails.
#[derive(Parser)]
#[command(
    name = "seccomp-rbpf",
    version,
    arg_required_else_help = false,
    after_help = "\
Examples:
  seccomp-rbpf check deny.bpfasm
  seccomp-rbpf eval deny.bpfasm --nr mkdir
  seccomp-rbpf assemble deny.bpfasm -o deny.bpf
  seccomp-rbpf run --filter deny.bpf -- mkdir x"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Verify(verify::VerifyArgs),
    Translate(translate::TranslateArgs),
    Disasm(disasm::DisasmArgs),
    Assemble(assemble::AssembleArgs),
    Compile(compile::CompileArgs),
    Lift(lift::LiftArgs),
    Eval(eval::EvalArgs),
    Explain(explain::ExplainArgs),
    Table(table::TableArgs),
    Diff(diff::DiffArgs),
    Graph(graph::GraphArgs),
    Replay(replay::ReplayArgs),
    Plan(plan::PlanArgs),
    Bench(bench::BenchArgs),
    Run(run::RunArgs),
    Record(record::RecordArgs),
    Dump(dump::DumpArgs),
    Completions(generate::CompletionsArgs),
    Man(generate::ManArgs),
    #[command(name = run::LAUNCH, hide = true)]
    Launch(run::LaunchArgs),
    #[command(name = bench::CALLS, hide = true)]
    Calls(bench::CallsArgs),
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return report::usage(&error).into(),
    };
    let status = match command {
        Command::Check(args) => check::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Translate(args) => translate::run(&args),
        Command::Disasm(args) => disasm::run(&args),
        Command::Assemble(args) => assemble::run(&args),
        Command::Compile(args) => compile::run(&args),
        Command::Lift(args) => lift::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Table(args) => table::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Completions(args) => generate::completions(&args, Cli::command()),
        Command::Man(args) => generate::man(&args, Cli::command()),
        Command::Run(args) => run::run(args),
        Command::Record(args) => record::run(args),
        Command::Launch(args) => run::launch(&args),
        Command::Calls(args) => bench::serve(&args),
    };
    status.unwrap_or_else(|error| report::error(&error).into())
}
