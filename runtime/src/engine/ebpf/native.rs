//! The eBPF interpreter: the reference that the other engines are compared with. It allocates nothing, and every
//! address and every step is checked.

use cbpf_translator::ebpf::{AluOp, ByteOrder, Cond, Imm64, Instruction, Reg, SwapBits, Width};

use super::machine::{Machine, Word};
use super::program::{Program, target};
use super::run::{Run, Stack, map_handle};
use crate::error::{Fault, RunError};
use crate::verifier::MAX_STACK;

/// A stack, aligned as programs may expect.
#[repr(align(16))]
struct Aligned(Stack);

/// Runs `program`, at most `steps` instructions of it.
pub(super) fn run(program: &Program, run: &mut Run<'_>, steps: usize) -> Result<u64, RunError> {
    let mut stack = Aligned([0; MAX_STACK]);
    let stack = &mut stack.0;
    let context = core::ptr::from_ref(run.data).addr() as u64;
    let mut machine = Machine::new(context, stack.as_ptr_range().end.addr() as u64);

    let mut pc = 0;
    for _ in 0..steps {
        let insn = program.insn(pc).ok_or(Fault)?;
        let mut next = pc.saturating_add(insn.slots());
        match insn {
            Instruction::Alu { width, op, dst, operand } => {
                machine.set(dst, alu(width, op, machine.get(dst), machine.operand(operand)));
            }
            Instruction::Neg { width, dst } => {
                machine.set(dst, alu(width, AluOp::Sub, 0, machine.get(dst)));
            }
            Instruction::Swap { order, bits, dst } => {
                machine.set(dst, swap(order, bits, machine.get(dst)));
            }
            Instruction::Ja { off } => next = target(pc, off.into()).ok_or(Fault)?,
            Instruction::Jump { width, cond, dst, operand, off } => {
                if holds(width, cond, machine.get(dst), machine.operand(operand)) {
                    next = target(pc, off.into()).ok_or(Fault)?;
                }
            }
            Instruction::CallHelper { id } => {
                let helper = run.helper(id).ok_or(Fault)?;
                let result = run.call(helper, Reg::ARGUMENTS.map(|reg| machine.get(reg)), stack);
                machine.set(Reg::R0, result);
            }
            Instruction::CallLocal { off } => {
                let callee = program.callee(pc, off).ok_or(Fault)?;
                next = machine.call(program, callee, next).ok_or(Fault)?;
            }
            Instruction::Exit => match machine.leave() {
                Some(return_to) => next = return_to,
                None => return Ok(machine.get(Reg::R0)),
            },
            Instruction::LoadImm64 { dst, imm } => machine.set(dst, imm64(imm, run)?),
            Instruction::Load { size, dst, from } => {
                machine.set(dst, run.load(machine.address(from), size, stack).ok_or(Fault)?);
            }
            Instruction::StoreImm { size, to, imm } => {
                run.store(machine.address(to), size, Word::constant(imm), stack).ok_or(Fault)?;
            }
            Instruction::Store { size, to, src } => {
                run.store(machine.address(to), size, machine.get(src), stack).ok_or(Fault)?;
            }
        }
        pc = next;
    }
    Err(RunError::OverBudget)
}

impl Word for u64 {
    fn constant(imm: i32) -> Self {
        imm as i64 as u64
    }

    fn moved(self, by: i64) -> Self {
        self.wrapping_add_signed(by)
    }
}

fn imm64(imm: Imm64, run: &Run<'_>) -> Result<u64, Fault> {
    match imm {
        Imm64::Constant(constant) => Ok(constant),
        Imm64::Map(map) => map_handle(map).map(|handle| handle as u64).ok_or(Fault),
        Imm64::MapValue { map, offset } => run.value_address(map, offset).ok_or(Fault),
    }
}

/// dst op operand. Division by zero gives 0 and leaves what is to be divided as the rest; shift counts are taken
/// modulo the width.
pub(crate) fn alu(width: Width, op: AluOp, dst: u64, operand: u64) -> u64 {
    match width {
        Width::W64 => {
            let count = operand as u32;
            match op {
                AluOp::Add => dst.wrapping_add(operand),
                AluOp::Sub => dst.wrapping_sub(operand),
                AluOp::Mul => dst.wrapping_mul(operand),
                AluOp::Div => dst.checked_div(operand).unwrap_or(0),
                AluOp::Mod => dst.checked_rem(operand).unwrap_or(dst),
                AluOp::Or => dst | operand,
                AluOp::And => dst & operand,
                AluOp::Xor => dst ^ operand,
                AluOp::Mov => operand,
                AluOp::Lsh => dst.wrapping_shl(count),
                AluOp::Rsh => dst.wrapping_shr(count),
                AluOp::Arsh => dst.cast_signed().wrapping_shr(count).cast_unsigned(),
            }
        }
        Width::W32 => {
            let (dst, operand) = (dst as u32, operand as u32);
            let result = match op {
                AluOp::Add => dst.wrapping_add(operand),
                AluOp::Sub => dst.wrapping_sub(operand),
                AluOp::Mul => dst.wrapping_mul(operand),
                AluOp::Div => dst.checked_div(operand).unwrap_or(0),
                AluOp::Mod => dst.checked_rem(operand).unwrap_or(dst),
                AluOp::Or => dst | operand,
                AluOp::And => dst & operand,
                AluOp::Xor => dst ^ operand,
                AluOp::Mov => operand,
                AluOp::Lsh => dst.wrapping_shl(operand),
                AluOp::Rsh => dst.wrapping_shr(operand),
                AluOp::Arsh => dst.cast_signed().wrapping_shr(operand).cast_unsigned(),
            };
            result.into()
        }
    }
}

/// Whether a comparison holds.
pub(crate) fn holds(width: Width, cond: Cond, dst: u64, operand: u64) -> bool {
    let (dst, operand, signed) = match width {
        Width::W64 => (dst, operand, (dst.cast_signed(), operand.cast_signed())),
        Width::W32 => {
            let (dst, operand) = (dst as u32, operand as u32);
            (dst.into(), operand.into(), (dst.cast_signed().into(), operand.cast_signed().into()))
        }
    };
    match cond {
        Cond::Eq => dst == operand,
        Cond::Ne => dst != operand,
        Cond::Gt => dst > operand,
        Cond::Ge => dst >= operand,
        Cond::Lt => dst < operand,
        Cond::Le => dst <= operand,
        Cond::Set => dst & operand != 0,
        Cond::Sgt => signed.0 > signed.1,
        Cond::Sge => signed.0 >= signed.1,
        Cond::Slt => signed.0 < signed.1,
        Cond::Sle => signed.0 <= signed.1,
    }
}

/// The low bits of a value in this order.
pub(crate) fn swap(order: ByteOrder, bits: SwapBits, value: u64) -> u64 {
    match (order, bits) {
        (ByteOrder::Little, SwapBits::B16) => (value as u16).to_le().into(),
        (ByteOrder::Little, SwapBits::B32) => (value as u32).to_le().into(),
        (ByteOrder::Little, SwapBits::B64) => value.to_le(),
        (ByteOrder::Big, SwapBits::B16) => (value as u16).to_be().into(),
        (ByteOrder::Big, SwapBits::B32) => (value as u32).to_be().into(),
        (ByteOrder::Big, SwapBits::B64) => value.to_be(),
    }
}
