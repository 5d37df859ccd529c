//! Times as curves.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::prelude::*;

use super::grid::Grid;
use crate::output;

/// Writes a plot of a series, a curve for each column, by the numbers at its rows. Both axes are logarithmic.
///
/// # Errors
///
/// A row is no number, or the file cannot be written.
pub fn series(path: &Path, series: &Grid) -> anyhow::Result<()> {
    let mut svg = String::new();
    draw(&mut svg, series).with_context(|| path.display().to_string())?;
    output::file(path, svg.as_bytes())
}

fn draw(svg: &mut String, series: &Grid) -> anyhow::Result<()> {
    let numbers: Vec<u32> = series.rows().iter().map(|row| row.parse()).collect::<Result<_, _>>()?;
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(()) };
    let curve = |column| numbers.iter().copied().zip(0..).map(move |(x, row)| (x, series.nanos(row, column)));
    let highest = (0..series.columns().len()).flat_map(curve).map(|(_, nanos)| nanos).fold(10.0, f64::max);

    let area = SVGBackend::with_string(svg, (720, 400)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((*first..*last).log_scale(), (1.0..highest * 2.0).log_scale())
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(series.title())
        .y_desc("ns a decision")
        .y_label_formatter(&|nanos| format!("{nanos:.0}"))
        .draw()
        .map_err(|error| failed(&error))?;
    for (column, name) in series.columns().iter().enumerate() {
        let color = Palette99::pick(column).to_rgba();
        let line = LineSeries::new(curve(column), color.stroke_width(2)).point_size(3);
        chart
            .draw_series(line)
            .map_err(|error| failed(&error))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
