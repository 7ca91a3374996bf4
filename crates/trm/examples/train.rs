//! Trains a small model on puzzles that it makes itself, shows every epoch, and solves with what came of it:
//!
//!     cargo run --release --package trm --example train [FOLDER]

use trm::train::history::Record;
use trm::train::{Observer, Standing, StepReport};
use trm::{Grid, Solver, Training};

/// Prints a line an epoch.
struct Lines;

impl Observer for Lines {
    fn step(&mut self, _: Standing<'_>, _: &StepReport) {}

    fn round(&mut self, run: Standing<'_>, record: &Record) {
        let cells = 100.0 * record.val_cell_accuracy.unwrap_or(0.0);
        println!(
            "step {:>4} of {}: loss {:.3}, {cells:.1} % of cells",
            record.step, run.total_steps, record.train_loss
        );
    }

    fn wants_to_stop(&self) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or("runs/example".into());
    let settings =
        ["hidden_dim=64", "L_cycles=2", "epochs=3", "generate_samples=2000", "generate_givens_min=60"];
    let mut training = Training::documented().set("generate_givens_max=78")?;
    for setting in settings {
        training = training.set(setting)?;
    }
    training.overwrite().run(&folder, &mut Lines)?;
    let solver = Solver::open(format!("{folder}/trm_sudoku_production.pt"))?;
    let easy =
        Grid::parse("8643712593258497619712658434361925871986574322574839166897341257135286945429163.8")?;
    println!("{}", solver.solve(&easy).board);
    Ok(())
}
