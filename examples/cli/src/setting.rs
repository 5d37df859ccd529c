//! `--set`: what is in a map before the first call.

use anyhow::{Context, anyhow, ensure};
use seccomp_runtime::verifier::MapKind;

use crate::filter::Filter;
use crate::maps::kind_name;
use crate::number;

/// An entry of a map, as the command line has it.
#[derive(Clone, Debug)]
pub struct Setting {
    map: String,
    key: String,
    value: String,
}

impl Setting {
    /// Reads `MAP:KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(map, rest)| Some((map, rest.split_once('=')?)));
        let (map, (key, value)) = parts.ok_or("MAP:KEY=VALUE is needed")?;
        Ok(Self { map: map.into(), key: key.into(), value: value.into() })
    }
}

/// Lets filters begin with these entries. Every filter that has a map of that name gets it.
///
/// # Errors
///
/// No filter has such a map, its keys or values are of another size, or it is task storage or a ring.
pub fn apply(filters: &mut [Filter], settings: &[Setting]) -> anyhow::Result<()> {
    for setting in settings {
        let Setting { map, key, value } = setting;
        let mut found = false;
        for filter in &mut *filters {
            let Filter::Extension(filter) = filter else { continue };
            let Some((index, descriptor)) = filter.map(map) else { continue };
            // Whose storage it would be is known when the program runs.
            let has_none = matches!(descriptor.kind, MapKind::TaskStorage | MapKind::Ring);
            ensure!(
                !has_none,
                "--set {map}:{key}={value}: nothing is put into a {}",
                kind_name(descriptor.kind)
            );
            let bytes = |text, len, what| {
                bytes(text, len).with_context(|| format!("--set {map}:{key}={value}: {what} {text:?}"))
            };
            let key = bytes(key, descriptor.key_size as usize, "the key")?;
            let value = bytes(value, descriptor.value_size as usize, "the value")?;
            filter.first_entries.push((index, key, value));
            found = true;
        }
        ensure!(found, "--set {map}:{key}={value}: no filter has a map {map}");
    }
    Ok(())
}

/// A number of `len` bytes as the machine has it, or bytes behind `hex:`.
fn bytes(text: &str, len: usize) -> anyhow::Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("hex:") {
        let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(number::hex_byte).collect();
        let bytes = bytes.context("two hexadecimal digits are needed a byte")?;
        ensure!(bytes.len() == len, "{} bytes, {len} are needed", bytes.len());
        return Ok(bytes);
    }
    if !matches!(len, 1 | 2 | 4 | 8) {
        return Err(anyhow!("no number has {len} bytes, write hex: and the bytes"));
    }
    let number = number::parse(text, len as u32 * u8::BITS)?;
    Ok(number.to_le_bytes()[..len].to_vec())
}
