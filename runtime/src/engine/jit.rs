//! rbpf's JIT as a code generator: its code is copied to sealed pages and called there.
//!
//! rbpf asserts that its code fits the memory it is given, so that memory is sized for the worst first
//! ([`scratch_len`]). Its other asserts and wrong results cannot be reached from a translated program, for
//! the reasons in `interpreter.rs`; the JIT checks no memory access, which is what those reasons stand in for.
//! It does not clear registers or stack either: a translated program begins by clearing A and X, sets the
//! temporary before each use, and reads no scratch slot that it has not written.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use cbpf_translator::Translated;
use cbpf_translator::ebpf::{AluOp, INSN_SIZE, Insn, Opcode};
use cbpf_translator::fallible::filled;
use rbpf::EbpfVmRaw;

use super::exec_mem::{ExecMemory, ExecPages};
use super::room;
use crate::data::SeccompData;
use crate::error::EngineError;

/// rbpf's calling convention: metadata buffer and its length, packet and its length, two offsets. The raw
/// VM passes the packet to the program and uses nothing else.
type Entry = extern "sysv64" fn(usize, usize, *const SeccompData, usize, usize, usize) -> u64;

/// A program as machine code.
pub(crate) struct Jit {
    entry: Entry,
    // Owns the code that `entry` points to.
    _pages: Box<dyn ExecPages>,
}

impl Jit {
    pub(super) fn load(program: &Translated, memory: &dyn ExecMemory) -> Result<Self, EngineError> {
        let bytes = program.to_bytes()?;
        let mut scratch = Scratch::new(scratch_len(program.insns()))?;
        let code = scratch.pages();

        room::for_jit(program.insns(), 0)?;
        let mut vm = EbpfVmRaw::new(Some(&bytes)).map_err(|_| EngineError::Rbpf)?;
        vm.set_jit_exec_memory(code).map_err(|_| EngineError::Rbpf)?;
        vm.jit_compile().map_err(|_| EngineError::Rbpf)?;
        drop(vm);

        let pages = memory.seal(scratch.written())?;
        // SAFETY: `ExecMemory::seal` promises that the code just compiled is at `start` and executable until
        // the pages are dropped, which `Self` keeps; rbpf's code is position-independent without helpers,
        // and a translated program has none. It begins at its first byte and follows the System V convention.
        let entry = unsafe { mem::transmute::<*mut u8, Entry>(pages.start().as_ptr()) };
        Ok(Self { entry, _pages: pages })
    }

    #[inline]
    pub(super) fn run(&self, data: &SeccompData) -> u32 {
        // The code reads at most `size_of::<SeccompData>()` bytes at `data` and writes only its own stack.
        (self.entry)(0, 0, data, size_of::<SeccompData>(), 0, 0) as u32
    }
}

/// A page of rbpf's, which wants its memory aligned to one.
const PAGE: usize = 4096;

/// What unwritten scratch memory holds: a breakpoint, which rbpf's code does not end with.
const UNWRITTEN: u8 = 0xcc;

/// Page-aligned memory to compile into.
pub(super) struct Scratch {
    memory: Vec<u8>,
    start: usize,
}

impl Scratch {
    pub(super) fn new(len: usize) -> Result<Self, EngineError> {
        let memory = filled(len.saturating_add(PAGE), UNWRITTEN)?;
        let start = memory.as_ptr().align_offset(PAGE);
        Ok(Self { memory, start })
    }

    pub(super) fn pages(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..).unwrap_or_default()
    }

    /// The code: rbpf ends it with a `ret`, and does not say how long it is.
    pub(super) fn written(&self) -> &[u8] {
        let code = self.memory.get(self.start..).unwrap_or_default();
        let end = code.iter().rposition(|byte| *byte != UNWRITTEN).map_or(0, |last| last.saturating_add(1));
        code.get(..end).unwrap_or_default()
    }
}

/// At least as many bytes as rbpf 0.4.1 makes of `program`, and a page, its minimum.
pub(super) fn scratch_len(program: &[Insn]) -> usize {
    /// Five pushes, two moves, stack, call, jump: 30 bytes; move, stack, five pops, return: 19.
    const ENTRY_AND_EXIT: usize = 64;
    program
        .iter()
        .map(|insn| max_code_len(insn.code))
        .fold(PAGE.saturating_add(ENTRY_AND_EXIT), usize::saturating_add)
}

/// At least as many bytes as rbpf 0.4.1 makes of one instruction without local calls. The longest it has, apart
/// from multiplication and division, is the call of a helper: a move, the address, the call; 15.
fn max_code_len(code: u8) -> usize {
    match Opcode::decode(code) {
        // Zero test and its jumps, saved registers, moves, the operation: 46 at most.
        Some(Opcode::Alu(_, AluOp::Mul | AluOp::Div | AluOp::Mod, _)) => 48,
        _ => 2 * INSN_SIZE,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;

    /// How much rbpf makes of `program`, given `room`.
    fn compiled_len(program: &[Insn], room: usize) -> usize {
        let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_le_bytes()).collect();
        let mut scratch = Scratch::new(room).unwrap();
        let mut vm = EbpfVmRaw::new(Some(&bytes)).unwrap();
        vm.register_helper(1, |_, _, _, _, _| 0).unwrap();
        vm.set_jit_exec_memory(scratch.pages()).unwrap();
        vm.jit_compile().unwrap();
        drop(vm);
        scratch.written().len()
    }

    #[test]
    fn every_instruction_fits_its_bound() {
        let exit = Insn::new(Opcode::Exit.code(), 0, 0, 0, 0);
        let empty = compiled_len(&[exit], PAGE);
        assert!(empty <= 64);
        let mut tried = 0;
        for code in 0..=u8::MAX {
            if matches!(
                Opcode::decode(code),
                None | Some(Opcode::Call | Opcode::Exit | Opcode::Atomic(_) | Opcode::LoadImm64)
            ) {
                continue;
            }
            let is_swap = matches!(Opcode::decode(code), Some(Opcode::ToLe | Opcode::ToBe));
            let is_jump = matches!(Opcode::decode(code), Some(Opcode::Ja | Opcode::Jump(..)));
            for (dst, src) in (0..10).flat_map(|dst| (0..=10).map(move |src| (dst, src))) {
                for (off, imm) in [(0, 1), (0x7ff0, i32::MIN), (-0x7ff0, i32::MAX)] {
                    let off = if is_jump { 0 } else { off };
                    let imm = if is_swap { [16, 32, 64][tried % 3] } else { imm };
                    let insn = Insn::new(code, dst, src, off, imm);
                    let len = compiled_len(&[insn, exit], PAGE) - empty;
                    assert!(len <= max_code_len(code), "{insn:?} is {len} bytes");
                    tried += 1;
                }
            }
        }
        assert!(tried > 30_000);

        for dst in 0..10 {
            for (low, high) in [(0, 0), (i32::MAX, 0), (-1, 1), (i32::MIN, -1), (-1, i32::MIN)] {
                let code = Opcode::LoadImm64.code();
                let load = [Insn::new(code, dst, 0, 0, low), Insn::new(0, 0, 0, 0, high), exit];
                let len = compiled_len(&load, PAGE) - empty;
                assert!(len <= max_code_len(code) + max_code_len(0), "{low} {high} are {len} bytes");
            }
        }
        let call = Insn::new(Opcode::Call.code(), 0, 0, 0, 1);
        let len = compiled_len(&[call, exit], PAGE) - empty;
        assert!(len <= max_code_len(call.code), "a call is {len} bytes");
    }

    #[test]
    fn the_longest_program_fits() {
        let div_x = cbpf_translator::SockFilter::new(0x3c, 0, 0, 0);
        let ret = cbpf_translator::SockFilter::new(0x16, 0, 0, 0);
        let mut insns = vec![div_x; 4095];
        insns.push(ret);
        let program = cbpf_translator::translate(&cbpf_translator::check(insns).unwrap()).unwrap();
        let len = compiled_len(program.insns(), 64 << 20);
        let room = scratch_len(program.insns());
        assert!(len > 150_000 && len <= room, "{len}");
        // What the documentation says is the most that is asked for at once.
        assert_eq!(room.saturating_add(PAGE).div_ceil(1024), 457);
    }
}
