//! What is told of the calls: a line each, a table at the end, and the log.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use seccomp_kernel::runtime::SeccompData;
use seccomp_kernel::{
    AUDIT_SECCOMP, AUDIT_UNSET, Action, Arch, Decision, LogEntry, RateLimit, Record as AuditRecord,
};
use serde_json::{Value, json};

use super::denied::Denied;
use super::kernel::Caller;
use super::proc::Status;
use super::task::Task;
use crate::extension::NamedMap;
use crate::host::tell;
use crate::record::Seen;
use crate::return_value::{ReturnValue, Words};
use crate::{json, maps, output};

/// The most rows of the table. A program can call any of 2^32 numbers, and filters can answer as many.
const MAX_ROWS: usize = 10_000;

/// What has been seen.
pub(super) struct Record {
    trace: Option<BufWriter<File>>,
    trace_error: Option<io::Error>,
    summary: Option<Summary>,
    /// Whether the table is printed.
    shows_summary: bool,
    /// Where it is written.
    summary_file: Option<PathBuf>,
    /// The maps whose events are told.
    events: Vec<NamedMap>,
    seen: Option<Seen>,
    denied: Option<Denied>,
    buffer: Vec<u8>,
    /// Of audit records, as printk's, in milliseconds since `start`.
    limit: RateLimit,
    start: Instant,
}

#[derive(Default)]
struct Summary {
    /// How often each value answered each call.
    rows: BTreeMap<(u32, i32, u32), u64>,
    /// Calls that found the table full.
    others: u64,
}

impl Record {
    /// Tells each call to the file `trace`, and counts for the table if `summary`.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub(super) fn new(trace: Option<&Path>, summary: bool) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file = if path.as_os_str() == "-" {
                io::stdout().as_fd().try_clone_to_owned().map(File::from)
            } else {
                File::create(path)
            };
            file.map(BufWriter::new).with_context(|| format!("{}", path.display()))
        };
        Ok(Self {
            trace: trace.map(open).transpose()?,
            trace_error: None,
            summary: summary.then(Summary::default),
            shows_summary: summary,
            summary_file: None,
            events: Vec::new(),
            seen: None,
            denied: None,
            buffer: Vec::new(),
            limit: RateLimit::new(5_000, 10),
            start: Instant::now(),
        })
    }

    /// Counts for the table, and writes it as JSON to this file at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn summarised_to(self, file: PathBuf) -> anyhow::Result<Self> {
        output::writable(&file)?;
        Ok(Self { summary: Some(self.summary.unwrap_or_default()), summary_file: Some(file), ..self })
    }

    /// Tells the events of these maps too.
    pub(super) fn with_events(self, maps: &[NamedMap]) -> Self {
        Self { events: maps.to_vec(), ..self }
    }

    /// Shows each call to `seen` too.
    pub(super) fn seen_by(self, seen: Seen) -> Self {
        Self { seen: Some(seen), ..self }
    }

    /// Who saw the calls.
    pub(super) fn into_seen(self) -> Option<Seen> {
        self.seen
    }

    /// Explains calls that are denied.
    pub(super) fn explaining(self, denied: Denied) -> Self {
        Self { denied: Some(denied), ..self }
    }

    /// What was decided about a call.
    pub(super) fn decided(&self, caller: &Caller, data: &SeccompData, decision: &Decision) {
        if let Some(denied) = &self.denied {
            denied.explain(caller, data, decision);
        }
    }

    /// The program has begun.
    pub(super) fn started(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.started();
        }
    }

    /// Tells what events there are, as lines on standard error.
    pub(super) fn events(&mut self) {
        for map in &self.events {
            maps::drain(map, &mut self.buffer, |line| tell(format_args!("{line}\n")));
        }
    }

    /// A call, and the filters' value for it.
    pub(super) fn call(&mut self, task: &Task, data: &SeccompData, value: u32) {
        if let Some(seen) = &mut self.seen {
            seen.call(data);
        }
        if let Some(trace) = &mut self.trace
            && let Err(error) = trace_line(trace, task, data, value)
        {
            // The program goes on; the file is told to be incomplete when it ends.
            self.trace_error.get_or_insert(error);
        }
        if let Some(summary) = &mut self.summary {
            let row = (data.arch, data.nr, value);
            if summary.rows.len() < MAX_ROWS || summary.rows.contains_key(&row) {
                *summary.rows.entry(row).or_default() += 1;
            } else {
                summary.others += 1;
            }
        }
    }

    /// An audit record, as Linux writes it, as a line on standard error. A program that makes such calls in a
    /// loop does not flood it.
    pub(super) fn log(&self, task: &Task, entry: &LogEntry) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Some(dropped) = self.limit.admit(now) else { return };
        tell_dropped(dropped);
        let proc = |file: &str| fs::read(format!("/proc/{}/{file}", task.tid)).ok();
        let id = |file: &str| String::from_utf8(proc(file)?).ok()?.parse().ok();
        // Without a security module that names tasks, the file cannot be read.
        let subj = proc("attr/current").map(|context| String::from_utf8_lossy(&context).into_owned());
        let comm = task.comm();
        let exe = fs::read_link(format!("/proc/{}/exe", task.tid)).ok();
        let record = AuditRecord {
            auid: id("loginuid").unwrap_or(AUDIT_UNSET),
            uid: task.known(Status::uid).unwrap_or(AUDIT_UNSET),
            gid: task.known(Status::gid).unwrap_or(AUDIT_UNSET),
            ses: id("sessionid").unwrap_or(AUDIT_UNSET),
            subj: subj.as_deref().map(|context| context.trim_end_matches(['\n', '\0'])),
            pid: task.tgid.as_raw(),
            comm: &comm,
            exe: exe.as_ref().map(|exe| exe.as_os_str().as_bytes()),
            compat: Arch::of_call(entry.arch, entry.nr).is_some_and(Arch::is_compat),
            entry: *entry,
        };
        tell(format_args!("seccomp-rbpf: audit: type={AUDIT_SECCOMP} {record}\n"));
    }

    /// Completes the files and prints the table to standard error.
    ///
    /// # Errors
    ///
    /// A file could not be written.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        tell_dropped(self.limit.dropped());
        if let Some(denied) = &self.denied {
            denied.finish();
        }
        let mut summarised = Ok(());
        if let Some(summary) = &self.summary {
            if self.shows_summary {
                tell(format_args!("{}", summary.table()));
            }
            if let Some(file) = &self.summary_file {
                summarised = json::print_to(Some(file), &summary.json());
            }
        }
        let written = match (self.trace_error, self.trace) {
            (Some(error), _) => Err(error),
            (None, Some(mut trace)) => trace.flush(),
            (None, None) => Ok(()),
        };
        written.context("the trace is incomplete").and(summarised)
    }
}

fn tell_dropped(records: u64) {
    if records > 0 {
        tell(format_args!("seccomp-rbpf: audit: {records} records dropped\n"));
    }
}

/// The thread, the call's name, a line of `eval --batch`, and the decision.
fn trace_line(out: &mut impl Write, task: &Task, data: &SeccompData, value: u32) -> io::Result<()> {
    let SeccompData { nr, arch, instruction_pointer, args } = *data;
    write!(out, "{} {} {arch:x} {nr} {instruction_pointer:x}", task.tid, name(arch, nr))?;
    for argument in args {
        write!(out, " {argument:x}")?;
    }
    writeln!(out, " = {}", ReturnValue(value))
}

fn name(arch: u32, nr: i32) -> &'static str {
    Arch::of_call(arch, nr).and_then(|entry| entry.syscall_name(nr)).unwrap_or("?")
}

/// How often a system call was made.
#[derive(Default)]
struct Calls {
    all: u64,
    denied: u64,
    /// Each value that answered it, and how often.
    values: Vec<(u32, u64)>,
}

impl Summary {
    /// By architecture and number, the most frequent first.
    fn calls(&self) -> Vec<((u32, i32), Calls)> {
        let mut calls: BTreeMap<_, Calls> = BTreeMap::new();
        for (&(arch, nr, value), &count) in &self.rows {
            let of_number = calls.entry((arch, nr)).or_default();
            of_number.all += count;
            if !matches!(Action::of(value), Action::Allow | Action::Log) {
                of_number.denied += count;
            }
            of_number.values.push((value, count));
        }
        let mut calls: Vec<_> = calls.into_iter().collect();
        calls.sort_by_key(|(_, of_number)| Reverse(of_number.all));
        calls
    }

    /// Of all calls.
    fn total(&self) -> u64 {
        self.rows.values().sum::<u64>() + self.others
    }

    fn json(&self) -> Value {
        let calls = self.calls();
        let denied: u64 = calls.iter().map(|(_, of_number)| of_number.denied).sum();
        let rows = calls.into_iter().map(|((arch, nr), Calls { all, denied, values })| {
            let entry = Arch::of_call(arch, nr);
            let decisions = values.into_iter().map(|(value, count)| {
                let mut decision = json::value(value);
                decision["count"] = count.into();
                decision
            });
            json!({
                "call": {
                    "arch": entry.map(Arch::name),
                    "audit_arch": format!("{arch:#010x}"),
                    "nr": nr,
                    "name": entry.and_then(|entry| entry.syscall_name(nr)),
                },
                "count": all,
                "denied": denied,
                "decisions": decisions.collect::<Vec<_>>(),
            })
        });
        json!({
            "count": self.total(),
            "denied": denied,
            "rows": rows.collect::<Vec<_>>(),
            "not_told_apart": self.others,
        })
    }

    fn table(&self) -> String {
        let (calls, total) = (self.calls(), self.total());
        let all_denied: u64 = calls.iter().map(|(_, of_number)| of_number.denied).sum();

        let mut table = format!("{:>10} {:>10}  {:<24} decisions\n", "calls", "denied", "syscall");
        for ((arch, nr), Calls { all, denied, values }) in calls {
            let values: Vec<_> =
                values.into_iter().map(|(value, count)| format!("{count} {}", Words(value))).collect();
            let name = match (name(arch, nr), Arch::of_call(arch, nr)) {
                ("?", _) => format!("{nr} ({arch:#x})"),
                (name, Some(Arch::X86_64) | None) => name.to_owned(),
                (name, Some(entry)) => format!("{name} ({})", entry.name()),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{all:>10} {denied:>10}  {name:<24} {}", values.join(", "));
        }
        if self.others > 0 {
            let _ = writeln!(table, "{:>10} {:>10}  (not told apart)", self.others, "");
        }
        let _ = writeln!(table, "{total:>10} {all_denied:>10}  total");
        table
    }
}
