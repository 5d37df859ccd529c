//! rbpf's JIT the way rbpf offers it, to compare with: compiled into memory that the caller gives, and called
//! through the VM. Filters run the same code from sealed pages (`jit.rs`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use cbpf_translator::{Checked, seccomp, translate};
use rbpf::EbpfVmRaw;
use zerocopy::IntoBytes;

use super::exec_mem::{ExecMemoryError, ExecPages};
use super::jit::scratch_len;
use crate::data::SeccompData;
use crate::error::EngineError;

/// Memory whose pages become executable where they are.
///
/// # Safety
///
/// [`seal_in_place`](Self::seal_in_place) calls `write` once, with page-aligned memory of at least `len` bytes.
/// Nobody else has access to it until it is executable; then it is as [`ExecMemory`](crate::ExecMemory) says,
/// from the first of those bytes on.
pub unsafe trait ExecInPlace {
    /// Lets `write` write to fresh pages and makes them executable and read-only, at the same address.
    ///
    /// # Errors
    ///
    /// There are no such pages.
    fn seal_in_place(
        &self,
        len: usize,
        write: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Box<dyn ExecPages>, ExecMemoryError>;
}

/// A whole filter behind rbpf's own interface. For measurements; neither Send nor Sync.
pub struct RbpfVm {
    // Declared before what it borrows, so dropped first.
    vm: EbpfVmRaw<'static>,
    _code: Box<dyn ExecPages>,
    _program: Vec<u8>,
}

impl RbpfVm {
    /// Translates `program` and compiles it.
    ///
    /// # Errors
    ///
    /// There is no memory, executable or other.
    pub fn load(program: &Checked, memory: &dyn ExecInPlace) -> Result<Self, EngineError> {
        let translated = translate(program)?;
        let program = translated.to_bytes()?;
        // SAFETY: the bytes are on the heap, where they stay when the `Vec` moves; `_program` is never touched
        // again and outlives `vm`, which alone gets this reference and does not give it out.
        let borrowed: &'static [u8] = unsafe { core::slice::from_raw_parts(program.as_ptr(), program.len()) };
        let mut vm = EbpfVmRaw::new(Some(borrowed)).map_err(|_| EngineError::Rbpf)?;
        let mut compiled = Err(EngineError::Rbpf);
        let code = memory.seal_in_place(scratch_len(translated.insns()), &mut |pages| {
            // SAFETY: `ExecInPlace` promises that these bytes keep their address and that nobody writes them
            // until the pages are dropped; `_code` outlives `vm`, which writes to them in `jit_compile` only.
            let pages: &'static mut [u8] =
                unsafe { core::slice::from_raw_parts_mut(pages.as_mut_ptr(), pages.len()) };
            compiled =
                vm.set_jit_exec_memory(pages).and_then(|()| vm.jit_compile()).map_err(|_| EngineError::Rbpf);
        })?;
        compiled?;
        Ok(Self { vm, _code: code, _program: program })
    }

    /// As [`Loaded::run`](crate::Loaded::run).
    pub fn run(&self, data: &SeccompData) -> u32 {
        // rbpf wants what it reads to be writable, and to live as long as the program.
        let mut data = *data;
        let bytes = data.as_mut_bytes();
        // SAFETY: `data` is that long and outlives the run below, which is the only use of this reference.
        let bytes: &'static mut [u8] =
            unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) };
        // SAFETY: the code is compiled from the translation of a checked program: it reads inside `bytes`,
        // writes its own stack, calls nothing and ends. `jit.rs` says why rbpf compiles it right.
        let result = unsafe { self.vm.execute_program_jit(bytes) };
        result.map_or(seccomp::RET_KILL_PROCESS, |value| value as u32)
    }
}
