//! What verifying an eBPF filter costs.

use cbpf_translator::Insn;
use divan::{Bencher, black_box};
use seccomp_rbpf::cases::extension;
use seccomp_runtime::HELPERS;
use seccomp_runtime::verifier::{Environment, Program, verify};

fn main() {
    divan::main();
}

fn bench(bencher: Bencher<'_, '_>, insns: Vec<Insn>) {
    let helpers = HELPERS.each_ref().map(|row| row.helper);
    let environment = Environment { maps: &[extension::TABLE], helpers: &helpers };
    let program = Program::new(insns);
    bencher.bench(|| verify(black_box(program.clone()), &environment).expect("it is safe"));
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn verified(bencher: Bencher<'_, '_>, len: usize) {
    bench(bencher, extension::long(len));
}

/// A loop that runs until the walk's bound is near.
#[divan::bench(args = [1_000, 100_000])]
fn looped(bencher: Bencher<'_, '_>, turns: i32) {
    bench(bencher, extension::looped(turns));
}
