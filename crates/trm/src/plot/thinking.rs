//! The picture of an evaluation: how many boards are solved by how much thinking.

use super::canvas::Canvas;
use super::panel::{Axis, Curve, Panel};
use super::{BLUE, Figure, GREEN, PlotError, heading, save};
use crate::evaluate::Evaluation;
use plotters::prelude::*;
use std::path::Path;

/// Draws how many boards are solved, against outer cycles and, where there were any, restarts.
///
/// # Errors
/// No puzzles, or a file that cannot be written.
pub fn draw_thinking(
    evaluation: &Evaluation,
    ms_per_puzzle: f64,
    title: &str,
    png: &Path,
    svg: &Path,
) -> Result<(), PlotError> {
    if evaluation.puzzles == 0 {
        return Err(PlotError::Empty);
    }
    save(&Thinking { evaluation, ms_per_puzzle, title }, png, svg)
}

struct Thinking<'a> {
    evaluation: &'a Evaluation,
    ms_per_puzzle: f64,
    title: &'a str,
}

impl Figure for Thinking<'_> {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        let e = self.evaluation;
        let share = |solved: u64| 100.0 * solved as f64 / e.puzzles.max(1) as f64;
        let summary = format!(
            "{} puzzles, {:.2} % solved, {:.1} ms each",
            e.puzzles,
            share(e.solved),
            self.ms_per_puzzle
        );
        heading(canvas, self.title, &summary)?;
        let log2 = |n: usize| (n as f64).log2();
        let points = e.solved_by_cycles.iter().map(|(cycles, solved)| (log2(*cycles), share(*solved)));
        let most = e.solved_by_cycles.last().map_or(1, |(cycles, _)| *cycles);
        let axis = Axis::powers_of_two("outer cycles", most.next_power_of_two().ilog2());
        Panel::new(70.0, 450.0, axis, (0.0, 100.0), None).draw(
            canvas,
            "Boards solved by outer cycles",
            &[Curve::new("boards", BLUE, points)],
            " %",
        )?;
        let curve = |points: &mut dyn Iterator<Item = (f64, u64)>| {
            [Curve::new("boards", GREEN, points.map(|(x, solved)| (x, share(solved))))]
        };
        let (restarts, guesses) = (e.solved_by_restarts.len() - 1, e.solved_by_guesses.len() - 1);
        let (axis, caption, curves) = if guesses > 0 {
            // 0 stands where log2 has its 1 / 2.
            let points = e.solved_by_guesses.iter().enumerate();
            let ticks = points.clone().map(|(i, (guesses, _))| (i as f64, guesses.to_string()));
            let axis = Axis::labelled("guesses", ticks.collect());
            let curves = curve(&mut points.map(|(i, (_, solved))| (i as f64, *solved)));
            (axis, "Boards solved by guesses", curves)
        } else if restarts > 0 {
            let axis = Axis::counted("restarts", (0.0, restarts as f64));
            let points = e.solved_by_restarts.iter().enumerate();
            let curves = curve(&mut points.map(|(r, solved)| (r as f64, *solved)));
            (axis, "Boards solved by restarts", curves)
        } else {
            return Ok(());
        };
        Panel::new(650.0, 1030.0, axis, (0.0, 100.0), None).draw(canvas, caption, &curves, " %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_panels_are_drawn_and_nothing_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let kept = std::env::var_os("TRM_PLOT_FOLDER").map(std::path::PathBuf::from);
        let folder = kept.as_deref().unwrap_or(temporary.path());
        let (png, svg) = (folder.join("thinking.png"), folder.join("thinking.svg"));
        let mut evaluation = Evaluation {
            puzzles: 200,
            solved: 180,
            solved_by_cycles: (0..11).map(|p| (1 << p, 18 * p)).collect(),
            solved_by_restarts: (0..17).map(|r| 100 + 5 * r).collect(),
            solved_by_guesses: vec![(0, 180)],
            ..Evaluation::default()
        };
        draw_thinking(&evaluation, 12.3, "Thinking longer", &png, &svg).unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        for label in ["outer cycles", "restarts", "1024", "90.00 % solved", "boards 90.0 %"] {
            assert!(text.contains(label), "{label}");
        }
        evaluation.solved_by_guesses.extend([(1, 185), (2, 190), (4, 200)]);
        draw_thinking(&evaluation, 12.3, "Guessing", &png, &svg).unwrap();
        let text = std::fs::read_to_string(&svg).unwrap();
        assert!(text.contains("Boards solved by guesses") && !text.contains("restarts"));
        assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
        evaluation.puzzles = 0;
        assert!(matches!(draw_thinking(&evaluation, 1.0, "", &png, &svg), Err(PlotError::Empty)));
    }
}
