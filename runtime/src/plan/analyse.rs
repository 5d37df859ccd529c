//! Which numbers always get one value from a filter, whatever the other input is.
//!
//! Abstract interpretation of the checked program with the architecture known, for all numbers at once. At an
//! instruction stand *states*: what is known of A, X and M\[\], and the set of numbers that get there with it.
//! A comparison of the number splits its state's set; one with something unknown sends the set both ways;
//! equal states that meet become one. All jumps go forward, so one pass over the instructions does.

use alloc::vec::Vec;

use cbpf_translator::cbpf::{AluOp, Opcode, SCRATCH_SLOTS, SockFilter, Source};
use cbpf_translator::{Checked, OutOfMemory, seccomp};

use super::liveness::{Liveness, Places};
use super::numbers::Numbers;
use super::{ARCH_OFFSET, NR_OFFSET, filled};
use crate::by_number::NUMBERS;
use crate::engine::native;

/// The bits of every number that is known.
const LOW_BITS: u32 = NUMBERS as u32 - 1;

/// The most states that may stand at one instruction; more are joined into one that knows less.
const MAX_AT_INSN: usize = 6;

/// The most states that may wait at once, over all instructions.
const MAX_WAITING: usize = 2048;

/// What the filter does with each number.
pub(super) struct Outcomes {
    /// The value of each number in `constant`.
    pub(super) values: Vec<u32>,
    /// The numbers with one value.
    pub(super) constant: Numbers,
}

/// What is known of a register or a scratch slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Known(u32),
    /// The system call number.
    Number,
    Unknown,
}

impl Value {
    /// What holds of both.
    fn join(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Registers {
    a: Value,
    x: Value,
    m: [Value; SCRATCH_SLOTS],
}

impl Registers {
    /// How every program starts.
    const START: Self = Self { a: Value::Known(0), x: Value::Known(0), m: [Value::Unknown; SCRATCH_SLOTS] };

    fn store(&mut self, k: u32, value: Value) {
        if let Some(slot) = self.m.get_mut(k as usize) {
            *slot = value;
        }
    }

    /// With the number known, if it is the only one.
    fn known(mut self, number: Option<u32>) -> Self {
        if let Some(number) = number {
            for value in self.all() {
                if *value == Value::Number {
                    *value = Value::Known(number);
                }
            }
        }
        self
    }

    /// Without what nobody will read, so that states which differ in nothing else become one.
    fn without_dead(mut self, live: Places) -> Self {
        for (value, place) in self.all().into_iter().zip(Places::EACH) {
            if !live.contains(place) {
                *value = Value::Unknown;
            }
        }
        self
    }

    /// In the order of [`Places::EACH`].
    fn all(&mut self) -> impl IntoIterator<Item = &mut Value> {
        self.m.iter_mut().chain([&mut self.a, &mut self.x])
    }

    fn operand(&self, source: Source, k: u32) -> Value {
        match source {
            Source::K => Value::Known(k),
            Source::X => self.x,
        }
    }

    fn join(&mut self, other: &Self) {
        self.a = self.a.join(other.a);
        self.x = self.x.join(other.x);
        for (mine, theirs) in self.m.iter_mut().zip(other.m) {
            *mine = mine.join(theirs);
        }
    }
}

/// A state that waits at an instruction, in a list with the others there.
struct Waiting {
    registers: Registers,
    numbers: Numbers,
    next: Option<u16>,
}

/// Analyses `program` for calls by the entry `arch`, or gives up on one whose states are too many.
///
/// # Errors
///
/// There is no memory.
pub(super) fn analyse(
    program: &Checked,
    live: &Liveness,
    arch: u32,
) -> Result<Option<Outcomes>, OutOfMemory> {
    let mut analysis = Analysis {
        live,
        heads: filled(program.insns().len(), None)?,
        states: Vec::new(),
        free: None,
        outcomes: Outcomes { values: filled(NUMBERS, 0)?, constant: Numbers::NONE },
        seen: Numbers::NONE,
        gave_up: false,
    };
    analysis.reach(0, &Registers::START, Numbers::ALL)?;
    for (pc, (opcode, insn)) in program.ops().enumerate() {
        while let Some((registers, numbers)) = analysis.take(pc) {
            analysis.step(pc, opcode, insn, arch, registers, numbers)?;
        }
        if analysis.gave_up {
            return Ok(None);
        }
    }
    Ok(Some(analysis.outcomes))
}

struct Analysis<'p> {
    live: &'p Liveness,
    /// The first state at each instruction.
    heads: Vec<Option<u16>>,
    states: Vec<Waiting>,
    /// The first of the places in `states` that are free.
    free: Option<u16>,
    outcomes: Outcomes,
    /// Numbers that some path has given a value.
    seen: Numbers,
    gave_up: bool,
}

impl Analysis<'_> {
    /// The state of `numbers` after the instruction at `pc`, taken to where they go on.
    fn step(
        &mut self,
        pc: usize,
        opcode: Opcode,
        insn: SockFilter,
        arch: u32,
        mut registers: Registers,
        numbers: Numbers,
    ) -> Result<(), OutOfMemory> {
        let r = &mut registers;
        let next = pc.saturating_add(1);
        match opcode {
            Opcode::LdAbs(_) if insn.k == NR_OFFSET => r.a = Value::Number,
            Opcode::LdAbs(_) if insn.k == ARCH_OFFSET => r.a = Value::Known(arch),
            Opcode::LdAbs(_) | Opcode::LdInd(_) => r.a = Value::Unknown,
            Opcode::LdxMsh => r.x = Value::Unknown,
            Opcode::LdImm => r.a = Value::Known(insn.k),
            Opcode::LdxImm => r.x = Value::Known(insn.k),
            Opcode::LdLen => r.a = Value::Known(seccomp::DATA_SIZE),
            Opcode::LdxLen => r.x = Value::Known(seccomp::DATA_SIZE),
            Opcode::LdMem => r.a = r.m.get(insn.k as usize).copied().unwrap_or(Value::Unknown),
            Opcode::LdxMem => r.x = r.m.get(insn.k as usize).copied().unwrap_or(Value::Unknown),
            Opcode::St => r.store(insn.k, r.a),
            Opcode::Stx => r.store(insn.k, r.x),
            Opcode::Alu(op, source) => {
                let operand = r.operand(source, insn.k);
                if op == AluOp::Div && !matches!(operand, Value::Known(1..)) {
                    // A divisor that may be 0 may end the program here.
                    self.end(numbers, Value::Known(seccomp::RET_KILL_THREAD));
                }
                r.a = match (r.a, operand) {
                    (Value::Known(a), Value::Known(operand)) => match native::alu(op, a, operand) {
                        Some(result) => Value::Known(result),
                        None => return Ok(()),
                    },
                    // A mask that leaves every number as it is, such as the one that takes x32's bit away.
                    (Value::Number, Value::Known(mask))
                        if op == AluOp::And && mask & LOW_BITS == LOW_BITS =>
                    {
                        Value::Number
                    }
                    _ => Value::Unknown,
                };
            }
            Opcode::Neg => {
                r.a = match r.a {
                    Value::Known(a) => Value::Known(a.wrapping_neg()),
                    _ => Value::Unknown,
                }
            }
            Opcode::Tax => r.x = r.a,
            Opcode::Txa => r.a = r.x,
            Opcode::Ja => return self.reach(next.saturating_add(insn.k as usize), r, numbers),
            Opcode::Jump(cond, source) => {
                let (holds, fails) = match (r.a, r.operand(source, insn.k)) {
                    (Value::Known(a), Value::Known(operand)) if cond.holds(a, operand) => {
                        (numbers, Numbers::NONE)
                    }
                    (Value::Known(_), Value::Known(_)) => (Numbers::NONE, numbers),
                    (Value::Number, Value::Known(operand)) => {
                        let holds = Numbers::satisfying(cond, operand);
                        (numbers.and(holds), numbers.minus(holds))
                    }
                    _ => (numbers, numbers),
                };
                self.reach(next.saturating_add(insn.jt.into()), r, holds)?;
                return self.reach(next.saturating_add(insn.jf.into()), r, fails);
            }
            Opcode::RetK => {
                self.end(numbers, Value::Known(insn.k));
                return Ok(());
            }
            Opcode::RetA => {
                self.end(numbers, r.a);
                return Ok(());
            }
        }
        self.reach(next, r, numbers)
    }

    /// `numbers` get to `pc` with these registers.
    fn reach(&mut self, pc: usize, registers: &Registers, numbers: Numbers) -> Result<(), OutOfMemory> {
        if numbers.is_empty() {
            return Ok(());
        }
        let registers = registers.known(numbers.single()).without_dead(self.live.at(pc));
        let Some(head) = self.heads.get_mut(pc) else { return Ok(()) };
        let mut at = *head;
        let mut count = 0usize;
        while let Some(state) = at.and_then(|at| self.states.get_mut(usize::from(at))) {
            count = count.saturating_add(1);
            if state.registers == registers || count >= MAX_AT_INSN {
                state.registers.join(&registers);
                state.numbers = state.numbers.or(numbers);
                return Ok(());
            }
            at = state.next;
        }
        let waiting = Waiting { registers, numbers, next: *head };
        if let Some((index, free)) =
            self.free.and_then(|free| Some((free, self.states.get_mut(usize::from(free))?)))
        {
            self.free = free.next;
            *free = waiting;
            *head = Some(index);
        } else if self.states.len() < MAX_WAITING {
            self.states.try_reserve(1).map_err(|_| OutOfMemory)?;
            *head = Some(self.states.len() as u16);
            self.states.push(waiting);
        } else {
            self.gave_up = true;
        }
        Ok(())
    }

    /// A state that waits at `pc`.
    fn take(&mut self, pc: usize) -> Option<(Registers, Numbers)> {
        let head = self.heads.get_mut(pc)?;
        let index = (*head)?;
        let state = self.states.get_mut(usize::from(index))?;
        *head = state.next;
        state.next = self.free;
        self.free = Some(index);
        Some((state.registers, state.numbers))
    }

    /// `numbers` end with this value on some path.
    fn end(&mut self, numbers: Numbers, value: Value) {
        let of = |nr| match value {
            Value::Known(value) => Some(value),
            Value::Number => Some(nr),
            Value::Unknown => None,
        };
        let Outcomes { values, constant } = &mut self.outcomes;
        for nr in numbers.minus(self.seen).iter() {
            if let (Some(value), Some(slot)) = (of(nr), values.get_mut(nr as usize)) {
                *slot = value;
                constant.insert(nr);
            }
        }
        for nr in numbers.and(self.seen).and(*constant).iter() {
            if of(nr) != values.get(nr as usize).copied() {
                constant.remove(nr);
            }
        }
        self.seen = self.seen.or(numbers);
    }
}
