//! What a helper is given of a run: its arguments, and what they lead to.

use core::error::Error;
use core::fmt;

use super::{Reserved, Run, Stack, argument, offset_in};
use crate::data::SeccompData;
use crate::error::RunError;
use crate::helper::HelperHost;
use crate::map::Map;
use crate::map::words::Words;
use crate::verifier::{Arg, MAX_STACK, Prototype};

/// Why a helper cannot do what it was called for. Its run ends without an answer, whatever it then returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallError {
    /// An address that the helper's prototype does not give it.
    BadAddress,
    /// There is nothing left of the run's [`Budget`](crate::Budget).
    OverBudget,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress => f.write_str("the address is in none of the helper's arguments"),
            Self::OverBudget => RunError::OverBudget.fmt(f),
        }
    }
}

impl Error for CallError {}

impl From<CallError> for RunError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::BadAddress => Self::Fault,
            CallError::OverBudget => Self::OverBudget,
        }
    }
}

/// A call of a helper. It reads and writes what the prototype lets it, and nothing else: another address ends the
/// program's run as a failure of the engine, and so does what is more than its [`Budget`](crate::Budget).
pub struct Call<'r, 'a> {
    run: &'r mut Run<'a>,
    stack: &'r mut Stack,
    prototype: Prototype,
    args: [u64; 5],
    /// Whether what it does counts.
    counts: bool,
    /// What it has written of the stack.
    written: Bytes,
}

impl<'r, 'a> Call<'r, 'a> {
    pub(super) fn new(
        run: &'r mut Run<'a>,
        stack: &'r mut Stack,
        prototype: Prototype,
        args: [u64; 5],
        counts: bool,
    ) -> Self {
        Self { run, stack, prototype, args, counts, written: Bytes::default() }
    }

    /// The argument of this index, from 0, as it is in its register; 0 if there is none.
    pub fn number(&self, index: usize) -> u64 {
        self.args.get(index).copied().unwrap_or(0)
    }

    /// The map that the argument of this index is.
    ///
    /// # Errors
    ///
    /// It is none by the prototype.
    pub fn map(&mut self, index: usize) -> Result<&'a Map, CallError> {
        let is_map = matches!(self.prototype.args().get(index), Some(Arg::Map { .. }));
        let map = is_map.then(|| self.run.map(self.number(index))).flatten();
        self.sound(map)
    }

    /// What helpers ask the kernel.
    pub fn host(&self) -> &'a dyn HelperHost {
        self.run.host
    }

    /// Takes so many bytes from the budget of the run, as reading and writing them would: for what a helper does beside
    /// that. Call it before doing it.
    ///
    /// # Errors
    ///
    /// There are not so many left.
    pub fn spend(&mut self, bytes: u64) -> Result<(), CallError> {
        if self.counts { self.run.spend(bytes) } else { Ok(()) }
    }

    /// Copies what the program has at `address`.
    ///
    /// # Errors
    ///
    /// That is not all in one argument which the helper reads, or there is no budget for it.
    pub fn read(&mut self, address: u64, to: &mut [u8]) -> Result<(), CallError> {
        self.spend(to.len() as u64)?;
        let is_given = self.is_given(address, to.len(), false);
        let done = is_given.then(|| self.run.read(address, to, self.stack)).flatten();
        self.sound(done)
    }

    /// Copies `from` to the program's `address`.
    ///
    /// # Errors
    ///
    /// That is not all in one argument which the helper writes, or there is no budget for it.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), CallError> {
        self.spend(from.len() as u64)?;
        let is_given = self.is_given(address, from.len(), true);
        let done = is_given.then(|| self.run.write(address, from, self.stack)).flatten();
        self.sound(done)?;
        if let Some(start) = offset_in(self.stack, address, from.len()) {
            self.written.insert(start, from.len());
        }
        Ok(())
    }

    /// Whether bytes of the program's are all in one argument that the prototype has to be read, or to be written.
    fn is_given(&self, address: u64, len: usize, writes: bool) -> bool {
        self.prototype.args().into_iter().zip(self.args).any(|(arg, start)| {
            let before = address.checked_sub(start);
            let left = before.and_then(|before| self.len_of(arg, writes)?.checked_sub(before));
            left.is_some_and(|left| len as u64 <= left)
        })
    }

    /// How many bytes an argument has to be read, or to be written; `None` if it is not for that.
    fn len_of(&self, arg: Arg, writes: bool) -> Option<u64> {
        let map = |reg| argument(self.args, reg).and_then(|handle| self.run.map(handle));
        match (arg, writes) {
            (Arg::Context, false) => Some(size_of::<SeccompData>() as u64),
            (Arg::Key { map: of }, false) => map(of).map(|map| map.key_len() as u64),
            (Arg::Value { map: of }, false) => map(of).map(|map| map.value_len() as u64),
            (Arg::Readable { size }, false) | (Arg::Writable { size }, true) => argument(self.args, size),
            (Arg::ReadableFixed(len), false) | (Arg::WritableFixed(len), true) => Some(len.into()),
            _ => None,
        }
    }

    /// Sets to 0 what was to be written of the stack and is not, because there was nothing left of the budget or by the
    /// helper's mistake. To the verifier these are numbers now, and an address may have been there.
    pub(super) fn clear_unwritten(&mut self) {
        for (arg, address) in self.prototype.args().into_iter().zip(self.args) {
            let len = self.len_of(arg, true).and_then(|len| usize::try_from(len).ok());
            let start = len.and_then(|len| Some((offset_in(self.stack, address, len)?, len)));
            if let Some((start, len)) = start {
                self.written.clear_others(self.stack, start, len);
            }
        }
    }

    /// Writes `len` zeroes to the program's `address`.
    ///
    /// # Errors
    ///
    /// As [`Call::write`].
    pub fn clear(&mut self, address: u64, len: u64) -> Result<(), CallError> {
        let mut done = 0_u64;
        while done < len {
            let zeroes = [0; 64];
            let some = len.saturating_sub(done).min(zeroes.len() as u64);
            self.write(address.wrapping_add(done), zeroes.get(..some as usize).unwrap_or_default())?;
            done = done.saturating_add(some);
        }
        Ok(())
    }

    /// Copies `len` bytes of the program's `address` to shared memory.
    pub(crate) fn copy_to_words(
        &mut self,
        address: u64,
        words: &Words,
        offset: usize,
        len: usize,
    ) -> Result<(), CallError> {
        let mut done = 0_usize;
        while done < len {
            let mut piece = [0; 64];
            let some = len.saturating_sub(done).min(piece.len());
            let piece = piece.get_mut(..some).unwrap_or_default();
            self.read(address.wrapping_add(done as u64), piece)?;
            let put = words.write(offset.saturating_add(done), piece);
            self.sound(put)?;
            done = done.saturating_add(some);
        }
        Ok(())
    }

    /// Reserves an event in the ring that the argument of this index names; its address.
    pub(crate) fn reserve(&mut self, index: usize, len: u64) -> Option<u64> {
        let map = self.map(index).ok()?;
        self.spend(len).ok()?;
        let free = self.run.reserved.iter_mut().find(|reserved| reserved.is_none())?;
        let (reservation, len) = (map.ring()?.reserve(len)?, usize::try_from(len).ok()?);
        *free = Some(Reserved { map, reservation, len, discard: true });
        self.run.has_reserved = true;
        Some(map.words().address().wrapping_add(reservation.offset() as u64))
    }

    /// Says what becomes of the event at an address when the program ends. Without this it is discarded.
    pub(crate) fn release(&mut self, address: u64, discard: bool) {
        let event = self.run.reserved.iter_mut().flatten().find(|reserved| {
            reserved.map.words().offset_of(address, 0) == Some(reserved.reservation.offset())
        });
        if let Some(event) = event {
            event.discard = discard;
        }
    }

    fn sound<T>(&mut self, found: Option<T>) -> Result<T, CallError> {
        if found.is_none() {
            self.run.fail(RunError::Fault);
        }
        found.ok_or(CallError::BadAddress)
    }
}

/// Bytes of a stack, a bit for each.
#[derive(Default)]
struct Bytes([u64; MAX_STACK / Bytes::IN_WORD]);

impl Bytes {
    const IN_WORD: usize = u64::BITS as usize;

    /// The bits of `len` bytes from `start`, word by word.
    fn words(start: usize, len: usize) -> impl Iterator<Item = u64> {
        let end = start.saturating_add(len);
        (0..MAX_STACK).step_by(Self::IN_WORD).map(move |first| {
            let below = |byte: usize| {
                let bits = byte.saturating_sub(first).min(Self::IN_WORD) as u32;
                u64::MAX.checked_shr(u64::BITS.saturating_sub(bits)).unwrap_or(0)
            };
            below(end) & !below(start)
        })
    }

    fn insert(&mut self, start: usize, len: usize) {
        self.0.iter_mut().zip(Self::words(start, len)).for_each(|(word, bits)| *word |= bits);
    }

    /// Sets those of `len` bytes from `start` to 0 that are not in here.
    fn clear_others(&self, stack: &mut Stack, start: usize, len: usize) {
        let words = self.0.iter().zip(Self::words(start, len));
        for (bytes, (known, bits)) in stack.chunks_exact_mut(Self::IN_WORD).zip(words) {
            let others = bits & !known;
            if others != 0 {
                let is_other = |bit: usize| others.unbounded_shr(bit as u32) & 1 != 0;
                let bytes = bytes.iter_mut().enumerate().filter(|(bit, _)| is_other(*bit));
                bytes.for_each(|(_, byte)| *byte = 0);
            }
        }
    }
}
