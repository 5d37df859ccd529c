//! The picture.

use std::fmt::{self, Write};

use super::chart::{Box, Chart, Kind, Tone, Way};
use super::layout::{CHARACTER, Curve, LINE, Layout, MARGIN, PADDING, Place};

/// Colours as a browser asks for them, light and dark: background, then for each tone.
const STYLE: &str = "\
text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:var(--ink);white-space:pre}
svg{--ink:#1f2328;--ground:#ffffff;--box:#f6f8fa;--line:#8c959f;--kill:#ffc9c5;--trap:#ffd8b5;--errno:#fbe9a0;\
--ask:#e3d3fb;--log:#c2e7ea;--allow:#bfe8c6;--computed:#dfe3e8}
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--ground:#0d1117;--box:#1c2128;--line:#7d8590;--kill:#8e1f1b;\
--trap:#7a3f10;--errno:#5f4b00;--ask:#4f2f86;--log:#135a63;--allow:#1a5a2b;--computed:#3a424c}}
.ground{fill:var(--ground)}
.title{font-size:16px;font-weight:bold}
.small{font-size:10px;opacity:.75}
.box{fill:var(--box);stroke:var(--line)}
.case{fill:var(--ground);stroke:var(--line);stroke-dasharray:3 2}
.line{fill:none;stroke:var(--line);stroke-width:1.3}
.tip{fill:var(--line)}
.end{font-weight:bold}
";

/// What the title takes.
const HEAD: f64 = 48.0;

/// Draws a chart.
pub fn draw(mut chart: Chart) -> String {
    let layout = Layout::of(&mut chart);
    let mut svg = String::new();
    // A string takes everything.
    let _ = write(&mut svg, &chart, &layout);
    svg
}

fn write(out: &mut String, chart: &Chart, layout: &Layout) -> fmt::Result {
    let heads =
        [chart.title.chars().count() as f64 * CHARACTER * 4.0 / 3.0, chart.about.len() as f64 * CHARACTER];
    let width = heads.into_iter().fold(layout.width, |width, head| width.max(head.ceil() + 2.0 * MARGIN));
    let height = layout.height + HEAD;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title desc\">"
    )?;
    writeln!(out, "<title id=\"title\">{}</title>", Escaped(&chart.title))?;
    writeln!(out, "<desc id=\"desc\">{}</desc>", Escaped(&chart.about))?;
    write!(out, "<style>\n{STYLE}")?;
    for name in Tone::ALL.map(Tone::name) {
        writeln!(out, ".{name}{{fill:var(--{name});stroke:var(--line)}}")?;
    }
    writeln!(out, "</style>")?;
    writeln!(
        out,
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path class=\"tip\" d=\"M0 0 8 4 0 8z\"/></marker></defs>"
    )?;
    writeln!(out, "<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>")?;
    writeln!(out, "<text class=\"title\" x=\"{MARGIN}\" y=\"30\">{}</text>", Escaped(&chart.title))?;
    writeln!(out, "<text x=\"{MARGIN}\" y=\"50\">{}</text>", Escaped(&chart.about))?;
    writeln!(out, "<g transform=\"translate(0 {HEAD})\">")?;
    for curve in &layout.curves {
        line(out, curve)?;
    }
    for (shown, place) in chart.boxes.iter().zip(&layout.places) {
        draw_box(out, shown, place)?;
    }
    for curve in &layout.curves {
        label(out, curve)?;
    }
    writeln!(out, "</g>\n</svg>")
}

fn line(out: &mut String, curve: &Curve) -> fmt::Result {
    let Curve { from, bend, to, arrives, .. } = *curve;
    let half = ((bend + to.0) / 2.0).round();
    let tip = if arrives { " marker-end=\"url(#tip)\"" } else { "" };
    write!(out, "<path class=\"line\"{tip} d=\"M{} {:.0}", from.0, from.1)?;
    writeln!(out, "H{bend}C{half} {:.0} {half} {:.0} {} {:.0}\"/>", from.1, to.1, to.0, to.1)
}

fn label(out: &mut String, curve: &Curve) -> fmt::Result {
    let word = match curve.kind {
        Way::Always => return Ok(()),
        Way::True => "true",
        Way::False => "false",
    };
    let (x, y) = (curve.from.0 + 4.0, curve.from.1 - 4.0);
    writeln!(out, "<text class=\"small\" x=\"{x}\" y=\"{y:.0}\">{word}</text>")
}

fn draw_box(out: &mut String, shown: &Box, place: &Place) -> fmt::Result {
    let Place { x, y, width, height } = *place;
    let class = if shown.kind == Kind::Step { "box" } else { "case" };
    if shown.is_linked {
        writeln!(out, "<g id=\"step{}\">", shown.node)?;
    } else {
        writeln!(out, "<g>")?;
    }
    if !shown.insns.is_empty() {
        writeln!(out, "<title>instructions {}</title>", Escaped(&shown.insns))?;
    }
    let foot = shown.decision.as_ref().map_or(0.0, |_| LINE + PADDING);
    if !shown.lines.is_empty() {
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>"
        )?;
        let rows = shown.lines.len() as f64;
        let top = y + (height - foot - rows * LINE) / 2.0 + LINE - 4.0;
        write!(out, "<text y=\"{top:.0}\">")?;
        let left = x + PADDING;
        for (row, line) in shown.lines.iter().enumerate() {
            let down = if row == 0 { String::new() } else { format!(" dy=\"{LINE}\"") };
            write!(out, "<tspan x=\"{left}\"{down}>{}</tspan>", Escaped(line))?;
        }
        writeln!(out, "</text>")?;
    }
    if let Some((tone, words)) = &shown.decision {
        let top = y + height - foot;
        writeln!(
            out,
            "<rect class=\"{}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{foot}\" rx=\"4\"/>",
            tone.name()
        )?;
        let (left, base) = (x + PADDING, top + foot / 2.0 + 4.0);
        writeln!(out, "<text class=\"end\" x=\"{left}\" y=\"{base}\">{}</text>", Escaped(words))?;
    }
    if shown.is_linked {
        writeln!(out, "<text class=\"small\" x=\"{x}\" y=\"{}\">step {}</text>", y - 3.0, shown.node)?;
    }
    writeln!(out, "</g>")
}

/// Text in XML, of which names have no control characters. What else XML has no way to say is left out.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\u{fffe}' | '\u{ffff}' => {}
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
