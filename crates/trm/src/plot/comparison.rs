//! The picture of runs side by side: accuracy on blanks and loss in validation, by epochs or steps.

use super::canvas::Canvas;
use super::panel::{Axis, Curve, Panel, loss_range};
use super::{COLORS, Figure, PlotError, heading, save};
use crate::train::compare::{Group, Progress};
use plotters::prelude::*;
use std::path::Path;

/// Draws the mean of each group.
///
/// # Errors
/// No group with a validated epoch, or a file that cannot be written.
pub fn draw_comparison(groups: &[Group], title: &str, png: &Path, svg: &Path) -> Result<(), PlotError> {
    if groups.iter().all(|group| group.curve(Progress::Steps, |r| r.val_blank_accuracy).is_empty()) {
        return Err(PlotError::Empty);
    }
    save(&Comparison { groups, title }, png, svg)
}

struct Comparison<'a> {
    groups: &'a [Group],
    title: &'a str,
}

impl Figure for Comparison<'_> {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        let against = Progress::of(self.groups);
        let runs: usize = self.groups.iter().map(|group| group.runs.len()).sum();
        heading(canvas, self.title, &format!("{runs} runs; means over those that differ in the seed alone"))?;
        let curves = |points: &dyn Fn(&Group) -> Vec<(f64, f64)>| {
            let colored = self.groups.iter().zip(COLORS.iter().cycle());
            colored
                .map(|(g, color)| Curve::new(short_name(g), *color, points(g).into_iter()))
                .collect::<Vec<_>>()
        };
        // The names stand in the right panel: there is more room.
        let losses = curves(&|g| g.curve(against, |r| r.val_loss))
            .into_iter()
            .map(Curve::unlabelled)
            .collect::<Vec<_>>();
        let percent = |(epoch, share): (f64, f64)| (epoch, 100.0 * share);
        let blanks =
            curves(&|g| g.curve(against, |r| r.val_blank_accuracy).into_iter().map(percent).collect());
        let last = self
            .groups
            .iter()
            .flat_map(|g| g.curve(against, |r| r.val_blank_accuracy))
            .map(|(epoch, _)| epoch);
        let epochs = (1.0, last.fold(1.0, f64::max));
        let top = blanks.iter().filter_map(Curve::largest).fold(1.0, f64::max);
        Panel::new(70.0, 400.0, Axis::counted(against.name(), epochs), loss_range(&losses), None).draw(
            canvas,
            "Cross-entropy loss in validation",
            &losses,
            "",
        )?;
        Panel::new(560.0, 890.0, Axis::counted(against.name(), epochs), (0.0, top), None).draw(
            canvas,
            "Blanks right in validation",
            &blanks,
            " %",
        )
    }
}

/// As much of a group's name as there is room for.
fn short_name(group: &Group) -> String {
    const ROOM: usize = 28;
    let name = group.name();
    match name.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name,
    }
}
