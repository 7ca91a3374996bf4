#!/usr/bin/env python3
"""The models of compare_pytorch.py as one would write them for speed in PyTorch, and a process that times one of them.

It warms up, says "ready", and then answers every line on standard input that holds a number of seconds with one JSON
object: the median time of a step within them. `--memory` makes it take three steps and tell its largest memory.
"""

import argparse
import json
import resource
import statistics
import sys
import time

import torch
from torch import nn

DOCUMENTED = {"hidden_dim": 512, "L_layers": 3, "L_cycles": 8, "H_cycles": 4, "output_layers": 2, "dropout": 0.1}
CELLS = {"hidden_dim": 96, "heads": 6, "L_layers": 2, "L_cycles": 1, "H_cycles": 8}


def build_documented():
    """The documented model as one would write it for speed in PyTorch: nothing is computed twice."""
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


MODELS = {"documented": build_documented, "cells": build_cells}


def make_step(args):
    """A function that makes one training step, or one forward pass."""
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    is_training = args.part == "training"
    model = MODELS[args.model]().train(is_training)
    forward = torch.compile(model) if args.compile else model
    cells = torch.randint(0, 10, (args.batch_size, 81))
    targets = torch.randint(0, 9, (args.batch_size, 81))
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

    return train_step if is_training else infer_step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(MODELS), required=True)
    parser.add_argument("--part", choices=["training", "inference"], required=True)
    parser.add_argument("--precision", choices=["f32", "bf16"], required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    step = make_step(args)
    for _ in range(3 if args.compile or args.memory else 1):
        step()
    if args.memory:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        return print(json.dumps({"peak_memory_mb": peak / 1024}))
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        times, begin = [], time.perf_counter()
        while len(times) < 2 or time.perf_counter() - begin < float(line):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps({"seconds": statistics.median(times)}), flush=True)


if __name__ == "__main__":
    main()
