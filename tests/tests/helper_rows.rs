//! Each helper of the library does what its row says: what it gives is what the prototype claims, what it is told to
//! write it writes whole, and it writes nothing else. Programs are made out of the rows themselves, so a new one is
//! tested as soon as it is there.

use std::fmt::Write;
use std::sync::Arc;

use cbpf_translator::ebpf::Reg;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::verifier::{
    Arg, Environment, MapAccess, MapDescriptor, MapKind, Program, Return, verify,
};
use seccomp_runtime::{EngineKind, Extension, HELPERS, HelperRow, Map, MapOptions, SeccompData, UserSpace};
use seccomp_tests::extension::Host;
use seccomp_tests::generate::{campaign, rng, seed};
use seccomp_tests::verifier::asm::assemble;

/// The index of the map that programs put what they saw into; behind it is the map that the helper is given.
const OUT: usize = 0;
const MAP: usize = 1;

/// Bytes of the stack, for programs.
const STACK: usize = 512;

/// One call of a helper.
struct Case {
    /// The stack before it.
    stack: [u8; STACK],
    /// What r1 to r5 are set to.
    arguments: [Argument; 5],
    /// The map that it is given, if any.
    map: Option<MapDescriptor>,
}

#[derive(Clone, Copy)]
enum Argument {
    /// r6, where the program keeps the context.
    Context,
    Map,
    Number(u64),
    /// So many bytes of the stack; where they begin.
    Buffer {
        start: usize,
        len: usize,
        writes: bool,
    },
}

const MEMORY: u64 = 0x1_0000;

fn host() -> Host {
    let host = Host::default();
    host.pid.set(101);
    host.tgid.set(100);
    host.put(MEMORY, b"a string\0behind it, another that does not end");
    host
}

impl Case {
    fn new(row: &HelperRow, rng: &mut SmallRng) -> Self {
        let prototype = row.helper.prototype;
        let mut stack = [0; STACK];
        rng.fill(&mut stack[..]);
        let mut sizes = [0_usize; 5];
        let mut map = None;
        for (arg, size) in prototype.args().into_iter().zip(&mut sizes) {
            match arg {
                Arg::Size { zero } => *size = rng.random_range(usize::from(!zero)..=96),
                Arg::ConstSize => *size = rng.random_range(1..=96),
                Arg::Map { kinds, .. } => map = Some(descriptor(*kinds.choose(rng).expect("a kind"), rng)),
                _ => {}
            }
        }
        let of_map = || map.expect("the prototype has a map");
        let size = |reg: Reg| sizes[reg.index() - 1];
        let mut below = STACK;
        let arguments = Reg::ARGUMENTS.map(|reg| {
            let mut buffer = |len: usize, writes| {
                // A byte at least between two.
                below -= len.next_multiple_of(8) + 8;
                Argument::Buffer { start: below, len, writes }
            };
            match prototype.args()[reg.index() - 1] {
                Arg::None => Argument::Number(0),
                Arg::Number => Argument::Number(number(rng)),
                Arg::Context => Argument::Context,
                Arg::Map { .. } => Argument::Map,
                Arg::Key { .. } => buffer(of_map().key_size as usize, false),
                Arg::Value { .. } => buffer(of_map().value_size as usize, false),
                Arg::Readable { size: of } => buffer(size(of), false),
                Arg::Writable { size: of } => buffer(size(of), true),
                Arg::ReadableFixed(len) => buffer(len as usize, false),
                Arg::WritableFixed(len) => buffer(len as usize, true),
                Arg::Size { .. } | Arg::ConstSize => Argument::Number(size(reg) as u64),
            }
        });
        for argument in arguments {
            if let Argument::Buffer { start, len, writes: false } = argument {
                fill(&mut stack[start..start + len], rng);
            }
        }
        Self { stack, arguments, map }
    }

    /// The bytes of the stack that the helper is to write.
    fn written(&self) -> Vec<usize> {
        let buffers = self.arguments.iter().filter_map(|argument| match argument {
            Argument::Buffer { start, len, writes: true } => Some(*start..*start + *len),
            _ => None,
        });
        buffers.flatten().collect()
    }

    /// Calls it, and puts the whole stack and what it gave into [`OUT`]: a number, or 1 for an address that could be
    /// read and written from its first byte to its last.
    fn program(&self, row: &HelperRow) -> String {
        let mut text = "r6 = r1;".to_string();
        for (at, word) in self.stack.chunks_exact(8).enumerate() {
            let word = u64::from_ne_bytes(word.try_into().expect("8 bytes"));
            let off = STACK - at * 8;
            write!(text, "r0 = {word:#x} ll; *(u64 *)(r10 -{off}) = r0;").expect("it is text");
        }
        for (reg, argument) in Reg::ARGUMENTS.into_iter().zip(self.arguments) {
            match argument {
                Argument::Context => write!(text, "{reg} = r6;"),
                Argument::Map => write!(text, "{reg} = map[{MAP}];"),
                Argument::Number(number) => write!(text, "{reg} = {number:#x} ll;"),
                Argument::Buffer { start, .. } => {
                    write!(text, "{reg} = r10; {reg} += -{};", STACK - start)
                }
            }
            .expect("it is text");
        }
        write!(text, "call {};", row.helper.id).expect("it is text");
        let touch = |len: usize, writes: bool| {
            let last = len - 1;
            let write =
                if writes { format!("*(u8 *)(r0 +0) = 1; *(u8 *)(r0 +{last}) = 1;") } else { String::new() };
            format!(
                "if r0 == 0 goto null; r1 = *(u8 *)(r0 +0); r1 = *(u8 *)(r0 +{last}); {write} r0 = 1; null:"
            )
        };
        text += &match row.helper.prototype.returns() {
            Return::Void => "r0 = 0;".into(),
            Return::Number | Return::LengthOrErrno { .. } => String::new(),
            Return::MapValueOrNull { .. } => touch(self.map.expect("a map").value_size as usize, true),
            Return::MemoryOrNull { size } => match self.arguments[size.index() - 1] {
                Argument::Number(len) => touch(len as usize, true),
                _ => panic!("a size is a number"),
            },
        };
        write!(text, "r1 = map[{OUT}][0]+0; *(u64 *)(r1 +0) = r0;").expect("it is text");
        for at in (0..STACK).step_by(8) {
            let off = STACK - at;
            write!(text, "r0 = *(u64 *)(r10 -{off}); *(u64 *)(r1 +{}) = r0;", at + 8).expect("it is text");
        }
        text + "r0 = 0x7fff0000; exit"
    }

    /// What it gave, and the stack after it, on each engine alike.
    fn run(&self, row: &HelperRow) -> (u64, Vec<u8>) {
        let text = self.program(row);
        let insns = assemble(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let out = MapDescriptor {
            kind: MapKind::Array,
            key_size: 4,
            value_size: 8 + STACK as u32,
            max_entries: 1,
            access: MapAccess::ReadWrite,
        };
        let descriptors: Vec<_> = [Some(out), self.map].into_iter().flatten().collect();
        let helpers = HELPERS.each_ref().map(|row| row.helper);
        let environment = Environment { maps: &descriptors, helpers: &helpers };
        let verified = verify(Program::new(insns), &environment)
            .unwrap_or_else(|error| panic!("{}: {error}: {text}", row.name));
        let all = EngineKind::ALL.map(|kind| {
            let maps: Vec<_> = descriptors
                .iter()
                .map(|map| {
                    Arc::new(Map::new(*map, MapOptions::default(), &UserSpace).expect("there is memory"))
                })
                .collect();
            let loaded = Extension::load(&verified, maps, &HELPERS, kind, &HostExecMemory);
            let loaded = loaded.expect("it is verified for these");
            let data = SeccompData { nr: 39, ..SeccompData::default() };
            let answer = loaded.try_run(&data, &host());
            assert_eq!(answer, Ok(0x7fff_0000), "{} on {}: {text}", row.name, kind.name());
            let mut value = [0; 8 + STACK];
            loaded.maps()[OUT].lookup(&[0; 4], &mut value).expect("it is there");
            let (gave, stack) = value.split_at(8);
            (u64::from_ne_bytes(gave.try_into().expect("8 bytes")), stack.to_vec())
        });
        assert!(all.iter().all(|one| *one == all[0]), "{}: engines differ: {text}", row.name);
        all.into_iter().next().expect("an engine")
    }
}

fn descriptor(kind: MapKind, rng: &mut SmallRng) -> MapDescriptor {
    let (key_size, value_size, max_entries) = match kind {
        MapKind::Array => (4, rng.random_range(1..=64), rng.random_range(1..=4)),
        MapKind::Hash | MapKind::LruHash => {
            (rng.random_range(1..=24), rng.random_range(1..=64), rng.random_range(1..=4))
        }
        MapKind::TaskStorage => (4, rng.random_range(1..=64), rng.random_range(1..=4)),
        MapKind::Ring => (0, 0, 4096),
    };
    MapDescriptor { kind, key_size, value_size, max_entries, access: MapAccess::ReadWrite }
}

fn number(rng: &mut SmallRng) -> u64 {
    match rng.random_range(0..6) {
        0 => rng.random(),
        1 => rng.random_range(0..4),
        2 => u64::MAX,
        3 => MEMORY + rng.random_range(0..64),
        4 => 1 << rng.random_range(0..64),
        _ => 0,
    }
}

/// Bytes that mean something to some helper: few keys, formats, and anything.
fn fill(bytes: &mut [u8], rng: &mut SmallRng) {
    match rng.random_range(0..3) {
        0 => bytes.fill(rng.random_range(0..3)),
        1 => {
            const PIECES: [&[u8]; 8] = [b"%ld", b"%lu", b"%llx", b"%d", b"%lX", b"%%", b"text", b" "];
            let mut text = Vec::new();
            while text.len() < bytes.len() {
                text.extend_from_slice(PIECES.choose(rng).expect("not empty"));
            }
            bytes.copy_from_slice(&text[..bytes.len()]);
            // A format is ended, and has as many numbers as there are.
            let mut numbers = 0;
            for at in 0..bytes.len() {
                numbers += usize::from(bytes[at] == b'%');
                if numbers > 3 || at + 4 > bytes.len() {
                    bytes[at..].fill(0);
                    break;
                }
            }
        }
        _ => rng.fill(bytes),
    }
}

#[test]
fn every_row_keeps_what_its_prototype_claims() {
    let seed = seed();
    println!("SECCOMP_SEED={seed}");
    let rng = &mut rng(seed);
    let cases = campaign(150, "SECCOMP_HELPER_CASES");
    for row in &HELPERS {
        let mut results = std::collections::BTreeSet::new();
        for _ in 0..cases {
            let mut case = Case::new(row, rng);
            let (gave, stack) = case.run(row);
            results.insert(gave);
            match row.helper.prototype.returns() {
                Return::LengthOrErrno { size } => {
                    let Argument::Number(size) = case.arguments[size.index() - 1] else {
                        panic!("a size is a number")
                    };
                    let claimed = (-4095..=size.cast_signed()).contains(&gave.cast_signed());
                    assert!(claimed, "{} gave {gave} of {size}: {}", row.name, case.program(row));
                }
                Return::Void | Return::Number => {}
                Return::MapValueOrNull { .. } | Return::MemoryOrNull { .. } => assert!(gave <= 1),
            }
            let written = case.written();
            for (at, (before, after)) in case.stack.iter().zip(&stack).enumerate() {
                assert!(
                    before == after || written.contains(&at),
                    "{} wrote byte {at} of the stack: {}",
                    row.name,
                    case.program(row)
                );
            }
            // What was there before does not show in what is written.
            for at in &written {
                case.stack[*at] = !case.stack[*at];
            }
            let (again, other) = case.run(row);
            assert_eq!(gave, again, "{} reads what it is to write", row.name);
            for at in written {
                assert_eq!(
                    stack[at],
                    other[at],
                    "{} left byte {at} as it was: {}",
                    row.name,
                    case.program(row)
                );
            }
        }
        println!("{}: {} results in {cases} cases", row.name, results.len());
    }
}

/// The whole of what a program that is verified may do with a length: it is within the buffer.
#[test]
fn the_length_of_a_printed_line_is_no_length_of_the_format() {
    let text = "r0 = 0x646c252020202020 ll; *(u64 *)(r10 -16) = r0; *(u64 *)(r10 -8) = 0;
        r1 = r10; r1 += -16; r2 = 16; r3 = -1 ll; r4 = 0; r5 = 0; call 6;
        if r0 s< 0 goto out; r1 = r10; r1 += -16; r1 += r0; *(u8 *)(r1 -1) = 1;
        out: r0 = 0; exit";
    let insns = assemble(text).expect("it is a program");
    let helpers = HELPERS.each_ref().map(|row| row.helper);
    let environment = Environment { maps: &[], helpers: &helpers };
    let error =
        verify(Program::new(insns), &environment).expect_err("the line may be longer than its format");
    assert!(error.to_string().contains("r1"), "{error}");
}
