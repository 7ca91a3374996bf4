//! What a run is said to take is what it takes: plans next to what the allocator hands out.

mod kinds;

use kinds::EVERY_KIND;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use trm::config::{CheckpointActivations, ConfigLayers, Precision, TrmConfig};
use trm::model::{Batch, Engine, MemoryPlan, Model, Recording, States, TrainingStep, paper};
use trm::network::Weights;
use trm::ops::Dropout;
use trm::parallel::Threads;

/// Counts the bytes that are handed out and not given back.
struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);
/// One test at a time, since they share the count.
static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What `make` returns, and the bytes that it holds.
fn held<T>(make: impl FnOnce() -> T) -> (T, i64) {
    let before = LIVE.load(Ordering::Relaxed);
    let made = make();
    (made, LIVE.load(Ordering::Relaxed) - before)
}

/// Lists of digits, units and the structs that hold the buffers are not planned; they are small next to activations.
#[track_caller]
fn assert_planned(planned: u64, allocated: i64, what: &str) {
    let (planned, small) = (planned as i64, 16_384 + planned as i64 / 50);
    assert!((allocated - planned).abs() <= small, "{what}: {planned} bytes planned, {allocated} allocated");
}

fn config(kind: &str, precision: Precision) -> TrmConfig {
    let sizes = "hidden_dim=48 L_layers=2 output_layers=2 L_cycles=3 H_cycles=3 heads=3";
    let settings = sizes.split(' ').chain(kind.split_whitespace());
    let layers = settings.fold(ConfigLayers::default(), |layers, setting| layers.set(setting).unwrap());
    let mut config = layers.build().unwrap();
    config.network.precision = precision;
    config
}

#[test]
fn shards_of_every_kind_hold_what_is_planned() {
    let _alone = ALONE.lock();
    for kind in EVERY_KIND {
        for precision in [Precision::F32, Precision::Bf16, Precision::Fixed12] {
            let model = Model::first(config(kind, precision).network, &Threads::new(1));
            for recording in [Recording::Nothing, Recording::Cycle, Recording::Everything] {
                for puzzles in [1, 3] {
                    let (_shard, allocated) = held(|| model.shard(puzzles, recording));
                    let planned = MemoryPlan::of_shard(model.config(), puzzles, recording);
                    assert_planned(
                        planned,
                        allocated,
                        &format!("{kind}, {precision:?}, {recording:?}, {puzzles}"),
                    );
                }
            }
        }
    }
}

/// What an engine holds after a step is what the plan says of a step: activations, and gradients but for those of one lane, which
/// are the caller's.
#[test]
fn a_training_step_of_every_kind_holds_what_is_planned() {
    let _alone = ALONE.lock();
    for kind in EVERY_KIND {
        for checkpoint_activations in [CheckpointActivations::None, CheckpointActivations::Cycle] {
            let mut config = config(kind, Precision::F32);
            (config.run.checkpoint_activations, config.training.batch_size) = (checkpoint_activations, 20);
            config.training.constraint_weight = 0.0;
            let (threads, puzzles) = (Threads::new(1), config.training.batch_size);
            let model = Model::first(config.network.clone(), &threads);
            let batch = Batch { cells: vec![0; puzzles * 81], targets: vec![0; puzzles * 81] };
            let mut states = States::initial(&config.network, 0, 0..puzzles as u64);
            let mut grads = Weights::zeros(model.weights().layout());
            let step = TrainingStep {
                number: 0,
                hypotheses: false,
                dropout: Dropout::OFF,
                constraint_weights: [0.0; 3],
            };
            let pass = |states: &mut States, grads: &mut Weights| {
                let mut engine = Engine::new(Recording::for_training(&config.run));
                engine.forward_backward(&model, &batch, states, &step, grads, &threads);
                engine
            };
            // The first product of a thread takes the buffers that gemm keeps for it.
            drop(pass(&mut states.clone(), &mut grads));
            let (_engine, allocated) = held(|| pass(&mut states, &mut grads));
            let plan = MemoryPlan::for_training(&config, 1);
            let callers = 4 * grads.layout().count();
            let planned = plan.training_activations + plan.gradients - callers;
            assert_planned(planned, allocated, &format!("{kind}, {checkpoint_activations:?}"));
        }
    }
}

#[test]
fn a_puzzle_of_the_papers_model_holds_what_is_planned() {
    let _alone = ALONE.lock();
    for mlp_t in [false, true] {
        let sizes = paper::Config {
            hidden_size: 32,
            num_heads: 4,
            mlp_width: 48,
            mlp_t_width: 40,
            ..Default::default()
        };
        let config = paper::Config { puzzle_emb_ndim: 32, puzzle_emb_len: 4, mlp_t, ..sizes };
        let weights = Weights::first(&paper::Network::layout(&config), 1);
        let model = paper::Model::new(config.clone(), weights, &Threads::new(1));
        let (_board, allocated) = held(|| model.board(true));
        assert_planned(config.activation_bytes(), allocated, &format!("mlp_t = {mlp_t}"));
    }
}
