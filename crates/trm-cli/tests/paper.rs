//! The paper's model on the command line: convert, info, solve, eval, train.

use std::path::Path;
use std::process::{Command, Stdio};
use trm::checkpoint::Checkpoint;
use trm::model::paper::{Config, Network, Settings};

const PUZZLE: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const SOLUTION: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

/// (exit code, standard output, standard error)
fn trm(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trm"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// An official checkpoint, `official.pt`, with weights of no use.
fn write_checkpoint(folder: &Path) {
    let config =
        Config { hidden_size: 16, l_layers: 1, mlp_width: 4, puzzle_emb_ndim: 16, ..Config::default() };
    let mut params = trm::network::Weights::zeros(&Network::layout(&config));
    for tensor in params.tensors_mut() {
        tensor.data.iter_mut().enumerate().for_each(|(i, value)| *value = ((i * i) % 7) as f32 / 7.0 - 0.4);
    }
    let model = params.state_dict();
    let config = Settings { model: config, ..Settings::default() };
    let checkpoint = Checkpoint { model, config, optimizer: None, history: None, training: None };
    checkpoint.write(&folder.join("official.pt")).unwrap();
}

#[test]
fn an_official_checkpoint_is_described_converted_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_checkpoint(folder);
    let convert =
        ["convert", "--set", "num_heads=2", "--set", "halt_max_steps=3", "official.pt", "model.safetensors"];
    assert_eq!(trm(folder, &convert).0, 0);
    let (_, info, _) = trm(folder, &["info", "model.safetensors"]);
    for word in ["the paper's model, with rotary attention", "num_heads = 2", "inner.q_head.bias"] {
        assert!(info.contains(word), "{info}");
    }
    let (_, json, _) = trm(folder, &["info", "--json", "official.pt"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["config"]["num_heads"], &json["config"]["L_layers"]), (&8.into(), &1.into()));

    let solve = ["solve", "--model", "model.safetensors", "--trace", "--format", "json", PUZZLE];
    let (code, answer, message) = trm(folder, &solve);
    assert_eq!(code, 1, "weights of no use solve nothing: {message}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let events = answer["trace"]["events"].as_array().unwrap();
    let judged: Vec<bool> = events.iter().filter_map(|event| event["judged"].as_bool()).collect();
    assert_eq!(judged, [false, false, true].repeat(3), "three segments of three outer cycles");
    assert_eq!((&events.last().unwrap()["board"], &answer["solved"]), (&answer["digits"], &false.into()));
    // With a single blank the answer may be right: the verdict and the exit code agree.
    let full = SOLUTION.replacen('5', ".", 1);
    let (code, answer, _) = trm(folder, &["solve", "--model", "official.pt", "--format", "line", &full]);
    assert!(answer.contains(if code == 0 { " solved" } else { " unsolved" }), "{answer}");

    std::fs::write(
        folder.join("data.csv"),
        format!("quizzes,solutions\n{},{SOLUTION}\n", PUZZLE.replace('.', "0")),
    )
    .unwrap();
    let (code, table, message) = trm(folder, &["eval", "--model", "model.safetensors", "--data", "data.csv"]);
    assert!(code == 0 && table.contains("board accuracy"), "{table} {message}");
}

#[test]
fn settings_that_fit_no_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_checkpoint(folder.path());
    for (set, word) in [("num_heads=3", "num_heads"), ("heads=3", "heads"), ("num_heads", "key=value")] {
        let (code, _, message) =
            trm(folder.path(), &["convert", "--set", set, "official.pt", "model.safetensors"]);
        assert!(code == 2 && message.contains(word), "{message}");
    }
}

/// A training run of a second.
const TINY: &str = "train --preset paper-att --threads 2 --run run --set hidden_size=16 num_heads=2 L_layers=1 L_cycles=1 \
                    H_cycles=1 mlp_width=16 puzzle_emb_len=1 puzzle_emb_ndim=16 halt_max_steps=2 batch_size=8 steps=6 \
                    eval_every=3 generate_samples=40 generate_givens_min=60 generate_givens_max=70 holdout_rows=5";

#[test]
fn a_run_leaves_its_files_goes_on_and_its_model_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tiny: Vec<&str> = TINY.split_whitespace().collect();
    let (code, output, message) = trm(folder, &tiny);
    assert!(code == 0 && output.contains("held-out puzzles"), "{output} {message}");
    let history = std::fs::read_to_string(folder.join("run/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 2);
    let (code, _, message) = trm(folder, &tiny);
    assert!(code == 2 && message.contains("--resume"), "{message}");
    // Nothing is left to do, so only the evaluation comes again.
    let (code, resumed, message) = trm(folder, &["train", "--resume", "--run", "run"]);
    assert_eq!((code, resumed), (0, output), "{message}");

    let model = "run/trm_paper_production.safetensors";
    let (code, answer, message) = trm(folder, &["solve", "--model", model, "--max-steps", "1", PUZZLE]);
    assert!(code <= 1 && answer.contains("solved"), "{answer} {message}");
    let (code, _, message) = trm(folder, &["solve", "--model", model, "--restarts", "1", PUZZLE]);
    assert!(code == 2 && message.contains("--restarts"), "{message}");
}

#[test]
fn settings_of_a_run_are_checked_and_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "[training]\nlearning = 3").unwrap();
    for (arguments, word) in [
        ("train --preset paper-mlp", "--data"),
        ("train --preset paper-mlp --set lr=-1", "lr"),
        ("train --preset paper-att --set num_heads=7", "num_heads"),
        ("train --config wrong.toml", "learning"),
        ("train --preset paper-mlp --set generate_samples=5 batch_size=10000000", "memory"),
    ] {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let (code, _, message) = trm(folder.path(), &arguments);
        assert!(code == 2 && message.contains(word), "{arguments:?}: {message}");
    }
}
