//! Values by index.

use super::table::stride;
use super::words::Words;
use super::{AccessError, CreateError, MAX_BYTES, Update};
use crate::nospec;

/// Bytes of an index.
pub(super) const KEY: usize = size_of::<u32>();

/// All entries are there from the start and stay.
#[derive(Debug)]
pub(super) struct Array {
    values: Words,
    stride: usize,
    len: u32,
}

impl Array {
    pub(super) fn new(value_size: u32, max_entries: u32) -> Result<Self, CreateError> {
        let stride = stride(value_size);
        let bytes = stride.saturating_mul(max_entries as usize);
        if bytes > MAX_BYTES {
            return Err(CreateError::TooLarge);
        }
        Ok(Self { values: Words::new(bytes)?, stride, len: max_entries })
    }

    pub(super) fn words(&self) -> &Words {
        &self.values
    }

    /// Where the value of an index is.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, AccessError> {
        self.offset(index(key)?).ok_or(AccessError::NotFound)
    }

    /// The same, with the answers of `array_map_update_elem`.
    pub(super) fn find_for_update(&self, key: &[u8], update: Update) -> Result<usize, AccessError> {
        let offset = self.offset(index(key)?).ok_or(AccessError::Full)?;
        if update == Update::Create { Err(AccessError::Exists) } else { Ok(offset) }
    }

    pub(super) fn entry(&self, slot: u32, key: &mut [u8], value: &mut [u8]) -> Option<()> {
        self.values.read(self.offset(slot)?, value)?;
        key.copy_from_slice(key.len().eq(&KEY).then_some(&slot.to_ne_bytes())?);
        Some(())
    }

    fn offset(&self, index: u32) -> Option<usize> {
        (index < self.len)
            .then(|| self.stride.saturating_mul(nospec::clamp(index as usize, self.len as usize)))
    }
}

fn index(key: &[u8]) -> Result<u32, AccessError> {
    key.try_into().map(u32::from_ne_bytes).map_err(|_| AccessError::KeySize)
}
