//! The registers of user mode, and stacks of the kernel.

use core::arch::global_asm;

use seccomp_kernel::runtime::SeccompData;

use super::{ENTRY, interrupt};
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

/// Bytes of the `svc` instruction.
const SVC_LEN: u64 = 4;

/// What user mode may set of its state: the results of comparisons.
const USER_STATE: u64 = 0xf000_0000;

/// As trap.s saves it.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub registers: [u64; 31],
    pub sp: u64,
    pub pc: u64,
    pub state: u64,
    pub tls: u64,
    syndrome: u64,
    address: u64,
    interrupted: u64,
}

/// The registers of user mode.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) frame: Frame,
}

impl Context {
    /// A program at its beginning.
    pub fn new(entry: u64, stack: u64) -> Self {
        Self { frame: Frame { pc: entry, sp: stack, ..Frame::default() } }
    }

    /// A new thread or process, behind the call that made it.
    pub fn child(&self, stack: Option<u64>, tls: Option<u64>) -> Self {
        let mut child = self.clone();
        child.set_return(0);
        child.frame.sp = stack.unwrap_or(child.frame.sp);
        child.frame.tls = tls.unwrap_or(child.frame.tls);
        child
    }

    /// Runs user mode until it traps.
    pub fn run(&mut self) -> Trap {
        // What a program can get into it by a signal frame must not be more than it may have.
        self.frame.state &= USER_STATE;
        // SAFETY: the state is that of user mode, so whatever the registers are, the kernel gets control back through
        // a trap, which saves to this frame.
        unsafe { enter_user(&raw mut self.frame) };
        if self.frame.interrupted != 0 {
            interrupt::serve();
            return Trap::Interrupt;
        }
        const SVC: u64 = 0x15;
        match self.frame.syndrome >> 26 {
            SVC => Trap::Syscall,
            class => Trap::Fault(self.fault(class)),
        }
    }

    fn fault(&self, class: u64) -> Fault {
        let Frame { pc, address, syndrome, .. } = self.frame;
        let permission = syndrome & 0x3c == 0xc;
        let (signal, code, address) = match class {
            0x20 | 0x24 => (SIGSEGV, if permission { 2 } else { 1 }, address),
            0x22 | 0x26 => (SIGBUS, 1, pc),
            0x3c => (SIGTRAP, 1, pc),
            _ => (SIGILL, 1, pc),
        };
        Fault { signal, code, address }
    }

    /// The system call that it traps for.
    pub fn call(&self) -> SeccompData {
        let Frame { registers, pc, .. } = &self.frame;
        let mut args = [0; 6];
        args.copy_from_slice(&registers[..6]);
        SeccompData { nr: registers[8] as i32, arch: ENTRY.audit_arch(), instruction_pointer: *pc, args }
    }

    /// The result of the call. The register holds the first argument until then.
    pub fn set_return(&mut self, value: i64) {
        self.frame.registers[0] = value.cast_unsigned();
    }

    /// Makes the call again. Nothing has set its result.
    pub fn restart(&mut self) {
        self.frame.pc = self.frame.pc.wrapping_sub(SVC_LEN);
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
        // Eleven registers, and the address to go to.
        let place = end.wrapping_sub(12);
        // SAFETY: the caller promises that these words are its own.
        unsafe { place.write_bytes(0, 12) };
        // SAFETY: as above.
        unsafe { place.add(11).write(entry as usize) };
        place.expose_provenance()
    }
}
