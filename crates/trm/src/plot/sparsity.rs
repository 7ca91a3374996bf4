//! The picture of a sweep: accuracy against sparsity for each kind of pruning.

use super::canvas::Canvas;
use super::panel::{Axis, Curve, Panel};
use super::{BLUE, Figure, GREEN, PlotError, VERMILION, heading, save};
use crate::compress::SweepPoint;
use crate::config::Pruning;
use plotters::prelude::*;
use std::path::Path;

/// Draws cells right on the left, blank cells right on the right.
///
/// # Errors
/// No points, or a file that cannot be written.
pub fn draw_sparsity(
    points: &[SweepPoint],
    title: &str,
    summary: &str,
    png: &Path,
    svg: &Path,
) -> Result<(), PlotError> {
    if points.is_empty() {
        return Err(PlotError::Empty);
    }
    save(&Sparsity { points, title, summary }, png, svg)
}

struct Sparsity<'a> {
    points: &'a [SweepPoint],
    title: &'a str,
    summary: &'a str,
}

impl Figure for Sparsity<'_> {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        heading(canvas, self.title, self.summary)?;
        let most = self.points.iter().map(|p| p.sparsity).fold(0.0, f64::max);
        type Share = fn(&SweepPoint) -> f64;
        let panels = [
            (70.0, 450.0, "Cells right", (|p| p.cell_accuracy) as Share),
            (650.0, 1030.0, "Blank cells right", |p| p.blank_accuracy),
        ];
        for (left, right, caption, share) in panels {
            let curve = |kind: Pruning, color| {
                let of_kind = self.points.iter().filter(move |p| p.kind == kind);
                Curve::new(kind.name(), color, of_kind.map(|p| (100.0 * p.sparsity, 100.0 * share(p))))
            };
            let curves = [
                curve(Pruning::Unstructured, BLUE),
                curve(Pruning::TwoOfFour, GREEN),
                curve(Pruning::Structured, VERMILION),
            ];
            let axis = Axis::counted("sparsity, %", (0.0, 100.0 * most));
            Panel::new(left, right, axis, (0.0, 100.0), None).draw(canvas, caption, &curves, " %")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_drawn_and_nothing_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let kept = std::env::var_os("TRM_PLOT_FOLDER").map(std::path::PathBuf::from);
        let folder = kept.as_deref().unwrap_or(temporary.path());
        let (png, svg) = (folder.join("sparsity.png"), folder.join("sparsity.svg"));
        let point = |kind, sparsity: f64| SweepPoint {
            kind,
            sparsity,
            cell_accuracy: 0.8 - 0.6 * sparsity.powi(3),
            blank_accuracy: 0.7 - 0.6 * sparsity.powi(2),
            board_accuracy: 0.0,
        };
        let tenths = || (0..10).map(|i| f64::from(i) / 10.0);
        let mut points: Vec<_> = tenths().map(|s| point(Pruning::Unstructured, s)).collect();
        points.push(point(Pruning::TwoOfFour, 0.5));
        points.extend(tenths().map(|s| point(Pruning::Structured, 0.7 * s)));
        draw_sparsity(&points, "Pruning", "1000 puzzles", &png, &svg).unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        for label in ["unstructured ", "2:4 ", "structured ", "sparsity, %", "1000 puzzles"] {
            assert!(text.contains(label), "{label}");
        }
        assert!(matches!(draw_sparsity(&[], "", "", &png, &svg), Err(PlotError::Empty)));
    }
}
