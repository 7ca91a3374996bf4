#!/usr/bin/env python3
"""Speed and memory of trm next to PyTorch's on this machine: medians, and the ratio to PyTorch's fastest.

    cargo build --release
    python3 bench/compare_pytorch.py                                   # training at batch 64 and 256
    python3 bench/compare_pytorch.py --batch-sizes 1024                # 5 to 10 minutes, most of them torch.compile
    python3 bench/compare_pytorch.py --parts inference latency memory
    python3 bench/compare_pytorch.py --model cells --batch-sizes 64    # that of presets/cells.toml
    python3 bench/compare_pytorch.py --pytorch f32 --trm-precisions f32 --repeats 3 --seconds 1    # quick look
    python3 bench/compare_pytorch.py --json ratios.json

Needs PyTorch (this installs nothing): python3 -m venv ~/.cache/trm/torch-venv, then that folder's
`bin/pip install torch`. The Python of that environment is found by itself; --torch-python names another. torch.compile
needs a C++ compiler.

PyTorch runs as f32 and, where the CPU multiplies bfloat16 numbers, under bf16 autocast, each eager and compiled; trm in
f32, in what precision = "auto" takes here and, where that is fixed12, in fixed7, which is for training alone. --pytorch and
--trm-precisions name others. A training step is forward, loss, backward, clipping and AdamW with weight decay on
matrices only; dropout is on. Inference is the forward pass alone, latency that of one puzzle. All variants of PyTorch
are started at once and warmed up, and then they and trm take turns for --repeats rounds of --seconds each, so that a
change of the machine's mood meets all of them. Memory is the largest resident memory of a process of its own that
trains; ours with checkpoint_activations = none and cycle.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).resolve().parent / "pytorch_worker.py"
TORCH_VENV = Path(os.environ.get("TRM_TORCH_VENV", Path.home() / ".cache/trm/torch-venv"))
VARIANTS = ["f32", "bf16", "f32-compiled", "bf16-compiled"]
MODELS = ["documented", "cells"]
LATENCY = "latency"


class PyTorch:
    """A process that keeps one variant of PyTorch warm."""

    def __init__(self, args, variant, part, batch_size):
        self.name, pipe = f"PyTorch {variant}", subprocess.PIPE
        command = worker_command(args, variant, part, batch_size)
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def warm_up(self):
        """Whether it came up. Why not is on standard error."""
        return self.process.stdout.readline().startswith("ready")

    def seconds(self, budget):
        """The median time of a step, timed for `budget` seconds."""
        self.process.stdin.write(f"{budget}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["seconds"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Trm:
    """Ours; every round is a process of its own."""

    def __init__(self, args, precision, part, batch_size):
        self.name = f"trm {precision}"
        self.command, self.part, self.batch_size = trm_command(args, precision, part, batch_size), part, batch_size

    def warm_up(self):
        return True

    def seconds(self, budget):
        record = run_json([*self.command, "--seconds", budget])
        if self.part == LATENCY:
            return record["latency"]["ms"] / 1e3
        speed = record["training"][0] if self.part == "training" else record["inference"]
        return self.batch_size / speed["samples_per_s"]

    def stop(self):
        pass


def worker_command(args, variant, part, batch_size):
    precision, *compiled = variant.split("-")
    part = "training" if part == "training" else "inference"
    command = [args.torch_python, WORKER, "--model", args.model, "--part", part, "--precision", precision]
    command += ["--batch-size", batch_size, "--threads", args.threads, *(["--compile"] if compiled else [])]
    return [str(word) for word in command]


def trm_command(args, precision, part, batch_size, *settings):
    command = [args.trm, "bench", "--json", "--preset", args.model, "--parts", part, "--threads", args.threads]
    command += ["--batch-sizes", batch_size, "--inference-batch", batch_size]
    return command + ["--set", f"precision={precision}", *settings]


def run_json(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed with status {done.returncode}: {' '.join(str(word) for word in command)}")
    return json.loads(done.stdout)


def compare(args, part, batch_size):
    """Rounds in which everything takes its turn; the medians in samples per second and the ratios."""
    say(f"{part}, batch {batch_size}: starting")
    begin = time.perf_counter()
    programs = [PyTorch(args, variant, part, batch_size) for variant in args.pytorch]
    precisions = [precision for precision in args.trm_precisions if part == "training" or precision != "fixed7"]
    programs += [Trm(args, precision, part, batch_size) for precision in precisions]
    running = []
    for program in programs:
        if program.warm_up():
            running.append(program)
            say(f"{program.name} is ready after {time.perf_counter() - begin:.0f} s")
        else:
            say(f"{program.name} does not run here and is left out")
            program.stop()
    times = {program.name: [] for program in running}
    for number in range(args.repeats):
        for program in running:
            times[program.name].append(program.seconds(args.seconds))
            say(f"{part}, batch {batch_size}, round {number + 1}: {program.name} {batch_size / times[program.name][-1]:.1f}/s")
    for program in running:
        program.stop()
    rates = {name: batch_size / statistics.median(values) for name, values in times.items()}
    ranges = {name: [batch_size / max(values), batch_size / min(values)] for name, values in times.items()}
    return {"part": part, "batch_size": batch_size, "samples_per_s": rates, "range": ranges, **ratios(rates)}


def ratios(rates):
    """Ours over PyTorch's fastest: in f32 on both sides, and whatever is fastest on either."""
    fastest = lambda start: max((rate for name, rate in rates.items() if name.startswith(start)), default=None)  # noqa: E731
    pairs = {
        "f32 / f32": (fastest("trm f32"), fastest("PyTorch f32")),
        "fastest / fastest": (fastest("trm"), fastest("PyTorch")),
    }
    return {"ratios": {name: ours / theirs for name, (ours, theirs) in pairs.items() if ours and theirs}}


def measure_memory(args, batch_size):
    """Largest resident memory of training, each in a process of its own, in MB."""
    megabytes = {}
    for variant in args.pytorch:
        command = [*worker_command(args, variant, "training", batch_size), "--memory"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            megabytes[f"PyTorch {variant}"] = json.loads(done.stdout)["peak_memory_mb"]
    for precision in args.trm_precisions:
        for kept in ("none", "cycle"):
            setting = f"checkpoint_activations={kept}"
            record = run_json([*trm_command(args, precision, "training", batch_size, setting), "--seconds", 0])
            megabytes[f"trm {precision}, {setting}"] = record["training"][0]["peak_memory_mb"]
    return {"part": "memory", "batch_size": batch_size, "peak_memory_mb": megabytes}


def say(line):
    print(line, file=sys.stderr, flush=True)


def print_tables(args, rows):
    speeds = [row for row in rows if "samples_per_s" in row]
    if speeds:
        names = list(dict.fromkeys(name for row in speeds for name in row["samples_per_s"]))
        of = list(dict.fromkeys(name for row in speeds for name in row["ratios"]))
        table = [["samples/s"] + names + of]
        for row in speeds:
            cells = [f"{row['samples_per_s'][name]:.1f}" if name in row["samples_per_s"] else "" for name in names]
            cells += [f"{row['ratios'][name]:.2f}x" if name in row["ratios"] else "" for name in of]
            table.append([f"{row['part']}, batch {row['batch_size']}", *cells])
        print(f"\n{args.model} model, {args.threads} threads, medians of {args.repeats} rounds\n")
        print_table(table)
    for row in rows:
        if "peak_memory_mb" in row:
            print(f"\n{args.model} model, training, batch {row['batch_size']}\n")
            print_table([["", "peak memory, MB"], *([name, f"{mb:.0f}"] for name, mb in row["peak_memory_mb"].items())])


def print_table(table):
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for number, line in enumerate(table):
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (width + 1) + ":" for width in widths[1:]]) + "|")


def choose_by_machine(args):
    """What is compared where the command does not say."""
    if args.pytorch is not None and args.trm_precisions is not None:
        return
    found = run_json([args.trm, "bench", "--json", "--parts", "machine", "--seconds", 0])
    if args.pytorch is None:
        multiplies_bf16 = found["machine"]["bf16"] is not None
        args.pytorch = [variant for variant in VARIANTS if multiplies_bf16 or not variant.startswith("bf16")]
    if args.trm_precisions is None:
        fastest = ["fixed12", "fixed7"] if found["precision"] == "fixed12" else [found["precision"]]
        args.trm_precisions = list(dict.fromkeys(["f32", *fastest]))


def check_programs(args):
    """Stops with what to do where something is missing."""
    if args.pytorch and subprocess.run([args.torch_python, "-c", "import torch"], capture_output=True).returncode != 0:
        sys.exit(
            f"{args.torch_python} has no PyTorch. Install it with\n"
            f"    python3 -m venv {TORCH_VENV} && {TORCH_VENV}/bin/pip install torch\n"
            "or name a Python that has it with --torch-python."
        )
    if any("compiled" in variant for variant in args.pytorch) and not (shutil.which("g++") or shutil.which("clang++")):
        sys.exit("torch.compile needs a C++ compiler: install g++, or leave it out with --pytorch f32 bf16")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    venv_python = TORCH_VENV / "bin/python"
    positive = lambda text: max(1, int(text))  # noqa: E731
    parser.add_argument("--model", choices=MODELS, default="documented")
    parser.add_argument("--parts", choices=["training", "inference", LATENCY, "memory"], nargs="+", default=["training"])
    parser.add_argument("--batch-sizes", type=positive, nargs="+", default=[64, 256], help="of training")
    parser.add_argument("--inference-batch", type=positive, default=1024)
    parser.add_argument("--memory-batch", type=positive, default=256)
    parser.add_argument("--pytorch", choices=VARIANTS, nargs="*")
    parser.add_argument("--trm-precisions", choices=["f32", "bf16", "fixed12", "fixed7"], nargs="*")
    parser.add_argument("--repeats", type=positive, default=3, help="rounds")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round, for each program")
    parser.add_argument("--threads", type=positive, default=os.cpu_count())
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--trm", default=str(ROOT / "target/release/trm"), help="our program")
    parser.add_argument("--torch-python", default=str(venv_python) if venv_python.exists() else sys.executable)
    return parser.parse_args()


def main():
    args = parse_arguments()
    if (args.pytorch is None or args.trm_precisions != []) and not Path(args.trm).exists():
        sys.exit(f"{args.trm} does not exist: run `cargo build --release`, or name the program with --trm.")
    choose_by_machine(args)
    check_programs(args)
    rows = []
    for part in args.parts:
        if part == "memory":
            rows.append(measure_memory(args, args.memory_batch))
            continue
        batch_sizes = {"training": args.batch_sizes, "inference": [args.inference_batch], LATENCY: [1]}[part]
        rows += [compare(args, part, batch_size) for batch_size in batch_sizes]
    print_tables(args, rows)
    if args.json:
        settings = {name: getattr(args, name) for name in ("model", "threads", "repeats", "seconds")}
        args.json.write_text(json.dumps({**settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
