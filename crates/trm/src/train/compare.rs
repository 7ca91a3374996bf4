//! Runs side by side: which settings differ, and what came of it.

use super::history::{EpochRecord, read_jsonl};
use crate::evaluate::Evaluation;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What a run folder tells.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Its settings.
    pub settings: toml::Table,
    /// One record an epoch.
    pub history: Vec<EpochRecord>,
    /// Evaluation of the held-out rows by the best weights, of a run that came to its end.
    pub holdout: Option<Evaluation>,
}

impl RunRecord {
    /// Reads `config.toml`, `history.jsonl` and, where there is one, `holdout.json`.
    ///
    /// # Errors
    /// A missing or unreadable file, named.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let named = |name: &str, e: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {e}", folder.join(name).display()))
        };
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|e| named(name, &e));
        let settings = text("config.toml")?.parse().map_err(|e| named("config.toml", &e))?;
        let history = read_jsonl(&folder.join("history.jsonl")).map_err(|e| named("history.jsonl", &e))?;
        let holdout = match std::fs::read_to_string(folder.join("holdout.json")) {
            Ok(text) => Some(serde_json::from_str(&text).map_err(|e| named("holdout.json", &e))?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(named("holdout.json", &e)),
        };
        Ok(Self { settings, history, holdout })
    }

    /// Blanks right: of the held-out rows if they were evaluated, else in validation after the best epoch.
    pub fn blank_accuracy(&self) -> Option<f64> {
        self.accuracy(|e| e.blank_accuracy, |r| r.val_blank_accuracy)
    }

    /// Cells right, of the same.
    pub fn cell_accuracy(&self) -> Option<f64> {
        self.accuracy(|e| e.cell_accuracy, |r| r.val_cell_accuracy)
    }

    /// Boards right, of the same.
    pub fn board_accuracy(&self) -> Option<f64> {
        self.accuracy(|e| e.board_accuracy, |r| r.val_board_accuracy)
    }

    fn accuracy(
        &self,
        held_out: impl Fn(&Evaluation) -> f64,
        validated: impl Fn(&EpochRecord) -> Option<f64>,
    ) -> Option<f64> {
        match &self.holdout {
            Some(evaluation) => Some(held_out(evaluation)),
            None => validated(self.history.iter().rev().find(|r| r.is_best)?),
        }
    }
}

/// Runs whose settings differ in the seed alone.
#[derive(Clone, Debug)]
pub struct Group {
    /// Settings in which it differs from the first group, as `key=value`; empty for the first.
    pub differences: Vec<String>,
    /// Its runs.
    pub runs: Vec<RunRecord>,
}

impl Group {
    /// Its differences in a line.
    pub fn name(&self) -> String {
        if self.differences.is_empty() { "baseline".into() } else { self.differences.join(" ") }
    }

    /// (mean, least, largest) of something over its runs, as far as they tell.
    pub fn spread(&self, of: impl Fn(&RunRecord) -> Option<f64>) -> Option<[f64; 3]> {
        let values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (least, largest) =
            (values.iter().copied().min_by(f64::total_cmp)?, values.iter().copied().max_by(f64::total_cmp)?);
        Some([mean, least, largest])
    }

    /// (epoch, mean over its runs) of something, for the epochs that every run has.
    pub fn curve(&self, of: impl Fn(&EpochRecord) -> Option<f64>) -> Vec<(f64, f64)> {
        let epochs = self.runs.iter().map(|run| run.history.len()).min().unwrap_or(0);
        let mean = |i: usize| {
            let values: Option<Vec<f64>> = self.runs.iter().map(|run| of(&run.history[i])).collect();
            Some(values?.iter().sum::<f64>() / self.runs.len() as f64)
        };
        (0..epochs).filter_map(|i| Some((self.runs[0].history[i].epoch as f64, mean(i)?))).collect()
    }
}

/// Puts runs that differ in the seed alone together, in the order of their first.
pub fn group_runs(runs: Vec<RunRecord>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for mut run in runs {
        run.settings.remove("seed");
        match groups.iter_mut().find(|group| group.runs[0].settings == run.settings) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group {
                differences: groups
                    .first()
                    .map_or(Vec::new(), |first| differences(&first.runs[0].settings, &run.settings)),
                runs: vec![run],
            }),
        }
    }
    groups
}

fn differences(from: &toml::Table, to: &toml::Table) -> Vec<String> {
    let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let different = keys.into_iter().filter(|key| from.get(*key) != to.get(*key));
    let text = |key: &String| match to.get(key) {
        Some(toml::Value::String(value)) => format!("{key}={value}"),
        Some(value) => format!("{key}={value}"),
        None => format!("no {key}"),
    };
    different.map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(settings: &str, blanks: &[f64]) -> RunRecord {
        let record = |(i, blanks): (usize, &f64)| {
            let numbers = r#""step":1,"train_loss":1,"train_cell_accuracy":0.5,"lr":0,"grad_norm_mean":0,"grad_norm_max":0,"latent_gate":0,"output_gate":0,"samples_per_s":1,"elapsed_s":1,"is_best":true"#;
            serde_json::from_str(&format!(r#"{{"epoch":{},"val_blank_accuracy":{blanks},{numbers}}}"#, i + 1))
                .unwrap()
        };
        RunRecord {
            settings: settings.parse().unwrap(),
            history: blanks.iter().enumerate().map(record).collect(),
            holdout: None,
        }
    }

    #[test]
    fn runs_are_grouped_by_all_but_the_seed_and_named_by_what_differs() {
        let groups = group_runs(vec![
            run("seed = 1\nlr = 0.1\ngates = \"scalar\"", &[0.1, 0.3]),
            run("seed = 1\nlr = 0.1\ngates = \"vector\"", &[0.2]),
            run("seed = 2\nlr = 0.1\ngates = \"scalar\"", &[0.2, 0.4, 0.5]),
            run("seed = 2\nlr = 0.2", &[]),
        ]);
        let names: Vec<String> = groups.iter().map(Group::name).collect();
        assert_eq!(names, ["baseline", "gates=vector", "no gates lr=0.2"]);
        let [mean, least, largest] = groups[0].spread(RunRecord::blank_accuracy).unwrap();
        assert!((mean - 0.4).abs() < 1e-12 && least == 0.3 && largest == 0.5);
        let curve = groups[0].curve(|r| r.val_blank_accuracy);
        assert_eq!(curve.len(), 2);
        assert!((curve[0].1 - 0.15).abs() < 1e-12 && (curve[1].1 - 0.35).abs() < 1e-12);
        assert_eq!(groups[2].spread(RunRecord::blank_accuracy), None);
        assert!(groups[2].curve(|r| r.val_loss).is_empty());
    }

    #[test]
    fn a_folder_without_a_run_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunRecord::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("config.toml"), "{error}");
    }
}
