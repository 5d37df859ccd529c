//! A case made ready to run: arguments are numbers, and what they point to lies in memory.

use std::ops::Range;

use cbpf_translator::SockFilter;
use cbpf_translator::seccomp::RET_ALLOW;
use seccomp_kernel::Arch;

use super::row::{Action, Address, Argument, Call, Letter, Row, Step};
use crate::mock::fprog;

/// Bytes of a plan's memory. What follows it is not mapped.
pub const MEMORY: usize = 1 << 17;

/// A case with its memory at a certain address.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step<u64>>,
    /// For each step, the part of the memory that is shown afterwards.
    pub shown: Vec<Range<usize>>,
    /// [`MEMORY`] bytes.
    pub memory: Vec<u8>,
}

/// Memory that is being filled.
struct Layout {
    base: u64,
    memory: Vec<u8>,
    used: usize,
}

impl Plan {
    /// Makes a plan of a case whose memory will be at `base`, which 32 bits can hold.
    ///
    /// # Panics
    ///
    /// The case needs more than [`MEMORY`].
    pub fn new(row: &Row, base: u64) -> Self {
        let mut layout = Layout { base, memory: vec![0; MEMORY], used: 0 };
        let allow = SockFilter::new(0x06, 0, 0, RET_ALLOW).to_ne_bytes();
        layout.memory[MEMORY - SockFilter::SIZE..].copy_from_slice(&allow);
        let (steps, shown) = row.steps.iter().map(|step| layout.step(step)).unzip();
        Self { steps, shown, memory: layout.memory }
    }
}

impl Layout {
    fn step(&mut self, step: &Step) -> (Step<u64>, Range<usize>) {
        let mut shown = 0..0;
        let action = match &step.action {
            Action::Call(call) => {
                let args = call.args.each_ref().map(|arg| match arg {
                    Argument::Number(number) => *number,
                    Argument::At(address) => self.address(address),
                    Argument::Fprog(len, address) => {
                        let program = self.address(address);
                        self.place(&fprog(call.entry, *len, program))
                    }
                    Argument::Shown(bytes) => {
                        let address = self.place(bytes);
                        shown = self.used - bytes.len()..self.used;
                        address
                    }
                });
                Action::Call(Call { entry: call.entry, nr: call.nr, args, times: call.times })
            }
            Action::Status(thread) => Action::Status(*thread),
            Action::Sigsys(disposition) => Action::Sigsys(*disposition),
            Action::Thread(letter) => Action::Thread(*letter),
            Action::Fork(steps) => Action::Fork(*steps),
            Action::Process(letter) => Action::Process(*letter),
            Action::Exec => Action::Exec,
            Action::Kill(letter) => Action::Kill(*letter),
            Action::Wait(letter) => Action::Wait(*letter),
            Action::Breakpoint => Action::Breakpoint,
            Action::ReadTime => Action::ReadTime,
        };
        (Step { thread: step.thread, action }, shown)
    }

    fn address(&mut self, address: &Address) -> u64 {
        match address {
            Address::Null => 0,
            Address::Bad => self.base + MEMORY as u64,
            Address::Cut => self.base + (MEMORY - SockFilter::SIZE) as u64,
            Address::Bytes(bytes) => self.place(bytes),
        }
    }

    fn place(&mut self, bytes: &[u8]) -> u64 {
        let start = self.used.next_multiple_of(align_of::<u64>());
        self.used = start + bytes.len();
        let free = self.memory.len() - SockFilter::SIZE;
        assert!(self.used <= free, "the case has too much memory");
        self.memory[start..self.used].copy_from_slice(bytes);
        self.base + start as u64
    }
}

/// Whether a letter is a process of its own.
pub fn is_process<A>(steps: &[Step<A>], letter: Letter) -> bool {
    steps.iter().any(|step| matches!(step.action, Action::Process(process) if process == letter))
}

/// The steps of a fork's child, and of anything else none.
pub fn block<A>(steps: &[Step<A>], at: usize) -> Range<usize> {
    match steps[at].action {
        Action::Fork(len) => at + 1..at + 1 + len,
        _ => at + 1..at + 1,
    }
}

/// The entry that a call is dispatched by.
pub fn dispatched_by(call: &Call<u64>) -> Arch {
    Arch::of_call(call.entry.audit_arch(), call.nr).unwrap_or(call.entry)
}
