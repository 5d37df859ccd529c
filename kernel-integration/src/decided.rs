//! What a path of filters decides whatever the arguments: a table by system call number.
//!
//! The table of a filter already holds what its ancestors decide, merged as evaluation would. So such a
//! decision is one load, however many filters there are and however long they are.

use alloc::vec::Vec;

use cbpf_translator::OutOfMemory;
use cbpf_translator::fallible::filled;
use cbpf_translator::seccomp::RET_ALLOW;
use seccomp_runtime::{NUMBERS, Planned};

use crate::action;
use crate::filter::Filter;
use crate::program::Program;

/// The decisions about the calls of one entry.
#[derive(Debug)]
pub(crate) struct Table {
    /// The entry's `AUDIT_ARCH_*` value.
    pub(crate) arch: u32,
    rows: Vec<Row>,
}

/// What filters decide together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// The return value that counts.
    pub(crate) value: u32,
    /// The filter that it is from, counted from the oldest, which is 0. Means nothing if the value allows.
    pub(crate) winner: u16,
    /// Whether that filter logs.
    pub(crate) log: bool,
}

/// One number's row. Eight bytes.
#[derive(Clone, Copy, Debug)]
struct Row {
    value: u32,
    /// The filter that it is from, unless nothing is denied.
    winner: u16,
    /// Whether the arguments cannot change it.
    known: bool,
    /// Whether the winner logs.
    log: bool,
}

impl Row {
    const UNKNOWN: Self = Self { value: 0, winner: 0, known: false, log: false };

    /// What no filter at all decides.
    const ALLOW: Self = Self { value: RET_ALLOW, winner: 0, known: true, log: false };

    /// What a filter that has this row and is newer than one with `older` decides together with that.
    fn over(self, older: Self) -> Self {
        let mine = action::precedence(self.value);
        match (self.known && older.known, mine <= action::precedence(older.value)) {
            (false, _) => Self::UNKNOWN,
            // Data of an ALLOW does not count, and no filter wins with it.
            (true, true) if mine < action::precedence(RET_ALLOW) => self,
            (true, _) => older,
        }
    }
}

impl Table {
    /// A table for the entry `arch` in which nothing is known yet.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(crate) fn nothing(arch: u32) -> Result<Self, OutOfMemory> {
        Ok(Self { arch, rows: filled(NUMBERS, Row::UNKNOWN)? })
    }

    /// Fills in what `program` decides on top of `parent`, as filter number `index`. Allocates nothing.
    pub(crate) fn fill(&mut self, program: &Program, index: u16, log: bool, parent: Option<&Filter>) {
        let arch = self.arch;
        let older = parent.map(|parent| parent.table(arch));
        for (nr, row) in (0i32..).zip(&mut self.rows) {
            let older = match older {
                None => Row::ALLOW,
                Some(table) => table.and_then(|table| table.row(nr)).unwrap_or(Row::UNKNOWN),
            };
            let mine = match program.plan_of(arch, nr) {
                Planned::Constant(value) => Row { value, winner: index, known: true, log },
                Planned::Residual | Planned::Whole => Row::UNKNOWN,
            };
            *row = mine.over(older);
        }
    }

    /// Lets calls of `nr` through, whatever filters say.
    pub(crate) fn exempt(&mut self, nr: i32) {
        if let Some(row) = self.rows.get_mut(nr.cast_unsigned() as usize) {
            *row = Row::ALLOW;
        }
    }

    /// The decision about calls of `nr`.
    #[inline]
    pub(crate) fn get(&self, nr: i32) -> Option<Decided> {
        let row = self.row(nr)?;
        row.known.then_some(Decided { value: row.value, winner: row.winner, log: row.log })
    }

    #[inline]
    fn row(&self, nr: i32) -> Option<Row> {
        self.rows.get(nr.cast_unsigned() as usize).copied()
    }
}
