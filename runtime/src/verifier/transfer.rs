//! What holds after an instruction, once what it needs holds before.

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{AluOp, Cond, Imm64, Operand, Reg, SwapBits, Width};

use super::require::{Call, Compared, Given, Place, Touched};
use super::scalar::{Relation, Scalar};
use super::state::{Span, State};
use super::value::{Id, Pointer, Region, Value};

/// Gives out ids that nothing has yet.
#[derive(Debug, Default)]
pub(super) struct Ids(Id);

impl Ids {
    /// The walk ends long before they do.
    fn fresh(&mut self) -> Id {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

/// A value that is about to be in two places: what is found out of one is found out of both.
fn tied(value: Value, ids: &mut Ids) -> Value {
    match value {
        Value::Scalar(number, 0) if number.known().is_none() => Value::Scalar(number, ids.fresh()),
        other => other,
    }
}

/// dst = src, where the source is a register.
pub(super) fn move_register(
    state: &mut State,
    width: Width,
    dst: Reg,
    src: Reg,
    value: Value,
    ids: &mut Ids,
) {
    let whole = match (width, value) {
        (Width::W64, _) => true,
        (Width::W32, Value::Scalar(number, _)) => number.u64.max <= u32::MAX.into(),
        (Width::W32, _) => false,
    };
    if whole {
        let value = tied(value, ids);
        state.set(src, value);
        state.set(dst, value);
    } else if let Value::Scalar(number, _) = value {
        state.set(dst, Value::scalar(number.low32()));
    }
}

/// dst = a op b.
pub(super) fn arithmetic(state: &mut State, width: Width, op: AluOp, dst: Reg, a: Value, b: Value) {
    let result = match (a, b) {
        (Value::Scalar(a, _), Value::Scalar(b, _)) => Value::scalar(compute(width, op, &a, &b)),
        (Value::Pointer(pointer), Value::Scalar(number, _))
        | (Value::Scalar(number, _), Value::Pointer(pointer)) => {
            let offset = compute(width, op, &pointer.offset, &number);
            Value::Pointer(Pointer { offset, ..pointer })
        }
        (Value::Pointer(a), Value::Pointer(b)) => Value::scalar(compute(width, op, &a.offset, &b.offset)),
        _ => Value::Uninit,
    };
    state.set(dst, result);
}

/// What an operation makes of two numbers.
fn compute(width: Width, op: AluOp, a: &Scalar, b: &Scalar) -> Scalar {
    let (a, b) = match width {
        Width::W64 => (*a, *b),
        Width::W32 => (a.low32(), b.low32()),
    };
    let count = || {
        let most = match width {
            Width::W64 => 63,
            Width::W32 => 31,
        };
        b.and(&Scalar::constant(most))
    };
    let result = match op {
        AluOp::Add => a.add(&b),
        AluOp::Sub => a.sub(&b),
        AluOp::Mul => a.mul(&b),
        AluOp::Div => a.div(&b),
        AluOp::Mod => a.rem(&b),
        AluOp::Or => a.or(&b),
        AluOp::And => a.and(&b),
        AluOp::Xor => a.xor(&b),
        AluOp::Lsh => a.lsh(&count()),
        AluOp::Rsh => a.rsh(&count()),
        AluOp::Arsh if width == Width::W32 => a.arsh32(&count()),
        AluOp::Arsh => a.arsh(&count()),
        AluOp::Mov => b,
    };
    match width {
        Width::W64 => result,
        Width::W32 => result.low32(),
    }
}

pub(super) fn negate(state: &mut State, width: Width, dst: Reg, number: &Scalar) {
    let result = match width {
        Width::W64 => number.neg(),
        Width::W32 => number.low32().neg().low32(),
    };
    state.set(dst, Value::scalar(result));
}

/// Whether bytes change their places depends on the machine; what is left has this many bits on all.
pub(super) fn swap(state: &mut State, dst: Reg, bits: SwapBits) {
    state.set(dst, Value::scalar(Scalar::of_width(bits as u32)));
}

pub(super) fn constant(state: &mut State, dst: Reg, imm: Imm64, ids: &mut Ids) {
    let value = match imm {
        Imm64::Constant(number) => Value::scalar(Scalar::constant(number)),
        Imm64::Map(map) => Value::Map(map),
        Imm64::MapValue { map, offset } => Value::Pointer(Pointer {
            region: Region::MapValue(map),
            id: ids.fresh(),
            nullable: false,
            offset: Scalar::constant(offset.into()),
        }),
    };
    state.set(dst, value);
}

/// \[place\] = src, where the source is a register.
pub(super) fn store_register(
    state: &mut State,
    place: Place,
    src: Reg,
    value: Value,
    ids: &mut Ids,
) -> Result<(), OutOfMemory> {
    let Place::Stack(..) = place else { return store(state, place, value) };
    let value = tied(value, ids);
    state.set(src, value);
    store(state, place, value)
}

/// \[place\] = value.
pub(super) fn store(state: &mut State, place: Place, value: Value) -> Result<(), OutOfMemory> {
    match place {
        Place::Shared => Ok(()),
        Place::Stack(depth, span) => state.store(depth, span, value),
        Place::SomeStack(depth, span) => {
            state.blur(depth, span);
            Ok(())
        }
    }
}

/// What a helper leaves behind.
pub(super) fn call(state: &mut State, call: &Call, ids: &mut Ids) -> Result<(), OutOfMemory> {
    for Touched { place, written } in call.touched.into_iter().flatten() {
        let Some(least) = written else { continue };
        match place {
            Place::Shared => {}
            Place::Stack(depth, span) => {
                state.blur(depth, span);
                state.set_bytes(depth, Span::new(span.start, least))?;
            }
            Place::SomeStack(depth, span) => state.blur(depth, span),
        }
    }
    state.clobber();
    let result = match call.gives {
        Given::Nothing => Value::Uninit,
        Given::Number(number) => Value::scalar(number),
        Given::OrNull(region) => {
            Value::Pointer(Pointer { region, id: ids.fresh(), nullable: true, offset: Scalar::constant(0) })
        }
    };
    state.set(Reg::R0, result);
    Ok(())
}

/// The relation that a condition is, or the opposite of one that does not hold, and whether its operands
/// stand the other way around.
fn relation(cond: Cond, holds: bool) -> (Relation, bool) {
    use Relation::*;
    match (cond, holds) {
        (Cond::Eq, true) | (Cond::Ne, false) => (Equal, false),
        (Cond::Ne, true) | (Cond::Eq, false) => (NotEqual, false),
        (Cond::Set, true) => (Meets, false),
        (Cond::Set, false) => (Misses, false),
        (Cond::Lt, true) | (Cond::Ge, false) => (Less, false),
        (Cond::Le, true) | (Cond::Gt, false) => (LessOrEqual, false),
        (Cond::Gt, true) | (Cond::Le, false) => (Less, true),
        (Cond::Ge, true) | (Cond::Lt, false) => (LessOrEqual, true),
        (Cond::Slt, true) | (Cond::Sge, false) => (SignedLess, false),
        (Cond::Sle, true) | (Cond::Sgt, false) => (SignedLessOrEqual, false),
        (Cond::Sgt, true) | (Cond::Sle, false) => (SignedLess, true),
        (Cond::Sge, true) | (Cond::Slt, false) => (SignedLessOrEqual, true),
    }
}

/// What is left of two numbers if a condition holds, or does not.
fn refined(width: Width, cond: Cond, holds: bool, a: &Scalar, b: &Scalar) -> Option<(Scalar, Scalar)> {
    let (relation, swapped) = relation(cond, holds);
    let (x, y) = if swapped { (b, a) } else { (a, b) };
    let (x, y) = match width {
        Width::W64 => relation.refine(x, y)?,
        Width::W32 => relation.refine32(x, y)?,
    };
    Some(if swapped { (y, x) } else { (x, y) })
}

/// What is known where a comparison holds, or where it does not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Numbers(Scalar, Scalar),
    Distances(Scalar, Scalar),
    Null(Id, bool),
    Nothing,
}

/// What is found if a comparison holds, or does not; `None` if that cannot be.
pub(super) fn find(width: Width, cond: Cond, holds: bool, compared: &Compared) -> Option<Found> {
    let equal = (cond == Cond::Eq) == holds;
    match compared {
        Compared::Numbers(a, b) => refined(width, cond, holds, a, b).map(|(a, b)| Found::Numbers(a, b)),
        Compared::Distances(a, b) => {
            let signed = match cond {
                Cond::Gt => Cond::Sgt,
                Cond::Ge => Cond::Sge,
                Cond::Lt => Cond::Slt,
                Cond::Le => Cond::Sle,
                other => other,
            };
            refined(width, signed, holds, a, b).map(|(a, b)| Found::Distances(a, b))
        }
        Compared::Null(pointer) => Some(Found::Null(pointer.id, equal)),
        Compared::NotNull => (!equal).then_some(Found::Nothing),
    }
}

/// Puts what a comparison found out into the state.
pub(super) fn apply(state: &mut State, dst: Reg, operand: Operand, found: Found) {
    match found {
        Found::Nothing => {}
        Found::Null(id, null) => state.refine_null(id, null),
        Found::Numbers(a, b) => {
            if let Operand::Reg(src) = operand {
                state.refine(src, b);
            }
            state.refine(dst, a);
        }
        Found::Distances(a, b) => {
            let mut put = |reg: Reg, offset: Scalar| {
                if let Value::Pointer(pointer) = state.register(reg) {
                    state.set(reg, Value::Pointer(Pointer { offset, ..pointer }));
                }
            };
            if let Operand::Reg(src) = operand {
                put(src, b);
            }
            put(dst, a);
        }
    }
}
