//! `--maps` and `--events`: what extensions remember, and what they tell.

use std::fmt::{self, Write as _};

use seccomp_runtime::verifier::{MapAccess, MapKind};
use seccomp_runtime::{MAX_VALUE_SIZE, Map};

use crate::extension::NamedMap;
use crate::style::Escaped;

/// The most entries of a map that are shown.
const MAX_SHOWN: usize = 1000;

/// Maps with their entries. Of arrays, entries that are not 0. Constants are left out.
pub struct Contents<'m>(pub &'m [NamedMap]);

impl fmt::Display for Contents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_constant = |map: &Map| map.is_frozen() && map.descriptor().access == MapAccess::ReadOnly;
        let mut maps = self.0.iter().filter(|named| !is_constant(&named.map));
        maps.try_for_each(|named| write_map(f, named))
    }
}

fn write_map(f: &mut fmt::Formatter<'_>, NamedMap { name, map }: &NamedMap) -> fmt::Result {
    let kind = map.descriptor().kind;
    writeln!(f, "map {} ({})", Escaped(name), kind_name(kind))?;
    if kind == MapKind::Ring {
        return writeln!(
            f,
            "  {} bytes of events wait, {} events were lost",
            map.waiting_bytes(),
            map.lost_events()
        );
    }
    let mut entries = Vec::new();
    let listed = map.for_each(|key, value| {
        let is_shown = kind != MapKind::Array || value.iter().any(|byte| *byte != 0);
        if is_shown {
            entries.push((key.to_vec(), value.to_vec()));
        }
    });
    if let Err(error) = listed {
        return writeln!(f, "  {error}");
    }
    entries.sort_by(|(a, _), (b, _)| numeric(a).cmp(&numeric(b)).then_with(|| a.cmp(b)));
    for (key, value) in entries.iter().take(MAX_SHOWN) {
        writeln!(f, "  {}: {}", Bytes(key), Bytes(value))?;
    }
    match entries.len().checked_sub(MAX_SHOWN) {
        Some(more) if more > 0 => writeln!(f, "  and {more} more"),
        _ => Ok(()),
    }
}

/// A kind of map in words.
pub fn kind_name(kind: MapKind) -> &'static str {
    match kind {
        MapKind::Array => "array",
        MapKind::Hash => "hash",
        MapKind::LruHash => "LRU hash",
        MapKind::TaskStorage => "task storage",
        MapKind::Ring => "ring",
    }
}

/// The number that bytes are, if they have the size of one.
fn numeric(bytes: &[u8]) -> Option<u64> {
    let mut all = [0; 8];
    matches!(bytes.len(), 1 | 2 | 4 | 8).then(|| {
        all[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(all)
    })
}

/// A key or a value: a number if it has the size of one, otherwise bytes.
struct Bytes<'b>(&'b [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match numeric(self.0) {
            Some(number) => write!(f, "{number}"),
            None => Hex(self.0).fmt(f),
        }
    }
}

/// Bytes in hexadecimal, four together.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, byte)| {
            let space = if index > 0 && index % 4 == 0 { " " } else { "" };
            write!(f, "{space}{byte:02x}")
        })
    }
}

/// The events that wait in maps. Showing them takes them out.
pub struct Events<'m>(pub &'m [NamedMap]);

impl fmt::Display for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = Ok(());
        for named in self.0 {
            drain(named, &mut Vec::new(), |line| written = written.and_then(|()| writeln!(f, "{line}")));
        }
        written
    }
}

/// Takes the events that wait in a map, and calls `line` with each.
pub fn drain(named: &NamedMap, buffer: &mut Vec<u8>, mut line: impl FnMut(&str)) {
    let map: &Map = &named.map;
    if map.waiting_bytes() == 0 {
        return;
    }
    buffer.resize(MAX_VALUE_SIZE as usize, 0);
    while let Ok(Some(len)) = map.next_event(buffer) {
        let mut text = format!("event {}: ", Escaped(&named.name));
        let shown = &buffer[..len.min(buffer.len())];
        // A string takes everything.
        let _ = write!(text, "{}", Hex(shown));
        if shown.len() < len {
            let _ = write!(text, " and {} bytes more", len - shown.len());
        }
        line(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seccomp_runtime::verifier::MapDescriptor;
    use seccomp_runtime::{MapOptions, Update, UserSpace};

    fn shown(kind: MapKind, key_size: u32, entries: &[(&[u8], u64)]) -> String {
        let access = MapAccess::ReadWrite;
        let descriptor = MapDescriptor { kind, key_size, value_size: 8, max_entries: 8, access };
        let map = Map::new(descriptor, MapOptions::default(), &UserSpace).unwrap();
        for (key, value) in entries {
            map.update(key, &value.to_ne_bytes(), Update::Any).unwrap();
        }
        Contents(&[NamedMap { name: "m".into(), map: map.into() }]).to_string()
    }

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let keys = [256_u32, 9, 10, 0].map(u32::to_ne_bytes);
        let entries = keys.each_ref().map(|key| (&key[..], u64::from(key[0])));
        assert_eq!(shown(MapKind::Hash, 4, &entries), "map m (hash)\n  0: 0\n  9: 9\n  10: 10\n  256: 0\n");
        let entries: [(&[u8], u64); 3] = [(b"b\0\0", 1), (b"a\0\x01", 2), (b"a\0\0", 3)];
        assert_eq!(
            shown(MapKind::LruHash, 3, &entries),
            "map m (LRU hash)\n  610000: 3\n  610001: 2\n  620000: 1\n"
        );
        let entries: [(&[u8], u64); 2] = [(&[3, 0, 0, 0], 1), (&[4, 0, 0, 0], 0)];
        assert_eq!(shown(MapKind::Array, 4, &entries), "map m (array)\n  3: 1\n");
    }
}
