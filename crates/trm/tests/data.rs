//! Puzzle files: every accepted form, and every refusal with its line.

use std::io::Write;
use std::path::Path;
use trm::data::{ReadOptions, read_puzzles, read_quizzes, write_csv};
use trm::parallel::Threads;
use trm::sudoku::{Generator, Puzzle};

const QUIZ: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const SOLUTION: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

fn read(path: &Path, text: &[u8]) -> Result<Vec<Puzzle>, String> {
    std::fs::write(path, text).unwrap();
    read_puzzles(path, &ReadOptions::default()).map(|d| d.puzzles).map_err(|e| e.to_string())
}

#[test]
fn every_accepted_form_gives_the_same_puzzle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("puzzles.csv");
    let zeros = QUIZ.replace('.', "0");
    let expected = read(&path, format!("quizzes,solutions\n{zeros},{SOLUTION}\n").as_bytes()).unwrap();
    assert_eq!(expected[0].quiz.to_line(), QUIZ);
    for text in [
        format!("puzzle,solution\r\n{QUIZ},{SOLUTION}\r\n"),
        format!("source,question,answer,rating\nx,{QUIZ},{SOLUTION},22"),
        format!("answer,question\n{SOLUTION},{}\n", QUIZ.replace('.', "_")),
        format!("\u{feff}quizzes,solutions\n{},{SOLUTION}\n", QUIZ.replace('.', " ")),
        format!("Quizzes , Solutions\n\n\"{zeros}\",{SOLUTION}\n\n"),
    ] {
        assert_eq!(read(&path, text.as_bytes()), Ok(expected.clone()), "{text}");
    }
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(format!("quizzes,solutions\n{zeros},{SOLUTION}\n").as_bytes()).unwrap();
    assert_eq!(read(&path, &gz.finish().unwrap()), Ok(expected));
}

#[test]
fn every_refusal_names_file_line_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.csv");
    let row =
        |quiz: &str, solution: &str| format!("quizzes,solutions\n{QUIZ},{SOLUTION}\n{quiz},{solution}\n");
    for (text, reason) in [
        (row(&QUIZ[1..], SOLUTION), "quiz: expected 81 cells, found 80"),
        (row(QUIZ, &format!("{SOLUTION}1")), "solution: expected 81 cells, found 82"),
        (row(&QUIZ.replace('5', "a"), SOLUTION), "quiz: character 'a' at position 1"),
        (row(QUIZ, &SOLUTION.replacen('5', "0", 1)), "the solution is blank in row 1, column 1"),
        (row(QUIZ, &SOLUTION.replacen('5', "3", 1)), "the solution has 3 twice"),
        (
            row(&QUIZ.replacen('5', "4", 1), SOLUTION),
            "row 1, column 1: the quiz gives 4 but the solution has 5",
        ),
        (format!("quizzes,solutions\n{QUIZ},{SOLUTION}\n{QUIZ}\n"), "the solution is missing"),
        (
            row(&format!("\"{QUIZ}"), SOLUTION) + &format!("{QUIZ},{SOLUTION}\n"),
            "a quotation mark opens here",
        ),
    ] {
        let error = read(&path, text.as_bytes()).unwrap_err();
        assert!(error.contains("bad.csv: line 3: ") && error.contains(reason), "{reason} is not in: {error}");
    }
    assert!(read(&path, b"one,two\n1,2\n").unwrap_err().contains("found `one,two`"));
    assert!(read(&path, b"").unwrap_err().contains("the file is empty"));
    assert!(read_puzzles(&folder.path().join("nowhere.csv"), &ReadOptions::default()).is_err());
}

#[test]
fn bad_rows_are_skipped_counted_and_listed_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.csv");
    let text =
        format!("quizzes,solutions\n{QUIZ},{SOLUTION}\nbad,{SOLUTION}\n{QUIZ},{SOLUTION}\n{QUIZ},bad\n");
    std::fs::write(&path, text).unwrap();
    let dataset =
        read_puzzles(&path, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }).unwrap();
    assert_eq!((dataset.puzzles.len(), dataset.skipped_count), (2, 2));
    let lines: Vec<u64> = dataset.skipped.iter().map(|e| e.line).collect();
    assert_eq!(lines, [3, 5]);
    let first = read_puzzles(&path, &ReadOptions { max_rows: Some(1), ..ReadOptions::default() }).unwrap();
    assert_eq!(first.puzzles.len(), 1, "reading stops before the bad row");
}

#[test]
fn puzzles_written_are_puzzles_read() {
    let folder = tempfile::tempdir().unwrap();
    let puzzles = Generator::new(3, 30..=40).generate_many(100, &Threads::new(2)).unwrap();
    for name in ["puzzles.csv", "puzzles.csv.gz"] {
        let path = folder.path().join(name);
        write_csv(&path, &puzzles).unwrap();
        assert_eq!(read_puzzles(&path, &ReadOptions::default()).unwrap().puzzles, puzzles, "{name}");
    }
    let compressed = std::fs::read(folder.path().join("puzzles.csv.gz")).unwrap();
    assert!(compressed.len() < 100 * 164 * 3 / 4 && compressed.starts_with(&[0x1f, 0x8b]));
}

#[test]
fn no_bytes_make_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noise.csv");
    let good = format!("quizzes,solutions\n{QUIZ},{SOLUTION}\n").repeat(3).into_bytes();
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..500 {
        let mut bytes = good.clone();
        for _ in 0..=random(20) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        bytes.truncate(random(bytes.len() + 1));
        let _ = read(&path, &bytes);
        let _ = read_quizzes(&path);
    }
}
