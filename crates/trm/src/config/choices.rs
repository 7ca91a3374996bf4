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

/// The two kinds of gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gates {
    /// A gate is one number for the whole state (SPEC.md).
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

/// The thing that one vector of the states y and z stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The whole board: one vector (SPEC.md).
    Board,
    /// A cell: 81 vectors with the same weights for all.
    Cell,
    /// A candidate, that is a digit in a cell: 729 vectors with the same weights for all, so that the model knows no
    /// digit from another.
    Candidate,
    /// A candidate that the givens leave open: two to three hundred of the 729 have a vector in a hard puzzle. All
    /// vectors have the same weights, so that the model knows no digit from another.
    OpenCandidate,
}

impl State {
    /// Number of vectors of one puzzle; the largest number if it depends on the puzzle.
    pub fn tokens(self) -> usize {
        match self {
            Self::Board => 1,
            Self::Cell => 81,
            Self::Candidate | Self::OpenCandidate => 729,
        }
    }

    /// The kinds of units that the vectors of a puzzle form. For open candidates these are the units of all 729
    /// candidates.
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

    /// Widths around one vector of the state: (length of the one-hot input that it is embedded from, number of logits
    /// that are read off it).
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
    /// Vectors do not learn of each other.
    None,
    /// Each vector sees the mean of its row, column and box (and, among candidates, of its cell), each kind through a
    /// matrix of its own.
    UnitMean,
    /// Attention of every cell to all cells.
    Attention,
    /// Attention whose heads see only the row, the column or the box of a cell, a third of them each.
    UnitAttention,
    /// An MLP across the 81 cells, the same for every value of their vectors.
    TokenMlp,
}

impl Mixing {
    /// The value of the setting as files have it.
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
    /// For each of the 81 cells, the index of its vector.
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
    /// The weight is constant from the first step on.
    Constant,
    /// The weight rises linearly from zero to its full value at the last step.
    Linear,
}

/// The order in which a run meets puzzles of different difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curriculum {
    /// No curriculum: all puzzles from the start.
    None,
    /// Easy puzzles first; harder ones join them as the run goes on.
    EasyToHard,
    /// Hard puzzles first; easier ones join them as the run goes on.
    HardFirst,
    /// Easy puzzles first; harder ones join when the accuracy on the newest stage reaches a threshold.
    Competence,
}

/// The measure of a puzzle's difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CurriculumBy {
    /// The number of guesses that the exact solver needs.
    Guesses,
    /// The number of blanks: the fewer givens, the harder.
    Givens,
}

/// The activations of the forward pass that are kept for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointActivations {
    /// Every activation of every cycle: fastest.
    None,
    /// Only the states at the start of each outer cycle. The rest is computed again in the backward pass: least
    /// memory, the same gradients.
    Cycle,
}

/// The kinds of pruning: which weights become zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pruning {
    /// No weights.
    None,
    /// In each matrix the weights of least magnitude.
    Unstructured,
    /// The two weights of least magnitude among every four neighbouring inputs of an output: half of all weights.
    #[serde(rename = "2:4")]
    TwoOfFour,
    /// All weights of some channels of the inner layer of each MLP: the channels with the least
    /// `|W1 row| |W2 column|`.
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
    /// The kind of pruning as settings and file names have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unstructured => "unstructured",
            Self::TwoOfFour => "2:4",
            Self::Structured => "structured",
        }
    }

    /// Whether this kind of pruning can reach the share `sparsity` of zeros: exactly 0.5 for 2:4, from 0 to 0.99 for
    /// the others.
    pub fn has(self, sparsity: f64) -> bool {
        match self {
            Self::TwoOfFour => sparsity == 0.5,
            _ => (0.0..=0.99).contains(&sparsity),
        }
    }
}
