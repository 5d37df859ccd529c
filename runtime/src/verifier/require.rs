//! What has to hold before an instruction. Nothing here changes a state; what is found on the way, where an
//! access goes and what a call gives, is what [`transfer`](super::transfer) then applies.

use cbpf_translator::ebpf::{Address, AluOp, Cond, Imm64, Operand, Reg, Size, Width};
use cbpf_translator::seccomp;

use super::MAX_STACK;
use super::environment::{Environment, MapAccess, MapDescriptor, MapKind};
use super::error::{Kind, Use, Violation};
use super::prototype::{Arg, Return};
use super::scalar::Scalar;
use super::state::{Span, State};
use super::value::{Pointer, Region, Value};

/// Numbers that are added to pointers stay below this, and pointers that near to their region: Linux's
/// `BPF_MAX_VAR_OFF`.
const MAX_OFFSET: i64 = 1 << 29;

/// How near to its memory a pointer is that is compared by order, or with null. No memory is in the first page of an
/// address space, where null is, nor in the last, where errors are: so nearer than a page an address is not null and does
/// not wrap around, wherever the memory is.
const PAGE: i64 = 4096;

/// The largest size that a call may be given, `BPF_MAX_VAR_SIZ`.
const MAX_SIZE: u64 = 1 << 29;

/// Where a memory access goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The context, a map value or other memory: bytes that may change at any time.
    Shared,
    /// These bytes of a function's stack.
    Stack(usize, Span),
    /// Some of these bytes of a function's stack.
    SomeStack(usize, Span),
}

/// What a memory access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Load,
    Store,
    /// By a helper, which reads bytes and no fields.
    CallRead,
    CallWrite,
}

impl Access {
    const fn writes(self) -> bool {
        matches!(self, Self::Store | Self::CallWrite)
    }

    const fn name(self) -> Use {
        match self {
            Self::Load => Use::Load,
            Self::Store => Use::Store,
            Self::CallRead | Self::CallWrite => Use::Call,
        }
    }
}

pub(super) const fn bytes(size: Size) -> u8 {
    match size {
        Size::Byte => 1,
        Size::Half => 2,
        Size::Word => 4,
        Size::Double => 8,
    }
}

/// That a register is not r10.
pub(super) fn writable(reg: Reg) -> Result<(), Violation> {
    if reg == Reg::FRAME { Err(Violation::FrameWritten) } else { Ok(()) }
}

/// The value of an operand, sign-extended if it is a constant.
pub(super) fn operand(state: &State, operand: Operand) -> Result<Value, Violation> {
    match operand {
        Operand::Imm(imm) => Ok(Value::scalar(Scalar::immediate(imm))),
        Operand::Reg(reg) => state.read(reg),
    }
}

/// The address in a register, which is not null.
fn pointer(state: &State, reg: Reg, what: Use) -> Result<Pointer, Violation> {
    match state.read(reg)? {
        Value::Pointer(pointer) if pointer.nullable => {
            Err(Violation::MayBeNull(reg, Kind::of_region(pointer.region), what))
        }
        Value::Pointer(pointer) => Ok(pointer),
        other => Err(Violation::NotAddress(reg, Kind::of(&other).unwrap_or(Kind::Number))),
    }
}

/// The first byte of a region, and the byte after its last.
fn extent(region: Region, environment: &Environment<'_>) -> (i64, i64) {
    match region {
        Region::Context => (0, seccomp::DATA_SIZE.into()),
        Region::Stack(_) => ((MAX_STACK as i64).saturating_neg(), 0),
        Region::MapValue(map) => (0, map_at(environment, map).map_or(0, |map| map.value_size.into())),
        Region::Memory(size) => (0, size.into()),
    }
}

pub(super) fn map_at<'e>(environment: &Environment<'e>, map: u32) -> Result<&'e MapDescriptor, Violation> {
    environment.maps.get(map as usize).ok_or(Violation::UnknownMap(map))
}

/// That `len` bytes at `off` from the address in a register are there for this access.
fn reach(
    state: &State,
    environment: &Environment<'_>,
    reg: Reg,
    off: i16,
    len: i64,
    access: Access,
) -> Result<(Pointer, Scalar, Place), Violation> {
    let pointer = pointer(state, reg, access.name())?;
    let kind = Kind::of_region(pointer.region);
    let offset = pointer.offset.add(&Scalar::constant(i64::from(off).cast_unsigned()));
    let (first, most) = (offset.s64.min, offset.s64.max);
    let (begin, end) = extent(pointer.region, environment);
    if first < begin || most.checked_add(len).is_none_or(|reached| reached > end) {
        let last = most.saturating_add(len).saturating_sub(1);
        return Err(Violation::OutOfBounds { reg, kind, first, last, begin, end });
    }
    if access.writes() {
        let read_only = match pointer.region {
            Region::Context => true,
            Region::MapValue(map) => map_at(environment, map)?.access == MapAccess::ReadOnly,
            Region::Stack(_) | Region::Memory(_) => false,
        };
        if read_only {
            return Err(Violation::ReadOnly(reg, kind));
        }
    }
    let place = match pointer.region {
        Region::Stack(depth) if first == most => Place::Stack(depth as usize, Span::new(first, len)),
        Region::Stack(depth) => {
            Place::SomeStack(depth as usize, Span { start: first, end: most.saturating_add(len) })
        }
        Region::Context | Region::MapValue(_) | Region::Memory(_) => Place::Shared,
    };
    Ok((pointer, offset, place))
}

/// That a load or a store may be made. Accesses are aligned, so that every machine can make them, and take
/// whole fields of the context or parts of one.
pub(super) fn access(
    state: &State,
    environment: &Environment<'_>,
    address: Address,
    size: Size,
    access: Access,
) -> Result<Place, Violation> {
    let (reg, len) = (address.base, bytes(size));
    let (pointer, offset, place) = reach(state, environment, reg, address.off, len.into(), access)?;
    let low = u64::from(len.saturating_sub(1));
    if (offset.bits.value | offset.bits.mask) & low != 0 {
        return Err(Violation::Misaligned(reg, len));
    }
    if pointer.region == Region::Context {
        let known = offset.known().ok_or(Violation::ContextOffset(reg))?;
        // nr and arch have 4 bytes each, all others 8: the only aligned 8 bytes that are two fields.
        if known == 0 && len == 8 {
            return Err(Violation::ContextField { offset: known.cast_signed(), size: len });
        }
    }
    Ok(place)
}

/// What a load gives, once it may be made.
pub(super) fn loaded(state: &State, place: Place, size: Size) -> Result<Value, Violation> {
    let any = Value::scalar(Scalar::of_width(u32::from(bytes(size)).saturating_mul(8)));
    match place {
        Place::Shared => Ok(any),
        Place::Stack(depth, span) => state.load(depth, span),
        Place::SomeStack(depth, span) => state.require_numbers(depth, span).map(|()| any),
    }
}

/// That a register's value may be stored at a place.
pub(super) fn storable(state: &State, place: Place, size: Size, reg: Reg) -> Result<Value, Violation> {
    let value = state.read(reg)?;
    let Some(kind) = Kind::of(&value).filter(|kind| *kind != Kind::Number) else { return Ok(value) };
    match (place, value) {
        (Place::Stack(depth, _), Value::Pointer(Pointer { region: Region::Stack(of), .. }))
            if of as usize > depth =>
        {
            Err(Violation::DanglingStack(reg))
        }
        (Place::Stack(..), _) if size == Size::Double => Ok(value),
        _ => Err(Violation::PointerLeak(reg, kind)),
    }
}

/// That arithmetic may be done. Numbers take all of it; a pointer takes numbers added and subtracted, and a
/// pointer into the same region subtracted.
pub(super) fn arithmetic(
    state: &State,
    width: Width,
    op: AluOp,
    dst: Reg,
    operand_of: Operand,
) -> Result<(Value, Value), Violation> {
    writable(dst)?;
    let b = operand(state, operand_of)?;
    let b_reg = match operand_of {
        Operand::Reg(reg) => reg,
        Operand::Imm(_) => dst,
    };
    if op == AluOp::Mov {
        if width == Width::W32 {
            number_in(&b, b_reg)?;
        }
        return Ok((b, b));
    }
    let a = state.read(dst)?;
    match (&a, &b) {
        (Value::Scalar(..), Value::Scalar(..)) => {}
        (Value::Pointer(_), Value::Scalar(number, _))
            if width == Width::W64 && matches!(op, AluOp::Add | AluOp::Sub) =>
        {
            let pointer = pointer(state, dst, Use::Arithmetic)?;
            offset_in_reach(number, b_reg)?;
            let moved =
                if op == AluOp::Add { pointer.offset.add(number) } else { pointer.offset.sub(number) };
            offset_in_reach(&moved, dst)?;
        }
        (Value::Scalar(number, _), Value::Pointer(_)) if width == Width::W64 && op == AluOp::Add => {
            let pointer = pointer(state, b_reg, Use::Arithmetic)?;
            offset_in_reach(number, dst)?;
            offset_in_reach(&pointer.offset.add(number), dst)?;
        }
        (Value::Pointer(p), Value::Pointer(q)) if width == Width::W64 && op == AluOp::Sub => {
            pointer(state, dst, Use::Arithmetic)?;
            pointer(state, b_reg, Use::Arithmetic)?;
            if !same_memory(p, q) {
                return Err(Violation::PointerArithmetic(b_reg, Kind::of_region(q.region)));
            }
        }
        (Value::Scalar(..), other) => {
            return Err(Violation::PointerArithmetic(b_reg, Kind::of(other).unwrap_or(Kind::Number)));
        }
        (other, _) => {
            return Err(Violation::PointerArithmetic(dst, Kind::of(other).unwrap_or(Kind::Number)));
        }
    }
    Ok((a, b))
}

/// That a pointer moved by `offset` stays where it cannot wrap around. Only the lower end is asked for, as in
/// Linux (`check_reg_sane_offset`): a pointer that went too far up is refused when it is used.
fn offset_in_reach(offset: &Scalar, reg: Reg) -> Result<(), Violation> {
    let min = offset.s64.min;
    if min <= -MAX_OFFSET || min >= MAX_OFFSET { Err(Violation::PointerOffset(reg, min)) } else { Ok(()) }
}

/// The number that a value of this register is.
pub(super) fn number_in(value: &Value, reg: Reg) -> Result<Scalar, Violation> {
    match value {
        Value::Scalar(number, _) => Ok(*number),
        Value::Uninit => Err(Violation::Unset(reg)),
        other => Err(Violation::NotNumber(reg, Kind::of(other).unwrap_or(Kind::Number))),
    }
}

/// Whether two pointers are distances from the same byte.
fn same_memory(a: &Pointer, b: &Pointer) -> bool {
    a.region == b.region && a.id == b.id
}

/// What a comparison compares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compared {
    /// Two numbers.
    Numbers(Scalar, Scalar),
    /// Two pointers into the same memory, by their distances from its first byte; these are in the order of
    /// their addresses as signed numbers.
    Distances(Scalar, Scalar),
    /// A pointer that may be null, with null.
    Null(Pointer),
    /// A pointer that is not null, with null.
    NotNull,
}

/// Whether a pointer is in its memory or near to it, where its address is in the order of its distance.
fn is_near(pointer: &Pointer, environment: &Environment<'_>) -> bool {
    let (begin, end) = extent(pointer.region, environment);
    let offset = pointer.offset.s64;
    begin.saturating_sub(PAGE) < offset.min && offset.max < end.saturating_add(PAGE)
}

/// That a comparison may be made. None tells where memory is: the answer depends on distances alone.
pub(super) fn comparison(
    state: &State,
    environment: &Environment<'_>,
    width: Width,
    cond: Cond,
    dst: Reg,
    operand_of: Operand,
) -> Result<Compared, Violation> {
    let (a, b) = (state.read(dst)?, operand(state, operand_of)?);
    let (a_kind, b_kind) = (Kind::of(&a).unwrap_or(Kind::Number), Kind::of(&b).unwrap_or(Kind::Number));
    let b_reg = match operand_of {
        Operand::Reg(reg) => reg,
        Operand::Imm(_) => dst,
    };
    let equality = width == Width::W64 && matches!(cond, Cond::Eq | Cond::Ne);
    let is_zero = |value: &Value| matches!(value, Value::Scalar(number, _) if number.known() == Some(0));
    match (&a, &b) {
        (Value::Scalar(a, _), Value::Scalar(b, _)) => Ok(Compared::Numbers(*a, *b)),
        (Value::Map(_), zero) | (zero, Value::Map(_)) if equality && is_zero(zero) => Ok(Compared::NotNull),
        (Value::Pointer(pointer), zero) | (zero, Value::Pointer(pointer))
            if equality && is_zero(zero) && is_near(pointer, environment) =>
        {
            Ok(if pointer.nullable { Compared::Null(*pointer) } else { Compared::NotNull })
        }
        (Value::Pointer(p), Value::Pointer(q)) if width == Width::W64 && same_memory(p, q) => {
            pointer(state, dst, Use::Comparison)?;
            pointer(state, b_reg, Use::Comparison)?;
            let ordered = matches!(cond, Cond::Gt | Cond::Ge | Cond::Lt | Cond::Le);
            let in_order = ordered && is_near(p, environment) && is_near(q, environment);
            if equality || in_order {
                Ok(Compared::Distances(p.offset, q.offset))
            } else {
                Err(Violation::PointerComparison(dst, a_kind))
            }
        }
        (Value::Scalar(..), _) => Err(Violation::PointerComparison(b_reg, b_kind)),
        _ => Err(Violation::PointerComparison(dst, a_kind)),
    }
}

/// That a 64-bit load names what is there.
pub(super) fn constant(environment: &Environment<'_>, imm: Imm64) -> Result<(), Violation> {
    match imm {
        Imm64::Constant(_) => Ok(()),
        Imm64::Map(map) => map_at(environment, map).map(drop),
        Imm64::MapValue { map, offset } => {
            let descriptor = map_at(environment, map)?;
            let only = descriptor.kind == MapKind::Array && descriptor.max_entries == 1;
            if only && offset < descriptor.value_size { Ok(()) } else { Err(Violation::MapValueAddress(map)) }
        }
    }
}

/// That the program may end here.
pub(super) fn exit(state: &State) -> Result<(), Violation> {
    let value = state.read(Reg::R0)?;
    match Kind::of(&value) {
        None | Some(Kind::Number) => Ok(()),
        Some(kind) => Err(Violation::PointerLeak(Reg::R0, kind)),
    }
}

/// That a function may end here: what it returns stays valid.
pub(super) fn function_exit(state: &State) -> Result<(), Violation> {
    match state.register(Reg::R0) {
        Value::Pointer(Pointer { region: Region::Stack(depth), .. })
            if (depth as usize) >= state.depth().saturating_sub(1) =>
        {
            Err(Violation::DanglingStack(Reg::R0))
        }
        _ => Ok(()),
    }
}

/// What a helper call does to the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) gives: Given,
    /// What each argument makes the helper touch.
    pub(super) touched: [Option<Touched>; 5],
}

/// What a helper call gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    Nothing,
    Number(Scalar),
    /// The first byte of this, or null.
    OrNull(Region),
}

/// Memory that a helper touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched {
    pub(super) place: Place,
    /// How many bytes of it are written for certain, if it is written.
    pub(super) written: Option<i64>,
}

/// That a helper may be called.
pub(super) fn call(state: &State, environment: &Environment<'_>, id: i32) -> Result<Call, Violation> {
    let helper = environment.helpers.iter().find(|helper| helper.id == id);
    let prototype = helper.ok_or(Violation::UnknownHelper(id))?.prototype;
    let map = |reg| map_argument(state, environment, prototype.arg(reg), reg);
    let size = |reg| size_argument(state, prototype.arg(reg), reg);
    let mut touched = [None; 5];
    for (touched, reg) in touched.iter_mut().zip(Reg::ARGUMENTS) {
        let (len, access) = match prototype.arg(reg) {
            Arg::None => continue,
            Arg::Number => {
                state.number(reg)?;
                continue;
            }
            Arg::Context => {
                context_argument(state, reg)?;
                continue;
            }
            Arg::Map { .. } => {
                map(reg)?;
                continue;
            }
            Arg::Size { .. } | Arg::ConstSize => {
                size(reg)?;
                continue;
            }
            Arg::Key { map: of } => (Scalar::constant(map(of)?.1.key_size.into()), Access::CallRead),
            Arg::Value { map: of } => (Scalar::constant(map(of)?.1.value_size.into()), Access::CallRead),
            Arg::ReadableFixed(len) => (Scalar::constant(len.into()), Access::CallRead),
            Arg::WritableFixed(len) => (Scalar::constant(len.into()), Access::CallWrite),
            Arg::Readable { size: of } => (size(of)?, Access::CallRead),
            Arg::Writable { size: of } => (size(of)?, Access::CallWrite),
        };
        *touched = Some(buffer(state, environment, reg, &len, access)?);
    }
    let gives = match prototype.returns() {
        Return::Void => Given::Nothing,
        Return::Number => Given::Number(Scalar::UNKNOWN),
        Return::LengthOrErrno { size: of } => Given::Number(Scalar::length_or_errno(size(of)?.u64.max)),
        Return::MapValueOrNull { map: of } => Given::OrNull(Region::MapValue(map(of)?.0)),
        Return::MemoryOrNull { size: of } => {
            let len = size(of)?.known().and_then(|len| u32::try_from(len).ok());
            Given::OrNull(Region::Memory(len.ok_or(Violation::SizeUnknown(of))?))
        }
    };
    Ok(Call { gives, touched })
}

fn context_argument(state: &State, reg: Reg) -> Result<(), Violation> {
    match state.read(reg)? {
        Value::Pointer(Pointer { region: Region::Context, offset, nullable: false, .. })
            if offset.known() == Some(0) =>
        {
            Ok(())
        }
        _ => Err(Violation::Argument(reg, Kind::Context)),
    }
}

/// The map in a register, which is one that the argument takes.
fn map_argument<'e>(
    state: &State,
    environment: &Environment<'e>,
    arg: Arg,
    reg: Reg,
) -> Result<(u32, &'e MapDescriptor), Violation> {
    let (Arg::Map { kinds, writes }, Value::Map(map)) = (arg, state.read(reg)?) else {
        return Err(Violation::Argument(reg, Kind::Map));
    };
    let descriptor = map_at(environment, map)?;
    let read_only = descriptor.access == MapAccess::ReadOnly;
    if !kinds.contains(&descriptor.kind) || writes && read_only {
        return Err(Violation::MapNotTaken(reg, map));
    }
    Ok((map, descriptor))
}

/// The number in a register, which is a size that the argument takes.
fn size_argument(state: &State, arg: Arg, reg: Reg) -> Result<Scalar, Violation> {
    let size = state.number(reg)?;
    if size.u64.max >= MAX_SIZE {
        return Err(Violation::SizeUnbounded(reg, size.u64.max));
    }
    if arg != (Arg::Size { zero: true }) && size.u64.min == 0 {
        return Err(Violation::SizeZero(reg));
    }
    if arg == Arg::ConstSize && size.known().is_none() {
        return Err(Violation::SizeUnknown(reg));
    }
    Ok(size)
}

/// That a helper may read or write as many bytes at an address as it does.
fn buffer(
    state: &State,
    environment: &Environment<'_>,
    reg: Reg,
    size: &Scalar,
    access: Access,
) -> Result<Touched, Violation> {
    // A size is below MAX_SIZE.
    let (least, most) = (size.u64.min.cast_signed(), size.u64.max.cast_signed());
    let (_, _, place) = reach(state, environment, reg, 0, most, access)?;
    if access == Access::CallRead
        && let Place::Stack(depth, span) | Place::SomeStack(depth, span) = place
        && most > 0
    {
        state.require_numbers(depth, span)?;
    }
    Ok(Touched { place, written: access.writes().then_some(least) })
}
