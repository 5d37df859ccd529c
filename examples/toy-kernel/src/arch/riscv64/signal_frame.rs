//! `struct rt_sigframe` of RISC-V: how a handler is entered and left.

use core::mem::offset_of;

use seccomp_kernel::Fault;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::context::{A0, SP};
use super::{Context, Fpu};
use crate::arch::Handler;
use crate::memory::AddressSpace;
use crate::memory::address_space::SIGRETURN_AT;

const RA: usize = 1;

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct SignalFrame {
    info: [u8; 128],
    flags: u64,
    link: u64,
    alternate_stack: [u64; 3],
    mask: u64,
    unused: [u64; 16],
    pc: u64,
    /// From the second on.
    registers: [u64; 31],
    fpu: [u64; 33],
    unused_fpu: [u64; 33],
}

// `ucontext` has its registers at a multiple of 16, 176 from its beginning.
const _: () = assert!(offset_of!(SignalFrame, pc) == 128 + 176);

impl Context {
    /// Lets the thread go on in a handler that returns to where it is.
    ///
    /// # Errors
    ///
    /// Its stack cannot be written.
    pub fn enter_handler(&mut self, space: &AddressSpace, handler: &Handler) -> Result<(), Fault> {
        let mut frame = SignalFrame::new_zeroed();
        let mut fpu = Fpu::new();
        fpu.save();
        frame.info = handler.info;
        frame.mask = handler.mask;
        frame.pc = self.frame.pc;
        frame.registers.copy_from_slice(&self.frame.registers[1..]);
        frame.fpu = fpu.0;
        let registers = &mut self.frame.registers;
        let at = registers[SP].wrapping_sub(size_of::<SignalFrame>() as u64) & !15;
        space.write(at, frame.as_bytes())?;
        registers[A0] = handler.signal.cast_unsigned().into();
        registers[A0 + 1] = at + offset_of!(SignalFrame, info) as u64;
        registers[A0 + 2] = at + offset_of!(SignalFrame, flags) as u64;
        registers[RA] = handler.restorer.unwrap_or(SIGRETURN_AT as u64);
        registers[SP] = at;
        self.frame.pc = handler.entry;
        Ok(())
    }

    /// rt_sigreturn(2): goes on where the handler's frame says, and the mask to restore.
    ///
    /// # Errors
    ///
    /// The frame cannot be read.
    pub fn leave_handler(&mut self, space: &AddressSpace) -> Result<u64, Fault> {
        let mut frame = SignalFrame::new_zeroed();
        space.read(self.frame.registers[SP], frame.as_mut_bytes())?;
        self.frame.pc = frame.pc;
        self.frame.registers[1..].copy_from_slice(&frame.registers);
        let mut fpu = Fpu::new();
        fpu.0 = frame.fpu;
        fpu.restore();
        Ok(frame.mask)
    }
}
