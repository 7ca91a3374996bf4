#!/usr/bin/env python3
"""Speed of a documented model with 8-bit weights: trm compress next to ONNX Runtime's dynamic quantisation.

    cargo build --release
    python3 bench/compare_onnx.py checkpoints/trm_sudoku_production.pt
    python3 bench/compare_onnx.py model.pt --batch-sizes 1 64 --repeats 3 --data sudoku.csv --last 1000
    python3 bench/compare_onnx.py model.pt --json > onnx.json

Needs PyTorch, which exports the model, and ONNX Runtime (it installs nothing): python3 -m venv ~/.cache/trm/torch-venv, then
that folder's `bin/pip install torch onnx onnxruntime onnxscript`. The Python of that environment is found by itself;
--torch-python names another. The model is one that `trm train` wrote as .pt with update = "documented".

The loops are unrolled in the ONNX file; ONNX Runtime quantises the weights of all products per channel to signed bytes and
their inputs while it runs, with all its graph optimisations on. Four programs take turns for --repeats rounds: trm in its
fastest unquantised format and in int8, ONNX Runtime in f32 and in int8. The table shows medians over the rounds, and with
--data the cells that are right. The one puzzle of batch 1 is timed several times in a round.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_VENV = Path(os.environ.get("TRM_TORCH_VENV", Path.home() / ".cache/trm/torch-venv"))
PROGRAMS = ["trm unquantised", "trm int8", "onnx f32", "onnx int8"]


def export(args, folder):
    """Writes f32.onnx and int8.onnx, under the Python that has PyTorch."""
    import logging
    import warnings

    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from torch import nn

    # The exporter that unrolls loops is called legacy, and quantising without shape inference is what is wanted here.
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    checkpoint = torch.load(args.model, weights_only=True)
    state, config = checkpoint["model_state_dict"], checkpoint["config"]
    if 'update = "documented"' not in checkpoint["trm"]["config_toml"]:
        sys.exit(f"{args.model}: only a model with update = \"documented\" is compared")
    d, wide = state["latent_layers.0.net.1.weight"].shape[::-1]

    class Linear(nn.Module):
        """With the weight as products read it, so that the exporter has no reason to store a transposed copy for each use."""

        def __init__(self, inputs, outputs):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(inputs, outputs))
            self.bias = nn.Parameter(torch.empty(outputs))

        def forward(self, x):
            return x @ self.weight + self.bias

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.LayerNorm(d), Linear(d, wide), nn.GELU(), nn.Dropout(0.0), Linear(wide, d), nn.Dropout(0.0)
            )

        def forward(self, h):
            return h + self.net(h)

    def stack(name):
        count = 1 + max(int(key.split(".")[1]) for key in state if key.startswith(name))
        return nn.Sequential(*(Block() for _ in range(count)))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_proj, self.output_proj = Linear(810, d), Linear(d, 729)
            self.latent_layers, self.output_layers = stack("latent_layers"), stack("output_layers")
            self.latent_gate, self.output_gate = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def forward(self, x):
            # [batch, 1, d]: products of three dimensions stay MatMul, which is what ONNX Runtime quantises.
            x_emb = self.input_proj(x)
            y = z = torch.zeros_like(x_emb)
            for _ in range(config["H_cycles"]):
                for _ in range(config["L_cycles"]):
                    z = z + self.latent_gate * self.latent_layers(x_emb + y + z)
                y = y + self.output_gate * self.output_layers(y + z)
            return self.output_proj(y)

    model = Model().eval()
    model.load_state_dict({name: t.T.contiguous() if t.dim() == 2 else t for name, t in state.items()})
    names = {"input_names": ["x"], "output_names": ["logits"], "dynamic_axes": {"x": {0: "batch"}, "logits": {0: "batch"}}}
    files = [str(Path(folder) / f"{name}.onnx") for name in ("f32", "int8")]
    torch.onnx.export(model, (torch.zeros(2, 1, 810),), files[0], dynamo=False, **names)
    quantize_dynamic(files[0], files[1], weight_type=QuantType.QInt8, per_channel=True)


def one_hot(cells):
    """[puzzles, 1, 810] from strings of 81 digits."""
    import numpy

    digits = numpy.array([[int(c) if c.isdigit() else 0 for c in row] for row in cells])
    return numpy.eye(10, dtype=numpy.float32)[digits].reshape(len(cells), 1, 810)


def run_onnx(args):
    """Times or evaluates one ONNX file in this process and prints the record."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.one_onnx_run, options, providers=["CPUExecutionProvider"])
    predict = lambda x: session.run(None, {"x": x})[0]  # noqa: E731
    if args.data:
        rows = read_rows(args)
        logits = predict(one_hot([quiz for quiz, _ in rows])).reshape(len(rows), 81, 9)
        solutions = numpy.array([[int(c) - 1 for c in solution] for _, solution in rows])
        return print(json.dumps({"cells": float((logits.argmax(-1) == solutions).mean())}))
    batch_size = args.batch_sizes[0]
    generator = numpy.random.default_rng(1)
    x = one_hot(["".join(row) for row in generator.integers(0, 10, (batch_size, 81)).astype(str)])
    predict(x)
    seconds = []
    for _ in range(16 if batch_size == 1 else args.steps):
        start = time.perf_counter()
        predict(x)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"samples_per_s": batch_size / statistics.median(seconds), "version": onnxruntime.__version__}))


def read_rows(args):
    with open(args.data, newline="") as file:
        rows = [row[:2] for row in csv.reader(file) if len(row) >= 2 and len(row[0]) == 81]
    return rows[-args.last :] if args.last else rows


def measure_trm(args, folder, batch_size, data=()):
    """What trm compress reports: before and after."""
    command = [args.trm, "compress", args.model, Path(folder) / "int8.safetensors", "--int8", "--json"]
    command += ["--threads", args.threads, "--batch-size", batch_size, "--repeats", 0 if data else args.steps, *data]
    return run_json(command)


def measure_onnx(args, folder, name, batch_size, data=()):
    """One run of ONNX Runtime, in this same script under the Python that has it."""
    command = [args.torch_python, __file__, args.model, "--one-onnx-run", Path(folder) / f"{name}.onnx", "--threads", args.threads]
    return run_json(command + ["--batch-sizes", batch_size, "--steps", args.steps, *data])


def run_json(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed with status {done.returncode}: {' '.join(str(word) for word in command)}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(args, folder):
    """Alternating rounds for every batch size; returns the rows of the table."""
    rows = []
    for batch_size in args.batch_sizes:
        rounds = {name: [] for name in PROGRAMS}
        for repeat in range(args.repeats):
            report = measure_trm(args, folder, batch_size)["speed"]
            speeds = [1e3 / ms for ms in report["latency_ms"]] if batch_size == 1 else report["samples_per_s"]
            speeds += [measure_onnx(args, folder, name, batch_size)["samples_per_s"] for name in ("f32", "int8")]
            for name, speed in zip(PROGRAMS, speeds):
                rounds[name].append(speed)
            shown = ", ".join(f"{name} {speed:.1f}" for name, speed in zip(PROGRAMS, speeds))
            print(f"batch {batch_size} round {repeat + 1}: {shown} samples/s", file=sys.stderr, flush=True)
        rows.append({"batch_size": batch_size, **{name: statistics.median(speeds) for name, speeds in rounds.items()}})
    return rows


def accuracies(args, folder):
    """Cells right, by program."""
    data = ["--data", args.data] + (["--last", args.last] if args.last else [])
    ours = measure_trm(args, folder, 256, data)["accuracy"]["cells"]
    theirs = [measure_onnx(args, folder, name, 1, data)["cells"] for name in ("f32", "int8")]
    return dict(zip(PROGRAMS, ours + theirs))


def print_table(args, rows, cells, sizes):
    print(f"\nInference of {args.model}, samples/s, {args.threads} threads, median of {args.repeats} rounds\n")
    print("| batch | " + " | ".join(PROGRAMS) + " | int8: trm / onnx |")
    print("|---:|" + "---:|" * (len(PROGRAMS) + 1))
    for row in rows:
        speeds = [row[name] for name in PROGRAMS]
        print(f"| {row['batch_size']} | " + " | ".join(f"{s:.1f}" for s in speeds) + f" | {speeds[1] / speeds[3]:.2f}x |")
    if cells:
        print("| cells right | " + " | ".join(f"{100 * cells[name]:.2f} %" for name in PROGRAMS) + " | |")
    print(f"\nfiles: trm int8 {sizes[0] / 1e6:.2f} MB, onnx int8 {sizes[1] / 1e6:.2f} MB, onnx f32 {sizes[2] / 1e6:.2f} MB")


def check_programs(args):
    """Stops with what to do where one of the two programs is missing."""
    wanted = "torch, onnx, onnxruntime"
    found = subprocess.run([args.torch_python, "-c", f"import {wanted}"], capture_output=True)
    if found.returncode != 0:
        sys.exit(
            f"{args.torch_python} has not all of {wanted}. Install them with\n"
            f"    python3 -m venv {TORCH_VENV} && {TORCH_VENV}/bin/pip install torch onnx onnxruntime onnxscript\n"
            "or name a Python that has them with --torch-python."
        )
    if not Path(args.trm).exists():
        sys.exit(f"{args.trm} does not exist: run `cargo build --release`, or name the program with --trm.")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    venv_python = TORCH_VENV / "bin/python"
    positive = lambda text: max(1, int(text))  # noqa: E731
    parser.add_argument("model", help="a .pt file of trm train")
    parser.add_argument("--batch-sizes", type=positive, nargs="+", default=[1, 64, 256])
    parser.add_argument("--steps", type=positive, default=5, help="timed steps of a run")
    parser.add_argument("--repeats", type=positive, default=5, help="rounds")
    parser.add_argument("--threads", type=positive, default=os.cpu_count())
    parser.add_argument("--data", help="CSV file of puzzles and solutions: compare the cells that are right too")
    parser.add_argument("--last", type=positive, help="the last N rows of --data only")
    parser.add_argument("--json", action="store_true", help="print a JSON object in place of the table")
    parser.add_argument("--trm", default=str(ROOT / "target/release/trm"), help="our program")
    parser.add_argument("--torch-python", default=str(venv_python) if venv_python.exists() else sys.executable)
    parser.add_argument("--one-onnx-run", help=argparse.SUPPRESS)
    parser.add_argument("--export", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_arguments()
    if args.one_onnx_run:
        return run_onnx(args)
    if args.export:
        return export(args, args.export)
    check_programs(args)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.torch_python, __file__, args.model, "--export", folder], check=True, stdout=subprocess.DEVNULL)
        rows = compare(args, folder)
        cells = accuracies(args, folder) if args.data else None
        sizes = [(Path(folder) / name).stat().st_size for name in ("int8.safetensors", "int8.onnx", "f32.onnx")]
    if args.json:
        print(json.dumps({"threads": args.threads, "repeats": args.repeats, "rows": rows, "cells": cells, "bytes": sizes}, indent=2))
    else:
        print_table(args, rows, cells, sizes)


if __name__ == "__main__":
    main()
