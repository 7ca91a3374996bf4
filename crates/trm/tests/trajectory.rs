//! One loop answers puzzles and is looked on: a trace shows what gave the answer, and the answer to a puzzle depends on
//! nothing but the model, the budget and the puzzle.

use trm::checkpoint::Checkpoint;
use trm::compress::quantise;
use trm::config::{ConfigLayers, TrmConfig};
use trm::model::{Budget, Model, Prediction, Thinker, TrajectoryEnd, paper};
use trm::ops::Levels;
use trm::parallel::Threads;
use trm::solve::{Answer, Givens, solve};
use trm::sudoku::{Generator, Grid};
use trm::trace::{Digit, Event, Trace, VERSION, solve_traced};
use trm::train::{Trainer, TrainingData};

/// Settings of every kind of model, by name: small, and with several cycles.
const KINDS: [(&str, &str); 8] = [
    ("documented", "L_layers=2 output_layers=1"),
    ("documented with random first states", "init_noise=1 state_norm=true supervision=every"),
    ("original", "update=original"),
    ("cells", "state=cell mixing=unit_attention heads=3 update=single output_layers=0 feedback=true"),
    ("cells with attention", "state=cell mixing=attention heads=3 positions=rotary init_noise=0.5"),
    (
        "candidates",
        "state=candidate mixing=unit_mean update=single output_layers=0 init_noise=1 supervision=every",
    ),
    (
        "open candidates",
        "state=open_candidate mixing=unit_mean update=single output_layers=0 init_noise=1 supervision=every",
    ),
    (
        "hypotheses",
        "state=open_candidate mixing=unit_mean update=single output_layers=0 init_noise=1 supervision=every hypotheses=true \
         segments=4 state_norm=true output_norm=true",
    ),
];

fn model(settings: &str, steps: usize) -> Model {
    let shape = "hidden_dim=12 expansion=2 L_cycles=2 H_cycles=2 dropout=0 batch_size=12 epochs=4 lr=1e-2 gate_init=0.5";
    let settings = format!("{shape} {settings} generate_samples=1");
    let layers = settings.split_whitespace().try_fold(ConfigLayers::default(), ConfigLayers::set);
    let config = layers.and_then(ConfigLayers::build).unwrap();
    let train = Generator::new(5, 74..=80).generate_many(60, &Threads::new(1)).unwrap();
    let data = TrainingData { train, ..TrainingData::default() };
    let mut trainer = Trainer::<Model>::new(config, data, Threads::new(2)).unwrap();
    for _ in 0..steps {
        trainer.step().unwrap();
    }
    trainer.model().clone()
}

/// Nearly full boards, some of which a model of seconds solves, and real puzzles, in turns; two of them come twice.
fn puzzles() -> Vec<Grid> {
    let easy = Generator::new(7, 78..=80).generate_many(4, &Threads::new(1)).unwrap();
    let hard = Generator::new(8, 28..=34).generate_many(2, &Threads::new(1)).unwrap();
    let order = [&hard[0], &easy[0], &easy[1], &hard[1], &hard[0], &easy[2], &easy[3], &easy[0]];
    order.map(|puzzle| puzzle.quiz).to_vec()
}

fn budgets(seed: u64) -> [Budget; 3] {
    [
        Budget { steps: 5, restarts: 0, guesses: 0, seed },
        Budget { steps: 4, restarts: 2, guesses: 0, seed },
        Budget { steps: 3, restarts: 1, guesses: 12, seed },
    ]
}

type Any = Box<dyn Thinker>;

fn predictions(model: &dyn Thinker, puzzles: &[Grid], budget: &Budget, threads: usize) -> Vec<Prediction> {
    let cells: Vec<u8> = puzzles.iter().flat_map(|puzzle| *puzzle.cells()).collect();
    model.predict(&cells, budget, &Threads::new(threads))
}

fn answers(model: &dyn Thinker, puzzles: &[Grid], givens: Givens, budget: &Budget) -> Vec<Answer> {
    solve(model, puzzles, givens, budget, &Threads::new(2))
}

fn traces(model: &dyn Thinker, puzzles: &[Grid], givens: Givens, budget: &Budget) -> Vec<(Answer, Trace)> {
    solve_traced(model, puzzles, givens, budget, &Threads::new(2))
}

/// Every kind, two with weights of whole numbers, and the paper's model in both variants.
fn models() -> Vec<(String, Any)> {
    let threads = Threads::new(1);
    let mut models: Vec<(String, Any)> = Vec::new();
    for (name, settings) in KINDS {
        let model = model(settings, 30);
        if ["documented", "hypotheses"].contains(&name) {
            let state = model.weights().state_dict();
            let config = TrmConfig { network: model.config().clone(), ..TrmConfig::default() };
            let checkpoint =
                Checkpoint { model: state, config, optimizer: None, history: None, training: None };
            let quantised = quantise(&checkpoint, Levels::Int8, None).into_model(&threads);
            models.push((format!("{name}, quantised"), Box::new(quantised)));
        }
        models.push((name.into(), Box::new(model)));
    }
    for mlp_t in [false, true] {
        let config = paper::Config {
            hidden_size: 16,
            num_heads: 2,
            l_layers: 1,
            l_cycles: 2,
            h_cycles: 2,
            mlp_t,
            mlp_width: 16,
            mlp_t_width: 16,
            puzzle_emb_len: 1,
            puzzle_emb_ndim: 16,
            ..paper::Config::default()
        };
        let weights = trm::network::Weights::first(&paper::Network::layout(&config), 3);
        models.push((
            format!("paper, mlp_t = {mlp_t}"),
            Box::new(paper::Model::new(config, weights, &threads)),
        ));
    }
    models
}

/// Asserts that predictions are the same, bit for bit, without printing thousands of numbers.
fn same(these: &[Prediction], those: &[Prediction], place: &str) {
    let counts = |p: &Prediction| (p.steps, p.restarts, p.guesses, p.flops, p.solved);
    assert!(these.iter().map(counts).eq(those.iter().map(counts)), "{place}: verdicts");
    let bits = |p: &Prediction| p.logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
    assert!(these.iter().map(bits).eq(those.iter().map(bits)), "{place}: logits");
}

#[test]
fn an_answer_is_the_same_bits_in_any_list_and_on_any_number_of_threads() {
    let puzzles = puzzles();
    for (name, model) in models() {
        let mut restarted = 0;
        for budget in budgets(9) {
            let together = predictions(&*model, &puzzles, &budget, 1);
            restarted += together.iter().filter(|p| p.restarts > 0).count();
            same(
                &together,
                &predictions(&*model, &puzzles, &budget, 2),
                &format!("{name}, {budget:?}: threads"),
            );
            let reversed: Vec<Grid> = puzzles.iter().rev().copied().collect();
            let mut turned = predictions(&*model, &reversed, &budget, 3);
            turned.reverse();
            same(&together, &turned, &format!("{name}, {budget:?}: the list turned round"));
            for (i, puzzle) in puzzles.iter().enumerate() {
                let alone = predictions(&*model, std::slice::from_ref(puzzle), &budget, 1);
                same(&together[i..=i], &alone, &format!("{name}, {budget:?}: puzzle {i} alone"));
            }
            same(&together[..1], &together[4..5], &format!("{name}: a puzzle that stands on two lines"));
        }
        let is_random = model.starts_at_random();
        assert_eq!(restarted > 0, is_random, "{name}");
    }
}

/// More puzzles than a shard of any kind holds.
#[test]
fn an_answer_is_the_same_bits_in_a_long_list() {
    let puzzles = Generator::new(11, 30..=80).generate_many(300, &Threads::new(2)).unwrap();
    let puzzles: Vec<Grid> = puzzles.iter().map(|puzzle| puzzle.quiz).collect();
    let budget = Budget { steps: 3, restarts: 1, guesses: 1, seed: 4 };
    for (name, settings) in [KINDS[1], KINDS[3], KINDS[7]] {
        let model = Box::new(model(settings, 10));
        let together = predictions(&*model, &puzzles, &budget, 2);
        for i in [0, 1, 100, 255, 256, 299] {
            same(
                &together[i..=i],
                &predictions(&*model, &puzzles[i..=i], &budget, 1),
                &format!("{name}: puzzle {i}"),
            );
        }
    }
}

#[test]
fn a_trace_shows_what_gave_the_answer_and_ends_with_it() {
    let puzzles = puzzles();
    let (mut solved, mut unsolved) = (Vec::new(), Vec::new());
    for (name, model) in models() {
        for (budget, givens) in
            budgets(2).into_iter().zip([Givens::Preserved, Givens::Predicted, Givens::Preserved])
        {
            let answers = answers(&*model, &puzzles, givens, &budget);
            let traced = traces(&*model, &puzzles, givens, &budget);
            for (i, (answer, (same, trace))) in answers.iter().zip(&traced).enumerate() {
                let place = format!("{name}, {budget:?}, puzzle {i}");
                let facts = |a: &Answer| {
                    (a.board, a.probabilities.clone(), [a.steps, a.restarts, a.guesses], a.solved)
                };
                assert!(facts(answer) == facts(same), "{place}: looking on changes nothing");
                shows(trace, answer, &budget, &place);
                if answer.solved { solved.push(name.clone()) } else { unsolved.push(name.clone()) }
            }
        }
    }
    for name in ["candidates", "open candidates", "hypotheses", "hypotheses, quantised"] {
        assert!(solved.iter().any(|n| n == name), "{name}: some are solved");
    }
    for (name, _) in models() {
        assert!(unsolved.contains(&name), "{name}: some are not solved");
    }
}

/// Checks a trace against the answer, and every event against those before it.
fn shows(trace: &Trace, answer: &Answer, budget: &Budget, place: &str) {
    assert_eq!((trace.version, &trace.budget), (VERSION, budget), "{place}");
    assert_eq!(trace.puzzle, answer.puzzle.to_line(), "{place}");
    let Some(Event::Answer { cycle, solved, board }) = trace.events.last() else {
        panic!("{place}: no answer")
    };
    assert_eq!((*solved, board), (answer.solved, &answer.board.to_line()), "{place}");
    let read = trace.cycles().find(|c| c.cycle == *cycle).unwrap();
    assert!(read.judged && read.board == *board && read.probabilities == answer.probabilities, "{place}");
    assert_eq!(trace.cycles().count(), answer.steps, "{place}");
    assert!(trace.cycles().map(|c| c.cycle).eq(1..=answer.steps), "{place}: cycles are counted through");

    let (mut restarts, mut guessed, mut hypotheses, mut guesses) = (0, 0, Vec::new(), Vec::<Digit>::new());
    let (mut of_attempt, mut is_solved) = (0, false);
    for event in &trace.events {
        match event {
            Event::TrajectoryBegun { restart, .. } => {
                (restarts, of_attempt) = (*restart, 0);
                hypotheses.clear();
            }
            Event::TrajectoryEnded { cycles, end, .. } => {
                assert_eq!(*cycles, of_attempt, "{place}");
                assert!(*end == TrajectoryEnd::Solved || *cycles == budget.steps, "{place}");
            }
            Event::HypothesesRevised { assumed, taken_back, all_taken_back } => {
                assert!(!assumed.is_empty() || !taken_back.is_empty(), "{place}");
                assert!(taken_back.iter().all(|d| hypotheses.contains(d)), "{place}");
                hypotheses.retain(|d| !taken_back.contains(d));
                assert_eq!(*all_taken_back, !taken_back.is_empty() && hypotheses.is_empty(), "{place}");
                hypotheses.extend(assumed);
                hypotheses.sort_by_key(|d| d.cell);
            }
            Event::SearchBegun { .. } => {
                of_attempt = 0;
                hypotheses.clear();
                assert!(guesses.is_empty(), "{place}");
            }
            Event::GuessBegun { guess, .. } => {
                (guessed, of_attempt) = (guessed + 1, 0);
                guesses.push(Digit { cell: guess.cell, digit: guess.digit });
                assert_eq!(guess.depth, guesses.len(), "{place}");
                assert!(guess.probability >= 0.01, "{place}");
            }
            Event::GuessTakenBack { guess, .. } => {
                let last = guesses.pop().unwrap();
                assert_eq!((guess.cell, guess.digit), (last.cell, last.digit), "{place}");
            }
            Event::SearchEnded { failure, .. } => {
                assert_eq!(failure.is_none(), is_solved, "{place}");
            }
            Event::Cycle(cycle) => {
                (of_attempt, is_solved) = (of_attempt + 1, cycle.judged && cycle.solved);
                assert_eq!(cycle.of_attempt, of_attempt, "{place}");
                assert_eq!(cycle.hypotheses, hypotheses, "{place}, cycle {}", cycle.cycle);
                let mut in_force = guesses.clone();
                in_force.sort_by_key(|d| d.cell);
                assert_eq!(cycle.guesses, in_force, "{place}, cycle {}", cycle.cycle);
                assert!(
                    cycle.latent_updates.len() == 2 && cycle.latent_updates.iter().all(|u| *u > 0.0),
                    "{place}"
                );
                assert!(cycle.output_update > 0.0, "{place}");
            }
            Event::Answer { .. } => {}
        }
    }
    assert_eq!((restarts, guessed), (answer.restarts, answer.guesses), "{place}");
}

#[test]
fn every_event_comes_back_from_json_under_its_name() {
    let model = Box::new(model(KINDS[7].1, 30));
    let budget = Budget { steps: 12, restarts: 1, guesses: 30, seed: 3 };
    let traced = traces(&*model, &puzzles(), Givens::Preserved, &budget);
    let mut all = String::new();
    for (_, trace) in &traced {
        let json = serde_json::to_string(trace).unwrap();
        assert_eq!(&serde_json::from_str::<Trace>(&json).unwrap(), trace);
        all.push_str(&json);
    }
    for name in [
        "trajectory_begun",
        "cycle",
        "hypotheses_revised",
        "trajectory_ended",
        "search_begun",
        "guess_begun",
        "guess_taken_back",
        "search_ended",
        "answer",
    ] {
        assert!(all.contains(&format!(r#""event":"{name}""#)), "{name}");
    }
}

#[test]
fn the_seed_of_the_budget_decides_where_guessing_starts() {
    let model = Box::new(model(KINDS[6].1, 10));
    let hard = puzzles()[0];
    let searched = |seed| {
        let budget = Budget { steps: 1, restarts: 0, guesses: 3, seed };
        let (_, trace) = traces(&*model, &[hard], Givens::Preserved, &budget).pop().unwrap();
        trace.cycles().filter(|c| c.cycle > 1).map(|c| c.probabilities.clone()).collect::<Vec<_>>()
    };
    assert_eq!(searched(1), searched(1));
    assert_ne!(searched(1), searched(2));
}

#[test]
fn the_work_of_an_answer_is_that_of_its_cycles() {
    let puzzles = puzzles();
    let model = model(KINDS[1].1, 1);
    let (of_one_pass, _) = trm::model::flops_per_sample(model.config());
    // A pass reads out once, a trajectory of this model after each of its two cycles.
    let (d, logits) = (model.config().hidden_dim as u64, 81 * 9);
    let budget = Budget { steps: 2, restarts: 0, guesses: 0, seed: 1 };
    let predictions = predictions(&model, &puzzles[..1], &budget, 1);
    assert_eq!(predictions[0].flops, of_one_pass + 2 * d * logits);
}
