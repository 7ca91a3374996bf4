//! Settings that come with the program, by name.

/// Which network a preset trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// The network of the specification with what this program adds to it: [`super::TrmConfig`] describes a run.
    Documented,
    /// The network of the paper: [`crate::model::paper::Settings`] describes a run.
    Paper,
}

/// A set of settings under a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Name of the preset, as `--preset` takes it.
    pub name: &'static str,
    /// One line on what the preset trains and on which puzzles.
    pub summary: &'static str,
    /// The network that the preset trains, which decides how [`Self::toml`] is read.
    pub kind: ModelKind,
    /// The settings that differ from the defaults.
    pub toml: &'static str,
}

/// Every preset. The presets of the documented network come first.
pub const PRESETS: [Preset; 8] = [
    Preset {
        name: "quick",
        summary: "a wide, shallow network on generated puzzles with few blanks; a few minutes on two cores",
        kind: ModelKind::Documented,
        toml: include_str!("../../../../presets/quick.toml"),
    },
    Preset {
        name: "documented",
        summary: "the settings of the specification; what a run without a preset has too",
        kind: ModelKind::Documented,
        toml: include_str!("../../../../presets/documented.toml"),
    },
    Preset {
        name: "kaggle",
        summary: "the documented network on rows of the Kaggle file in data/sudoku.csv",
        kind: ModelKind::Documented,
        toml: include_str!("../../../../presets/kaggle.toml"),
    },
    Preset {
        name: "cells",
        summary: "a vector for each cell, mixed by attention over rows, columns and boxes, on generated puzzles",
        kind: ModelKind::Documented,
        toml: include_str!("../../../../presets/cells.toml"),
    },
    Preset {
        name: "minute",
        summary: "the network of `solver` without hypotheses, on the Kaggle rows in data/kaggle-15k.csv; a minute",
        kind: ModelKind::Documented,
        toml: include_str!("../../../../presets/minute.toml"),
    },
    Preset {
        name: "solver",
        summary: "the model that comes with the program: a vector for each open digit, with hypotheses, on hard puzzles",
        kind: ModelKind::Documented,
        toml: include_str!("../../../../presets/solver.toml"),
    },
    Preset {
        name: "paper-mlp",
        summary: "the paper's network that mixes cells by an MLP; puzzles by --data, made for a GPU",
        kind: ModelKind::Paper,
        toml: include_str!("../../../../presets/paper-mlp.toml"),
    },
    Preset {
        name: "paper-att",
        summary: "the paper's network that mixes cells by attention; puzzles by --data, made for a GPU",
        kind: ModelKind::Paper,
        toml: include_str!("../../../../presets/paper-att.toml"),
    },
];

impl Preset {
    /// The preset called `name`, if there is one.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigLayers, Recursion, TrmConfig};
    use super::*;

    /// The settings of a preset of the documented network.
    fn config(name: &str) -> TrmConfig {
        let preset = Preset::named(name).unwrap();
        ConfigLayers::default().toml(preset.toml, name).and_then(ConfigLayers::build).unwrap()
    }

    #[test]
    fn every_preset_of_the_documented_network_can_be_read() {
        for preset in PRESETS.iter().filter(|preset| preset.kind == ModelKind::Documented) {
            assert!(!config(preset.name).to_toml().contains("recursion"), "{}", preset.name);
        }
        assert_eq!(config("documented"), TrmConfig::default());
        assert!(Preset::named("paper").is_none());
    }

    #[test]
    fn presets_of_one_state_have_all_that_it_means() {
        for name in ["cells", "minute", "solver"] {
            let written = config(name).table();
            for (key, value) in Recursion::OneState.settings() {
                assert_eq!(written[&key], value, "{name}: {key}");
            }
        }
    }
}
