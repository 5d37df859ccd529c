//! Vector and floating point registers: the kernel does not use them, so they change with threads only.

use core::arch::asm;

/// What `fxsave` saves.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct Fpu([u8; Self::SIZE]);

impl Fpu {
    /// Bytes of it.
    pub const SIZE: usize = 512;

    /// As a program begins: all masked, all empty.
    pub fn new() -> Self {
        let mut bytes = [0; Self::SIZE];
        bytes[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        Self(bytes)
    }

    /// The registers as they are.
    pub fn save(&mut self) {
        // SAFETY: it writes the 512 bytes, which are aligned to 16.
        unsafe { asm!("fxsave64 [{}]", in(reg) self.0.as_mut_ptr(), options(nostack)) };
    }

    /// Loads the registers.
    pub fn restore(&self) {
        // SAFETY: it reads the 512 bytes, which are aligned to 16 and have no reserved bit of MXCSR: `new` and
        // `from_bytes` see to it. The kernel uses none of these registers.
        unsafe { asm!("fxrstor64 [{}]", in(reg) self.0.as_ptr(), options(nostack, readonly)) };
    }

    /// Its bytes, as a signal frame has them.
    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// From the bytes of a signal frame, which may be anything.
    pub fn from_bytes(mut bytes: [u8; Self::SIZE]) -> Self {
        // The bits of MXCSR that every processor has.
        bytes[26..28].fill(0);
        bytes[24] &= 0xbf;
        Self(bytes)
    }
}
