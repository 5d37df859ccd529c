//! What classic filters do with every input, found by following all their paths.
//!
//! The sixteen words of `seccomp_data` are unknowns. A path through a program makes [expressions](Exprs) of them
//! and learns in which [sets](Set) their values lie: its [`Facts`]. A path that no input takes is left out. All jumps go
//! forward, so a path ends; that paths are too many, or that facts are too tangled to say whether an input has
//! them, is possible and always said.

mod condition;
mod diff;
mod expr;
mod facts;
#[cfg(feature = "smt")]
mod formula;
mod partial;
mod range;
mod set;
#[cfg(feature = "smt")]
mod solver;
mod table;
mod walk;

pub use condition::{Condition, Field, Term, Within};
pub use diff::{Difference, Differences, diff};
pub use expr::{Exprs, Id, alu, sign};
pub(crate) use expr::{Node, Op};
pub use facts::{Facts, Solved};
pub use partial::{Partial, Possible, possible};
pub use set::Set;
#[cfg(feature = "smt")]
pub use solver::{Solver, Unsolved};
pub use table::{Calls, Decision, Member, agree, decision, others, stacked};
pub(crate) use walk::comparison;
pub use walk::{Leaf, TooMuch, Work, follow};
