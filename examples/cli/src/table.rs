//! `table`: what filters decide, system call by system call.

mod page;
mod stack;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::ensure;
use seccomp_kernel::Arch;
use seccomp_rbpf::symbolic::{Condition, Decision, Work};
use serde_json::{Value, json};

use crate::filter::{self, Filter};
use crate::profile_args::ProfileArgs;
use crate::return_value::ReturnValue;
use crate::wrap::wrapped;
use crate::{arch, json, output, progress, report, style};
use page::Page;
pub use stack::Stack;

/// Show what filters decide about each system call, and on which arguments that depends
///
/// Several filters stack as with eval: the strictest action counts.
///
/// All paths of the filters are followed. Where they are too many, or compare what cannot be said in a line, it says that
/// the decision depends on arguments.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  seccomp-rbpf table profile.json
  seccomp-rbpf table deny.bpfasm --arch aarch64 --json
  seccomp-rbpf table old.json --compare new.json --html -o changes.html")]
pub struct TableArgs {
    /// Raw sock_filter bytes, assembler text, profiles or eBPF object files, the oldest filter first; - is standard input
    #[arg(value_name = "FILTER", required = true)]
    filters: Vec<PathBuf>,
    /// The system call entry; a page has all that the filters tell apart, this one first
    #[arg(long, value_parser = arch::parser(), default_value = arch::DEFAULT)]
    arch: Arch,
    /// Print JSON; docs/explain.md has its shape
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Print one HTML page, with a search, that needs nothing but a browser
    #[arg(long)]
    html: bool,
    /// Compare with this filter on the page; several stack
    #[arg(long, value_name = "FILTER", requires = "html")]
    compare: Vec<PathBuf>,
    /// Where to write, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    profile: ProfileArgs,
}

/// How a table is printed.
#[derive(Clone, Copy)]
pub enum Form {
    Text,
    Json,
    Html,
}

impl Form {
    pub fn of(json: bool, html: bool) -> Self {
        match (json, html) {
            (_, true) => Self::Html,
            (true, _) => Self::Json,
            _ => Self::Text,
        }
    }
}

/// What a table is of: filters, the oldest first, and their name.
pub struct Subject {
    pub name: Name,
    pub filters: Vec<Filter>,
}

/// What filters are called, with and without folders, [escaped](style::Escaped).
pub struct Name {
    pub long: String,
    pub short: String,
}

impl Subject {
    /// Filters from files.
    pub fn load(paths: &[PathBuf], arch: Arch, profile: &ProfileArgs) -> anyhow::Result<Self> {
        let filters = paths.iter().map(|path| filter::load_any(path, arch, profile));
        let filters = filters.collect::<anyhow::Result<_>>()?;
        let joined = |name: fn(&Path) -> &Path| {
            let names = paths.iter().map(|path| filter::Name(name(path)).to_string());
            names.collect::<Vec<_>>().join(" + ")
        };
        let name = Name {
            long: joined(|path| path),
            short: joined(|path| path.file_name().map_or(path, Path::new)),
        };
        Ok(Self { name, filters })
    }
}

pub fn run(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let read = || args.filters.iter().chain(&args.compare).map(PathBuf::as_path);
    filter::stdin_once(read())?;
    filter::spared(args.output.as_deref(), read())?;
    let load = |paths: &[PathBuf]| Subject::load(paths, args.arch, &args.profile);
    let other = if args.compare.is_empty() { None } else { Some(load(&args.compare)?) };
    let form = Form::of(args.json, args.html);
    show(load(&args.filters)?, other, args.arch, form, args.output.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a table, or a page that compares with another.
pub fn show(
    subject: Subject,
    other: Option<Subject>,
    arch: Arch,
    form: Form,
    output: Option<&Path>,
) -> anyhow::Result<()> {
    let mut work = Work::new(WORK);
    let text = progress::during("following all paths", || {
        text(subject, other, arch, form, output::columns(output), &mut work)
    })?;
    if work.left() == 0 {
        report::warning("not all could be followed; what is left counts as depending on arguments");
    }
    output::text_to(output, text)
}

fn text(
    subject: Subject,
    other: Option<Subject>,
    arch: Arch,
    form: Form,
    columns: Option<usize>,
    work: &mut Work,
) -> anyhow::Result<String> {
    match form {
        Form::Html => {
            let subjects = [Some(subject), other].into_iter().flatten();
            let named =
                subjects.map(|Subject { name, filters }| Ok((name, Stack::new(filters, &Arch::ALL)?)));
            Ok(Page::new(named.collect::<anyhow::Result<_>>()?, arch, work).html())
        }
        Form::Text | Form::Json => {
            ensure!(other.is_none(), "--compare needs --html");
            let table = Table::of(&Stack::new(subject.filters, &[arch])?, arch, work);
            match form {
                Form::Json => json::text(&table.json()),
                _ => Ok(Text { table: &table, columns }.to_string()),
            }
        }
    }
}

/// As much work as a table may cost: seconds. What is not followed by then depends on arguments.
const WORK: usize = 1 << 28;

/// The system calls of an entry that have names, and all its other numbers.
struct Table {
    arch: Arch,
    calls: Vec<(i32, &'static str, Decision)>,
    others: Decision,
}

impl Table {
    fn of(stack: &Stack, arch: Arch, work: &mut Work) -> Self {
        let decided = arch.syscalls().map(|(nr, name)| (nr, name, stack.decision(arch, nr, work)));
        Self { arch, calls: decided.collect(), others: stack.others(arch, work) }
    }

    /// The calls by what they get.
    fn rows(&self) -> BTreeMap<&Decision, Vec<(i32, &'static str)>> {
        let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (nr, name, decision) in &self.calls {
            rows.entry(decision).or_default().push((*nr, *name));
        }
        rows
    }

    fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|(decision, calls)| {
            let calls = calls.iter().map(|(nr, name)| json!({"nr": nr, "name": name}));
            json!({"calls": calls.collect::<Vec<_>>(), "decision": decision_json(decision)})
        });
        json!({
            "arch": self.arch.name(),
            "rows": rows.collect::<Vec<_>>(),
            "others": decision_json(&self.others),
        })
    }
}

fn decision_json(decision: &Decision) -> Value {
    match decision {
        Decision::Always(value) => json!({"kind": "always", "otherwise": json::value(*value)}),
        Decision::Cases { cases, otherwise } => {
            let cases = cases.iter().map(|(condition, value)| {
                json!({"if": condition_json(condition), "words": condition.to_string(), "then": json::value(*value)})
            });
            json!({
                "kind": "cases",
                "cases": cases.collect::<Vec<_>>(),
                "otherwise": json::value(*otherwise),
            })
        }
        Decision::Depends => json!({"kind": "depends on arguments"}),
    }
}

/// A list of which one has to hold, of lists of which all have to: a field under a mask is in one of the ranges.
fn condition_json(condition: &Condition) -> Value {
    let terms = condition.terms().iter().map(|term| {
        let atoms = term.atoms().map(|(field, mask, ranges)| {
            let ranges: Vec<_> =
                ranges.iter().map(|(first, last)| [format!("{first:#x}"), format!("{last:#x}")]).collect();
            json!({"field": field.to_string(), "mask": format!("{mask:#x}"), "in": ranges})
        });
        atoms.collect::<Vec<_>>()
    });
    terms.collect::<Vec<_>>().into()
}

/// A table in words, for so many columns.
struct Text<'t> {
    table: &'t Table,
    columns: Option<usize>,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, columns } = self;
        for (decision, calls) in table.rows() {
            let names = wrapped("  ", calls.iter().map(|(_, name)| name), "  ", *columns);
            match decision {
                Decision::Always(value) => {
                    let decision = style::decision(*value, ReturnValue(*value));
                    writeln!(f, "{decision} ({}):\n{names}\n", calls.len())?;
                }
                decision => writeln!(f, "{}:\n{names}\n", InWords(decision))?,
            }
        }
        writeln!(f, "every other number:\n  {}", InWords(&table.others))
    }
}

/// A decision in a line.
struct InWords<'d>(&'d Decision);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Decision::Always(value) => style::decision(*value, ReturnValue(*value)).fmt(f),
            Decision::Cases { cases, otherwise } => match cases.as_slice() {
                [(condition, value)] => {
                    write!(
                        f,
                        "{} unless {condition}, then {}",
                        style::words(*otherwise),
                        style::words(*value)
                    )
                }
                cases => {
                    for (condition, value) in cases {
                        write!(f, "{} if {condition}; ", style::words(*value))?;
                    }
                    write!(f, "else {}", style::words(*otherwise))
                }
            },
            Decision::Depends => f.write_str("depends on arguments"),
        }
    }
}
