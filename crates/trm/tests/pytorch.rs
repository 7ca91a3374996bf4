//! Model files exchanged with a real PyTorch, both ways. Set TRM_TORCH_PYTHON to a Python that has torch and numpy;
//! without it these tests say so and pass.

use std::path::Path;
use std::process::Command;
use trm::checkpoint::{Checkpoint, Losses, ModelFile, OptimizerState, Training};
use trm::config::{Gates, NetworkConfig, Precision, TrmConfig, Update};
use trm::model::{Engine, Model, Network, Recording, Thinker};
use trm::network::Weights;
use trm::parallel::Threads;
use trm::solve::{Givens, solve};
use trm::sudoku::Grid;
use trm::tensor::StateDict;

const PUZZLE: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";

/// Runs interop.py; false if there is no PyTorch to run it with.
fn python(arguments: &[&Path]) -> bool {
    let Ok(python) = std::env::var("TRM_TORCH_PYTHON") else {
        eprintln!("SKIPPED: TRM_TORCH_PYTHON names no Python with torch and numpy");
        return false;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/interop.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn assert_close(ours: &[f32], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (a, b) in ours.iter().zip(theirs) {
        assert!((f64::from(*a) - b).abs() <= tolerance * largest, "{what}: {a} and {b}");
    }
}

fn logits(checkpoint: &Checkpoint) -> Vec<f32> {
    let config = TrmConfig {
        network: NetworkConfig { precision: Precision::F32, ..checkpoint.config.network.clone() },
        ..checkpoint.config.clone()
    };
    let threads = Threads::new(1);
    let model = Model::new(
        config.network.clone(),
        Weights::from_state_dict(&Network::layout(&config.network), checkpoint.model.clone()),
        &threads,
    );
    Engine::new(Recording::Nothing).logits(&model, Grid::parse(PUZZLE).unwrap().cells(), &threads)
}

#[test]
fn pytorch_loads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let config = TrmConfig {
        network: NetworkConfig {
            hidden_dim: 6,
            l_layers: 2,
            l_cycles: 3,
            h_cycles: 2,
            update: Update::Original,
            ..NetworkConfig::default()
        },
        ..TrmConfig::default()
    };
    let state = |seed| Network::first_weights(&config.network, seed).state_dict();
    let mut squares = state(3);
    squares.iter_mut().for_each(|(_, tensor)| tensor.data.iter_mut().for_each(|v| *v *= *v));
    let losses = Losses {
        train_losses: vec![2.0, 1.0 / 3.0],
        val_losses: vec![2.5, 0.4],
        val_accuracies: vec![0.1, 0.7],
    };
    let full = Checkpoint {
        model: state(1),
        config: config.clone(),
        optimizer: Some(OptimizerState {
            step: 77,
            exp_avg: state(2),
            exp_avg_sq: squares,
            lr: 1e-4,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.01,
        }),
        history: Some(losses.clone()),
        training: Some(Training { state_json: "{}".into(), ema: Some(state(4)), carry: None }),
    };
    full.write(&file("full.pt")).unwrap();
    let production = Checkpoint { optimizer: None, history: None, training: None, ..full.clone() };
    production.write(&file("production.pt")).unwrap();
    let documented = Checkpoint {
        config: TrmConfig {
            network: NetworkConfig { update: Update::Documented, ..config.network },
            ..config
        },
        ..production.clone()
    };
    documented.write(&file("documented.pt")).unwrap();
    let arguments = ["full.pt", "production.pt", "documented.pt", "out.json"].map(file);
    let mut all: Vec<&Path> = vec![Path::new("read")];
    all.extend(arguments.iter().map(|path| path.as_path()));
    if !python(&all) {
        return;
    }
    let result = json(&file("out.json"));
    assert_eq!(numbers(&result["steps"]), [77.0]);
    assert_eq!(numbers(&result["losses"][0]), losses.train_losses);
    for (name, tensor) in &full.optimizer.as_ref().unwrap().exp_avg {
        assert_close(&tensor.data, &numbers(&result["exp_avg"][name]), 0.0, name);
    }
    assert_close(
        &logits(&production),
        &numbers(&result["logits"]),
        1e-5,
        "logits of the original's inference",
    );
}

#[test]
fn what_pytorch_writes_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    if !python(&[Path::new("write"), folder.path()]) {
        return;
    }
    let read = |name: &str| Checkpoint::read(&folder.path().join(name));
    let expected = json(&folder.path().join("expected.json"));
    let assert_values = |state: &StateDict, tolerance: f64, what: &str| {
        for (name, tensor) in state {
            assert_close(
                &tensor.data,
                &numbers(&expected["values"][name]),
                tolerance,
                &format!("{what} {name}"),
            );
        }
    };
    let original = read("dataclass.pt").unwrap();
    let config = &original.config;
    assert_eq!(
        (
            config.network.hidden_dim,
            config.network.l_layers,
            config.network.h_cycles,
            config.network.l_cycles
        ),
        (4, 2, 2, 3)
    );
    assert_eq!(
        (config.network.update, config.training.lr, config.training.batch_size),
        (Update::Original, 3e-4, 32)
    );
    let history = original.history.as_ref().unwrap();
    assert_eq!((&history.train_losses, &history.val_losses), (&vec![2.0, 1.5], &vec![2.1, 1.6]));
    assert_values(&original.model, 0.0, "dataclass");
    assert_close(&logits(&original), &numbers(&expected["logits"]), 1e-5, "logits");
    let vector = read("vector_gate.pt").unwrap();
    assert_eq!((original.config.network.gates, vector.config.network.gates), (Gates::Scalar, Gates::Vector));
    assert_close(&logits(&vector), &numbers(&expected["logits"]), 1e-5, "logits with vector gates");
    // Half a unit in the last place of each type, relative to the largest value of a tensor.
    let cases = [
        ("double.pt", 0.0),
        ("legacy.pt", 0.0),
        ("parameters.pt", 0.0),
        ("views.pt", 0.0),
        ("half.pt", 6e-4),
        ("bfloat16.pt", 5e-3),
    ];
    for (name, tolerance) in cases {
        assert_values(&read(name).unwrap_or_else(|e| panic!("{e}")).model, tolerance, name);
    }
    for (name, reason) in [("scalar_gate.pt", "later revision"), ("bare.pt", "--set H_cycles=N")] {
        let error = read(name).unwrap_err().to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

/// Files of `make_checkpoints.py` whose weights are other ones on purpose, or none of the small model's.
const OTHER_WEIGHTS: [&str; 3] = ["k11b_", "k11c_", "k34"];
/// One of these words tells what helps.
const REMEDIES: [&str; 12] = [
    "--set",
    "torch.save(",
    "to_dense()",
    "unzip",
    "trm.crc32",
    "not part of the model",
    "holds NaN",
    "holds inf",
    "HRM",
    "another task",
    "damaged",
    "torch.jit.load",
];

#[test]
fn checkpoints_as_people_have_them_give_the_digits_of_pytorch_or_are_refused() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let script = above.map(|f| f.join("shared/cases/make_checkpoints.py")).find(|script| script.is_file());
    let (Some(script), Ok(python)) = (script, std::env::var("TRM_TORCH_PYTHON")) else {
        eprintln!("SKIPPED: no shared/cases/make_checkpoints.py, or no Python with torch");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let made = Command::new(python).arg(script).arg(folder.path()).arg(root).output().unwrap();
    if String::from_utf8_lossy(&made.stderr).contains("No module named 'safetensors'") {
        eprintln!("SKIPPED: this Python has no safetensors");
        return;
    }
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let expected = std::fs::read_to_string(folder.path().join("expected.txt")).unwrap();
    let puzzle = "004300209005009001070060043006002087190007400050083000600000105003508690042910300";
    let puzzle = Grid::parse(puzzle).unwrap();
    let (mut right, mut refused) = (0, 0);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with('k') || OTHER_WEIGHTS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        match ModelFile::read_noting(&path, &[]) {
            Ok((ModelFile::Trm(checkpoint), _)) => {
                let threads = Threads::new(1);
                let model = checkpoint.into_model(&threads);
                let budget = model.trained_budget();
                let answer = solve(&model, &[puzzle], Givens::Predicted, &budget, &threads);
                assert_eq!(answer[0].board.to_line(), expected.trim(), "{name}");
                right += 1;
            }
            // Models of the paper say what is assumed of them.
            Ok((_, assumed)) => assert!(name.starts_with("k33") && !assumed.is_empty(), "{name}"),
            Err(e) => {
                let message = e.to_string();
                assert!(REMEDIES.iter().any(|remedy| message.contains(remedy)), "{message}");
                refused += 1;
            }
        }
    }
    assert!(right > 25 && refused > 10, "{right} gave PyTorch's digits, {refused} were refused");
}
