//! What the host kernel's own seccomp adds to a system call.
//!
//! Helpers, which are this command under a hidden name, install a filter and then make calls when they are told
//! to. One has no filter, and each round asks all of them.

use std::fmt;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use cbpf_translator::SockFilter;
use clap::Args;
use nix::sys::personality;
use nix::unistd::getppid;
use seccompiler::{apply_filter, sock_filter};
use serde_json::{Value, json};

use super::Input;
use super::measure::{Effort, Samples};
use super::results::{Measured, rounded};
use crate::filter;

/// The hidden subcommand.
pub(crate) const CALLS: &str = "__calls";

/// The filter, which comes on standard input first.
#[derive(Args)]
pub(crate) struct CallsArgs {
    /// Its instructions
    insns: usize,
    /// How often it is installed
    depth: usize,
}

/// The calls to make. Linux caches that the first is always allowed; of the second it cannot know.
const CALLED: [&str; 2] = ["getppid", "personality"];

/// The helper's side: a line with a call and how often, and it answers with the nanoseconds.
pub(crate) fn serve(args: &CallsArgs) -> anyhow::Result<ExitCode> {
    let mut requests = io::stdin().lock();
    let mut bytes = vec![0; args.insns * SockFilter::SIZE];
    requests.read_exact(&mut bytes)?;
    let insns = filter::whole(&bytes)?.iter().copied().map(SockFilter::from_ne_bytes);
    let program: Vec<_> =
        insns.map(|SockFilter { code, jt, jf, k }| sock_filter { code, jt, jf, k }).collect();
    for _ in 0..args.depth {
        apply_filter(&program)?;
    }
    for line in requests.lines() {
        let line = line?;
        let (name, count) = line.split_once(' ').context("a call and how often")?;
        let count: usize = count.parse()?;
        let start = Instant::now();
        match name {
            "getppid" => {
                for _ in 0..count {
                    black_box(getppid());
                }
            }
            "personality" => {
                for _ in 0..count {
                    let _ = black_box(personality::get());
                }
            }
            _ => bail!("no such call: {name}"),
        }
        println!("{}", start.elapsed().as_nanos());
    }
    Ok(ExitCode::SUCCESS)
}

/// A helper that waits to be told.
struct Helper {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    child: Child,
}

impl Helper {
    fn start(insns: &[SockFilter], depth: usize) -> anyhow::Result<Self> {
        let this = std::env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(this)
            .arg(CALLS)
            .args([insns.len(), depth].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process")?;
        let mut requests = child.stdin.take().context("no pipe")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        requests.write_all(&filter::to_bytes(insns))?;
        Ok(Self { requests, answers, child })
    }

    /// Nanoseconds that each of `count` calls took.
    fn ask(&mut self, call: &str, count: usize) -> anyhow::Result<f64> {
        writeln!(self.requests, "{call} {count}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let nanos: f64 = answer.trim_end().parse().context("the filter does not let a helper work")?;
        Ok(nanos / count as f64)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A row for each input; the first is without a filter.
pub struct Table {
    names: Vec<String>,
    samples: Samples,
}

impl Table {
    pub fn measure(inputs: &[Input], effort: Effort) -> anyhow::Result<Self> {
        let mut helpers = vec![Helper::start(&[], 0)?];
        for input in inputs {
            helpers.push(Helper::start(input.filter.insns(), input.depth.unwrap_or(1))?);
        }
        let mut counts = Vec::new();
        for helper in &mut helpers {
            for call in CALLED {
                let nanos = helper.ask(call, 100)?;
                counts.push((effort.batch.as_nanos() as f64 * 10.0 / nanos).ceil() as usize);
            }
        }
        let mut failure = Ok(());
        let samples = effort.rounds(counts.len(), |index| {
            let helper = &mut helpers[index / CALLED.len()];
            helper.ask(CALLED[index % CALLED.len()], counts[index]).unwrap_or_else(|error| {
                failure = Err(error);
                f64::NAN
            })
        });
        let names = inputs.iter().map(|input| input.name.clone()).collect();
        failure.map(|()| Self { names, samples })
    }
}

impl Measured for Table {
    const KEY: &'static str = "host";

    fn json(&self) -> Vec<Value> {
        let called = |measured: &dyn Fn(usize) -> (f64, [f64; 2])| {
            let calls = CALLED.iter().enumerate().map(|(call, name)| {
                let (nanos, quartiles) = measured(call);
                json!({"call": name, "ns": rounded(nanos), "quartiles": quartiles.map(rounded)})
            });
            calls.collect::<Vec<_>>()
        };
        let bare = |call| (self.samples.median(call), self.samples.quartiles(call));
        let bare = json!({"name": null, "calls": called(&bare)});
        let rows = self.names.iter().zip(1..).map(|(name, helper)| {
            let added = |call| {
                let index = helper * CALLED.len() + call;
                (self.samples.difference(index, call), self.samples.quartiles_of_difference(index, call))
            };
            json!({"name": name, "calls": called(&added)})
        });
        [bare].into_iter().chain(rows).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the host's own seccomp: ns that it adds to a call")?;
        writeln!(f, "{:<39}{:>18}{:>18}", "", CALLED[0], CALLED[1])?;
        let [first, second] = [0, 1].map(|call| self.samples.median(call));
        writeln!(f, "{:<39}{first:>18.1}{second:>18.1}", "(a call without a filter)")?;
        for (name, helper) in self.names.iter().zip(1..) {
            let added = |call| self.samples.difference(helper * CALLED.len() + call, call);
            writeln!(f, "{name:<39}{:>18.1}{:>18.1}", added(0), added(1))?;
        }
        writeln!(f)
    }
}
