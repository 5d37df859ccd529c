//! eBPF with every check: the reference that shows whether what the verifier accepts is safe.
//!
//! A pointer is an object and a distance, never a number, so that one into the wrong object is a fault even
//! where it would hit something, and an address that is shown is one too. Each byte knows whether it was set.
//! Before every instruction the registers and the stack have to be as one of the states says that the verifier
//! had there.

use std::collections::HashMap;

use cbpf_translator::Insn;
use cbpf_translator::ebpf::{Address, AluOp, ByteOrder, Cond, Imm64, Instruction, Operand, Reg, Size, Width};
use rand::Rng;
use seccomp_runtime::SeccompData;
use seccomp_runtime::verifier::{
    Arg, Environment, Helper, Id, Log, MAX_STACK, MapAccess, MapDescriptor, Region, Return, State, Value,
};

/// The states that the verifier had at each instruction.
#[derive(Debug, Default)]
pub struct Claims(HashMap<usize, Vec<State>>);

impl Log for Claims {
    fn visit(&mut self, pc: usize, state: &State) {
        self.0.entry(pc).or_default().push(state.try_clone().expect("there is memory"));
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Unset,
    Number(u64),
    Map(u32),
    Pointer { object: usize, offset: u64 },
}

/// A byte of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    Unset,
    Number(u8),
    /// This byte of a pointer.
    Part(Word, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Context,
    /// Of the function at this depth.
    Stack(u32),
    MapValue(u32),
    Memory(u32),
}

#[derive(Debug)]
struct Object {
    kind: Kind,
    bytes: Vec<Byte>,
    address: u64,
    read_only: bool,
    /// Whether others write to it, too.
    shared: bool,
    /// A function's stack after the function has returned.
    gone: bool,
}

struct Frame {
    registers: [Word; 10],
    stack: usize,
    return_to: usize,
}

/// One run of a program.
pub struct Run<'a, R> {
    insns: &'a [Insn],
    environment: &'a Environment<'a>,
    claims: Option<&'a Claims>,
    rng: R,
    objects: Vec<Object>,
    frames: Vec<Frame>,
    /// The object of the only value of each map, if it was asked for.
    only_values: HashMap<u32, usize>,
    /// The claim that held last at each instruction; the next is likely the same.
    last: HashMap<usize, usize>,
}

const PAGE: u64 = 4096;

/// How far distances are from the start of what the verifier counts from: a stack's from its end.
const fn shift(kind: Kind) -> u64 {
    match kind {
        Kind::Stack(_) => MAX_STACK as u64,
        _ => 0,
    }
}

impl<'a, R: Rng> Run<'a, R> {
    /// A run on this input. Without claims it is only made with every other check.
    pub fn new(
        insns: &'a [Insn],
        environment: &'a Environment<'a>,
        claims: Option<&'a Claims>,
        data: &SeccompData,
        rng: R,
    ) -> Self {
        let mut run = Self {
            insns,
            environment,
            claims,
            rng,
            objects: Vec::new(),
            frames: Vec::new(),
            only_values: HashMap::new(),
            last: HashMap::new(),
        };
        let words = (0..64).step_by(4).flat_map(|at| data.word(at).expect("it has 64 bytes").to_le_bytes());
        let bytes = words.map(Byte::Number).collect();
        let context = run.object(Kind::Context, bytes, true, false);
        let stack = run.stack(0);
        let mut registers = [Word::Unset; 10];
        registers[1] = Word::Pointer { object: context, offset: 0 };
        run.frames.push(Frame { registers, stack, return_to: 0 });
        run
    }

    fn object(&mut self, kind: Kind, bytes: Vec<Byte>, read_only: bool, shared: bool) -> usize {
        // Nothing is in the first page or in the last; behind the one and before the other there may be something.
        let address = match self.rng.random_range(0..4) {
            0 => PAGE,
            1 => PAGE.wrapping_neg() - (bytes.len() as u64).next_multiple_of(8),
            _ => (self.objects.len() as u64 + 1) << 40 | self.rng.random_range(0..1 << 30) << 3,
        };
        self.objects.push(Object { kind, bytes, address, read_only, shared, gone: false });
        self.objects.len() - 1
    }

    fn stack(&mut self, depth: u32) -> usize {
        self.object(Kind::Stack(depth), vec![Byte::Unset; MAX_STACK], false, false)
    }

    /// Runs it to its end, which comes after at most `budget` instructions.
    ///
    /// # Errors
    ///
    /// The instruction that does what none may, or that is not as any state says, and why.
    pub fn run(mut self, budget: usize) -> Result<u64, (usize, String)> {
        let mut pc = 0;
        for _ in 0..budget {
            self.check_claims(pc).map_err(|why| (pc, why))?;
            match self.step(pc).map_err(|why| (pc, why))? {
                Some(next) => pc = next,
                None => return self.number(Reg::R0).map_err(|why| (pc, why)),
            }
        }
        Err((pc, format!("not at its end after {budget} instructions")))
    }

    fn read(&self, reg: Reg) -> Result<Word, String> {
        let frame = self.frames.last().expect("a function runs");
        let word = match frame.registers.get(reg.index()) {
            Some(word) => *word,
            None => Word::Pointer { object: frame.stack, offset: MAX_STACK as u64 },
        };
        if word == Word::Unset { Err(format!("{reg} is not set")) } else { Ok(word) }
    }

    fn number(&self, reg: Reg) -> Result<u64, String> {
        match self.read(reg)? {
            Word::Number(number) => Ok(number),
            other => Err(format!("{reg} is {other:?}, no number")),
        }
    }

    fn write(&mut self, reg: Reg, word: Word) -> Result<(), String> {
        let frame = self.frames.last_mut().expect("a function runs");
        *frame.registers.get_mut(reg.index()).ok_or("r10 is written")? = word;
        Ok(())
    }

    fn operand(&self, operand: Operand) -> Result<Word, String> {
        match operand {
            Operand::Imm(imm) => Ok(Word::Number(i64::from(imm).cast_unsigned())),
            Operand::Reg(reg) => self.read(reg),
        }
    }

    /// The bytes of an access.
    fn range(&self, word: Word, off: i64, len: usize) -> Result<(usize, usize), String> {
        let Word::Pointer { object, offset } = word else { return Err(format!("{word:?} is no address")) };
        let start = offset.wrapping_add(off.cast_unsigned());
        let target = &self.objects[object];
        if target.gone {
            return Err("the stack of a function that has returned".into());
        }
        match usize::try_from(start).ok().and_then(|start| Some((start, start.checked_add(len)?))) {
            Some((start, end)) if end <= target.bytes.len() => Ok((object, start)),
            _ => Err(format!("{len} bytes at {start:#x} of {:?}", target.kind)),
        }
    }

    fn load(&mut self, from: Address, size: Size) -> Result<Word, String> {
        let len = length(size);
        let (object, start) = self.range(self.read(from.base)?, from.off.into(), len)?;
        let target = &self.objects[object];
        if !(target.address + start as u64).is_multiple_of(len as u64) {
            return Err("not aligned".into());
        }
        if target.kind == Kind::Context && start < 8 && len == 8 {
            return Err("two fields of the context".into());
        }
        let bytes = &target.bytes[start..start + len];
        if let Byte::Part(word, 0) = bytes[0]
            && len == 8
            && (0..8).all(|i| bytes[usize::from(i)] == Byte::Part(word, i))
        {
            return Ok(word);
        }
        let mut number = numbers(bytes)?;
        if target.shared && self.rng.random() {
            number = (0..len).map(|_| self.rng.random()).collect();
        }
        number.resize(8, 0);
        Ok(Word::Number(u64::from_le_bytes(number.try_into().expect("8 bytes"))))
    }

    fn store(&mut self, to: Address, size: Size, word: Word) -> Result<(), String> {
        let len = length(size);
        let (object, start) = self.range(self.read(to.base)?, to.off.into(), len)?;
        let depth_of = |word| match word {
            Word::Pointer { object, .. } => match self.objects[object].kind {
                Kind::Stack(depth) => Some(depth),
                _ => None,
            },
            _ => None,
        };
        let holds = depth_of(word);
        let target = &mut self.objects[object];
        if target.read_only {
            return Err(format!("{:?} is read-only", target.kind));
        }
        if !(target.address + start as u64).is_multiple_of(len as u64) {
            return Err("not aligned".into());
        }
        let bytes = &mut target.bytes[start..start + len];
        match (word, target.kind) {
            (Word::Number(number), _) => {
                for (byte, value) in bytes.iter_mut().zip(number.to_le_bytes()) {
                    *byte = Byte::Number(value);
                }
            }
            (_, Kind::Stack(depth)) if len == 8 => {
                if holds.is_some_and(|of| of > depth) {
                    return Err("a stack in the stack of a caller".into());
                }
                for (byte, index) in bytes.iter_mut().zip(0..) {
                    *byte = Byte::Part(word, index);
                }
            }
            (_, kind) => return Err(format!("{word:?} is shown in {kind:?}")),
        }
        Ok(())
    }

    /// The instruction after this one; nothing at the end.
    fn step(&mut self, pc: usize) -> Result<Option<usize>, String> {
        let insn = *self.insns.get(pc).ok_or("past the end")?;
        let insn = Instruction::decode(insn, self.insns.get(pc + 1).copied()).map_err(|e| e.to_string())?;
        let next = pc + insn.slots();
        let jump =
            |off: i64| usize::try_from(pc as i64 + 1 + off).map_err(|_| "before the start".to_string());
        match insn {
            Instruction::Alu { width, op, dst, operand } => {
                let b = self.operand(operand)?;
                let a = if op == AluOp::Mov { Word::Number(0) } else { self.read(dst)? };
                let result = self.compute(width, op, a, b)?;
                self.write(dst, result)?;
            }
            Instruction::Neg { width, dst } => {
                let number = self.number(dst)?.wrapping_neg();
                self.write(dst, Word::Number(if width == Width::W32 { number & LOW } else { number }))?;
            }
            Instruction::Swap { order, bits, dst } => {
                let bits = bits as u32;
                let low = self.number(dst)? & (u64::MAX >> (64 - bits));
                let swapped = low.swap_bytes() >> (64 - bits);
                let number = if order == ByteOrder::Big { swapped } else { low };
                self.write(dst, Word::Number(number))?;
            }
            Instruction::LoadImm64 { dst, imm } => {
                let word = match imm {
                    Imm64::Constant(number) => Word::Number(number),
                    Imm64::Map(map) => Word::Map(map),
                    Imm64::MapValue { map, offset } => {
                        let object = match self.only_values.get(&map) {
                            Some(object) => *object,
                            None => self.map_value(map)?,
                        };
                        self.only_values.insert(map, object);
                        Word::Pointer { object, offset: offset.into() }
                    }
                };
                self.write(dst, word)?;
            }
            Instruction::Load { size, dst, from } => {
                let word = self.load(from, size)?;
                self.write(dst, word)?;
            }
            Instruction::StoreImm { size, to, imm } => {
                self.store(to, size, Word::Number(i64::from(imm).cast_unsigned()))?;
            }
            Instruction::Store { size, to, src } => {
                let word = self.read(src)?;
                self.store(to, size, word)?;
            }
            Instruction::CallHelper { id } => {
                let helper = self.environment.helpers.iter().find(|helper| helper.id == id);
                let result = self.helper(*helper.ok_or("no such helper")?)?;
                for reg in Reg::ARGUMENTS {
                    self.write(reg, Word::Unset)?;
                }
                self.write(Reg::R0, result)?;
            }
            Instruction::CallLocal { off } => {
                let mut registers = [Word::Unset; 10];
                let caller = self.frames.last_mut().expect("a function runs");
                registers[1..6].copy_from_slice(&caller.registers[1..6]);
                caller.registers[..6].fill(Word::Unset);
                let stack = self.stack(self.frames.len() as u32);
                self.frames.push(Frame { registers, stack, return_to: next });
                return jump(off.into()).map(Some);
            }
            Instruction::Exit => {
                if self.frames.len() == 1 {
                    return Ok(None);
                }
                let frame = self.frames.pop().expect("a function runs");
                let result = frame.registers[0];
                if matches!(result, Word::Pointer { object, .. } if object == frame.stack) {
                    return Err("a stack leaves its function".into());
                }
                self.objects[frame.stack].gone = true;
                self.write(Reg::R0, result)?;
                return Ok(Some(frame.return_to));
            }
            Instruction::Ja { off } => return jump(off.into()).map(Some),
            Instruction::Jump { width, cond, dst, operand, off } => {
                let (a, b) = (self.read(dst)?, self.operand(operand)?);
                if self.holds(width, cond, a, b)? {
                    return jump(off.into()).map(Some);
                }
            }
        }
        Ok(Some(next))
    }

    fn compute(&self, width: Width, op: AluOp, a: Word, b: Word) -> Result<Word, String> {
        let wide = width == Width::W64;
        match (a, b) {
            (_, word) if op == AluOp::Mov && wide => Ok(word),
            (Word::Number(a), Word::Number(b)) => Ok(Word::Number(compute(width, op, a, b))),
            (Word::Pointer { object, offset }, Word::Number(number)) if wide && op == AluOp::Add => {
                Ok(Word::Pointer { object, offset: offset.wrapping_add(number) })
            }
            (Word::Pointer { object, offset }, Word::Number(number)) if wide && op == AluOp::Sub => {
                Ok(Word::Pointer { object, offset: offset.wrapping_sub(number) })
            }
            (Word::Number(number), Word::Pointer { object, offset }) if wide && op == AluOp::Add => {
                Ok(Word::Pointer { object, offset: offset.wrapping_add(number) })
            }
            (Word::Pointer { object, offset }, Word::Pointer { object: other, offset: from })
                if wide && op == AluOp::Sub && object == other =>
            {
                Ok(Word::Number(offset.wrapping_sub(from)))
            }
            _ => Err(format!("{op:?} of {a:?} and {b:?} shows an address")),
        }
    }

    fn holds(&self, width: Width, cond: Cond, a: Word, b: Word) -> Result<bool, String> {
        let address = |object: usize, offset: u64| self.objects[object].address.wrapping_add(offset);
        let equality = width == Width::W64 && matches!(cond, Cond::Eq | Cond::Ne);
        match (a, b) {
            (Word::Number(a), Word::Number(b)) => Ok(compare(width, cond, a, b)),
            (Word::Map(_), Word::Number(0)) | (Word::Number(0), Word::Map(_)) if equality => {
                Ok(cond == Cond::Ne)
            }
            (Word::Pointer { object, offset }, Word::Number(0))
            | (Word::Number(0), Word::Pointer { object, offset })
                if equality =>
            {
                Ok(compare(width, cond, address(object, offset), 0))
            }
            (Word::Pointer { object, offset }, Word::Pointer { object: other, offset: to })
                if object == other && width == Width::W64 =>
            {
                Ok(compare(width, cond, address(object, offset), address(other, to)))
            }
            _ => Err(format!("{cond:?} of {a:?} and {b:?} shows an address")),
        }
    }

    fn map_value(&mut self, map: u32) -> Result<usize, String> {
        let descriptor = self.environment.maps.get(map as usize).ok_or("no such map")?;
        let bytes = (0..descriptor.value_size).map(|_| Byte::Number(self.rng.random())).collect();
        let read_only = descriptor.access == MapAccess::ReadOnly;
        Ok(self.object(Kind::MapValue(map), bytes, read_only, true))
    }

    /// Checks every argument and does what the prototype says.
    fn helper(&mut self, helper: Helper) -> Result<Word, String> {
        let args = helper.prototype.args();
        let arg = |reg: Reg| args[reg.index() - 1];
        for reg in Reg::ARGUMENTS {
            let (len, writes) = match arg(reg) {
                Arg::None => continue,
                Arg::Number => {
                    self.number(reg)?;
                    continue;
                }
                Arg::Context => {
                    let context = Word::Pointer { object: 0, offset: 0 };
                    if self.read(reg)? != context {
                        return Err(format!("{reg} is not the context"));
                    }
                    continue;
                }
                Arg::Map { kinds, writes } => {
                    let descriptor = self.descriptor(reg)?;
                    if !kinds.contains(&descriptor.kind) || writes && descriptor.access == MapAccess::ReadOnly
                    {
                        return Err(format!("{reg} is the wrong map"));
                    }
                    continue;
                }
                Arg::Size { zero } => {
                    if self.number(reg)? == 0 && !zero {
                        return Err("a size of 0".into());
                    }
                    continue;
                }
                Arg::ConstSize => {
                    self.number(reg)?;
                    continue;
                }
                Arg::Key { map } => (self.descriptor(map)?.key_size.into(), false),
                Arg::Value { map } => (self.descriptor(map)?.value_size.into(), false),
                Arg::ReadableFixed(len) => (len.into(), false),
                Arg::WritableFixed(len) => (len.into(), true),
                Arg::Readable { size } => (self.number(size)?, false),
                Arg::Writable { size } => (self.number(size)?, true),
            };
            let len = usize::try_from(len).map_err(|_| "a huge size")?;
            let (object, start) = self.range(self.read(reg)?, 0, len)?;
            let noise: Vec<u8> = (0..len).map(|_| self.rng.random()).collect();
            let target = &mut self.objects[object];
            let bytes = &mut target.bytes[start..start + len];
            if !writes {
                numbers(bytes)?;
            } else if target.read_only {
                return Err(format!("{:?} is read-only", target.kind));
            } else {
                for (byte, noise) in bytes.iter_mut().zip(noise) {
                    *byte = Byte::Number(noise);
                }
            }
        }
        Ok(match helper.prototype.returns() {
            Return::Void => Word::Unset,
            Return::Number => Word::Number(self.any()),
            Return::LengthOrErrno { size } => {
                let most = self.number(size)?.cast_signed();
                let number = match self.rng.random_range(0..4) {
                    0 => most,
                    1 => -4095,
                    _ => self.rng.random_range(-4095..=most),
                };
                Word::Number(number.cast_unsigned())
            }
            _ if self.rng.random_ratio(1, 4) => Word::Number(0),
            Return::MapValueOrNull { map } => {
                Word::Pointer { object: self.map_value(self.map(map)?)?, offset: 0 }
            }
            Return::MemoryOrNull { size } => {
                let size = self.number(size)?;
                let bytes = (0..size).map(|_| Byte::Number(self.rng.random())).collect();
                Word::Pointer {
                    object: self.object(Kind::Memory(size as u32), bytes, false, true),
                    offset: 0,
                }
            }
        })
    }

    fn map(&self, reg: Reg) -> Result<u32, String> {
        let Word::Map(index) = self.read(reg)? else { return Err(format!("{reg} is no map")) };
        Ok(index)
    }

    fn descriptor(&self, reg: Reg) -> Result<&'a MapDescriptor, String> {
        Ok(&self.environment.maps[self.map(reg)? as usize])
    }

    fn any(&mut self) -> u64 {
        match self.rng.random_range(0..4) {
            0 => self.rng.random(),
            1 => self.rng.random_range(0..128),
            2 => self.rng.random_range(0..128_u64).wrapping_neg(),
            _ => 1_u64.rotate_left(self.rng.random_range(0..64)),
        }
    }

    /// That some state of the verifier's is true here.
    fn check_claims(&mut self, pc: usize) -> Result<(), String> {
        let Some(claims) = self.claims else { return Ok(()) };
        let Some(states) = claims.0.get(&pc) else { return Err("the verifier was never here".into()) };
        let last = self.last.get(&pc).copied().unwrap_or(0);
        if states.get(last).is_some_and(|state| self.is_as(state).is_ok()) {
            return Ok(());
        }
        let mut why = String::new();
        for (index, state) in states.iter().enumerate() {
            match self.is_as(state) {
                Ok(()) => {
                    self.last.insert(pc, index);
                    return Ok(());
                }
                Err(not) => why = format!("{not} in {state}"),
            }
        }
        Err(format!("none of {} states is true, the last: {why}", states.len()))
    }

    fn is_as(&self, state: &State) -> Result<(), String> {
        if state.depth() != self.frames.len() {
            return Err("another function".into());
        }
        let mut ids = HashMap::new();
        for (depth, frame) in self.frames.iter().enumerate() {
            for (reg, word) in Reg::WRITABLE.into_iter().zip(frame.registers) {
                let claim = state.register_of(depth, reg);
                self.word_is_as(word, claim, &mut ids).map_err(|why| format!("{reg}: {why}"))?;
            }
            let bytes = &self.objects[frame.stack].bytes;
            for offset in (-state.stack_bytes(depth)..0).step_by(4) {
                let at = (MAX_STACK as i16 + offset) as usize;
                let value = state.stack_value(depth, offset);
                let number = |len: usize| {
                    let mut number = numbers(&bytes[at..at + len])?;
                    number.resize(8, 0);
                    Ok::<_, String>(u64::from_le_bytes(number.try_into().expect("8 bytes")))
                };
                if let Some(claim) = value.filter(|_| offset % 8 == 0) {
                    let word = match bytes[at] {
                        Byte::Part(word, 0) => word,
                        _ => Word::Number(number(8)?),
                    };
                    self.word_is_as(word, claim, &mut ids).map_err(|why| format!("[{offset}]: {why}"))?;
                } else if let Some(claim) = state.stack_word(depth, offset)
                    && !claim.contains(number(4)?)
                {
                    return Err(format!("[{offset}] is {:#x}, not {claim}", number(4)?));
                }
            }
        }
        Ok(())
    }

    fn word_is_as(&self, word: Word, claim: Value, ids: &mut HashMap<Id, Word>) -> Result<(), String> {
        let id = match claim {
            Value::Uninit => return Ok(()),
            Value::Scalar(claim, id) => match word {
                Word::Number(number) if claim.contains(number) => id,
                _ => return Err(format!("{word:x?} is not {claim}")),
            },
            Value::Map(map) if word == Word::Map(map) => return Ok(()),
            Value::Map(_) => return Err(format!("{word:?} is no such map")),
            Value::Pointer(claim) => match word {
                Word::Number(0) if claim.nullable => claim.id,
                Word::Pointer { object, offset } => {
                    let kind = self.objects[object].kind;
                    let region = match kind {
                        Kind::Context => Region::Context,
                        Kind::Stack(depth) => Region::Stack(depth),
                        Kind::MapValue(map) => Region::MapValue(map),
                        Kind::Memory(size) => Region::Memory(size),
                    };
                    if region != claim.region || !claim.offset.contains(offset.wrapping_sub(shift(kind))) {
                        return Err(format!("{word:x?} is not {}", Value::Pointer(claim)));
                    }
                    claim.id
                }
                _ => return Err(format!("{word:x?} is not {}", Value::Pointer(claim))),
            },
        };
        // The same id is the same number, or the same object.
        let identity = match word {
            Word::Pointer { object, .. } => Word::Pointer { object, offset: 0 },
            other => other,
        };
        match ids.insert(id, identity) {
            Some(other) if id != 0 && other != identity => {
                Err(format!("{identity:x?} is tied to {other:x?}"))
            }
            _ => Ok(()),
        }
    }
}

const LOW: u64 = u32::MAX as u64;

const fn length(size: Size) -> usize {
    match size {
        Size::Byte => 1,
        Size::Half => 2,
        Size::Word => 4,
        Size::Double => 8,
    }
}

fn numbers(bytes: &[Byte]) -> Result<Vec<u8>, String> {
    bytes
        .iter()
        .map(|byte| match byte {
            Byte::Number(number) => Ok(*number),
            other => Err(format!("{other:?} is read as a number")),
        })
        .collect()
}

/// What an operation gives, by the instruction set's words.
pub fn compute(width: Width, op: AluOp, a: u64, b: u64) -> u64 {
    if width == Width::W32 {
        let (a, b) = (a as u32, b as u32);
        return u64::from(match op {
            AluOp::Add => a.wrapping_add(b),
            AluOp::Sub => a.wrapping_sub(b),
            AluOp::Mul => a.wrapping_mul(b),
            AluOp::Div => a.checked_div(b).unwrap_or(0),
            AluOp::Mod => a.checked_rem(b).unwrap_or(a),
            AluOp::Or => a | b,
            AluOp::And => a & b,
            AluOp::Xor => a ^ b,
            AluOp::Lsh => a << (b & 31),
            AluOp::Rsh => a >> (b & 31),
            AluOp::Arsh => (a.cast_signed() >> (b & 31)).cast_unsigned(),
            AluOp::Mov => b,
        });
    }
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a << (b & 63),
        AluOp::Rsh => a >> (b & 63),
        AluOp::Arsh => (a.cast_signed() >> (b & 63)).cast_unsigned(),
        AluOp::Mov => b,
    }
}

/// Whether a comparison holds.
pub fn compare(width: Width, cond: Cond, a: u64, b: u64) -> bool {
    let extend = |number: u64| i64::from((number as u32).cast_signed());
    let (a, b, s, t) = match width {
        Width::W64 => (a, b, a.cast_signed(), b.cast_signed()),
        Width::W32 => (a & LOW, b & LOW, extend(a), extend(b)),
    };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Set => a & b != 0,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => s > t,
        Cond::Sge => s >= t,
        Cond::Slt => s < t,
        Cond::Sle => s <= t,
    }
}
