//! Solves the puzzles given as arguments, 81 characters each, and shows how the first one was solved:
//!
//!     cargo run --release --package trm --example solve 53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79

use trm::{Grid, Solver};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let puzzles = match given.is_empty() {
        true => vec![Grid::parse(
            "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",
        )?],
        false => given.iter().map(|text| Grid::parse(text)).collect::<Result<_, _>>()?,
    };
    let solver = Solver::shipped();
    for answer in solver.solve_all(&puzzles) {
        println!("{}{}\n", answer.board, if answer.solved { "solved" } else { "unsolved" });
    }
    let (_, trace) = solver.trace(&puzzles[0]);
    for cycle in trace.cycles().take(20) {
        println!(
            "cycle {:>3}: {:>2} cells changed, {:>2} in conflict",
            cycle.cycle,
            cycle.changed.len(),
            cycle.conflicts.len()
        );
    }
    Ok(())
}
