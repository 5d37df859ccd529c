//! Prototypes of helpers: what can be read in two ways is none, and the verifier and the check of what a helper gives read
//! the same of one.

use std::sync::Arc;

use cbpf_translator::ebpf::Reg;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::verifier::{
    Arg, Environment, Helper, MapAccess, MapDescriptor, MapKind, Program, Prototype, PrototypeError, Return,
    VerifyError, verify,
};
use seccomp_runtime::{
    Call, Capability, EngineKind, Extension, HELPERS, HelperFn, HelperRow, Map, MapOptions, RunError,
    SeccompData, UserSpace,
};
use seccomp_tests::extension::Host;
use seccomp_tests::verifier::asm::assemble;

const NONE: Arg = Arg::None;
const SIZE: Arg = Arg::Size { zero: false };
const ARRAY: Arg = Arg::Map { kinds: &[MapKind::Array], writes: false };
const ANY_MAP: Arg = Arg::Map { kinds: &MapKind::ALL, writes: false };
const TASK: Arg = Arg::Map { kinds: &[MapKind::Hash, MapKind::TaskStorage], writes: false };

#[test]
fn what_names_no_argument_of_its_kind_is_no_prototype() {
    use PrototypeError::*;
    let number = Return::Number;
    let value = |map| Return::MapValueOrNull { map };
    let rows: [([Arg; 5], Return, Result<(), PrototypeError>); 19] = [
        ([NONE; 5], number, Ok(())),
        ([Arg::Writable { size: Reg::R2 }, SIZE, NONE, NONE, NONE], number, Ok(())),
        // In any order, and two of one size.
        (
            [SIZE, Arg::Writable { size: Reg::R1 }, Arg::Readable { size: Reg::R1 }, NONE, NONE],
            number,
            Ok(()),
        ),
        ([Arg::Key { map: Reg::R2 }, ARRAY, NONE, NONE, NONE], number, Ok(())),
        ([ARRAY, ARRAY, Arg::Value { map: Reg::R1 }, NONE, NONE], value(Reg::R2), Ok(())),
        ([TASK, NONE, NONE, NONE, NONE], value(Reg::R1), Ok(())),
        ([Arg::Writable { size: Reg::R2 }, Arg::Number, NONE, NONE, NONE], number, Err(NotSize(Reg::R2))),
        ([Arg::Readable { size: Reg::R1 }, NONE, NONE, NONE, NONE], number, Err(NotSize(Reg::R1))),
        ([Arg::Readable { size: Reg::R0 }, SIZE, NONE, NONE, NONE], number, Err(NotSize(Reg::R0))),
        ([Arg::Readable { size: Reg::FRAME }, SIZE, NONE, NONE, NONE], number, Err(NotSize(Reg::FRAME))),
        ([SIZE, NONE, NONE, NONE, NONE], number, Err(Unused(Reg::R1))),
        ([Arg::Writable { size: Reg::R2 }, SIZE, NONE, SIZE, NONE], number, Err(Unused(Reg::R4))),
        ([NONE; 5], Return::LengthOrErrno { size: Reg::R1 }, Err(NotSize(Reg::R1))),
        // Of memory that stays, the verifier has to know how much it is.
        ([SIZE, NONE, NONE, NONE, NONE], Return::MemoryOrNull { size: Reg::R1 }, Err(NotSize(Reg::R1))),
        ([Arg::Key { map: Reg::R2 }, SIZE, NONE, NONE, NONE], number, Err(NotMap(Reg::R2))),
        ([NONE; 5], value(Reg::R1), Err(NotMap(Reg::R1))),
        ([ANY_MAP, NONE, NONE, NONE, NONE], value(Reg::R1), Err(MapKind(Reg::R1))),
        ([ANY_MAP, Arg::Value { map: Reg::R1 }, NONE, NONE, NONE], number, Err(MapKind(Reg::R1))),
        // What stands for a task in C is no key.
        ([TASK, Arg::Key { map: Reg::R1 }, NONE, NONE, NONE], number, Err(MapKind(Reg::R1))),
    ];
    for (args, returns, expected) in rows {
        let prototype = Prototype::new(args, returns);
        assert_eq!(
            prototype.map(|prototype| (prototype.args(), prototype.returns())),
            expected.map(|()| (args, returns))
        );
    }
}

fn own(id: i32, args: [Arg; 5], returns: Return, function: HelperFn) -> HelperRow {
    let prototype = Prototype::new(args, returns).expect("it is a prototype");
    HelperRow::new("own", Helper { id, prototype }, Capability::Own, function)
}

fn array(value_size: u32, max_entries: u32) -> MapDescriptor {
    MapDescriptor { kind: MapKind::Array, key_size: 4, value_size, max_entries, access: MapAccess::ReadWrite }
}

/// What the verifier says, and what each engine then gives.
fn run(
    text: &str,
    maps: &[MapDescriptor],
    rows: &[HelperRow],
) -> Result<[Result<u32, RunError>; 3], VerifyError> {
    let insns = assemble(text).expect("it is a program");
    let helpers: Vec<_> = rows.iter().map(|row| row.helper).collect();
    let verified = verify(Program::new(insns), &Environment { maps, helpers: &helpers })?;
    Ok(EngineKind::ALL.map(|kind| {
        let maps = maps
            .iter()
            .map(|map| Arc::new(Map::new(*map, MapOptions::default(), &UserSpace).expect("memory")));
        let loaded =
            Extension::load(&verified, maps.collect(), rows, kind, &HostExecMemory).expect("it loads");
        assert_eq!(loaded.engine(), kind);
        loaded.try_run(&SeccompData::default(), &Host::default())
    }))
}

/// A helper like snprintf, which has two sizes: what it writes is measured by the one that its buffer names.
#[test]
fn of_two_sizes_the_one_counts_that_is_named() {
    let args = [Arg::Writable { size: Reg::R2 }, SIZE, Arg::Readable { size: Reg::R4 }, SIZE, NONE];
    let print = own(1000, args, Return::LengthOrErrno { size: Reg::R2 }, |call| {
        let (to, size) = (call.number(0), call.number(1));
        call.clear(to, size).map_or(-14_i64 as u64, |()| size)
    });
    // A value of 8 bytes, another behind it; a format of 256.
    let call = |size: u32, format: u32| {
        let fill: String = (1..=32).map(|word| format!("*(u64 *)(r10 -{}) = -1;", 8 * word)).collect();
        format!("{fill} r1 = map[0][0]+0; r2 = {size}; r3 = r10; r3 += -256; r4 = {format}; call 1000; exit")
    };
    assert_eq!(run(&call(8, 256), &[array(8, 1)], &[print]), Ok([Ok(8); 3]));
    let error = run(&call(256, 8), &[array(8, 1)], &[print]).expect_err("256 bytes are not there");
    assert_eq!(
        error.to_string(),
        "instruction 38: r1 (map value) may reach bytes 0 to 255, 0 to 7 are there"
    );
    // And what it gives is measured by the one that the result names.
    for (name, expected) in [(Reg::R2, Err(RunError::Fault)), (Reg::R4, Ok(9))] {
        let gives = own(1000, args, Return::LengthOrErrno { size: name }, |_| 9);
        assert_eq!(run(&call(8, 256), &[array(8, 1)], &[gives]), Ok([expected; 3]), "{name}");
    }
}

/// A program keeps an address behind the 8 bytes that it gives a helper, and in them.
const BESIDE: &str = "r6 = map[0][0]+0; *(u64 *)(r10 -8) = r6; *(u64 *)(r10 -16) = r6; *(u64 *)(r10 -24) = 5";

/// A helper that writes more than its prototype marks as written does not get to it: there the verifier goes by what it
/// knows.
#[test]
fn a_helper_writes_nothing_but_what_is_marked() {
    let args = [Arg::Writable { size: Reg::R2 }, SIZE, Arg::ReadableFixed(8), NONE, NONE];
    let helpers: [HelperFn; 5] = [
        |call| call.clear(call.number(0), 16).map_or(1, |()| 0),
        |call| call.clear(call.number(0).wrapping_sub(8), 16).map_or(1, |()| 0),
        |call| call.write(call.number(0).wrapping_add(8), &[1]).map_or(1, |()| 0),
        // What it only reads.
        |call| call.write(call.number(2), &[1; 8]).map_or(1, |()| 0),
        // And it reads nothing but that.
        |call| call.read(call.number(0).wrapping_add(8), &mut [0; 8]).map_or(1, |()| 0),
    ];
    for (index, helper) in helpers.into_iter().enumerate() {
        let row = own(1000, args, Return::Number, helper);
        let text = format!(
            "{BESIDE}; r1 = r10; r1 += -16; r2 = 8; r3 = r10; r3 += -24; call 1000
            r1 = *(u64 *)(r10 -24); if r1 != 5 goto out; r1 = *(u64 *)(r10 -8); *(u64 *)(r1 +0) = 1
            out: exit"
        );
        assert_eq!(run(&text, &[array(8, 1)], &[row]), Ok([Err(RunError::Fault); 3]), "{index}");
    }
}

/// What is a number to the verifier is no map to the helper.
#[test]
fn a_helper_has_the_maps_that_its_prototype_names() {
    let value = |call: &mut Call<'_, '_>| call.map(0).map_or(0, |map| map.value_len() as u64);
    for (arg, r1, expected) in [
        (ARRAY, "map[0]", Ok(8)),
        (Arg::Number, "1", Err(RunError::Fault)),
        (NONE, "1", Err(RunError::Fault)),
    ] {
        let row = own(1000, [arg, NONE, NONE, NONE, NONE], Return::Number, value);
        let text = format!("r1 = {r1}; call 1000; exit");
        assert_eq!(run(&text, &[array(8, 1)], &[row]), Ok([expected; 3]), "{arg:?}");
    }
}

/// What a helper leaves of what it is to write is no window to what was there before.
#[test]
fn what_a_helper_does_not_write_is_0() {
    let helpers: [(HelperFn, u64); 4] = [
        (|_| 0, 0),
        (|call| call.write(call.number(0), &[1; 3]).map_or(1, |()| 0), 0x01_0101),
        (|call| call.write(call.number(0).wrapping_add(5), &[1; 3]).map_or(1, |()| 0), 0x01_0101 << 40),
        (|call| call.write(call.number(0), &[1; 8]).map_or(1, |()| 0), 0x0101_0101_0101_0101),
    ];
    for (helper, expected) in helpers {
        for args in [
            [Arg::Writable { size: Reg::R2 }, SIZE, NONE, NONE, NONE],
            [Arg::WritableFixed(8), NONE, NONE, NONE, NONE],
        ] {
            let row = own(1000, args, Return::Number, helper);
            let text = format!(
                "{BESIDE}; r1 = r10; r1 += -16; r2 = 8; call 1000; r0 = 0
                r2 = {expected:#x} ll; r1 = *(u64 *)(r10 -16); if r1 == r2 goto out; r0 = 1; out: exit"
            );
            assert_eq!(run(&text, &[array(8, 1)], &[row]), Ok([Ok(0); 3]), "{expected:#x}");
        }
    }
    // What is read and written at once is read as it was.
    let args = [Arg::ReadableFixed(8), Arg::WritableFixed(8), NONE, NONE, NONE];
    let add = own(1000, args, Return::Number, |call| {
        let mut bytes = [0; 8];
        let read = call.read(call.number(0), &mut bytes);
        let sum = u64::from_ne_bytes(bytes).wrapping_add(1).to_ne_bytes();
        read.and_then(|()| call.write(call.number(1), &sum)).map_or(1, |()| 0)
    });
    let text = "*(u64 *)(r10 -8) = 41; r1 = r10; r1 += -8; r2 = r1; call 1000; r0 = *(u64 *)(r10 -8); exit";
    assert_eq!(run(text, &[], &[add]), Ok([Ok(42); 3]));
}

/// A row of the library with another function in it is the embedder's.
#[test]
fn a_row_that_was_changed_does_what_it_says() {
    let text = "*(u32 *)(r10 -4) = 0; r1 = map[0]; r2 = r10; r2 += -4; call 1; r1 = r0; r0 = 1
        if r1 != 0 goto out; r0 = 2; out: exit";
    let mut row = HELPERS[0];
    assert_eq!(run(text, &[array(8, 1)], &[row]), Ok([Ok(1); 3]));
    row.function = |_| 0;
    assert_eq!(run(text, &[array(8, 1)], &[row]), Ok([Ok(2); 3]));
}
