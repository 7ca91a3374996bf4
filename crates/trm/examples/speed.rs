//! scratch
use std::time::Instant;
use trm::{config::*, model::*, ops::Dropout, parallel::Threads, train::optimizer::*};
fn main() {
    let b: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let t: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let config = TrmConfig { batch_size: b, ..TrmConfig::default() };
    let threads = Threads::new(t);
    let mut model = Model::new(config.clone(), Params::init(&config), &threads);
    let mut engine = Engine::new(Recording::for_training(&config));
    let mut adam = AdamW::new(&config);
    let mut grads = Params::zeros(&config);
    let batch = Batch {
        cells: (0..b * 81).map(|i| (i * 7 % 10) as u8).collect(),
        targets: (0..b * 81).map(|i| (i * 5 % 9) as u8).collect(),
    };
    for step in 0..6 {
        let s = Instant::now();
        grads.clear();
        let tally =
            engine.forward_backward(&model, &batch, &Dropout::new(0.1, 1, step), &mut grads, &threads);
        let t1 = s.elapsed();
        let norm = global_norm(&grads, &threads);
        let t2 = s.elapsed();
        model.update_params(&threads, |p| {
            adam.update(&config, 1e-4, clip_factor(norm, 1.0), [p, &mut grads], None, &threads)
        });
        let t3 = s.elapsed();
        println!(
            "{:.1}/s loss {:.4} norm {norm:.4} fb {:?} norm {:?} opt {:?}",
            b as f64 / t3.as_secs_f64(),
            tally.loss(),
            t1,
            t2 - t1,
            t3 - t2
        );
    }
}
