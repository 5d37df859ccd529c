//! rbpf's JIT on a lowered program, with helpers.
//!
//! The code accesses whatever memory the program says. It is that of a verified program, so all of it is the
//! context (read only), the stack that the code has made, a value of one of the program's maps, which it keeps,
//! or an event that its run has reserved. Values are atomics to Rust ([`Words`](crate::map::words::Words)).
//! Neither registers nor stack are cleared: a verified program reads nothing of them that it has not set.
//!
//! rbpf keeps the address of the "packet" in the machine's r10 from the first instruction to the last, changes it
//! nowhere, and reads it only for packet loads, which no lowered program has here. That address is the run's
//! [`Frame`]: so a helper finds its run, without a register or a slot of the program's.

use alloc::boxed::Box;
use core::arch::naked_asm;
use core::mem;

use rbpf::EbpfVmMbuff;

use super::super::exec_mem::{ExecMemory, ExecPages};
use super::super::jit::{Scratch, scratch_len};
use super::super::lower::Lowered;
use super::super::room;
use super::{Frame, MAX_HELPERS, Run, for_each_helper};
use crate::data::SeccompData;
use crate::error::EngineError;
use crate::helper::HelperRow;

/// rbpf's calling convention: metadata buffer and its length, packet and its length, two offsets. The VM with a
/// metadata buffer passes that to the program in r1.
type Entry = extern "sysv64" fn(*const SeccompData, usize, *mut Frame<'_, '_>, usize, usize, usize) -> u64;

/// What rbpf takes for a helper, and takes only the address of.
type Address = fn(u64, u64, u64, u64, u64) -> u64;

/// A program as machine code.
pub(crate) struct Jit {
    entry: Entry,
    // Owns the code that `entry` points to.
    _pages: Box<dyn ExecPages>,
}

impl Jit {
    pub(super) fn load(
        program: &Lowered,
        helpers: &[HelperRow],
        memory: &dyn ExecMemory,
    ) -> Result<Self, EngineError> {
        let bytes = program.to_bytes()?;
        let mut scratch = Scratch::new(scratch_len(program.insns()))?;
        let code = scratch.pages();

        room::for_jit(program.insns(), helpers.len())?;
        let mut vm = EbpfVmMbuff::new(Some(&bytes)).map_err(|_| EngineError::Rbpf)?;
        vm.set_jit_exec_memory(code).map_err(|_| EngineError::Rbpf)?;
        for (row, thunk) in helpers.iter().zip(THUNKS) {
            // SAFETY: both are addresses of functions. This VM never calls what it is given: it runs nothing, and
            // its compiler writes the address into code that calls it as a thunk wants to be called.
            let address = unsafe { mem::transmute::<unsafe extern "sysv64" fn(), Address>(thunk) };
            vm.register_helper(row.helper.id.cast_unsigned(), address).map_err(|_| EngineError::Rbpf)?;
        }
        vm.jit_compile().map_err(|_| EngineError::Rbpf)?;
        drop(vm);

        let pages = memory.seal(scratch.written())?;
        // SAFETY: `ExecMemory::seal` promises that the code just compiled is at `start` and executable until the
        // pages are dropped, which `Self` keeps; rbpf's code is position-independent but for the addresses of
        // helpers, which are those of functions. It begins at its first byte and follows the System V convention.
        let entry = unsafe { mem::transmute::<*mut u8, Entry>(pages.start().as_ptr()) };
        Ok(Self { entry, _pages: pages })
    }

    #[inline]
    pub(super) fn run(&self, run: &mut Run<'_>) -> u64 {
        let data: *const SeccompData = run.data;
        let mut frame = Frame::new(run);
        // `data` is the context, `frame` what the thunks look for.
        (self.entry)(data, size_of::<SeccompData>(), &mut frame, size_of::<Frame<'_, '_>>(), 0, 0)
    }
}

/// What a program's code calls for each of its helpers.
static THUNKS: [unsafe extern "sysv64" fn(); MAX_HELPERS] =
    for_each_helper!(thunk as unsafe extern "sysv64" fn());

/// Calls the helper of this index, from the code of a program.
///
/// The five arguments are in their registers (rbpf moves the fourth to rcx), the frame's address in r10, and r10 of
/// the program in rbp. The stack is a multiple of 16 here, 8 off what a function may expect: rbpf's entry pushes
/// five registers, takes 512 bytes and calls the program, and the program's call comes on top.
///
/// # Safety
///
/// Only code that rbpf compiled may call it, entered as [`Jit::run`] does.
#[unsafe(naked)]
unsafe extern "sysv64" fn thunk<const HELPER: usize>() {
    naked_asm!(
        "mov [r10], rbp", // Frame::stack_end
        "push r10",       // the code needs it again
        "push {helper}",  // the seventh argument, and 16 bytes together: still a multiple of 16
        "mov r9, r10",    // the sixth
        "call {call}",
        "add rsp, 8",
        "pop r10",
        "ret",
        helper = const HELPER,
        call = sym call,
    )
}

/// # Safety
///
/// `frame` is that of the run, whose end of the stack is set, and the run does nothing else meanwhile.
unsafe extern "sysv64" fn call(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    frame: *mut Frame<'_, '_>,
    helper: usize,
) -> u64 {
    // SAFETY: `Jit::run` lent it to the code, which passes it on and waits.
    let frame = unsafe { &mut *frame };
    // SAFETY: the thunk has just put rbp there, which rbpf sets to the end of the 512 bytes that it takes, and which
    // no instruction changes, since none writes r10; the code that uses the stack waits.
    unsafe { frame.call(helper, [r1, r2, r3, r4, r5]) }
}
