//! The control flow of a classic filter, in as few nodes as say what it does.
//!
//! A node is one or more basic blocks. Blocks that ask about one thing after one another are one node with a case for
//! each way out: a search for the number among hundreds is a list of which numbers go where. A block that does nothing
//! but ask can be in several nodes. What tests and returned values are made of is followed through registers and scratch
//! slots, so that they are said in fields of `seccomp_data`. Where paths meet with different values that cannot be; then
//! the instructions that make the value are [statements](Node::statements) of their nodes, and the test is one of
//! registers.

mod block;
mod facts;
mod merge;

use std::ops::Range;

use cbpf_translator::Checked;
use cbpf_translator::cbpf::{Opcode, SockFilter};

use crate::symbolic::{Condition, Exprs, Field, Id, Set};

/// The control flow of a program.
#[derive(Debug)]
pub struct Flow {
    /// The first is where the program begins. A node goes only to later ones and to nodes that return a number.
    pub nodes: Vec<Node>,
    /// The expressions that nodes name.
    pub exprs: Exprs,
    insns: Vec<(Opcode, SockFilter)>,
}

/// Some of the program's instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which, in order. All that run on a call are in the nodes that it goes through, and none that is in two nodes is a
    /// statement of one.
    pub blocks: Vec<Range<usize>>,
    /// The instructions that have to run, by their indices, in order.
    pub statements: Vec<usize>,
    /// What follows.
    pub end: End,
}

/// What follows a node's statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The program returns this.
    Return(u32),
    /// It returns what this expression is.
    Value(Id),
    /// It returns the register A.
    Accumulator,
    /// The node of this index.
    To(usize),
    /// The jump of this index asks about registers.
    Test {
        /// Its index.
        pc: usize,
        /// The node where it holds.
        holds: usize,
        /// The node where it does not.
        fails: usize,
    },
    /// One case, two at least; each call has one of them.
    Cases {
        /// What they are about.
        subject: Subject,
        /// The cases.
        cases: Vec<Case>,
    },
}

/// What cases are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The value of an expression.
    Value(Id),
    /// A field of 64 bits.
    Field(Field),
}

/// Some calls, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which calls.
    pub when: When,
    /// The index of the node.
    pub to: usize,
}

/// Which calls have a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Those with the subject's value in this set.
    In(Set),
    /// Those that have this.
    Has(Condition),
}

impl Flow {
    /// The control flow of `program`.
    pub fn of(program: &Checked) -> Self {
        merge::nodes(block::Blocks::of(program))
    }

    /// An instruction of the program, by its index.
    pub fn insn(&self, pc: usize) -> Option<(Opcode, SockFilter)> {
        self.insns.get(pc).copied()
    }
}

impl Node {
    /// The nodes that may follow.
    pub fn successors(&self) -> Vec<usize> {
        match &self.end {
            End::Return(_) | End::Value(_) | End::Accumulator => Vec::new(),
            End::To(to) => vec![*to],
            End::Test { holds, fails, .. } => vec![*holds, *fails],
            End::Cases { cases, .. } => cases.iter().map(|case| case.to).collect(),
        }
    }
}
