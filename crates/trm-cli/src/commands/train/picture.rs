//! The picture of a run's history, drawn again as epochs come.

use crate::error::CliError;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trm::plot::draw_history;
use trm::train::RunFolder;
use trm::train::history::Record;

/// Least time between two drawings; the picture is drawn at the end in any case.
const DRAW_EVERY: Duration = Duration::from_secs(10);

/// `training_history.png` and `training_history.svg` in the folder of a run.
pub struct Picture {
    png: PathBuf,
    svg: PathBuf,
    drawn: Option<Instant>,
}

impl Picture {
    /// The picture of the run in `folder`; nothing is drawn yet.
    pub fn new(folder: &RunFolder) -> Self {
        let [png, svg] = ["training_history.png", "training_history.svg"].map(|name| folder.file(name));
        Self { png, svg, drawn: None }
    }

    /// Draws the records after an epoch, unless that was done just now. That it fails is told by [`Self::finish`], so that no
    /// run stops for its picture.
    pub fn update(&mut self, records: &[Record]) {
        if self.drawn.is_none_or(|at| at.elapsed() >= DRAW_EVERY) {
            let _ = self.draw(records);
            self.drawn = Some(Instant::now());
        }
    }

    /// Draws the records of a run that ended or was stopped, if there are any.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(&self, records: &[Record]) -> Result<(), CliError> {
        if records.is_empty() {
            return Ok(());
        }
        self.draw(records).map_err(|e| {
            let png = self.png.display();
            CliError::Failed(format!("{png}: {e}; checkpoints written before are untouched"))
        })
    }

    fn draw(&self, records: &[Record]) -> Result<(), trm::plot::PlotError> {
        draw_history(records, "Tiny Recursive Model: training history", &self.png, &self.svg)
    }
}
