//! The walk over all paths.
//!
//! It goes down one path until it ends, then takes up the last fork that has a way left. A state that is kept
//! where paths meet has a node; the node counts the paths that go on from there and have not ended. When none
//! is left, all that can follow the state is known to be safe and to end, and a path that comes there in a
//! state which is included need not go on. While some are left, the walk is on a path from that very state,
//! and coming back to it in the same state would go on forever.

use alloc::vec::Vec;

use cbpf_translator::OutOfMemory;
use cbpf_translator::ebpf::{AluOp, Instruction, Operand};
use cbpf_translator::fallible::with_capacity;

use super::cfg::Graph;
use super::environment::Environment;
use super::error::{Stop, VerifyError, Violation};
use super::needs::{self, Needs};
use super::require::{self, Access, Place};
use super::scalar::Scalar;
use super::state::{Span, State};
use super::transfer::{self, Ids};
use super::value::Value;
use super::{Function, Log, MAX_MEMORY, MAX_STACK, MAX_VISITED, MAX_WORK, filled};

/// The most states at one place whose future is known; then the oldest makes room. Paths that meet again come
/// together soon after their fork, so it is the newest that are worth asking.
const MAX_DONE: usize = 64;

/// How many states of the path are looked at for one that came back.
const MAX_RETURNS: usize = 16;

pub(super) struct Walk<'w> {
    graph: &'w Graph,
    environment: &'w Environment<'w>,
    log: &'w mut dyn Log,
    ids: Ids,
    /// What is needed before each instruction.
    needs: Vec<Needs>,
    /// What is kept at each instruction.
    meetings: Vec<Meeting>,
    /// The nodes of the path. They end in the opposite order in which they began: what is taken up again is
    /// the last fork, and that lies behind every node which has a way left.
    nodes: Vec<Node>,
    /// Forks that have a way left.
    pending: Vec<Path>,
    /// Bytes of the states in `pending`, and of those in `meetings`.
    pending_size: usize,
    kept_size: usize,
    pub(super) reached: Vec<bool>,
    pub(super) visited: usize,
    work: usize,
    /// Bytes of its stack that each function uses.
    depths: Vec<u32>,
}

/// A state on its way.
struct Path {
    pc: usize,
    state: State,
    /// The last node it came by.
    node: usize,
}

/// States that came to an instruction.
#[derive(Default)]
struct Meeting {
    /// Those on the path, by their nodes, in its order.
    open: Vec<(usize, State)>,
    /// Those whose future was walked; a ring.
    done: Vec<State>,
    /// Which of them makes room next.
    oldest: usize,
}

struct Node {
    /// The node before it on the path; the first has none.
    parent: Option<usize>,
    /// Paths from it that have not ended.
    open: usize,
    /// The instruction whose meeting has its state.
    place: usize,
}

/// How a path goes on behind an instruction.
enum Flow {
    Next(usize),
    Fork { next: usize, other: Path },
    End,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        graph: &'w Graph,
        len: usize,
        environment: &'w Environment<'w>,
        log: &'w mut dyn Log,
    ) -> Result<Self, OutOfMemory> {
        let mut meetings = with_capacity(len)?;
        meetings.resize_with(len, Meeting::default);
        Ok(Self {
            graph,
            environment,
            log,
            ids: Ids::default(),
            needs: needs::find(graph, environment)?,
            meetings,
            nodes: Vec::new(),
            pending: Vec::new(),
            pending_size: 0,
            kept_size: 0,
            reached: filled(len, false)?,
            visited: 0,
            work: 0,
            depths: filled(graph.functions().len(), 0)?,
        })
    }

    /// Walks every path to its end.
    pub(super) fn all(&mut self) -> Result<(), VerifyError> {
        let node = self.node(None, usize::MAX)?;
        let mut path = Path { pc: 0, state: State::start()?, node };
        loop {
            self.follow(path)?;
            match self.pending.pop() {
                Some(fork) => path = fork,
                None => return Ok(()),
            }
            self.pending_size = self.pending_size.saturating_sub(path.state.size());
        }
    }

    /// Walks one path to its end, leaving the other ways of its forks for later.
    fn follow(&mut self, mut path: Path) -> Result<(), VerifyError> {
        loop {
            let pc = path.pc;
            if self.graph.is_meeting(pc) && self.meet(&mut path)? {
                break;
            }
            self.visited = self.visited.saturating_add(1);
            if self.visited > MAX_VISITED || self.work > MAX_WORK {
                return Err(VerifyError::TooComplex);
            }
            if let Some(reached) = self.reached.get_mut(pc) {
                *reached = true;
            }
            self.log.visit(pc, &path.state);
            match self.step(&mut path).map_err(|stop| stop.at(pc))? {
                Flow::Next(next) => path.pc = next,
                Flow::Fork { next, other } => {
                    path.pc = next;
                    self.postpone(other)?;
                }
                Flow::End => break,
            }
        }
        self.close(path.node);
        Ok(())
    }

    /// Whether a path that comes where others may come too need not go on.
    fn meet(&mut self, path: &mut Path) -> Result<bool, VerifyError> {
        let pc = path.pc;
        path.state.forget(pc, &self.needs);
        let Some(meeting) = self.meetings.get_mut(pc) else { return Ok(false) };
        let (older, newer) = meeting.done.split_at_checked(meeting.oldest).unwrap_or_default();
        if older
            .iter()
            .rev()
            .chain(newer.iter().rev())
            .any(|known| known.includes(&path.state, &mut self.work))
        {
            return Ok(true);
        }
        for (_, known) in meeting.open.iter().rev().take(MAX_RETURNS) {
            if known.includes(&path.state, &mut self.work) && path.state.includes(known, &mut self.work) {
                return Err(VerifyError::Insn { pc, why: Violation::Endless });
            }
        }
        let size = path.state.size();
        if self.kept_size.saturating_add(size) > MAX_MEMORY / 2 {
            return Ok(false);
        }
        self.work = self.work.saturating_add(path.state.weight());
        let state = path.state.try_clone()?;
        meeting.open.try_reserve(1).map_err(|_| OutOfMemory)?;
        // Room for it when it is done, where no error can be told.
        if meeting.done.len() < MAX_DONE {
            meeting.done.try_reserve(1).map_err(|_| OutOfMemory)?;
        }
        path.node = self.node(Some(path.node), pc)?;
        if let Some(meeting) = self.meetings.get_mut(pc) {
            meeting.open.push((path.node, state));
        }
        self.kept_size = self.kept_size.saturating_add(size);
        Ok(false)
    }

    /// A node with one path, behind another node.
    fn node(&mut self, parent: Option<usize>, place: usize) -> Result<usize, OutOfMemory> {
        self.nodes.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.nodes.push(Node { parent, open: 1, place });
        Ok(self.nodes.len().saturating_sub(1))
    }

    /// A path from a node has ended.
    fn close(&mut self, node: usize) {
        let mut ended = Some(node);
        while let Some((index, node)) = ended.and_then(|index| Some((index, self.nodes.get_mut(index)?))) {
            node.open = node.open.saturating_sub(1);
            if node.open > 0 {
                return;
            }
            ended = node.parent;
            let place = node.place;
            self.nodes.truncate(index);
            self.finish(index, place);
        }
    }

    /// The state of a node, the last on the path, has its future walked.
    fn finish(&mut self, node: usize, place: usize) {
        let Some(meeting) = self.meetings.get_mut(place) else { return };
        let Some((_, state)) = meeting.open.pop_if(|(last, _)| *last == node) else { return };
        if meeting.done.len() < meeting.done.capacity().min(MAX_DONE) {
            meeting.done.push(state);
            meeting.oldest = meeting.done.len() % MAX_DONE;
        } else if let Some(slot) = meeting.done.get_mut(meeting.oldest) {
            self.kept_size = self.kept_size.saturating_sub(slot.size());
            *slot = state;
            meeting.oldest = meeting.oldest.saturating_add(1) % MAX_DONE;
        }
    }

    fn postpone(&mut self, path: Path) -> Result<(), VerifyError> {
        self.pending_size = self.pending_size.saturating_add(path.state.size());
        if self.pending_size > MAX_MEMORY / 2 {
            return Err(VerifyError::TooManyStates);
        }
        if let Some(node) = self.nodes.get_mut(path.node) {
            node.open = node.open.saturating_add(1);
        }
        self.pending.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.pending.push(path);
        Ok(())
    }

    /// Takes the state through one instruction.
    fn step(&mut self, path: &mut Path) -> Result<Flow, Stop> {
        let (pc, state, environment) = (path.pc, &mut path.state, self.environment);
        let Some(insn) = self.graph.insn(pc) else { return Err(Violation::RunsOff.into()) };
        match insn {
            Instruction::Alu { width, op, dst, operand } => {
                let (a, b) = require::arithmetic(state, width, op, dst, operand)?;
                match operand {
                    Operand::Reg(src) if op == AluOp::Mov => {
                        transfer::move_register(state, width, dst, src, b, &mut self.ids);
                    }
                    _ => transfer::arithmetic(state, width, op, dst, a, b),
                }
            }
            Instruction::Neg { width, dst } => {
                require::writable(dst)?;
                let number = state.number(dst)?;
                transfer::negate(state, width, dst, &number);
            }
            Instruction::Swap { bits, dst, .. } => {
                require::writable(dst)?;
                state.number(dst)?;
                transfer::swap(state, dst, bits);
            }
            Instruction::LoadImm64 { dst, imm } => {
                require::writable(dst)?;
                transfer::constant(state, dst, imm, &mut self.ids);
            }
            Instruction::Load { size, dst, from } => {
                require::writable(dst)?;
                let place = require::access(state, environment, from, size, Access::Load)?;
                let value = require::loaded(state, place, size)?;
                self.note_stack(&path.state, place);
                path.state.set(dst, value);
            }
            Instruction::StoreImm { size, to, imm } => {
                let place = require::access(state, environment, to, size, Access::Store)?;
                transfer::store(state, place, Value::scalar(Scalar::immediate(imm)))?;
                self.note_stack(&path.state, place);
            }
            Instruction::Store { size, to, src } => {
                let place = require::access(state, environment, to, size, Access::Store)?;
                let value = require::storable(state, place, size, src)?;
                transfer::store_register(state, place, src, value, &mut self.ids)?;
                self.note_stack(&path.state, place);
            }
            Instruction::CallHelper { id } => {
                let call = require::call(state, environment, id)?;
                transfer::call(state, &call, &mut self.ids)?;
                for touched in call.touched.into_iter().flatten() {
                    self.note_stack(&path.state, touched.place);
                }
            }
            Instruction::CallLocal { off } => {
                let entry = self.graph.jump(pc, off);
                let return_to = self.next(pc, insn)?;
                state.enter(self.graph.function_of(entry), return_to)?;
                return Ok(Flow::Next(entry));
            }
            Instruction::Exit => {
                if state.depth() > 1 {
                    require::function_exit(state)?;
                    return Ok(state.leave().map_or(Flow::End, Flow::Next));
                }
                require::exit(state)?;
                return Ok(Flow::End);
            }
            Instruction::Ja { off } => return Ok(Flow::Next(self.graph.jump(pc, off.into()))),
            Instruction::Jump { width, cond, dst, operand, off } => {
                let compared = require::comparison(state, environment, width, cond, dst, operand)?;
                let target = self.graph.jump(pc, off.into());
                let holds = transfer::find(width, cond, true, &compared);
                let fails = transfer::find(width, cond, false, &compared);
                let (found, next) = match (holds, fails) {
                    (Some(holds), Some(fails)) => {
                        self.work = self.work.saturating_add(state.weight());
                        let next = self.next(pc, insn)?;
                        let mut other = state.try_clone()?;
                        transfer::apply(&mut other, dst, operand, holds);
                        transfer::apply(state, dst, operand, fails);
                        let other = Path { pc: target, state: other, node: path.node };
                        return Ok(Flow::Fork { next, other });
                    }
                    (Some(holds), None) => (holds, target),
                    (None, Some(fails)) => (fails, self.next(pc, insn)?),
                    // No run is in this state.
                    (None, None) => return Ok(Flow::End),
                };
                transfer::apply(state, dst, operand, found);
                return Ok(Flow::Next(next));
            }
        }
        self.next(pc, insn).map(Flow::Next).map_err(Stop::from)
    }

    /// The instruction behind, which is in the same function.
    fn next(&self, pc: usize, insn: Instruction) -> Result<usize, Violation> {
        let next = pc.saturating_add(insn.slots());
        let inside =
            self.graph.insn(next).is_some() && self.graph.function_of(next) == self.graph.function_of(pc);
        if inside { Ok(next) } else { Err(Violation::RunsOff) }
    }

    /// Takes down how deep an access goes into a stack.
    fn note_stack(&mut self, state: &State, place: Place) {
        let (Place::Stack(depth, Span { start, .. }) | Place::SomeStack(depth, Span { start, .. })) = place
        else {
            return;
        };
        let used = u32::try_from(start.saturating_neg()).unwrap_or(u32::MAX);
        if let Some(known) = self.depths.get_mut(state.function_at(depth)) {
            *known = used.max(*known);
        }
    }

    /// The functions, with what they use of their stacks.
    pub(super) fn functions(&self) -> Result<Vec<Function>, OutOfMemory> {
        let entries = self.graph.functions();
        let mut functions = with_capacity(entries.len())?;
        let all = entries.iter().zip(&self.depths);
        functions.extend(all.map(|(entry, stack)| Function { entry: *entry, stack: *stack }));
        Ok(functions)
    }

    /// Bytes of stack that the functions use which call one another, at most [`MAX_STACK`]. Each begins at a
    /// multiple of 16, as Linux counts them for its JITs.
    pub(super) fn combined_stack(&self) -> Result<u32, VerifyError> {
        // Longest path over the calls that were walked. They form no circle, and no chain of them is longer
        // than the deepest call, so that many rounds settle it.
        let mut combined: Vec<u32> = filled(self.depths.len(), 0)?;
        for _ in 0..super::MAX_CALL_DEPTH {
            let mut below: Vec<u32> = filled(self.depths.len(), 0)?;
            for (pc, _) in self.reached.iter().enumerate().filter(|(_, reached)| **reached) {
                let Some(Instruction::CallLocal { off }) = self.graph.insn(pc) else { continue };
                let callee = self.graph.function_of(self.graph.jump(pc, off));
                let needed = combined.get(callee).copied().unwrap_or(0);
                if let Some(below) = below.get_mut(self.graph.function_of(pc)) {
                    *below = needed.max(*below);
                }
            }
            for ((combined, own), below) in combined.iter_mut().zip(&self.depths).zip(below) {
                *combined = own.next_multiple_of(16).saturating_add(below);
            }
        }
        match combined.first().copied().unwrap_or(0) {
            bytes if bytes as usize > MAX_STACK => Err(VerifyError::CombinedStack(bytes)),
            bytes => Ok(bytes),
        }
    }
}
