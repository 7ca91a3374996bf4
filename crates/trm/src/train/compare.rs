//! Runs side by side: which settings differ, and what came of it.

use super::RunKind;
use super::folder::{CONFIG, HISTORY, HOLDOUT};
use crate::evaluate::Evaluation;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// One validation of a run of either kind, read from its history.
#[derive(Clone, Debug, Deserialize)]
pub struct Validation {
    /// Epoch, from 1; runs of the paper's model have none.
    #[serde(default)]
    pub epoch: Option<usize>,
    /// Optimiser steps made so far.
    pub step: u64,
    /// Mean cross-entropy of a validation cell.
    pub val_loss: Option<f64>,
    /// Share of the validation cells predicted right, givens included.
    pub val_cell_accuracy: Option<f64>,
    /// Share of the blank validation cells predicted right.
    pub val_blank_accuracy: Option<f64>,
    /// Share of the validation boards predicted right in every cell.
    pub val_board_accuracy: Option<f64>,
    /// Seconds of training so far, over all sittings.
    pub elapsed_s: Option<f64>,
    /// Best validation so far.
    pub is_best: bool,
}

/// The horizontal axis of curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Epochs, which runs of the documented family have.
    Epochs,
    /// Optimiser steps, which every run has.
    Steps,
}

impl Progress {
    /// The axis for curves of `groups`: epochs if every run counts them, else steps.
    pub fn of(groups: &[Group]) -> Self {
        let mut all = groups.iter().flat_map(|group| &group.runs).flat_map(|run| &run.history);
        if all.all(|validation| validation.epoch.is_some()) { Self::Epochs } else { Self::Steps }
    }

    /// Name of the axis.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epochs => "epoch",
            Self::Steps => "step",
        }
    }

    fn of_validation(self, validation: &Validation) -> f64 {
        match (self, validation.epoch) {
            (Self::Epochs, Some(epoch)) => epoch as f64,
            _ => validation.step as f64,
        }
    }
}

/// The settings, history and result of a run, read from its folder.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The kind of the run.
    pub kind: RunKind,
    /// Settings of the run; keys of tables stand among the others.
    pub settings: toml::Table,
    /// Validations of the run, in order: one an epoch or, for the paper's model, one every `eval_every` steps.
    pub history: Vec<Validation>,
    /// Evaluation of the held-out rows by the best weights, if the run came to its end.
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
        let settings: toml::Table = text(CONFIG)?.parse().map_err(|e| named(CONFIG, &e))?;
        let validation = |(number, line): (usize, &str)| {
            let wrong = |e: serde_json::Error| named(HISTORY, &format!("line {}: {e}", number + 1));
            serde_json::from_str(line).map_err(wrong)
        };
        let history = text(HISTORY)?.lines().enumerate().map(validation).collect::<io::Result<_>>()?;
        let holdout = match std::fs::read_to_string(folder.join(HOLDOUT)) {
            Ok(text) => Some(serde_json::from_str(&text).map_err(|e| named(HOLDOUT, &e))?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(named(HOLDOUT, &e)),
        };
        Ok(Self { kind: RunKind::of_settings(&settings), settings: flat(settings), history, holdout })
    }

    /// Share of right blank cells: of the held-out rows if they were evaluated, else of the best validation.
    pub fn blank_accuracy(&self) -> Option<f64> {
        self.accuracy(|e| e.blank_accuracy, |r| r.val_blank_accuracy)
    }

    /// Share of right cells, givens included: of the held-out rows if they were evaluated, else of the best
    /// validation.
    pub fn cell_accuracy(&self) -> Option<f64> {
        self.accuracy(|e| e.cell_accuracy, |r| r.val_cell_accuracy)
    }

    /// Share of boards that are right in every cell: of the held-out rows if they were evaluated, else of the best
    /// validation.
    pub fn board_accuracy(&self) -> Option<f64> {
        self.accuracy(|e| e.board_accuracy, |r| r.val_board_accuracy)
    }

    /// Whether another run differs in the seed at most.
    fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.settings == other.settings
    }

    fn accuracy(
        &self,
        held_out: impl Fn(&Evaluation) -> f64,
        validated: impl Fn(&Validation) -> Option<f64>,
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
    /// Settings in which the group differs from the first group, as `key=value`; empty for the first group.
    pub differences: Vec<String>,
    /// The runs of the group.
    pub runs: Vec<RunRecord>,
}

impl Group {
    /// Name of the group: its differences from the first group in one line, or `baseline`.
    pub fn name(&self) -> String {
        if self.differences.is_empty() { "baseline".into() } else { self.differences.join(" ") }
    }

    /// Mean, least and largest value of `of` over the runs of the group that tell it; nothing if none does.
    pub fn spread(&self, of: impl Fn(&RunRecord) -> Option<f64>) -> Option<[f64; 3]> {
        let values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (least, largest) =
            (values.iter().copied().min_by(f64::total_cmp)?, values.iter().copied().max_by(f64::total_cmp)?);
        Some([mean, least, largest])
    }

    /// Points of a curve: the progress, and the mean of `of` over the runs of the group, for the validations that
    /// every run has.
    pub fn curve(&self, against: Progress, of: impl Fn(&Validation) -> Option<f64>) -> Vec<(f64, f64)> {
        let validations = self.runs.iter().map(|run| run.history.len()).min().unwrap_or(0);
        let mean = |i: usize| {
            let values: Option<Vec<f64>> = self.runs.iter().map(|run| of(&run.history[i])).collect();
            Some(values?.iter().sum::<f64>() / self.runs.len() as f64)
        };
        let place = |i: usize| against.of_validation(&self.runs[0].history[i]);
        (0..validations).filter_map(|i| Some((place(i), mean(i)?))).collect()
    }
}

/// Settings without tables: what stands in one stands beside the rest.
fn flat(settings: toml::Table) -> toml::Table {
    let mut flat = toml::Table::new();
    for (key, value) in settings {
        match value {
            toml::Value::Table(table) => flat.extend(table),
            value => drop(flat.insert(key, value)),
        }
    }
    flat
}

/// Groups runs whose settings differ in the seed alone. Groups come in the order of their first runs.
pub fn group_runs(runs: Vec<RunRecord>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for mut run in runs {
        run.settings.remove("seed");
        match groups.iter_mut().find(|group| group.runs[0].is_like(&run)) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { differences: differences_of(&run, &groups), runs: vec![run] }),
        }
    }
    groups
}

/// How a run is told from the groups before it: by the settings in which it differs from the first of its kind, and by its kind
/// where that is not the kind of the first.
fn differences_of(run: &RunRecord, groups: &[Group]) -> Vec<String> {
    let Some(first) = groups.first() else { return Vec::new() };
    let mut told = match (run.kind == first.runs[0].kind, run.kind) {
        (true, _) => Vec::new(),
        (false, RunKind::Paper) => vec!["paper".to_string()],
        (false, RunKind::Documented) => vec!["documented".to_string()],
    };
    if let Some(alike) = groups.iter().find(|group| group.runs[0].kind == run.kind) {
        told.extend(differences(&alike.runs[0].settings, &run.settings));
    }
    told
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
            kind: RunKind::Documented,
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
        assert_eq!(Progress::of(&groups), Progress::Epochs);
        let curve = groups[0].curve(Progress::Epochs, |r| r.val_blank_accuracy);
        assert_eq!(curve.len(), 2);
        assert!((curve[0].1 - 0.15).abs() < 1e-12 && (curve[1].1 - 0.35).abs() < 1e-12);
        assert_eq!(groups[2].spread(RunRecord::blank_accuracy), None);
        assert!(groups[2].curve(Progress::Epochs, |r| r.val_loss).is_empty());
    }

    #[test]
    fn runs_of_the_papers_model_stand_beside_the_others_and_are_told_by_their_kind() {
        let paper = |settings: &str| {
            let folder = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
            write(CONFIG, settings);
            write(
                HISTORY,
                r#"{"step":300,"train_loss":1,"train_cell_accuracy":0.2,"train_board_accuracy":0,"segments":2,"val_loss":2.5,"val_cell_accuracy":0.3,"val_blank_accuracy":0.1,"val_board_accuracy":0,"elapsed_s":9,"is_best":true}"#,
            );
            RunRecord::read(folder.path()).unwrap()
        };
        let groups = group_runs(vec![
            run("seed = 1\nlr = 0.1", &[0.1, 0.3]),
            paper("[model]\nhidden_size = 8\n[training]\nseed = 1\nlr = 0.2"),
            paper("[model]\nhidden_size = 8\n[training]\nseed = 2\nlr = 0.2"),
            paper("[model]\nhidden_size = 8\n[training]\nseed = 2\nlr = 0.3"),
        ]);
        let names: Vec<String> = groups.iter().map(Group::name).collect();
        assert_eq!(names, ["baseline", "paper", "paper lr=0.3"]);
        assert_eq!(groups[1].runs.len(), 2);
        assert_eq!(groups[1].spread(RunRecord::blank_accuracy), Some([0.1; 3]));
        assert_eq!(Progress::of(&groups), Progress::Steps);
        assert_eq!(groups[1].curve(Progress::Steps, |r| r.val_loss), [(300.0, 2.5)]);
    }

    #[test]
    fn a_folder_without_a_run_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunRecord::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("config.toml"), "{error}");
    }
}
