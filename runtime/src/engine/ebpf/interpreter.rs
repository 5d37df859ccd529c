//! rbpf's interpreter on a lowered program, with helpers.
//!
//! What rbpf gets wrong and where it panics, a lowered program does not have: `lower.rs`. Its indices fit 16
//! bits, its last instruction is an exit or a jump, it has no packet loads but those of a whole address, and it
//! is verified, so it ends.
//!
//! rbpf's bounds checks are switched off. They know no map's memory; if told of it, they would look at the first
//! byte of an access only; and what they guard against, the verifier has excluded.
//!
//! rbpf reads and writes values as plain memory. Where several CPUs share one, that is a data race to Rust, which
//! a machine that loads and stores aligned words whole does not show. An embedder to whom that is not enough
//! takes the native engine, which has no such race, where there is no JIT.
//!
//! A run allocates the 512 bytes of the VM's stack, and nothing else: all other allocations of rbpf's are the texts of
//! errors, of which none is reached. Who runs it asks for them [first](super::super::room::for_run).

use alloc::vec::Vec;
use core::ptr;

use rbpf::EbpfVmMbuff;
use zerocopy::IntoBytes;

use super::super::lower::Lowered;
use super::super::room;
use super::{Frame, MAX_HELPERS, Run, for_each_helper};
use crate::error::{EngineError, Fault};
use crate::helper::HelperRow;

/// A program in rbpf's VM.
pub(crate) struct Interpreter {
    // Declared before what it borrows, so dropped first.
    vm: EbpfVmMbuff<'static>,
    _program: Vec<u8>,
}

// SAFETY: `EbpfVmMbuff` is not Send only because it can hold a boxed stack-usage calculator's data and
// writable code memory; `load` gives it neither and nothing can later, because `vm` is private and only
// `execute_program` is called on it. Helpers are addresses of functions.
unsafe impl Send for Interpreter {}

// SAFETY: as for Send; `execute_program` takes `&self` and reads the program, the tables of helpers and memory and
// the stack usage, none of which has interior mutability.
unsafe impl Sync for Interpreter {}

impl Interpreter {
    pub(super) fn load(program: &Lowered, helpers: &[HelperRow]) -> Result<Self, EngineError> {
        let bytes = program.to_bytes()?;
        // SAFETY: the bytes are on the heap, where they stay when the `Vec` moves; `_program` is never touched
        // again and outlives `vm`, which alone gets this reference and does not give it out.
        let borrowed: &'static [u8] = unsafe { core::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        room::for_vm(program.insns(), helpers.len())?;
        let mut vm = EbpfVmMbuff::new(Some(borrowed)).map_err(|_| EngineError::Rbpf)?;
        for (row, call) in helpers.iter().zip(CALLS) {
            vm.register_helper(row.helper.id.cast_unsigned(), call).map_err(|_| EngineError::Rbpf)?;
        }
        vm.register_allowed_memory(0..u64::MAX);
        Ok(Self { vm, _program: bytes })
    }

    pub(super) fn run(&self, run: &mut Run<'_>) -> Result<u64, Fault> {
        let data = run.data;
        let mut frame = Frame::new(run);
        // The "packet" is the address of the frame, which the program writes to by it.
        let packet = (ptr::from_mut(&mut frame).expose_provenance() as u64).to_ne_bytes();
        self.vm.execute_program(&packet, data.as_bytes()).map_err(|_| Fault)
    }
}

/// A helper, as rbpf calls it.
type Callee = fn(u64, u64, u64, u64, u64) -> u64;

/// What rbpf calls for each of a program's helpers.
static CALLS: [Callee; MAX_HELPERS] = for_each_helper!(call as Callee);

/// Calls the helper of this index. The lowered program passes the frame's address in r1, and has put r1 and the end
/// of its stack there.
fn call<const HELPER: usize>(frame: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    let frame = ptr::with_exposed_provenance_mut::<Frame<'_, '_>>(frame as usize);
    // SAFETY: only rbpf's interpreter has this function, and calls it where the lowered program calls a helper:
    // there r1 is what the packet holds, the address that `run` exposed of a frame that it does not use while
    // rbpf runs.
    let frame = unsafe { &mut *frame };
    let args = [frame.argument, r2, r3, r4, r5];
    // SAFETY: the lowered program has just put its r10 there, which nothing writes: the end of the 512 bytes that
    // rbpf took, which it does not use before this returns.
    unsafe { frame.call(HELPER, args) }
}
