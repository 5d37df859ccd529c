//! Look-ups by numbers that user space chooses, out of bounds not even on a path that the processor only speculates.
//!
//! A processor may guess that `index < len` holds, load what is at `index`, and find out too late; what it loaded then
//! shows in its caches (Spectre, variant 1). So behind the comparison the index is masked by arithmetic, which
//! is not guessed (`array_index_nospec`). The compiler would take the mask for what the comparison has shown already, and
//! leave it out; [`hidden`] keeps it from knowing.

#![allow(unsafe_code, reason = "an empty piece of assembly; the block has its proof")]

/// `index` if it is below `len`, else 0: by arithmetic, so also where a comparison was guessed wrong. `len` is at most
/// `isize::MAX`, as all lengths are.
#[inline]
pub(crate) fn clamp(index: usize, len: usize) -> usize {
    let index = hidden(index);
    // Its highest bit is that of `index`, or of `len - 1 - index`: clear if `index` is below `len`, and only then.
    let sign = index | len.wrapping_sub(1).wrapping_sub(index);
    index & !sign.cast_signed().wrapping_shr(usize::BITS.wrapping_sub(1)).cast_unsigned()
}

/// The same number, of which the compiler knows nothing.
#[inline(always)]
pub(crate) fn hidden(number: usize) -> usize {
    #[cfg(all(
        not(miri),
        any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64",
            target_arch = "arm",
            target_arch = "riscv64",
            target_arch = "loongarch64"
        )
    ))]
    {
        let mut number = number;
        // SAFETY: there is no instruction in it: `number` stays as it is in whatever register it is, and nothing else is
        // touched, as the options say.
        unsafe {
            core::arch::asm!("/* nospec {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
        }
        number
    }
    #[cfg(not(all(
        not(miri),
        any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64",
            target_arch = "arm",
            target_arch = "riscv64",
            target_arch = "loongarch64"
        )
    )))]
    core::hint::black_box(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_length_stays_and_all_else_is_0() {
        let edges = [0, 1, 2, 3, 63, 64, 511, 512, 513, 1 << 20, isize::MAX as usize];
        let beyond = [isize::MAX as usize + 1, isize::MAX as usize + 2, usize::MAX - 1, usize::MAX];
        for len in edges.into_iter().filter(|len| *len != 0) {
            for index in edges.into_iter().chain(beyond).chain([len - 1, len, len + 1]) {
                let expected = if index < len { index } else { 0 };
                assert_eq!(clamp(index, len), expected, "{index} of {len}");
            }
        }
    }
}
