//! Vector registers: the kernel does not use them, so they change with threads only.

unsafe extern "C" {
    fn fpu_save(registers: *mut Fpu);
    fn fpu_restore(registers: *const Fpu);
}

/// As trap.s saves them, and a signal frame has them.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct Fpu {
    pub(super) fpsr: u32,
    pub(super) fpcr: u32,
    unused: u64,
    pub(super) registers: [[u64; 2]; 32],
}

impl Fpu {
    /// As a program begins.
    pub fn new() -> Self {
        Self { fpsr: 0, fpcr: 0, unused: 0, registers: [[0; 2]; 32] }
    }

    /// The registers as they are.
    pub fn save(&mut self) {
        // SAFETY: it writes all of `self`. `trap::init` has switched the registers on.
        unsafe { fpu_save(self) };
    }

    /// Loads the registers.
    pub fn restore(&self) {
        // SAFETY: it reads all of `self`; no value faults, and the kernel uses none of these registers.
        unsafe { fpu_restore(self) };
    }
}
