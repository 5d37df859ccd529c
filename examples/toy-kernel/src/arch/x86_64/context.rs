//! The registers of user mode, and stacks of the kernel.

use core::arch::global_asm;

use seccomp_kernel::runtime::SeccompData;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::registers::model_specific::FsBase;

use super::{ENTRY, trap};
use crate::arch::{Fault, SIGBUS, SIGILL, SIGSEGV, SIGTRAP, Trap};

global_asm!(include_str!("trap.s"), options(att_syntax));

unsafe extern "C" {
    fn enter_user(context: *mut Frame);
    /// Leaves the kernel stack that is in use, its place in `save`, for the one whose place is `load`.
    ///
    /// # Safety
    ///
    /// `load` was saved so, or made by [`KernelStack`], and has not been gone on with since.
    pub fn switch(save: *mut usize, load: usize);
}

const SIGFPE: i32 = 8;

/// `vector` of a system call.
const SYSCALL: u64 = 256;

const CODE: u64 = 0x23;
const STACK: u64 = 0x1b;
const INTERRUPT_FLAG: u64 = 1 << 9;

/// What user mode may set of the flags.
const USER_FLAGS: u64 = 0x40dd5;

/// Bytes of the `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

/// As trap.s saves and the processor pushes them. Its end is aligned to 16, as the processor's stack is.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<Frame>().is_multiple_of(16));

/// The registers of user mode.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) frame: Frame,
    tls: u64,
}

impl Context {
    /// A program at its beginning.
    pub fn new(entry: u64, stack: u64) -> Self {
        let frame = Frame {
            rip: entry,
            rsp: stack,
            cs: CODE,
            ss: STACK,
            rflags: INTERRUPT_FLAG | 2,
            ..Frame::default()
        };
        Self { frame, tls: 0 }
    }

    /// A new thread or process, behind the call that made it.
    pub fn child(&self, stack: Option<u64>, tls: Option<u64>) -> Self {
        let mut child = self.clone();
        child.set_return(0);
        child.frame.rsp = stack.unwrap_or(child.frame.rsp);
        child.tls = tls.unwrap_or(child.tls);
        child
    }

    /// Runs user mode until it traps.
    pub fn run(&mut self) -> Trap {
        FsBase::write(VirtAddr::new_truncate(self.tls));
        self.sanitise();
        trap::set_context(&raw mut self.frame);
        // SAFETY: selectors and flags are those of user mode (`sanitise`), so whatever the registers are, the kernel
        // gets control back through a trap, which saves to this frame: `set_context` has just said so.
        unsafe { enter_user(&raw mut self.frame) };
        match self.frame.vector {
            SYSCALL => Trap::Syscall,
            trap::TIMER => {
                super::end_of_interrupt();
                Trap::Interrupt
            }
            vector => Trap::Fault(self.fault(vector)),
        }
    }

    /// What a program can get into it by a signal frame must not be more than it may have.
    fn sanitise(&mut self) {
        let frame = &mut self.frame;
        frame.cs = CODE;
        frame.ss = STACK;
        frame.rflags = frame.rflags & USER_FLAGS | INTERRUPT_FLAG | 2;
        // `iretq` would fault in the kernel.
        if VirtAddr::try_new(frame.rip).is_err() {
            frame.rip = 0;
        }
    }

    fn fault(&self, vector: u64) -> Fault {
        let (signal, code, address) = match vector {
            0 => (SIGFPE, 1, self.frame.rip),
            1 | 3 => (SIGTRAP, 1, self.frame.rip),
            6 => (SIGILL, 2, self.frame.rip),
            14 => {
                let not_present = self.frame.error & 1 == 0;
                (SIGSEGV, if not_present { 1 } else { 2 }, Cr2::read_raw())
            }
            16 | 19 => (SIGFPE, 0, self.frame.rip),
            17 => (SIGBUS, 1, 0),
            _ => (SIGSEGV, 0x80, 0),
        };
        Fault { signal, code, address }
    }

    /// The system call that it traps for.
    pub fn call(&self) -> SeccompData {
        let Frame { rax, rdi, rsi, rdx, r10, r8, r9, rip, .. } = self.frame;
        SeccompData {
            nr: rax as i32,
            arch: ENTRY.audit_arch(),
            instruction_pointer: rip,
            args: [rdi, rsi, rdx, r10, r8, r9],
        }
    }

    /// The result of the call. The register holds the number until then.
    pub fn set_return(&mut self, value: i64) {
        self.frame.rax = value.cast_unsigned();
    }

    /// Makes the call again. Nothing has set its result.
    pub fn restart(&mut self) {
        self.frame.rip = self.frame.rip.wrapping_sub(SYSCALL_LEN);
    }

    pub(super) fn set_tls(&mut self, tls: u64) {
        self.tls = tls;
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
        // As behind a call: six registers, the address to go to, and one word, so that it is aligned.
        let place = end.wrapping_sub(8);
        // SAFETY: the caller promises that these words are its own.
        unsafe { place.write_bytes(0, 8) };
        // SAFETY: as above.
        unsafe { place.add(6).write(entry as usize) };
        place.expose_provenance()
    }
}
