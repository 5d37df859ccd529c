//! `--explain`: why calls were denied, as they are.

use std::time::Instant;

use anyhow::Context;
use seccomp_kernel::runtime::{Planned, SeccompData};
use seccomp_kernel::{Action, Arch, Decision, Filter, Kernel, RateLimit};

use super::kernel::Caller;
use crate::explain::{CallShown, Explained, reason};
use crate::filter::WithJson;
use crate::host::tell;
use crate::return_value::{ReturnValue, Words};
use crate::strace::Shown;

/// So many calls are explained at once, and so many in a second in the long run.
const BURST: u32 = 5;

/// The most bytes of a name that `/proc` has. A thread's own has 16.
const MAX_NAME: usize = 64;

/// Explains calls that are denied, a few in a second.
pub(super) struct Denied {
    /// The filters that the program started with, the oldest first.
    initial: Vec<Initial>,
    /// In milliseconds since `start`.
    limit: RateLimit,
    start: Instant,
}

/// A filter that the program started with.
pub(super) struct Initial {
    /// What it was given as.
    pub(super) name: String,
    /// What it was, if it was a profile.
    pub(super) profile: Option<WithJson>,
}

impl Denied {
    pub(super) fn new(initial: Vec<Initial>) -> Self {
        Self { initial, limit: RateLimit::new(1_000, BURST), start: Instant::now() }
    }

    /// Explains on standard error what was decided about a call, if it does not simply run.
    pub(super) fn explain(&self, caller: &Caller, data: &SeccompData, decision: &Decision) {
        if matches!(Action::of(decision.value), Action::Allow | Action::Log) {
            return;
        }
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(dropped) = self.limit.admit(now) else { return };
        tell_dropped(dropped);
        let task = caller.task;
        let arch = Arch::of_call(data.arch, data.nr).unwrap_or(Arch::X86_64);
        let comm = task.comm();
        let comm = comm[..comm.len().min(MAX_NAME)].escape_ascii();
        let memory = |at: u64, into: &mut [u8]| caller.read_user(at, into).is_ok();
        let call = Shown { arch, nr: data.nr, args: data.args, memory: &memory };
        let why = match task.seccomp.filter().zip(decision.filter) {
            Some((newest, index)) => self.why(newest, index, data, decision.value),
            None => Ok("no filter decides: strict mode allows read, write, exit and the return from a signal handler"
                .into()),
        };
        // In one piece, for the program may be writing there too.
        let text = format!(
            "seccomp-rbpf: denied: {} {comm}: {call} = {}\n{}\n{}\n\n",
            task.tid,
            Words(decision.value),
            CallShown::new(arch, data),
            why.unwrap_or_else(|error| error.to_string())
        );
        tell(format_args!("{text}"));
    }

    /// The way through the filter of this index, and why it counts.
    fn why(&self, newest: &Filter, index: u16, data: &SeccompData, value: u32) -> anyhow::Result<String> {
        let filter = newest.newest_first().find(|filter| filter.count() == u32::from(index) + 1);
        let filter = filter.context("the filter is gone")?;
        let initial = self.initial.get(usize::from(index));
        let name = match initial {
            Some(initial) => initial.name.clone(),
            None => format!("filter {index}, which the program installed"),
        };
        let explained = match filter.program().classic() {
            Some(program) => {
                let profile = initial.and_then(|initial| initial.profile.as_ref());
                Explained::classic(name.clone(), program, profile, data)?
            }
            None => Explained::extension(name.clone(), value, planned(filter, data).is_some()),
        };
        if newest.count() == 1 {
            return Ok(explained.to_string());
        }
        let values: Option<Vec<_>> = newest
            .newest_first()
            .map(|other| if other.count() == filter.count() { Some(value) } else { answer(other, data) })
            .collect();
        let reason = values.map_or_else(
            || format!("{} is the strictest action", Action::of(value).name()),
            |values| reason(values.into_iter(), value),
        );
        Ok(format!(
            "{explained}\n{} from {name}, of {} filters: {reason}",
            ReturnValue(value),
            newest.count()
        ))
    }

    /// Tells how many calls were not explained.
    pub(super) fn finish(&self) {
        tell_dropped(self.limit.dropped());
    }
}

fn tell_dropped(calls: u64) {
    if calls > 0 {
        tell(format_args!("seccomp-rbpf: denied: {calls} calls not explained\n\n"));
    }
}

/// What a filter says, if that can be told without running an extension again.
fn answer(filter: &Filter, data: &SeccompData) -> Option<u32> {
    match filter.program().classic() {
        Some(_) => Some(filter.program().run(data, None)),
        None => planned(filter, data),
    }
}

fn planned(filter: &Filter, data: &SeccompData) -> Option<u32> {
    match filter.program().plan_of(data.arch, data.nr) {
        Planned::Constant(value) => Some(value),
        _ => None,
    }
}
