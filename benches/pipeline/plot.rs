//! The results as a picture: all rounds, beside the floor of each.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::job::Who;
use crate::results::{Results, Row};

const ROW_HEIGHT: u32 = 34;
const MARGIN: u32 = 110;
const WIDTH: u32 = 900;
const LABEL_WIDTH: u32 = 250;

/// Draws the wall time of every round as a multiple of that round's floor. A bar stands
/// at the median.
pub(crate) fn save(results: &Results, file: &Path) {
    draw(results, file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

fn draw(results: &Results, file: &Path) -> Result<(), Box<dyn Error>> {
    let rows: Vec<&Row> = results
        .rows
        .iter()
        .filter(|row| row.who != Who::Floor)
        .collect();
    let ratios = |row: &Row| -> Vec<f64> { row.rounds_to_floor.clone() };
    let highest = rows
        .iter()
        .flat_map(|row| ratios(row))
        .fold(1.0_f64, f64::max);
    let height = MARGIN + ROW_HEIGHT * rows.len() as u32;
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(results.subject(), ("sans-serif", 16))
        .margin(10)
        .margin_right(30)
        .x_label_area_size(45)
        .y_label_area_size(LABEL_WIDTH)
        .build_cartesian_2d(0.0..highest * 1.05, rows.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc("wall time, as a multiple of the floor in the same round")
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 13))
        .draw()?;
    let rows_end = rows.len() as f64;
    chart.draw_series([PathElement::new(
        [(1.0, 0.0), (1.0, rows_end)],
        BLACK.stroke_width(1),
    )])?;
    for (at, row) in rows.iter().enumerate() {
        let middle = at as f64 + 0.5;
        let color = match row.who {
            Who::Floor | Who::This => BLUE,
            Who::Other => RED,
        };
        chart.draw_series(
            ratios(row)
                .into_iter()
                .map(|ratio| Circle::new((ratio, middle), 4, color.mix(0.5).filled())),
        )?;
        if let Some(spread) = row.wall_to_floor {
            let ends = [
                (spread.median, middle - 0.35),
                (spread.median, middle + 0.35),
            ];
            chart.draw_series([PathElement::new(ends, color.stroke_width(3))])?;
        }
        let (_, y) = chart.backend_coord(&(0.0, middle));
        let style = ("sans-serif", 14)
            .into_text_style(&area)
            .color(&color)
            .pos(Pos::new(HPos::Right, VPos::Center));
        let text = format!("{}, {}", row.job.name(), row.who.name());
        area.draw_text(&text, &style, (LABEL_WIDTH.cast_signed(), y))?;
    }
    area.present()?;
    Ok(())
}
