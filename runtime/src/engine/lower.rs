//! A verified program as rbpf runs it right.
//!
//! What rbpf gets wrong is written in other instructions, that both of its engines have right:
//!
//! | instruction | rbpf | is written as |
//! |---|---|---|
//! | `w0 = w1` | JIT copies 64 bits | `r0 = r1; w0 &= -1` |
//! | `le16`, `le32`, `le64` on a little-endian machine | JIT does nothing | `r0 &= 0xffff`, `w0 &= -1`, `goto +0` |
//! | `w0 %= w1` | by 0, both keep the high half | `w0 &= -1; w0 %= w1` |
//! | `r0 = -r0` | interpreter overflows at `i64::MIN`, a panic where that is checked | `r0 ^= -1; r0 += 1` |
//! | `if r0 == -5`, and `!= > >= < <=` | interpreter does not sign-extend | two signed comparisons, [`sign_extended`] |
//! | `if r10 == r1` | refused | the operands change places |
//! | a jump to itself | refused | by way of another jump |
//! | `call` of a local function | JIT: the frames are one; interpreter: at most 256 bytes | the function, written there |
//! | `r1 = map[0]` | | a number that helpers know |
//! | `r1 = map[0][0]+8` | | its address |
//! | `call` of a helper | interpreter passes it nothing of the run | see [`Target::Interpreter`] |
//! | what no run gets to | anything | `exit` |
//!
//! One thing is written otherwise because it is faster: on the JIT a lookup in an array is the arithmetic that it is,
//! where the call stands behind the `r1 = map[0]` that it depends on with no way in between.
//!
//! A local function is written at each place that calls it. Its frame begins below that of its caller, and what
//! it changes of r6 to r9 is kept between the two. So r10 is one register at one address for the whole run.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use cbpf_translator::OutOfMemory;
use cbpf_translator::disasm::EbpfListing;
use cbpf_translator::ebpf::{
    Address, AluOp, ByteOrder, Cond, INSN_SIZE, Imm64, Insn, Instruction, Opcode, Operand, Reg, Size, Source,
    SwapBits, Width,
};
use cbpf_translator::fallible::{filled, with_capacity};

use super::ebpf::{Program, map_handle, target};
use crate::map::Map;
use crate::verifier::{MAX_CALL_DEPTH, MAX_STACK, MapKind};

/// The most instructions that a program may become. rbpf's interpreter computes with 16-bit indices, its JIT with
/// 16-bit ones too at divisions, and all jumps reach this far.
pub(crate) const MAX_LOWERED: usize = i16::MAX as usize;

/// Which of rbpf's engines the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A helper is called as it is: the code that is called finds its run in a register.
    Jit,
    /// rbpf gives helpers five registers and nothing else. The address of the run's [`Frame`](super::ebpf::Frame)
    /// is what the "packet" holds; the program puts r1 and r10 there and passes that address in place of r1.
    Interpreter,
}

/// Offsets in the interpreter's frame.
pub(super) const FRAME_STACK: i16 = 0;
pub(super) const FRAME_ARGUMENT: i16 = 8;

/// rbpf's load of 8 bytes of the packet into r0. Linux has none of that size.
const LOAD_PACKET: u8 = 0x38;

/// Why a program cannot be written for rbpf. It is fine, and another engine runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LowerError {
    /// It would be more than 32,767 instructions, with local functions written where they are called.
    TooLong,
    /// The frames of local functions, with what is kept for their callers, do not fit the stack.
    Stack,
    /// The instruction at this index does with r10 what has no other form.
    Frame(usize),
    /// The instruction at this index names what the program does not have.
    Unknown(usize),
    /// There is no memory.
    OutOfMemory,
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "the program becomes more than {MAX_LOWERED} instructions")
            }
            Self::Stack => f.write_str("the frames of its functions do not fit the stack"),
            Self::Frame(pc) => write!(f, "instruction {pc}: this use of r10 has no other form"),
            Self::Unknown(pc) => write!(f, "instruction {pc}: the program has no such map or function"),
            Self::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl Error for LowerError {}

impl From<OutOfMemory> for LowerError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// An eBPF program as it is given to one of rbpf's engines; `Display` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    insns: Vec<Insn>,
}

impl Lowered {
    /// Its instructions.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// As rbpf reads it.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, OutOfMemory> {
        let mut bytes = with_capacity(self.insns.len().saturating_mul(INSN_SIZE))?;
        self.insns.iter().for_each(|insn| bytes.extend_from_slice(&insn.to_le_bytes()));
        Ok(bytes)
    }
}

impl fmt::Display for Lowered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EbpfListing(&self.insns).fmt(f)
    }
}

/// Writes `program`, which names `maps` by their index, for rbpf. `lookup` is the number of the helper that looks
/// into maps, if that is ours.
pub(crate) fn lower(
    program: &Program,
    maps: &[Arc<Map>],
    target: Target,
    lookup: Option<i32>,
) -> Result<Lowered, LowerError> {
    let changed = changed_registers(program)?;
    let meeting = meeting_points(program)?;
    let mut writer =
        Writer { program, maps, target, lookup, changed: &changed, meeting: &meeting, insns: Vec::new() };
    writer.function(0, Place { base: 0, depth: 0 })?;
    Ok(Lowered { insns: writer.insns })
}

struct Writer<'a> {
    program: &'a Program,
    maps: &'a [Arc<Map>],
    target: Target,
    lookup: Option<i32>,
    /// Which registers each function may change, a bit for each.
    changed: &'a [u16],
    /// Where jumps lead.
    meeting: &'a [bool],
    insns: Vec<Insn>,
}

/// Where a function is written.
#[derive(Clone, Copy)]
struct Place {
    /// How far below r10 its frame begins, in bytes.
    base: i16,
    /// How many functions call one another there.
    depth: usize,
}

/// A function that is being written.
struct Body {
    /// The index of its first instruction.
    start: usize,
    /// Where each of its instructions was written.
    at: Vec<usize>,
    /// Jumps, and the instruction that each leads to.
    jumps: Vec<(usize, usize)>,
    /// Jumps to its end.
    exits: Vec<usize>,
}

/// Where one of several instructions leads.
#[derive(Clone, Copy)]
enum To {
    /// Where the one they stand for leads.
    Target,
    /// Behind them.
    Past,
}

impl Writer<'_> {
    /// Writes a function. Its depth is bounded, and so is this recursion.
    fn function(&mut self, function: usize, place: Place) -> Result<(), LowerError> {
        let range = self.program.body(function);
        let mut body = Body { start: range.start, at: Vec::new(), jumps: Vec::new(), exits: Vec::new() };
        body.at.try_reserve_exact(range.len()).map_err(|_| OutOfMemory)?;
        let mut second_half = false;
        let mut in_dead_code = false;
        // The map that r1 is, if that is known.
        let mut map = None;
        for pc in range {
            let next = self.insns.len();
            if self.meeting.get(pc).is_none_or(|meets| *meets) {
                map = None;
            }
            match self.program.insn(pc) {
                Some(insn) => {
                    body.at.push(next);
                    match (insn, map) {
                        (Instruction::CallHelper { id }, Some(map)) if self.is_lookup(id, map) => {
                            self.look_up(map)?;
                        }
                        _ => self.insn(insn, pc, place, function, &mut body)?,
                    }
                    map = map_in_r1(insn, map);
                    second_half = insn.slots() > 1;
                    in_dead_code = false;
                }
                None if second_half => {
                    body.at.push(next);
                    second_half = false;
                }
                // One exit for all that follow one another.
                None if in_dead_code => body.at.push(next.saturating_sub(1)),
                None => {
                    body.at.push(next);
                    self.put(Opcode::Exit, 0, 0, 0, 0)?;
                    in_dead_code = true;
                }
            }
        }
        let end = self.insns.len();
        for (from, pc) in body.jumps {
            let to = pc.checked_sub(body.start).and_then(|index| body.at.get(index));
            self.lead(from, *to.ok_or(LowerError::Unknown(pc))?)?;
        }
        body.exits.into_iter().try_for_each(|from| self.lead(from, end))
    }

    fn insn(
        &mut self,
        insn: Instruction,
        pc: usize,
        place: Place,
        function: usize,
        body: &mut Body,
    ) -> Result<(), LowerError> {
        match insn {
            Instruction::Alu { width, op, dst, operand } => self.alu(width, op, dst, operand, pc, place),
            Instruction::Neg { width: Width::W32, dst } => self.put(Opcode::Neg(Width::W32), n(dst), 0, 0, 0),
            Instruction::Neg { width: Width::W64, dst } => {
                self.alu_imm(Width::W64, AluOp::Xor, dst, -1)?;
                self.alu_imm(Width::W64, AluOp::Add, dst, 1)
            }
            Instruction::Swap { order, bits, dst } => self.swap(order, bits, dst),
            Instruction::Ja { off } => self.jump(&[], pc, off, body),
            Instruction::Jump { width, cond, dst, operand, off } => {
                self.compare(width, cond, dst, operand, pc, off, place, body)
            }
            Instruction::CallHelper { id } => self.call_helper(id),
            Instruction::CallLocal { off } => {
                let callee = self.program.callee(pc, off).ok_or(LowerError::Unknown(pc))?;
                self.call_local(function, callee, place)
            }
            Instruction::Exit if place.depth == 0 => self.put(Opcode::Exit, 0, 0, 0, 0),
            Instruction::Exit => {
                body.exits.try_reserve(1).map_err(|_| OutOfMemory)?;
                body.exits.push(self.insns.len());
                self.put(Opcode::Ja, 0, 0, 0, 0)
            }
            Instruction::LoadImm64 { dst, imm } => self.load_imm64(dst, imm, pc),
            Instruction::Load { size, dst, from } => {
                self.put(Opcode::Load(size), n(dst), n(from.base), place.offset(from)?, 0)
            }
            Instruction::StoreImm { size, to, imm } => {
                self.put(Opcode::StoreImm(size), n(to.base), 0, place.offset(to)?, imm)
            }
            Instruction::Store { src: Reg::FRAME, .. } if place.base != 0 => Err(LowerError::Frame(pc)),
            Instruction::Store { size, to, src } => {
                self.put(Opcode::Store(size), n(to.base), n(src), place.offset(to)?, 0)
            }
        }
    }

    fn alu(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        operand: Operand,
        pc: usize,
        place: Place,
    ) -> Result<(), LowerError> {
        match (width, op, operand) {
            (Width::W32, AluOp::Mov, Operand::Reg(src)) => {
                if src != dst {
                    self.alu_reg(Width::W64, AluOp::Mov, dst, src)?;
                }
                self.alu_imm(Width::W32, AluOp::And, dst, -1)
            }
            (Width::W32, AluOp::Mod, Operand::Reg(src)) => {
                self.alu_imm(Width::W32, AluOp::And, dst, -1)?;
                self.alu_reg(width, op, dst, src)
            }
            (_, _, Operand::Reg(Reg::FRAME)) if place.base != 0 => {
                let base = i32::from(place.base);
                let base = match (width, op) {
                    (Width::W64, AluOp::Mov | AluOp::Add) => base.wrapping_neg(),
                    (Width::W64, AluOp::Sub) => base,
                    _ => return Err(LowerError::Frame(pc)),
                };
                self.alu_reg(width, op, dst, Reg::FRAME)?;
                self.alu_imm(Width::W64, AluOp::Add, dst, base)
            }
            (_, _, Operand::Reg(src)) => self.alu_reg(width, op, dst, src),
            (_, _, Operand::Imm(imm)) => self.alu_imm(width, op, dst, imm),
        }
    }

    fn swap(&mut self, order: ByteOrder, bits: SwapBits, dst: Reg) -> Result<(), LowerError> {
        let opcode = match order {
            ByteOrder::Big => Opcode::ToBe,
            // The JIT is not for such machines, and the interpreter is right.
            ByteOrder::Little if cfg!(target_endian = "big") => Opcode::ToLe,
            ByteOrder::Little => {
                return match bits {
                    SwapBits::B16 => self.alu_imm(Width::W64, AluOp::And, dst, 0xffff),
                    SwapBits::B32 => self.alu_imm(Width::W32, AluOp::And, dst, -1),
                    SwapBits::B64 => self.put(Opcode::Ja, 0, 0, 0, 0),
                };
            }
        };
        self.put(opcode, n(dst), 0, 0, bits as i32)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a jump, and where it stands")]
    fn compare(
        &mut self,
        width: Width,
        cond: Cond,
        dst: Reg,
        operand: Operand,
        pc: usize,
        off: i16,
        place: Place,
        body: &mut Body,
    ) -> Result<(), LowerError> {
        let uses_frame = dst == Reg::FRAME || operand == Operand::Reg(Reg::FRAME);
        let opcode = |cond, source| Opcode::Jump(width, cond, source).code();
        match (dst, operand) {
            _ if uses_frame && place.base != 0 => Err(LowerError::Frame(pc)),
            (Reg::FRAME, Operand::Imm(_) | Operand::Reg(Reg::FRAME)) => Err(LowerError::Frame(pc)),
            (Reg::FRAME, Operand::Reg(src)) => {
                let code = opcode(mirrored(cond), Source::Reg);
                self.jump(&[(Insn::new(code, n(src), n(dst), 0, 0), To::Target)], pc, off, body)
            }
            (_, Operand::Reg(src)) => {
                let code = opcode(cond, Source::Reg);
                self.jump(&[(Insn::new(code, n(dst), n(src), 0, 0), To::Target)], pc, off, body)
            }
            (_, Operand::Imm(imm)) => {
                let compare = |(cond, imm, to): (Cond, i32, To)| {
                    (Insn::new(opcode(cond, Source::Imm), n(dst), 0, 0, imm), to)
                };
                match sign_extended(cond, imm) {
                    Some(two) if width == Width::W64 => self.jump(&two.map(compare), pc, off, body),
                    _ => self.jump(&[compare((cond, imm, To::Target))], pc, off, body),
                }
            }
        }
    }

    /// Writes a jump from `pc` by `off`: if one of `conditions` says so, or always if there are none.
    fn jump(
        &mut self,
        conditions: &[(Insn, To)],
        pc: usize,
        off: i16,
        body: &mut Body,
    ) -> Result<(), LowerError> {
        let to = target(pc, off.into()).ok_or(LowerError::Unknown(pc))?;
        let start = self.insns.len();
        let past = start.saturating_add(conditions.len());
        if to == pc {
            // Past the jump that is not taken, to the one that leads back.
            let back = past.saturating_add(1);
            for (insn, to) in conditions {
                let from = self.push(*insn)?;
                self.lead(from, if matches!(to, To::Target) { back } else { past })?;
            }
            let skip = self.push(ja())?;
            self.lead(skip, if conditions.is_empty() { back } else { back.saturating_add(1) })?;
            let back = self.push(ja())?;
            return self.lead(back, start);
        }
        body.jumps.try_reserve(conditions.len().saturating_add(1)).map_err(|_| OutOfMemory)?;
        for (insn, leads) in conditions {
            let from = self.push(*insn)?;
            match leads {
                To::Target => body.jumps.push((from, to)),
                To::Past => self.lead(from, past)?,
            }
        }
        if conditions.is_empty() {
            let from = self.push(ja())?;
            body.jumps.push((from, to));
        }
        Ok(())
    }

    fn call_helper(&mut self, id: i32) -> Result<(), LowerError> {
        if self.target == Target::Interpreter {
            let (r0, r1, r10) = (n(Reg::R0), n(Reg::R1), n(Reg::FRAME));
            self.push(Insn::new(LOAD_PACKET, r0, 0, 0, 0))?;
            self.put(Opcode::Store(Size::Double), r0, r10, FRAME_STACK, 0)?;
            self.put(Opcode::Store(Size::Double), r0, r1, FRAME_ARGUMENT, 0)?;
            self.alu_reg(Width::W64, AluOp::Mov, Reg::R1, Reg::R0)?;
        }
        self.put(Opcode::Call, 0, 0, 0, id)
    }

    /// Whether a call of a helper can be written as [`look_up`](Self::look_up). The JIT's machine can read an index
    /// wherever it is; other machines want it aligned.
    fn is_lookup(&self, id: i32, map: u32) -> bool {
        let kind = self.maps.get(map as usize).map(|map| map.descriptor().kind);
        self.lookup == Some(id) && self.target == Target::Jit && kind == Some(MapKind::Array)
    }

    /// r0 = the address of the value whose index is at r2 in an array, or null.
    fn look_up(&mut self, map: u32) -> Result<(), LowerError> {
        let map = self.maps.get(map as usize).ok_or(LowerError::Stack)?;
        let (base, stride) = (map.words().address(), map.stride());
        let (r0, r2) = (n(Reg::R0), n(Reg::ARGUMENTS[1]));
        // Both are at most 2^20.
        let (len, stride) = (map.descriptor().max_entries as i32, stride as i32);
        self.put(Opcode::Load(Size::Word), r0, r2, 0, 0)?;
        let no_such =
            self.push(Insn::new(Opcode::Jump(Width::W64, Cond::Ge, Source::Imm).code(), r0, 0, 0, len))?;
        // As in `nospec.rs`: where the jump is guessed wrong, the index is 0. rbpf leaves nothing out.
        if len.count_ones() == 1 {
            self.alu_imm(Width::W64, AluOp::And, Reg::R0, len.wrapping_sub(1))?;
        } else {
            self.alu_reg(Width::W64, AluOp::Mov, Reg::R1, Reg::R0)?;
            self.alu_imm(Width::W64, AluOp::Sub, Reg::R1, len)?;
            self.alu_imm(Width::W64, AluOp::Arsh, Reg::R1, 63)?;
            self.alu_reg(Width::W64, AluOp::And, Reg::R0, Reg::R1)?;
        }
        match stride.count_ones() {
            1 => self.alu_imm(Width::W64, AluOp::Lsh, Reg::R0, stride.trailing_zeros() as i32)?,
            _ => self.alu_imm(Width::W64, AluOp::Mul, Reg::R0, stride)?,
        }
        self.constant(Reg::R1, base)?;
        self.alu_reg(Width::W64, AluOp::Add, Reg::R0, Reg::R1)?;
        let found = self.push(ja())?;
        let null = self.insns.len();
        self.alu_imm(Width::W64, AluOp::Mov, Reg::R0, 0)?;
        self.lead(no_such, null)?;
        self.lead(found, null.saturating_add(1))
    }

    fn call_local(&mut self, caller: usize, callee: usize, place: Place) -> Result<(), LowerError> {
        let depth = place.depth.saturating_add(1);
        if depth >= MAX_CALL_DEPTH {
            return Err(LowerError::Stack);
        }
        let stack = |function: usize| {
            let function = self.program.functions().get(function);
            function.and_then(|function| i16::try_from(function.stack).ok()).ok_or(LowerError::Stack)
        };
        let (below_caller, callee_stack) = (place.base.saturating_add(stack(caller)?), stack(callee)?);
        let changed = self.changed.get(callee).copied().unwrap_or(u16::MAX);
        let mut kept = Reg::SAVED.map(|reg| (changed & bit(reg) != 0).then_some((reg, 0)));
        let mut base = below_caller;
        for (_, offset) in kept.iter_mut().flatten() {
            base = base.saturating_add(8);
            *offset = base.saturating_neg();
        }
        if usize::try_from(base.saturating_add(callee_stack)).is_ok_and(|bytes| bytes > MAX_STACK) {
            return Err(LowerError::Stack);
        }
        for (reg, offset) in kept.into_iter().flatten() {
            self.put(Opcode::Store(Size::Double), n(Reg::FRAME), n(reg), offset, 0)?;
        }
        self.function(callee, Place { base, depth })?;
        for (reg, offset) in kept.into_iter().flatten() {
            self.put(Opcode::Load(Size::Double), n(reg), n(Reg::FRAME), offset, 0)?;
        }
        Ok(())
    }

    fn load_imm64(&mut self, dst: Reg, imm: Imm64, pc: usize) -> Result<(), LowerError> {
        let constant = match imm {
            Imm64::Constant(constant) => constant,
            Imm64::Map(map) => {
                let handle = self.maps.get(map as usize).and_then(|_| map_handle(map));
                return self.alu_imm(Width::W64, AluOp::Mov, dst, handle.ok_or(LowerError::Unknown(pc))?);
            }
            Imm64::MapValue { map, offset } => {
                let map = self.maps.get(map as usize).ok_or(LowerError::Unknown(pc))?;
                map.words().address().wrapping_add(offset.into())
            }
        };
        self.constant(dst, constant)
    }

    fn constant(&mut self, dst: Reg, constant: u64) -> Result<(), LowerError> {
        let (low, high) = (constant as i32, (constant >> 32) as i32);
        self.put(Opcode::LoadImm64, n(dst), 0, 0, low)?;
        self.push(Insn::new(0, 0, 0, 0, high)).map(|_| ())
    }

    fn alu_reg(&mut self, width: Width, op: AluOp, dst: Reg, src: Reg) -> Result<(), LowerError> {
        self.put(Opcode::Alu(width, op, Source::Reg), n(dst), n(src), 0, 0)
    }

    fn alu_imm(&mut self, width: Width, op: AluOp, dst: Reg, imm: i32) -> Result<(), LowerError> {
        self.put(Opcode::Alu(width, op, Source::Imm), n(dst), 0, 0, imm)
    }

    fn put(&mut self, opcode: Opcode, dst: u8, src: u8, off: i16, imm: i32) -> Result<(), LowerError> {
        self.push(Insn::new(opcode.code(), dst, src, off, imm)).map(|_| ())
    }

    /// Writes an instruction; its index.
    fn push(&mut self, insn: Insn) -> Result<usize, LowerError> {
        let index = self.insns.len();
        if index >= MAX_LOWERED {
            return Err(LowerError::TooLong);
        }
        self.insns.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.insns.push(insn);
        Ok(index)
    }

    /// Makes a jump lead somewhere. Both are below [`MAX_LOWERED`], so 16 bits hold the way.
    fn lead(&mut self, from: usize, to: usize) -> Result<(), LowerError> {
        let off = (to as i64).saturating_sub(from as i64).saturating_sub(1);
        let insn = self.insns.get_mut(from).ok_or(LowerError::TooLong)?;
        insn.off = i16::try_from(off).map_err(|_| LowerError::TooLong)?;
        Ok(())
    }
}

impl Place {
    /// The distance from the one r10, where the address is from the function's own.
    fn offset(self, address: Address) -> Result<i16, LowerError> {
        if address.base != Reg::FRAME {
            return Ok(address.off);
        }
        address.off.checked_sub(self.base).ok_or(LowerError::Stack)
    }
}

const fn n(reg: Reg) -> u8 {
    reg.number()
}

const fn ja() -> Insn {
    Insn::new(Opcode::Ja.code(), 0, 0, 0, 0)
}

/// Which map r1 is behind an instruction, if it was `before` that instruction.
fn map_in_r1(insn: Instruction, before: Option<u32>) -> Option<u32> {
    match insn {
        Instruction::LoadImm64 { dst: Reg::R1, imm: Imm64::Map(map) } => Some(map),
        Instruction::CallHelper { .. } | Instruction::CallLocal { .. } => None,
        insn if written(insn) == Some(Reg::R1) => None,
        _ => before,
    }
}

/// The register that an instruction, which is no call, writes.
const fn written(insn: Instruction) -> Option<Reg> {
    match insn {
        Instruction::Alu { dst, .. }
        | Instruction::Neg { dst, .. }
        | Instruction::Swap { dst, .. }
        | Instruction::LoadImm64 { dst, .. }
        | Instruction::Load { dst, .. } => Some(dst),
        _ => None,
    }
}

/// For each instruction, whether a jump leads there.
fn meeting_points(program: &Program) -> Result<Vec<bool>, OutOfMemory> {
    let mut meeting = filled(program.len(), false)?;
    for pc in 0..program.len() {
        let to = match program.insn(pc) {
            Some(Instruction::Ja { off } | Instruction::Jump { off, .. }) => target(pc, off.into()),
            _ => None,
        };
        if let Some(meets) = to.and_then(|to| meeting.get_mut(to)) {
            *meets = true;
        }
    }
    Ok(meeting)
}

/// Which registers each function changes, or those that it calls.
fn changed_registers(program: &Program) -> Result<Vec<u16>, OutOfMemory> {
    let functions = program.functions().len();
    let mut changed = filled(functions, 0)?;
    // What a function changes is known after as many rounds as functions call one another below it.
    for _ in 0..MAX_CALL_DEPTH {
        for function in 0..functions {
            let registers = program.body(function).fold(0, |registers, pc| {
                registers
                    | match program.insn(pc) {
                        Some(Instruction::CallLocal { off }) => program
                            .callee(pc, off)
                            .and_then(|callee| changed.get(callee).copied())
                            .unwrap_or(0),
                        insn => insn.and_then(written).map_or(0, bit),
                    }
            });
            if let Some(known) = changed.get_mut(function) {
                *known = registers;
            }
        }
    }
    Ok(changed)
}

const fn bit(reg: Reg) -> u16 {
    1_u16.wrapping_shl(reg.number() as u32)
}

/// The comparison that holds for `b, a` where this one holds for `a, b`.
const fn mirrored(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Eq | Cond::Ne | Cond::Set => cond,
    }
}

/// A 64-bit comparison with a negative constant, as two that rbpf sign-extends; the second is made where the
/// first does not hold. `None` where one is right.
///
/// As an unsigned number the constant is at least 2^63, like every number that is negative as a signed one, and
/// among those the order is the same.
const fn sign_extended(cond: Cond, imm: i32) -> Option<[(Cond, i32, To); 2]> {
    if imm >= 0 {
        return None;
    }
    Some(match cond {
        Cond::Eq => [(Cond::Slt, imm, To::Past), (Cond::Sle, imm, To::Target)],
        Cond::Ne => [(Cond::Slt, imm, To::Target), (Cond::Sgt, imm, To::Target)],
        Cond::Gt => [(Cond::Sge, 0, To::Past), (Cond::Sgt, imm, To::Target)],
        Cond::Ge => [(Cond::Sge, 0, To::Past), (Cond::Sge, imm, To::Target)],
        Cond::Lt => [(Cond::Sge, 0, To::Target), (Cond::Slt, imm, To::Target)],
        Cond::Le => [(Cond::Sge, 0, To::Target), (Cond::Sle, imm, To::Target)],
        Cond::Set | Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle => return None,
    })
}
