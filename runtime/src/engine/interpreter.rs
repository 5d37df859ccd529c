//! rbpf's interpreter on a translated program.
//!
//! Nothing rbpf gets wrong, and none of its panics, can be reached from what Linux's conversion emits:
//!
//! - Of the instructions with wrong results it emits only MOV32 of a register, and that as X = X, where X
//!   is zero-extended already (every write to A or X is a 32-bit one or a copy of the other).
//!   Comparisons with an immediate have one below 2^31; the rest go through a register.
//! - Every opcode is one that rbpf implements, so no `unreachable!`. Jump targets are below 20,484, inside
//!   rbpf's 16-bit arithmetic. All jumps go forward and the last instruction is an exit, so a run ends.
//! - Loads are at r6 + 0 to 60, inside the 64 bytes given as `mem`, and at r10 - 64 to r10 - 4, inside the
//!   stack; stores only at the latter. So the bounds check of rbpf never fails, and the input is never
//!   written. Division by X is guarded; by a constant, the constant is not 0.
//!
//! A run allocates the 512 bytes of the VM's stack, and nothing else: all other allocations of rbpf's are the texts of
//! errors, of which none is reached. Who runs it asks for them [first](super::room::for_run).

use alloc::vec::Vec;

use cbpf_translator::Translated;
use rbpf::EbpfVmMbuff;
use zerocopy::IntoBytes;

use super::room;
use crate::data::SeccompData;
use crate::error::{EngineError, Fault};

/// A program in rbpf's VM.
pub(crate) struct Interpreter {
    // Declared before what it borrows, so dropped first.
    vm: EbpfVmMbuff<'static>,
    _program: Vec<u8>,
}

// SAFETY: `EbpfVmMbuff` is not Send only because it can hold a boxed stack-usage calculator's data and
// writable code memory; `new` gives it neither and nothing can later, because `vm` is private and only
// `execute_program` is called on it.
unsafe impl Send for Interpreter {}

// SAFETY: as for Send; `execute_program` takes `&self` and reads the program, the (empty) helper and memory
// tables and the stack usage, none of which has interior mutability.
unsafe impl Sync for Interpreter {}

impl Interpreter {
    pub(super) fn load(program: &Translated) -> Result<Self, EngineError> {
        let bytes = program.to_bytes()?;
        // SAFETY: the bytes are on the heap, where they stay when the `Vec` moves; `_program` is never touched
        // again and outlives `vm`, which alone gets this reference and does not give it out.
        let borrowed: &'static [u8] = unsafe { core::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        room::for_vm(program.insns(), 0)?;
        let vm = EbpfVmMbuff::new(Some(borrowed)).map_err(|_| EngineError::Rbpf)?;
        Ok(Self { vm, _program: bytes })
    }

    pub(super) fn run(&self, data: &SeccompData) -> Result<u32, Fault> {
        // With an empty metadata buffer rbpf passes `mem` to the program.
        let result = self.vm.execute_program(data.as_bytes(), &[]).map_err(|_| Fault)?;
        Ok(result as u32)
    }
}
