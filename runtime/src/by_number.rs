//! Tables by system call number.

use alloc::boxed::Box;

use cbpf_translator::OutOfMemory;
use cbpf_translator::fallible::with_capacity;

use crate::nospec;

/// The numbers that tables and plans know: 0 to one less than this. Linux's tables end below on every architecture.
pub const NUMBERS: usize = 512;

// A number is masked by one less.
const _: () = assert!(NUMBERS.is_power_of_two());

/// A row for each system call number below [`NUMBERS`].
///
/// User space chooses the number. No look-up goes beyond the table, also not on a path that the processor only
/// speculates (`array_index_nospec`): there is no other way to a row than [`get`](Self::get) and [`get_mut`](Self::get_mut).
#[derive(Debug)]
pub struct ByNumber<T>(Box<[T; NUMBERS]>);

impl<T> ByNumber<T> {
    /// A table of rows that `row` makes.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new(row: impl FnMut() -> T) -> Result<Self, OutOfMemory> {
        let mut rows = with_capacity(NUMBERS)?;
        rows.resize_with(NUMBERS, row);
        rows.into_boxed_slice().try_into().map(Self).map_err(|_| OutOfMemory)
    }

    /// The row of `nr`; `None` for a number that the table does not have.
    #[inline]
    pub fn get(&self, nr: i32) -> Option<&T> {
        self.0.get(Self::index(nr)?)
    }

    /// As [`get`](Self::get), to change it.
    #[inline]
    pub fn get_mut(&mut self, nr: i32) -> Option<&mut T> {
        self.0.get_mut(Self::index(nr)?)
    }

    /// The rows with their numbers, from 0.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        (0..).zip(self.0.iter())
    }

    /// As [`iter`](Self::iter), to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (i32, &mut T)> {
        (0..).zip(self.0.iter_mut())
    }

    #[inline]
    fn index(nr: i32) -> Option<usize> {
        let nr = nr.cast_unsigned() as usize;
        (nr < NUMBERS).then(|| nospec::hidden(nr) & (NUMBERS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_numbers_below_its_end_and_no_others() {
        let mut next = 0;
        let mut table = ByNumber::new(|| {
            next += 1;
            next - 1
        })
        .unwrap();
        for nr in 0..NUMBERS as i32 {
            assert_eq!(table.get(nr).copied(), Some(nr));
            assert_eq!(table.get_mut(nr).copied(), Some(nr));
        }
        for nr in [NUMBERS as i32, NUMBERS as i32 + 1, 1 << 30, i32::MAX, i32::MIN, -1] {
            assert!(table.get(nr).is_none() && table.get_mut(nr).is_none(), "{nr}");
        }
        assert!(table.iter().all(|(nr, row)| nr == *row));
    }
}
