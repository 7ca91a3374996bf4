//! The picture of a scaling study: how much of what the machine can do training gets, along each axis.

use super::canvas::Canvas;
use super::panel::{Axis, Curve, Panel};
use super::{BLUE, Figure, PlotError, heading, save};
use crate::bench::Sweep;
use plotters::prelude::*;
use std::path::Path;

/// Draws each sweep's shares of the peak, side by side.
///
/// # Errors
/// No sweeps, or a file that cannot be written.
pub fn draw_scaling(sweeps: &[Sweep], summary: &str, png: &Path, svg: &Path) -> Result<(), PlotError> {
    if sweeps.is_empty() {
        return Err(PlotError::Empty);
    }
    save(&ScalingFigure { sweeps, summary }, png, svg)
}

struct ScalingFigure<'a> {
    sweeps: &'a [Sweep],
    summary: &'a str,
}

impl Figure for ScalingFigure<'_> {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        // Left of a panel there are labels of its ticks, right of it the last share.
        const MARGINS: [f64; 2] = [70.0, 80.0];
        heading(canvas, "Training speed as a share of the machine's peak", self.summary)?;
        let width = f64::from(super::SIZE.0) / self.sweeps.len() as f64;
        for (i, sweep) in self.sweeps.iter().enumerate() {
            let left = i as f64 * width + MARGINS[0];
            let ticks = sweep.points.iter().enumerate().map(|(x, point)| (x as f64, point.label.clone()));
            let axis = Axis::labelled(sweep.name, ticks.collect());
            let shares = sweep.points.iter().map(|point| 100.0 * point.speed.share_of_peak);
            let curve = Curve::new("", BLUE, shares.enumerate().map(|(x, share)| (x as f64, share)));
            let panel = Panel::new(left, left + width - MARGINS[0] - MARGINS[1], axis, (0.0, 100.0), None);
            panel.draw(canvas, sweep.name, &[curve], " %")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Point, Speed};

    #[test]
    fn every_sweep_has_a_panel_and_nothing_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let kept = std::env::var_os("TRM_PLOT_FOLDER").map(std::path::PathBuf::from);
        let folder = kept.as_deref().unwrap_or(temporary.path());
        let (png, svg) = (folder.join("scaling.png"), folder.join("scaling.svg"));
        let point = |batch_size: usize| Point {
            label: batch_size.to_string(),
            threads: 2,
            speed: Speed {
                batch_size,
                samples_per_s: 100.0,
                range: [90.0, 110.0],
                flop_per_s: 1e11,
                share_of_peak: batch_size as f64 / 1500.0,
                peak_memory_mb: None,
            },
        };
        let points: Vec<Point> = [16, 32, 64, 128, 256, 512, 1024].map(point).into();
        let sweep = |name| Sweep { name, points: points.clone() };
        let sweeps = ["batch_size", "hidden_dim", "H_cycles x L_cycles", "threads"].map(sweep);
        draw_scaling(&sweeps, "CPU, 2 threads, bf16", &png, &svg).unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        for label in ["batch_size", "threads", "1024", "68.3 %", "CPU, 2 threads"] {
            assert!(text.contains(label), "{label}");
        }
        assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
        assert!(matches!(draw_scaling(&[], "", &png, &svg), Err(PlotError::Empty)));
    }
}
