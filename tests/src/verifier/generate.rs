//! eBPF programs out of a seed: pieces that compilers write, put together so that most make sense, with now and
//! then one that is off by one, checked the wrong way, or not checked at all.

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{AluOp, Cond, Opcode, Size, Source, Width};
use rand::Rng;
use rand::seq::IndexedRandom;
use seccomp_runtime::SeccompData;

use super::environment::{MEMORY, NUMBER, TASK};

/// What a program may be made of.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Only what Linux's programs of the same kind may do too.
    pub for_linux: bool,
    /// Functions of its own.
    pub calls: bool,
}

impl Style {
    /// Everything.
    pub const ALL: Self = Self { for_linux: false, calls: true };
}

/// A program.
pub fn program<R: Rng + ?Sized>(rng: &mut R, style: Style) -> Vec<Insn> {
    let mistakes = *[0, 0, 3, 12].choose(rng).expect("not empty");
    let constants = std::array::from_fn(|_| edge(rng));
    let mut writer = Writer {
        rng,
        style,
        mistakes,
        constants,
        insns: Vec::new(),
        kinds: [Kind::Unset; 10],
        slots: [Kind::Unset; 8],
        outs: Vec::new(),
        calls: Vec::new(),
        in_function: false,
    };
    writer.main();
    let mut insns = writer.insns;
    if rng.random_ratio(1, 8) {
        mutate(rng, &mut insns);
    }
    insns
}

/// What the writer believes that a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unset,
    Number,
    Context,
    /// A value of so many bytes.
    Value(i32),
    OrNull(i32),
}

const SIZES: [Size; 4] = [Size::Byte, Size::Half, Size::Word, Size::Double];

/// Where a program keeps values: from -8 down. Below are buffers.
const SLOT_COUNT: usize = 8;
const BUFFERS: i16 = -8 * SLOT_COUNT as i16;

struct Writer<'r, R: ?Sized> {
    rng: &'r mut R,
    style: Style,
    /// How many of 100 pieces are wrong.
    mistakes: u32,
    constants: [i32; 4],
    insns: Vec<Insn>,
    kinds: [Kind; 10],
    slots: [Kind; SLOT_COUNT],
    /// Jumps to the end.
    outs: Vec<usize>,
    /// Calls of the function.
    calls: Vec<usize>,
    in_function: bool,
}

impl<R: Rng + ?Sized> Writer<'_, R> {
    fn main(&mut self) {
        self.kinds[1] = Kind::Context;
        self.mov(6, 1);
        self.kinds[6] = Kind::Context;
        self.constant(0);
        let pieces = self.rng.random_range(1..10);
        self.block(pieces, 3);
        self.end();
        if self.calls.is_empty() {
            return;
        }
        let entry = self.insns.len();
        for call in std::mem::take(&mut self.calls) {
            self.insns[call].imm = entry as i32 - call as i32 - 1;
        }
        self.in_function = true;
        self.kinds = [Kind::Unset; 10];
        self.slots = [Kind::Unset; SLOT_COUNT];
        self.kinds[1] = Kind::Number;
        self.kinds[2] = Kind::Number;
        self.constant(0);
        let pieces = self.rng.random_range(1..4);
        self.block(pieces, 1);
        self.end();
    }

    /// Sets r0 and leaves; what jumps out comes here, too.
    fn end(&mut self) {
        if self.kinds[0] != Kind::Number {
            self.constant(0);
        } else if self.rng.random_ratio(1, 2) {
            self.constant_of(0, 0x7fff_0000);
        }
        self.push(Opcode::Exit, 0, 0, 0, 0);
        let out = self.insns.len();
        if self.outs.is_empty() {
            return;
        }
        self.constant(0);
        self.push(Opcode::Exit, 0, 0, 0, 0);
        for jump in std::mem::take(&mut self.outs) {
            self.insns[jump].off = (out - jump - 1) as i16;
        }
    }

    fn block(&mut self, pieces: usize, depth: u32) {
        for _ in 0..pieces {
            if self.insns.len() > 400 {
                return;
            }
            match self.rng.random_range(0..30) {
                0..3 => self.load_context(),
                3..8 => self.arithmetic(),
                8..13 => self.bounded_access(),
                13..15 => self.lookup(),
                15..17 => self.spill(),
                17 | 18 => self.fill(),
                19..22 if depth > 0 => self.diamond(depth),
                22 if depth > 0 => self.counted_loop(depth),
                23 => self.helper(),
                24 => self.buffer_access(),
                25 => self.widths(),
                26 => self.stack_index(),
                27 => self.pointers(),
                28 if self.style.calls && !self.in_function => self.call(),
                _ => self.value_access(),
            }
        }
    }

    fn push(&mut self, opcode: Opcode, dst: u8, src: u8, off: i16, imm: i32) -> usize {
        self.insns.push(Insn::new(opcode.code(), dst, src, off, imm));
        self.insns.len() - 1
    }

    fn mov(&mut self, dst: u8, src: u8) {
        self.push(Opcode::Alu(Width::W64, AluOp::Mov, Source::Reg), dst, src, 0, 0);
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: u8, imm: i32) {
        self.push(Opcode::Alu(width, op, Source::Imm), dst, 0, 0, imm);
    }

    fn alu_reg(&mut self, width: Width, op: AluOp, dst: u8, src: u8) {
        self.push(Opcode::Alu(width, op, Source::Reg), dst, src, 0, 0);
    }

    /// dst = a constant that matters.
    fn constant(&mut self, dst: u8) {
        let number = self.number();
        self.constant_of(dst, number);
    }

    fn constant_of(&mut self, dst: u8, number: i32) {
        match self.rng.random_range(0..8) {
            0 => {
                let high = *[0, 1, -1, i32::MIN, 0x7fff_ffff].choose(self.rng).expect("not empty");
                self.push(Opcode::LoadImm64, dst, 0, 0, number);
                self.insns.push(Insn::new(0, 0, 0, 0, high));
            }
            1 => self.alu(Width::W32, AluOp::Mov, dst, number),
            _ => self.alu(Width::W64, AluOp::Mov, dst, number),
        }
        self.kinds[usize::from(dst)] = Kind::Number;
    }

    fn number(&mut self) -> i32 {
        if self.rng.random() { *self.constants.choose(self.rng).expect("not empty") } else { edge(self.rng) }
    }

    fn wrong(&mut self) -> bool {
        self.rng.random_range(0..100) < self.mistakes
    }

    fn of_kind(&mut self, wanted: impl Fn(Kind) -> bool) -> Option<u8> {
        let found: Vec<u8> = (0..10).filter(|reg| wanted(self.kinds[usize::from(*reg)])).collect();
        found.choose(self.rng).copied()
    }

    /// A register with a number; there is one after this.
    fn some_number(&mut self) -> u8 {
        match self.of_kind(|kind| kind == Kind::Number) {
            Some(reg) => reg,
            None => {
                let reg = self.scratch();
                self.constant(reg);
                reg
            }
        }
    }

    /// A register to write, seldom one that holds something rare.
    fn scratch(&mut self) -> u8 {
        loop {
            let reg = self.rng.random_range(0..10);
            let rare = !matches!(self.kinds[usize::from(reg)], Kind::Unset | Kind::Number);
            if !rare || reg != 6 && self.rng.random_ratio(1, 8) {
                return reg;
            }
        }
    }

    fn set(&mut self, reg: u8, kind: Kind) {
        self.kinds[usize::from(reg)] = kind;
    }

    fn width(&mut self) -> Width {
        if self.rng.random_ratio(1, 3) { Width::W32 } else { Width::W64 }
    }

    fn cond(&mut self) -> Cond {
        use Cond::*;
        *[Eq, Gt, Ge, Set, Ne, Sgt, Sge, Lt, Le, Slt, Sle].choose(self.rng).expect("not empty")
    }

    fn jump_out(&mut self, width: Width, cond: Cond, dst: u8, imm: i32) {
        let jump = self.push(Opcode::Jump(width, cond, Source::Imm), dst, 0, 0, imm);
        self.outs.push(jump);
    }

    fn jump_out_reg(&mut self, width: Width, cond: Cond, dst: u8, src: u8) {
        let jump = self.push(Opcode::Jump(width, cond, Source::Reg), dst, src, 0, 0);
        self.outs.push(jump);
    }

    fn load_context(&mut self) {
        let Some(context) = self.of_kind(|kind| kind == Kind::Context) else { return };
        let dst = self.scratch();
        let size = *SIZES.choose(self.rng).expect("not empty");
        let len = length(size);
        let mut off = self.rng.random_range(0..64 / len) * len;
        if size == Size::Double && off == 0 && !self.wrong() {
            off = 16;
        }
        if self.wrong() {
            off += *[1, 60, -8].choose(self.rng).expect("not empty");
        }
        self.push(Opcode::Load(size), dst, context, off, 0);
        self.set(dst, Kind::Number);
    }

    fn arithmetic(&mut self) {
        use AluOp::*;
        let ops: &[AluOp] = if self.style.for_linux {
            &[Add, Sub, Mul, Or, And, Lsh, Rsh, Xor, Mov, Arsh]
        } else {
            &[Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Mod, Xor, Mov, Arsh]
        };
        for _ in 0..self.rng.random_range(1..4) {
            let (op, width) = (*ops.choose(self.rng).expect("not empty"), self.width());
            let dst = self.some_number();
            match self.rng.random_range(0..8) {
                0 => drop(self.push(Opcode::Neg(width), dst, 0, 0, 0)),
                1 if !self.style.for_linux => {
                    let opcode = if self.rng.random() { Opcode::ToLe } else { Opcode::ToBe };
                    let bits = *[16, 32, 64].choose(self.rng).expect("not empty");
                    self.push(opcode, dst, 0, 0, bits);
                }
                2..5 => {
                    let src = self.some_number();
                    // Linux knows nothing of a shift whose count may be too large.
                    let op = if self.style.for_linux && matches!(op, Lsh | Rsh | Arsh) { Xor } else { op };
                    let dst = if op == Mov { self.scratch() } else { dst };
                    self.alu_reg(width, op, dst, src);
                    self.set(dst, Kind::Number);
                }
                _ => {
                    let mut imm = self.number();
                    match op {
                        Lsh | Rsh | Arsh => {
                            let bits = if width == Width::W32 { 32 } else { 64 };
                            imm = match self.rng.random_range(0..4) {
                                0 => 32 % bits,
                                1 => bits - 1,
                                _ => imm.rem_euclid(bits),
                            };
                        }
                        Div | Mod if imm == 0 => imm = 7,
                        _ => {}
                    }
                    self.alu(width, op, dst, imm);
                }
            }
        }
    }

    /// Makes a number be at most `max`, one way or another.
    fn bound(&mut self, reg: u8, max: i32) {
        let max = if self.wrong() { max + *[1, -1, 64].choose(self.rng).expect("not empty") } else { max };
        match self.rng.random_range(0..12) {
            0 => {
                let mask = (max + 1).max(1).ilog2();
                self.alu(Width::W64, AluOp::And, reg, (1 << mask) - 1);
            }
            1 => self.jump_out(Width::W64, Cond::Gt, reg, max),
            2 => self.jump_out(Width::W64, Cond::Ge, reg, max + 1),
            3 => {
                self.jump_out(Width::W64, Cond::Sgt, reg, max);
                if !self.wrong() {
                    self.jump_out(Width::W64, Cond::Slt, reg, 0);
                }
            }
            4 => {
                self.jump_out(Width::W32, Cond::Gt, reg, max);
                if !self.wrong() {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
            5 if !self.style.for_linux => self.alu(Width::W64, AluOp::Mod, reg, max + 1),
            6 => {
                let bits = 64 - i32::try_from((max + 1).max(1).ilog2()).expect("small");
                self.alu(Width::W64, AluOp::Rsh, reg, bits.min(63));
            }
            7 => {
                let copy = self.scratch();
                self.mov(copy, reg);
                self.set(copy, Kind::Number);
                self.jump_out(Width::W64, Cond::Gt, copy, max);
            }
            8 => {
                let limit = self.scratch();
                if limit == reg {
                    return self.jump_out(Width::W64, Cond::Gt, reg, max);
                }
                self.alu(Width::W64, AluOp::Mov, limit, max);
                self.set(limit, Kind::Number);
                self.jump_out_reg(Width::W64, Cond::Gt, reg, limit);
            }
            9 => {
                self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                self.jump_out(Width::W32, Cond::Sgt, reg, max);
                self.jump_out(Width::W32, Cond::Slt, reg, 0);
            }
            10 => {
                // Taken where it holds.
                let jump = self.push(Opcode::Jump(Width::W64, Cond::Le, Source::Imm), reg, 0, 1, max);
                debug_assert_eq!(jump + 1, self.insns.len());
                let out = self.push(Opcode::Ja, 0, 0, 0, 0);
                self.outs.push(out);
            }
            _ => {
                let (low, high) = (self.rng.random_range(-2..3), max);
                self.alu(Width::W64, AluOp::Add, reg, low);
                self.jump_out(Width::W64, Cond::Gt, reg, high);
            }
        }
    }

    /// An access at an offset that is not known.
    fn bounded_access(&mut self) {
        let index = self.some_number();
        let size =
            *[Size::Byte, Size::Byte, Size::Half, Size::Word, Size::Double].choose(self.rng).expect("some");
        let len = i32::from(length(size));
        let start = *[0, 0, 8, 16, 32].choose(self.rng).expect("not empty");
        let most = (64 - start) / len - 1;
        self.bound(index, most);
        if len > 1 {
            if self.rng.random() {
                self.alu(Width::W64, AluOp::Lsh, index, len.ilog2() as i32);
            } else {
                self.alu(Width::W64, AluOp::Mul, index, len);
            }
        }
        let pointer = self.scratch();
        if pointer == index {
            return;
        }
        self.push(Opcode::LoadImm64, pointer, 2, 0, 4);
        self.insns.push(Insn::new(0, 0, 0, 0, start));
        let pointer = match self.rng.random_range(0..4) {
            0 => {
                self.set(pointer, Kind::Value(0));
                self.alu_reg(Width::W64, AluOp::Add, index, pointer);
                index
            }
            // Linux takes no distance that may be negative, though it is from further up.
            1 if start == 0 && !self.style.for_linux => {
                self.alu(Width::W64, AluOp::Add, pointer, 64 - len);
                self.alu_reg(Width::W64, AluOp::Sub, pointer, index);
                pointer
            }
            _ => {
                self.alu_reg(Width::W64, AluOp::Add, pointer, index);
                pointer
            }
        };
        self.set(pointer, Kind::Value(0));
        self.access(pointer, size, 0);
    }

    fn access(&mut self, pointer: u8, size: Size, off: i16) {
        match self.rng.random_range(0..3) {
            0 => drop(self.push(Opcode::StoreImm(size), pointer, 0, off, 7)),
            1 => {
                let wrong = self.wrong();
                let value = self.of_kind(|kind| kind == Kind::Number || wrong && kind != Kind::Unset);
                self.push(Opcode::Store(size), pointer, value.unwrap_or(pointer), off, 0);
            }
            _ => {
                let dst = self.scratch();
                self.push(Opcode::Load(size), dst, pointer, off, 0);
                self.set(dst, Kind::Number);
            }
        }
    }

    fn value_access(&mut self) {
        let wrong = self.wrong();
        let pointer =
            self.of_kind(|kind| matches!(kind, Kind::Value(_)) || wrong && matches!(kind, Kind::OrNull(_)));
        let Some(pointer) = pointer else { return };
        let (Kind::Value(len) | Kind::OrNull(len)) = self.kinds[usize::from(pointer)] else { return };
        if len < 8 && !wrong {
            return;
        }
        let size = *SIZES.choose(self.rng).expect("not empty");
        let most = (len as i16 / length(size)).max(1);
        let off = self.rng.random_range(0..most) * length(size);
        let off = if self.wrong() { off + length(size) } else { off };
        self.access(pointer, size, off);
    }

    /// What a call loses.
    fn lose(&mut self) {
        self.kinds[..6].fill(Kind::Unset);
    }

    fn lookup(&mut self) {
        let (map, key, value) = *[(0, 4, 16), (1, 8, 8), (3, 4, 16)].choose(self.rng).expect("not empty");
        let at = BUFFERS - 8;
        match (key, self.of_kind(|kind| kind == Kind::Number)) {
            (8, Some(reg)) => drop(self.push(Opcode::Store(Size::Double), 10, reg, at, 0)),
            (8, None) => drop(self.push(Opcode::StoreImm(Size::Double), 10, 0, at, 1)),
            _ if self.wrong() => {}
            _ => drop(self.push(Opcode::StoreImm(Size::Word), 10, 0, at, 2)),
        }
        self.mov(2, 10);
        self.alu(Width::W64, AluOp::Add, 2, at.into());
        self.push(Opcode::LoadImm64, 1, 1, 0, map);
        self.insns.push(Insn::default());
        self.push(Opcode::Call, 0, 0, 0, 1);
        self.lose();
        self.set(0, Kind::OrNull(value));
        self.keep_or_check();
    }

    /// A pointer in r0 that may be null: checked, or copied first, or left for later.
    fn keep_or_check(&mut self) {
        let Kind::OrNull(len) = self.kinds[0] else { return };
        let copy = self.rng.random_ratio(1, 2).then(|| self.rng.random_range(7..10));
        if let Some(copy) = copy {
            self.mov(copy, 0);
            self.set(copy, Kind::OrNull(len));
        }
        if self.rng.random_ratio(1, 8) {
            let slot = self.rng.random_range(0..SLOT_COUNT);
            self.push(Opcode::Store(Size::Double), 10, 0, -8 * (slot as i16 + 1), 0);
            self.slots[slot] = Kind::OrNull(len);
        }
        if self.wrong() {
            return;
        }
        let checked = copy.filter(|_| self.rng.random()).unwrap_or(0);
        self.jump_out(Width::W64, Cond::Eq, checked, 0);
        for kind in self.kinds.iter_mut().chain(&mut self.slots) {
            if *kind == Kind::OrNull(len) {
                *kind = Kind::Value(len);
            }
        }
    }

    fn spill(&mut self) {
        let slot = self.rng.random_range(0..SLOT_COUNT);
        let off = -8 * (slot as i16 + 1);
        let Some(reg) = self.of_kind(|kind| kind != Kind::Unset) else { return };
        let kind = self.kinds[usize::from(reg)];
        match self.rng.random_range(0..6) {
            0 => {
                // In halves, or in smaller parts.
                let size = *[Size::Word, Size::Half, Size::Byte].choose(self.rng).expect("not empty");
                let within = self.rng.random_range(0..8 / length(size)) * length(size);
                if kind == Kind::Number || self.wrong() {
                    self.push(Opcode::Store(size), 10, reg, off + within, 0);
                } else {
                    self.push(Opcode::StoreImm(size), 10, 0, off + within, -3);
                }
                if self.slots[slot] != Kind::Number {
                    self.slots[slot] = Kind::Unset;
                }
            }
            1 => {
                let number = self.number();
                self.push(Opcode::StoreImm(Size::Double), 10, 0, off, number);
                self.slots[slot] = Kind::Number;
            }
            _ => {
                self.push(Opcode::Store(Size::Double), 10, reg, off, 0);
                self.slots[slot] = kind;
            }
        }
    }

    fn fill(&mut self) {
        let wrong = self.wrong();
        let set: Vec<usize> = (0..SLOT_COUNT).filter(|i| wrong || self.slots[*i] != Kind::Unset).collect();
        let Some(slot) = set.choose(self.rng).copied() else { return };
        let (kind, off) = (self.slots[slot], -8 * (slot as i16 + 1));
        let dst = self.scratch();
        if kind == Kind::Number && self.rng.random_ratio(1, 3) {
            let size = *[Size::Word, Size::Word, Size::Half, Size::Byte].choose(self.rng).expect("not empty");
            let within = self.rng.random_range(0..8 / length(size)) * length(size);
            self.push(Opcode::Load(size), dst, 10, off + within, 0);
            self.set(dst, Kind::Number);
        } else {
            self.push(Opcode::Load(Size::Double), dst, 10, off, 0);
            self.set(dst, kind);
        }
    }

    /// What both ways leave behind.
    fn join(&mut self, kinds: [Kind; 10], slots: [Kind; SLOT_COUNT]) {
        for (mine, theirs) in self.kinds.iter_mut().zip(kinds).chain(self.slots.iter_mut().zip(slots)) {
            if *mine != theirs {
                *mine = Kind::Unset;
            }
        }
    }

    fn diamond(&mut self, depth: u32) {
        let (width, cond, a) = (self.width(), self.cond(), self.some_number());
        let jump = if self.rng.random_ratio(1, 3) {
            let b = self.some_number();
            self.push(Opcode::Jump(width, cond, Source::Reg), a, b, 0, 0)
        } else {
            let imm = self.number();
            self.push(Opcode::Jump(width, cond, Source::Imm), a, 0, 0, imm)
        };
        let (kinds, slots) = (self.kinds, self.slots);
        let pieces = self.rng.random_range(1..4);
        self.block(pieces, depth - 1);
        if self.rng.random() {
            let skip = self.push(Opcode::Ja, 0, 0, 0, 0);
            self.insns[jump].off = (self.insns.len() - jump - 1) as i16;
            let (then_kinds, then_slots) = (self.kinds, self.slots);
            (self.kinds, self.slots) = (kinds, slots);
            let pieces = self.rng.random_range(1..3);
            self.block(pieces, depth - 1);
            self.insns[skip].off = (self.insns.len() - skip - 1) as i16;
            self.join(then_kinds, then_slots);
        } else {
            self.insns[jump].off = (self.insns.len() - jump - 1) as i16;
            self.join(kinds, slots);
        }
    }

    fn counted_loop(&mut self, depth: u32) {
        let counter = self.rng.random_range(7..10);
        let (first, step, turns) = match self.rng.random_range(0..4) {
            0 => (0, 1, self.rng.random_range(1..12)),
            1 => (0, 8, self.rng.random_range(1..8)),
            2 => (-3, 1, 6),
            _ => (12, -1, 12),
        };
        self.alu(Width::W64, AluOp::Mov, counter, first);
        self.set(counter, Kind::Number);
        let head = self.insns.len();
        let (kinds, slots) = (self.kinds, self.slots);
        if first == 0 && self.rng.random() {
            let pointer = self.rng.random_range(0..6);
            self.push(Opcode::LoadImm64, pointer, 2, 0, 4);
            self.insns.push(Insn::default());
            self.alu_reg(Width::W64, AluOp::Add, pointer, counter);
            self.set(pointer, Kind::Value(0));
            self.access(pointer, Size::Byte, 0);
        }
        // The counter stays what it is.
        self.set(counter, Kind::Unset);
        let pieces = self.rng.random_range(0..3);
        let before = self.insns.len();
        self.block(pieces, depth.min(1) - 1);
        let writes = |insn: &Insn| {
            let stores = matches!(Opcode::decode(insn.code), Some(Opcode::Store(_) | Opcode::StoreImm(_)));
            insn.dst() == counter && !stores
        };
        if self.insns[before..].iter().any(writes) && !self.wrong() {
            self.insns.truncate(before);
            self.outs.retain(|jump| *jump < before);
            self.calls.retain(|call| *call < before);
            (self.kinds, self.slots) = (kinds, slots);
        }
        self.alu(Width::W64, AluOp::Add, counter, step);
        let end = first + step * turns;
        let back = head as i64 - self.insns.len() as i64 - 1;
        let (width, cond) = match self.rng.random_range(0..4) {
            0 => (Width::W64, Cond::Ne),
            1 => (Width::W32, Cond::Ne),
            _ if step > 0 => (Width::W64, Cond::Slt),
            _ => (Width::W64, Cond::Sgt),
        };
        self.push(Opcode::Jump(width, cond, Source::Imm), counter, 0, back as i16, end);
        self.join(kinds, slots);
        self.set(counter, Kind::Number);
    }

    fn helper(&mut self) {
        match self.rng.random_range(0..10) {
            0 if !self.style.for_linux => {
                let size = *[8, 16, 24].choose(self.rng).expect("not empty");
                self.alu(Width::W64, AluOp::Mov, 1, size);
                self.push(Opcode::Call, 0, 0, 0, MEMORY);
                self.lose();
                self.set(0, Kind::OrNull(size));
                return self.keep_or_check();
            }
            1 => {
                // An update of the hash.
                let number = self.number();
                self.push(Opcode::StoreImm(Size::Double), 10, 0, BUFFERS - 8, number);
                self.push(Opcode::StoreImm(Size::Double), 10, 0, BUFFERS - 16, 1);
                self.mov(2, 10);
                self.alu(Width::W64, AluOp::Add, 2, (BUFFERS - 8).into());
                self.mov(3, 10);
                self.alu(Width::W64, AluOp::Add, 3, (BUFFERS - 16).into());
                self.alu(Width::W64, AluOp::Mov, 4, 0);
                self.push(Opcode::LoadImm64, 1, 1, 0, 1);
                self.insns.push(Insn::default());
                self.push(Opcode::Call, 0, 0, 0, 2);
            }
            2 if !self.style.for_linux => {
                // A string into the value, its end behind it.
                self.push(Opcode::LoadImm64, 1, 2, 0, 4);
                self.insns.push(Insn::default());
                let len = if self.wrong() { 64 } else { 63 };
                self.alu(Width::W64, AluOp::Mov, 2, len);
                self.alu(Width::W64, AluOp::Mov, 3, 0);
                self.push(Opcode::Call, 0, 0, 0, 114);
                self.lose();
                self.set(0, Kind::Number);
                if !self.wrong() {
                    self.jump_out(Width::W64, Cond::Slt, 0, 0);
                }
                self.push(Opcode::LoadImm64, 1, 2, 0, 4);
                self.insns.push(Insn::default());
                self.alu_reg(Width::W64, AluOp::Add, 1, 0);
                self.push(Opcode::StoreImm(Size::Byte), 1, 0, 0, 0);
                self.set(1, Kind::Value(0));
                return;
            }
            3 if !self.style.for_linux => return self.event(),
            4 if !self.style.for_linux => {
                self.load_map(1, TASK);
                self.alu(Width::W64, AluOp::Mov, 2, 0);
                if self.rng.random_ratio(1, 4) {
                    self.push(Opcode::Call, 0, 0, 0, 157);
                } else {
                    self.alu(Width::W64, AluOp::Mov, 3, 0);
                    self.alu(Width::W64, AluOp::Mov, 4, 1);
                    self.push(Opcode::Call, 0, 0, 0, 156);
                    self.lose();
                    self.set(0, Kind::OrNull(24));
                    return self.keep_or_check();
                }
            }
            5 if !self.style.for_linux => {
                // What it gives is where the next access goes, perhaps.
                const FORMATS: [[u8; 8]; 4] = [*b"%ld%lu\0\0", *b"%d:%lx\n\0", *b"call %d\0", *b"%%%llx%c"];
                let format = *FORMATS.choose(self.rng).expect("not empty");
                for (at, half) in [(BUFFERS - 8, &format[..4]), (BUFFERS - 4, &format[4..])] {
                    let half = i32::from_ne_bytes(half.try_into().expect("4 bytes"));
                    self.push(Opcode::StoreImm(Size::Word), 10, 0, at, half);
                }
                let number = self.some_number();
                self.mov(3, number);
                self.mov(4, number);
                self.mov(5, number);
                self.mov(1, 10);
                self.alu(Width::W64, AluOp::Add, 1, (BUFFERS - 8).into());
                self.alu(Width::W64, AluOp::Mov, 2, 8);
                self.push(Opcode::Call, 0, 0, 0, 6);
            }
            6 if !self.style.for_linux => {
                let key = self.number();
                self.push(Opcode::StoreImm(Size::Double), 10, 0, BUFFERS - 8, key);
                self.mov(2, 10);
                self.alu(Width::W64, AluOp::Add, 2, (BUFFERS - 8).into());
                self.load_map(1, 1);
                self.push(Opcode::Call, 0, 0, 0, 3);
            }
            _ => {
                let id = *[5, 7, NUMBER, 14, 15].choose(self.rng).expect("not empty");
                self.push(Opcode::Call, 0, 0, 0, id);
            }
        }
        self.lose();
        self.set(0, Kind::Number);
    }

    fn load_map(&mut self, dst: u8, map: i32) {
        self.push(Opcode::LoadImm64, dst, 1, 0, map);
        self.insns.push(Insn::default());
    }

    /// An event: reserved, written perhaps, and given back; or copied from the stack.
    fn event(&mut self) {
        let size = *[8, 16, 24].choose(self.rng).expect("not empty");
        if self.rng.random_ratio(1, 3) {
            for at in (0..size as i16).step_by(8) {
                self.push(Opcode::StoreImm(Size::Double), 10, 0, BUFFERS - 8 - at, 1);
            }
            self.mov(2, 10);
            self.alu(Width::W64, AluOp::Add, 2, i32::from(BUFFERS) - size);
            let len = if self.wrong() { size + 8 } else { size };
            self.alu(Width::W64, AluOp::Mov, 3, len);
            self.alu(Width::W64, AluOp::Mov, 4, 0);
            self.load_map(1, 2);
            self.push(Opcode::Call, 0, 0, 0, 130);
            self.lose();
            self.set(0, Kind::Number);
            return;
        }
        self.load_map(1, 2);
        self.alu(Width::W64, AluOp::Mov, 2, size);
        self.alu(Width::W64, AluOp::Mov, 3, 0);
        self.push(Opcode::Call, 0, 0, 0, 131);
        self.lose();
        self.set(0, Kind::OrNull(size));
        self.keep_or_check();
        if self.kinds[0] == Kind::Value(size) && self.rng.random() {
            self.mov(1, 0);
            self.alu(Width::W64, AluOp::Mov, 2, 0);
            let id = *[132, 133].choose(self.rng).expect("not empty");
            self.push(Opcode::Call, 0, 0, 0, id);
            self.lose();
        }
    }

    /// A helper that writes a buffer, of a size that may not be known, and a load from it.
    fn buffer_access(&mut self) {
        let size = if self.rng.random() { self.of_kind(|kind| kind == Kind::Number) } else { None };
        let buffer = BUFFERS - 32;
        let known = match size {
            Some(size) if size != 1 => {
                self.bound(size, 32);
                self.mov(2, size);
                if self.style.for_linux {
                    // Linux asks for less where the least size is 0.
                    self.jump_out(Width::W64, Cond::Eq, 2, 0);
                }
                0
            }
            _ => {
                let size = *[8, 16, 32].choose(self.rng).expect("not empty");
                let size = if self.wrong() { size + 8 } else { size };
                self.alu(Width::W64, AluOp::Mov, 2, size);
                size
            }
        };
        self.mov(1, 10);
        self.alu(Width::W64, AluOp::Add, 1, buffer.into());
        self.alu(Width::W64, AluOp::Mov, 3, 0);
        let id = if self.style.for_linux || self.rng.random_ratio(1, 4) { 16 } else { 112 };
        self.push(Opcode::Call, 0, 0, 0, id);
        self.lose();
        self.set(0, Kind::Number);
        if known >= 8 || self.wrong() {
            let off = buffer + 8 * self.rng.random_range(0..(known.max(8) / 8) as i16);
            let dst = self.scratch();
            self.push(Opcode::Load(Size::Double), dst, 10, off, 0);
            self.set(dst, Kind::Number);
        }
    }

    /// Extensions and truncations, and checks in the other width.
    fn widths(&mut self) {
        let reg = self.some_number();
        match self.rng.random_range(0..5) {
            0 => {
                self.alu(Width::W64, AluOp::Lsh, reg, 32);
                let op = if self.rng.random() { AluOp::Arsh } else { AluOp::Rsh };
                self.alu(Width::W64, op, reg, 32);
            }
            1 => {
                let (cond, number) = (self.cond(), self.number());
                self.jump_out(Width::W32, cond, reg, number);
            }
            2 => {
                let (cond, number) = (self.cond(), self.number());
                self.jump_out(Width::W64, cond, reg, number);
            }
            3 => {
                let (cond, other, width) = (self.cond(), self.some_number(), self.width());
                self.jump_out_reg(width, cond, reg, other);
            }
            _ => {
                let dst = self.scratch();
                self.alu_reg(Width::W32, AluOp::Mov, dst, reg);
                self.set(dst, Kind::Number);
            }
        }
    }

    /// An array on the stack.
    fn stack_index(&mut self) {
        let base = BUFFERS - 64;
        let set = if self.wrong() { 3 } else { 4 };
        for word in 0..set {
            self.push(Opcode::StoreImm(Size::Double), 10, 0, base + 8 * word, word.into());
        }
        let index = self.some_number();
        self.bound(index, 3);
        self.alu(Width::W64, AluOp::Lsh, index, 3);
        let pointer = self.scratch();
        if pointer == index {
            return;
        }
        self.mov(pointer, 10);
        self.alu(Width::W64, AluOp::Add, pointer, base.into());
        self.alu_reg(Width::W64, AluOp::Add, pointer, index);
        self.set(pointer, Kind::Value(0));
        self.access(pointer, Size::Double, 0);
        let off = base + 8 * self.rng.random_range(0..4);
        let dst = self.scratch();
        self.push(Opcode::Load(Size::Double), dst, 10, off, 0);
        self.set(dst, Kind::Number);
    }

    /// Two pointers into one value, compared and subtracted.
    fn pointers(&mut self) {
        if self.style.for_linux {
            return;
        }
        let index = self.some_number();
        let (p, q) = (self.scratch(), self.scratch());
        if p == q || p == index || q == index {
            return;
        }
        self.push(Opcode::LoadImm64, p, 2, 0, 4);
        self.insns.push(Insn::default());
        self.mov(q, p);
        self.set(p, Kind::Value(64));
        self.set(q, Kind::Value(0));
        self.bound(index, 80);
        self.alu_reg(Width::W64, AluOp::Add, q, index);
        if self.rng.random_ratio(1, 4) {
            let back = *[8, 80, 4095, 4096, 5000, 1 << 16, 1 << 28].choose(self.rng).expect("some");
            self.alu(Width::W64, AluOp::Sub, q, back);
        }
        if self.rng.random_ratio(1, 8) {
            let cond = *[Cond::Eq, Cond::Ne].choose(self.rng).expect("some");
            self.jump_out(Width::W64, cond, q, 0);
        } else if self.rng.random() {
            self.alu(Width::W64, AluOp::Add, p, 63);
            self.set(p, Kind::Value(0));
            let cond = *[Cond::Gt, Cond::Ge, Cond::Eq, Cond::Ne, Cond::Lt].choose(self.rng).expect("some");
            self.jump_out_reg(Width::W64, cond, q, p);
            if cond == Cond::Gt || self.wrong() {
                self.access(q, Size::Byte, 0);
            }
        } else {
            self.alu_reg(Width::W64, AluOp::Sub, q, p);
            self.set(q, Kind::Number);
        }
    }

    fn call(&mut self) {
        for reg in [1, 2] {
            match self.of_kind(|kind| kind == Kind::Number) {
                Some(number) => {
                    self.mov(reg, number);
                    self.set(reg, Kind::Number);
                }
                None => self.constant(reg),
            }
        }
        let call = self.push(Opcode::Call, 0, 1, 0, 0);
        self.calls.push(call);
        self.lose();
        self.set(0, Kind::Number);
    }
}

const fn length(size: Size) -> i16 {
    match size {
        Size::Byte => 1,
        Size::Half => 2,
        Size::Word => 4,
        Size::Double => 8,
    }
}

/// Numbers at which something changes.
fn edge<R: Rng + ?Sized>(rng: &mut R) -> i32 {
    const EDGES: [i32; 26] = [
        0,
        1,
        -1,
        2,
        3,
        7,
        8,
        15,
        16,
        31,
        32,
        63,
        64,
        65,
        127,
        128,
        255,
        256,
        0xffff,
        0x1_0000,
        -2,
        -64,
        i32::MAX,
        i32::MIN,
        i32::MIN + 1,
        0x7fff_fff0,
    ];
    match rng.random_range(0..8) {
        0 => rng.random(),
        1 => 1 << rng.random_range(0..32),
        _ => *EDGES.choose(rng).expect("not empty"),
    }
}

/// Changes an instruction.
fn mutate<R: Rng + ?Sized>(rng: &mut R, insns: &mut Vec<Insn>) {
    let at = rng.random_range(0..insns.len());
    let insn = &mut insns[at];
    match rng.random_range(0..7) {
        0 => insn.imm = edge(rng),
        1 => insn.imm = insn.imm.wrapping_add(if rng.random() { 1 } else { -1 }),
        2 => insn.off = insn.off.wrapping_add(*[1, -1, 4, 8, -8].choose(rng).expect("not empty")),
        3 => insn.regs ^= 1 << rng.random_range(0..8),
        4 => insn.code ^= 1 << rng.random_range(0..8),
        5 => drop(insns.remove(at)),
        _ => {
            let other = rng.random_range(0..insns.len());
            insns.swap(at, other);
        }
    }
}

/// An input that meets the program's constants.
pub fn input<R: Rng + ?Sized>(rng: &mut R, insns: &[Insn]) -> SeccompData {
    let mut word = || -> u32 {
        match rng.random_range(0..4) {
            0 => rng.random(),
            1 => edge(rng).cast_unsigned(),
            _ => {
                let imm = insns.choose(rng).map_or(0, |insn| insn.imm);
                imm.wrapping_add(rng.random_range(-1..=1)).cast_unsigned()
            }
        }
    };
    let mut double = || {
        let (low, high) = (word(), word());
        match high % 4 {
            0 => low.into(),
            1 => i64::from(low.cast_signed()).cast_unsigned(),
            _ => u64::from(high) << 32 | u64::from(low),
        }
    };
    let args = std::array::from_fn(|_| double());
    let instruction_pointer = double();
    SeccompData { nr: word().cast_signed(), arch: word(), instruction_pointer, args }
}
