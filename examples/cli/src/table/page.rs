//! A table as a page: one HTML file that asks for nothing.
//!
//! Without its script it is a table for each entry. The script hides rows and calls, and reads what they are about from
//! the elements, so there is no second copy of the data.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use seccomp_kernel::{Action, Arch, X32_SYSCALL_BIT};
use seccomp_rbpf::symbolic::{Decision, Work};
use sha2::{Digest, Sha256};

use super::{Name, Stack, Table};
use crate::return_value::Words;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What is read off one or two stacks of filters.
pub struct Page {
    sides: Vec<Side>,
    sections: Vec<Section>,
    /// Entries of which every call gets the same.
    constant: Vec<Row<&'static str>>,
}

/// Filters by their names, the long one and that of a column, and how many they are.
struct Side {
    name: String,
    label: String,
    count: usize,
}

/// An entry whose calls are told apart.
struct Section {
    arch: Arch,
    rows: Vec<Row<(i32, &'static str)>>,
}

/// What has one decision, or one of each side.
struct Row<T> {
    says: Says,
    of: Vec<T>,
    /// Whether all other numbers have it too.
    others: bool,
}

/// What the sides say, in the order of what is to be read first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Differ(Rank, Rank),
    /// It is not known whether they differ.
    Unknown(Rank, Rank),
    Same(Rank),
    One(Rank),
}

/// A decision in its place: strict ones, then those that arguments change, and what is allowed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Place, Decision);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Denied(i32),
    Cases,
    Depends,
    Allowed,
}

impl Rank {
    fn of(decision: Decision) -> Self {
        let place = match decision {
            Decision::Always(value) if Action::of(value) == Action::Allow => Place::Allowed,
            Decision::Always(value) => Place::Denied(value.cast_signed()),
            Decision::Cases { .. } => Place::Cases,
            Decision::Depends => Place::Depends,
        };
        Self(place, decision)
    }
}

impl Says {
    /// What one or two sides say; `agree` is asked where they do not say the same.
    fn of(mut decisions: Vec<Decision>, agree: impl FnOnce() -> Option<bool>) -> Self {
        let second = if decisions.len() > 1 { decisions.pop() } else { None };
        let first = Rank::of(decisions.pop().unwrap_or(Decision::Depends));
        let Some(second) = second.map(Rank::of) else { return Self::One(first) };
        if first == second && first.1 != Decision::Depends {
            return Self::Same(first);
        }
        match agree() {
            Some(true) => Self::Same(first),
            Some(false) => Self::Differ(first, second),
            None => Self::Unknown(first, second),
        }
    }

    /// What every call gets.
    fn is_constant(&self) -> bool {
        matches!(self, Self::One(Rank(_, Decision::Always(_))) | Self::Same(Rank(_, Decision::Always(_))))
    }
}

impl Page {
    /// Of one stack, or two that are compared. `first` is the entry to begin with.
    pub fn new(sides: Vec<(Name, Stack)>, first: Arch, work: &mut Work) -> Self {
        let mut arches = Arch::ALL;
        arches.sort_by_key(|arch| *arch != first);
        let stacks: Vec<_> = sides.iter().map(|(_, stack)| stack).collect();
        let (mut sections, mut constant) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for arch in arches {
            let section = Section::of(arch, &stacks, work);
            match section.rows.as_slice() {
                [row] if arch != first && row.others && row.says.is_constant() => {
                    constant.entry(row.says.clone()).or_default().push(arch.name());
                }
                _ => sections.push(section),
            }
        }
        let elsewhere = stacks.iter().map(|stack| stack.elsewhere(work)).collect();
        let says = Says::of(elsewhere, || match stacks.as_slice() {
            [a, b] => a.agrees_elsewhere(b, work),
            _ => None,
        });
        constant.entry(says).or_default().push("every other architecture");
        let constant = constant.into_iter().map(|(says, of)| Row { says, of, others: false }).collect();
        let mut labels = sides.iter().map(|(name, _)| &name.short);
        let is_clear = labels.next() != labels.next();
        let sides = sides.iter().map(|(Name { long, short }, stack)| Side {
            name: long.clone(),
            label: (if is_clear { short } else { long }).clone(),
            count: stack.len(),
        });
        Self { sides: sides.collect(), sections, constant }
    }

    /// The page.
    pub fn html(&self) -> String {
        let names: Vec<_> = self.sides.iter().map(|side| side.label.clone()).collect();
        let title = names.join(" and ");
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="no-referrer";
                    title { (title) " \u{2013} seccomp" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (self.header(&names))
                    (controls())
                    main {
                        @for section in &self.sections { (section.html(&names)) }
                        (self.constant(&names))
                    }
                    (footer())
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        page.into_string()
    }

    fn header(&self, names: &[String]) -> Markup {
        html! {
            header {
                p.kind { @if names.len() > 1 { "Seccomp filters compared" } @else { "Seccomp filter" } }
                h1 {
                    @for (index, name) in names.iter().enumerate() {
                        @if index > 0 { " " span.against { "and" } " " }
                        bdi { (name) }
                    }
                }
                @for Side { name, label, count } in &self.sides {
                    @if name != label || *count != 1 {
                        p.note {
                            bdi { (name) }
                            @if *count != 1 { ": " (count) " filters, of which the strictest counts" }
                        }
                    }
                }
                @if self.sections.len() > 1 {
                    nav #entries aria-label="Entries" {
                        @for section in &self.sections { a href={ "#" (section.arch.name()) } { (section.arch.name()) } " " }
                    }
                }
            }
        }
    }

    fn constant(&self, names: &[String]) -> Markup {
        html! {
            section.constant aria-labelledby="elsewhere" {
                h2 #elsewhere { "Every call of other entries" }
                (table(names, "Entries", &self.constant, &|row| html! {
                    @for name in &row.of { li { (name) } }
                }))
            }
        }
    }
}

impl Section {
    fn of(arch: Arch, stacks: &[&Stack], work: &mut Work) -> Self {
        let tables: Vec<_> = stacks.iter().map(|stack| Table::of(stack, arch, work)).collect();
        let mut rows: BTreeMap<_, (Vec<_>, bool)> = BTreeMap::new();
        for (index, (nr, name)) in arch.syscalls().enumerate() {
            let decisions =
                tables.iter().filter_map(|table| Some(table.calls.get(index)?.2.clone())).collect();
            let says = Says::of(decisions, || match stacks {
                [a, b] => a.agrees(b, arch, nr, work),
                _ => None,
            });
            rows.entry(says).or_default().0.push((nr, name));
        }
        let says = Says::of(tables.into_iter().map(|table| table.others).collect(), || match stacks {
            [a, b] => a.agrees_on_others(b, arch, work),
            _ => None,
        });
        rows.entry(says).or_default().1 = true;
        let rows = rows.into_iter().map(|(says, (of, others))| Row { says, of, others }).collect();
        Self { arch, rows }
    }

    fn html(&self, names: &[String]) -> Markup {
        let name = self.arch.name();
        // x32's numbers are shown without the bit that all have.
        let hidden = if self.arch == Arch::X32 { X32_SYSCALL_BIT } else { 0 };
        html! {
            section.entry id=(name) data-arch=(name) data-bit=[(hidden != 0).then_some(hidden)] aria-labelledby={ "of-" (name) } {
                h2 id={ "of-" (name) } { (name) }
                (self.bar())
                @if hidden != 0 { p.note { "Numbers are shown without bit 30, which is set in all of them." } }
                (table(names, "System calls", &self.rows, &|row| html! {
                    @for (nr, name) in &row.of { li { (name) " " small { (nr & !hidden) } } }
                    @if row.others { li.others { "every other number" } }
                }))
            }
        }
    }

    /// How many calls get what, as a strip.
    fn bar(&self) -> Markup {
        let mut start = 0;
        let parts = self.rows.iter().map(|row| {
            let part = (start, row.of.len(), row.says.color());
            start += row.of.len();
            part
        });
        let parts: Vec<_> = parts.collect();
        html! {
            svg.bar viewBox={ "0 0 " (start) " 1" } preserveAspectRatio="none" aria-hidden="true" {
                @for (x, width, color) in parts { rect x=(x) width=(width) height="1" data-action=(color) {} }
            }
        }
    }
}

impl Says {
    fn color(&self) -> &'static str {
        match self {
            Self::Differ(..) => "DIFFERS",
            Self::One(Rank(_, Decision::Always(value))) | Self::Same(Rank(_, Decision::Always(value))) => {
                Action::of(*value).name()
            }
            Self::Unknown(..) | Self::One(_) | Self::Same(_) => "ARGUMENTS",
        }
    }

    /// Whether two sides say the same, for the script.
    fn same(&self) -> Option<&'static str> {
        match self {
            Self::Differ(..) => Some("no"),
            Self::Unknown(..) => Some("unknown"),
            Self::Same(_) => Some("yes"),
            Self::One(_) => None,
        }
    }
}

/// A table of decisions. Roles are written out: laid out as blocks, on a phone, it is to stay a table.
fn table<T>(names: &[String], what: &str, rows: &[Row<T>], items: &dyn Fn(&Row<T>) -> Markup) -> Markup {
    html! {
        table role="table" {
            thead role="rowgroup" {
                tr role="row" {
                    @if let [_] = names { th scope="col" role="columnheader" { "Decision" } }
                    @else { @for name in names { th scope="col" role="columnheader" { bdi { (name) } } } }
                    th scope="col" role="columnheader" { (what) }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" data-same=[row.says.same()] data-color=(row.says.color()) {
                        @match &row.says {
                            Says::One(decision) => th.says scope="row" role="rowheader" { (said(&decision.1)) },
                            Says::Same(decision) => th.says scope="row" role="rowheader" colspan=(names.len()) {
                                p.side.both { "both" }
                                (said(&decision.1))
                            },
                            Says::Differ(a, b) | Says::Unknown(a, b) => {
                                th.says scope="row" role="rowheader" {
                                    p.side { bdi { (names.first().map_or("", String::as_str)) } }
                                    (said(&a.1))
                                }
                                td.says role="cell" {
                                    p.side { bdi { (names.last().map_or("", String::as_str)) } }
                                    (said(&b.1))
                                }
                            },
                        }
                        td role="cell" {
                            (about(row))
                            ul.calls role="list" { (items(row)) }
                        }
                    }
                }
            }
        }
    }
}

/// How many calls a row has, and whether the two decisions about them differ.
fn about<T>(row: &Row<T>) -> Markup {
    let verdict = match row.says {
        Says::Differ(..) => "\u{2260} differs",
        Says::Unknown(..) => "? not known whether it differs",
        Says::Same(_) | Says::One(_) => "",
    };
    html! {
        @if !verdict.is_empty() || row.of.len() > 1 {
            p.about {
                @if !verdict.is_empty() { span.verdict { (verdict) } " " }
                @if row.of.len() > 1 { span.size { (row.of.len()) " calls" } }
            }
        }
    }
}

/// A decision. The script tells two apart by the values and the conditions.
fn said(decision: &Decision) -> Markup {
    html! {
        @match decision {
            Decision::Always(value) => (data(*value)),
            Decision::Depends => span data-action="DEPENDS" { "depends on arguments" },
            Decision::Cases { cases, otherwise } => ul.cases role="list" {
                @for (condition, value) in cases {
                    li {
                        (data(*value)) " if "
                        @if condition.terms().is_empty() { code { "never" } }
                        @for (index, term) in condition.terms().iter().enumerate() {
                            @if index > 0 { " or " }
                            code { (term) }
                        }
                    }
                }
                li { (data(*otherwise)) " otherwise" }
            },
        }
    }
}

fn data(value: u32) -> Markup {
    html! {
        data value={ (format!("{value:#010x}")) } data-action=(Action::of(value).name()) { (Words(value)) }
    }
}

fn controls() -> Markup {
    html! {
        form #controls role="search" hidden {
            p.search {
                label for="query" { "Search" }
                input #query type="search" autocomplete="off" autocapitalize="off" spellcheck="false"
                    placeholder="name, number or condition";
            }
            fieldset #arches { legend { "Entry" } }
            fieldset #actions { legend { "Decision" } }
            p #differing hidden { label { input #differs type="checkbox"; " only differences" } }
            p.state {
                output #count role="status" aria-live="polite" {}
                " "
                button type="reset" { "Show all" }
            }
            p #comparing {
                label for="file" { "Compare with the output of " code { "table --json" } }
                " "
                input #file type="file" accept=".json,application/json";
                " "
                span #loaded role="status" aria-live="polite" {}
            }
        }
    }
}

fn footer() -> Markup {
    html! {
        footer {
            p {
                "Arguments are " code { "arg0" } " to " code { "arg5" } " and have 64 bits; " code { "ip" }
                " is the instruction pointer, " code { "nr" } " the number. "
                code { "arg0 & 0xf0 == 0x10" } " asks about the bits of a mask only, "
                code { "in {0, 8-0xf}" } " about values and ranges, both ends included."
            }
            p {
                "Made by seccomp-rbpf " (env!("CARGO_PKG_VERSION"))
                ". The page loads nothing and sends nothing."
            }
        }
    }
}

/// What a policy says of text that it allows.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}
