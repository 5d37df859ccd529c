//! Memory that programs on several CPUs and Rust share.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use cbpf_translator::OutOfMemory;
use cbpf_translator::fallible::with_capacity;

use super::lock::touched;

/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// Zeroed memory of whole words that stays where it is.
///
/// Rust only ever touches a whole word, atomically: what is smaller is taken out of its word, or put into it by
/// a compare-and-exchange. So Rust has no data race here and no two overlapping atomics of different sizes,
/// whatever the CPUs do at once. Machine code of programs accesses 1, 2, 4 or 8 aligned bytes; as Rust
/// sees it, that is one of these operations too. Nothing orders two words: a value of several words that
/// is read while it is written may be found half written, as on Linux.
#[derive(Debug)]
pub(crate) struct Words(Vec<AtomicU64>);

impl Words {
    /// At least `len` bytes.
    pub(crate) fn new(len: usize) -> Result<Self, OutOfMemory> {
        let count = len.div_ceil(WORD);
        let mut words = with_capacity(count)?;
        words.resize_with(count, AtomicU64::default);
        Ok(Self(words))
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len().saturating_mul(WORD)
    }

    /// The address of the first byte, for programs.
    pub(crate) fn address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// The offset of `len` bytes at an address, if they are all in here.
    pub(crate) fn offset_of(&self, address: u64, len: usize) -> Option<usize> {
        let offset = usize::try_from(address.wrapping_sub(self.address())).ok()?;
        (offset <= self.len() && len <= self.len().saturating_sub(offset)).then_some(offset)
    }

    /// The word at a multiple of [`WORD`].
    pub(crate) fn word(&self, offset: usize) -> Option<&AtomicU64> {
        touched(WORD);
        offset.is_multiple_of(WORD).then(|| self.0.get(offset / WORD)).flatten()
    }

    /// Reads bytes. `None` if they are not all in here; `to` then holds anything.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        touched(to.len());
        each_word(offset, to.len(), |at, word, range| {
            let bytes = self.0.get(word)?.load(Ordering::Relaxed).to_ne_bytes();
            to.get_mut(at..)?.iter_mut().zip(bytes.get(range)?).for_each(|(to, from)| *to = *from);
            Some(())
        })
    }

    /// Writes bytes. `None` if they are not all in here; some may then be written.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Option<()> {
        touched(from.len());
        each_word(offset, from.len(), |at, word, range| {
            let word = self.0.get(word)?;
            let from = from.get(at..)?;
            if range.len() == WORD {
                word.store(u64::from_ne_bytes(*from.first_chunk()?), Ordering::Relaxed);
                return Some(());
            }
            let put = |word: u64| {
                let mut bytes = word.to_ne_bytes();
                bytes.get_mut(range.clone())?.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                Some(u64::from_ne_bytes(bytes))
            };
            word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put).ok().map(|_| ())
        })
    }

    /// Sets bytes to 0, from one multiple of [`WORD`] to another.
    pub(crate) fn clear(&self, offset: usize, len: usize) {
        touched(len);
        let words = self.0.iter().skip(offset / WORD).take(len.div_ceil(WORD));
        words.for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Copies words from one multiple of [`WORD`] to another.
    pub(crate) fn copy(&self, from: usize, to: usize, len: usize) -> Option<()> {
        touched(len.saturating_mul(2));
        for index in 0..len.div_ceil(WORD) {
            let word = self.0.get((from / WORD).saturating_add(index))?.load(Ordering::Relaxed);
            self.0.get((to / WORD).saturating_add(index))?.store(word, Ordering::Relaxed);
        }
        Some(())
    }
}

/// Calls `part` for each word that `len` bytes from `offset` touch: how many bytes came before, the index of
/// the word, and which of its bytes.
fn each_word(
    offset: usize,
    len: usize,
    mut part: impl FnMut(usize, usize, core::ops::Range<usize>) -> Option<()>,
) -> Option<()> {
    let mut at = 0_usize;
    while at < len {
        let from = offset.checked_add(at)?;
        let first = from % WORD;
        let count = WORD.saturating_sub(first).min(len.saturating_sub(at));
        part(at, from / WORD, first..first.saturating_add(count))?;
        at = at.saturating_add(count);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_where_the_machine_has_them() {
        let words = Words::new(17).unwrap();
        assert_eq!(words.len(), 24);
        let all: [u8; 24] = core::array::from_fn(|i| i as u8 + 1);
        words.write(0, &all).unwrap();
        assert_eq!(words.word(8).unwrap().load(Ordering::Relaxed).to_ne_bytes(), all[8..16]);
        for offset in 0..24 {
            for len in 0..=24 - offset {
                let mut bytes = [0; 24];
                words.read(offset, &mut bytes[..len]).unwrap();
                assert_eq!(bytes[..len], all[offset..offset + len]);

                words.write(offset, &[0xee; 24][..len]).unwrap();
                let mut expected = all;
                expected[offset..offset + len].fill(0xee);
                words.read(0, &mut bytes).unwrap();
                assert_eq!(bytes, expected, "{offset} {len}");
                words.write(0, &all).unwrap();
            }
        }
    }

    #[test]
    fn nothing_is_behind_the_end() {
        let words = Words::new(16).unwrap();
        let base = words.address();
        assert_eq!(words.offset_of(base + 8, 8), Some(8));
        assert_eq!(words.offset_of(base + 16, 0), Some(16));
        assert_eq!(words.offset_of(base + 9, 8), None);
        assert_eq!(words.offset_of(base - 1, 1), None);
        assert_eq!(words.offset_of(base + 17, 0), None);
        assert_eq!(words.read(15, &mut [0; 2]), None);
        assert_eq!(words.write(9, &[0; 8]), None);
        assert_eq!(words.read(usize::MAX, &mut [0; 2]), None);
        assert!(words.word(16).is_none() && words.word(4).is_none());
    }
}
