//! `struct rt_sigframe` of ARM: how a handler is entered and left.

use core::mem::offset_of;

use seccomp_kernel::Fault;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::{Context, Fpu};
use crate::arch::Handler;
use crate::memory::AddressSpace;
use crate::memory::address_space::SIGRETURN_AT;

/// Marks vector registers among a frame's records.
const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_SIZE: u32 = 528;

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct SignalFrame {
    info: [u8; 128],
    flags: u64,
    link: u64,
    alternate_stack: [u64; 3],
    mask: u64,
    unused: [u64; 16],
    fault_address: u64,
    registers: [u64; 31],
    sp: u64,
    pc: u64,
    state: u64,
    padding: u64,
    magic: u32,
    size: u32,
    fpsr: u32,
    fpcr: u32,
    vectors: [[u64; 2]; 32],
    /// No other record, in the rest of the 4096 bytes for them.
    end: [u64; 446],
    /// What a debugger follows.
    frame_pointer: u64,
    link_register: u64,
}

// `ucontext` has its registers at a multiple of 16, 176 from its beginning.
const _: () = {
    assert!(offset_of!(SignalFrame, fault_address) == 128 + 176);
    assert!(offset_of!(SignalFrame, frame_pointer) - offset_of!(SignalFrame, magic) == 4096);
    assert!(size_of::<SignalFrame>().is_multiple_of(16));
};

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
        let user = &mut self.frame;
        frame.info = handler.info;
        frame.mask = handler.mask;
        frame.registers = user.registers;
        (frame.sp, frame.pc, frame.state) = (user.sp, user.pc, user.state);
        (frame.magic, frame.size) = (FPSIMD_MAGIC, FPSIMD_SIZE);
        (frame.fpsr, frame.fpcr, frame.vectors) = (fpu.fpsr, fpu.fpcr, fpu.registers);
        (frame.frame_pointer, frame.link_register) = (user.registers[29], user.registers[30]);
        let at = (user.sp & !15).wrapping_sub(size_of::<SignalFrame>() as u64);
        space.write(at, frame.as_bytes())?;
        user.registers[0] = handler.signal.cast_unsigned().into();
        user.registers[1] = at + offset_of!(SignalFrame, info) as u64;
        user.registers[2] = at + offset_of!(SignalFrame, flags) as u64;
        user.registers[29] = at + offset_of!(SignalFrame, frame_pointer) as u64;
        user.registers[30] = handler.restorer.unwrap_or(SIGRETURN_AT as u64);
        user.sp = at;
        user.pc = handler.entry;
        Ok(())
    }

    /// rt_sigreturn(2): goes on where the handler's frame says, and the mask to restore.
    ///
    /// # Errors
    ///
    /// The frame cannot be read.
    pub fn leave_handler(&mut self, space: &AddressSpace) -> Result<u64, Fault> {
        let mut frame = SignalFrame::new_zeroed();
        space.read(self.frame.sp, frame.as_mut_bytes())?;
        let user = &mut self.frame;
        user.registers = frame.registers;
        (user.sp, user.pc, user.state) = (frame.sp, frame.pc, frame.state);
        if frame.magic == FPSIMD_MAGIC {
            let mut fpu = Fpu::new();
            (fpu.fpsr, fpu.fpcr, fpu.registers) = (frame.fpsr, frame.fpcr, frame.vectors);
            fpu.restore();
        }
        Ok(frame.mask)
    }
}
