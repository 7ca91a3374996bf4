//! Runs of the documented family: their settings, and what is said of them.

use super::plan::grouped;
use super::{Plan, Told, TrainArgs};
use crate::error::CliError;
use crate::output::bytes;
use serde_json::{Value, json};
use trm::config::{ConfigLayers, TrmConfig};
use trm::model::{MemoryPlan, flops_per_sample, parameter_count};
use trm::train::TrainError;

impl Told for TrmConfig {
    fn of_args(args: &TrainArgs, start: Option<&Self>) -> Result<Self, CliError> {
        let input = |e: &dyn std::fmt::Display| CliError::Input(e.to_string());
        let mut layers = ConfigLayers::default();
        if let Some(start) = start {
            layers = layers.toml(&start.to_toml(), "--init").map_err(|e| input(&e))?;
        }
        for (origin, text) in args.layers()? {
            layers = layers.toml(&text, &origin).map_err(|e| input(&e))?;
        }
        for set in args.assignments(str::to_string) {
            layers = layers.set(&set).map_err(|e| input(&e))?;
        }
        let mut config = layers.build().map_err(|e| input(&e))?;
        if let Some(path) = &args.data {
            config.data.data = path.display().to_string();
            config.data.generate_samples = 0;
        }
        if config.data.data.is_empty() && config.data.generate_samples == 0 {
            return Err(input(&TrainError::NoData));
        }
        Ok(config)
    }

    fn announcement(&self, run: &Plan) -> String {
        let plan = MemoryPlan::for_training(self, run.threads);
        let (_, flops) = flops_per_sample(&self.network);
        let [training, validation, holdout] = run.data.sizes();
        format!(
            "model    {} parameters: hidden_dim {}, L_layers {}, L_cycles {}, H_cycles {}\n\
             work     {:.2} GFLOP for each training puzzle; {} threads, {}\n\
             memory   {}: weights {}, gradients {}, optimiser {}, activations {}\n\
             data     {training} puzzles to train on, {validation} for validation, {holdout} held out\n\
             run      {}\n\
             each epoch: loss and cells right in training and validation; * is the best so far",
            grouped(parameter_count(&self.network)),
            self.network.hidden_dim,
            self.network.l_layers,
            self.network.l_cycles,
            self.network.h_cycles,
            flops as f64 / 1e9,
            run.threads,
            trm::kernel_level(),
            bytes(plan.total()),
            bytes(plan.weights),
            bytes(plan.gradients),
            bytes(plan.optimizer),
            bytes(plan.activations()),
            run.folder.display()
        )
    }

    fn plan(&self, run: &Plan) -> Value {
        let [training, validation, holdout] = run.data.sizes();
        json!({
            "event": "plan",
            "parameters": parameter_count(&self.network),
            "flops_per_sample": flops_per_sample(&self.network).1,
            "memory_bytes": MemoryPlan::for_training(self, run.threads).total(),
            "threads": run.threads,
            "instructions": trm::kernel_level(),
            "training": training,
            "validation": validation,
            "holdout": holdout,
            "config": self,
        })
    }
}
