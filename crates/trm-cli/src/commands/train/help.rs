//! What `trm train --help` says of settings and presets.

use trm::config::{PRESETS, Preset};

/// What `trm train --help` ends with, around the list of presets.
const HELP: [&str; 2] = [
    "\
Settings come from the documented defaults, then --preset, then --config, then --data and --set; the last one wins.
Every setting of the specification is one: hidden_dim, L_layers, L_cycles, H_cycles, dropout, lr, weight_decay,
batch_size, epochs, and those of this program: update, gate_init, augment, ema, patience, checkpoint_activations ...
recursion=one_state or recursion=documented stands for six of them: update, output_layers, supervision, state_norm,
output_norm and dropout, unless they are given too.
The file config.toml of a run lists them all. The presets paper-mlp and paper-att train the paper's model, whose settings
stand in the tables [model] and [training].

--prune clears weights while the others learn to do without; the best epoch is chosen among those after the last were
cleared. With structured, trm compress --prune structured at the same sparsity then takes the cleared units out.

Ctrl-C stops after the current step with everything saved; --resume goes on as if nothing had happened.",
    "\
Examples:
  trm train --preset quick
  trm train --data data/sudoku.csv
  trm train --preset cells --data data/sudoku.csv
  trm train --data data/sudoku.csv --set hidden_dim=256 L_cycles=4 augment=true --run runs/small
  trm train --init model.pt --prune 2:4 --data data/sudoku.csv --set epochs=5 --run runs/sparse
  trm train --resume --run runs/small",
];

/// The text behind the options, presets with their summaries among it.
pub fn after_options() -> String {
    let line = |preset: &Preset| format!("  {:<12}{}\n", preset.name, preset.summary);
    let presets: String = PRESETS.iter().map(line).collect();
    format!("{}\n\nPresets:\n{presets}\n{}", HELP[0], HELP[1])
}

/// The help of `--preset`.
pub fn presets() -> String {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    format!("Settings that come with the program ({}), or a TOML file", names.join(", "))
}
