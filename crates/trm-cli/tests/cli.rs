//! The program as a person runs it: what it prints, what it leaves behind, and how it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const PUZZLE: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const SOLUTION: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

fn trm(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trm"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    trm(folder, arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail; its message.
fn fail(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    message
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Settings of a run of seconds: `epochs` epochs of 16 steps.
fn tiny(run: &str, epochs: usize) -> Vec<String> {
    let settings = format!(
        "train --run {run} --threads 2 --set hidden_dim=16 L_layers=1 output_layers=1 L_cycles=2 H_cycles=2 \
         batch_size=16 epochs={epochs} generate_samples=300 generate_givens_min=60 generate_givens_max=70 \
         holdout_rows=20 augment=true lr=1e-2 gate_init=0.3 ema=0.9 patience=0"
    );
    settings.split_whitespace().map(str::to_string).collect()
}

fn as_strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn model_bytes(folder: &Path, run: &str) -> Vec<u8> {
    let (last, model) = (format!("{run}/trm_sudoku_last.pt"), format!("{run}/model.pt"));
    succeed(folder, &["convert", "--production", &last, &model]);
    std::fs::read(folder.join(model)).unwrap()
}

#[test]
fn bench_measures_what_is_asked_for_next_to_the_peak() {
    let folder = folder();
    let small = ["--set", "hidden_dim=32", "l_cycles=2"];
    let arguments =
        ["bench", "--seconds", "0", "--batch-sizes", "8", "--inference-batch", "8", "--threads", "2"];
    let text = succeed(folder.path(), &[&arguments[..], &small].concat());
    for part in [
        "products from registers, f32",
        "reading DRAM",
        "training, batch 8",
        "inference, batch 8",
        "one puzzle",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let parts = ["--json", "--parts", "training", "phases"];
    let text = succeed(folder.path(), &[&arguments[..], &parts, &small].concat());
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(report["training"][0]["samples_per_s"].as_f64().unwrap() > 0.0);
    assert!(report["phases"][0]["shares"].as_array().unwrap().len() > 5);
    assert!(report.get("latency").is_none() && report.get("machine").is_none());
}

#[test]
fn bench_measures_the_papers_model() {
    let sizes = "hidden_size=16 num_heads=2 mlp_width=24 mlp_t_width=20 puzzle_emb_ndim=16";
    let arguments =
        "bench --preset paper-mlp --seconds 0 --batch-sizes 4 --inference-batch 4 --threads 2 --json";
    let arguments: Vec<&str> = arguments.split(' ').chain(["--set"]).chain(sizes.split(' ')).collect();
    let report: serde_json::Value = serde_json::from_str(&succeed(folder().path(), &arguments)).unwrap();
    assert!(report["training"][0]["samples_per_s"].as_f64().unwrap() > 0.0);
    assert!(report["latency"].is_object() && report["inference"].is_object());
}

#[test]
fn an_instruction_set_that_the_cpu_lacks_is_refused_with_those_it_has() {
    let folder = folder();
    let output = trm(folder.path(), &["solve", PUZZLE]).env("TRM_LEVEL", "avx1024").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("TRM_LEVEL is `avx1024`") && message.contains("portable"), "{message}");
    let output = trm(folder.path(), &["solve", PUZZLE]).env("TRM_LEVEL", "portable").output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_run_leaves_every_promised_file_and_its_model_can_be_used() {
    let folder = folder();
    let output = succeed(folder.path(), &as_strs(&tiny("run", 2)));
    assert!(output.contains("held-out puzzles") && output.contains("blank accuracy"), "{output}");
    assert!(output.contains("unseen puzzles are solved"), "{output}");
    for file in [
        "trm_sudoku_best.pt",
        "trm_sudoku_last.pt",
        "trm_sudoku_production.pt",
        "history.jsonl",
        "config.toml",
        "training_history.png",
        "training_history.svg",
    ] {
        assert!(folder.path().join("run").join(file).metadata().unwrap().len() > 0, "{file}");
    }
    let history = std::fs::read_to_string(folder.path().join("run/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 2);
    let model = "run/trm_sudoku_production.pt";
    let info = succeed(folder.path(), &["info", model]);
    assert!(info.contains("production") && info.contains("latent_layers.0.net.4.weight"), "{info}");

    // The settings that a run wrote down make the same run again.
    succeed(
        folder.path(),
        &["train", "--config", "run/config.toml", "--run", "again", "--threads", "1", "--quiet"],
    );
    assert_eq!(model_bytes(folder.path(), "run"), model_bytes(folder.path(), "again"));
}

#[test]
fn a_run_killed_at_any_moment_and_resumed_ends_with_the_same_weights() {
    let folder = folder();
    succeed(folder.path(), &as_strs(&tiny("whole", 6)));
    let whole = model_bytes(folder.path(), "whole");
    for (attempt, milliseconds) in [150, 400, 700].into_iter().enumerate() {
        let name = format!("killed{attempt}");
        let mut child = trm(folder.path(), &as_strs(&tiny(&name, 6)))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let last = folder.path().join(&name).join("trm_sudoku_last.pt");
        // Killed at some moment after the first checkpoint, perhaps while another is being written.
        while !last.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        succeed(folder.path(), &["info", last.to_str().unwrap()]);
        succeed(folder.path(), &["train", "--resume", "--run", &name, "--quiet", "--threads", "1"]);
        assert!(whole == model_bytes(folder.path(), &name), "killed after {milliseconds} ms");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_resuming_ends_with_the_same_weights() {
    let folder = folder();
    succeed(folder.path(), &as_strs(&tiny("whole", 40)));
    let mut child = trm(folder.path(), &as_strs(&tiny("stopped", 40)))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let last = folder.path().join("stopped/trm_sudoku_last.pt");
    while !last.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let info = succeed(folder.path(), &["info", "--json", last.to_str().unwrap()]);
    assert!(!info.contains("\"optimizer_step\":680"), "it stopped before its end: {info}");
    succeed(folder.path(), &["train", "--resume", "--run", "stopped", "--quiet"]);
    assert!(model_bytes(folder.path(), "whole") == model_bytes(folder.path(), "stopped"));
}

#[test]
fn json_is_one_object_a_line_and_quiet_is_silent() {
    let folder = folder();
    let mut arguments = tiny("json", 2);
    arguments.push("--json".into());
    let output = succeed(folder.path(), &as_strs(&arguments));
    let events: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["plan", "epoch", "epoch", "end"]);
    assert!(events[0]["memory_bytes"].as_u64().unwrap() > 0);
    let mut arguments = tiny("quiet", 1);
    arguments.push("--quiet".into());
    let output = run(folder.path(), &as_strs(&arguments));
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn vector_gates_are_told_with_their_range_and_a_run_with_them_is_resumed() {
    let folder = folder();
    let mut arguments = tiny("vector", 2);
    arguments.push("gates=vector".into());
    let told = String::from_utf8(run(folder.path(), &as_strs(&arguments)).stderr).unwrap();
    assert!(told.lines().any(|l| l.contains("gates 0.") && l.contains(" to 0.")), "{told}");
    let info = succeed(folder.path(), &["info", "vector/trm_sudoku_production.pt"]);
    let gates = info.lines().find(|line| line.starts_with("gates ")).unwrap();
    assert_eq!(gates.matches(" to ").count(), 2, "{gates}");
    assert!(info.contains("gates = \"vector\""), "{info}");
    let history = std::fs::read_to_string(folder.path().join("vector/history.jsonl")).unwrap();
    let record: serde_json::Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    let range = &record["latent_gate_range"];
    let mean = record["latent_gate"].as_f64().unwrap();
    assert!(range[0].as_f64().unwrap() < mean && mean < range[1].as_f64().unwrap(), "{record}");
    succeed(folder.path(), &["train", "--resume", "--run", "vector", "--quiet"]);
}

#[test]
fn penalties_and_conflicts_are_reported_in_training_and_evaluation() {
    let folder = folder();
    let mut arguments = tiny("run", 2);
    arguments.extend(["constraint_weight=0.5".into(), "constraint_schedule=linear".into()]);
    succeed(folder.path(), &as_strs(&arguments));
    let history = std::fs::read_to_string(folder.path().join("run/history.jsonl")).unwrap();
    let record: serde_json::Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    for key in ["train_constraint_loss", "val_constraint_loss", "val_conflicts_per_board"] {
        assert!(record[key].as_f64().unwrap() > 0.0, "{key}: {record}");
    }
    succeed(folder.path(), &["data", "generate", "-n", "20", "--givens", "60-70", "--out", "a.csv"]);
    let model = "run/trm_sudoku_production.pt";
    let table = succeed(folder.path(), &["eval", "--model", model, "--data", "a.csv"]);
    assert!(table.contains("constraint loss") && table.contains("cells a board"), "{table}");
    let json = succeed(folder.path(), &["eval", "--model", model, "--data", "a.csv", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["conflicts_per_board"].as_f64().unwrap() > 0.0 && json["constraint_loss"].is_number());
}

#[test]
fn a_curriculum_over_files_and_generated_puzzles_keeps_grades_beside_the_files() {
    let folder = folder();
    let path = folder.path();
    for name in ["a.csv", "b.csv.gz"] {
        succeed(path, &["data", "generate", "-n", "60", "--givens", "24-60", "--out", name]);
    }
    let train = |run: &str| {
        let arguments = format!(
            "train --run {run} --set data=a.csv,b.csv.gz generate_samples=40 generate_givens_min=60 \
             hidden_dim=4 L_layers=1 L_cycles=1 H_cycles=1 batch_size=16 epochs=4 curriculum=easy_to_hard \
             curriculum_stages=2 curriculum_until=1 generate_givens_max=70"
        );
        run_of(path, &arguments)
    };
    let told = train("first");
    assert!(told.contains("stage 1/2") && told.contains("stage 2/2"), "{told}");
    let grades = std::fs::read_to_string(path.join("a.csv.grades")).unwrap();
    assert!(
        grades.starts_with("trm grades 1: 60 puzzles") && path.join("b.csv.gz.grades").exists(),
        "{grades}"
    );
    train("second");
    assert!(model_bytes(path, "first") == model_bytes(path, "second"), "read back as computed");
    // Grades decide: with others the run is another.
    let (header, values) = grades.split_once('\n').unwrap();
    let turned: Vec<String> = (0..values.lines().count()).map(|i| (1000 - i).to_string()).collect();
    std::fs::write(path.join("a.csv.grades"), format!("{header}\n{}\n", turned.join("\n"))).unwrap();
    train("third");
    assert!(model_bytes(path, "first") != model_bytes(path, "third"));
}

/// What a command that must succeed tells on standard error.
fn run_of(folder: &Path, arguments: &str) -> String {
    let output = run(folder, &arguments.split_whitespace().collect::<Vec<_>>());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments}: {told}");
    told
}

#[test]
fn divergence_stops_with_advice_and_leaves_the_checkpoint() {
    let folder = folder();
    let mut arguments = tiny("diverging", 50);
    arguments.extend(["lr=1e30".into(), "weight_decay=0".into(), "warmup_steps=0".into()]);
    let message = fail(folder.path(), 1, &as_strs(&arguments));
    for part in ["training diverged", "at step", "gates: latent", "gradient norms before", "gate_init", "lr="]
    {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

#[test]
fn a_run_that_cannot_fit_into_memory_is_refused_with_the_numbers() {
    let folder = folder();
    let mut arguments = tiny("huge", 1);
    arguments.extend(["hidden_dim=30000".into(), "batch_size=256".into()]);
    let message = fail(folder.path(), 2, &as_strs(&arguments));
    assert!(message.contains("this run needs") && message.contains("available"), "{message}");
    assert!(!folder.path().join("huge").exists(), "nothing was begun");
}

#[test]
fn runs_are_compared_by_the_settings_in_which_they_differ() {
    let folder = folder();
    for (run, settings) in [("base-1", "seed=1"), ("base-2", "seed=2"), ("slow-1", "lr=1e-5")] {
        let mut arguments = tiny(run, 2);
        arguments.push(settings.into());
        succeed(folder.path(), &as_strs(&arguments));
    }
    let table = succeed(folder.path(), &["compare", "base-1", "base-2", "slow-1", "--plot", "c.png"]);
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() == 2 && rows[0].starts_with("| baseline | 2 |"), "{table}");
    assert!(rows[1].starts_with("| lr=1e-5 | 1 |") || rows[1].starts_with("| lr=0.00001 | 1 |"), "{table}");
    let held_out = std::fs::read_to_string(folder.path().join("slow-1/holdout.json")).unwrap();
    let held_out: serde_json::Value = serde_json::from_str(&held_out).unwrap();
    let json = succeed(folder.path(), &["compare", "base-1", "slow-1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["blank_accuracy"][0], held_out["blank_accuracy"]);
    assert!(std::fs::read(folder.path().join("c.png")).unwrap().starts_with(b"\x89PNG"));
    let svg = std::fs::read_to_string(folder.path().join("c.svg")).unwrap();
    assert!(svg.contains("3 runs") && svg.contains("baseline"));
    assert!(fail(folder.path(), 2, &["compare", "base-1", "nowhere"]).contains("nowhere"));
}

#[test]
fn an_older_run_is_not_overwritten_unasked() {
    let folder = folder();
    succeed(folder.path(), &as_strs(&tiny("run", 1)));
    let message = fail(folder.path(), 2, &as_strs(&tiny("run", 1)));
    assert!(message.contains("--resume") && message.contains("--overwrite"), "{message}");
    let message = fail(folder.path(), 2, &["train", "--resume", "--run", "nowhere"]);
    assert!(message.contains("no run to resume"), "{message}");
}

#[test]
fn a_run_is_not_resumed_on_other_data() {
    let folder = folder();
    let path = folder.path();
    succeed(path, &["data", "generate", "-n", "40", "--givens", "60-70", "--out", "a.csv"]);
    let start = "train --data a.csv --run run --set hidden_dim=4 L_layers=1 L_cycles=1 H_cycles=1 epochs=1";
    succeed(path, &start.split_whitespace().collect::<Vec<_>>());
    succeed(path, &["data", "generate", "-n", "50", "--givens", "60-70", "--out", "a.csv"]);
    let message = fail(path, 2, &["train", "--resume", "--run", "run"]);
    assert!(message.contains("[38, 2, 0]") && message.contains("[47, 3, 0]"), "{message}");
}

#[test]
fn bad_settings_and_bad_data_are_input_errors() {
    let folder = folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "bad.csv",
        &format!("quizzes,solutions\n{PUZZLE},{SOLUTION}\n{PUZZLE},{}\n", SOLUTION.replace('9', "8")),
    );
    write("header.csv", "a,b\n1,2\n");
    write("empty.txt", "# nothing\n");
    let twice = PUZZLE.replacen("53", "55", 1);
    for (arguments, part) in [
        (vec!["train", "--set", "hiden_dim=4"], "did you mean `hidden_dim`"),
        (vec!["train"], "no training puzzles"),
        (vec!["train", "--preset", "unknown"], "quick"),
        (vec!["train", "--data", "nowhere.csv"], "nowhere.csv"),
        (vec!["train", "--data", "bad.csv"], "bad.csv: line 3"),
        (vec!["train", "--data", "header.csv"], "quizzes,solutions"),
        (vec!["data", "check", "bad.csv"], "1 bad rows"),
        (vec!["solve", "--model", "nowhere.pt", PUZZLE], "nowhere.pt"),
        (vec!["info", "bad.csv"], "no PyTorch file"),
        (vec!["data", "generate", "--count", "1", "--givens", "5"], "17 to 81"),
        (vec!["data", "harden", "nowhere.txt", "-n", "1"], "nowhere.txt: no such file"),
        (vec!["data", "harden", "empty.txt", "-n", "1"], "empty.txt: no puzzles in it"),
        (
            vec!["data", "harden", &twice, "-n", "1"],
            "5 stands twice in row 1: in row 1, column 1 and in row 1, column 2",
        ),
        (vec!["data", "harden", PUZZLE, "-n", "1", "--exclude", "header.csv"], "header.csv: line 1"),
        (vec!["data", "harden", PUZZLE, "-n", "1", "--guesses", "9-5"], "30-40"),
        (vec!["frobnicate"], "frobnicate"),
    ] {
        let message = fail(folder.path(), 2, &arguments);
        assert!(message.contains(part), "{arguments:?}: {part} is not in: {message}");
    }
}

const MODEL: &str = "checkpoints/trm_sudoku_production.pt";

#[test]
fn the_model_that_comes_with_the_program_solves_and_never_passes_off_a_wrong_board() {
    let folder = folder();
    let solved = succeed(folder.path(), &["solve", PUZZLE, "--format", "line"]);
    assert_eq!(solved, format!("{SOLUTION} solved\n"));
    // Arto Inkala's puzzle of 2012: beyond the model alone, and solved by guessing.
    let hard = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";
    let alone = run(folder.path(), &["solve", hard, "--guesses", "0", "--format", "line"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(String::from_utf8(alone.stdout).unwrap().ends_with("unsolved\n"));
    let guessed = succeed(folder.path(), &["solve", hard, "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&guessed).unwrap();
    assert!(answer["solved"] == true && answer["guesses"].as_u64().unwrap() > 0);
    // The trace is of the trajectories that gave the answer, within the same budget.
    let traced = |more: &[&str]| {
        let output = run(folder.path(), &[&["solve", hard, "--trace", "--format", "json"], more].concat());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let events = answer["trace"]["events"].as_array().unwrap().clone();
        assert_eq!(events.last().unwrap()["board"], answer["digits"]);
        assert_eq!(events.last().unwrap()["solved"], answer["solved"]);
        let count = |name: &str| events.iter().filter(|e| e["event"] == name).count() as u64;
        assert_eq!(count("cycle"), answer["steps"].as_u64().unwrap());
        assert_eq!(count("guess_begun"), answer["guesses"].as_u64().unwrap());
        (answer, count("trajectory_begun"))
    };
    assert_eq!(traced(&["--max-steps", "2", "--guesses", "0"]).0["steps"], 2);
    assert_eq!(traced(&["--max-steps", "2", "--guesses", "0", "--restarts", "2"]).1, 3);
    let (with_guesses, _) = traced(&[]);
    assert_eq!((&with_guesses["digits"], &with_guesses["solved"]), (&answer["digits"], &true.into()));
    let text = succeed(folder.path(), &["solve", hard, "--trace"]);
    for part in [
        "the first trajectory ends after",
        "search 1 begins",
        "guess: r",
        "guess taken back: r",
        "hypotheses assumed: r",
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(succeed(folder.path(), &["info"]).contains("comes with trm"));
}

#[test]
fn a_verdict_does_not_depend_on_the_line_that_a_puzzle_stands_on() {
    let folder = folder();
    let hard = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";
    let other = "..53.....8......2..7..1.5..4....53...1..7...6..32...8..6.5....9..4....3......97..";
    let list = format!("{hard}\n{PUZZLE}\n{other}\n{hard}\n");
    std::fs::write(folder.path().join("list.txt"), list).unwrap();
    let answers = |arguments: &[&str]| -> Vec<String> {
        let budget = ["--guesses", "0", "--max-steps", "128", "--format", "json"];
        let output = run(folder.path(), &[&["solve"], arguments, &budget].concat());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
    };
    let listed = answers(&["--input", "list.txt"]);
    assert_eq!(listed[0], listed[3]);
    assert_eq!(answers(&["--threads", "1", other, hard]), [listed[2].clone(), listed[0].clone()]);
}

#[test]
fn answers_are_printed_in_every_form_and_the_exit_code_tells() {
    let folder = folder();
    succeed(folder.path(), &as_strs(&tiny("checkpoints", 1)));
    // A full board is its own solution; a real puzzle is beyond a model of two seconds.
    let output = run(folder.path(), &["solve", "--model", MODEL, PUZZLE, "--trace"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("unsolved") && text.contains('!') && text.contains("cycle 2:"), "{text}");
    let output = run(folder.path(), &["solve", "--model", MODEL, SOLUTION, "--format", "line"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{SOLUTION} solved\n"));
    assert_eq!(output.status.code(), Some(0));

    std::fs::write(folder.path().join("in.txt"), format!("# two\n{SOLUTION}\n{PUZZLE}\n")).unwrap();
    let arguments = [
        "solve", "--model", MODEL, "--input", "in.txt", "--output", "out.txt", "--format", "json", "--trace",
    ];
    assert_eq!(run(folder.path(), &arguments).status.code(), Some(1));
    let text = std::fs::read_to_string(folder.path().join("out.txt")).unwrap();
    let answers: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!((&answers[0]["solved"], &answers[1]["solved"]), (&true.into(), &false.into()));
    assert_eq!(answers[0]["digits"], SOLUTION);
    let probabilities = answers[1]["probabilities"].as_array().unwrap();
    assert_eq!((probabilities.len(), probabilities[80].as_array().unwrap().len()), (81, 9));
    assert!(!answers[1]["conflicts"].as_array().unwrap().is_empty());
    for answer in &answers {
        let events = answer["trace"]["events"].as_array().unwrap();
        assert!(events.iter().filter(|e| e["event"] == "cycle").count() == 2 || answer["solved"] == true);
        assert_eq!(events.last().unwrap()["board"], answer["digits"]);
    }
    assert!(fail(folder.path(), 2, &["solve", "12345"]).contains("expected 81 cells"));
}

#[test]
fn puzzles_are_generated_checked_graded_and_completed() {
    let folder = folder();
    let path = folder.path();
    succeed(path, &["data", "generate", "-n", "50", "--givens", "28-34", "--out", "a.csv.gz"]);
    let check = succeed(path, &["data", "check", "--unique", "a.csv.gz"]);
    assert!(check.contains("50 good rows, 0 bad rows") && check.contains("0 puzzles whose"), "{check}");
    assert!(succeed(path, &["data", "stats", "a.csv.gz"]).contains("puzzles      50"));
    assert!(succeed(path, &["data", "grade", "a.csv.gz"]).contains("50 puzzles"));
    assert_eq!(succeed(path, &["data", "grade", PUZZLE]), "0 guesses\n");
    std::fs::write(path.join("list.txt"), format!("{PUZZLE}\n{}\n", ".".repeat(81))).unwrap();
    let message = fail(path, 2, &["data", "complete", "list.txt", "--out", "done.csv"]);
    assert!(message.contains("line 2: several solutions"), "{message}");
    let done = std::fs::read_to_string(path.join("done.csv")).unwrap();
    assert_eq!(done, format!("quizzes,solutions\n{},{SOLUTION}\n", PUZZLE.replace('.', "0")));
}

/// Runs a command with a text on its standard input.
fn piped(folder: &Path, arguments: &[&str], text: &[u8]) -> Output {
    use std::io::Write;
    let mut command = trm(folder, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn commands_compose_through_standard_input_and_output() {
    let folder = folder();
    let path = folder.path();
    let generated = succeed(path, &["data", "generate", "-n", "5", "--givens", "36-40"]);
    for arguments in [
        &["solve", "--format", "line"][..],
        &["solve", "--format", "line", "-"],
        &["solve", "--format", "line", "--input", "-"],
        &["data", "complete"],
        &["data", "grade"],
        &["data", "check", "--unique"],
        &["data", "stats"],
        &["data", "harden", "-n", "1", "--guesses", "0-1000"],
        &["eval", "--data", "-"],
    ] {
        let output = piped(path, arguments, generated.as_bytes());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let completed = piped(path, &["data", "complete"], generated.as_bytes()).stdout;
    assert_eq!(String::from_utf8(completed).unwrap(), generated);
    // Lists, CSV files and grids serve as arguments.
    std::fs::write(path.join("a.csv"), &generated).unwrap();
    std::fs::write(path.join("a.txt"), format!("{PUZZLE} # easy\n")).unwrap();
    let solved = succeed(path, &["solve", "--format", "line", "a.csv", PUZZLE, "a.txt"]);
    assert_eq!((solved.lines().count(), solved.matches(SOLUTION).count()), (7, 2));
    let grid = PUZZLE.as_bytes().chunks(9).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    assert_eq!(succeed(path, &["solve", "--format", "line", &grid]), format!("{SOLUTION} solved\n"));
    let message = fail(path, 2, &["solve", "nowhere.txt"]);
    assert!(message.contains("nowhere.txt: no such file, and no puzzle"), "{message}");
}

#[test]
fn puzzles_without_a_solution_are_refused_at_once_and_those_with_several_told() {
    let folder = folder();
    let path = folder.path();
    let twice = PUZZLE.replacen("53", "55", 1);
    // No digit stands twice, but none is left for the last cell of row 1.
    let dead = format!("12345678.{}9{}", ".".repeat(8), ".".repeat(63));
    std::fs::write(path.join("bad.txt"), format!("{PUZZLE}\n{twice}\n")).unwrap();
    let stands = "5 stands twice in row 1: in row 1, column 1 and in row 1, column 2";
    let started = std::time::Instant::now();
    for (arguments, part) in [
        (["solve", &twice].to_vec(), stands),
        (["solve", "bad.txt"].to_vec(), "bad.txt: line 2: 5 stands twice"),
        (["solve", &dead].to_vec(), "no digit is left for row 1, column 9"),
        (["data", "grade", &twice].to_vec(), stands),
        (["data", "complete", "bad.txt"].to_vec(), stands),
    ] {
        let message = fail(path, 2, &arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
    assert!(started.elapsed() < Duration::from_secs(3), "nothing is searched for");
    let check = String::from_utf8(run(path, &["data", "check", "bad.txt"]).stdout).unwrap();
    assert!(check.contains("line 2: 5 stands twice") && check.contains("1 good rows, 1 bad rows"), "{check}");

    let open = SOLUTION.replace(['1', '2'], ".");
    let several = succeed(path, &["solve", &open, "--format", "line"]);
    assert!(several.ends_with(" solved, one of several solutions\n"), "{several}");
    assert!(succeed(path, &["solve", &open]).contains("the puzzle has several solutions"));
    let json: serde_json::Value =
        serde_json::from_str(&succeed(path, &["solve", &open, "--format", "json"])).unwrap();
    assert_eq!((&json["solved"], &json["unique"]), (&true.into(), &false.into()));
    assert!(fail(path, 2, &["data", "grade", &open]).contains("several solutions"));
    std::fs::write(path.join("open.txt"), format!("{open}\n")).unwrap();
    let check = run(path, &["data", "check", "--unique", "open.txt"]);
    assert_eq!(check.status.code(), Some(2));
    assert!(String::from_utf8(check.stdout).unwrap().contains("line 1: several solutions"));
}

#[test]
fn training_reads_files_with_commas_in_their_names() {
    let folder = folder();
    let path = folder.path();
    succeed(path, &["data", "generate", "-n", "20", "--givens", "60", "--out", "a,b.csv"]);
    succeed(path, &["data", "generate", "-n", "20", "--givens", "60", "--seed", "2", "--out", "c.csv"]);
    for (data, puzzles) in [("a,b.csv", 19), ("c.csv,a,b.csv", 38)] {
        let set = "--set hidden_dim=4 L_layers=1 L_cycles=1 H_cycles=1 epochs=1 holdout_rows=0 --overwrite";
        let arguments = ["train", "--json", "--data", data].into_iter().chain(set.split_whitespace());
        let output = succeed(path, &arguments.collect::<Vec<_>>());
        let plan: serde_json::Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
        assert_eq!(plan["training"], puzzles, "{plan}");
    }
}

#[test]
fn hard_puzzles_are_made_from_hard_ones_and_known_ones_are_left_out() {
    let folder = folder();
    let path = folder.path();
    // Arto Inkala's puzzle of 2012.
    let hard = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";
    std::fs::write(path.join("hard.txt"), format!("# to start from\n{hard}\n")).unwrap();
    let harden = |more: &str| {
        let arguments = format!("data harden hard.txt -n 20 --guesses 4-30 {more}");
        succeed(path, &arguments.split_whitespace().collect::<Vec<_>>())
    };
    let told = harden("--out a.csv.gz --threads 1");
    assert_eq!(told, "a.csv.gz: 20 puzzles\n");
    let check = succeed(path, &["data", "check", "--unique", "a.csv.gz"]);
    assert!(
        check.contains("20 good rows, 0 bad rows, 0 quizzes") && check.contains("0 puzzles whose"),
        "{check}"
    );
    let grades = succeed(path, &["data", "grade", "a.csv.gz", "--json"]);
    let grades: serde_json::Value = serde_json::from_str(&grades).unwrap();
    let grades = grades["guesses"].as_array().unwrap();
    assert!(grades.iter().all(|g| (4..=30).contains(&g.as_u64().unwrap())), "{grades:?}");

    let again = harden("--threads 3");
    let others = harden("--exclude a.csv.gz --exclude hard.txt");
    std::fs::write(path.join("again.csv"), &again).unwrap();
    let rows =
        |text: &str| text.lines().skip(1).map(str::to_string).collect::<std::collections::HashSet<_>>();
    assert_eq!((rows(&again).len(), rows(&others).len()), (20, 20));
    assert!(rows(&again).is_disjoint(&rows(&others)), "what is excluded is not made again");
    succeed(path, &["data", "generate", "-n", "1", "--givens", "81", "--out", "full.csv"]);
    let message = fail(path, 2, &["data", "harden", "full.csv", "-n", "1"]);
    assert!(message.contains("no new puzzle with 20 to 1000 guesses; give more or harder"), "{message}");
}

#[test]
fn published_puzzles_are_read_where_they_are_at_hand() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.exists() {
        eprintln!("SKIPPED: no folder {}", data.display());
        return;
    }
    let folder = folder();
    let file = |name: &str| data.join(name).display().to_string();
    let check =
        succeed(folder.path(), &["data", "check", &file("kaggle-15k.csv"), &file("extreme-train-1k.csv")]);
    assert!(check.contains("15000 good rows, 0 bad rows") && check.contains("1000 good rows"), "{check}");
    succeed(folder.path(), &["data", "complete", &file("clue17-5k.txt"), "--out", "clue17.csv"]);
    let stats = succeed(folder.path(), &["data", "stats", "clue17.csv"]);
    assert!(stats.contains("puzzles      5000") && stats.contains("17 to 17"), "{stats}");
}
