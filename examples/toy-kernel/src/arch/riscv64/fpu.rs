//! Floating point registers: the kernel does not use them, so they change with threads only.

unsafe extern "C" {
    fn fpu_save(registers: *mut u64);
    fn fpu_restore(registers: *const u64);
}

/// The 32 registers, and the control register.
#[derive(Clone, Debug)]
pub struct Fpu(pub(super) [u64; 33]);

impl Fpu {
    /// As a program begins.
    pub fn new() -> Self {
        Self([0; 33])
    }

    /// The registers as they are.
    pub fn save(&mut self) {
        // SAFETY: it writes the 33 words. `trap::init` has switched the registers on.
        unsafe { fpu_save(self.0.as_mut_ptr()) };
    }

    /// Loads the registers.
    pub fn restore(&self) {
        // SAFETY: it reads the 33 words; no value faults, and the kernel uses none of these registers.
        unsafe { fpu_restore(self.0.as_ptr()) };
    }
}
