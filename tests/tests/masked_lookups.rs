//! Look-ups in arrays by an index that a program chooses, out of bounds not even on a path that the processor speculates.

use std::sync::Arc;

use seccomp_runtime::verifier::{Environment, MapAccess, MapDescriptor, MapKind, Program, verify};
use seccomp_runtime::{EngineKind, Extension, HELPERS, Map, MapOptions, NoExecMemory, UserSpace};
use seccomp_tests::verifier::asm::assemble;

/// What the JIT is given for a look-up in an array: the index is masked behind the comparison, by the length less one where
/// that has all lower bits, else by the sign of what the index is less than the length.
#[test]
fn the_jit_looks_into_arrays_by_a_masked_index() {
    let text = "*(u32 *)(r10 -4) = 0; r1 = map[0]; r2 = r10; r2 += -4; call 1; r0 = 0; exit";
    let insns = assemble(text).expect("it is a program");
    let helpers = HELPERS.each_ref().map(|row| row.helper);
    for (max_entries, masks) in
        [(1, &["r0 &= 0\n"][..]), (4, &["r0 &= 3\n"]), (5, &["r1 -= 5\n", "r1 s>>= 63\n", "r0 &= r1\n"])]
    {
        let access = MapAccess::ReadWrite;
        let map = MapDescriptor { kind: MapKind::Array, key_size: 4, value_size: 8, max_entries, access };
        let environment = Environment { maps: &[map], helpers: &helpers };
        let verified = verify(Program::new(insns.clone()), &environment).expect("it is safe");
        let maps = vec![Arc::new(Map::new(map, MapOptions::default(), &UserSpace).expect("there is memory"))];
        let loaded = Extension::load(&verified, maps, &HELPERS, EngineKind::Native, &NoExecMemory);
        let lowered = loaded.expect("it loads").lowered(EngineKind::Jit).expect("it can be lowered");
        let listing = lowered.expect("it is for rbpf").to_string();
        let compared =
            listing.find("if r0 >= ").unwrap_or_else(|| panic!("the index is not compared in {listing}"));
        for mask in masks {
            assert!(listing[compared..].contains(mask), "{mask:?} is not in {listing}");
        }
    }
}
