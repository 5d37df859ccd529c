//! What rbpf fills grows as it is filled: the probe is enough for every size.

use cbpf_translator::{SockFilter, check};
use seccomp_runtime::verifier::{Arg, Environment, Helper, Program, Prototype, Return, verify};
use seccomp_runtime::{Capability, EngineKind, Extension, HelperRow, Loaded};
use seccomp_tests::verifier::asm::assemble;

use crate::allocator::{Origin, recorded};
use crate::kernel::Code;
use crate::{check_probes, longest};

/// About those at which a table or a list grows, and some between.
const SIZES: [usize; 30] = [
    0, 1, 2, 3, 4, 6, 7, 8, 9, 13, 14, 15, 16, 17, 27, 28, 29, 32, 33, 55, 56, 57, 64, 65, 112, 113, 128,
    129, 256, 257,
];

const ENGINES: [EngineKind; 2] = [EngineKind::Jit, EngineKind::Interpreter];

#[test]
fn of_jumps() {
    let jump = |_| SockFilter::new(0x15, 0, 0, 5);
    let programs = SIZES.into_iter().map(|jumps| {
        let (load, ret) = (SockFilter::new(0x20, 0, 0, 0), SockFilter::new(0x06, 0, 0, 0));
        [load].into_iter().chain((0..jumps).map(jump)).chain([ret]).collect()
    });
    for program in programs.chain([longest()]) {
        for kind in ENGINES {
            let program = check(program.clone()).expect("a filter");
            let (loaded, allocations) = recorded(|| Loaded::load(program, kind, &Code));
            assert_eq!(loaded.expect("there is memory").engine(), kind);
            assert!(allocations.iter().any(|allocation| allocation.origin == Origin::Infallible));
            check_probes(&allocations);
        }
    }
}

#[test]
fn of_calls_and_helpers() {
    let prototype = Prototype::new([Arg::None; 5], Return::Number).expect("it is a prototype");
    let row = |id| HelperRow::new("own", Helper { id, prototype }, Capability::Own, |_| 0);
    let rows: Vec<HelperRow> = (1..=32).map(|id| row(5000 + id)).collect();
    let helpers: Vec<Helper> = rows.iter().map(|row| row.helper).collect();
    for calls in SIZES {
        let text: String = (0..calls).map(|call| format!("call {}\n", helpers[call % 32].id)).collect();
        let program = Program::new(assemble(&format!("{text} w0 = 0; exit")).expect("a program"));
        let verified = verify(program, &Environment { maps: &[], helpers: &helpers }).expect("it is safe");
        for kind in ENGINES {
            let load = || Extension::load(&verified, Vec::new(), &rows, kind, &Code);
            let (loaded, allocations) = recorded(load);
            let loaded = loaded.expect("there is memory");
            assert_eq!((loaded.engine(), loaded.helpers().len()), (kind, calls.min(32)));
            check_probes(&allocations);
        }
    }
}
