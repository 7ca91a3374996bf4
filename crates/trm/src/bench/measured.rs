//! What speed is measured of: settings of either kind of model.

use crate::config::TrmConfig;
use crate::model::{Budget, Model, flops_per_sample, paper};
use crate::ops::Format;
use crate::train::{Kind, Settings};

/// Settings whose training and inference can be timed.
pub trait Measured: Settings {
    /// The model that they make.
    type Model: Kind<Settings = Self>;

    /// The settings of a run in batches of so many puzzles which never comes to its end.
    fn endless(&self, batch_size: usize) -> Self;
    /// Number format of the matrix products.
    fn format(&self) -> Format;
    /// Floating-point operations for one puzzle: of a prediction within [`Self::budget`], and of a training step. Activations that are
    /// computed again are not counted again.
    fn flops(&self) -> [u64; 2];
    /// How long a prediction that is timed may take: one segment, which a training step goes through too.
    fn budget(&self) -> Budget;
}

impl Measured for TrmConfig {
    type Model = Model;

    fn endless(&self, batch_size: usize) -> Self {
        let mut endless = self.clone();
        (endless.run.epochs, endless.run.patience) = (1_000_000, 0);
        (endless.data.augment_copies, endless.training.batch_size) = (1, batch_size);
        endless
    }

    fn format(&self) -> Format {
        self.network.precision.format()
    }

    fn flops(&self) -> [u64; 2] {
        let (forward, both) = flops_per_sample(&self.network);
        [forward, both]
    }

    fn budget(&self) -> Budget {
        Budget { steps: self.network.h_cycles, ..Budget::trained(&self.network) }
    }
}

impl Measured for paper::Settings {
    type Model = paper::Model;

    fn endless(&self, batch_size: usize) -> Self {
        let mut endless = self.clone();
        (endless.training.steps, endless.training.eval_every) = (u64::MAX, u64::MAX);
        (endless.training.patience, endless.training.batch_size) = (0, batch_size);
        endless
    }

    fn format(&self) -> Format {
        self.model.precision.format()
    }

    fn flops(&self) -> [u64; 2] {
        let [cycle, read_out] = paper::Network::new(&self.model).0.flops(&self.model);
        let forward = self.model.h_cycles as u64 * cycle + read_out;
        // Gradients go through the last outer cycle alone.
        [forward, forward + 2 * (cycle + read_out)]
    }

    fn budget(&self) -> Budget {
        Budget { steps: self.model.h_cycles, ..self.model.budget() }
    }
}
