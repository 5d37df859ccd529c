//! Which numbers an eBPF filter always answers with one value, and does nothing else about.
//!
//! The program is followed with number and architecture known, for one number after the other, as long as what it
//! does next is known too. So it has a value for a number if its way depends on nothing but these two. It has none
//! if it asks a helper or writes a map on that way: then it has to run.

use alloc::sync::Arc;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{AluOp, Imm64, Instruction, Reg, Size, Width};
use zerocopy::IntoBytes;

use super::{ARCH_OFFSET, Planned};
use crate::by_number::ByNumber;
use crate::data::SeccompData;
use crate::engine::ebpf::machine::{Machine, Word};
use crate::engine::ebpf::program::{Program, target};
use crate::engine::ebpf::{bytes_of, native, number_of};
use crate::map::Map;
use crate::verifier::MAX_STACK;

/// The most instructions that are followed for one number.
pub(crate) const MAX_STEPS: usize = 4096;

/// The most instructions that are followed for all numbers together.
const MAX_ALL_STEPS: usize = 1 << 18;

/// The bytes of the context that are known: number and architecture.
const KNOWN: usize = ARCH_OFFSET as usize + size_of::<u32>();

/// What an eBPF filter is known to answer to the calls of one entry.
pub(crate) struct ExtensionPlan {
    arch: u32,
    table: ByNumber<Planned>,
}

impl ExtensionPlan {
    /// For calls with the `AUDIT_ARCH_*` value `arch`, of each of which at most `most` instructions are followed.
    pub(crate) fn new(
        program: &Program,
        maps: &[Arc<Map>],
        arch: u32,
        most: usize,
    ) -> Result<Self, OutOfMemory> {
        let mut table = ByNumber::new(|| Planned::Whole)?;
        let mut left = MAX_ALL_STEPS;
        for (nr, row) in table.iter_mut() {
            let data = SeccompData { nr, arch, ..SeccompData::default() };
            let mut steps = most.min(left);
            left = left.saturating_sub(steps);
            if let Some(value) = follow(program, maps, &data, &mut steps) {
                *row = Planned::Constant(value);
            }
            left = left.saturating_add(steps);
        }
        Ok(Self { arch, table })
    }

    pub(crate) const fn arch(&self) -> u32 {
        self.arch
    }

    /// What is known of calls of `nr`: [`Planned::Constant`] or [`Planned::Whole`].
    #[inline]
    pub(crate) fn planned(&self, nr: i32) -> Planned {
        self.table.get(nr).copied().unwrap_or(Planned::Whole)
    }
}

/// What a register holds, or a place on the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Value {
    /// It may be anything.
    #[default]
    Unknown,
    Number(u64),
    /// The address of this byte of the context.
    Context(i64),
    /// The address of a byte so far from the end of the main program's stack.
    Stack(i64),
    /// The address of this byte of a map's memory.
    InMap {
        map: u32,
        offset: i64,
    },
}

impl Word for Value {
    fn constant(imm: i32) -> Self {
        Self::Number(Word::constant(imm))
    }

    fn moved(self, by: i64) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Number(number) => Self::Number(number.moved(by)),
            Self::Context(offset) => Self::Context(offset.wrapping_add(by)),
            Self::Stack(offset) => Self::Stack(offset.wrapping_add(by)),
            Self::InMap { map, offset } => Self::InMap { map, offset: offset.wrapping_add(by) },
        }
    }
}

/// Follows the program for `data`, of which number and architecture count. Its value, if these decide it; takes
/// from `steps` what it needs.
fn follow(program: &Program, maps: &[Arc<Map>], data: &SeccompData, steps: &mut usize) -> Option<u32> {
    let mut machine = Machine::new(Value::Context(0), Value::Stack(0));
    let mut stack = Stack::default();
    let mut pc = 0;
    loop {
        *steps = steps.checked_sub(1)?;
        let insn = program.insn(pc)?;
        let mut next = pc.saturating_add(insn.slots());
        match insn {
            Instruction::Alu { width, op, dst, operand } => {
                machine.set(dst, alu(width, op, machine.get(dst), machine.operand(operand)));
            }
            Instruction::Neg { width, dst } => {
                machine.set(dst, alu(width, AluOp::Sub, Value::Number(0), machine.get(dst)));
            }
            Instruction::Swap { order, bits, dst } => {
                let swapped = match machine.get(dst) {
                    Value::Number(number) => Value::Number(native::swap(order, bits, number)),
                    _ => Value::Unknown,
                };
                machine.set(dst, swapped);
            }
            Instruction::Ja { off } => next = target(pc, off.into())?,
            Instruction::Jump { width, cond, dst, operand, off } => {
                let (Value::Number(dst), Value::Number(operand)) =
                    (machine.get(dst), machine.operand(operand))
                else {
                    return None;
                };
                if native::holds(width, cond, dst, operand) {
                    next = target(pc, off.into())?;
                }
            }
            Instruction::CallHelper { .. } => return None,
            Instruction::CallLocal { off } => {
                next = machine.call(program, program.callee(pc, off)?, next)?;
            }
            Instruction::Exit => match (machine.leave(), machine.get(Reg::R0)) {
                (Some(return_to), _) => next = return_to,
                (None, Value::Number(value)) => return Some(value as u32),
                (None, _) => return None,
            },
            Instruction::LoadImm64 { dst, imm } => machine.set(
                dst,
                match imm {
                    Imm64::Constant(constant) => Value::Number(constant),
                    Imm64::Map(_) => Value::Unknown,
                    Imm64::MapValue { map, offset } => Value::InMap { map, offset: offset.into() },
                },
            ),
            Instruction::Load { size, dst, from } => {
                let loaded = match machine.address(from) {
                    Value::Stack(offset) => stack.load(offset, size),
                    Value::Context(offset) => {
                        loaded(size, |to| copy(data.as_bytes().get(..KNOWN)?, offset, to))
                    }
                    Value::InMap { map, offset } => {
                        loaded(size, |to| read_constant(maps.get(map as usize)?, offset, to))
                    }
                    _ => Value::Unknown,
                };
                machine.set(dst, loaded);
            }
            Instruction::StoreImm { size, to, imm } => {
                stack.store(machine.address(to), size, Word::constant(imm))?;
            }
            Instruction::Store { size, to, src } => {
                stack.store(machine.address(to), size, machine.get(src))?;
            }
        }
        pc = next;
    }
}

fn alu(width: Width, op: AluOp, dst: Value, operand: Value) -> Value {
    match (width, op, dst, operand) {
        (_, _, Value::Number(dst), Value::Number(operand)) => {
            Value::Number(native::alu(width, op, dst, operand))
        }
        (Width::W64, AluOp::Mov, _, operand) => operand,
        (_, AluOp::Mov, _, Value::Number(operand)) => Value::Number(native::alu(width, op, 0, operand)),
        (Width::W64, AluOp::Add, Value::Number(by), pointer)
        | (Width::W64, AluOp::Add, pointer, Value::Number(by)) => pointer.moved(by.cast_signed()),
        (Width::W64, AluOp::Sub, pointer, Value::Number(by)) => {
            pointer.moved(by.cast_signed().wrapping_neg())
        }
        _ => Value::Unknown,
    }
}

/// A number of `size` bytes, if `read` has them.
fn loaded(size: Size, read: impl FnOnce(&mut [u8]) -> Option<()>) -> Value {
    let mut bytes = [0; 8];
    let read = bytes.get_mut(..bytes_of(size)).and_then(read);
    read.map_or(Value::Unknown, |()| Value::Number(number_of(bytes, size)))
}

fn copy(from: &[u8], offset: i64, to: &mut [u8]) -> Option<()> {
    to.copy_from_slice(from.get(usize::try_from(offset).ok()?..)?.get(..to.len())?);
    Some(())
}

/// Reads a map that never changes again.
fn read_constant(map: &Map, offset: i64, to: &mut [u8]) -> Option<()> {
    if map.is_writable() || !map.is_frozen() {
        return None;
    }
    map.words().read(usize::try_from(offset).ok()?, to)
}

/// What is known of the stack.
struct Stack {
    bytes: [u8; MAX_STACK],
    known: [bool; MAX_STACK],
    /// Where addresses are stored: of each 8 bytes, what they hold if it is no number.
    pointers: [Value; MAX_STACK / 8],
}

impl Default for Stack {
    fn default() -> Self {
        Self { bytes: [0; MAX_STACK], known: [false; MAX_STACK], pointers: [Value::Unknown; MAX_STACK / 8] }
    }
}

impl Stack {
    fn start(offset: i64) -> Option<usize> {
        MAX_STACK.checked_add_signed(isize::try_from(offset).ok()?)
    }

    fn load(&self, offset: i64, size: Size) -> Value {
        let pointer = Self::start(offset).and_then(|start| self.pointers.get(start / 8));
        match pointer {
            Some(Value::Unknown) | None => {}
            Some(pointer) if size == Size::Double => return *pointer,
            Some(_) => return Value::Unknown,
        }
        loaded(size, |to| {
            let start = Self::start(offset)?;
            let known = self.known.get(start..)?.get(..to.len())?;
            if known.contains(&false) {
                return None;
            }
            to.copy_from_slice(self.bytes.get(start..)?.get(..to.len())?);
            Some(())
        })
    }

    /// Writes at an address, if it is one of the stack.
    fn store(&mut self, to: Value, size: Size, value: Value) -> Option<()> {
        let Value::Stack(offset) = to else { return None };
        let (start, len) = (Self::start(offset)?, bytes_of(size));
        let pointer = self.pointers.get_mut(start / 8)?;
        let known = self.known.get_mut(start..)?.get_mut(..len)?;
        *pointer = Value::Unknown;
        known.fill(false);
        match value {
            Value::Number(number) => {
                let bytes = self.bytes.get_mut(start..)?.get_mut(..len)?;
                match size {
                    Size::Byte => bytes.copy_from_slice(&(number as u8).to_ne_bytes()),
                    Size::Half => bytes.copy_from_slice(&(number as u16).to_ne_bytes()),
                    Size::Word => bytes.copy_from_slice(&(number as u32).to_ne_bytes()),
                    Size::Double => bytes.copy_from_slice(&number.to_ne_bytes()),
                }
                known.fill(true);
            }
            pointer_value if size == Size::Double => *pointer = pointer_value,
            _ => {}
        }
        Some(())
    }
}
