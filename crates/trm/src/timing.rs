//! Where the time goes: an operation says which phase it belongs to, and [`profile`] adds up what each takes on every thread.
//!
//! Outside of [`profile`] an operation pays for one comparison.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The phases of a step, by what their time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `x W^T`, the rounding of x included.
    ForwardProducts,
    /// `d_y W`
    BackwardProducts,
    /// `d_y^T x`, packing x included.
    WeightGradients,
    /// Attention between its linear maps.
    Attention,
    /// LayerNorm and RMS norm, forward and backward.
    Norms,
    /// GELU, forward and backward.
    Activations,
    /// Masks, made again wherever they are needed.
    Dropout,
    /// Sums of states, gates, and sums over rows for biases.
    States,
    /// The one-hot input and its gradient.
    Input,
    /// Cross-entropy and its gradient.
    Loss,
    /// Weights, once for each step, and rows laid out for products.
    Packing,
    /// Norm of the gradient, clipping and AdamW.
    Optimizer,
    /// Puzzles drawn and turned.
    Data,
}

impl Phase {
    /// All phases, in the order of the enum.
    pub const ALL: [Self; 13] = [
        Self::ForwardProducts,
        Self::BackwardProducts,
        Self::WeightGradients,
        Self::Attention,
        Self::Norms,
        Self::Activations,
        Self::Dropout,
        Self::States,
        Self::Input,
        Self::Loss,
        Self::Packing,
        Self::Optimizer,
        Self::Data,
    ];

    /// Name as printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForwardProducts => "forward products",
            Self::BackwardProducts => "backward products",
            Self::WeightGradients => "weight gradients",
            Self::Attention => "attention",
            Self::Norms => "norms",
            Self::Activations => "GELU",
            Self::Dropout => "dropout",
            Self::States => "states and biases",
            Self::Input => "input",
            Self::Loss => "loss",
            Self::Packing => "packing",
            Self::Optimizer => "optimiser",
            Self::Data => "data",
        }
    }
}

static IS_PROFILING: AtomicBool = AtomicBool::new(false);
static NANOSECONDS: [AtomicU64; Phase::ALL.len()] = [const { AtomicU64::new(0) }; Phase::ALL.len()];

thread_local! {
    /// The phase that this thread is in, and since when it was last counted.
    static CURRENT: Cell<Option<(Phase, Instant)>> = const { Cell::new(None) };
}

/// Counts the time of this thread to `phase` until the result is dropped; an inner phase interrupts an outer one.
#[must_use]
#[inline]
pub fn phase(phase: Phase) -> Option<Timed> {
    IS_PROFILING.load(Relaxed).then(|| Timed { outer: switch(Some(phase)) })
}

/// A phase that is being counted.
#[derive(Debug)]
pub struct Timed {
    outer: Option<Phase>,
}

impl Drop for Timed {
    fn drop(&mut self) {
        switch(self.outer);
    }
}

/// Adds the time since the last call to the current phase and goes on with another phase; returns the phase before.
fn switch(next: Option<Phase>) -> Option<Phase> {
    let now = Instant::now();
    let (former, since) = CURRENT.replace(next.map(|phase| (phase, now)))?;
    NANOSECONDS[former as usize].fetch_add(now.duration_since(since).as_nanos() as u64, Relaxed);
    Some(former)
}

/// Runs `body` and returns the seconds that all threads together spent in each phase. One profile at a time.
pub fn profile<R>(body: impl FnOnce() -> R) -> (R, [f64; Phase::ALL.len()]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    NANOSECONDS.iter().for_each(|sum| sum.store(0, Relaxed));
    IS_PROFILING.store(true, Relaxed);
    let result = body();
    IS_PROFILING.store(false, Relaxed);
    (result, std::array::from_fn(|i| NANOSECONDS[i].load(Relaxed) as f64 * 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_inner_phase_interrupts_the_outer_one() {
        let pause = || std::thread::sleep(Duration::from_millis(20));
        let ((), seconds) = profile(|| {
            let _outer = phase(Phase::WeightGradients);
            pause();
            {
                let _inner = phase(Phase::Packing);
                pause();
            }
            pause();
        });
        assert!(phase(Phase::Loss).is_none());
        let of = |phase: Phase| seconds[phase as usize];
        // Other tests run beside this one and are counted too: there are only lower bounds.
        assert!(of(Phase::WeightGradients) >= 0.04, "{seconds:?}");
        assert!(of(Phase::Packing) >= 0.02, "{seconds:?}");
    }

    #[test]
    fn the_order_is_that_of_the_enum() {
        assert!(Phase::ALL.iter().enumerate().all(|(i, phase)| *phase as usize == i));
    }
}
