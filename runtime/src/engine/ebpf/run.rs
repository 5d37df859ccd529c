//! One run of a program: the memory it may touch, and its calls to helpers.
//!
//! Nothing here trusts the program: every address is looked up. The engines that check nothing themselves rely on
//! the verifier; what their programs pass to helpers is looked up all the same.

use alloc::sync::Arc;
use core::error::Error;
use core::fmt;

use cbpf_translator::ebpf::{Reg, Size};
use zerocopy::IntoBytes;

use crate::budget::Budget;
use crate::data::SeccompData;
use crate::error::RunError;
use crate::helper::{HelperHost, HelperRow};
use crate::map::Map;
use crate::map::ring::Reservation;
use crate::map::words::Words;
use crate::verifier::{MAX_STACK, Prototype, Return};

/// A program's stack.
pub(crate) type Stack = [u8; MAX_STACK];

/// The most events that a run may have reserved and not finished.
const MAX_RESERVED: usize = 8;

/// What a run of a program works on.
pub(crate) struct Run<'a> {
    pub(super) data: &'a SeccompData,
    maps: &'a [Arc<Map>],
    helpers: &'a [HelperRow],
    host: &'a dyn HelperHost,
    reserved: [Option<Reserved<'a>>; MAX_RESERVED],
    /// Whether there is any: most runs have none, and need not look.
    has_reserved: bool,
    /// Of [`Budget::bytes`].
    bytes_left: u64,
    /// What came first of what ends the run.
    error: Option<RunError>,
}

/// An event that is being written. The program may do so until it ends, whether it has released it or not.
struct Reserved<'a> {
    map: &'a Map,
    reservation: Reservation,
    /// Bytes.
    len: usize,
    discard: bool,
}

/// Why a helper cannot do what it was called for. Its run ends without an answer, whatever it then returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallError {
    /// An address that is not the program's to use. None is passed to a helper by a verified program.
    BadAddress,
    /// There is nothing left of the run's [`Budget`](crate::Budget).
    OverBudget,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress => f.write_str("the address is none of the program's"),
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

/// Where an address leads.
enum Place<'a> {
    Context(usize),
    Stack(usize),
    Shared { words: &'a Words, offset: usize, writable: bool },
}

impl<'a> Run<'a> {
    pub(super) fn new(
        data: &'a SeccompData,
        maps: &'a [Arc<Map>],
        helpers: &'a [HelperRow],
        host: &'a dyn HelperHost,
        bytes: u64,
    ) -> Self {
        Self {
            data,
            maps,
            helpers,
            host,
            reserved: [const { None }; MAX_RESERVED],
            has_reserved: false,
            bytes_left: bytes,
            error: None,
        }
    }

    /// What a helper's call ended the run with.
    pub(super) fn error(&self) -> Option<RunError> {
        self.error
    }

    /// The index of a helper among the program's.
    pub(super) fn helper(&self, id: i32) -> Option<usize> {
        self.helpers.iter().position(|row| row.helper.id == id)
    }

    /// Calls the helper at an index among the program's. When the run has failed, it calls nothing: what is left of the
    /// program is only instructions.
    pub(super) fn call(&mut self, index: usize, args: [u64; 5], stack: &mut Stack) -> u64 {
        let Some(row) = self.helpers.get(index) else {
            self.fail(RunError::Fault);
            return 0;
        };
        if self.error.is_some() || self.spend(Budget::CALL_BYTES).is_err() {
            return 0;
        }
        let result = (row.function)(&mut Call { run: self, stack, args });
        if self.gives(row.helper.prototype, args, result) {
            return result;
        }
        self.fail(RunError::Fault);
        0
    }

    fn fail(&mut self, error: RunError) {
        self.error.get_or_insert(error);
    }

    /// Takes bytes from the budget.
    fn spend(&mut self, bytes: u64) -> Result<(), CallError> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.unwrap_or(0);
        if left.is_none() {
            self.fail(RunError::OverBudget);
            return Err(CallError::OverBudget);
        }
        Ok(())
    }

    /// Whether a result is what the prototype says. The verifier and the engines rely on it, so no row is spared.
    fn gives(&self, prototype: Prototype, args: [u64; 5], result: u64) -> bool {
        let argument = |reg: Reg| {
            let mut arguments = Reg::ARGUMENTS.into_iter().zip(args);
            arguments.find(|(of, _)| *of == reg).map(|(_, value)| value)
        };
        match prototype.returns() {
            Return::Void | Return::Number => true,
            Return::LengthOrErrno { size } => {
                const MAX_ERRNO: i64 = 4095;
                let is_errno = (-MAX_ERRNO..=0).contains(&result.cast_signed());
                is_errno || argument(size).is_some_and(|size| result <= size)
            }
            Return::MapValueOrNull { map } => {
                let map = argument(map).and_then(|handle| self.map(handle));
                result == 0 || map.is_some_and(|map| map.locate(result, map.value_len()).is_some())
            }
            Return::MemoryOrNull { size } => {
                let size = argument(size).and_then(|size| usize::try_from(size).ok());
                result == 0 || size.is_some_and(|size| self.in_reserved(result, size).is_some())
            }
        }
    }

    /// The map of a handle.
    fn map(&self, handle: u64) -> Option<&'a Map> {
        let maps: &'a [Arc<Map>] = self.maps;
        let index = usize::try_from(handle).ok()?.checked_sub(1)?;
        maps.get(index).map(|map| &**map)
    }

    pub(super) fn load(&self, address: u64, size: Size, stack: &Stack) -> Option<u64> {
        let mut bytes = [0; 8];
        let len = bytes_of(size);
        self.read(address, bytes.get_mut(..len)?, stack)?;
        Some(number_of(bytes, size))
    }

    pub(super) fn store(&self, address: u64, size: Size, value: u64, stack: &mut Stack) -> Option<()> {
        match size {
            Size::Byte => self.write(address, &(value as u8).to_ne_bytes(), stack),
            Size::Half => self.write(address, &(value as u16).to_ne_bytes(), stack),
            Size::Word => self.write(address, &(value as u32).to_ne_bytes(), stack),
            Size::Double => self.write(address, &value.to_ne_bytes(), stack),
        }
    }

    /// The address of a byte in the only value of the map at an index.
    pub(super) fn value_address(&self, map: u32, offset: u32) -> Option<u64> {
        let map = self.maps.get(map as usize)?;
        Some(map.words().address().wrapping_add(offset.into()))
    }

    fn read(&self, address: u64, to: &mut [u8], stack: &Stack) -> Option<()> {
        match self.place(address, to.len(), stack)? {
            Place::Context(offset) => to.copy_from_slice(part(self.data.as_bytes(), offset, to.len())?),
            Place::Stack(offset) => to.copy_from_slice(part(stack, offset, to.len())?),
            Place::Shared { words, offset, .. } => words.read(offset, to)?,
        }
        Some(())
    }

    fn write(&self, address: u64, from: &[u8], stack: &mut Stack) -> Option<()> {
        match self.place(address, from.len(), stack)? {
            Place::Stack(offset) => {
                stack.get_mut(offset..)?.get_mut(..from.len())?.copy_from_slice(from);
                Some(())
            }
            Place::Shared { words, offset, writable: true } => words.write(offset, from),
            Place::Shared { .. } | Place::Context(_) => None,
        }
    }

    /// Where `len` bytes at an address are, if they are all in one thing that the program has.
    fn place(&self, address: u64, len: usize, stack: &Stack) -> Option<Place<'a>> {
        let within = |start: *const u8, size: usize| {
            let offset = usize::try_from(address.wrapping_sub(start.addr() as u64)).ok()?;
            (offset <= size && len <= size.saturating_sub(offset)).then_some(offset)
        };
        if let Some(offset) = within(stack.as_ptr(), stack.len()) {
            return Some(Place::Stack(offset));
        }
        if let Some(offset) = within(self.data.as_bytes().as_ptr(), size_of::<SeccompData>()) {
            return Some(Place::Context(offset));
        }
        let value = self.maps.iter().find_map(|map| {
            let offset = map.locate(address, len)?;
            Some(Place::Shared { words: map.words(), offset, writable: map.is_writable() })
        });
        value.or_else(|| self.in_reserved(address, len))
    }

    /// Where `len` bytes at an address are, if an event has them all.
    fn in_reserved(&self, address: u64, len: usize) -> Option<Place<'a>> {
        self.reserved.iter().flatten().find_map(|reserved| {
            let words = reserved.map.words();
            let offset = words.offset_of(address, len)?;
            let from_start = offset.checked_sub(reserved.reservation.offset())?;
            (from_start.saturating_add(len) <= reserved.len).then_some(Place::Shared {
                words,
                offset,
                writable: true,
            })
        })
    }
}

impl Drop for Run<'_> {
    /// Events take effect when the program ends: until then it may write them.
    #[inline]
    fn drop(&mut self) {
        if !self.has_reserved {
            return;
        }
        for Reserved { map, reservation, discard, .. } in self.reserved.iter_mut().filter_map(Option::take) {
            if let Some(ring) = map.ring() {
                ring.finish(reservation, discard);
            }
        }
    }
}

fn part(bytes: &[u8], offset: usize, len: usize) -> Option<&[u8]> {
    bytes.get(offset..)?.get(..len)
}

/// Bytes of a load or a store.
pub(crate) const fn bytes_of(size: Size) -> usize {
    match size {
        Size::Byte => 1,
        Size::Half => 2,
        Size::Word => 4,
        Size::Double => 8,
    }
}

/// The number that the first bytes hold, as the machine has them.
pub(crate) const fn number_of(bytes: [u8; 8], size: Size) -> u64 {
    let [b0, b1, b2, b3, ..] = bytes;
    match size {
        Size::Byte => b0 as u64,
        Size::Half => u16::from_ne_bytes([b0, b1]) as u64,
        Size::Word => u32::from_ne_bytes([b0, b1, b2, b3]) as u64,
        Size::Double => u64::from_ne_bytes(bytes),
    }
}

/// What a map is to a program: a number that is not 0. Helpers know which map it names.
pub(in crate::engine) fn map_handle(index: u32) -> Option<i32> {
    i32::try_from(index).ok()?.checked_add(1)
}

/// A call of a helper. An address that a program could not have passed ends its run as a failure of the engine, and so
/// does what is more than its [`Budget`].
pub struct Call<'r, 'a> {
    run: &'r mut Run<'a>,
    stack: &'r mut Stack,
    args: [u64; 5],
}

impl<'a> Call<'_, 'a> {
    /// The argument of this index, from 0, as it is in its register; 0 if there is none.
    pub fn number(&self, index: usize) -> u64 {
        self.args.get(index).copied().unwrap_or(0)
    }

    /// The map that the argument of this index names.
    ///
    /// # Errors
    ///
    /// It names none.
    pub fn map(&mut self, index: usize) -> Result<&'a Map, CallError> {
        let map = self.run.map(self.number(index));
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
        self.run.spend(bytes)
    }

    /// Copies what the program has at `address`.
    ///
    /// # Errors
    ///
    /// It has not all of that, or there is no budget for it.
    pub fn read(&mut self, address: u64, to: &mut [u8]) -> Result<(), CallError> {
        self.spend(to.len() as u64)?;
        let done = self.run.read(address, to, self.stack);
        self.sound(done)
    }

    /// Copies `from` to the program's `address`.
    ///
    /// # Errors
    ///
    /// That is not all the program's to write, or there is no budget for it.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), CallError> {
        self.spend(from.len() as u64)?;
        let done = self.run.write(address, from, self.stack);
        self.sound(done)
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
