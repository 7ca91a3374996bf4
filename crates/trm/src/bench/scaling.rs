//! Training speed against the size of the batch, the width of the model, its cycles, and the number of threads.

use super::machine::ceiling_of;
use super::{BenchError, PhaseShares, Speed, training};
use crate::config::{NetworkConfig, TrainingConfig, TrmConfig};
use crate::parallel::Threads;
use serde::Serialize;
use std::collections::BTreeMap;

/// Measurements that vary one setting; all others stay as configured.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Name of the setting that was varied.
    pub name: &'static str,
    /// The measurements, in the order of the setting's values.
    pub points: Vec<Point>,
}

/// The measurement for one value of the setting.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The value of the setting, as printed.
    pub label: String,
    /// Worker threads that the measurement ran on.
    pub threads: usize,
    /// The speed that was measured.
    pub speed: Speed,
}

/// All of a scaling study.
#[derive(Clone, Debug, Serialize)]
pub struct Scaling {
    /// One sweep for each setting that was varied.
    pub sweeps: Vec<Sweep>,
    /// Shares of the phases of a step, at a small and a large batch.
    pub phases: Vec<PhaseShares>,
}

/// A configuration to be measured, and on how many threads.
struct Plan {
    label: String,
    config: TrmConfig,
    threads: usize,
}

/// Measures training along every axis; `say` is told the axis and the value before each measurement.
///
/// The peak is measured before each too, and the largest for so many threads is what shares are taken of: what disturbs the
/// machine only ever makes it smaller.
pub fn sweeps(
    base: &TrmConfig,
    threads: usize,
    seconds: f64,
    mut say: impl FnMut(&str, &str),
) -> Result<Vec<Sweep>, BenchError> {
    let mut measured: Vec<Sweep> = Vec::new();
    let mut ceilings: BTreeMap<usize, f64> = BTreeMap::new();
    for (name, plans) in plans(base, threads) {
        let mut points = Vec::new();
        for Plan { label, config, threads } in plans {
            say(name, &label);
            let workers = Threads::new(threads);
            let ceiling = ceiling_of(config.network.precision.format(), &workers);
            let largest = ceilings.entry(threads).or_default();
            *largest = largest.max(ceiling);
            points.push(Point {
                label,
                threads,
                speed: training(&config, config.training.batch_size, &workers, ceiling, seconds)?,
            });
        }
        measured.push(Sweep { name, points });
    }
    for point in measured.iter_mut().flat_map(|sweep| &mut sweep.points) {
        point.speed.share_of_peak = point.speed.flop_per_s / ceilings[&point.threads];
    }
    Ok(measured)
}

fn plans(base: &TrmConfig, threads: usize) -> Vec<(&'static str, Vec<Plan>)> {
    let plan = |label: String, config| Plan { label, config, threads };
    let batch = |batch_size: usize| {
        plan(
            batch_size.to_string(),
            TrmConfig { training: TrainingConfig { batch_size, ..base.training.clone() }, ..base.clone() },
        )
    };
    let width = |hidden_dim: usize| {
        plan(
            hidden_dim.to_string(),
            TrmConfig { network: NetworkConfig { hidden_dim, ..base.network.clone() }, ..base.clone() },
        )
    };
    let cycles = |(h_cycles, l_cycles): (usize, usize)| {
        plan(
            format!("{h_cycles}x{l_cycles}"),
            TrmConfig {
                network: NetworkConfig { h_cycles, l_cycles, ..base.network.clone() },
                ..base.clone()
            },
        )
    };
    let powers = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|n| *n < threads);
    let on = |threads: usize| Plan { label: threads.to_string(), config: base.clone(), threads };
    vec![
        ("batch_size", [16, 32, 64, 256, 1024].map(batch).into()),
        ("hidden_dim", [128, 256, 512, 1024].map(width).into()),
        ("H_cycles x L_cycles", [(1, 1), (2, 4), (4, 8), (4, 16)].map(cycles).into()),
        ("threads", powers.chain([threads]).map(on).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_count_up_to_all_is_measured_once() {
        let labels = |threads| {
            let plans = plans(&TrmConfig::default(), threads);
            plans[3].1.iter().map(|plan| plan.label.clone()).collect::<Vec<_>>()
        };
        assert_eq!(labels(1), ["1"]);
        assert_eq!(labels(4), ["1", "2", "4"]);
        assert_eq!(labels(6), ["1", "2", "4", "6"]);
    }
}
