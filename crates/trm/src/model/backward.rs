//! The recursion backward, by hand: every function here undoes its namesake of `recursion.rs`.

use super::hypotheses::weigh;
use super::recording::{Recording, RefinementTape};
use super::recursion::Model;
use super::shard::Shard;
use crate::config::Update;
use crate::network::{Id, RowSums};
use crate::ops::{
    Dropout, add_scaled, constraint_loss_backward, cross_entropy_backward, gate_backward, gate_forward,
};
use crate::sudoku::DIGITS;

/// Weights of the terms of the loss: the loss is the sum of these factors times the cross-entropy of every cell and
/// the penalties of every board.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossScale {
    /// Factor of the cross-entropy of a cell.
    pub cross_entropy: f32,
    /// Factors of the penalties of a board for rows, columns and boxes.
    pub constraints: [f32; 3],
}

impl Model {
    /// Starts the backward pass, after [`Self::forward`].
    pub fn begin_backward(&self, s: &mut Shard) {
        s.d_y.fill(0.0);
        s.d_z.fill(0.0);
        s.d_x_emb.fill(0.0);
    }

    /// Takes the state gradients from the end of outer cycle h to its start. Cycles go from last to first.
    pub fn cycle_backward(&self, s: &mut Shard, h: usize, dropout: &Dropout, scale: LossScale) {
        if self.is_read_out(h) {
            self.read_out_backward(s, h, scale);
        }
        s.answers.iter_mut().for_each(|answers| answers.d_seen.fill(0.0));
        if s.recording() == Recording::Cycle && h + 1 < self.config.h_cycles {
            s.y.copy_from_slice(&s.starts[h].0);
            s.z.copy_from_slice(&s.starts[h].1);
            if let (Some(feedback), Some(answers)) = (&self.network.feedback, &mut s.answers) {
                feedback.see(&self.weights, answers, h, &s.x_emb);
            }
            self.cycle(s, h, dropout);
        }
        self.refine_output_backward(s, h, dropout);
        for l in (0..self.config.l_cycles).rev() {
            self.refine_latent_backward(s, h, l, dropout);
        }
        s.answers.iter().for_each(|answers| add_scaled(&mut s.d_x_emb, 1.0, &answers.d_seen));
    }

    /// Adds what the loss of the answer after outer cycle h, and feedback, give to the gradient of y; leaves d loss / d logits in
    /// `s.logits` and what W_out was multiplied by in `s.answer`.
    fn read_out_backward(&self, s: &mut Shard, h: usize, scale: LossScale) {
        if h + 1 < self.config.h_cycles {
            self.read_out_after(s, h);
        }
        // Without supervision nothing of the loss counts: the scale is zero.
        let scale = if self.is_supervised(h) { scale } else { LossScale::default() };
        let is_constrained = scale.constraints.iter().any(|weight| *weight > 0.0);
        if is_constrained {
            s.d_constraint.clear();
            s.d_constraint.resize(s.logits.len(), 0.0);
            constraint_loss_backward(&s.logits, scale.constraints, &mut s.d_constraint);
        }
        cross_entropy_backward(&mut s.logits, DIGITS, &s.targets, scale.cross_entropy);
        if self.config.hypotheses {
            weigh(&s.assumed, &s.targets, &mut s.logits);
        }
        if is_constrained {
            add_scaled(&mut s.logits, 1.0, &s.d_constraint);
        }
        if h + 1 < self.config.h_cycles
            && let (Some(feedback), Some(answers)) = (&self.network.feedback, &mut s.answers)
        {
            feedback.backward(&self.weights, answers, &mut s.sums, h, &mut s.logits);
        }
        if let Some(open) = &mut s.open {
            open.gather_logits(&s.logits);
        }
        let d_read = s.open.as_ref().map_or(&s.logits, |open| &open.logits);
        self.network.read_out.backward(&self.weights, &s.answer, &mut s.sums, d_read, &mut s.h, &mut s.d_y);
    }

    /// Backward pass of `z <- z + alpha R(x_emb + y + z)`: from the gradient of the new z those of x_emb, y and the
    /// old z.
    fn refine_latent_backward(&self, s: &mut Shard, h: usize, l: usize, dropout: &Dropout) {
        let (gate, at) = (self.network.latent_gate, self.place(s, h, l));
        let application = self.application(&at, gate, &s.units, dropout);
        let (w, tape) = (&self.weights, &mut s.tapes[at.cycle].latent);
        self.network.state_norm.backward(&mut tape.norm, at.slot, &mut s.d_z);
        self.update_state_backward(&mut s.h, &s.d_z, (tape, at.slot), gate, &mut s.sums);
        self.network.latent.backward(w, &mut tape.stack, &mut s.sums, &mut s.h, &mut s.scratch, application);
        self.identity_path_backward(&mut s.d_z, &s.h);
        if self.config.update != Update::Single {
            add_scaled(&mut s.d_y, 1.0, &s.h);
        }
        let d_seen = s.answers.as_mut().map_or(&mut s.d_x_emb, |answers| &mut answers.d_seen);
        add_scaled(d_seen, 1.0, &s.h);
    }

    /// Backward pass of `y <- y + beta O(y + z)`: from the gradient of the new y those of z and the old y.
    fn refine_output_backward(&self, s: &mut Shard, h: usize, dropout: &Dropout) {
        if self.config.update == Update::Single {
            add_scaled(&mut s.d_z, 1.0, &s.d_y);
            return s.d_y.fill(0.0);
        }
        let (gate, at) = (self.network.output_gate, self.place_of_output(s, h));
        let application = self.application(&at, gate, &s.units, dropout);
        let (w, tape) = (&self.weights, &mut s.tapes[at.cycle].output);
        self.network.state_norm.backward(&mut tape.norm, at.slot, &mut s.d_y);
        self.update_state_backward(&mut s.h, &s.d_y, (tape, at.slot), gate, &mut s.sums);
        self.network.output.backward(w, &mut tape.stack, &mut s.sums, &mut s.h, &mut s.scratch, application);
        self.identity_path_backward(&mut s.d_y, &s.h);
        add_scaled(&mut s.d_z, 1.0, &s.h);
    }

    /// Gradient of the stack's result from the gradient of the new state; adds that of the gate, if it acts here.
    fn update_state_backward(
        &self,
        d_result: &mut [f32],
        d_state: &[f32],
        (tape, slot): (&RefinementTape, usize),
        gate: Id,
        sums: &mut RowSums,
    ) {
        match self.config.update {
            Update::Documented => {
                d_result.fill(0.0);
                gate_forward(d_result, self.weights.values(gate), d_state);
                let result = &tape.result[slot * d_state.len()..(slot + 1) * d_state.len()];
                gate_backward(d_state, result, &mut sums[gate]);
            }
            Update::Original | Update::Single => d_result.copy_from_slice(d_state),
        }
    }

    /// Adds up the two gradients of the old state, through the stack and past it (documented). For the other updates
    /// only the gradient through the stack counts, since only the stack sees the old state.
    fn identity_path_backward(&self, d_state: &mut [f32], d_input: &[f32]) {
        match self.config.update {
            Update::Documented => add_scaled(d_state, 1.0, d_input),
            Update::Original | Update::Single => d_state.copy_from_slice(d_input),
        }
    }
}
