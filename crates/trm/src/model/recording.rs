//! What the forward pass keeps for the backward pass, outer cycle by outer cycle.

use super::network::{Network, gates_blocks};
use crate::config::{CheckpointActivations, NetworkConfig, RunConfig, Update};
use crate::layers::TapeSize;
use crate::layers::{Stack, StackTape, StateNormTape};
use crate::network::Room;
use crate::ops::Format;

/// The parts of the forward pass that are kept for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Nothing beyond the states: no backward pass will follow.
    Nothing,
    /// What backward needs of one outer cycle; other cycles are computed again from their first states.
    Cycle,
    /// What backward needs of every outer cycle.
    Everything,
}

impl Recording {
    /// The recording of training under the settings of a `run`.
    pub fn for_training(run: &RunConfig) -> Self {
        match run.checkpoint_activations {
            CheckpointActivations::None => Self::Everything,
            CheckpointActivations::Cycle => Self::Cycle,
        }
    }

    /// Number of outer cycles whose activations are kept.
    pub fn cycles(self, config: &NetworkConfig) -> usize {
        if self == Self::Everything { config.h_cycles } else { 1 }
    }

    /// Inner refinements of a cycle that there is room for.
    fn refinements(self, config: &NetworkConfig) -> usize {
        if self == Self::Nothing { 1 } else { config.l_cycles }
    }
}

/// The values that the refinements of one state in an outer cycle keep for the backward pass.
#[derive(Clone, Debug)]
pub struct RefinementTape {
    /// Tapes of the stack's blocks.
    pub stack: StackTape,
    /// Results of the stack, `[refinements, rows, d]`; empty unless the gradient of a gate needs them.
    pub result: Vec<f32>,
    /// Tape of the division of each new state by its root mean square.
    pub norm: StateNormTape,
}

/// The values that one outer cycle keeps for the backward pass.
#[derive(Clone, Debug)]
pub struct CycleTape {
    /// Tape of the `L_cycles` refinements of z.
    pub latent: RefinementTape,
    /// Tape of the refinement of y.
    pub output: RefinementTape,
}

impl CycleTape {
    /// Room for some rows.
    pub fn new(
        (network, config): (&Network, &NetworkConfig),
        format: Format,
        rows: usize,
        recording: Recording,
        room: &mut Room,
    ) -> Self {
        let training = recording != Recording::Nothing;
        let kinds = config.units();
        let mut tape = |stack: &Stack, applications: usize| {
            let size = TapeSize { format, applications, rows, training, gated: gates_blocks(config) };
            let kept = if training && keeps_result(config) { applications } else { 0 };
            RefinementTape {
                stack: StackTape::new(stack, &kinds, size, room),
                result: room.floats(kept * rows * config.hidden_dim),
                norm: StateNormTape::new(network.state_norm, applications * rows, room),
            }
        };
        let latent = tape(&network.latent, recording.refinements(config));
        Self { latent, output: tape(&network.output, 1) }
    }
}

/// Whether a gate acts on the result of a stack.
fn keeps_result(config: &NetworkConfig) -> bool {
    config.update == Update::Documented
}
