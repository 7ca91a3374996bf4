#!/usr/bin/env python3
"""The specification's research directions, each with and without: same budget, two seeds, rows never trained on.

    cargo build --release
    python3 bench/study.py --data kaggle-15k.csv --out study            # all; runs that are done already are kept
    python3 bench/study.py --data kaggle-15k.csv --out study --only vector-gates units
    python3 bench/study.py --data kaggle-15k.csv --out study --only f32 --seeds 1 2 3

The model is the documented one with a shorter recursion (3 x 2 cycles instead of 8 x 4), so that a run takes minutes. Trained
directions are compared by `trm compare`, which writes a table and study/directions.png; quantisation and pruning by
`trm compress`, on the baseline of each seed.
"""

import argparse
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ["hidden_dim=512", "L_layers=3", "L_cycles=3", "H_cycles=2", "gate_init=0.3", "lr=5e-4", "warmup_steps=200"]
BUDGET = ["holdout_rows=1000", "augment=true", "epochs=6", "patience=0"]
DIRECTIONS = {
    "baseline": [],
    "vector-gates": ["gates=vector"],
    "units": ["constraint_weight=1"],
    "easy-to-hard": ["curriculum=easy_to_hard", "curriculum_by=givens"],
    "hard-first": ["curriculum=hard_first", "curriculum_by=givens"],
    "competence": ["curriculum=competence", "curriculum_by=givens"],
    "pruned": ["prune=structured", "sparsity=0.5"],
}
# No direction: what rounding products to bfloat16 costs, which the others do where the CPU has an instruction for it.
PRECISION = {"f32": ["precision=f32"]}


def train(args, name, seed):
    """The folder of one run, made if it is not there."""
    folder = args.out / f"{name}-{seed}"
    if not (folder / "holdout.json").exists():
        settings = [*BASELINE, *BUDGET, *(DIRECTIONS | PRECISION)[name], f"seed={seed}"]
        started = (folder / "trm_sudoku_last.pt").exists()
        goes_on = ["--resume"] if started else ["--data", args.data, "--set", *settings]
        run([args.trm, "train", "--run", folder, *goes_on])
    return folder


def run(command):
    """Runs a command, shown first."""
    command = [str(part) for part in command]
    print("$", " ".join(command), flush=True)
    subprocess.run(command, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CSV with puzzles and solutions; its last 1,000 rows are held out")
    parser.add_argument("--out", type=Path, default=Path("study"), help="folder of the runs and results [study]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=DIRECTIONS | PRECISION, default=list(DIRECTIONS), metavar="DIRECTION")
    parser.add_argument("--trm", default=ROOT / "target/release/trm", help="the program [target/release/trm]")
    args = parser.parse_args()
    names = ["baseline", *(name for name in args.only if name != "baseline")]
    folders = {name: [train(args, name, seed) for seed in args.seeds] for name in names}
    runs = [folder for name in names for folder in folders[name]]
    run([args.trm, "compare", *runs, "--plot", args.out / "directions.png"])


if __name__ == "__main__":
    main()
