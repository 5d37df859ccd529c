//! The registers of user mode, and stacks of the kernel.

use core::arch::global_asm;

use seccomp_kernel::runtime::SeccompData;

use super::{ENTRY, next_tick};
use crate::arch::{Fault, SIGBUS, SIGILL, SIGSEGV, SIGTRAP, Trap};

global_asm!(include_str!("trap.s"));

unsafe extern "C" {
    fn enter_user(context: *mut Frame);
    /// Leaves the kernel stack that is in use, its place in `save`, for the one whose place is `load`.
    ///
    /// # Safety
    ///
    /// `load` was saved so, or made by [`KernelStack`], and has not been gone on with since.
    pub fn switch(save: *mut usize, load: usize);
}

const INTERRUPT: u64 = 1 << 63;
const ECALL: u64 = 8;

/// Bytes of the `ecall` instruction.
const ECALL_LEN: u64 = 4;

pub(super) const SP: usize = 2;
const TP: usize = 4;
pub(super) const A0: usize = 10;
const A7: usize = 17;

/// As trap.s saves it.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// By number; the first is always 0.
    pub registers: [u64; 32],
    pub pc: u64,
    cause: u64,
    value: u64,
    kernel_stack: u64,
}

/// The registers of user mode.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) frame: Frame,
}

impl Context {
    /// A program at its beginning.
    pub fn new(entry: u64, stack: u64) -> Self {
        let mut frame = Frame { pc: entry, ..Frame::default() };
        frame.registers[SP] = stack;
        Self { frame }
    }

    /// A new thread or process, behind the call that made it.
    pub fn child(&self, stack: Option<u64>, tls: Option<u64>) -> Self {
        let mut child = self.clone();
        child.set_return(0);
        let registers = &mut child.frame.registers;
        registers[SP] = stack.unwrap_or(registers[SP]);
        registers[TP] = tls.unwrap_or(registers[TP]);
        child
    }

    /// Runs user mode until it traps.
    pub fn run(&mut self) -> Trap {
        // SAFETY: trap.s goes to user mode whatever the registers are, so the kernel gets control back through a
        // trap, which saves to this frame.
        unsafe { enter_user(&raw mut self.frame) };
        match self.frame.cause {
            ECALL => {
                self.frame.pc = self.frame.pc.wrapping_add(ECALL_LEN);
                Trap::Syscall
            }
            cause if cause & INTERRUPT != 0 => {
                next_tick();
                Trap::Interrupt
            }
            cause => Trap::Fault(self.fault(cause)),
        }
    }

    fn fault(&self, cause: u64) -> Fault {
        let (signal, code, address) = match cause {
            0 | 4 | 6 => (SIGBUS, 1, self.frame.value),
            2 => (SIGILL, 1, self.frame.pc),
            3 => (SIGTRAP, 1, self.frame.pc),
            _ => (SIGSEGV, 1, self.frame.value),
        };
        Fault { signal, code, address }
    }

    /// The system call that it traps for.
    pub fn call(&self) -> SeccompData {
        let registers = &self.frame.registers;
        let mut args = [0; 6];
        args.copy_from_slice(&registers[A0..A0 + 6]);
        SeccompData {
            nr: registers[A7] as i32,
            arch: ENTRY.audit_arch(),
            instruction_pointer: self.frame.pc,
            args,
        }
    }

    /// The result of the call. The register holds the first argument until then.
    pub fn set_return(&mut self, value: i64) {
        self.frame.registers[A0] = value.cast_unsigned();
    }

    /// Makes the call again. Nothing has set its result.
    pub fn restart(&mut self) {
        self.frame.pc = self.frame.pc.wrapping_sub(ECALL_LEN);
    }
}

/// Where a thread's kernel stack begins.
pub struct KernelStack;

impl KernelStack {
    /// Prepares the stack that ends at `end` for [`switch`]: it begins with `entry`. Its place.
    ///
    /// # Safety
    ///
    /// The stack is nobody else's and at least a page.
    pub unsafe fn prepare(end: *mut usize, entry: extern "C" fn() -> !) -> usize {
        // The address to go to, twelve registers, and one word, so that it is aligned.
        let place = end.wrapping_sub(14);
        // SAFETY: the caller promises that these words are its own.
        unsafe { place.write_bytes(0, 14) };
        // SAFETY: as above.
        unsafe { place.write(entry as usize) };
        place.expose_provenance()
    }
}
