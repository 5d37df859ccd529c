//! The calls that a profile is decided on.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};
use seccomp_runtime::SeccompData;

use super::{Arg, Rule};

/// The most calls of one number.
const MAX_CALLS: usize = 384;

/// Every number that `arch` could have and some that none has, each with arguments on both sides of every
/// boundary of the rules for it.
pub fn calls(arch: Arch, rules: &[Rule], rng: &mut SmallRng) -> Vec<SeccompData> {
    let bit = if arch == Arch::X32 { X32_SYSCALL_BIT } else { 0 };
    let own = (0..600).chain(0x000f_0000..0x000f_0008).map(|nr| nr | bit);
    let mut calls = Vec::new();
    for nr in
        own.chain([-1, -2, i32::MAX, i32::MIN, X32_SYSCALL_BIT, X32_SYSCALL_BIT - 1, X32_SYSCALL_BIT + 1])
    {
        let call = |args| SeccompData { nr, arch: arch.audit_arch(), instruction_pointer: pointer(nr), args };
        let name = arch.syscall_name(nr);
        // socketcall and ipc have the rules of others, with a number for the first argument.
        let all = arch == Arch::I386 && matches!(name, Some("socketcall" | "ipc"));
        let asked: Vec<&Arg> = rules
            .iter()
            .filter(|rule| all || Some(rule.name.as_str()) == name)
            .flat_map(|rule| &rule.args)
            .collect();
        calls.push(call([0; 6]));
        calls.push(call([u64::MAX; 6]));
        if asked.is_empty() && !all {
            continue;
        }
        let values: [Vec<u64>; 6] = std::array::from_fn(|index| {
            let mut values = values(asked.iter().copied().filter(|arg| usize::from(arg.0) == index));
            if all && index == 0 {
                values.extend(0..26);
            }
            values.into_iter().collect()
        });
        let product = values.iter().map(Vec::len).try_fold(1usize, usize::checked_mul);
        match product.filter(|product| *product <= MAX_CALLS) {
            Some(product) => calls.extend((0..product).map(|mut index| {
                call(values.each_ref().map(|values| {
                    let value = values[index % values.len()];
                    index /= values.len();
                    value
                }))
            })),
            None => {
                calls.extend((0..MAX_CALLS).map(|_| {
                    call(values.each_ref().map(|values| *values.choose(rng).expect("there is one")))
                }))
            }
        }
    }
    calls
}

/// Values on both sides of every boundary: of the whole, and of each half.
fn values<'a>(args: impl Iterator<Item = &'a Arg>) -> BTreeSet<u64> {
    let mut values = BTreeSet::from([0]);
    for (_, op, value, second) in args {
        for boundary in if *op == "MASKED_EQ" { vec![*second, value & second, !value] } else { vec![*value] }
        {
            for half in [1, 1 << 32] {
                values.extend([boundary, boundary.wrapping_add(half), boundary.wrapping_sub(half)]);
            }
            values.extend([boundary & u64::from(u32::MAX), boundary >> 32, boundary | 0xffff_ffff << 32]);
        }
        if *op == "MASKED_EQ" {
            values.extend([second | !value, second ^ (value & value.wrapping_neg()), u64::MAX]);
        }
    }
    values
}

/// An instruction pointer; no profile asks for it.
fn pointer(nr: i32) -> u64 {
    u64::from(nr.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A random value that is likely to be near a boundary.
pub(super) fn value(rng: &mut SmallRng) -> u64 {
    const ODD: [u64; 12] = [
        0,
        1,
        5,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0005,
        0x7fff_ffff_0000_0005,
        u64::MAX - 1,
        u64::MAX,
    ];
    match rng.random_range(0..4) {
        0 => rng.random(),
        1 => rng.random_range(0..16),
        2 => 1 << rng.random_range(0..64),
        _ => *ODD.choose(rng).expect("there are some"),
    }
}
