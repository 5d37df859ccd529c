//! A program as a graph without cycles in which equal parts are one, and its way back to a list.

use alloc::vec::Vec;

use cbpf_translator::SockFilter;
use cbpf_translator::cbpf::{AluOp, Cond, MAX_INSNS, Opcode, Source};
use hashbrown::HashMap;

use super::liveness::{self, Places};
use super::{Stop, filled};

/// Names a node. Nodes it leads to have lower ids.
pub(super) type Id = u16;

/// One instruction and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// Return k.
    RetK(u32),
    /// Return A.
    RetA,
    /// An instruction that neither jumps nor returns, and the node behind it.
    Op(Opcode, u32, Id),
    /// A comparison, and the nodes where it holds and where it does not.
    Branch(Cond, Source, u32, Id, Id),
}

/// The most nodes. A program can have no more instructions, and needs some for far jumps.
const MAX_NODES: usize = MAX_INSNS;

/// The most nodes that leave room for a search among them.
pub(super) const ROOMY: usize = MAX_NODES / 4 * 3;

/// The graph. It only grows.
#[derive(Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// What each node and those behind it read before they write it.
    reads: Vec<Places>,
    ids: HashMap<Node, Id>,
}

impl Nodes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node, made if there is none that is equal.
    pub(super) fn add(&mut self, node: Node) -> Result<Id, Stop> {
        if let Some(id) = self.ids.get(&node) {
            return Ok(*id);
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(Stop::TooLarge);
        }
        self.nodes.try_reserve(1)?;
        self.reads.try_reserve(1)?;
        self.ids.try_reserve(1).map_err(|_| Stop::OutOfMemory)?;
        let id = self.nodes.len() as Id;
        let reads = match node {
            Node::RetK(_) => Places::NONE,
            Node::RetA => Places::A,
            Node::Op(opcode, k, next) => {
                let (reads, writes) = liveness::effect(opcode, k);
                self.reads(next).without(writes) | reads
            }
            Node::Branch(cond, source, k, holds, fails) => {
                let (reads, _) = liveness::effect(Opcode::Jump(cond, source), k);
                self.reads(holds) | self.reads(fails) | reads
            }
        };
        self.nodes.push(node);
        self.reads.push(reads);
        self.ids.insert(node, id);
        Ok(id)
    }

    /// The instruction in front of `next`, or `next` where nobody reads what it writes.
    pub(super) fn op(&mut self, opcode: Opcode, k: u32, next: Id) -> Result<Id, Stop> {
        let (_, writes) = liveness::effect(opcode, k);
        let may_end = opcode == Opcode::Alu(AluOp::Div, Source::X);
        if !may_end && !self.reads(next).meets(writes) {
            return Ok(next);
        }
        self.add(Node::Op(opcode, k, next))
    }

    /// The comparison, or where it leads if that is the same either way.
    pub(super) fn branch(
        &mut self,
        cond: Cond,
        source: Source,
        k: u32,
        holds: Id,
        fails: Id,
    ) -> Result<Id, Stop> {
        if holds == fails { Ok(holds) } else { self.add(Node::Branch(cond, source, k, holds, fails)) }
    }

    fn reads(&self, id: Id) -> Places {
        self.reads.get(usize::from(id)).copied().unwrap_or_default()
    }

    /// The classic program that begins at `root`.
    ///
    /// It is written from its end to its front, each node when those behind it are there, so that distances
    /// are known. What is too far for a conditional jump gets a JA behind the jump.
    pub(super) fn write(&self, root: Id) -> Result<Vec<SockFilter>, Stop> {
        let mut writer = Writer { reversed: Vec::new(), ranks: filled(self.nodes.len(), 0)? };
        let mut stack = Vec::new();
        stack.try_reserve(1)?;
        stack.push(root);
        while let Some(&id) = stack.last() {
            let Some(node) = self.nodes.get(usize::from(id)) else { return Err(Stop::TooLarge) };
            // What is visited last comes to stand directly behind.
            let behind = match *node {
                Node::RetK(_) | Node::RetA => [None, None],
                Node::Op(_, _, next) => [Some(next), None],
                Node::Branch(_, _, _, holds, fails) => [Some(fails), Some(holds)],
            };
            let missing = behind.into_iter().flatten().find(|id| writer.rank(*id) == 0);
            match missing {
                Some(next) => {
                    stack.try_reserve(1)?;
                    stack.push(next);
                }
                None => {
                    stack.pop();
                    if writer.rank(id) == 0 {
                        writer.node(id, *node)?;
                    }
                }
            }
        }
        writer.reversed.reverse();
        Ok(writer.reversed)
    }
}

struct Writer {
    reversed: Vec<SockFilter>,
    /// Instructions from where a node begins to the end; 0 for one that is not written.
    ranks: Vec<u16>,
}

impl Writer {
    fn rank(&self, id: Id) -> u16 {
        self.ranks.get(usize::from(id)).copied().unwrap_or(0)
    }

    /// From the instruction that is written next to what has `rank`.
    fn distance(&self, rank: u16) -> u32 {
        self.reversed.len().saturating_sub(rank.into()) as u32
    }

    /// The rank at which a conditional jump finds `id`: its own, or that of a JA to it, if it is too far. The
    /// distance to it still fits if one more instruction comes between.
    fn near(&mut self, id: Id) -> Result<u16, Stop> {
        let rank = self.rank(id);
        let distance = self.distance(rank);
        if distance < u8::MAX.into() {
            return Ok(rank);
        }
        self.push(Opcode::Ja, 0, 0, distance)?;
        Ok(self.reversed.len() as u16)
    }

    fn push(&mut self, opcode: Opcode, jt: u8, jf: u8, k: u32) -> Result<(), Stop> {
        let code = opcode.row().ok_or(Stop::TooLarge)?.code;
        if self.reversed.len() >= MAX_INSNS {
            return Err(Stop::TooLarge);
        }
        self.reversed.try_reserve(1)?;
        self.reversed.push(SockFilter::new(code, jt, jf, k));
        Ok(())
    }

    fn node(&mut self, id: Id, node: Node) -> Result<(), Stop> {
        match node {
            Node::RetK(k) => self.push(Opcode::RetK, 0, 0, k)?,
            Node::RetA => self.push(Opcode::RetA, 0, 0, 0)?,
            Node::Op(opcode, k, next) => {
                let distance = self.distance(self.rank(next));
                if distance > 0 {
                    self.push(Opcode::Ja, 0, 0, distance)?;
                }
                self.push(opcode, 0, 0, k)?;
            }
            Node::Branch(cond, source, k, holds, fails) => {
                let (fails, holds) = (self.near(fails)?, self.near(holds)?);
                let (jt, jf) = (self.distance(holds) as u8, self.distance(fails) as u8);
                self.push(Opcode::Jump(cond, source), jt, jf, k)?;
            }
        }
        if let Some(rank) = self.ranks.get_mut(usize::from(id)) {
            *rank = self.reversed.len() as u16;
        }
        Ok(())
    }
}
