//! Decisions as a graph without cycles in which equal parts are one.

use std::collections::HashMap;

use super::compile::TooLong;

/// Names a node. Nodes it leads to have lower ids.
pub(super) type Id = u32;

/// A word of `seccomp_data`, by its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Word(pub(super) u32);

impl Word {
    pub(super) const NR: Self = Self(0);
    pub(super) const ARCH: Self = Self(4);

    /// The low half of an argument. Every architecture here is little-endian.
    pub(super) const fn low(arg: u8) -> Self {
        Self(16 + 8 * arg as u32)
    }

    /// Its high half.
    pub(super) const fn high(arg: u8) -> Self {
        Self(Self::low(arg).0 + 4)
    }
}

/// What is asked of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Equal(u32),
    AtLeast(u32),
    /// Equal in the bits of the mask, outside of which the value has none.
    Masked {
        mask: u32,
        value: u32,
    },
}

impl Test {
    pub(super) fn holds(self, word: u32) -> bool {
        match self {
            Self::Equal(value) => word == value,
            Self::AtLeast(value) => word >= value,
            Self::Masked { mask, value } => word & mask == value,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Return(u32),
    Branch { word: Word, test: Test, holds: Id, fails: Id },
}

/// The most nodes, also of those that come to nothing. What gets near is too long for a filter.
const MAX_NODES: usize = 1 << 17;

/// The graph. It only grows.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Node, Id>,
}

impl Graph {
    pub(super) fn node(&self, id: Id) -> Node {
        self.nodes[id as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node that returns `value`.
    pub(super) fn ret(&mut self, value: u32) -> Result<Id, TooLong> {
        self.add(Node::Return(value))
    }

    /// The node that tests a word, or where it leads if that is the same either way.
    pub(super) fn branch(&mut self, word: Word, test: Test, holds: Id, fails: Id) -> Result<Id, TooLong> {
        if holds == fails { Ok(holds) } else { self.add(Node::Branch { word, test, holds, fails }) }
    }

    fn add(&mut self, node: Node) -> Result<Id, TooLong> {
        if let Some(id) = self.ids.get(&node) {
            return Ok(*id);
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(TooLong);
        }
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        self.ids.insert(node, id);
        Ok(id)
    }

    /// How many nodes are reached from `root`.
    pub(super) fn size(&self, root: Id) -> usize {
        let mut seen = vec![false; root as usize + 1];
        let mut stack = vec![root];
        let mut size = 0;
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut seen[id as usize], true) {
                continue;
            }
            size += 1;
            if let Node::Branch { holds, fails, .. } = self.node(id) {
                stack.extend([holds, fails]);
            }
        }
        size
    }
}
