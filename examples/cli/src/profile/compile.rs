//! From a meaning to a filter.
//!
//! The filter looks for the architecture, then for the number, and then at the arguments. Numbers next to each
//! other that get the same are one interval; the search halves the intervals. x32's numbers are those of
//! x86-64 from its bit on, so both are one search, and so is the guard against x32.

use std::error::Error;
use std::fmt;

use cbpf_translator::SockFilter;
use seccomp_kernel::{Arch, X32_SYSCALL_BIT};

use super::arguments::decision;
use super::emit::emit;
use super::graph::{Graph, Id, Test, Word};
use super::meaning::{Entry, Meaning, OTHER_ENTRY};

/// The filter would have more instructions than Linux takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the filter would be longer than the 4096 instructions that Linux takes")
    }
}

impl Error for TooLong {}

/// As many single numbers in one interval are asked for one after the other.
const FEW: usize = 3;

/// Where each node begins to answer; it does until the next one begins. The first begins at 0.
type Starts = Vec<(u32, Id)>;

impl Meaning {
    /// The filter.
    ///
    /// # Errors
    ///
    /// It is too long.
    pub fn compile(&self) -> Result<Vec<SockFilter>, TooLong> {
        let mut graph = Graph::default();
        let other = graph.ret(OTHER_ENTRY)?;
        let mut audit_arches: Vec<u32> = Vec::new();
        for arch in self.arches() {
            if !audit_arches.contains(&arch.audit_arch()) {
                audit_arches.push(arch.audit_arch());
            }
        }
        let mut next = other;
        // The machine's own architecture is asked for first.
        for audit_arch in audit_arches.into_iter().rev() {
            let starts = self.starts(&mut graph, audit_arch)?;
            let numbers = search(&mut graph, &starts)?;
            next = graph.branch(Word::ARCH, Test::Equal(audit_arch), numbers, next)?;
        }
        emit(&graph, next)
    }

    /// The intervals of all numbers of one `AUDIT_ARCH`.
    fn starts(&self, graph: &mut Graph, audit_arch: u32) -> Result<Starts, TooLong> {
        const X32: u32 = X32_SYSCALL_BIT.cast_unsigned();
        let other = graph.ret(OTHER_ENTRY)?;
        let default = graph.ret(self.default)?;
        let entry = |arch: Arch| self.entries.iter().find(|entry| entry.arch == arch);
        let mut starts = Starts::new();
        if audit_arch != Arch::X86_64.audit_arch() {
            starts.push((0, default));
            for entry in self.entries.iter().filter(|entry| entry.arch.audit_arch() == audit_arch) {
                self.number_intervals(graph, &mut starts, entry)?;
            }
            return Ok(starts);
        }
        match entry(Arch::X86_64) {
            Some(entry) => {
                push(&mut starts, 0, default);
                self.number_intervals(graph, &mut starts, entry)?;
            }
            None => push(&mut starts, 0, other),
        }
        match entry(Arch::X32) {
            Some(entry) => {
                push(&mut starts, X32, default);
                self.number_intervals(graph, &mut starts, entry)?;
            }
            None => {
                push(&mut starts, X32, other);
                // Linux looks at the bit of numbers from 0 on only; -1 is what a tracer leaves of a call.
                push(&mut starts, u32::MAX, default);
            }
        }
        Ok(starts)
    }

    /// The intervals of an entry's calls.
    fn number_intervals(&self, graph: &mut Graph, starts: &mut Starts, entry: &Entry) -> Result<(), TooLong> {
        let default = graph.ret(self.default)?;
        for (nr, alternatives) in &entry.calls {
            let node = decision(graph, alternatives, self.default)?;
            push(starts, *nr, node);
            if let Some(next) = nr.checked_add(1) {
                push(starts, next, default);
            }
        }
        Ok(())
    }
}

/// Lets `id` answer from `nr` on, which is not below the last start.
fn push(starts: &mut Starts, nr: u32, id: Id) {
    if starts.last().is_some_and(|(last, _)| *last == nr) {
        starts.pop();
    }
    if starts.last().is_none_or(|(_, last)| *last != id) {
        starts.push((nr, id));
    }
}

/// A search for the last of `starts` that is not above the number.
fn search(graph: &mut Graph, starts: &[(u32, Id)]) -> Result<Id, TooLong> {
    if let Some(id) = singles(graph, starts)? {
        return Ok(id);
    }
    let middle = middle(starts);
    let (below, above) = (search(graph, &starts[..middle])?, search(graph, &starts[middle..])?);
    graph.branch(Word::NR, Test::AtLeast(starts[middle].0), above, below)
}

/// Where to halve. An interval between two equal ones of which each is one number costs one test, if it is not
/// cut off; so it is better to cut somewhere else nearby.
fn middle(starts: &[(u32, Id)]) -> usize {
    let single = |index: usize| {
        let around = index.checked_sub(1).and_then(|before| starts.get(before)).zip(starts.get(index + 1));
        around.is_some_and(|((_, before), (end, after))| before == after && end - starts[index].0 == 1)
    };
    let half = starts.len() / 2;
    let near = (half.saturating_sub(1)..=half + 1).filter(|middle| (1..starts.len()).contains(middle));
    near.min_by_key(|middle| (single(*middle) || single(middle - 1), middle.abs_diff(half))).unwrap_or(half)
}

/// One interval with few single numbers in it, each asked for.
fn singles(graph: &mut Graph, starts: &[(u32, Id)]) -> Result<Option<Id>, TooLong> {
    let Some((_, base)) = starts.first().copied() else { return Err(TooLong) };
    if starts.len() > 2 * FEW + 1 || starts.len().is_multiple_of(2) {
        return Ok(None);
    }
    let mut id = base;
    for pair in starts[1..].chunks_exact(2).rev() {
        let [(nr, single), (end, after)] = pair else { return Ok(None) };
        if *after != base || end - nr != 1 {
            return Ok(None);
        }
        id = graph.branch(Word::NR, Test::Equal(*nr), *single, id)?;
    }
    Ok(Some(id))
}
