//! `struct rt_sigframe` of x86-64: how a handler is entered and left.

use seccomp_kernel::Fault;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::context::Frame;
use super::{Context, Fpu};
use crate::arch::Handler;
use crate::memory::AddressSpace;

/// The part of the stack below the stack pointer that is a function's own.
const RED_ZONE: u64 = 128;

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct SignalFrame {
    restorer: u64,
    flags: u64,
    link: u64,
    alternate_stack: [u64; 3],
    registers: Registers,
    mask: u64,
    info: [u8; 128],
}

/// `struct sigcontext`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct Registers {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    selectors: [u16; 4],
    error: u64,
    vector: u64,
    old_mask: u64,
    cr2: u64,
    fpu: u64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Registers>() == 256);

impl Context {
    /// Lets the thread go on in a handler that returns to where it is.
    ///
    /// # Errors
    ///
    /// Its stack cannot be written.
    pub fn enter_handler(&mut self, space: &AddressSpace, handler: &Handler) -> Result<(), Fault> {
        // Without one, what the handler returns to faults, as in Linux.
        let restorer = handler.restorer.unwrap_or(0);
        let mut fpu = Fpu::new();
        fpu.save();
        let fpu_at = (self.frame.rsp.wrapping_sub(RED_ZONE + Fpu::SIZE as u64)) & !63;
        space.write(fpu_at, fpu.as_bytes())?;
        // As behind a call: 8 below an address that is aligned to 16.
        let at = (fpu_at.wrapping_sub(size_of::<SignalFrame>() as u64) & !15).wrapping_sub(8);
        let mut frame = SignalFrame::new_zeroed();
        frame.restorer = restorer;
        frame.registers = Registers { fpu: fpu_at, ..self.registers() };
        frame.mask = handler.mask;
        frame.info = handler.info;
        space.write(at, frame.as_bytes())?;
        let offset = |field: usize| at + field as u64;
        let user = &mut self.frame;
        user.rdi = handler.signal.cast_unsigned().into();
        user.rsi = offset(core::mem::offset_of!(SignalFrame, info));
        user.rdx = offset(core::mem::offset_of!(SignalFrame, flags));
        user.rax = 0;
        user.rsp = at;
        user.rip = handler.entry;
        user.rflags &= !(1 << 10 | 1 << 8);
        Ok(())
    }

    /// rt_sigreturn(2): goes on where the handler's frame says, and the mask to restore.
    ///
    /// # Errors
    ///
    /// The frame cannot be read.
    pub fn leave_handler(&mut self, space: &AddressSpace) -> Result<u64, Fault> {
        // The handler's `ret` has taken the restorer.
        let at = self.frame.rsp.wrapping_sub(8);
        let mut frame = SignalFrame::new_zeroed();
        space.read(at, frame.as_mut_bytes())?;
        let registers = frame.registers;
        if registers.fpu != 0 {
            let mut bytes = [0; Fpu::SIZE];
            space.read(registers.fpu, &mut bytes)?;
            Fpu::from_bytes(bytes).restore();
        }
        let Registers { r8, r9, r10, r11, r12, r13, r14, r15, .. } = registers;
        let Registers { rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags, .. } = registers;
        self.frame = Frame {
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            rflags,
            ..Frame::default()
        };
        Ok(frame.mask)
    }

    fn registers(&self) -> Registers {
        let Frame {
            r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, ..
        } = self.frame;
        Registers {
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            rflags: self.frame.rflags,
            selectors: [self.frame.cs as u16, 0, 0, self.frame.ss as u16],
            error: self.frame.error,
            vector: self.frame.vector,
            old_mask: 0,
            cr2: 0,
            fpu: 0,
            reserved: [0; 8],
        }
    }
}
