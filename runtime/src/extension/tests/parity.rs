//! Generated programs: the engines against each other, and against the host's kernel.
//!
//! A program keeps the context in r9 and a loop's count in r8. Everything else that it does is drawn: arithmetic and
//! comparisons on r0 to r7, which always hold numbers, loads and stores on 16 slots of its stack, jumps ahead, short
//! loops, calls of a function, of helpers, and what it finds in maps. So the verifier takes every one of them.

use std::format;
use std::string::String;

use cbpf_translator::ebpf::{Cond, Opcode, Size, Source, Width};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use seccomp_tests::generate;

use super::*;
use crate::map::{MapOptions, Update, UserSpace};
use crate::verifier::{MapAccess, MapDescriptor, MapKind};

/// Numbers of the registers that hold numbers.
const NUMBERS: u8 = 8;
const COUNT: u8 = 8;
const CONTEXT: u8 = 9;
const FRAME: u8 = 10;

/// Slots of 8 bytes that the main program and the function have on the stack, behind the last the key of maps.
const SLOTS: i16 = 16;
const KEY: i16 = -8 * (SLOTS + 1);
const VALUE: i16 = -8 * (SLOTS + 2);

const ARRAY: i32 = 0;
const HASH: i32 = 1;
const LRU: i32 = 2;
const TASK: i32 = 3;
const RING: i32 = 4;
const ONLY: i32 = 5;

pub(super) fn maps() -> Vec<Arc<Map>> {
    let map = |kind, key_size, value_size, max_entries| {
        let access = MapAccess::ReadWrite;
        let descriptor = MapDescriptor { kind, key_size, value_size, max_entries, access };
        Arc::new(Map::new(descriptor, MapOptions { seed: [1, 2], ..Default::default() }, &UserSpace).unwrap())
    };
    vec![
        map(MapKind::Array, 4, 16, 4),
        map(MapKind::Hash, 4, 16, 3),
        map(MapKind::LruHash, 4, 16, 3),
        map(MapKind::TaskStorage, 4, 16, 2),
        map(MapKind::Ring, 0, 0, 4096),
        map(MapKind::Array, 4, 16, 1),
    ]
}

/// Everything that is in the maps.
pub(super) fn contents(maps: &[Arc<Map>]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for map in maps {
        let mut add = |key: &[u8], value: &[u8]| all.push([key, value].concat());
        if map.descriptor().kind == MapKind::Ring {
            let mut event = [0; 64];
            while let Some(len) = map.next_event(&mut event).unwrap() {
                add(&[], &event[..len]);
            }
            add(&[], &map.lost_events().to_ne_bytes());
        } else {
            map.for_each(add).unwrap();
        }
    }
    all
}

struct Writer<'r> {
    rng: &'r mut SmallRng,
    insns: Vec<Insn>,
    /// Whether it may do what depends on a thread or has maps.
    helpers: bool,
    function: Vec<usize>,
}

const OPS: [AluOp; 12] = {
    use AluOp::*;
    [Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh]
};
const CONDS: [Cond; 11] = {
    use Cond::*;
    [Eq, Gt, Ge, Set, Ne, Sgt, Sge, Lt, Le, Slt, Sle]
};
const SIZES: [(Size, i16); 4] = [(Size::Byte, 1), (Size::Half, 2), (Size::Word, 4), (Size::Double, 8)];
const IMMEDIATES: [i32; 12] = [0, 1, 2, 7, 31, 32, 0xff, 0xffff, i32::MAX, -1, -5, i32::MIN];

impl Writer<'_> {
    fn put(&mut self, opcode: Opcode, dst: u8, src: u8, off: i16, imm: i32) -> usize {
        self.insns.push(Insn::new(opcode.code(), dst, src, off, imm));
        self.insns.len() - 1
    }

    fn number(&mut self) -> u8 {
        self.rng.random_range(0..NUMBERS)
    }

    fn immediate(&mut self) -> i32 {
        if self.rng.random() { *IMMEDIATES.choose(self.rng).unwrap() } else { self.rng.next_u32() as i32 }
    }

    fn width(&mut self) -> Width {
        if self.rng.random() { Width::W32 } else { Width::W64 }
    }

    fn mov_imm(&mut self, dst: u8, imm: i32) {
        self.put(Opcode::Alu(Width::W64, AluOp::Mov, Source::Imm), dst, 0, 0, imm);
    }

    fn mov(&mut self, dst: u8, src: u8) {
        self.put(Opcode::Alu(Width::W64, AluOp::Mov, Source::Reg), dst, src, 0, 0);
    }

    fn load_imm64(&mut self, dst: u8, src: u8, low: i32, high: i32) {
        self.put(Opcode::LoadImm64, dst, src, 0, low);
        self.insns.push(Insn::new(0, 0, 0, 0, high));
    }

    /// Numbers in these registers.
    fn renew(&mut self, registers: impl Iterator<Item = u8>) {
        for register in registers {
            let imm = self.immediate();
            self.mov_imm(register, imm);
        }
    }

    /// A slot of the stack of this size, aligned, as far below r10.
    fn slot(&mut self, size: i16) -> i16 {
        -self.rng.random_range(1..=SLOTS * 8 / size) * size
    }

    fn alu(&mut self) {
        let (width, op, dst) = (self.width(), *OPS.choose(self.rng).unwrap(), self.number());
        match self.rng.random_range(0..20) {
            0 => drop(self.put(Opcode::Neg(width), dst, 0, 0, 0)),
            1 => {
                let opcode = if self.rng.random() { Opcode::ToLe } else { Opcode::ToBe };
                let bits = *[16, 32, 64].choose(self.rng).unwrap();
                self.put(opcode, dst, 0, 0, bits);
            }
            2 => {
                let (low, high) = (self.immediate(), self.immediate());
                self.load_imm64(dst, 0, low, high);
            }
            3..12 => {
                let src = self.number();
                self.put(Opcode::Alu(width, op, Source::Reg), dst, src, 0, 0);
            }
            _ => {
                let imm = match op {
                    AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if width == Width::W32 => {
                        self.rng.random_range(0..32)
                    }
                    AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => self.rng.random_range(0..64),
                    AluOp::Div | AluOp::Mod => self.immediate() | 1,
                    _ => self.immediate(),
                };
                self.put(Opcode::Alu(width, op, Source::Imm), dst, 0, 0, imm);
            }
        }
    }

    fn memory(&mut self) {
        let (size, bytes) = *SIZES.choose(self.rng).unwrap();
        let (register, imm) = (self.number(), self.immediate());
        let slot = self.slot(bytes);
        match self.rng.random_range(0..3) {
            0 => self.put(Opcode::Load(size), register, FRAME, slot, 0),
            1 => self.put(Opcode::Store(size), FRAME, register, slot, 0),
            _ => self.put(Opcode::StoreImm(size), FRAME, 0, slot, imm),
        };
    }

    /// A comparison; where it leads is told later.
    fn compare(&mut self) -> usize {
        let (width, cond, dst) = (self.width(), *CONDS.choose(self.rng).unwrap(), self.number());
        let (src, imm) = (self.number(), self.immediate());
        let source = if self.rng.random_bool(0.4) { Source::Reg } else { Source::Imm };
        let (src, imm) = if source == Source::Reg { (src, 0) } else { (0, imm) };
        self.put(Opcode::Jump(width, cond, source), dst, src, 0, imm)
    }

    fn lead_here(&mut self, from: usize) {
        self.insns[from].off = (self.insns.len() - from - 1) as i16;
    }

    /// A value of a map at the address in r0, or null.
    fn use_value(&mut self) {
        let null = self.put(Opcode::Jump(Width::W64, Cond::Eq, Source::Imm), 0, 0, 0, 0);
        self.touch(0, 16);
        self.lead_here(null);
    }

    /// Loads and stores in the memory that a register points to.
    fn touch(&mut self, base: u8, len: i16) {
        for _ in 0..self.rng.random_range(1..4) {
            let (size, bytes) = *SIZES.choose(self.rng).unwrap();
            let off = self.rng.random_range(0..len / bytes) * bytes;
            let imm = self.immediate();
            let register = self.rng.random_range(1..NUMBERS);
            // r1 to r5 are lost.
            match self.rng.random_range(0..3) {
                0 => self.put(Opcode::Load(size), 1 + register % 5, base, off, 0),
                1 => self.put(Opcode::Store(size), base, 6 + register % 2, off, 0),
                _ => self.put(Opcode::StoreImm(size), base, 0, off, imm),
            };
        }
    }

    fn frame_address(&mut self, dst: u8, off: i16) {
        self.mov(dst, FRAME);
        self.put(Opcode::Alu(Width::W64, AluOp::Add, Source::Imm), dst, 0, 0, off.into());
    }

    fn call_helper(&mut self) {
        match self.rng.random_range(0..9) {
            0 => {
                let id = *[5, 7, 14, 15].choose(self.rng).unwrap();
                self.put(Opcode::Call, 0, 0, 0, id);
                self.mov(6, 0);
            }
            1 => {
                let slot = self.slot(8);
                self.frame_address(1, slot);
                self.mov_imm(2, 8);
                self.put(Opcode::Call, 0, 0, 0, 16);
            }
            2 => {
                let (slot, flags) = (self.slot(8), self.rng.random_range(0..5));
                self.load_imm64(1, 1, RING, 0);
                self.frame_address(2, slot);
                self.mov_imm(3, 8);
                self.mov_imm(4, flags);
                self.put(Opcode::Call, 0, 0, 0, 130);
                self.mov(6, 0);
            }
            3 => {
                let flags = self.rng.random_range(0..2);
                self.load_imm64(1, 1, TASK, 0);
                self.mov_imm(2, 0);
                self.mov_imm(3, 0);
                self.mov_imm(4, flags);
                self.put(Opcode::Call, 0, 0, 0, 156);
                self.use_value();
            }
            4 => {
                self.load_imm64(1, 1, RING, 0);
                self.mov_imm(2, 24);
                self.mov_imm(3, 0);
                self.put(Opcode::Call, 0, 0, 0, 131);
                let null = self.put(Opcode::Jump(Width::W64, Cond::Eq, Source::Imm), 0, 0, 0, 0);
                self.touch(0, 24);
                self.mov(1, 0);
                self.mov_imm(2, 0);
                let finish = *[132, 133].choose(self.rng).unwrap();
                self.put(Opcode::Call, 0, 0, 0, finish);
                self.lead_here(null);
            }
            5 => {
                let offset = self.rng.random_range(0..2) * 8;
                self.load_imm64(0, 2, ONLY, offset);
                self.touch(0, (16 - offset) as i16);
            }
            _ => {
                let map = *[ARRAY, HASH, LRU].choose(self.rng).unwrap();
                let key = self.rng.random_range(0..6);
                self.put(Opcode::StoreImm(Size::Word), FRAME, 0, KEY, key);
                self.load_imm64(1, 1, map, 0);
                self.frame_address(2, KEY);
                match self.rng.random_range(0..4) {
                    0 => {
                        let flags = self.rng.random_range(0..4);
                        self.frame_address(3, VALUE - 8);
                        self.mov_imm(4, flags);
                        self.put(Opcode::Store(Size::Double), FRAME, 6, VALUE, 0);
                        self.put(Opcode::Call, 0, 0, 0, 2);
                        self.mov(6, 0);
                    }
                    1 => {
                        self.put(Opcode::Call, 0, 0, 0, 3);
                        self.mov(6, 0);
                    }
                    _ => {
                        self.put(Opcode::Call, 0, 0, 0, 1);
                        self.use_value();
                    }
                }
            }
        }
        self.renew(0..6);
    }

    fn call_function(&mut self) {
        let call = self.put(Opcode::Call, 0, 1, 0, 0);
        self.function.push(call);
        self.renew(1..6);
    }

    /// Code for so many steps; `nested` where it is in a loop or behind a jump.
    fn steps(&mut self, steps: usize, in_function: bool, nested: bool) {
        let mut open: Vec<(usize, usize)> = Vec::new();
        for step in 0..steps {
            open.retain(|(from, until)| {
                if *until == step {
                    self.insns[*from].off = (self.insns.len() - from - 1) as i16;
                }
                *until != step
            });
            match self.rng.random_range(0..100) {
                0..50 => self.alu(),
                50..68 => self.memory(),
                68..82 if open.len() < 3 => {
                    // Linux takes no code that no jump leads to.
                    let always = self.helpers && self.rng.random_bool(0.05);
                    let from = if always { self.put(Opcode::Ja, 0, 0, 0, 0) } else { self.compare() };
                    open.push((from, step + 1 + self.rng.random_range(1..6)));
                }
                82..92 if self.helpers && !in_function => self.call_helper(),
                92..94 if !in_function => self.call_function(),
                94..97 if !nested && !in_function => {
                    let count = self.rng.random_range(1..4);
                    self.mov_imm(COUNT, count);
                    let start = self.insns.len();
                    let body = self.rng.random_range(1..5);
                    self.steps(body, in_function, true);
                    self.put(Opcode::Alu(Width::W64, AluOp::Sub, Source::Imm), COUNT, 0, 0, 1);
                    let back = self.put(Opcode::Jump(Width::W64, Cond::Ne, Source::Imm), COUNT, 0, 0, 0);
                    self.insns[back].off = (start as i64 - back as i64 - 1) as i16;
                }
                97.. if !in_function => {
                    let (size, off) =
                        *[(Size::Word, 0), (Size::Word, 4), (Size::Double, 8), (Size::Double, 40)]
                            .choose(self.rng)
                            .unwrap();
                    let dst = self.number();
                    self.put(Opcode::Load(size), dst, CONTEXT, off, 0);
                }
                _ => self.alu(),
            }
        }
        for (from, _) in open {
            self.lead_here(from);
        }
    }

    fn stack(&mut self) {
        for slot in 1..=SLOTS + 3 {
            let imm = self.immediate();
            self.put(Opcode::StoreImm(Size::Double), FRAME, 0, -8 * slot, imm);
        }
    }
}

pub(super) fn generated(rng: &mut SmallRng, max_steps: usize, helpers: bool) -> Vec<Insn> {
    let mut writer = Writer { rng, insns: Vec::new(), helpers, function: Vec::new() };
    writer.mov(CONTEXT, 1);
    for register in 0..6 {
        writer.put(Opcode::Load(Size::Double), register, CONTEXT, 16 + 8 * i16::from(register), 0);
    }
    writer.renew([6, 7, COUNT].into_iter());
    writer.stack();
    let steps = writer.rng.random_range(1..=max_steps);
    writer.steps(steps, false, false);
    // All that it has computed.
    for register in 1..NUMBERS {
        writer.put(Opcode::Alu(Width::W64, AluOp::Mul, Source::Imm), 0, 0, 0, 0x0101_0101);
        writer.put(Opcode::Alu(Width::W64, AluOp::Xor, Source::Reg), 0, register, 0, 0);
    }
    for slot in 1..=SLOTS {
        writer.put(Opcode::Load(Size::Double), 1, FRAME, -8 * slot, 0);
        writer.put(Opcode::Alu(Width::W64, AluOp::Add, Source::Reg), 0, 1, 0, 0);
    }
    writer.mov(1, 0);
    writer.put(Opcode::Alu(Width::W64, AluOp::Rsh, Source::Imm), 1, 0, 0, 32);
    writer.put(Opcode::Alu(Width::W64, AluOp::Xor, Source::Reg), 0, 1, 0, 0);
    writer.put(Opcode::Exit, 0, 0, 0, 0);
    if !writer.function.is_empty() {
        let entry = writer.insns.len();
        for call in std::mem::take(&mut writer.function) {
            writer.insns[call].imm = (entry - call - 1) as i32;
        }
        writer.mov(0, 1);
        writer.renew(6..8);
        writer.stack();
        writer.steps(12, true, false);
        writer.put(Opcode::Alu(Width::W64, AluOp::Add, Source::Reg), 0, 6, 0, 0);
        writer.put(Opcode::Exit, 0, 0, 0, 0);
    }
    writer.insns
}

pub(super) fn replay(insns: &[Insn], data: &SeccompData) -> String {
    format!("{data:x?}\n{}", EbpfListing(insns))
}

#[test]
fn engines_agree() {
    let mut rng = generate::seeded();
    let programs = generate::campaign(5_000, "SECCOMP_EXTENSION_PROGRAMS");
    let (mut instructions, mut longest) = (0, 0);
    let mut fell_back = 0;
    for _ in 0..programs {
        let max_steps = *[20, 60, 200].choose(&mut rng).unwrap();
        let insns = generated(&mut rng, max_steps, true);
        instructions += insns.len();
        longest = longest.max(insns.len());
        let engines: Vec<_> = EngineKind::ALL
            .into_iter()
            .filter(|kind| has(*kind))
            .map(|kind| {
                let maps = maps();
                let loaded = Extension::load(&verified(&insns, &maps), maps, &HELPERS, kind, &Pages).unwrap();
                fell_back += usize::from(loaded.fell_back().is_some());
                loaded
            })
            .collect();
        for _ in 0..6 {
            let args: [u64; 6] = std::array::from_fn(|_| match rng.random_range(0..3) {
                0 => *IMMEDIATES.choose(&mut rng).unwrap() as u64,
                1 => rng.random_range(0..64),
                _ => rng.next_u64(),
            });
            let data = with_args(&args);
            let value = answer(&engines, &data);
            let all: Vec<_> = engines.iter().map(|engine| contents(engine.maps())).collect();
            assert!(
                all.iter().all(|contents| *contents == all[0]),
                "{value:#x}, maps differ {all:x?}: {}",
                replay(&insns, &data)
            );
        }
    }
    std::println!(
        "{programs} programs, {instructions} instructions, the longest {longest}, {fell_back} fell back"
    );
}

#[test]
fn generated_programs_do_what_they_do_on_linux() {
    if !host::enabled() {
        return;
    }
    let mut rng = generate::seeded();
    let programs = generate::campaign(300, "SECCOMP_EXTENSION_LIVE");
    let (mut instructions, mut refused) = (0, 0);
    for _ in 0..programs {
        let insns = generated(&mut rng, 60, false);
        let engines = in_all_engines(&insns, &[]);
        let host = match host::Loaded::new(&insns) {
            Ok(host) => host,
            Err(error) => {
                if refused == 0 {
                    std::println!("{}", error.lines().last().unwrap_or_default());
                }
                refused += 1;
                continue;
            }
        };
        instructions += insns.len();
        for _ in 0..6 {
            let data = with_args(&std::array::from_fn::<_, 6, _>(|_| rng.next_u64()));
            assert_eq!(answer(&engines, &data), host.run(&data), "{}", replay(&insns, &data));
        }
    }
    std::println!("{programs} programs, {instructions} instructions, Linux refused {refused}");
    assert!(refused * 20 <= programs);
}

#[test]
fn values_are_shared_by_cpus() {
    // Every run adds 1 to a value of its own task and to a shared one, which may lose some.
    let text = "r1 = map[0]; r2 = 0; r3 = 0; r4 = 1; call 156; if r0 == 0 goto out
        r1 = *(u64 *)(r0 +0); r1 += 1; *(u64 *)(r0 +0) = r1
        *(u64 *)(r10 -8) = 0; r1 = map[1]; r2 = r10; r2 += -8; call 1; if r0 == 0 goto out
        r1 = *(u64 *)(r0 +0); r1 += 1; *(u64 *)(r0 +0) = r1
        r1 = map[2]; r2 = r10; r2 += -8; r3 = 8; r4 = 0; call 130
        out: exit";
    const RUNS: u64 = if cfg!(miri) { 20 } else { 2_000 };
    for kind in [EngineKind::Jit, EngineKind::Native].into_iter().filter(|kind| has(*kind)) {
        let all = maps();
        let maps = vec![all[TASK as usize].clone(), all[LRU as usize].clone(), all[RING as usize].clone()];
        maps[1].update(&[0; 4], &[0; 16], Update::Any).unwrap();
        let text = text.replace("exit", "r0 = 0; exit");
        let loaded = load(&assemble(&text), maps.clone(), kind);
        let events = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for task in 1..=2 {
                let loaded = &loaded;
                scope.spawn(move || {
                    let host = Thread { task, ..Thread::new() };
                    for _ in 0..RUNS {
                        assert_eq!(loaded.run(&with_args(&[]), &host), 0);
                    }
                });
            }
            scope.spawn(|| {
                let mut event = [0; 8];
                for _ in 0..RUNS {
                    while let Some(len) = maps[2].next_event(&mut event).unwrap() {
                        assert_eq!((len, event), (8, [0; 8]));
                        events.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    std::thread::yield_now();
                }
            });
        });
        while maps[2].next_event(&mut [0; 8]).unwrap().is_some() {
            events.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let mut counts = Vec::new();
        maps[0].for_each(|_, value| counts.push(u64::from_ne_bytes(value[..8].try_into().unwrap()))).unwrap();
        assert_eq!(counts, [RUNS; 2]);
        assert_eq!(events.into_inner() + maps[2].lost_events(), 2 * RUNS);
    }
}
