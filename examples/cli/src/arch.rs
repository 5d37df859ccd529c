//! `--arch`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use seccomp_kernel::Arch;

/// The default. A value rather than the machine's own architecture, so that a text means the same on every
/// machine.
pub const DEFAULT: &str = Arch::X86_64.name();

/// Parses an architecture's name.
pub fn parser() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.map(Arch::name))
        .try_map(|name| Arch::ALL.into_iter().find(|arch| arch.name() == name).ok_or("no such architecture"))
}
