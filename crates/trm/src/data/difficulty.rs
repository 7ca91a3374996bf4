//! How hard puzzles are, for training that goes by it; grades are kept beside the file whose puzzles they are of.

use crate::atomic_file::write_atomically;
use crate::config::CurriculumBy;
use crate::parallel::Threads;
use crate::sudoku::{Puzzle, grade};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Puzzles that are one piece of work.
const PIECE: usize = 256;

/// The difficulty of each puzzle: guesses of the exact solver (the most there are for a puzzle without exactly one
/// solution), or cells that are not given.
pub fn difficulties(puzzles: &[Puzzle], by: CurriculumBy, threads: &Threads) -> Vec<u32> {
    let of = |puzzle: &Puzzle| match by {
        CurriculumBy::Guesses => grade(&puzzle.quiz).unwrap_or(u32::MAX),
        CurriculumBy::Givens => 81 - puzzle.quiz.givens() as u32,
    };
    let mut all = vec![0; puzzles.len()];
    threads.for_each(
        puzzles.chunks(PIECE).zip(all.chunks_mut(PIECE)).collect(),
        |(puzzles, all): (&[Puzzle], &mut [u32])| {
            all.iter_mut().zip(puzzles).for_each(|(difficulty, puzzle)| *difficulty = of(puzzle));
        },
    );
    all
}

/// The file in which grades of the puzzles of `data` are kept.
pub fn grades_path(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".grades");
    name.into()
}

/// The guesses of each puzzle of the file `data`. They are taken from the file beside `data` if that was made for
/// these puzzles; otherwise they are computed and written there. The second value says why if they could not be
/// written.
pub fn cached_grades(data: &Path, puzzles: &[Puzzle], threads: &Threads) -> (Vec<u32>, Option<String>) {
    if data == Path::new("-") {
        return (difficulties(puzzles, CurriculumBy::Guesses, threads), None);
    }
    let (path, header) = (grades_path(data), header(puzzles));
    if let Some(grades) = std::fs::read_to_string(&path).ok().and_then(|text| parse(&text, &header)) {
        return (grades, None);
    }
    let grades = difficulties(puzzles, CurriculumBy::Guesses, threads);
    let written = write_atomically(&path, |file| write(file, &header, &grades));
    let note =
        written.err().map(|e| format!("{}: {e}; grades will be computed again next time", path.display()));
    (grades, note)
}

/// First line of the file: what it is, the number of puzzles, and a checksum of their digits.
fn header(puzzles: &[Puzzle]) -> String {
    let mut crc = crc32fast::Hasher::new();
    puzzles.iter().for_each(|puzzle| crc.update(puzzle.quiz.cells()));
    format!("trm grades 1: {} puzzles, crc32 {:08x}", puzzles.len(), crc.finalize())
}

fn parse(text: &str, header: &str) -> Option<Vec<u32>> {
    let mut lines = text.lines();
    // A file that was cut short has fewer grades than its header says, or ends within the last.
    (lines.next()? == header && text.ends_with('\n')).then_some(())?;
    let grades: Vec<u32> = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
    header.starts_with(&format!("trm grades 1: {} puzzles", grades.len())).then_some(grades)
}

fn write(file: &mut impl Write, header: &str, grades: &[u32]) -> io::Result<()> {
    writeln!(file, "{header}")?;
    grades.iter().try_for_each(|grade| writeln!(file, "{grade}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sudoku::Generator;

    fn puzzles(seed: u64) -> Vec<Puzzle> {
        Generator::new(seed, 24..=28).generate_many(20, &Threads::new(1)).unwrap()
    }

    #[test]
    fn difficulties_are_guesses_or_blanks_whatever_the_threads() {
        let puzzles: Vec<_> = (0..20).flat_map(puzzles).collect();
        let guesses = difficulties(&puzzles, CurriculumBy::Guesses, &Threads::new(3));
        assert!(guesses.iter().any(|g| *g > 0), "some need guesses");
        assert!(guesses.iter().zip(&puzzles).all(|(g, p)| Some(*g) == grade(&p.quiz)));
        let blanks = difficulties(&puzzles, CurriculumBy::Givens, &Threads::new(2));
        assert!(blanks.iter().zip(&puzzles).all(|(b, p)| *b as usize == 81 - p.quiz.givens()));
    }

    #[test]
    fn grades_are_read_back_and_computed_again_when_they_are_of_other_puzzles_or_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let (data, threads) = (folder.path().join("a.csv.gz"), Threads::new(1));
        let (mine, others) = (puzzles(1), puzzles(2));
        let expected = difficulties(&mine, CurriculumBy::Guesses, &threads);
        assert_eq!(cached_grades(&data, &mine, &threads), (expected.clone(), None));
        // What stands in the file is what is taken: it is not computed a second time.
        let path = folder.path().join("a.csv.gz.grades");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\n{}", header(&mine), "7\n".repeat(20))).unwrap();
        assert_eq!(cached_grades(&data, &mine, &threads).0, [7; 20]);
        assert_eq!(
            cached_grades(&data, &others, &threads).0,
            difficulties(&others, CurriculumBy::Guesses, &threads)
        );
        for broken in ["", "trm", &text[..text.len() - 2], &format!("{text}3\n"), &text.replace('0', "x")] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(cached_grades(&data, &mine, &threads).0, expected, "{broken:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "and put right");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_a_note_only() {
        let (mine, threads) = (puzzles(1), Threads::new(1));
        let (grades, note) = cached_grades(Path::new("/nowhere/a.csv"), &mine, &threads);
        assert_eq!(grades, difficulties(&mine, CurriculumBy::Guesses, &threads));
        assert!(note.unwrap().contains("/nowhere/a.csv.grades"));
    }
}
