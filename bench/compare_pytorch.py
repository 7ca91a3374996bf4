#!/usr/bin/env python3
"""Speed of trm next to PyTorch on this machine: samples per second of one model, and the ratio.

    cargo build --release
    python3 bench/compare_pytorch.py                                       # training in f32, batch 64 and 256
    python3 bench/compare_pytorch.py --steps 3 --repeats 3                 # quick look, under 2 minutes
    python3 bench/compare_pytorch.py --precision bf16 --compile --batch-sizes 64 1024
    python3 bench/compare_pytorch.py --mode infer --json > inference.json
    python3 bench/compare_pytorch.py --model cells --batch-sizes 128        # that of presets/cells.toml

Needs PyTorch (it installs nothing): python3 -m venv ~/.cache/trm/torch-venv, then that folder's
`bin/pip install torch`. The Python of that environment is found by itself; --torch-python names another.

A training step is forward, loss, backward, clipping and AdamW with weight decay on matrices only; dropout is on.
Inference is the forward pass alone. Every measurement is a process of its own that makes one step to warm up
(three under --compile) and times --steps more; the two programs take turns for --repeats rounds, so that a change
of the machine's mood meets both. The table shows medians over the rounds and the largest memory of a round.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_VENV = Path(os.environ.get("TRM_TORCH_VENV", Path.home() / ".cache/trm/torch-venv"))
DOCUMENTED = {"hidden_dim": 512, "L_layers": 3, "L_cycles": 8, "H_cycles": 4, "output_layers": 2, "dropout": 0.1}
CELLS = {
    "state": "cell",
    "mixing": "unit_attention",
    "heads": 6,
    "hidden_dim": 96,
    "update": "single",
    "L_layers": 2,
    "output_layers": 0,
    "L_cycles": 1,
    "H_cycles": 8,
    "supervision": "every",
    "state_norm": "true",
    "output_norm": "true",
    "dropout": 0.0,
}
MODELS = {"documented": DOCUMENTED, "cells": CELLS}


def measure_trm(args, batch_size):
    """One run of ours: {"samples_per_s", "peak_memory_mb"}."""
    command = [args.trm, "bench", "--batch-size", batch_size, "--steps", args.steps, "--threads", args.threads]
    settings = [f"{key}={value}" for key, value in MODELS[args.model].items()]
    record = run_json(command + ["--json", "--set", f"precision={args.precision}", *settings])
    if args.mode == "infer":
        record["samples_per_s"] = record["inference_samples_per_s"]
    return record


def measure_pytorch(args, batch_size):
    """One run of PyTorch, in this same script under the Python that has it: the same record."""
    command = [args.torch_python, __file__, "--one-pytorch-run", "--batch-sizes", batch_size]
    for option in ("model", "steps", "threads", "precision", "mode"):
        command += [f"--{option}", getattr(args, option)]
    return run_json(command + (["--compile"] if args.compile else []))


def run_json(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed with status {done.returncode}: {' '.join(str(word) for word in command)}")
    return json.loads(done.stdout)


def build_documented():
    """The documented model as one would write it for speed in PyTorch: nothing is computed twice."""
    import torch
    from torch import nn

    d, p = DOCUMENTED["hidden_dim"], DOCUMENTED["dropout"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(p), nn.Linear(4 * d, d), nn.Dropout(p)
            )

        def forward(self, h):
            return h + self.net(h)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_proj = nn.Linear(810, d)
            self.latent_layers = nn.Sequential(*(Block() for _ in range(DOCUMENTED["L_layers"])))
            self.output_layers = nn.Sequential(*(Block() for _ in range(DOCUMENTED["output_layers"])))
            self.output_proj = nn.Linear(d, 729)
            self.latent_gate = nn.Parameter(torch.full((1,), 0.3))
            self.output_gate = nn.Parameter(torch.full((1,), 0.3))

        def forward(self, x):
            x_emb = self.input_proj(x.flatten(1))
            y = z = torch.zeros_like(x_emb)
            for _ in range(DOCUMENTED["H_cycles"]):
                for _ in range(DOCUMENTED["L_cycles"]):
                    z = z + self.latent_gate * self.latent_layers(x_emb + y + z)
                y = y + self.output_gate * self.output_layers(y + z)
            return self.output_proj(y).view(1, -1, 81, 9)

    return Model()


def build_cells():
    """The model of presets/cells.toml: a third of the heads sees rows, a third columns, a third boxes, nine cells at a time."""
    import torch
    from torch import nn

    d, heads = CELLS["hidden_dim"], CELLS["heads"]
    rows = torch.arange(81).view(9, 9)
    boxes = rows.view(3, 3, 3, 3).transpose(1, 2).reshape(9, 9)
    orders = [order.flatten() for order in (rows, rows.T, boxes)]

    class UnitAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.qkv, self.output = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)

        def forward(self, h):
            batch = h.shape[0]
            qkv = self.qkv(self.norm(h)).view(batch, 81, 3, 3, heads // 3, d // heads)
            attended = []
            for kind, order in enumerate(orders):
                units = qkv[:, order, :, kind].view(batch, 9, 9, 3, heads // 3, d // heads)
                query, key, value = units.permute(3, 0, 1, 4, 2, 5)
                of_units = nn.functional.scaled_dot_product_attention(query, key, value)
                attended.append(of_units.transpose(2, 3).reshape(batch, 81, d // 3)[:, order.argsort()])
            return h + self.output(torch.cat(attended, -1))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = UnitAttention()
            self.net = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

        def forward(self, h):
            h = self.attention(h)
            return h + self.net(h)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_proj = nn.Linear(10, d)
            self.latent_layers = nn.Sequential(*(Block() for _ in range(CELLS["L_layers"])))
            self.output_norm, self.output_proj = nn.LayerNorm(d), nn.Linear(d, 9)

        def forward(self, x):
            x_emb = self.input_proj(x)
            z, answers = torch.zeros_like(x_emb), []
            for _ in range(CELLS["H_cycles"]):
                for _ in range(CELLS["L_cycles"]):
                    z = nn.functional.rms_norm(self.latent_layers(x_emb + z), (d,), eps=1e-5)
                answers.append(self.output_proj(self.output_norm(z)))
            return torch.stack(answers)

    return Model()


def run_pytorch(args):
    """Times `args.steps` steps in this process and prints the record."""
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    batch_size = args.batch_sizes[0]
    model = {"documented": build_documented, "cells": build_cells}[args.model]().train(args.mode == "train")
    forward = torch.compile(model) if args.compile else model
    cells = torch.randint(0, 10, (batch_size, 81))
    targets = torch.randint(0, 9, (batch_size, 81))
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0},
        ],
        lr=1e-4,
    )

    def logits():
        """The answers that the loss is taken of, [answers, batch, 81, 9]."""
        x = torch.nn.functional.one_hot(cells, 10).float()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            return forward(x)

    def train_step():
        answers = logits()
        every_target = targets.expand(len(answers), -1, -1)
        loss = torch.nn.functional.cross_entropy(answers.reshape(-1, 9).float(), every_target.reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    def infer_step():
        with torch.inference_mode():
            return logits()[-1].argmax(-1).sum().item()

    step = train_step if args.mode == "train" else infer_step
    for _ in range(3 if args.compile else 1):
        step()
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    record = {"samples_per_s": batch_size / statistics.median(seconds), "peak_memory_mb": peak_kib / 1024}
    print(json.dumps({**record, "torch": torch.__version__}))


def compare(args):
    """Alternating rounds for every batch size; returns the rows of the table."""
    programs = {"pytorch": measure_pytorch, "trm": measure_trm}
    programs = {name: measure for name, measure in programs.items() if args.only in (None, name)}
    rows = []
    for batch_size in args.batch_sizes:
        rounds = {name: [] for name in programs}
        for repeat in range(args.repeats):
            for name, measure in programs.items():
                record = measure(args, batch_size)
                rounds[name].append(record)
                line = f"batch {batch_size} round {repeat + 1}: {name} {record['samples_per_s']:.1f} samples/s"
                print(line, file=sys.stderr, flush=True)
        row = {"batch_size": batch_size}
        for name, records in rounds.items():
            speeds = [record["samples_per_s"] for record in records]
            row[name] = {
                "samples_per_s": statistics.median(speeds),
                "slowest": min(speeds),
                "fastest": max(speeds),
                "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
            }
        if len(programs) == 2:
            row["ratio"] = row["trm"]["samples_per_s"] / row["pytorch"]["samples_per_s"]
        rows.append(row)
    return rows


def print_table(args, rows):
    compiled = ", torch.compile" if args.compile else ""
    what = "training step" if args.mode == "train" else "inference"
    print(f"\n{args.model.capitalize()} model, {what}, {args.precision}{compiled}, {args.threads} threads, median of {args.repeats}\n")
    names = [name for name in ("pytorch", "trm") if name in rows[0]]
    titles = ["batch"] + [title for name in names for title in (f"{name} samples/s", "(range)", "peak MB")]
    table = [titles + (["trm / pytorch"] if "ratio" in rows[0] else [])]
    for row in rows:
        cells = [str(row["batch_size"])]
        for name in names:
            cell = row[name]
            cells.append(f"{cell['samples_per_s']:.1f}")
            cells.append(f"{cell['slowest']:.1f}-{cell['fastest']:.1f}")
            cells.append(f"{cell['peak_memory_mb']:.0f}")
        table.append(cells + ([f"{row['ratio']:.2f}x"] if "ratio" in row else []))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for number, line in enumerate(table):
        print("| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")


def check_programs(args):
    """Stops with what to do where one of the two programs is missing."""
    if args.only != "trm":
        found = subprocess.run([args.torch_python, "-c", "import torch"], capture_output=True)
        if found.returncode != 0:
            sys.exit(
                f"{args.torch_python} has no PyTorch. Install it with\n"
                f"    python3 -m venv {TORCH_VENV} && {TORCH_VENV}/bin/pip install torch\n"
                "or name a Python that has it with --torch-python."
            )
    if args.only != "pytorch" and not Path(args.trm).exists():
        sys.exit(f"{args.trm} does not exist: run `cargo build --release`, or name the program with --trm.")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    venv_python = TORCH_VENV / "bin/python"
    positive = lambda text: max(1, int(text))  # noqa: E731
    parser.add_argument("--model", choices=list(MODELS), default="documented")
    parser.add_argument("--batch-sizes", type=positive, nargs="+", default=[64, 256])
    parser.add_argument("--steps", type=positive, default=8, help="timed steps of a run")
    parser.add_argument("--repeats", type=positive, default=5, help="rounds")
    parser.add_argument("--threads", type=positive, default=os.cpu_count())
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: autocast in PyTorch")
    parser.add_argument("--compile", action="store_true", help="torch.compile for PyTorch (minutes to start)")
    parser.add_argument("--mode", choices=["train", "infer"], default="train")
    parser.add_argument("--only", choices=["pytorch", "trm"], help="measure one side")
    parser.add_argument("--json", action="store_true", help="print a JSON object in place of the table")
    parser.add_argument("--trm", default=str(ROOT / "target/release/trm"), help="our program")
    parser.add_argument("--torch-python", default=str(venv_python) if venv_python.exists() else sys.executable)
    parser.add_argument("--one-pytorch-run", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_arguments()
    if args.one_pytorch_run:
        return run_pytorch(args)
    check_programs(args)
    rows = compare(args)
    if args.json:
        settings = {name: getattr(args, name) for name in ("model", "mode", "precision", "compile", "threads", "steps", "repeats")}
        print(json.dumps({**settings, "rows": rows}, indent=2))
    else:
        print_table(args, rows)


if __name__ == "__main__":
    main()
