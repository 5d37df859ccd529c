//! The graph in graphviz's language.

use std::fmt::{self, Write};

use super::chart::{Chart, Kind, Tone, Way};

/// Writes a chart.
pub fn write(chart: &Chart) -> String {
    let mut dot = String::new();
    // A string takes everything.
    let _ = graph(&mut dot, chart);
    dot
}

/// A fill for each tone that dark text can be read on.
const fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Kill => "#ffc9c5",
        Tone::Trap => "#ffd8b5",
        Tone::Errno => "#fbe9a0",
        Tone::Ask => "#e3d3fb",
        Tone::Log => "#c2e7ea",
        Tone::Allow => "#bfe8c6",
        Tone::Computed => "#dfe3e8",
    }
}

fn graph(out: &mut String, chart: &Chart) -> fmt::Result {
    let head = [chart.title.clone(), chart.about.clone()];
    writeln!(out, "digraph filter {{")?;
    writeln!(out, "  rankdir=LR; labelloc=t; label={};", Lines(&head))?;
    writeln!(out, "  node [shape=box, fontname=monospace, style=filled, fillcolor=\"#f6f8fa\"];")?;
    writeln!(out, "  edge [fontname=monospace];")?;
    for (index, shown) in chart.boxes.iter().enumerate() {
        let mut lines = shown.lines.clone();
        let mut look = String::new();
        if shown.kind == Kind::Case {
            look.push_str(", style=\"filled,dashed\"");
        }
        if let Some((tone, words)) = &shown.decision {
            lines.push(words.clone());
            write!(look, ", fillcolor=\"{}\"", colour(*tone))?;
        }
        let tooltip = if shown.insns.is_empty() {
            String::new()
        } else {
            format!(", tooltip={}", Quoted(&format!("instructions {}", shown.insns)))
        };
        writeln!(out, "  b{index} [label={}{look}{tooltip}];", Lines(&lines))?;
    }
    for arrow in &chart.arrows {
        let label = match arrow.kind {
            Way::Always => "",
            Way::True => " [label=\"true\"]",
            Way::False => " [label=\"false\"]",
        };
        writeln!(out, "  b{} -> b{}{label};", arrow.from, arrow.to)?;
    }
    writeln!(out, "}}")
}

/// A string in quotes, where a backslash begins an escape: of labels and tooltips.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        characters(f, self.0)?;
        f.write_char('"')
    }
}

/// Lines of a label, each from the left.
struct Lines<'t>(&'t [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for line in self.0 {
            characters(f, line)?;
            f.write_str("\\l")?;
        }
        f.write_char('"')
    }
}

fn characters(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            // It would take what follows for an entity of HTML's.
            '&' => f.write_str("&amp;")?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}
