//! Every form in which people have puzzles: read as what it is, or refused with file, line and remedy.

use std::io::{Cursor, Write};
use std::path::Path;
use trm::data::{DataError, PuzzleReader, ReadOptions, Solutions, read_puzzles, read_quizzes};

const QUIZ: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
const OTHER: &str = "..43..2.9..5..9..1.7..6..43..6..2.8719...74...5..83...6.....1.5..35.869..4291.3..";
const SOLUTION: &str = "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

/// What a text holds: line and puzzle of each, or the first message.
fn quizzes(text: impl AsRef<[u8]>) -> Result<Vec<(u64, String)>, String> {
    read(text.as_ref(), Solutions::Ignored)
}

fn read(text: &[u8], solutions: Solutions) -> Result<Vec<(u64, String)>, String> {
    PuzzleReader::from_bytes(Cursor::new(text.to_vec()), Path::new("a.txt"), solutions)
        .and_then(|reader| reader.map(|entry| entry.map(|e| (e.line, e.quiz.to_line()))).collect())
        .map_err(|e| e.to_string())
}

/// Asserts that a text is the one puzzle, beginning in this line.
fn is_quiz(line: u64, text: impl AsRef<[u8]>) {
    let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
    assert_eq!(quizzes(text), Ok(vec![(line, QUIZ.to_string())]), "{shown}");
}

/// Asserts that a text is refused with all of these words.
fn refused(text: impl AsRef<[u8]>, words: &[&str]) {
    let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
    let message = quizzes(text).expect_err(&shown);
    assert!(
        message.starts_with("a.txt: ") && words.iter().all(|w| message.contains(w)),
        "{message}\n{shown}"
    );
}

fn rows(blank: &str) -> Vec<String> {
    QUIZ.as_bytes().chunks(9).map(|row| String::from_utf8_lossy(row).replace('.', blank)).collect()
}

/// A grid whose boxes are `between` apart, with `rule` between bands.
fn framed(left: &str, between: &str, right: &str, rule: &str, blank: &str) -> String {
    let mut text = String::new();
    for (i, row) in rows(blank).iter().enumerate() {
        if i == 3 || i == 6 {
            text += &format!("{rule}\n");
        }
        text += &format!("{left}{}{between}{}{between}{}{right}\n", &row[..3], &row[3..6], &row[6..]);
    }
    text
}

#[test]
fn every_blank_is_read() {
    for blank in ["0", ".", "_", "*", "x", "X", "?", "-", " "] {
        is_quiz(1, QUIZ.replace('.', blank) + "\n");
        is_quiz(1, rows(blank).join("\n"));
        is_quiz(1, framed("|", "|", "|", "|---+---+---|", blank));
    }
    is_quiz(1, QUIZ.replace('.', "0").replace('5', "５").replace('3', "３"));
    is_quiz(1, QUIZ.replace('.', "·"));
}

#[test]
fn frames_of_common_programs_are_no_rows() {
    for blank in [".", "0", "-", "*", "_"] {
        let bare = framed("", "", "", "", blank);
        is_quiz(2, format!("\n{bare}\n"));
        is_quiz(
            2,
            format!("*-----------*\n{}*-----------*\n", framed("|", "|", "|", "|---+---+---|", blank)),
        );
        is_quiz(
            2,
            format!("┌───┬───┬───┐\n{}└───┴───┴───┘\n", framed("│", "│", "│", "├───┼───┼───┤", blank)),
        );
        is_quiz(
            2,
            format!(
                ".-----.-----.-----.\n{}'-----'-----'-----'\n",
                framed("| ", " | ", " |", ":-----+-----+-----:", blank)
            ),
        );
        is_quiz(
            2,
            format!("╔═══╦═══╦═══╗\n{}╚═══╩═══╩═══╝\n", framed("║", "║", "║", "╠═══╬═══╬═══╣", blank)),
        );
    }
    is_quiz(1, framed("", " ", "", "", "."));
    // A line of nine dashes is a frame here, and a row of blanks below.
    is_quiz(2, format!("---------\n{}---------\n", framed("", "", "", "---------", ".")));
    let mut cells = QUIZ.to_string();
    cells.replace_range(..9, ".........");
    let dashes: Vec<String> =
        cells.as_bytes().chunks(9).map(|r| String::from_utf8_lossy(r).replace('.', "-")).collect();
    assert_eq!(quizzes(dashes.join("\n")), Ok(vec![(1, cells)]));
    // With a rule above it could be either.
    refused(format!("---------\n{}", rows("-").join("\n")), &["line 1", "write dots"]);
}

#[test]
fn names_comments_sections_and_numbers_stand_beside_puzzles() {
    for line in [
        "{} # easy one",
        "{}\teasy one",
        "{}  ED=11.9/1.2/1.2 name-04",
        "{};7.2;1.2;1.2;name",
        "\"{}\"",
        "'{}'",
        "12. {}",
        "3) {}",
        "12 {}",
        "name,{},4",
        "{} solved",
    ] {
        is_quiz(1, line.replace("{}", QUIZ));
    }
    for above in ["# a", "  # a", "// a", "; a", "Grid 01", "Easy puzzles of 2024-05-03, rated 11.9/1.2"] {
        is_quiz(2, format!("{above}\n{QUIZ}\n"));
        is_quiz(2, format!("{above}\n{}\n", rows(".").join("\n")));
    }
    assert_eq!(
        quizzes(format!("1\n{}\n2\n{OTHER}\n", rows("0").join("\n"))),
        Ok(vec![(2, QUIZ.into()), (12, OTHER.into())])
    );
    is_quiz(2, format!("[Puzzle]\n{}\n[State]\n{OTHER}\n", rows(".").join("\n")));
    is_quiz(1, format!("{}\n Simple Sudoku\n  Version 4.2n\n", rows(".").join("\n")));
    let labelled: String =
        ('A'..).zip(rows(".")).map(|(c, row)| format!("{c} {}\n", row.replace("", " "))).collect();
    is_quiz(2, format!("  1 2 3 4 5 6 7 8 9\n{labelled}"));
    let numbered: String = (1..).zip(rows("0")).map(|(n, row)| format!("{n}: {row}\n")).collect();
    is_quiz(1, numbered);
}

#[test]
fn rows_in_one_line_and_cells_apart_are_read() {
    let digits = rows("0");
    for between in [".", "/", ",", ";", "|", " ", "\t", ":"] {
        is_quiz(1, digits.join(between));
    }
    for between in [" ", ",", ";", ", "] {
        is_quiz(1, QUIZ.replace('.', "0").chars().map(String::from).collect::<Vec<_>>().join(between));
    }
    let spreadsheet: String = rows(".")
        .iter()
        .map(|r| r.chars().map(|c| c.to_string().replace('.', "")).collect::<Vec<_>>().join(",") + "\n")
        .collect();
    is_quiz(1, spreadsheet);
}

#[test]
fn what_could_be_read_in_two_ways_or_not_at_all_is_refused_with_its_line() {
    let line = |n: usize| format!("{QUIZ}\n{}", "1".repeat(n));
    refused(line(80), &["line 2", "found 80"]);
    refused(line(256), &["line 2", "16x16"]);
    refused(format!("{QUIZ}\n1000002003000004\n"), &["line 2", "4x4"]);
    refused(format!("{QUIZ}\n{}a\n", &QUIZ[1..]), &["line 2", "'a' at position 81"]);
    refused(format!("{QUIZ}\n12345\n"), &["line 2", "found the number 12345"]);
    refused(" ".repeat(81), &["line 1", "write dots"]);
    // 80 cells and a space that shifts them all.
    refused(format!(" {}", &QUIZ[1..]), &["line 1", "found 80"]);
    refused(rows(".")[..8].join("\n"), &["line 1", "8 of 9 rows"]);
    refused(format!("{}\n{QUIZ}\n", rows(".")[..8].join("\n")), &["line 9", "grid of line 1"]);
    refused(format!("{QUIZ} {OTHER}\n"), &["line 1", "one puzzle a line"]);
    refused(format!("{QUIZ},{}\n", SOLUTION.replacen('5', "4", 1)), &["line 1"]);
    refused(format!("{QUIZ},{SOLUTION}\n{QUIZ}\n"), &["line 2", "line 1 has 2"]);
    refused("", &["no puzzles", "empty"]);
    refused("\n \n", &["no puzzles"]);
    refused("quizzes,solutions\n", &["no puzzles", "header"]);
    refused("<html>\n</html>\n", &["no puzzles", "HTML"]);
}

#[test]
fn tables_of_every_dialect_give_puzzle_and_solution() {
    let zeros = QUIZ.replace('.', "0");
    let spread = |text: &str, between: &str| text.chars().map(String::from).collect::<Vec<_>>().join(between);
    let nine =
        |text: &str| text.as_bytes().chunks(9).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    let table =
        |header: &str, row: &str| format!("{header}\n{}\n", row.replace('Q', &zeros).replace('S', SOLUTION));
    for text in [
        table("quizzes,solutions", "Q,S"),
        table("solutions,quizzes", "S,Q"),
        table("quizzes;solutions", "Q;S"),
        table("Puzzle\tSolution", "Q\tS"),
        table("| puzzle | solution |", "| Q | S |"),
        table(",quizzes,solutions", "0,Q,S"),
        table("id,puzzle,solution,clues", "1,Q,S,30"),
        table("\"sudoku\",\"solution\"", "\"Q\",\"S\""),
        table("quizzes, solutions,", "Q, S,"),
        table("# made by me\nquizzes,solutions", "Q,S"),
        table("My puzzles\nquizzes,solutions", "Q,S"),
        table("rätsel,lösung", "Q,S"),
        table("quizzes,solutions", "'Q,'S"),
        table("quizzes,solutions", "\"=\"\"Q\"\"\",\"=\"\"S\"\"\""),
        format!("quizzes,solutions\n\"{}\",\"{}\"\n", nine(&zeros), nine(SOLUTION)),
        format!("quizzes,solutions\n\"[{}]\",\"[{}]\"\n", spread(&zeros, ", "), spread(SOLUTION, ", ")),
        format!("quizzes,solutions\n\"{}\",\"{}\"\n", spread(&zeros, " "), spread(SOLUTION, " ")),
        table("quizzes,solutions\nquizzes,solutions", "Q,S"),
        table("quizzes,solutions\r\n", "Q,S\r\n\r\n"),
        format!("{zeros},{SOLUTION}\n"),
        format!("{SOLUTION}\t{zeros}\n"),
        format!("{{\"puzzle\": \"{zeros}\", \"solution\": \"{SOLUTION}\"}}\n"),
        format!("[\n{{\"solution\": \"{SOLUTION}\",\n \"quiz\": [{}]}}\n]\n", spread(&zeros, ",")),
    ] {
        for text in [text.clone(), text.replace('\n', "\r"), text.replace('\n', "\r\n")] {
            let found = read(text.as_bytes(), Solutions::Needed)
                .map(|p| p.into_iter().map(|(_, q)| q).collect::<Vec<_>>());
            assert_eq!(found, Ok(vec![QUIZ.to_string()]), "{text}");
        }
    }
    // Zeros at the front that a spreadsheet lost are put back where the solution shows that they were there.
    let blank = format!("00{}", &zeros[2..]);
    let row = format!("quizzes,solutions\n{},{SOLUTION}\n", &blank[2..]);
    assert_eq!(read(row.as_bytes(), Solutions::Needed).unwrap()[0].1, blank.replace('0', "."));
    assert!(
        read(format!("quizzes\n{}\n", &blank[2..]).as_bytes(), Solutions::Ignored)
            .unwrap_err()
            .contains("found 79")
    );
}

#[test]
fn tables_that_cannot_be_meant_are_refused() {
    let needed = |text: &str| read(text.as_bytes(), Solutions::Needed).unwrap_err();
    for (text, words) in [
        (format!("quizzes,solutions\n4.3002E+78,{SOLUTION}\n"), ["line 2", "4.3002E+78", "as text"]),
        (
            format!("puzzle,quizzes,solutions\n{QUIZ},{QUIZ},{SOLUTION}\n"),
            ["line 1", "`puzzle`, `quizzes`", "all but one"],
        ),
        ("one;two\n1;2\n".to_string(), ["line 1", "found `one;two`", "quizzes,solutions"]),
        (format!("quizzes;id\n{QUIZ};1\n"), ["line 1", "found `quizzes;id`", "trm data complete"]),
        (format!("{QUIZ}\n"), ["line 1", "without a solution", "trm data complete"]),
        (format!("{{\"a\": \"{QUIZ}\"}}\n"), ["line 1", "key `puzzle`", "found `a`"]),
        (format!("\n{{\"puzzle\": \"{QUIZ}\"\n"), ["line 2", "too early", ""]),
    ] {
        let message = needed(&text);
        assert!(words.iter().all(|word| message.contains(word)), "{message}\n{text}");
    }
}

#[test]
fn a_quotation_mark_that_is_not_closed_costs_its_row_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, format!("quizzes,solutions\n\"{QUIZ},{SOLUTION}\n{QUIZ},{SOLUTION}\n")).unwrap();
    let data = read_puzzles(&path, &ReadOptions { skip_bad_rows: true, ..ReadOptions::default() }).unwrap();
    assert_eq!((data.puzzles.len(), data.skipped_count, data.skipped[0].line), (1, 1, 2));
}

#[test]
fn json_in_every_nesting_is_read() {
    let zeros = QUIZ.replace('.', "0");
    let numbers: Vec<String> = zeros.chars().map(String::from).collect();
    let grid = rows("0")
        .iter()
        .map(|r| format!("[{}]", r.chars().map(String::from).collect::<Vec<_>>().join(",")))
        .collect::<Vec<_>>();
    is_quiz(1, format!("[{}]", numbers.join(",")));
    is_quiz(1, format!("[{}]\n", grid.join(",\n")));
    is_quiz(1, format!("[[{}]]", grid.join(",")));
    is_quiz(2, format!("[\n\"{zeros}\"\n]"));
    is_quiz(1, format!("{{\"id\": [1, \"}}\"], \"board\": [{}]}}", grid.join(",")));
    let two = quizzes(format!("{{\"puzzle\":\"{QUIZ}\"}}\n{{\"puzzle\":\"{OTHER}\"}}\n"));
    assert_eq!(two, Ok(vec![(1, QUIZ.into()), (2, OTHER.into())]));
    refused("[1, 2, 3]", &["line 1", "found 3"]);
    refused(format!("[{}, 10]", numbers[1..].join(",")), &["line 1", "10 is no cell"]);
}

#[test]
fn xml_of_opensudoku_is_read() {
    let text = format!("<?xml version=\"1.0\"?>\n<opensudoku>\n<game data=\"{QUIZ}\"/>\n</opensudoku>\n");
    is_quiz(3, &text);
    refused(text.replace(QUIZ, "version: 1 0|2"), &["line 3", "export"]);
}

#[test]
fn encodings_and_compression_are_told_by_the_content() {
    let text = format!("quizzes,solutions,auteur\n{QUIZ},{SOLUTION},Café\n");
    is_quiz(2, format!("\u{feff}{text}"));
    let utf16 = |bom: &[u8], bytes: fn(u16) -> [u8; 2]| {
        [bom, &text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()].concat()
    };
    for bytes in [
        utf16(&[0xff, 0xfe], u16::to_le_bytes),
        utf16(&[0xfe, 0xff], u16::to_be_bytes),
        utf16(&[], u16::to_le_bytes),
        text.bytes().filter(|b| *b != 0xc3).collect(),
        text.replace(QUIZ, &QUIZ.replace('.', "0").replace('7', "\u{a0}7\0")).into_bytes(),
    ] {
        is_quiz(2, bytes);
    }
    let gzip = |text: &str| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap()
    };
    let (header, row) = text.split_at(25);
    is_quiz(2, [gzip(header), gzip(row)].concat());
    let long = format!("{QUIZ}\n{OTHER}\n").repeat(3000);
    let cut = gzip(&long);
    refused(&cut[..cut.len() / 2], &["line ", "too early", "copy the file again"]);

    let zip = |files: &[&str]| {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in files {
            zip.start_file(
                *name,
                zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated),
            )
            .unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    is_quiz(2, zip(&["a.csv", "__MACOSX/._a.csv"]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("misnamed.csv.gz");
    std::fs::write(&path, zip(&["a.csv"])).unwrap();
    assert_eq!(read_quizzes(&path).unwrap().len(), 1);
    refused(zip(&["a.csv", "b.csv"]), &["2 files (a.csv, b.csv)", "unzip -p"]);
    refused(zip(&["xl/workbook.xml", "b.xml"]), &["Excel", "as CSV"]);
    let mut damaged = zip(&["a.csv"]);
    damaged[60] ^= 1;
    assert!(quizzes(damaged).is_err());
    refused(b"PAR1\0\0", &["Parquet", "to_csv"]);
    refused(b"\xfd7zXZ\0\0", &["xz -dc"]);
    let error = read_quizzes(folder.path()).unwrap_err().to_string();
    assert!(error.contains("a folder"), "{error}");
}

#[test]
fn no_text_makes_it_panic() {
    let texts = [
        framed("|", "|", "|", "|---+---+---|", "."),
        format!("{}\n---------\n{}", rows("-").join("\n"), rows(" ").join("\n")),
        format!("1. {QUIZ}\n2. {OTHER}\n[Puzzle]\n{}\n", rows("0").join("\n")),
        format!("[[{}],\n{{\"puzzle\": \"{QUIZ}\"}}]", rows("0").join(",").replace("", " ")),
        format!("quizzes;solutions\n\"{QUIZ}\";{SOLUTION}\n{OTHER},{SOLUTION}\n"),
        format!("<game data=\"{QUIZ}\"/>\n"),
    ];
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let marks = b"\n\r \t,;|-*_.0123456789xX?\"'[]{}<>#=+\0\xff\xe3";
    for _ in 0..4000 {
        let mut bytes = texts[random(texts.len())].clone().into_bytes();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(3) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, marks[random(marks.len())]),
                _ => bytes[at] = marks[random(marks.len())],
            }
        }
        for solutions in [Solutions::Ignored, Solutions::Needed, Solutions::IfThere] {
            let _ = read(&bytes, solutions);
        }
    }
}

#[test]
fn reading_goes_on_behind_bad_lines() {
    let text = format!("{QUIZ}\n123\n{OTHER}\n{}\n\n{QUIZ}\n", rows(".")[..7].join("\n"));
    let reader =
        PuzzleReader::from_bytes(Cursor::new(text.into_bytes()), Path::new("a"), Solutions::Ignored).unwrap();
    let lines: Vec<_> = reader
        .map(|entry| match entry {
            Ok(entry) => (true, entry.line),
            Err(DataError::Row { source, .. }) => (false, source.line),
            Err(e) => panic!("{e}"),
        })
        .collect();
    assert_eq!(lines, [(true, 1), (false, 2), (true, 3), (false, 12), (true, 12)]);
}

/// The lines that puzzles stand on, or what the refusal says.
type Expected = Result<&'static [u64], &'static [&'static str]>;

/// What each file of a folder of examples is: lines of the puzzles, or words of the message.
const EXAMPLES: &[(&str, Expected)] = &[
    ("c01_bom.csv", Ok(&[2])),
    ("c02_crlf.csv", Ok(&[2])),
    ("c03_semicolon.csv", Ok(&[2])),
    ("c04_tab.tsv", Ok(&[2])),
    ("c05_quoted.csv", Ok(&[2])),
    ("c06_3m.csv", Ok(&[2])),
    ("c07_noheader.csv", Ok(&[1, 2])),
    ("c08_star.csv", Ok(&[2])),
    ("c09_x.csv", Ok(&[2])),
    ("c12_index.csv", Ok(&[2, 3])),
    ("c13_int.csv", Ok(&[2])),
    ("c14_sci.csv", Err(&["line 2", "4.3002E+78", "as text"])),
    ("c15_comment.csv", Ok(&[3])),
    ("c16_spaces.csv", Ok(&[2])),
    ("c17_missing.csv", Err(&["line 3", "the solution is missing"])),
    ("c18_trailingcomma.csv", Ok(&[2])),
    ("c19_swapped.csv", Ok(&[2])),
    ("c20_blankline.csv", Ok(&[3, 6])),
    ("c21_nonewline.csv", Ok(&[2])),
    ("c22_oldmac.csv", Ok(&[2])),
    ("c23_titles.csv", Ok(&[2])),
    ("c24_sudoku_solution.csv", Ok(&[2])),
    ("c25_excelquote.csv", Ok(&[2])),
    ("c26_excelformula.csv", Ok(&[2])),
    ("c27_multiline.csv", Ok(&[2])),
    ("c28_list.csv", Ok(&[2])),
    ("c29_spacesep.csv", Ok(&[2])),
    ("c30_empty.csv", Err(&["no puzzles", "empty"])),
    ("c31_headeronly.csv", Err(&["no puzzles", "header"])),
    ("c32_dup_headers.csv", Err(&["line 1", "`puzzle`, `quizzes`", "all but one"])),
    ("c33_latin1.csv", Ok(&[2])),
    ("c34_nul.csv", Ok(&[2])),
    ("c35_plain_named.csv.gz", Ok(&[2])),
    ("c36_gz_named.csv", Ok(&[2])),
    ("c37_trunc.csv.gz", Err(&["line ", "too early", "copy the file again"])),
    ("c38_multi.csv.gz", Ok(&[2])),
    ("c39.csv.zip", Ok(&[2])),
    ("c40.jsonl", Ok(&[1])),
    ("c41.parquet", Err(&["Parquet", "to_csv"])),
    ("g01_simplesudoku.ss", Ok(&[2])),
    ("g02_ss_versionline.txt", Ok(&[2])),
    ("g03_sdk.sdk", Ok(&[8])),
    ("g04_sdk_sections.sdk", Ok(&[2])),
    ("g06_name_after.txt", Ok(&[1, 2])),
    ("g07_tab_name.txt", Ok(&[1])),
    ("g09_forum.txt", Ok(&[1])),
    ("g10_semicolon.txt", Ok(&[1])),
    ("g14_box.txt", Ok(&[2])),
    ("g15_norvig.txt", Ok(&[1])),
    ("g16_star.txt", Ok(&[1])),
    ("g17_x.txt", Ok(&[1])),
    ("g18_X.txt", Ok(&[1])),
    ("g19_q.txt", Ok(&[1])),
    ("g20_dash.txt", Ok(&[1])),
    ("g21_dash_grid.txt", Ok(&[1])),
    ("g22_blank_dashrow.txt", Ok(&[1])),
    ("g23_bom.txt", Ok(&[1])),
    ("g24_crlf.txt", Ok(&[1, 2])),
    ("g26_quoted.txt", Ok(&[1])),
    ("g27_gz.txt.gz", Ok(&[1])),
    ("g28_opensudoku.opensudoku", Ok(&[4])),
    ("g29_rows_dot.txt", Ok(&[1])),
    ("g30_slash.txt", Ok(&[1])),
    ("g31_no_final_newline.txt", Ok(&[1])),
    ("g32_trailing_spaces.txt", Ok(&[1])),
    ("g33_16x16.txt", Err(&["line 1", "16x16"])),
    ("g34_4x4.txt", Err(&["line 1", "4x4"])),
    ("g35_comment_slashes.txt", Ok(&[2])),
    ("g36_indented_comment.txt", Ok(&[2])),
    ("g37_numbered.txt", Ok(&[1, 2])),
    ("g38_csv_as_list.csv", Ok(&[2, 3])),
    ("g39_empty.txt", Err(&["no puzzles", "empty"])),
    ("g40_only_blank.txt", Err(&["no puzzles"])),
    ("g41_fullwidth.txt", Ok(&[1])),
    ("g42_nbsp.txt", Ok(&[1])),
    ("g44_tdoku.txt", Ok(&[2])),
    ("g45_81_spaces.txt", Err(&["line 1", "write dots"])),
    ("g48_solution_pair.txt", Ok(&[1])),
];

/// The first two puzzles of the examples.
const FIRST: [&str; 2] =
    [OTHER, ".4.1...5.1.7..396.52...8..........17...9.68..8.3.5.62..9..6.5436...8.7..25..971.."];

#[test]
fn every_example_is_read_or_refused_as_written_down() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let Some(folder) = above.map(|f| f.join("shared/cases/formats")).find(|folder| folder.is_dir()) else {
        eprintln!("SKIPPED: no folder shared/cases/formats beside the repository");
        return;
    };
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        EXAMPLES.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "every file is in the table"
    );
    let mut wrong = Vec::new();
    for (name, expected) in EXAMPLES {
        // Tables hold solutions; lists need none.
        let solutions = if name.starts_with('c') { Solutions::Needed } else { Solutions::Ignored };
        let found = PuzzleReader::open(&folder.join(name), solutions)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| e.to_string());
        let right = match (&found, expected) {
            (Ok(found), Ok(lines)) => {
                found.iter().map(|e| e.line).eq(lines.iter().copied())
                    && found.iter().zip(FIRST).all(|(e, quiz)| {
                        let quiz = if name.starts_with("g22") {
                            format!(".........{}", &quiz[9..])
                        } else {
                            quiz.into()
                        };
                        e.quiz.to_line() == quiz && (e.solution.is_some() || name.starts_with('g'))
                    })
            }
            (Err(message), Err(words)) => {
                message.contains(name) && words.iter().all(|word| message.contains(word))
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
