//! A run folder belongs to one run at a time, of whichever kind; nothing of two runs is ever mixed.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs of a second of either kind, and the newest checkpoint of each.
const DOCUMENTED: (&str, &str) = (
    "train --threads 1 --set hidden_dim=8 L_layers=1 output_layers=1 L_cycles=1 H_cycles=1 batch_size=16 generate_samples=100 \
     generate_givens_min=60 generate_givens_max=70 holdout_rows=5 patience=0",
    "trm_sudoku_last.pt",
);
const PAPER: (&str, &str) = (
    "train --preset paper-att --threads 1 --set hidden_size=16 num_heads=2 L_layers=1 L_cycles=1 H_cycles=1 mlp_width=16 \
     puzzle_emb_len=1 puzzle_emb_ndim=16 halt_max_steps=2 batch_size=8 eval_every=3 generate_samples=40 \
     generate_givens_min=60 generate_givens_max=70 holdout_rows=5",
    "trm_paper_last.safetensors",
);

/// How long a run is: as short as it gets, or far longer than any test.
fn length((arguments, _): (&str, &str), is_short: bool) -> &'static str {
    match (arguments.contains("paper"), is_short) {
        (false, true) => "epochs=1",
        (false, false) => "epochs=100000",
        (true, true) => "steps=6",
        (true, false) => "steps=10000000",
    }
}

fn command(folder: &Path, kind: (&str, &str), is_short: bool, more: &[&str]) -> Command {
    command_in(folder, "run", kind, is_short, more)
}

fn command_in(folder: &Path, run: &str, kind: (&str, &str), is_short: bool, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trm"));
    command.current_dir(folder).args(kind.0.split_whitespace()).arg(length(kind, is_short));
    command.args(["--run", run]).args(more).stdin(Stdio::null());
    command
}

fn train(folder: &Path, kind: (&str, &str), more: &[&str]) -> Output {
    command(folder, kind, true, more).output().unwrap()
}

fn resume(folder: &Path) -> Output {
    let arguments = ["train", "--resume", "--run", "run", "--threads", "1", "--quiet"];
    Command::new(env!("CARGO_BIN_EXE_trm")).current_dir(folder).args(arguments).output().unwrap()
}

/// A run that goes on until it is killed, and has saved its first checkpoint.
fn long_run(folder: &Path, kind: (&str, &str)) -> Child {
    let mut command = command(folder, kind, false, &["--quiet"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (last, started) = (folder.join("run").join(kind.1), Instant::now());
    while !last.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended");
        assert!(started.elapsed() < Duration::from_secs(120), "no checkpoint after two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_refused(output: &Output, parts: &[&str]) {
    let message = message(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", message(output));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("run")).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_second_run_is_refused_while_the_first_goes_on_and_a_killed_one_blocks_nothing() {
    for (kind, other) in [(DOCUMENTED, PAPER), (PAPER, DOCUMENTED)] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let child = long_run(folder, kind);
        let holder = format!("process {}", child.id());
        let in_use = ["another run is going on in this folder", &holder];
        for more in [&[][..], &["--overwrite"]] {
            assert_refused(&train(folder, kind, more), &in_use);
            assert_refused(&train(folder, other, more), &in_use);
        }
        assert_refused(&resume(folder), &in_use);
        kill(child);
        // A run that is resumed holds the folder too.
        let mut resumed = Command::new(env!("CARGO_BIN_EXE_trm"));
        let resumed = resumed.current_dir(folder).args(["train", "--resume", "--run", "run", "--quiet"]);
        let mut resumed = resumed.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        let holder = format!("process {}", resumed.id());
        while std::fs::read_to_string(folder.join("run/run.lock")).unwrap() != holder {
            assert!(resumed.try_wait().unwrap().is_none(), "a killed run is resumed");
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_refused(&resume(folder), &["another run is going on in this folder", &holder]);
        kill(resumed);
        assert_refused(&train(folder, kind, &[]), &["holds a run already", "--resume", "--overwrite"]);
        assert_success(&train(folder, kind, &["--overwrite", "--quiet"]));
    }
}

#[test]
fn the_other_kind_is_refused_and_overwriting_leaves_nothing_stale() {
    for (kind, other) in [(DOCUMENTED, PAPER), (PAPER, DOCUMENTED)] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_success(&train(folder, kind, &["--quiet"]));
        assert_refused(&train(folder, other, &[]), &["holds a run already", "--resume", "--overwrite"]);
        let foreign = ["notes.txt", "model.pt", ".trm-notes", "trm_sudoku_last.pt.bak"];
        for name in foreign.iter().chain(&[".trm-aB3xY9"]) {
            std::fs::write(folder.join("run").join(name), "mine").unwrap();
        }
        assert_success(&train(folder, other, &["--overwrite", "--quiet"]));
        let names = names(folder);
        assert!(foreign.iter().all(|name| names.contains(&name.to_string())), "{names:?}");
        let of_runs = names.iter().filter(|name| !foreign.contains(&name.as_str())).map(String::as_str);
        let mine: &[&str] = match other == PAPER {
            true => &[
                "config.toml",
                "history.jsonl",
                "holdout.json",
                "run.lock",
                "training_history.png",
                "training_history.svg",
                PAPER.1,
                "trm_paper_production.safetensors",
            ],
            false => &[
                "config.toml",
                "history.jsonl",
                "holdout.json",
                "run.lock",
                "training_history.png",
                "training_history.svg",
                "trm_sudoku_best.pt",
                DOCUMENTED.1,
                "trm_sudoku_production.pt",
            ],
        };
        assert!(of_runs.eq(mine.iter().copied()), "{names:?}");
        assert_success(&resume(folder));
    }
}

#[test]
fn every_file_of_a_run_alone_is_enough_to_refuse_a_new_one() {
    for name in [
        "trm_sudoku_last.pt",
        "trm_sudoku_best.pt",
        "trm_sudoku_production.pt",
        "trm_paper_last.safetensors",
        "trm_paper_production.safetensors",
        "config.toml",
        "history.jsonl",
        "holdout.json",
        "training_history.png",
        "training_history.svg",
        ".trm-aB3xY9",
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        std::fs::write(folder.path().join("run").join(name), "old").unwrap();
        for kind in [DOCUMENTED, PAPER] {
            assert_refused(&train(folder.path(), kind, &[]), &[name, "--overwrite"]);
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("run").join(name)).unwrap(), "old");
    }
}

#[test]
fn a_folder_with_files_of_both_kinds_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_success(&train(folder, DOCUMENTED, &["--quiet"]));
    std::fs::write(folder.join("run").join(PAPER.1), "old").unwrap();
    assert_refused(&resume(folder), &["of different kinds", DOCUMENTED.1, PAPER.1, "Move", "--overwrite"]);
    std::fs::remove_file(folder.join("run").join(PAPER.1)).unwrap();
    // Settings of the other kind tell of another run as well.
    let settings = std::fs::read_to_string(folder.join("run/config.toml")).unwrap();
    std::fs::write(folder.join("run/config.toml"), "[model]\n[training]\n").unwrap();
    assert_refused(&resume(folder), &["of different kinds", "config.toml"]);
    std::fs::write(folder.join("run/config.toml"), settings).unwrap();
    assert_success(&resume(folder));
}

#[test]
fn a_run_that_does_not_begin_leaves_the_earlier_one_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let without_data = |more: &[&str]| {
        let arguments = [&["train", "--data", "nowhere.csv", "--run", "run"], more].concat();
        Command::new(env!("CARGO_BIN_EXE_trm")).current_dir(folder).args(arguments).output().unwrap()
    };
    assert_refused(&without_data(&[]), &["nowhere.csv"]);
    assert!(!folder.join("run").exists(), "nothing was begun");
    assert_success(&train(folder, DOCUMENTED, &["--quiet"]));
    let before = (names(folder), std::fs::read(folder.join("run").join(DOCUMENTED.1)).unwrap());
    assert_refused(&without_data(&["--overwrite"]), &["nowhere.csv"]);
    assert_eq!(before, (names(folder), std::fs::read(folder.join("run").join(DOCUMENTED.1)).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused_before_any_work() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("file"), "no folder").unwrap();
    let assert_refused_at_once = |run: &str| {
        for kind in [DOCUMENTED, PAPER] {
            let output = command_in(folder, run, kind, true, &[]).output().unwrap();
            let message = message(&output);
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert!(message.contains(run) && !message.contains("generating"), "{message}");
        }
    };
    assert_refused_at_once("file/run");
    let run = folder.join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(run.join("probe"), "").is_ok() {
        eprintln!("SKIPPED: this user writes to read-only folders");
        return;
    }
    assert_refused_at_once("run");
}

#[test]
fn runs_of_both_kinds_are_compared_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_success(&train(folder, DOCUMENTED, &["--quiet"]));
    std::fs::rename(folder.join("run"), folder.join("documented")).unwrap();
    assert_success(&train(folder, PAPER, &["--quiet"]));
    let compare = |runs: &[&str]| {
        let arguments = [&["compare"], runs, &["--plot", "c.png"]].concat();
        let output =
            Command::new(env!("CARGO_BIN_EXE_trm")).current_dir(folder).args(arguments).output().unwrap();
        assert_success(&output);
        let svg = std::fs::read_to_string(folder.join("c.svg")).unwrap();
        (String::from_utf8(output.stdout).unwrap(), svg)
    };
    let (table, svg) = compare(&["documented", "run"]);
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() == 2 && rows[0].starts_with("| baseline | 1 | "), "{table}");
    assert!(rows[1].starts_with("| paper | 1 | ") && rows[1].contains('%'), "{table}");
    assert!(svg.contains("step") && !svg.contains("epoch"), "the axis counts steps");
    let (table, _) = compare(&["run"]);
    assert!(table.contains("| baseline | 1 | "), "{table}");
}
