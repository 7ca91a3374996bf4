//! The Tiny Recursive Model of the paper, as its official program runs it.
//!
//! ```text
//! x_emb = sqrt(d) [puzzle embedding, token embeddings];  z_H = H_init;  z_L = L_init
//! up to 16 segments, each:
//!     H_cycles times:  L_cycles times:  z_L <- net(z_L + z_H + x_emb)
//!                                       z_H <- net(z_H + z_L)
//!     logits = W_lm z_H of the cells;  (q_halt, q_continue) = W_q z_H of the first token + b_q
//!
//! net: L_layers times  h <- rms_norm(h + mix tokens (h));  h <- rms_norm(h + mix channels (h))
//! ```
//!
//! z_H is the answer, y in the other models, and z_L the latent hypothesis, z. One network refines both. Gradients go
//! through the last of the outer cycles alone, and states are carried from segment to segment without any.
//!
//! # Source
//! "Less is More: Recursive Reasoning with Tiny Networks", <https://arxiv.org/abs/2510.04871>

mod board;
mod config;
mod engine;
mod network;
mod predict;
mod recursion;
mod settings;

pub use board::Board;
pub use config::{Config, ConfigError, with_assignments};
pub use engine::{Carry, Engine, Outcome, Readout};
pub use network::Network;
pub use recursion::Model;
pub use settings::{Settings, Training};

/// Tokens that a cell can be: padding, blank, and the digits 1 to 9.
pub const VOCABULARY: usize = 11;
/// The token of a blank cell; digit k is this plus k.
pub const BLANK: u8 = 1;
