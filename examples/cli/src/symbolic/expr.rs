//! Expressions of the words of a call.

use std::collections::{BTreeSet, HashMap};

use cbpf_translator::cbpf::AluOp;
use seccomp_runtime::SeccompData;

use super::condition::Field;

/// The words of `seccomp_data`.
pub(super) const WORDS: usize = 16;

/// The index of the word at an offset, a multiple of four below 64.
pub(super) fn word_of(offset: u32) -> u8 {
    (offset / 4 % WORDS as u32) as u8
}

/// Names an expression; equal ones have one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

/// What an expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Constant(u32),
    /// The word of `seccomp_data` of this index.
    Word(u8),
    Op(Op, Id, Id),
}

/// An operation on 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Not with a divisor of 0.
    Alu(AluOp),
    /// 1 if the first is greater, else 0.
    Gt,
    /// 1 if the first is not below, else 0.
    Ge,
}

impl Op {
    /// The result. A divisor of 0 gives 0, which no path asks for.
    pub(super) fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Alu(op) => alu(op, a, b).unwrap_or(0),
            Self::Gt => (a > b).into(),
            Self::Ge => (a >= b).into(),
        }
    }
}

/// The result of an instruction, or `None` for a division by 0. Shift counts are taken modulo 32.
pub fn alu(op: AluOp, a: u32, b: u32) -> Option<u32> {
    Some(match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b)?,
        AluOp::Mod => a.checked_rem(b)?,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a.wrapping_shl(b),
        AluOp::Rsh => a.wrapping_shr(b),
    })
}

/// The sign of an operation.
pub const fn sign(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+",
        AluOp::Sub => "-",
        AluOp::Mul => "*",
        AluOp::Div => "/",
        AluOp::Or => "|",
        AluOp::And => "&",
        AluOp::Lsh => "<<",
        AluOp::Rsh => ">>",
        AluOp::Mod => "%",
        AluOp::Xor => "^",
    }
}

/// Expressions, each once. One is made of those before it.
#[derive(Debug, Default)]
pub struct Exprs {
    nodes: Vec<Node>,
    /// The words that each depends on, a bit for each.
    words: Vec<u16>,
    ids: HashMap<Node, Id>,
}

impl Exprs {
    /// A number.
    pub fn constant(&mut self, value: u32) -> Id {
        self.add(Node::Constant(value), 0)
    }

    /// The word of `seccomp_data` at this offset, a multiple of four below 64.
    pub fn word(&mut self, offset: u32) -> Id {
        let index = word_of(offset);
        self.add(Node::Word(index), 1 << index)
    }

    pub(crate) fn op(&mut self, op: Op, a: Id, b: Id) -> Id {
        match (op, self.node(a), self.node(b)) {
            (_, Node::Constant(a), Node::Constant(b)) => self.constant(op.apply(a, b)),
            (Op::Alu(AluOp::And | AluOp::Mul), _, Node::Constant(0)) => b,
            (Op::Alu(AluOp::And), _, Node::Constant(u32::MAX)) => a,
            (Op::Alu(AluOp::And), Node::Op(Op::Alu(AluOp::And), inner, mask), Node::Constant(outer)) => {
                match self.node(mask) {
                    Node::Constant(mask) => {
                        let mask = self.constant(mask & outer);
                        self.op(op, inner, mask)
                    }
                    _ => self.binary(op, a, b),
                }
            }
            // A mask stands behind.
            (Op::Alu(AluOp::And), Node::Constant(_), _) => self.op(op, b, a),
            (
                Op::Alu(AluOp::Add | AluOp::Sub | AluOp::Or | AluOp::Xor | AluOp::Lsh | AluOp::Rsh),
                _,
                Node::Constant(0),
            ) => a,
            (Op::Alu(AluOp::Sub | AluOp::Xor), ..) if a == b => self.constant(0),
            (Op::Alu(AluOp::And | AluOp::Or), ..) if a == b => a,
            _ => self.binary(op, a, b),
        }
    }

    fn binary(&mut self, op: Op, a: Id, b: Id) -> Id {
        let words = self.words(a) | self.words(b);
        self.add(Node::Op(op, a, b), words)
    }

    fn add(&mut self, node: Node, words: u16) -> Id {
        *self.ids.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            self.words.push(words);
            // A walk ends before there are so many.
            Id((self.nodes.len() - 1) as u32)
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, id: Id) -> Node {
        self.nodes[id.0 as usize]
    }

    /// The words that it depends on, a bit for each.
    pub(crate) fn words(&self, id: Id) -> u16 {
        self.words[id.0 as usize]
    }

    /// The number that it is.
    pub fn known(&self, id: Id) -> Option<u32> {
        match self.node(id) {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Its value on a call.
    pub fn value(&self, id: Id, data: &SeccompData) -> u32 {
        match self.node(id) {
            Node::Constant(value) => value,
            Node::Word(index) => data.word(u32::from(index) * 4).unwrap_or(0),
            Node::Op(op, a, b) => op.apply(self.value(a, data), self.value(b, data)),
        }
    }

    /// The bits that it can have.
    pub fn mask(&self, id: Id) -> u32 {
        match self.node(id) {
            Node::Constant(value) => value,
            Node::Op(Op::Gt | Op::Ge, ..) => 1,
            Node::Op(Op::Alu(AluOp::And), _, b) => self.known(b).unwrap_or(u32::MAX),
            _ => u32::MAX,
        }
    }

    /// It in fields of the call. It has to have few parts.
    pub fn text(&self, id: Id) -> String {
        match self.node(id) {
            Node::Constant(value @ ..10) => value.to_string(),
            Node::Constant(value) => format!("{value:#x}"),
            Node::Word(index) => match Field::of(index) {
                (field, _) if !field.is_wide() => field.to_string(),
                (field, false) => format!("{field} & 0xffffffff"),
                (field, true) => format!("{field} >> 32"),
            },
            Node::Op(Op::Alu(AluOp::And), a, b) if matches!(self.node(a), Node::Word(_)) => {
                let mask = self.operand(b);
                match (self.node(a), self.known(b)) {
                    (Node::Word(index), Some(_)) if Field::of(index).1 => {
                        format!("{} & {mask}", self.text(a))
                    }
                    (Node::Word(index), Some(_)) => format!("{} & {mask}", Field::of(index).0),
                    _ => format!("{} & {mask}", self.operand(a)),
                }
            }
            Node::Op(op, a, b) => {
                let sign = match op {
                    Op::Alu(op) => sign(op),
                    Op::Gt => ">",
                    Op::Ge => ">=",
                };
                format!("{} {sign} {}", self.operand(a), self.operand(b))
            }
        }
    }

    fn operand(&self, id: Id) -> String {
        let text = self.text(id);
        if text.contains(' ') { format!("({text})") } else { text }
    }

    /// All expressions that these are made of, themselves too, each behind its parts; `None` if they are more
    /// than `most`.
    pub(crate) fn parts(&self, ids: impl IntoIterator<Item = Id>, most: usize) -> Option<Vec<Id>> {
        let mut parts: Vec<Id> = Vec::new();
        // The last is a part of no other that is open.
        let mut open: BTreeSet<Id> = ids.into_iter().collect();
        while let Some(id) = open.pop_last() {
            if parts.len() >= most {
                return None;
            }
            parts.push(id);
            if let Node::Op(_, a, b) = self.node(id) {
                open.extend([a, b]);
            }
        }
        parts.reverse();
        Some(parts)
    }
}
