//! Whether an eBPF program is safe, found by walking all of its paths with what is known of its values.
//!
//! A program that is [`Verified`] reads only what was set, touches only the context, its stack, and the memory
//! that maps and helpers gave it, calls helpers with what their prototypes ask for, tells no address to anyone,
//! and ends. The walk keeps a [`State`] (what every register and stack slot holds, as a [`Value`]),
//! takes it through one instruction after the other, and both ways where it cannot tell which way a jump goes.
//! It follows each path to its end, loops as often as they run, unless a path comes to a place in a state
//! that is included in one which went on from there and has been seen to end well.
//!
//! Why that is enough:
//!
//! - Every run is among those that some state stands for, at each instruction: a step of the state holds at
//!   least what the step of the run gives (`transfer.rs`, `scalar.rs`).
//! - Where paths meet, the state forgets what nothing after it needs (`needs.rs`). It then stands for more runs,
//!   so being wrong about what is needed can only refuse a program.
//! - A path is cut short only at a state whose whole future was walked: all its branches, to their ends. So
//!   what is cut short ends too, and no cut leads back to what it comes from.
//!
//! The work is bounded by constants ([`MAX_VISITED`], [`MAX_WORK`], [`MAX_MEMORY`]), whatever the program is;
//! one that needs more is refused.
//!
//! ```
//! use seccomp_runtime::translator::Insn;
//! use seccomp_runtime::verifier::{Environment, Program, verify};
//!
//! // r0 = nr; exit
//! let program = vec![Insn::new(0x61, 0, 1, 0, 0), Insn::new(0x95, 0, 0, 0, 0)];
//! assert!(verify(Program::new(program), &Environment::default()).is_ok());
//! // r0 = *(u32 *)(r1 +64)
//! let program = vec![Insn::new(0x61, 0, 1, 64, 0), Insn::new(0x95, 0, 0, 0, 0)];
//! let error = verify(Program::new(program), &Environment::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "instruction 0: r1 (context) may reach bytes 64 to 67, 0 to 63 are there"
//! );
//! ```

mod bits;
mod cfg;
mod environment;
mod error;
mod needs;
mod prototype;
mod require;
mod scalar;
mod state;
mod transfer;
mod value;
mod walk;

use alloc::vec::Vec;

use cbpf_translator::ebpf::{Insn, Instruction};
use cbpf_translator::fallible::{collected, filled};

pub use bits::Bits;
pub use environment::{Environment, MapAccess, MapDescriptor, MapKind};
pub use error::{Kind, Use, VerifyError, Violation};
pub use prototype::{Arg, Helper, Prototype, PrototypeError, Return};
pub use scalar::{Range, Scalar};
pub use state::State;
pub use value::{Id, Pointer, Region, Value};

use cfg::Graph;
use walk::Walk;

/// The longest program. A jump's distance has 16 bits, and what rewrites a program for an engine may double
/// its length.
pub const MAX_INSNS: usize = 16_384;

/// Bytes of stack that a function has, and that all functions which call one another have together.
pub const MAX_STACK: usize = 512;

/// How many functions may be called in one another, with the main program.
pub const MAX_CALL_DEPTH: usize = 8;

/// The most instructions that are walked over, on all paths together.
pub const MAX_VISITED: usize = 1_000_000;

/// The most values that are compared and copied, so that large states cannot make a short walk long.
pub const MAX_WORK: usize = 50_000_000;

/// The most bytes of states that are kept at once. Half of it may be states of places where paths met; when
/// that is full, no more are kept, and walking takes longer.
pub const MAX_MEMORY: usize = 32 << 20;

/// An eBPF program, not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    insns: Vec<Insn>,
}

impl Program {
    /// The program of these instructions. Map numbers in 64-bit loads are indices of the environment's maps.
    pub const fn new(insns: Vec<Insn>) -> Self {
        Self { insns }
    }

    /// Its instructions.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }
}

/// A program that is safe to run with the maps and helpers it was verified against, or with others of the
/// same descriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    program: Program,
    maps: Vec<MapDescriptor>,
    helpers: Vec<Helper>,
    functions: Vec<Function>,
    reached: Vec<bool>,
    visited: usize,
    stack: u32,
}

/// A function of a program: it ends where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// The index of its first instruction.
    pub entry: usize,
    /// How far below its r10 it may touch, in bytes.
    pub stack: u32,
}

impl Verified {
    /// Its instructions.
    pub fn insns(&self) -> &[Insn] {
        self.program.insns()
    }

    /// The maps that it was verified against, by index.
    pub fn maps(&self) -> &[MapDescriptor] {
        &self.maps
    }

    /// The helpers that it was verified against.
    pub fn helpers(&self) -> &[Helper] {
        &self.helpers
    }

    /// Its functions in the order of their entries; the first is the main program.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// Whether any run can get to this instruction. Others were not looked at, beyond that they are
    /// instructions.
    pub fn is_reached(&self, pc: usize) -> bool {
        self.reached.get(pc).copied().unwrap_or(false)
    }

    /// How many instructions were walked over, of [`MAX_VISITED`].
    pub const fn visited(&self) -> usize {
        self.visited
    }

    /// Bytes of stack that it uses, with all functions in one another.
    pub const fn stack(&self) -> u32 {
        self.stack
    }
}

/// Hears what the walk sees.
pub trait Log {
    /// The walk is before the instruction at `pc`, in this state. The last one that is told before an error
    /// is the one that the error is about.
    fn visit(&mut self, pc: usize, state: &State);
}

/// Hears nothing.
impl Log for () {
    fn visit(&mut self, _: usize, _: &State) {}
}

/// Proves that a program is safe. Takes time and memory in proportion to its paths, up to the constants of
/// this module; not for use under a lock.
///
/// # Errors
///
/// It could not be proved: what the program does is not allowed, or cannot be seen to be, or takes too long
/// to see.
pub fn verify(program: Program, environment: &Environment<'_>) -> Result<Verified, VerifyError> {
    verify_logged(program, environment, &mut ())
}

/// As [`verify`], and tells `log` of each step.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_logged(
    program: Program,
    environment: &Environment<'_>,
    log: &mut dyn Log,
) -> Result<Verified, VerifyError> {
    let len = program.insns.len();
    if len == 0 || len > MAX_INSNS {
        return Err(VerifyError::Length(len));
    }
    if let Some(twice) = environment.ambiguous_helper() {
        return Err(VerifyError::HelperTwice(twice));
    }
    let graph = Graph::new(&program.insns)?;
    // Also where no run comes: whoever puts addresses in place of the numbers has them all.
    for (pc, insn) in graph.iter() {
        if let Instruction::LoadImm64 { imm, .. } = insn {
            require::constant(environment, imm).map_err(|why| VerifyError::Insn { pc, why })?;
        }
    }
    let mut walk = Walk::new(&graph, len, environment, log)?;
    walk.all()?;
    let stack = walk.combined_stack()?;
    let functions = walk.functions()?;
    let Walk { reached, visited, .. } = walk;
    let maps = collected(environment.maps.iter().copied())?;
    let helpers = collected(environment.helpers.iter().copied())?;
    Ok(Verified { program, maps, helpers, functions, reached, visited, stack })
}
