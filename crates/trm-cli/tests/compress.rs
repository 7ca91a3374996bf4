//! `trm compress` and pruning in `trm train`, as a person runs them.

use std::path::Path;
use std::process::{Command, Stdio};

const PUZZLE: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";

/// (exit code, standard output, standard error)
fn trm(folder: &Path, command_line: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trm"));
    command.current_dir(folder).args(command_line.split_whitespace()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn succeed(folder: &Path, command_line: &str) -> String {
    let (code, output, message) = trm(folder, command_line);
    assert_eq!(code, 0, "{command_line}: {message}");
    output
}

fn fail(folder: &Path, command_line: &str) -> String {
    let (code, _, message) = trm(folder, command_line);
    assert_eq!(code, 2, "{command_line}: {message}");
    message
}

/// A folder with `data.csv` and `run/trm_sudoku_production.pt`, called `model.pt` below.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    succeed(path, "data generate -n 300 --givens 60-70 --out data.csv");
    succeed(
        path,
        "train --data data.csv --run run --quiet --set hidden_dim=32 L_layers=1 output_layers=1 L_cycles=2 H_cycles=2 \
         epochs=2 lr=1e-2 gate_init=0.3",
    );
    std::fs::copy(path.join("run/trm_sudoku_production.pt"), path.join("model.pt")).unwrap();
    folder
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_model_is_quantised_pruned_measured_and_used() {
    let folder = trained();
    let path = folder.path();
    let original =
        json(&succeed(path, "eval --model model.pt --data data.csv --json"))["cell_accuracy"].clone();
    for (options, format) in [
        ("--int8", "int8"),
        ("--int8 --calibrate data.csv --static", "int8"),
        ("--int4 --group 16 --calibrate data.csv", "int4/16"),
        ("--prune 2:4 --int8", "int8"),
        ("--prune unstructured --sparsity 0.9", "f32"),
        ("--prune structured --sparsity 0.25 --int4", "int4/64"),
    ] {
        let measure = "--data data.csv --repeats 1 --batch-size 8";
        let report =
            json(&succeed(path, &format!("compress model.pt small.safetensors {options} {measure} --json")));
        assert!(report["bytes"].as_u64() < report["f32_bytes"].as_u64(), "{report}");
        assert_eq!(report["accuracy"]["cells"][0], original);
        assert!(report["speed"]["latency_ms"][1].as_f64().unwrap() > 0.0);
        let accuracy = json(&succeed(path, "eval --model small.safetensors --data data.csv --json"));
        assert_eq!(report["accuracy"]["cells"][1], accuracy["cell_accuracy"], "{options}");
        let info = succeed(path, "info small.safetensors");
        let line = info.lines().find(|line| line.starts_with("latent_layers.0.net.1.weight")).unwrap();
        assert!(line.contains(format), "{line}");
        if ["2:4", "unstructured"].iter().any(|kind| options.contains(kind)) {
            assert!(info.contains("are zero"), "{info}");
        }
        let (code, answer, message) =
            trm(path, &format!("solve --model small.safetensors --format line {PUZZLE}"));
        assert!(code == 1 && answer.contains("unsolved"), "a tiny model solves nothing: {message}");
    }
    let text =
        succeed(path, "compress model.pt small.safetensors --int8 --data data.csv --last 50 --repeats 1");
    for word in
        ["size", "x smaller", "samples/s, batch 256", "one puzzle", "blank cells, 50 puzzles", "points"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_quantised_model_gives_the_same_answers_at_every_level() {
    let folder = trained();
    let path = folder.path();
    for options in ["--int8", "--int4 --group 16"] {
        succeed(path, &format!("compress model.pt small.safetensors {options} --repeats 0"));
        let answer = |level: trm::Level| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_trm"));
            let eval =
                ["eval", "--model", "small.safetensors", "--data", "data.csv", "--last", "20", "--json"];
            let output =
                command.current_dir(path).env("TRM_LEVEL", level.name()).args(eval).output().unwrap();
            json(&String::from_utf8(output.stdout).unwrap())["loss"].as_f64().unwrap()
        };
        let losses: Vec<f64> = trm::Level::available().map(answer).collect();
        // The read-out is an f32 product, whose sums may be formed in another order.
        assert!(losses.iter().all(|loss| (loss - losses[0]).abs() < 1e-5), "{options}: {losses:?}");
    }
}

#[test]
fn the_shipped_kind_of_model_is_compressed_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../trm/weights/sudoku.safetensors");
    succeed(path, &format!("compress {shipped} small.safetensors --int8 --repeats 0"));
    let answer = succeed(path, &format!("solve --model small.safetensors --format line {PUZZLE}"));
    assert!(answer.contains(" solved"), "{answer}");
}

#[test]
fn quantised_files_are_refused_where_they_cannot_serve() {
    let folder = trained();
    let path = folder.path();
    succeed(path, "compress model.pt small.safetensors --int8 --repeats 0");
    let message = fail(path, "train --init small.safetensors --data data.csv --run other");
    assert!(message.contains("quantised") && message.contains("not be trained"), "{message}");
    let message = fail(path, "compress small.safetensors smaller.safetensors --int4");
    assert!(message.contains("quantised already"), "{message}");
    let (code, _, message) = trm(path, "convert small.safetensors small.pt");
    assert!(code == 1 && message.contains(".safetensors"), "{message}");
    succeed(path, "convert small.safetensors copy.safetensors");
    assert_eq!(
        std::fs::read(path.join("small.safetensors")).unwrap(),
        std::fs::read(path.join("copy.safetensors")).unwrap()
    );
}

#[test]
fn wrong_wishes_are_told_apart() {
    let folder = trained();
    for (options, word) in [
        ("small.safetensors", "say what to do"),
        ("small.safetensors --prune some", "no kind of pruning"),
        ("small.safetensors --prune 2:4 --sparsity 0.7", "two of four"),
        ("small.safetensors --prune structured --sparsity 1", "0.99"),
        ("small.safetensors --int4 --group 12", "multiple of 8"),
        ("small.safetensors --int8 --int4", "cannot be used with"),
        ("small.safetensors --int8 --static", "--calibrate"),
        ("--int8", "OUTPUT"),
        ("--sweep", "--data"),
    ] {
        let message = fail(folder.path(), &format!("compress model.pt {options}"));
        assert!(message.contains(word), "{options}: {message}");
    }
}

#[test]
fn a_sweep_is_a_table_and_a_picture() {
    let folder = trained();
    let path = folder.path();
    let table = succeed(path, "compress model.pt --sweep --data data.csv --last 20 --plot sparsity.png");
    assert_eq!(table.lines().count(), 1 + 10 + 1 + 10, "{table}");
    assert!(std::fs::read(path.join("sparsity.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(std::fs::read_to_string(path.join("sparsity.svg")).unwrap().contains("structured"));
    let report = json(&succeed(path, "compress model.pt --sweep --data data.csv --last 20 --json"));
    assert_eq!(report["points"].as_array().unwrap().len(), 21);
}

#[test]
fn training_goes_on_from_a_model_and_prunes_it() {
    let folder = trained();
    let path = folder.path();
    succeed(
        path,
        "train --init model.pt --prune 2:4 --data data.csv --run sparse --quiet --set epochs=2 lr=1e-3",
    );
    let info = json(&succeed(path, "info sparse/trm_sudoku_production.pt --json"));
    assert_eq!((&info["config"]["hidden_dim"], &info["config"]["prune"]), (&32.into(), &"2:4".into()));
    let zeros = info["parameters"].as_u64().unwrap() - info["nonzero"].as_u64().unwrap();
    // Half of the two matrices of both blocks.
    assert_eq!(zeros, 2 * 4 * 32 * 32);
    let before = json(&succeed(path, "eval --model model.pt --data data.csv --json"));
    let after = json(&succeed(path, "eval --model sparse/trm_sudoku_production.pt --data data.csv --json"));
    let accuracy = |report: &serde_json::Value| report["cell_accuracy"].as_f64().unwrap();
    assert!(accuracy(&after) > accuracy(&before) - 0.05, "{before} and {after}");
    let message = fail(path, "train --init model.pt --data data.csv --run other --set hidden_dim=16");
    assert!(message.contains("other sizes"), "{message}");
    let message = fail(path, "train --init model.pt --data data.csv --run other --prune 2:4 --sparsity 0.6");
    assert!(message.contains("sparsity"), "{message}");
}
