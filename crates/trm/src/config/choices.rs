//! Settings that are one of a few: the kind of model, of training and of precision.

use super::{INPUT_DIM, OUTPUT_DIM};
use crate::ops::{Fixed, Format};
use crate::sudoku::Units;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::sync::Arc;

/// How a state takes in what the block stack computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// `z <- z + alpha * R(x_emb + y + z)`: the gate is applied once, outside the stack (SPEC.md).
    Documented,
    /// `c = x_emb + y + z; c <- c + alpha * f(c)` for each block; `z <- c`: the Python original.
    Original,
    /// One state, from which the answer is read off: `c = x_emb + z; c <- c + f(c)` for each block; `z <- c; y <- z`.
    Single,
}

/// What a gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gates {
    /// One number (SPEC.md).
    Scalar,
    /// A number for each of the d channels of a state.
    Vector,
}

impl Gates {
    /// Values of one gate of states of width d.
    pub fn width(self, d: usize) -> usize {
        match self {
            Self::Scalar => 1,
            Self::Vector => d,
        }
    }
}

/// Number format of matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 where the CPU multiplies it natively, fixed12 where it has AVX2 and nothing better, else f32.
    Auto,
    /// f32
    F32,
    /// bfloat16 operands, f32 sums; slow where the CPU does not multiply bfloat16.
    Bf16,
    /// Fixed-point numbers of 12 bits with the sign, in steps of a 2047th of the largest of a row, with 32-bit sums; slow below
    /// AVX2. Files of earlier versions call it int16.
    #[serde(alias = "int16")]
    Fixed12,
    /// Fixed-point numbers of 7 bits with the sign, in steps of a 63rd of the largest of a row, for training alone: what is read
    /// from a file to solve takes what `Auto` takes. Slow below AVX2. Files of earlier versions call it int8.
    #[serde(alias = "int8")]
    Fixed7,
}

impl Precision {
    /// The precision in which a trained model solves.
    pub fn of_inference(self) -> Self {
        if self == Self::Fixed7 { Self::Auto } else { self }
    }

    /// The format on this machine.
    pub fn format(self) -> Format {
        match self {
            Self::Auto => Format::fastest(),
            Self::F32 => Format::F32,
            Self::Bf16 => Format::Bf16,
            Self::Fixed12 => Format::Fixed(Fixed::Twelve),
            Self::Fixed7 => Format::Fixed(Fixed::Seven),
        }
    }
}

/// What one vector of the states y and z stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The whole board: one vector (SPEC.md).
    Board,
    /// A cell: 81 vectors with the same weights for all.
    Cell,
    /// A digit in a cell: 729 vectors with the same weights for all, so that the model knows no digit from another.
    Candidate,
    /// The same, but only for candidates that the givens leave open: two to three hundred of the 729 in a hard puzzle.
    OpenCandidate,
}

impl State {
    /// Vectors of one puzzle; the most that it can have, if that depends on the puzzle.
    pub fn tokens(self) -> usize {
        match self {
            Self::Board => 1,
            Self::Cell => 81,
            Self::Candidate | Self::OpenCandidate => 729,
        }
    }

    /// The kinds of units that its vectors form: of all 729 candidates where only some of them have one.
    pub fn units(self) -> Arc<[Units]> {
        match self {
            Self::Board => Arc::new([]),
            Self::Cell => Units::of_cells().clone(),
            Self::Candidate | Self::OpenCandidate => Units::of_candidates().clone(),
        }
    }

    /// Length of each group of the one-hot input.
    pub fn channels(self) -> usize {
        match self {
            Self::Board | Self::Cell => 10,
            Self::Candidate => 3,
            Self::OpenCandidate => 2,
        }
    }

    /// What one vector is embedded from and what is read off it: (length of the one-hot input, logits).
    pub fn widths(self) -> [usize; 2] {
        match self {
            Self::Board => [INPUT_DIM, OUTPUT_DIM],
            Self::Cell => [10, 9],
            Self::Candidate => [3, 1],
            Self::OpenCandidate => [2, 1],
        }
    }
}

/// How the vectors of a puzzle learn of each other inside the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixing {
    /// Not at all.
    None,
    /// Each sees the mean of its row, column and box (and, among candidates, of its cell), each kind through a matrix
    /// of its own.
    UnitMean,
    /// Attention of every cell to all cells.
    Attention,
    /// Attention whose heads see only the row, the column or the box of a cell, a third of them each.
    UnitAttention,
    /// An MLP across the 81 cells, the same for every value of their vectors.
    TokenMlp,
}

impl Mixing {
    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::UnitMean => "unit_mean",
            Self::Attention => "attention",
            Self::UnitAttention => "unit_attention",
            Self::TokenMlp => "token_mlp",
        }
    }

    /// Whether cells attend to each other.
    pub fn attends(self) -> bool {
        matches!(self, Self::Attention | Self::UnitAttention)
    }
}

/// How the model knows where a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// Not at all, but for what mixing tells it.
    None,
    /// A learned vector for each of the 81 cells.
    Learned,
    /// Learned vectors for its row, its column and its box.
    Units,
    /// Attention turns queries and keys with the row and the column.
    Rotary,
}

/// Learned vectors for the places that a cell can have.
#[derive(Clone, Copy, Debug)]
pub struct PositionTable {
    /// `cell`, `row`, `column` or `box`.
    pub name: &'static str,
    /// Number of vectors.
    pub places: usize,
    /// Which of them each of the 81 cells has.
    pub place_of: &'static [usize],
}

/// Which answers the loss is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Supervision {
    /// The answer after the last outer cycle (SPEC.md).
    Last,
    /// The answer after every outer cycle: the mean of their losses.
    Every,
}

/// How the weight of a penalty goes through a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConstraintSchedule {
    /// The same from the first step.
    Constant,
    /// From zero in a straight line to its whole at the last step.
    Linear,
}

/// In which order a run meets puzzles of different difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curriculum {
    /// All of them from the start.
    None,
    /// Easy ones first; harder ones join them as the run goes on.
    EasyToHard,
    /// Hard ones first; easier ones join them as the run goes on.
    HardFirst,
    /// Easy ones first; harder ones join them when the accuracy on the newest reaches a threshold.
    Competence,
}

/// What makes a puzzle difficult.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CurriculumBy {
    /// The guesses that the exact solver needs.
    Guesses,
    /// Few givens.
    Givens,
}

/// What is kept of the forward pass for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointActivations {
    /// Every activation of every cycle: fastest.
    None,
    /// The states at each outer cycle; the rest is computed again: least memory, the same gradients.
    Cycle,
}

/// Which weights are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pruning {
    /// None.
    None,
    /// In each matrix those of least magnitude.
    Unstructured,
    /// Of four neighbouring inputs of an output the two of least magnitude: half of all.
    #[serde(rename = "2:4")]
    TwoOfFour,
    /// Units of the inner layer of each MLP, with all their weights: those with the least `|W1 row| |W2 column|`.
    Structured,
}

/// Not the name of a kind of pruning.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no kind of pruning: unstructured, 2:4 or structured")]
pub struct UnknownPruning(String);

impl FromStr for Pruning {
    type Err = UnknownPruning;

    fn from_str(name: &str) -> Result<Self, UnknownPruning> {
        [Self::Unstructured, Self::TwoOfFour, Self::Structured]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownPruning(name.to_string()))
    }
}

impl Pruning {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unstructured => "unstructured",
            Self::TwoOfFour => "2:4",
            Self::Structured => "structured",
        }
    }

    /// Whether there is this sparsity.
    pub fn has(self, sparsity: f64) -> bool {
        match self {
            Self::TwoOfFour => sparsity == 0.5,
            _ => (0.0..=0.99).contains(&sparsity),
        }
    }
}
