//! What rbpf allocates. It cannot be told that there is no memory, so each of its blocks is
//! [asked for](fallible::probe) beforehand and given back just before.
//!
//! The bounds are those of rbpf 0.4.1, hashbrown 0.16 and `Vec`. For a classic program the largest block is 160 KiB, where
//! its translation's instructions are. For an extension, which is at most
//! [`MAX_LOWERED`](super::lower::MAX_LOWERED) instructions, it is a table of 1089 KiB if all of them are calls of
//! helpers, 512 KiB if all are jumps, and 256 KiB otherwise.

#[cfg(target_arch = "x86_64")]
use cbpf_translator::ebpf::AluOp;
use cbpf_translator::ebpf::{Insn, Opcode};
use cbpf_translator::{OutOfMemory, fallible};

/// The stack of rbpf's interpreter.
const STACK: usize = 512;

/// For a run of rbpf's interpreter.
#[inline]
pub(super) fn for_run() -> Result<(), OutOfMemory> {
    fallible::probe([STACK])
}

/// For a VM with so many helpers, and memory that it may access.
pub(super) fn for_vm(program: &[Insn], helpers: usize) -> Result<(), OutOfMemory> {
    let [calls, helpers] = [table(calls(program)), table(helpers)];
    fallible::probe([calls.len, calls.before, helpers.len, helpers.before, table(1).len])
}

/// For a VM with so many helpers that is compiled.
#[cfg(target_arch = "x86_64")]
pub(super) fn for_jit(program: &[Insn], helpers: usize) -> Result<(), OutOfMemory> {
    let [calls, helpers] = [table(calls(program)), table(helpers)];
    let places = program.len().saturating_add(1).saturating_mul(size_of::<usize>());
    let jumps = list(program.iter().filter(|insn| may_jump(insn)).count().saturating_add(1));
    fallible::probe([
        calls.len,
        calls.before,
        helpers.len,
        helpers.before,
        // The place of the epilogue.
        table(1).len,
        places,
        jumps.len,
        jumps.before,
    ])
}

/// How often rbpf notes how much stack a function uses: for the program, and for whatever is called.
fn calls(program: &[Insn]) -> usize {
    program.iter().filter(|insn| insn.code == Opcode::Call.code()).count().saturating_add(1)
}

/// Whether rbpf writes a jump whose target it fills in later.
#[cfg(target_arch = "x86_64")]
fn may_jump(insn: &Insn) -> bool {
    matches!(
        Opcode::decode(insn.code),
        Some(Opcode::Ja | Opcode::Jump(..) | Opcode::Alu(_, AluOp::Div | AluOp::Mod, _))
    )
}

/// What grows as it is filled, in bytes.
#[derive(Clone, Copy)]
struct Growing {
    /// At its end.
    len: usize,
    /// What it grows out of, which is there until that is copied.
    before: usize,
}

impl Growing {
    /// What has `count` places and an entry in some of them, and grows by doubling from `least`.
    fn new(count: usize, least: usize, len: impl Fn(usize) -> usize) -> Self {
        Self { len: len(count), before: if count > least { len(count.div_euclid(2)) } else { 0 } }
    }
}

/// A hash table of so many entries. All of rbpf's have 16 bytes.
fn table(entries: usize) -> Growing {
    if entries == 0 {
        return Growing { len: 0, before: 0 };
    }
    // An eighth stays free.
    let buckets = entries.saturating_mul(8).div_euclid(7).saturating_add(1).next_power_of_two().max(4);
    // Each with a byte of its own, and as many bytes again as are compared at once.
    Growing::new(buckets, 4, |buckets| buckets.saturating_mul(16 + 1).saturating_add(16))
}

/// A vector of so many jumps, of 16 bytes.
#[cfg(target_arch = "x86_64")]
fn list(jumps: usize) -> Growing {
    Growing::new(jumps.next_power_of_two().max(4), 4, |jumps| jumps.saturating_mul(16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lower::MAX_LOWERED;

    #[test]
    fn the_largest_blocks_are_what_is_documented() {
        assert_eq!(table(MAX_LOWERED).len.div_ceil(1024), 1089);
        assert_eq!(MAX_LOWERED.saturating_add(1) * size_of::<usize>(), 256 << 10);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(list(MAX_LOWERED).len, 512 << 10);
    }
}
