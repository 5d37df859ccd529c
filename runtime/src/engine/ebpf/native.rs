//! The eBPF interpreter: the reference that the other engines are compared with. It allocates nothing, and every
//! address and every step is checked.

use cbpf_translator::ebpf::{
    Address, AluOp, ByteOrder, Cond, Imm64, Instruction, Operand, Reg, SwapBits, Width,
};

use super::program::{Program, target};
use super::run::{Run, Stack, map_handle};
use crate::error::Fault;
use crate::verifier::{MAX_CALL_DEPTH, MAX_STACK};

/// The registers, and where the functions that are being called go on.
struct Machine {
    registers: [u64; 11],
    callers: [Caller; MAX_CALL_DEPTH],
    depth: usize,
    function: usize,
}

/// A function that waits for another to return.
#[derive(Clone, Copy, Default)]
struct Caller {
    function: usize,
    return_to: usize,
    saved: [u64; 4],
    frame: u64,
}

/// A stack, aligned as programs may expect.
#[repr(align(16))]
struct Aligned(Stack);

/// Runs `program`, at most `steps` instructions of it.
pub(super) fn run(program: &Program, run: &mut Run<'_>, steps: usize) -> Result<u64, Fault> {
    let mut stack = Aligned([0; MAX_STACK]);
    let stack = &mut stack.0;
    let mut machine =
        Machine { registers: [0; 11], callers: [Caller::default(); MAX_CALL_DEPTH], depth: 0, function: 0 };
    machine.set(Reg::R1, core::ptr::from_ref(run.data).addr() as u64);
    machine.set(Reg::FRAME, stack.as_ptr_range().end.addr() as u64);

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
                next = machine.call(program, callee, next)?;
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
                run.store(machine.address(to), size, sign_extended(imm), stack).ok_or(Fault)?;
            }
            Instruction::Store { size, to, src } => {
                run.store(machine.address(to), size, machine.get(src), stack).ok_or(Fault)?;
            }
        }
        pc = next;
    }
    Err(Fault)
}

impl Machine {
    fn get(&self, reg: Reg) -> u64 {
        self.registers.get(reg.index()).copied().unwrap_or_default()
    }

    fn set(&mut self, reg: Reg, value: u64) {
        if let Some(register) = self.registers.get_mut(reg.index()) {
            *register = value;
        }
    }

    fn operand(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Imm(imm) => sign_extended(imm),
            Operand::Reg(reg) => self.get(reg),
        }
    }

    fn address(&self, address: Address) -> u64 {
        self.get(address.base).wrapping_add_signed(address.off.into())
    }

    /// Where the function that is called begins.
    fn call(&mut self, program: &Program, callee: usize, return_to: usize) -> Result<usize, Fault> {
        let caller = program.functions().get(self.function).ok_or(Fault)?;
        let entry = program.functions().get(callee).ok_or(Fault)?.entry;
        let frame = self.get(Reg::FRAME);
        // The main program waits in none.
        if self.depth.saturating_add(1) >= MAX_CALL_DEPTH {
            return Err(Fault);
        }
        *self.callers.get_mut(self.depth).ok_or(Fault)? =
            Caller { function: self.function, return_to, saved: Reg::SAVED.map(|reg| self.get(reg)), frame };
        self.depth = self.depth.saturating_add(1);
        self.function = callee;
        self.set(Reg::FRAME, frame.wrapping_sub(caller.stack.into()));
        Ok(entry)
    }

    /// Where the caller goes on, if there is one.
    fn leave(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        let Caller { function, return_to, saved, frame } = *self.callers.get(self.depth)?;
        self.function = function;
        Reg::SAVED.into_iter().zip(saved).for_each(|(reg, value)| self.set(reg, value));
        self.set(Reg::FRAME, frame);
        Some(return_to)
    }
}

const fn sign_extended(imm: i32) -> u64 {
    imm as i64 as u64
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
pub(super) fn alu(width: Width, op: AluOp, dst: u64, operand: u64) -> u64 {
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

fn holds(width: Width, cond: Cond, dst: u64, operand: u64) -> bool {
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

fn swap(order: ByteOrder, bits: SwapBits, value: u64) -> u64 {
    match (order, bits) {
        (ByteOrder::Little, SwapBits::B16) => (value as u16).to_le().into(),
        (ByteOrder::Little, SwapBits::B32) => (value as u32).to_le().into(),
        (ByteOrder::Little, SwapBits::B64) => value.to_le(),
        (ByteOrder::Big, SwapBits::B16) => (value as u16).to_be().into(),
        (ByteOrder::Big, SwapBits::B32) => (value as u32).to_be().into(),
        (ByteOrder::Big, SwapBits::B64) => value.to_be(),
    }
}
