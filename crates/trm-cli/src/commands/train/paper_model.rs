//! Runs of the paper's model: their settings, and what is said of them.

use super::plan::grouped;
use super::{Plan, Told, TrainArgs};
use crate::error::CliError;
use crate::output::bytes;
use serde_json::{Value, json};
use toml::Table;
use trm::model::paper::Settings;
use trm::train::TrainError;

impl Told for Settings {
    /// Defaults, model to start from, preset, file, `--data` and `--set`; the last one wins.
    fn of_args(args: &TrainArgs, start: Option<&Self>) -> Result<Self, CliError> {
        let wrong = |origin: &str, e: &dyn std::fmt::Display| CliError::Input(format!("{origin}: {e}"));
        let mut merged = Table::new();
        if let Some(start) = start {
            let model = Table::try_from(&start.model).map_err(|e| wrong("--init", &e))?;
            merged.insert("model".into(), toml::Value::Table(model));
        }
        for (origin, text) in args.layers()? {
            let layer: Table = text.parse().map_err(|e| wrong(&origin, &e))?;
            for (key, value) in layer {
                match (merged.get_mut(&key).and_then(|old| old.as_table_mut()), value) {
                    (Some(old), toml::Value::Table(new)) => old.extend(new),
                    (_, value) => drop(merged.insert(key, value)),
                }
            }
            Self::from_toml(&merged.to_string(), &[]).map_err(|e| wrong(&origin, &e))?;
        }
        let assignments = args.assignments(|text| format!("\"{text}\""));
        let settings = Self::from_toml(&merged.to_string(), &assignments);
        let mut settings = settings.map_err(|e| wrong("--set", &e))?;
        if let Some(path) = &args.data {
            settings.training.data = path.display().to_string();
            settings.training.generate_samples = 0;
        }
        if settings.training.data.is_empty() && settings.training.generate_samples == 0 {
            return Err(CliError::Input(TrainError::NoData.to_string()));
        }
        Ok(settings)
    }

    fn announcement(&self, run: &Plan) -> String {
        let [training, validation, holdout] = run.data.sizes();
        format!(
            "model    {} parameters of the paper's model: hidden_size {}, L_layers {}, L_cycles {}, H_cycles {}, {}\n\
             memory   {}\n\
             data     {training} puzzles to train on, {validation} for validation, {holdout} held out\n\
             run      {}, {} steps of {} puzzles\n\
             each validation: loss and cells right in training, boards right when they leave; * is the best so far",
            grouped(self.model.parameter_count()),
            self.model.hidden_size,
            self.model.l_layers,
            self.model.l_cycles,
            self.model.h_cycles,
            if self.model.mlp_t { "mixed tokens" } else { "attention" },
            bytes(self.memory_bytes()),
            run.folder.display(),
            self.training.steps,
            self.training.batch_size,
        )
    }

    fn plan(&self, run: &Plan) -> Value {
        let [training, validation, holdout] = run.data.sizes();
        json!({
            "event": "plan",
            "parameters": self.model.parameter_count(),
            "memory_bytes": self.memory_bytes(),
            "threads": run.threads,
            "training": training,
            "validation": validation,
            "holdout": holdout,
            "settings": self,
        })
    }
}
