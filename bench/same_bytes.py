#!/usr/bin/env python3
"""Do two builds of `trm` train the same bytes?

    python3 bench/same_bytes.py OLD/trm NEW/trm [--presets quick cells ...] [--precisions f32 bf16 ...] [--shared]

Each preset is trained for a moment, made small, by both programs, and every file of the two run folders is compared. What
tells how long something took (elapsed seconds, samples a second) is left out of the comparison, and so are the pictures, whose
axes show it. Exit code 1 if anything differs. It needs nothing but Python.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SMALL = "hidden_dim=24 holdout_rows=6 batch_size=8 epochs=2 patience=0 max_samples=60 val_fraction=0.2"
SMALL_PAPER = (
    "hidden_size=16 num_heads=2 mlp_width=24 mlp_t_width=20 puzzle_emb_ndim=16 batch_size=6 steps=8 eval_every=4 "
    "holdout_rows=6 warmup_steps=3 max_samples=60 val_fraction=0.2"
)
# What each preset needs to be small beside that.
PRESETS = {
    "quick": "L_cycles=2 H_cycles=2 generate_samples=60",
    "documented": "L_cycles=2 H_cycles=2",
    "kaggle": "L_cycles=2 H_cycles=2 augment_copies=1",
    "cells": "heads=3",
    "minute": "",
    "solver": "",
    "paper-mlp": None,
    "paper-att": None,
}
TIMES = re.compile(rb'"(elapsed_s|epoch_s|samples_per_s|segments_per_s)":\s*[-+0-9.eE]+')
PICTURES = {".png", ".svg"}
# Which process claims a folder.
IGNORED = {"run.lock"}


def without_times(data: bytes) -> bytes:
    return TIMES.sub(rb'"\1":0', data)


def parts(path: Path) -> dict[str, object]:
    """What of a file is to be the same, by name: members of a zip file, tensors and metadata, keys of each record."""
    if path.suffix == ".pt":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        return {name: pickle_without_times(data) if name.endswith(".pkl") else data for name, data in members.items()}
    if path.suffix == ".safetensors":
        data = path.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        metadata = header.pop("__metadata__")
        # The checksum covers the times.
        metadata.pop("trm.crc32", None)
        found = {key: without_times(text.encode()) for key, text in metadata.items()}
        for name, tensor in header.items():
            first, last = tensor["data_offsets"]
            found[name] = (tensor["dtype"], tensor["shape"], data[end + first : end + last])
        return found
    if path.suffix == ".jsonl":
        records = [json.loads(without_times(line)) for line in path.read_bytes().splitlines()]
        return {f"{key} of record {i}": value for i, record in enumerate(records) for key, value in record.items()}
    return {"content": without_times(path.read_bytes())}


def pickle_without_times(data: bytes) -> bytes:
    """The length that stands before a text goes, where the text tells times."""
    return without_times(re.sub(rb'X.{4}(?=\{")', b"X", data, flags=re.DOTALL))


def train(program: Path, preset: str, precision: str, data: Path, run: Path) -> None:
    extra = PRESETS[preset]
    is_paper = extra is None
    sizes = SMALL_PAPER if is_paper else f"{SMALL} {extra}"
    precision = f'precision="{precision}"' if is_paper else f"precision={precision}"
    command = [program, "train", "--preset", preset, "--run", run, "--threads", "2", "--quiet"]
    if preset != "quick":
        command += ["--data", data]
    done = subprocess.run([*command, "--set", *sizes.split(), precision], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} ends with {done.returncode} on {preset}, {precision}:\n{done.stderr}")


def differences(old: Path, new: Path, shared: bool) -> list[str]:
    """What differs between two run folders, or, if `shared`, of what both of them have."""
    kept = lambda folder: {p.name for p in folder.iterdir() if p.suffix not in PICTURES and not p.name.startswith(".")}
    names = [kept(old) - IGNORED, kept(new) - IGNORED]
    found = [] if shared else [f"{name} is in one folder alone" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        both = [parts(old / name), parts(new / name)]
        alone = set() if shared else both[0].keys() ^ both[1].keys()
        different = {part for part in both[0].keys() & both[1].keys() if both[0][part] != both[1][part]}
        listed = sorted(alone | different)
        if listed:
            more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
            found.append(f"{name} differs in {', '.join(listed[:4])}{more}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--precisions", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--shared", action="store_true", help="compare only what files of both builds have")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        data = folder / "puzzles.csv"
        generate = [arguments.old, "data", "generate", "-n", "64", "--givens", "30-40", "--seed", "3", "--out", data]
        subprocess.run(generate, check=True, capture_output=True)
        for preset in arguments.presets:
            for precision in arguments.precisions:
                runs = [folder / f"{preset}-{precision}-{side}" for side in ("old", "new")]
                for program, run in zip((arguments.old, arguments.new), runs):
                    train(program, preset, precision, data, run)
                found = differences(*runs, arguments.shared)
                failed |= bool(found)
                print(f"{preset:12} {precision:6} {'; '.join(found) or 'the same bytes'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
