//! `--engine`, where one is chosen.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use seccomp_kernel::runtime::EngineKind;

/// Parses an engine's name.
pub fn parser() -> impl TypedValueParser<Value = EngineKind> {
    PossibleValuesParser::new(EngineKind::ALL.map(EngineKind::name))
        .try_map(|name| EngineKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or("no such engine"))
}
