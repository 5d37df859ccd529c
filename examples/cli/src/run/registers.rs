//! The registers of a stopped thread.
//!
//! The host does not take back all that it shows: a selector that asks for the kernel's privilege, which a program may
//! load for data, and a base of `fs` or `gs` in the kernel's half, which it may set. So only what differs is written.

use std::mem::offset_of;
use std::ptr;

use libc::{c_long, user_regs_struct};
use nix::sys::ptrace::{self, getregs};
use nix::unistd::Pid;

/// Where a register is among the others, and its value there.
type Register = (usize, fn(&user_regs_struct) -> u64);

macro_rules! registers {
    ($($name:ident)*) => {
        [$((offset_of!(user_regs_struct, $name), |regs| regs.$name)),*]
    };
}

/// Those that are ever changed here: all but the flags and what segments there are beside that of code.
const CHANGED: [Register; 19] =
    registers![r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rsp];

/// Changes registers of a thread.
pub(super) fn change<T>(tid: Pid, f: impl FnOnce(&mut user_regs_struct) -> T) -> nix::Result<T> {
    let before = getregs(tid)?;
    let mut after = before;
    let result = f(&mut after);
    for (offset, register) in CHANGED {
        let value = register(&after);
        if value != register(&before) {
            // The registers are the first that `struct user` has.
            let at = ptr::without_provenance_mut(offset);
            ptrace::write_user(tid, at, value.cast_signed() as c_long)?;
        }
    }
    Ok(result)
}

/// Gives a thread the registers that it had.
pub(super) fn restore(tid: Pid, regs: user_regs_struct) -> nix::Result<()> {
    change(tid, |now| *now = regs)
}
