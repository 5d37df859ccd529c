//! Plans: what is planned is what the program does, whatever the input is that it was not planned with.

use rand::{Rng, RngCore};
use seccomp_tests::generate;

use super::parity::{contents, generated, maps, replay};
use super::*;
use crate::map::{MapOptions, UserSpace};
use crate::plan::NUMBERS;
use crate::verifier::{MapAccess, MapDescriptor, MapKind};
use cbpf_translator::ebpf::{Opcode, Size};

const ARCH: u32 = 0xc000_003e;

fn planned(insns: &[Insn], maps: &[Arc<Map>]) -> Extension {
    load(insns, maps.to_vec(), EngineKind::Native).planned([ARCH]).unwrap()
}

/// What is known of calls of 0 to 3.
fn known(text: &str, maps: &[Arc<Map>]) -> [Option<u32>; 4] {
    let extension = planned(&assemble(text), maps);
    core::array::from_fn(|nr| match extension.plan_of(ARCH, nr as i32) {
        Planned::Constant(value) => Some(value),
        _ => None,
    })
}

fn array(access: MapAccess, frozen: bool) -> Arc<Map> {
    let descriptor =
        MapDescriptor { kind: MapKind::Array, key_size: 4, value_size: 16, max_entries: 1, access };
    let map = Map::new(descriptor, MapOptions::default(), &UserSpace).unwrap();
    map.update(&[0; 4], &[9; 16], crate::map::Update::Any).unwrap();
    if frozen {
        map.freeze();
    }
    Arc::new(map)
}

#[test]
fn a_value_is_known_where_number_and_architecture_decide_it() {
    let all = [Some(5); 4];
    let rows: [(&str, &str, [Option<u32>; 4]); 19] = [
        ("always", "r0 = 5; exit", all),
        ("the number", "r0 = *(u32 *)(r1 +0); exit", [Some(0), Some(1), Some(2), Some(3)]),
        ("its high half", "r0 = *(u16 *)(r1 +2); exit", [Some(0); 4]),
        ("the architecture", "r0 = *(u32 *)(r1 +4); exit", [Some(ARCH); 4]),
        ("an argument", "r0 = *(u64 *)(r1 +16); exit", [None; 4]),
        ("an argument that does not matter", "r2 = *(u64 *)(r1 +16); r0 = 5; exit", all),
        (
            "an argument of one call",
            "r0 = 5; r2 = *(u32 *)(r1 +0); if r2 != 2 goto +1; r0 = *(u64 *)(r1 +16); exit",
            [Some(5), Some(5), None, Some(5)],
        ),
        ("a comparison of what is not known", "r0 = 5; r2 = *(u64 *)(r1 +8); if r2 == 0 goto +0; exit", [None; 4]),
        (
            "through the stack",
            "r2 = *(u32 *)(r1 +0); *(u64 *)(r10 -8) = r1; *(u32 *)(r10 -16) = r2; r3 = *(u64 *)(r10 -8)
             r0 = *(u32 *)(r3 +0); r4 = *(u32 *)(r10 -16); r0 += r4; exit",
            [Some(0), Some(2), Some(4), Some(6)],
        ),
        (
            "half of the stack's word is not known",
            "r2 = *(u32 *)(r1 +16); *(u64 *)(r10 -8) = 7; *(u32 *)(r10 -4) = r2; r0 = *(u64 *)(r10 -8); exit",
            [None; 4],
        ),
        ("an address less a number",
            "*(u64 *)(r10 -16) = 5; *(u64 *)(r10 -8) = 6; r2 = r10; r3 = 16; r2 -= r3; r0 = *(u64 *)(r2 +0); exit", all),
        ("a number over an address",
            "*(u64 *)(r10 -8) = r1; *(u64 *)(r10 -8) = 5; r0 = *(u64 *)(r10 -8); exit", all),
        ("the low half of a number", "r3 = 1; r3 <<= 32; w0 = w3; r0 >>= 32; r0 += 5; exit", all),
        ("a function", "r1 = *(u32 *)(r1 +0); call f; r0 += 1; exit; f: r0 = r1; exit",
            [Some(1), Some(2), Some(3), Some(4)]),
        ("a function's stack",
            "*(u64 *)(r10 -8) = 5; call f; r0 = *(u64 *)(r10 -8); exit; f: *(u64 *)(r10 -8) = 6; r0 = 0; exit", all),
        ("a loop", "r0 = 0; r2 = 5; l: r0 += 1; r2 -= 1; if r2 != 0 goto l; exit", all),
        ("a helper", "call 7; r0 = 5; exit", [None; 4]),
        ("a helper for one call",
            "r2 = *(u32 *)(r1 +0); if r2 == 3 goto l; r0 = 5; exit; l: call 7; r0 = 5; exit",
            [Some(5), Some(5), Some(5), None]),
        ("more steps than are followed",
            "r2 = *(u32 *)(r1 +0); r0 = 5; if r2 > 1 goto o; r2 = 2000; l: r2 -= 1; if r2 != 0 goto l; r2 = 2000
             m: r2 -= 1; if r2 != 0 goto m; r2 = 2000; n: r2 -= 1; if r2 != 0 goto n; o: exit",
            [None, None, Some(5), Some(5)]),
    ];
    for (name, text, expected) in rows {
        assert_eq!(known(text, &[]), expected, "{name}");
    }
}

#[test]
fn a_map_is_known_if_it_never_changes_again() {
    let read = "r1 = map[0][0]+8; r0 = *(u32 *)(r1 +0); exit";
    let nines = Some(0x0909_0909);
    assert_eq!(known(read, &[array(MapAccess::ReadOnly, true)]), [nines; 4]);
    assert_eq!(known(read, &[array(MapAccess::ReadOnly, false)]), [None; 4]);
    assert_eq!(known(read, &[array(MapAccess::ReadWrite, true)]), [None; 4]);
    // To write one is to do something.
    let write = "r1 = map[0][0]+8; *(u32 *)(r1 +0) = 1; r0 = 5; exit";
    assert_eq!(known(write, &[array(MapAccess::ReadWrite, true)]), [None; 4]);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes, and a plan has no pointers")]
fn work_for_all_numbers_together_is_bounded() {
    // Each takes nearly as much as one may.
    let text = "r0 = 5; r2 = 2000; l: r2 -= 1; if r2 != 0 goto l; exit";
    let extension = planned(&assemble(text), &[]);
    let known = (0..NUMBERS as i32).filter(|nr| extension.plan_of(ARCH, *nr) == Planned::Constant(5)).count();
    assert_eq!(known, (1 << 18) / 4003);
    assert_eq!(extension.plan_of(0x4000_0003, 0), Planned::Whole);
    assert_eq!(extension.plan_of(ARCH, -1), Planned::Whole);
}

/// Generated programs that know number and architecture only, and some that know more.
#[test]
#[cfg_attr(miri, ignore = "takes minutes, and a plan has no pointers")]
fn planned_values_are_those_of_every_run() {
    let mut rng = generate::seeded();
    let programs = generate::campaign(600, "SECCOMP_EXTENSION_PLANS");
    let (mut constants, mut numbers) = (0_usize, 0_usize);
    for _ in 0..programs {
        let helpers = rng.random_bool(0.3);
        let mut insns = generated(&mut rng, 40, helpers);
        let argument = Opcode::Load(Size::Double).code();
        let known = rng.random_bool(0.8);
        for insn in insns.iter_mut().filter(|insn| insn.code == argument && insn.src() == 9 && known) {
            *insn = Insn::new(
                Opcode::Load(Size::Word).code(),
                insn.dst(),
                9,
                if insn.off == 16 { 0 } else { 4 },
                0,
            );
        }
        let shared = maps();
        let extension = planned(&insns, &shared);
        let whole = load(&insns, shared.clone(), EngineKind::Native);
        for _ in 0..6 {
            let nr = rng.random_range(0..NUMBERS as i32);
            numbers += 1;
            let Planned::Constant(value) = extension.plan_of(ARCH, nr) else { continue };
            constants += 1;
            let before = contents(&shared);
            for _ in 0..3 {
                let mut data = with_args(&core::array::from_fn::<_, 6, _>(|_| rng.next_u64()));
                (data.nr, data.arch, data.instruction_pointer) = (nr, ARCH, rng.next_u64());
                assert_eq!(whole.run(&data, &Thread::new()), value, "{}", replay(&insns, &data));
                assert_eq!(extension.run(&data, &Thread::new()), value);
            }
            assert_eq!(contents(&shared), before, "{}", EbpfListing(&insns));
        }
    }
    std::println!("{programs} programs, {constants} of {numbers} numbers are constant");
    assert!(constants * 3 > numbers);
}
