//! The picture of a training history: loss on the left, accuracies on the right, as PNG and SVG.

use super::history::EpochRecord;
use crate::atomic_file::write_atomically;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::io::Write;
use std::path::Path;
use std::sync::Once;

const SIZE: (u32, u32) = (1500, 640);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(226, 226, 226);
/// Okabe and Ito's colours, which people with any colour vision can tell apart.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const VERMILION: RGBColor = RGBColor(213, 94, 0);

/// Why no picture was made.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// No epoch to show.
    #[error("the history has no epoch yet")]
    Empty,
    /// The drawing failed.
    #[error("drawing the history: {0}")]
    Drawing(String),
    /// The file could not be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Draws the records.
///
/// # Errors
/// No records, or a file that cannot be written.
pub fn draw(records: &[EpochRecord], title: &str, png: &Path, svg: &Path) -> Result<(), PlotError> {
    if records.is_empty() {
        return Err(PlotError::Empty);
    }
    register_fonts();
    let mut text = String::new();
    figure(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), records, title)?;
    write_atomically(svg, |file| file.write_all(text.as_bytes()))?;

    let mut pixels = vec![0; (SIZE.0 * SIZE.1 * 3) as usize];
    figure(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), records, title)?;
    write_atomically(png, |file| {
        let encoder = image::codecs::png::PngEncoder::new(file);
        let color = image::ColorType::Rgb8;
        image::ImageEncoder::write_image(encoder, &pixels, SIZE.0, SIZE.1, color)
            .map_err(std::io::Error::other)
    })?;
    Ok(())
}

fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A face that cannot be read would only leave the labels out.
        let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font(FONT, FontStyle::Bold, dejavu::sans::bold());
    });
}

/// A curve: its name, colour, and (epoch, value) points.
struct Curve {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

impl Curve {
    fn new(
        name: &'static str,
        color: RGBColor,
        records: &[EpochRecord],
        value: impl Fn(&EpochRecord) -> Option<f64>,
    ) -> Self {
        let point = |r: &EpochRecord| value(r).filter(|v| v.is_finite()).map(|v| (r.epoch as f64, v));
        Self { name, color, points: records.iter().filter_map(point).collect() }
    }
}

fn figure<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    records: &[EpochRecord],
    title: &str,
) -> Result<(), PlotError> {
    let drawing = |e: DrawingAreaErrorKind<B::ErrorType>| PlotError::Drawing(e.to_string());
    area.fill(&WHITE).map_err(drawing)?;
    let area = area.titled(title, (FONT, 30, FontStyle::Bold).into_font().color(&INK)).map_err(drawing)?;
    let (left, right) = area.split_horizontally(SIZE.0 / 2);

    let percent = |value: Option<f64>| value.map(|v| 100.0 * v);
    let losses = [
        Curve::new("training", BLUE, records, |r| Some(r.train_loss)),
        Curve::new("validation", VERMILION, records, |r| r.val_loss),
    ];
    let accuracies = [
        Curve::new("training cells", BLUE, records, |r| percent(Some(r.train_cell_accuracy))),
        Curve::new("cells", VERMILION, records, |r| percent(r.val_cell_accuracy)),
        Curve::new("blank cells", ORANGE, records, |r| percent(r.val_blank_accuracy)),
        Curve::new("boards", GREEN, records, |r| percent(r.val_board_accuracy)),
    ];
    let best = records.iter().rev().find(|r| r.is_best).map(|r| r.epoch as f64);
    let highest = losses.iter().flat_map(|c| &c.points).fold(0.0f64, |m, p| m.max(p.1));
    panel(&left, "Loss (cross-entropy of a cell)", &losses, records, (highest * 1.08).max(1e-3), best)?;
    panel(&right, "Accuracy in %, validation unless it says training", &accuracies, records, 104.0, best)
}

/// One chart: curves over epochs, names at their right ends, the best epoch marked.
fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    caption: &str,
    curves: &[Curve],
    records: &[EpochRecord],
    top: f64,
    best: Option<f64>,
) -> Result<(), PlotError> {
    let drawing = |e: DrawingAreaErrorKind<B::ErrorType>| PlotError::Drawing(e.to_string());
    let first = records.first().map_or(1.0, |r| r.epoch as f64);
    let last = records.last().map_or(1.0, |r| r.epoch as f64).max(first + 1.0);
    let text = |size: i32| (FONT, size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, text(19))
        .margin(14)
        .margin_right(150)
        .x_label_area_size(52)
        .y_label_area_size(58)
        .build_cartesian_2d(first..last, 0.0..top)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(GRID)
        .x_desc("epoch")
        .x_labels(((last - first) as usize + 1).min(9))
        .y_labels(8)
        .label_style(text(17))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| if top > 50.0 { format!("{y:.0}") } else { format!("{y:.2}") })
        .draw()
        .map_err(drawing)?;
    if let Some(best) = best {
        let line = DashedLineSeries::new([(best, 0.0), (best, top)], 5, 5, INK.mix(0.45).into());
        chart.draw_series(line).map_err(drawing)?;
    }
    let many = records.len() > 60;
    for curve in curves {
        chart
            .draw_series(LineSeries::new(curve.points.clone(), curve.color.stroke_width(3)))
            .map_err(drawing)?;
        if !many {
            let dots = curve.points.iter().map(|p| Circle::new(*p, 4, curve.color.filled()));
            chart.draw_series(dots).map_err(drawing)?;
        }
    }
    let (_, pixels) = (0, chart.plotting_area().get_pixel_range().1);
    let per_pixel = top / f64::from(pixels.end - pixels.start);
    for (curve, y) in label_heights(curves, 21.0 * per_pixel, top) {
        let (x, label_y) = chart.backend_coord(&(last, y));
        let value = curve.points.last().map_or(0.0, |p| p.1);
        let digits = if top > 50.0 { format!("{value:.1}") } else { format!("{value:.3}") };
        let label = format!("{} {digits}", curve.name);
        let style = (FONT, 16).into_font().color(&curve.color);
        let (base_x, base_y) = area.get_base_pixel();
        area.draw(&Text::new(label, (x - base_x + 10, label_y - base_y - 9), style)).map_err(drawing)?;
    }
    if let Some(best) = best {
        let (x, y) = chart.backend_coord(&(best, top));
        let (base_x, base_y) = area.get_base_pixel();
        let half = (best > (first + last) / 2.0).then_some(84).unwrap_or(-6);
        area.draw(&Text::new(
            "best epoch",
            (x - base_x - half, y - base_y + 2),
            (FONT, 14).into_font().color(&INK),
        ))
        .map_err(drawing)?;
    }
    Ok(())
}

/// A height for each curve's name: that of its last point, moved up or down so that no two names overlap.
fn label_heights(curves: &[Curve], gap: f64, top: f64) -> Vec<(&Curve, f64)> {
    let mut labels: Vec<(&Curve, f64)> =
        curves.iter().filter_map(|c| Some((c, c.points.last()?.1))).collect();
    labels.sort_by(|a, b| a.1.total_cmp(&b.1));
    for i in 1..labels.len() {
        labels[i].1 = labels[i].1.max(labels[i - 1].1 + gap);
    }
    let mut ceiling = top;
    for label in labels.iter_mut().rev() {
        label.1 = label.1.min(ceiling);
        ceiling = label.1 - gap;
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::history::{read_jsonl, write_jsonl};

    fn record(epoch: usize) -> EpochRecord {
        let t = epoch as f64 / 30.0;
        EpochRecord {
            epoch,
            step: 10 * epoch as u64,
            train_loss: 0.3 + 1.9 * (-t).exp(),
            train_cell_accuracy: 1.0 - 0.8 * (-t).exp(),
            val_loss: Some(0.35 + 1.8 * (-t).exp()),
            val_cell_accuracy: Some(0.96 - 0.7 * (-t).exp()),
            val_blank_accuracy: Some(0.93 - 0.8 * (-t).exp()),
            val_board_accuracy: Some(0.5 * (1.0 - (-t).exp())),
            lr: 1e-4,
            grad_norm_mean: 1.0,
            grad_norm_max: 2.0,
            latent_gate: 0.1,
            output_gate: 0.1,
            samples_per_s: 100.0,
            elapsed_s: epoch as f64,
            is_best: epoch % 7 != 0,
        }
    }

    #[test]
    fn a_picture_is_made_of_any_history_with_an_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let (png, svg) = (folder.path().join("h.png"), folder.path().join("h.svg"));
        for count in [1, 2, 50, 1000] {
            let mut records: Vec<_> = (1..=count).map(record).collect();
            records[0].train_loss = f64::NAN;
            records[0].val_loss = None;
            draw(&records, "Training history", &png, &svg).unwrap();
            assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
            let text = std::fs::read_to_string(&svg).unwrap();
            assert!(text.starts_with("<svg") && text.contains("blank cells") && text.contains("best epoch"));
        }
        assert!(matches!(draw(&[], "none", &png, &svg), Err(PlotError::Empty)));
    }

    #[test]
    fn names_of_curves_that_end_together_do_not_overlap() {
        let curve = |value| Curve { name: "", color: INK, points: vec![(1.0, value)] };
        let curves = [curve(100.0), curve(99.9), curve(99.8), curve(3.0)];
        let heights: Vec<f64> = label_heights(&curves, 5.0, 104.0).iter().map(|l| l.1).collect();
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= 5.0 - 1e-9), "{heights:?}");
        assert!(heights.iter().all(|h| *h <= 104.0));
    }

    #[test]
    fn records_written_are_records_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let records: Vec<_> = (1..4).map(record).collect();
        write_jsonl(&path, &records).unwrap();
        assert_eq!(read_jsonl(&path).unwrap(), records);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}
