//! From a graph to instructions.
//!
//! A branch loads its word, takes what a mask leaves of it, and jumps. Whoever comes from a branch on the same
//! word enters behind what need not be done again.
//!
//! The program is written from its end to its front, so that what is jumped to is there already.

use std::collections::HashMap;

use cbpf_translator::SockFilter;
use cbpf_translator::cbpf::{AluOp, Cond, MAX_INSNS, Opcode, Source, Width};

use super::compile::TooLong;
use super::graph::{Graph, Id, Node, Test, Word};

/// Where a node is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Door {
    /// A holds anything.
    Start,
    /// A holds the word.
    Loaded,
    /// A holds what the mask leaves of it.
    Masked,
}

impl Door {
    const COUNT: usize = 3;
}

/// A branch as the machine has it.
#[derive(Clone, Copy)]
struct Branch {
    word: Word,
    mask: Option<u32>,
    cond: Cond,
    k: u32,
    holds: Id,
    fails: Id,
}

impl Branch {
    fn of(node: Node) -> Option<Self> {
        let Node::Branch { word, test, holds, fails } = node else { return None };
        let plain = Self { word, mask: None, cond: Cond::Eq, k: 0, holds, fails };
        Some(match test {
            Test::Equal(k) => Self { k, ..plain },
            Test::AtLeast(k) => Self { cond: Cond::Ge, k, ..plain },
            Test::Masked { mask, value: 0 } => {
                Self { cond: Cond::Set, k: mask, holds: fails, fails: holds, ..plain }
            }
            Test::Masked { mask, value } if mask.is_power_of_two() && mask == value => {
                Self { cond: Cond::Set, k: mask, ..plain }
            }
            Test::Masked { mask, value } => Self { mask: Some(mask), k: value, ..plain },
        })
    }

    /// Where this branch enters the next one.
    fn door_of(&self, next: &Self) -> Door {
        match (self.word == next.word, self.mask, next.mask) {
            (true, None, _) => Door::Loaded,
            (true, Some(mask), Some(next)) if mask == next => Door::Masked,
            _ => Door::Start,
        }
    }
}

/// The program that begins at `root`.
pub(super) fn emit(graph: &Graph, root: Id) -> Result<Vec<SockFilter>, TooLong> {
    let mut writer = Writer {
        graph,
        doors: doors(graph, root),
        reversed: Vec::new(),
        ranks: vec![[0; Door::COUNT]; graph.len()],
        ways: HashMap::new(),
    };
    let mut stack = vec![root];
    while let Some(&id) = stack.last() {
        // What is visited last comes to stand directly behind.
        let behind = match Branch::of(graph.node(id)) {
            Some(branch) => [Some(branch.fails), Some(branch.holds)],
            None => [None, None],
        };
        match behind.into_iter().flatten().find(|id| !writer.is_written(*id)) {
            Some(next) => stack.push(next),
            None => {
                stack.pop();
                if !writer.is_written(id) {
                    writer.node(id)?;
                }
            }
        }
    }
    writer.reversed.reverse();
    Ok(writer.reversed)
}

/// The doors by which each node is entered.
fn doors(graph: &Graph, root: Id) -> Vec<[bool; Door::COUNT]> {
    let mut doors = vec![[false; Door::COUNT]; graph.len()];
    let mut seen = vec![false; graph.len()];
    doors[root as usize][Door::Start as usize] = true;
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        let Some(branch) = Branch::of(graph.node(id)) else { continue };
        if std::mem::replace(&mut seen[id as usize], true) {
            continue;
        }
        for next in [branch.holds, branch.fails] {
            let door = Branch::of(graph.node(next)).map_or(Door::Start, |next| branch.door_of(&next));
            doors[next as usize][door as usize] = true;
            stack.push(next);
        }
    }
    doors
}

struct Writer<'g> {
    graph: &'g Graph,
    doors: Vec<[bool; Door::COUNT]>,
    reversed: Vec<SockFilter>,
    /// Instructions from each door to the end; 0 for one that is not written.
    ranks: Vec<[usize; Door::COUNT]>,
    /// The rank of the last JA to each rank.
    ways: HashMap<usize, usize>,
}

impl Writer<'_> {
    fn is_written(&self, id: Id) -> bool {
        self.ranks[id as usize].iter().any(|rank| *rank != 0)
    }

    fn push(&mut self, opcode: Opcode, jt: u8, jf: u8, k: u32) -> Result<usize, TooLong> {
        let code = opcode.row().ok_or(TooLong)?.code;
        if self.reversed.len() >= MAX_INSNS {
            return Err(TooLong);
        }
        self.reversed.push(SockFilter::new(code, jt, jf, k));
        Ok(self.reversed.len())
    }

    fn node(&mut self, id: Id) -> Result<(), TooLong> {
        let doors = self.doors[id as usize];
        let node = self.graph.node(id);
        let Some(branch) = Branch::of(node) else {
            if let Node::Return(value) = node {
                self.ranks[id as usize][Door::Start as usize] = self.push(Opcode::RetK, 0, 0, value)?;
            }
            return Ok(());
        };
        let fails = self.near(&branch, branch.fails)?;
        let holds = self.near(&branch, branch.holds)?;
        let distance = |rank| u8::try_from(self.reversed.len() - rank).map_err(|_| TooLong);
        let (jt, jf) = (distance(holds)?, distance(fails)?);
        let mut rank = self.push(Opcode::Jump(branch.cond, Source::K), jt, jf, branch.k)?;
        let mut ranks = [0; Door::COUNT];
        if let Some(mask) = branch.mask {
            ranks[Door::Masked as usize] = rank;
            if doors[Door::Loaded as usize] || doors[Door::Start as usize] {
                rank = self.push(Opcode::Alu(AluOp::And, Source::K), 0, 0, mask)?;
            }
        }
        ranks[Door::Loaded as usize] = rank;
        if doors[Door::Start as usize] {
            rank = self.push(Opcode::LdAbs(Width::Word), 0, 0, branch.word.0)?;
        }
        ranks[Door::Start as usize] = rank;
        self.ranks[id as usize] = ranks;
        Ok(())
    }

    /// The rank at which `branch`, which is written next, finds `next`: the node's own, or one nearer that
    /// leads there. The distance to it still fits if one more instruction comes between.
    fn near(&mut self, branch: &Branch, next: Id) -> Result<usize, TooLong> {
        let node = self.graph.node(next);
        let door = Branch::of(node).map_or(Door::Start, |next| branch.door_of(&next));
        let rank = self.ranks[next as usize][door as usize];
        let fits = |rank: usize| self.reversed.len() - rank < usize::from(u8::MAX);
        if fits(rank) {
            return Ok(rank);
        }
        if let Node::Return(value) = node {
            let rank = self.push(Opcode::RetK, 0, 0, value)?;
            self.ranks[next as usize][Door::Start as usize] = rank;
            return Ok(rank);
        }
        if let Some(way) = self.ways.get(&rank).copied().filter(|way| fits(*way)) {
            return Ok(way);
        }
        let distance = self.reversed.len() - rank;
        let way = self.push(Opcode::Ja, 0, 0, distance as u32)?;
        self.ways.insert(rank, way);
        Ok(way)
    }
}
