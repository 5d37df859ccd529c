//! What is known at an instruction of all registers and of the stack, for every function being called.
//!
//! A state stands for the runs whose registers and stack hold what it says; [`State::includes`] is whether it
//! stands for all runs of another one. Ids are names: what counts is which values share one, so two states
//! may use different ids for the same thing, and comparing them pairs ids up.
//!
//! A stack is cells of 4 bytes, from its end downward. A cell is bytes of which some are set, a 32-bit number,
//! or half of an 8-byte value. So pointers are kept whole or not at all, and numbers survive in the sizes
//! that compilers keep them in.

use alloc::vec::Vec;
use core::fmt;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::Reg;
use cbpf_translator::fallible::with_capacity;

use super::error::{Kind, Stop, Violation};
use super::needs::Needs;
use super::scalar::Scalar;
use super::value::{Id, Pointer, Region, Value};
use super::{MAX_CALL_DEPTH, MAX_STACK};

/// Everything known at an instruction.
#[derive(Debug)]
pub struct State {
    /// The functions being called, from the main program to the one that runs.
    frames: Vec<Frame>,
}

/// A function being called.
#[derive(Debug)]
struct Frame {
    registers: [Value; Reg::WRITABLE.len()],
    stack: Stack,
    /// Which function it is.
    function: usize,
    /// Where its caller goes on.
    return_to: usize,
}

/// The stack of one function.
#[derive(Debug, Default)]
struct Stack {
    /// From the end of the stack downward: cell `i` is the bytes from `-4 * (i + 1)`. Behind the last,
    /// nothing is set.
    cells: Vec<Cell>,
}

/// Four bytes of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// Numbers, where the bit of the byte is set; bit 0 is the lowest byte.
    Bytes(u8),
    /// A 32-bit number.
    Word(Scalar),
    /// The lower four bytes of this value.
    Lower(Value),
    /// The higher four bytes of the value in the next cell.
    Upper,
}

const CELL: i64 = 4;
const UNSET: Cell = Cell::Bytes(0);
const ALL_SET: u8 = 0xf;

/// Bytes of a stack, as distances from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first byte; negative.
    pub(super) start: i64,
    /// The byte after the last.
    pub(super) end: i64,
}

impl Span {
    pub(super) const fn new(start: i64, len: i64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    /// The cells it touches, and which of their bytes.
    fn cells(self) -> impl Iterator<Item = (usize, u8)> {
        let (first, last) = (cell_of(self.start), cell_of(self.end.saturating_sub(1)));
        (last..=first).rev().filter_map(move |index| {
            let begin = (index as i64).saturating_add(1).saturating_mul(-CELL);
            let mut mask = 0_u8;
            for byte in 0..4_u8 {
                let at = begin.saturating_add(byte.into());
                if self.start <= at && at < self.end {
                    mask |= 1_u8.wrapping_shl(byte.into());
                }
            }
            (mask != 0).then_some((index, mask))
        })
    }
}

/// The cell of a byte of the stack.
fn cell_of(offset: i64) -> usize {
    let from_end = offset.saturating_add(1).saturating_neg().max(0) / CELL;
    usize::try_from(from_end).unwrap_or(usize::MAX)
}

impl Stack {
    fn try_clone(&self) -> Result<Self, OutOfMemory> {
        let mut cells = with_capacity(self.cells.len())?;
        cells.extend_from_slice(&self.cells);
        Ok(Self { cells })
    }

    fn cell(&self, index: usize) -> Cell {
        self.cells.get(index).copied().unwrap_or(UNSET)
    }

    /// Puts a cell, which is of the stack.
    fn put(&mut self, index: usize, cell: Cell) -> Result<(), OutOfMemory> {
        if index >= self.cells.len() {
            let more = index.saturating_add(1).saturating_sub(self.cells.len());
            self.cells.try_reserve(more).map_err(|_| OutOfMemory)?;
            self.cells.resize(index.saturating_add(1), UNSET);
        }
        if let Some(slot) = self.cells.get_mut(index) {
            *slot = cell;
        }
        Ok(())
    }

    /// The value that a cell is half of.
    fn whole(&self, index: usize) -> Option<(usize, Value)> {
        let index = if self.cell(index) == Cell::Upper { index.saturating_add(1) } else { index };
        match self.cell(index) {
            Cell::Lower(value) => Some((index, value)),
            _ => None,
        }
    }

    /// Takes the value that a cell is half of apart: halves of a number stay, those of a pointer do not.
    fn split(&mut self, index: usize) {
        let Some((lower, value)) = self.whole(index) else { return };
        let (low, high) = match value {
            Value::Scalar(number, _) => {
                let (low, high) = (Cell::Word(number.low32()), Cell::Word(number.high32()));
                if cfg!(target_endian = "little") { (low, high) } else { (high, low) }
            }
            _ => (UNSET, UNSET),
        };
        for (index, half) in [(lower, low), (lower.wrapping_sub(1), high)] {
            if let Some(cell) = self.cells.get_mut(index) {
                *cell = half;
            }
        }
    }

    /// Which bytes of a cell are numbers.
    fn numbers_of(&self, index: usize) -> u8 {
        match self.cell(index) {
            Cell::Bytes(mask) => mask,
            Cell::Word(_) => ALL_SET,
            Cell::Lower(_) | Cell::Upper => match self.whole(index) {
                Some((_, Value::Scalar(..))) => ALL_SET,
                _ => 0,
            },
        }
    }

    /// That all these bytes are numbers.
    fn require_numbers(&self, span: Span) -> Result<(), Violation> {
        for (index, mask) in span.cells() {
            let missing = mask & !self.numbers_of(index);
            if missing != 0 {
                let begin = (index as i64).saturating_add(1).saturating_mul(-CELL);
                let byte = begin.saturating_add(missing.trailing_zeros().into());
                return Err(match self.whole(index) {
                    Some(_) => Violation::StackPointer(byte),
                    None => Violation::StackUnset(byte),
                });
            }
        }
        Ok(())
    }

    fn load(&self, span: Span) -> Result<Value, Violation> {
        let lower = cell_of(span.start);
        let len = span.end.saturating_sub(span.start);
        if len == 8
            && let Cell::Lower(value) = self.cell(lower)
        {
            return Ok(value);
        }
        self.require_numbers(span)?;
        if len == CELL {
            let number = match (self.cell(lower), self.whole(lower)) {
                (Cell::Word(number), _) => Some(number),
                (cell, Some((_, Value::Scalar(number, _)))) => {
                    let low = (cell != Cell::Upper) == cfg!(target_endian = "little");
                    Some(if low { number.low32() } else { number.high32() })
                }
                _ => None,
            };
            if let Some(number) = number {
                return Ok(Value::scalar(number));
            }
        }
        Ok(Value::scalar(Scalar::of_width((len as u32).saturating_mul(8))))
    }

    fn store(&mut self, span: Span, value: Value) -> Result<(), OutOfMemory> {
        let lower = cell_of(span.start);
        match (span.end.saturating_sub(span.start), value) {
            (8, value) => {
                let upper = lower.saturating_sub(1);
                self.split(lower);
                self.split(upper);
                self.put(lower, Cell::Lower(value))?;
                self.put(upper, Cell::Upper)
            }
            (CELL, Value::Scalar(number, _)) => {
                self.split(lower);
                self.put(lower, Cell::Word(number.low32()))
            }
            _ => self.set(span),
        }
    }

    /// All these bytes are numbers now.
    fn set(&mut self, span: Span) -> Result<(), OutOfMemory> {
        for (index, mask) in span.cells() {
            self.split(index);
            let set = self.numbers_of(index) | mask;
            self.put(index, Cell::Bytes(set))?;
        }
        Ok(())
    }

    /// Some of these bytes may have been overwritten with numbers.
    fn blur(&mut self, span: Span) {
        for (index, _) in span.cells() {
            self.split(index);
            let numbers = self.numbers_of(index);
            if let Some(cell) = self.cells.get_mut(index) {
                *cell = Cell::Bytes(numbers);
            }
        }
    }

    fn forget(&mut self, needs: &Needs) {
        for index in 0..self.cells.len() {
            let (both, value) = match (self.cell(index), self.whole(index)) {
                // Halves are kept for each other.
                (_, Some((lower, value))) => ([lower, lower.wrapping_sub(1)], Some(value)),
                _ => ([index, index], None),
            };
            let forgotten = if !both.iter().any(|index| needs.reads_cell(*index)) {
                UNSET
            } else if both.iter().any(|index| needs.decided_by_cell(*index))
                || value.is_some_and(|value| !matches!(value, Value::Scalar(..)))
            {
                continue;
            } else {
                Cell::Bytes(self.numbers_of(index))
            };
            for index in both {
                if let Some(cell) = self.cells.get_mut(index) {
                    *cell = forgotten;
                }
            }
        }
        let set = self.cells.iter().rposition(|cell| *cell != UNSET);
        self.cells.truncate(set.map_or(0, |last| last.saturating_add(1)));
    }

    fn includes(&self, other: &Self, ids: &mut Pairs) -> bool {
        ids.compared = ids.compared.saturating_add(self.cells.len());
        self.cells.iter().enumerate().all(|(index, mine)| match (*mine, other.cell(index)) {
            (Cell::Bytes(mask), _) => mask & !other.numbers_of(index) == 0,
            (Cell::Word(mine), Cell::Word(theirs)) => mine.includes(&theirs),
            (Cell::Lower(mine), Cell::Lower(theirs)) => includes(&mine, &theirs, ids),
            (Cell::Upper, Cell::Upper) => true,
            _ => false,
        })
    }
}

/// Which id of one state is which of another.
struct Pairs {
    pairs: [(Id, Id); Self::MAX],
    len: usize,
    /// Values that were compared.
    compared: usize,
}

impl Pairs {
    /// More values than this with ids of their own do not compare.
    const MAX: usize = 32;

    /// Whether `mine` can stand for `theirs`: it does so already, or for none yet.
    fn pair(&mut self, mine: Id, theirs: Id) -> bool {
        if mine == 0 {
            return true;
        }
        // What is tied to nothing is not tied to what else `mine` may stand for either.
        let theirs = if theirs == 0 { Id::MAX.wrapping_sub(self.len as Id) } else { theirs };
        let known = self.pairs.iter().take(self.len).find(|(known, _)| *known == mine);
        if let Some((_, paired)) = known {
            return *paired == theirs;
        }
        let Some(free) = self.pairs.get_mut(self.len) else { return false };
        *free = (mine, theirs);
        self.len = self.len.saturating_add(1);
        true
    }
}

/// Whether `mine` stands for all that `theirs` does.
fn includes(mine: &Value, theirs: &Value, ids: &mut Pairs) -> bool {
    ids.compared = ids.compared.saturating_add(1);
    match (mine, theirs) {
        (Value::Uninit, _) => true,
        (Value::Scalar(mine, my_id), Value::Scalar(theirs, their_id)) => {
            mine.includes(theirs) && ids.pair(*my_id, *their_id)
        }
        (Value::Map(mine), Value::Map(theirs)) => mine == theirs,
        (Value::Pointer(mine), Value::Pointer(theirs)) => {
            mine.region == theirs.region
                && (mine.nullable || !theirs.nullable)
                && mine.offset.includes(&theirs.offset)
                && ids.pair(mine.id, theirs.id)
        }
        _ => false,
    }
}

impl State {
    /// How every program starts: r1 is the context.
    pub(super) fn start() -> Result<Self, OutOfMemory> {
        let context =
            Pointer { region: Region::Context, id: 0, nullable: false, offset: Scalar::constant(0) };
        let mut state = Self { frames: Vec::new() };
        state.frames.try_reserve_exact(1).map_err(|_| OutOfMemory)?;
        let mut frame = Frame::new(0, 0);
        frame.set(Reg::R1, Value::Pointer(context));
        state.frames.push(frame);
        Ok(state)
    }

    /// The same again.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn try_clone(&self) -> Result<Self, OutOfMemory> {
        let mut frames = with_capacity(self.frames.len())?;
        for frame in &self.frames {
            frames.push(Frame { stack: frame.stack.try_clone()?, ..*frame });
        }
        Ok(Self { frames })
    }

    /// Values it has.
    pub(super) fn weight(&self) -> usize {
        let values = |frame: &Frame| frame.stack.cells.len().saturating_add(frame.registers.len());
        self.frames.iter().map(values).fold(0, usize::saturating_add)
    }

    /// Bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let cells = |frame: &Frame| frame.stack.cells.capacity().saturating_mul(size_of::<Cell>());
        let frames = self.frames.iter().map(|frame| cells(frame).saturating_add(size_of::<Frame>()));
        frames.fold(size_of::<Self>(), usize::saturating_add)
    }

    /// How many functions are being called, with the main program.
    pub fn depth(&self) -> usize {
        self.frames.len()
    }

    /// What the register of the function that runs holds.
    pub fn register(&self, reg: Reg) -> Value {
        self.register_of(self.depth().saturating_sub(1), reg)
    }

    /// What the register of the function at `depth` holds, or will when it goes on; 0 is the main program.
    pub fn register_of(&self, depth: usize, reg: Reg) -> Value {
        let Some(frame) = self.frames.get(depth) else { return Value::Uninit };
        match frame.registers.get(reg.index()) {
            Some(value) => *value,
            None => Value::Pointer(Pointer {
                region: Region::Stack(depth as u32),
                id: 0,
                nullable: false,
                offset: Scalar::constant(0),
            }),
        }
    }

    /// How many bytes of the stack of the function at `depth` anything is known of, from its end.
    pub fn stack_bytes(&self, depth: usize) -> i16 {
        let cells = self.frames.get(depth).map_or(0, |frame| frame.stack.cells.len());
        i16::try_from(cells.saturating_mul(4)).unwrap_or(i16::MAX)
    }

    /// What an 8-byte value of the stack of the function at `depth` is; `offset`, from the stack's end, is a
    /// multiple of 8. Nothing where the 8 bytes are not known as one value.
    pub fn stack_value(&self, depth: usize, offset: i16) -> Option<Value> {
        match self.frames.get(depth)?.stack.cell(cell_of(offset.into())) {
            Cell::Lower(value) => Some(value),
            _ => None,
        }
    }

    /// What a 4-byte number of the stack of the function at `depth` is; `offset` is a multiple of 4.
    pub fn stack_word(&self, depth: usize, offset: i16) -> Option<Scalar> {
        match self.frames.get(depth)?.stack.cell(cell_of(offset.into())) {
            Cell::Word(number) => Some(number),
            _ => None,
        }
    }

    fn top(&self) -> Option<&Frame> {
        self.frames.last()
    }

    fn top_mut(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        if let Some(frame) = self.top_mut() {
            frame.set(reg, value);
        }
    }

    /// What a register holds, which is set.
    pub(super) fn read(&self, reg: Reg) -> Result<Value, Violation> {
        match self.register(reg) {
            Value::Uninit => Err(Violation::Unset(reg)),
            value => Ok(value),
        }
    }

    /// The number that a register holds.
    pub(super) fn number(&self, reg: Reg) -> Result<Scalar, Violation> {
        match self.read(reg)? {
            Value::Scalar(number, _) => Ok(number),
            other => Err(Violation::NotNumber(reg, Kind::of(&other).unwrap_or(Kind::Number))),
        }
    }

    /// The function at a depth.
    pub(super) fn function_at(&self, depth: usize) -> usize {
        self.frames.get(depth).map_or(0, |frame| frame.function)
    }

    /// Every value there is.
    fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.frames.iter_mut().flat_map(|frame| {
            let cells = frame.stack.cells.iter_mut().filter_map(|cell| match cell {
                Cell::Lower(value) => Some(value),
                _ => None,
            });
            frame.registers.iter_mut().chain(cells)
        })
    }

    /// A register's number is found to be in `number`; so is all that was copied from it.
    pub(super) fn refine(&mut self, reg: Reg, number: Scalar) {
        let Value::Scalar(_, id) = self.register(reg) else { return };
        if id == 0 {
            return self.set(reg, Value::scalar(number));
        }
        for value in self.values() {
            if let Value::Scalar(known, other) = value
                && *other == id
            {
                *known = number;
            }
        }
    }

    /// The pointers of this id are found to be null, or not to be.
    pub(super) fn refine_null(&mut self, id: Id, null: bool) {
        for value in self.values() {
            if let Value::Pointer(pointer) = value
                && pointer.id == id
                && pointer.nullable
            {
                pointer.nullable = false;
                if null {
                    *value = Value::scalar(Scalar::constant(0));
                }
            }
        }
    }

    pub(super) fn load(&self, depth: usize, span: Span) -> Result<Value, Violation> {
        match self.frames.get(depth) {
            Some(frame) => frame.stack.load(span),
            None => Err(Violation::StackUnset(span.start)),
        }
    }

    pub(super) fn require_numbers(&self, depth: usize, span: Span) -> Result<(), Violation> {
        match self.frames.get(depth) {
            Some(frame) => frame.stack.require_numbers(span),
            None => Err(Violation::StackUnset(span.start)),
        }
    }

    pub(super) fn store(&mut self, depth: usize, span: Span, value: Value) -> Result<(), OutOfMemory> {
        self.frames.get_mut(depth).map_or(Ok(()), |frame| frame.stack.store(span, value))
    }

    pub(super) fn set_bytes(&mut self, depth: usize, span: Span) -> Result<(), OutOfMemory> {
        self.frames.get_mut(depth).map_or(Ok(()), |frame| frame.stack.set(span))
    }

    pub(super) fn blur(&mut self, depth: usize, span: Span) {
        if let Some(frame) = self.frames.get_mut(depth) {
            frame.stack.blur(span);
        }
    }

    /// What a call leaves of the caller's registers: r6 to r9.
    pub(super) fn clobber(&mut self) {
        self.set(Reg::R0, Value::Uninit);
        Reg::ARGUMENTS.into_iter().for_each(|reg| self.set(reg, Value::Uninit));
    }

    /// Enters a function, which gets the arguments and nothing else.
    pub(super) fn enter(&mut self, function: usize, return_to: usize) -> Result<(), Stop> {
        if self.frames.len() >= MAX_CALL_DEPTH {
            return Err(Violation::CallDepth.into());
        }
        if self.frames.iter().any(|frame| frame.function == function) {
            return Err(Violation::Recursion.into());
        }
        let mut frame = Frame::new(function, return_to);
        Reg::ARGUMENTS.into_iter().for_each(|reg| frame.set(reg, self.register(reg)));
        self.clobber();
        self.frames.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.frames.push(frame);
        Ok(())
    }

    /// Leaves the function that runs, with its r0. Where the caller goes on; nothing if there is none.
    pub(super) fn leave(&mut self) -> Option<usize> {
        if self.frames.len() <= 1 {
            return None;
        }
        let frame = self.frames.pop()?;
        let result = frame.registers.first().copied().unwrap_or(Value::Uninit);
        self.set(Reg::R0, result);
        Some(frame.return_to)
    }

    /// Forgets what will not be needed, of what is before each instruction. Of the callers' stacks nothing is
    /// forgotten: the function that runs may have pointers to them.
    pub(super) fn forget(&mut self, pc: usize, all: &[Needs]) {
        let mut at = pc;
        for frame in self.frames.iter_mut().rev() {
            let needs = all.get(at).copied().unwrap_or_default();
            for (reg, value) in Reg::WRITABLE.into_iter().zip(&mut frame.registers) {
                if !needs.reads(reg) {
                    *value = Value::Uninit;
                } else if !needs.decided_by(reg)
                    && let Value::Scalar(number, id) = value
                {
                    (*number, *id) = (Scalar::UNKNOWN, 0);
                }
            }
            at = frame.return_to;
        }
        if let Some(frame) = self.top_mut() {
            frame.stack.forget(&all.get(pc).copied().unwrap_or_default());
        }
    }

    /// Whether this stands for all runs that `other` does. Adds what it took to `work`.
    pub(super) fn includes(&self, other: &Self, work: &mut usize) -> bool {
        let mut ids = Pairs { pairs: [(0, 0); Pairs::MAX], len: 0, compared: 1 };
        let included = self.frames.len() == other.frames.len()
            && self.frames.iter().zip(&other.frames).rev().all(|(mine, theirs)| {
                mine.function == theirs.function
                    && mine.return_to == theirs.return_to
                    && mine.registers.iter().zip(&theirs.registers).all(|(a, b)| includes(a, b, &mut ids))
                    && mine.stack.includes(&theirs.stack, &mut ids)
            });
        *work = work.saturating_add(ids.compared);
        included
    }
}

impl Frame {
    const fn new(function: usize, return_to: usize) -> Self {
        Self {
            registers: [Value::Uninit; Reg::WRITABLE.len()],
            stack: Stack { cells: Vec::new() },
            function,
            return_to,
        }
    }

    fn set(&mut self, reg: Reg, value: Value) {
        if let Some(slot) = self.registers.get_mut(reg.index()) {
            *slot = value;
        }
    }
}

const _: () = assert!(MAX_STACK.is_multiple_of(8), "the lowest cell of a stack is the lower half of a value");

/// The registers that are set, then the stack, in one line.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(frame) = self.top() else { return Ok(()) };
        if self.depth() > 1 {
            write!(f, "call {}: ", self.depth().saturating_sub(1))?;
        }
        let mut separator = "";
        for (reg, value) in Reg::WRITABLE.iter().zip(&frame.registers) {
            if *value != Value::Uninit {
                write!(f, "{separator}{reg}={value}")?;
                separator = " ";
            }
        }
        for (index, cell) in frame.stack.cells.iter().enumerate() {
            let offset = (index as i64).saturating_add(1).saturating_mul(-CELL);
            match cell {
                Cell::Bytes(0) | Cell::Upper => continue,
                Cell::Bytes(mask) => write!(f, "{separator}[{offset}]=bytes {mask:#06b}")?,
                Cell::Word(number) => write!(f, "{separator}[{offset}]=u32 {number}")?,
                Cell::Lower(value) => write!(f, "{separator}[{offset}]={value}")?,
            }
            separator = " ";
        }
        Ok(())
    }
}
