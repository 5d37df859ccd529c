//! What was measured: text as it comes, or JSON when all of it is there.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::engine::Engine;
use crate::{json, output};

/// A table of results.
pub trait Measured: fmt::Display {
    /// Its key in JSON, where all tables of the kind are one list.
    const KEY: &'static str;

    /// What it adds to that list.
    fn json(&self) -> Vec<Value>;
}

/// Takes results.
pub struct Results(Option<BTreeMap<&'static str, Vec<Value>>>);

impl Results {
    /// Lists that are there, and without results empty.
    const KEYS: [&str; 6] = ["installs", "decisions", "verification", "host", "threads", "figures"];

    pub fn new(as_json: bool) -> Self {
        Self(as_json.then(|| Self::KEYS.map(|key| (key, Vec::new())).into()))
    }

    /// Prints results, or keeps them for [`Results::finish`].
    pub fn add<M: Measured>(&mut self, results: &M) -> anyhow::Result<()> {
        match &mut self.0 {
            Some(kept) => {
                kept.entry(M::KEY).or_default().extend(results.json());
                Ok(())
            }
            None => output::text(results),
        }
    }

    /// Prints what is kept.
    pub fn finish(self) -> anyhow::Result<()> {
        self.0.map_or(Ok(()), |kept| json::print(&Value::from_iter(kept)))
    }
}

/// The keys `engine` and `plan`: null where no engine decides.
pub fn engine_json(engine: Option<Engine>) -> [Value; 2] {
    [engine.map(|engine| engine.kind.name()).into(), engine.map(|engine| engine.plan).into()]
}

/// A number with as many digits as mean something.
pub fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
