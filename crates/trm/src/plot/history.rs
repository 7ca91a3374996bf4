//! The picture of a training history: loss on the left, accuracies on the right.

use super::canvas::{Canvas, Font};
use super::panel::{Axis, Curve, Panel, TRAINING, loss_range};
use super::{BLUE, FAINT_INK, Figure, GREEN, PlotError, VERMILION, heading, save};
use crate::train::history::Record;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// Draws the records.
///
/// # Errors
/// No records, or a file that cannot be written.
pub fn draw_history(records: &[Record], title: &str, png: &Path, svg: &Path) -> Result<(), PlotError> {
    if records.is_empty() {
        return Err(PlotError::Empty);
    }
    save(&History { records, title }, png, svg)
}

struct History<'a> {
    records: &'a [Record],
    title: &'a str,
}

impl Figure for History<'_> {
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Result<(), PlotError> {
        let records = self.records;
        let best = records.iter().rev().find(|r| r.is_best);
        heading(canvas, self.title, &summary(records, best))?;
        if let Some([latent, output]) = records[records.len() - 1].gates() {
            let gates = format!("gates at the end: latent {latent:.3}, output {output:.3}");
            let font = Font { size: 13.0, bold: false, color: FAINT_INK };
            canvas.text((30.0, 525.0), HPos::Left, &gates, font)?;
        }
        let unit = unit(records);
        let share = |value: Option<f64>| value.map(|v| 100.0 * v);
        let curve = |name, color, value: &dyn Fn(&Record) -> Option<f64>| {
            Curve::new(name, color, records.iter().filter_map(|r| Some((place(r), value(r)?))))
        };
        let losses = [
            curve("training", TRAINING, &|r| Some(r.train_loss)),
            curve("validation", BLUE, &|r| r.val_loss),
        ];
        let accuracies = [
            curve("training cells", TRAINING, &|r| share(Some(r.train_cell_accuracy))),
            curve("cells", BLUE, &|r| share(r.val_cell_accuracy)),
            curve("blanks", VERMILION, &|r| share(r.val_blank_accuracy)),
            curve("boards", GREEN, &|r| share(r.val_board_accuracy)),
        ];
        let stages = stage_marks(records);
        let span = (place(&records[0]), place(&records[records.len() - 1]));
        let best = best.map(place);
        Panel::new(70.0, 450.0, Axis::counted(unit, span), loss_range(&losses), best).marked(&stages).draw(
            canvas,
            "Cross-entropy loss",
            &losses,
            "",
        )?;
        Panel::new(650.0, 1030.0, Axis::counted(unit, span), (0.0, 100.0), best).marked(&stages).draw(
            canvas,
            "Accuracy",
            &accuracies,
            " %",
        )
    }
}

/// Where stages of a curriculum begin: the first epochs that ended in them, and the numbers of the stages.
fn stage_marks(records: &[Record]) -> Vec<(f64, String)> {
    let begins = |pair: &&[Record]| pair[0].stage < pair[1].stage && pair[0].stage.is_some();
    let mark = |pair: &[Record]| Some((place(&pair[1]), format!("stage {}", pair[1].stage?)));
    let mut marks: Vec<_> = records.windows(2).filter(begins).filter_map(mark).collect();
    // The word stands once: there is little room.
    marks.iter_mut().skip(1).for_each(|(_, label)| *label = label.replace("stage ", ""));
    marks
}

/// What a run counts: epochs, or steps alone.
fn unit(records: &[Record]) -> &'static str {
    if records.iter().all(|record| record.epoch.is_some()) { "epoch" } else { "step" }
}

/// Where a record stands on the axis.
fn place(record: &Record) -> f64 {
    record.epoch.map_or(record.step as f64, |epoch| epoch as f64)
}

fn summary(records: &[Record], best: Option<&Record>) -> String {
    let (unit, count) = (unit(records), records.last().map_or(0.0, place));
    let mut text = format!("{count} {unit}{}", if count == 1.0 { "" } else { "s" });
    if let Some(best) = best {
        let shares = [
            ("cells", best.val_cell_accuracy),
            ("blanks", best.val_blank_accuracy),
            ("boards", best.val_board_accuracy),
        ];
        let shares: Vec<_> = shares
            .iter()
            .filter_map(|(name, share)| Some(format!("{:.1} % of {name}", 100.0 * (*share)?)))
            .collect();
        text += &format!(", best after {unit} {}", place(best));
        if !shares.is_empty() {
            text += &format!(": {} right in validation", shares.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::canvas::SCALE;
    use super::super::{SHRINK, SIZE};
    use super::*;

    fn record(epoch: usize, time: f64) -> Record {
        let decay = (-(epoch as f64) / time).exp();
        let noise = 0.04 * (epoch as f64 * 12.9898).sin() * decay.max(0.15);
        Record {
            epoch: Some(epoch),
            step: 10 * epoch as u64,
            train_loss: 0.55 + 1.5 * decay + noise,
            train_cell_accuracy: 0.82 - 0.62 * decay - noise / 3.0,
            val_loss: Some(0.62 + 1.45 * decay - 0.3 * noise + 0.02 * (epoch as f64 / time - 1.0).max(0.0)),
            val_cell_accuracy: Some(0.81 - 0.5 * decay + noise / 5.0),
            val_blank_accuracy: Some(0.72 - 0.6 * decay + noise / 4.0),
            val_board_accuracy: Some(0.31 * (1.0 - decay) * (1.0 - decay)),
            train_board_accuracy: None,
            segments: None,
            train_constraint_loss: None,
            val_constraint_loss: None,
            val_conflicts_per_board: None,
            stage: None,
            stage_accuracy: None,
            lr: 1e-4,
            grad_norm_mean: 1.0,
            grad_norm_max: 2.0,
            latent_gate: Some(0.1),
            output_gate: Some(0.1),
            latent_gate_range: None,
            output_gate_range: None,
            samples_per_s: 100.0,
            elapsed_s: epoch as f64,
            is_best: false,
        }
    }

    fn history(epochs: usize) -> Vec<Record> {
        let mut records: Vec<_> = (1..=epochs).map(|e| record(e, epochs as f64 / 5.0)).collect();
        records[(epochs - 1) * 5 / 6].is_best = true;
        records
    }

    /// Draws and returns the SVG; keeps the files where TRM_PLOT_FOLDER says, to be looked at.
    fn drawn(name: &str, records: &[Record]) -> String {
        let temporary = tempfile::tempdir().unwrap();
        let kept = std::env::var_os("TRM_PLOT_FOLDER").map(std::path::PathBuf::from);
        let folder = kept.as_deref().unwrap_or(temporary.path());
        let (png, svg) = (folder.join(format!("{name}.png")), folder.join(format!("{name}.svg")));
        draw_history(records, "A <title> & more", &png, &svg).unwrap();
        let header = std::fs::read(&png).unwrap()[..24].to_vec();
        assert!(header.starts_with(b"\x89PNG"));
        assert_eq!(header[16..20], (SIZE.0 * SCALE / SHRINK).to_be_bytes());
        let text = std::fs::read_to_string(&svg).unwrap();
        assert!(
            text.starts_with(r#"<svg width="1200" height="540" viewBox="0 0 3600 1620""#),
            "{}",
            &text[..90]
        );
        assert!(text.contains("A &lt;title&gt; &amp; more") && !text.contains("NaN"));
        text
    }

    #[test]
    fn one_epoch_few_and_many_are_drawn() {
        for (name, epochs) in [("one", 1), ("two", 2), ("some", 30), ("many", 1000)] {
            let svg = drawn(name, &history(epochs));
            for label in ["validation 0.", "training cells ", "boards ", "best after epoch", " %"] {
                assert!(svg.contains(label), "{epochs} epochs: {label}");
            }
        }
    }

    #[test]
    fn gates_are_told_with_their_range_if_they_are_vectors() {
        let mut records = history(3);
        records[2].latent_gate_range = Some([-0.25, 0.5]);
        let svg = drawn("gates", &records);
        assert!(svg.contains("latent 0.100 (-0.250 to 0.500), output 0.100"), "{svg}");
    }

    #[test]
    fn stages_of_a_curriculum_are_marked_where_they_begin() {
        let mut records = history(30);
        records.iter_mut().for_each(|r| r.stage = r.epoch.map(|epoch| 1 + (epoch / 4).min(4)));
        let svg = drawn("stages", &records);
        assert!(svg.contains("\nstage 2\n") && svg.contains("\n5\n"), "{svg}");
        assert!(!drawn("some", &history(30)).contains("stage"));
    }

    #[test]
    fn a_history_without_validation_shows_training_alone() {
        let mut records = history(8);
        for record in &mut records {
            record.val_loss = None;
            record.val_cell_accuracy = None;
            record.val_blank_accuracy = None;
            record.val_board_accuracy = None;
            record.is_best = false;
        }
        let svg = drawn("training", &records);
        assert!(svg.contains("training cells") && !svg.contains("validation") && !svg.contains("boards"));
    }

    #[test]
    fn losses_that_are_no_number_or_huge_do_not_spoil_the_rest() {
        let mut records = history(12);
        records[3].train_loss = f64::NAN;
        records[4].val_loss = Some(f64::INFINITY);
        records[11].train_cell_accuracy = f64::NAN;
        records[7].train_loss = 1e30;
        drawn("spoilt", &records);
        for value in [f64::NAN, f64::INFINITY, f64::MAX, 0.0, 1e30] {
            for record in &mut records {
                record.train_loss = value;
                record.val_loss = Some(value);
            }
            drawn("constant", &records);
        }
    }

    #[test]
    fn an_empty_history_is_refused_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = draw_history(&[], "none", &folder.path().join("a.png"), &folder.path().join("a.svg"));
        assert!(matches!(error, Err(PlotError::Empty)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
