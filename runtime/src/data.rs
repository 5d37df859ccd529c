//! What a filter sees of a system call.

use cbpf_translator::seccomp;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct seccomp_data`: one system call, in the layout that filters read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SeccompData {
    /// The system call number. -1 and unknown numbers are filtered like any other.
    pub nr: i32,
    /// The `AUDIT_ARCH_*` value of the entry that was used.
    pub arch: u32,
    /// The address of the instruction after the one that made the call.
    pub instruction_pointer: u64,
    /// The arguments: the argument registers as the entry saved them. A 32-bit program's are zero-extended;
    /// `int $0x80` from 64-bit x86 code leaves them whole.
    pub args: [u64; 6],
}

const _: () = {
    assert!(size_of::<SeccompData>() == seccomp::DATA_SIZE as usize);
    assert!(core::mem::offset_of!(SeccompData, nr) == 0);
    assert!(core::mem::offset_of!(SeccompData, arch) == 4);
    assert!(core::mem::offset_of!(SeccompData, instruction_pointer) == 8);
    assert!(core::mem::offset_of!(SeccompData, args) == 16);
};

impl SeccompData {
    /// The 32-bit word at byte offset `offset`, as a filter's load reads it, or `None` if no aligned word
    /// is there.
    #[inline]
    pub fn word(&self, offset: u32) -> Option<u32> {
        let words: &[u32; seccomp::DATA_SIZE as usize / 4] = zerocopy::transmute_ref!(self);
        offset.is_multiple_of(4).then(|| words.get(offset as usize / 4).copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_uapi() {
        let data = SeccompData {
            nr: -1,
            arch: 0xc000_003e,
            instruction_pointer: 0x1122_3344_5566_7788,
            args: [1 << 32 | 2, 0, 0, 0, 0, u64::MAX],
        };
        assert_eq!(data.word(0), Some(u32::MAX));
        assert_eq!(data.word(4), Some(0xc000_003e));
        assert_eq!(data.word(60), Some(u32::MAX));
        assert_eq!(data.word(64), None);
        assert_eq!(data.word(2), None);
        #[cfg(target_endian = "little")]
        assert_eq!((data.word(8), data.word(16), data.word(20)), (Some(0x5566_7788), Some(2), Some(1)));
    }
}
