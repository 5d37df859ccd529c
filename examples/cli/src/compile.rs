//! `compile`: a profile to a filter.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cbpf_translator::disasm::Disassembly;
use clap::ValueEnum;
use seccomp_kernel::Arch;
use seccomp_rbpf::profile::{Alternative, Comparison, Meaning, Operator};

use crate::filter::Name;
use crate::profile_args::ProfileArgs;
use crate::return_value::ReturnValue;
use crate::{arch, filter, output};

/// Compile a profile of a container engine to a filter
///
/// A profile is JSON as OCI runtimes, Docker, Podman and containerd take it. It means what libseccomp makes of
/// it; the filter is shorter.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf compile /usr/share/containers/seccomp.json -o containers.bpf
  seccomp-rbpf compile profile.json --format text --caps SYS_ADMIN")]
pub struct CompileArgs {
    /// The profile; - is standard input
    profile: PathBuf,
    /// Where to write, instead of standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// The machine's architecture: the filter has it, and those that the profile adds
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    #[command(flatten)]
    options: ProfileArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// sock_filter bytes
    Raw,
    /// Assembler text
    Asm,
    /// What each system call gets, by which rule of the profile
    Text,
}

pub fn run(args: &CompileArgs) -> anyhow::Result<ExitCode> {
    filter::spared(args.output.as_deref(), [args.profile.as_path()])?;
    let name = || Name(&args.profile).to_string();
    let json = filter::read(&args.profile)?;
    let meaning = args.options.meaning(&args.profile, &json, args.arch).with_context(name)?;
    let compiled = || meaning.compile().with_context(name);
    let output = args.output.as_deref();
    match args.format {
        Format::Raw => output::bytes_to(output, &filter::to_bytes(&compiled()?))?,
        Format::Asm => output::text_to(output, Disassembly(&compiled()?))?,
        Format::Text => output::text_to(output, Words(&meaning))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A meaning in words.
struct Words<'m>(&'m Meaning);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(meaning) = self;
        writeln!(f, "default: {}", ReturnValue(meaning.default_value()))?;
        for arch in meaning.arches() {
            writeln!(f, "\n{}:", arch.name())?;
            for (nr, alternatives) in meaning.calls(arch) {
                let name = arch.syscall_name(nr.cast_signed()).unwrap_or("?");
                for Alternative { comparisons, value, rule } in alternatives {
                    write!(f, "{name}: {}", ReturnValue(*value))?;
                    for (index, comparison) in comparisons.iter().enumerate() {
                        let word = if index == 0 { "if" } else { "and" };
                        write!(f, " {word} {}", Condition(comparison))?;
                    }
                    writeln!(f, " (syscalls[{rule}])")?;
                }
            }
        }
        Ok(())
    }
}

/// A comparison in words.
pub struct Condition<'c>(pub &'c Comparison);

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { arg, operator, value, .. } = self.0;
        let sign = match operator {
            Operator::Ne => "!=",
            Operator::Lt => "<",
            Operator::Le => "<=",
            Operator::Eq => "==",
            Operator::Ge => ">=",
            Operator::Gt => ">",
            Operator::MaskedEq(mask) => return write!(f, "arg{arg} & {mask:#x} == {value:#x}"),
        };
        write!(f, "arg{arg} {sign} {value:#x}")
    }
}
