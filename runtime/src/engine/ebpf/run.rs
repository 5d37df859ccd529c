//! One run of a program: the memory it may touch, and its calls to helpers.
//!
//! Nothing here trusts the program: every address is looked up. The engines that check nothing themselves rely on
//! the verifier; what their programs pass to helpers is looked up all the same.

mod call;

use alloc::sync::Arc;

use cbpf_translator::ebpf::{Reg, Size};
use zerocopy::IntoBytes;

use crate::budget::Budget;
use crate::data::SeccompData;
use crate::error::RunError;
use crate::helper::{HelperHost, HelperRow};
use crate::map::Map;
use crate::map::ring::Reservation;
use crate::map::words::Words;
use crate::verifier::{MAX_STACK, MapKind, Prototype, Return};

pub use call::{Call, CallError};

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
        let helpers: &'a [HelperRow] = self.helpers;
        let Some(row) = helpers.get(index) else {
            self.fail(RunError::Fault);
            return 0;
        };
        let prototype = row.helper.prototype;
        // The JIT's code may do this itself, and then neither counts nor asks.
        let is_instructions = self.is_array_lookup(row, args);
        let is_called = is_instructions || self.error.is_none() && self.spend(Budget::CALL_BYTES).is_ok();
        let mut call = Call::new(self, stack, prototype, args, !is_instructions);
        let result = if is_called { (row.function)(&mut call) } else { 0 };
        call.clear_unwritten();
        if self.gives(prototype, args, result) {
            return result;
        }
        self.fail(RunError::Fault);
        0
    }

    fn is_array_lookup(&self, row: &HelperRow, [map, ..]: [u64; 5]) -> bool {
        row.is_map_lookup() && self.map(map).is_some_and(|map| map.descriptor().kind == MapKind::Array)
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
        let argument = |reg: Reg| argument(args, reg);
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
        if let Some(offset) = offset_in(stack, address, len) {
            return Some(Place::Stack(offset));
        }
        if let Some(offset) = offset_in(self.data.as_bytes(), address, len) {
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

/// The offset of `len` bytes at an address, if they are all in `memory`.
fn offset_in(memory: &[u8], address: u64, len: usize) -> Option<usize> {
    let offset = usize::try_from(address.wrapping_sub(memory.as_ptr().addr() as u64)).ok()?;
    memory.get(offset..)?.get(..len).map(|_| offset)
}

/// What is in a register of a helper's arguments.
fn argument(args: [u64; 5], reg: Reg) -> Option<u64> {
    let mut arguments = Reg::ARGUMENTS.into_iter().zip(args);
    arguments.find(|(of, _)| *of == reg).map(|(_, value)| value)
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
