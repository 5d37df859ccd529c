//! A table of decision times.

use std::fmt;

use serde_json::{Value, json};

use super::measure::{Effort, Probe, Samples};
use super::results::{Measured, engine_json, rounded};

/// Times of rows by columns, all measured in the same rounds.
pub struct Grid {
    title: String,
    rows: Vec<String>,
    columns: Vec<String>,
    /// The row that the others of each column are compared with.
    base: usize,
    samples: Samples,
}

impl Grid {
    /// Measures the probe of each row and column. `base` is the row that others are compared with.
    pub fn measure<'p>(
        title: String,
        rows: Vec<String>,
        columns: Vec<String>,
        base: usize,
        probe: impl Fn(usize, usize) -> Probe<'p>,
        effort: Effort,
    ) -> Self {
        let cells = (0..rows.len()).flat_map(|row| (0..columns.len()).map(move |column| (row, column)));
        let probes: Vec<_> = cells.map(|(row, column)| probe(row, column)).collect();
        let samples = effort.measure(&probes);
        Self { title, rows, columns, base, samples }
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    pub fn rows(&self) -> &[String] {
        &self.rows
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// A time in nanoseconds.
    pub fn nanos(&self, row: usize, column: usize) -> f64 {
        self.samples.median(self.index(row, column))
    }

    /// How often the time of one row and column is that of another.
    ///
    /// # Panics
    ///
    /// There is no such row or column.
    pub fn ratio(&self, of: (&str, &str), to: (&str, &str)) -> f64 {
        let find = |names: &[String], name| names.iter().position(|other| other == name).expect("a name");
        let index = |(row, column)| self.index(find(&self.rows, row), find(&self.columns, column));
        self.samples.ratio(index(of), index(to))
    }

    fn index(&self, row: usize, column: usize) -> usize {
        row * self.columns.len() + column
    }
}

impl Measured for Grid {
    const KEY: &'static str = "decisions";

    fn json(&self) -> Vec<Value> {
        let cells = self.rows.iter().enumerate().flat_map(|(row, row_name)| {
            self.columns.iter().enumerate().map(move |(column, column_name)| {
                let index = self.index(row, column);
                let engine = [row_name, column_name].into_iter().find_map(|name| super::engine_of(name));
                let [engine, plan] = engine_json(engine);
                json!({
                    "row": row_name,
                    "column": column_name,
                    "engine": engine,
                    "plan": plan,
                    "ns": rounded(self.samples.median(index)),
                    "quartiles": self.samples.quartiles(index).map(rounded),
                    "ratio": rounded(self.samples.ratio(index, self.index(self.base, column))),
                })
            })
        });
        let cells: Vec<_> = cells.collect();
        vec![json!({"title": self.title, "base": self.rows.get(self.base), "cells": cells})]
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: ns a decision, and against what has 1.00x", self.title)?;
        write!(f, "{:<24}", "")?;
        self.columns.iter().try_for_each(|name| write!(f, "{name:>22}"))?;
        writeln!(f)?;
        for (row, name) in self.rows.iter().enumerate() {
            write!(f, "{name:<24}")?;
            for column in 0..self.columns.len() {
                let ratio = self.samples.ratio(self.index(row, column), self.index(self.base, column));
                write!(f, "{:>12.1}{ratio:>9.2}x", self.nanos(row, column))?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }
}
