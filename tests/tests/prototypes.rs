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
    Capability, EngineKind, Extension, HelperFn, HelperRow, Map, MapOptions, RunError, SeccompData, UserSpace,
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
