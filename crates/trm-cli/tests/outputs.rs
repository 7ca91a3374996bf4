//! What commands write and to whom: files, devices, closed pipes and full disks; and the signals they hear.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const PUZZLE: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";

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

/// Runs a command that must be refused as wrong usage; its message.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    message
}

/// A folder with a model of seconds, `m.pt`, and the puzzles it was trained on, `d.csv`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    succeed(
        folder.path(),
        &["data", "generate", "-n", "40", "--givens", "50", "--seed", "3", "--out", "d.csv"],
    );
    let arguments = format!("{TRAIN} epochs=1 --quiet --run made");
    succeed(folder.path(), &arguments.split_whitespace().collect::<Vec<_>>());
    std::fs::copy(folder.path().join("made/trm_sudoku_production.pt"), folder.path().join("m.pt")).unwrap();
    folder
}

/// A run of seconds for each epoch, without its number of epochs.
const TRAIN: &str = "train --data d.csv --threads 1 --set hidden_dim=8 L_layers=1 L_cycles=1 H_cycles=1 batch_size=4 patience=0";

fn long_run(folder: &Path, more: &str) -> Command {
    let arguments = format!("{TRAIN} epochs=3000 {more} --run long");
    trm(folder, &arguments.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn what_cannot_be_written_is_told_before_the_work_and_what_is_read_is_not_overwritten() {
    let folder = folder();
    let path = folder.path();
    std::fs::write(path.join("p.txt"), format!("{PUZZLE}\n")).unwrap();
    let before = ["m.pt", "d.csv", "p.txt"].map(|name| std::fs::read(path.join(name)).unwrap());
    std::fs::hard_link(path.join("m.pt"), path.join("same.pt")).unwrap();
    for (arguments, part) in [
        ("solve p.txt --output no/a.txt", "no/a.txt: there is no folder no: make it with mkdir -p"),
        ("data generate -n 10000000 --out no/a.csv", "there is no folder no"),
        ("data harden p.txt -n 10 --out no/a.csv", "there is no folder no"),
        ("data complete p.txt --out no/a.csv", "there is no folder no"),
        ("convert m.pt no/m.safetensors", "there is no folder no"),
        ("compress m.pt no/m.safetensors --int8", "there is no folder no"),
        ("compress m.pt --sweep --data d.csv --plot no/p.png", "there is no folder no"),
        ("eval --data d.csv --plot no/p.png", "there is no folder no"),
        ("compare made --plot no/p.png", "there is no folder no"),
        ("bench --scaling --output no/p.md", "there is no folder no"),
        ("solve p.txt --output made", "it is a folder"),
        ("compress m.pt m.pt --int8", "written over m.pt, which is read"),
        ("compress m.pt ./same.pt --int8", "written over m.pt, which is read"),
        ("convert m.pt made/../m.pt", "written over m.pt, which is read"),
        ("data complete p.txt --out p.txt", "written over p.txt"),
        ("data harden p.txt -n 1 --out p.txt", "written over p.txt"),
        ("solve p.txt --output p.txt", "written over p.txt"),
        ("eval --data d.csv --plot p.pdf", "end in .png or .svg"),
        ("compare made --plot p", "end in .png or .svg"),
        ("data generate -n 1 --out a.json", "no .json"),
        ("data generate -n 1 --out a.parquet", "no .parquet"),
        ("data generate -n 1 --out a.csv.zip", "no .zip"),
        ("convert m.pt m.onnx", "no .onnx"),
        ("solve p.txt --output a.json", "no .json"),
        ("solve p.txt --output a.csv", "no .csv"),
    ] {
        let message = refused(path, &arguments.split_whitespace().collect::<Vec<_>>());
        assert!(message.contains(part), "{arguments}: {message}");
    }
    let after = ["m.pt", "d.csv", "p.txt"].map(|name| std::fs::read(path.join(name)).unwrap());
    assert!(before == after);
    let names = std::fs::read_dir(path).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.starts_with(".trm-")));
}

#[test]
fn pictures_hold_what_their_endings_say() {
    let folder = folder();
    let path = folder.path();
    for name in ["a.svg", "b.png"] {
        succeed(path, &["eval", "--model", "m.pt", "--data", "d.csv", "--plot", name]);
    }
    for name in ["a", "b"] {
        let png = std::fs::read(path.join(name).with_extension("png")).unwrap();
        let svg = std::fs::read_to_string(path.join(name).with_extension("svg")).unwrap();
        assert!(png.starts_with(b"\x89PNG") && svg.contains("<svg"), "{name}");
    }
}

#[test]
fn every_bad_row_that_is_skipped_is_counted() {
    let folder = folder();
    let good = std::fs::read_to_string(folder.path().join("d.csv")).unwrap();
    std::fs::write(folder.path().join("bad.csv"), good + &"1,2\n".repeat(1234)).unwrap();
    let output = run(folder.path(), &["eval", "--model", "m.pt", "--data", "bad.csv", "--skip-bad-rows"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("skipped 1234 bad rows"), "{told}");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::time::{Duration, Instant};

    fn signal(child: &std::process::Child, name: &str) {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    }

    fn wait_for(file: &Path) {
        let started = Instant::now();
        while !file.exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "{} does not appear", file.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn devices_pipes_and_links_stay_what_they_are() {
        let folder = folder();
        let path = folder.path();
        symlink("/dev/null", path.join("null")).unwrap();
        symlink("target.csv", path.join("link.csv")).unwrap();
        succeed(path, &["data", "generate", "-n", "3", "--out", "null"]);
        succeed(path, &["convert", "m.pt", "null"]);
        succeed(path, &["data", "generate", "-n", "3", "--out", "link.csv"]);
        assert!(std::fs::metadata(path.join("null")).unwrap().file_type().is_char_device());
        assert!(path.join("link.csv").is_symlink());
        let written = std::fs::read_to_string(path.join("target.csv")).unwrap();
        assert_eq!(written.lines().count(), 4);
        let printed = succeed(path, &["data", "generate", "-n", "3", "--out", "/dev/stdout"]);
        assert!(printed.starts_with(&written), "{printed}");
    }

    #[test]
    fn a_run_whose_standard_error_is_closed_or_full_goes_on() {
        let folder = folder();
        let path = folder.path();
        for full in [false, true] {
            let name = format!("run-{full}");
            let arguments = format!("{TRAIN} epochs=30 --run {name}");
            let mut command = trm(path, &arguments.split_whitespace().collect::<Vec<_>>());
            command.stdout(Stdio::null());
            if full {
                let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { continue };
                command.stderr(full);
            } else {
                command.stderr(Stdio::piped());
            }
            let mut child = command.spawn().unwrap();
            drop(child.stderr.take());
            assert_eq!(child.wait().unwrap().code(), Some(0), "full {full}");
            let history = std::fs::read_to_string(path.join(name).join("history.jsonl")).unwrap();
            assert_eq!(history.lines().count(), 30);
        }
    }

    #[test]
    fn a_run_whose_standard_output_nobody_reads_stops_saved_and_says_so() {
        let folder = folder();
        let path = folder.path();
        let mut child =
            long_run(path, "--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..3 {
            lines.read_line(&mut String::new()).unwrap();
        }
        drop(lines);
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{told}");
        assert!(told.contains("stopped with everything saved") && !told.contains("panicked"), "{told}");
        succeed(path, &["info", "long/trm_sudoku_last.pt"]);
    }

    #[test]
    fn signals_that_were_ignored_at_the_start_stay_ignored() {
        let folder = folder();
        let path = folder.path();
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_trm");
        let line = format!("trap '' HUP; exec {program} {TRAIN} epochs=3000 --run long");
        let mut child = command
            .args(["-c", &line])
            .current_dir(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let last = path.join("long/trm_sudoku_last.pt");
        wait_for(&last);
        signal(&child, "-HUP");
        std::thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none(), "SIGHUP is ignored");
        signal(&child, "-TERM");
        assert_eq!(child.wait().unwrap().code(), Some(130));

        // Where it is not ignored it stops the run, saved; and a quiet run says nothing of it.
        std::fs::remove_dir_all(path.join("long")).unwrap();
        let mut child =
            long_run(path, "--quiet").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&last);
        signal(&child, "-HUP");
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(130), "trm: interrupted\n"));
        succeed(path, &["info", "long/trm_sudoku_last.pt"]);
    }

    #[test]
    fn what_a_killed_run_leaves_is_removed_by_the_next() {
        let folder = folder();
        let path = folder.path();
        std::fs::write(path.join(".trm-a1B2c3"), b"half a checkpoint").unwrap();
        succeed(path, &["data", "generate", "-n", "3", "--out", "a.csv"]);
        assert!(!path.join(".trm-a1B2c3").exists());
    }
}
