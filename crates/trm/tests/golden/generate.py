#!/usr/bin/env python3
"""Writes the numbers that the Rust models are tested against: documented, original, candidate,
open-candidate, cell, vector-documented, vector-original and constraint.safetensors, and those of paper.py.

    python3 -m venv ~/.cache/trm/torch-venv && ~/.cache/trm/torch-venv/bin/pip install torch
    ~/.cache/trm/torch-venv/bin/python crates/trm/tests/golden/generate.py            # writes the files here
    ~/.cache/trm/torch-venv/bin/python crates/trm/tests/golden/generate.py --check    # compares, writes nothing

The model below is written from the equations of docs/models.md and shares nothing with the Rust code.
It runs in float64 on one thread; results are rounded to f32 when stored. All random numbers come from Python's
own generator with a fixed seed, so a second run gives the same bytes, and another version of PyTorch the same
numbers up to rounding, which is what --check allows for.

Each file but those of paper.py holds (F32 unless said otherwise; the shapes of parameters are those of PyTorch's state dict)

    param.<name>          weights before training, exact in f32
    inputs, targets       U8 [batch, 81]: cells 0 (blank) to 9; digits 0 to 8
    assumed               U8 [batch, 81]: digits taken for true, 0 for none; open-candidate only
    logits, loss          [batch, 81, 9], [1]: mean cross-entropy over batch x 81 cells, and penalties if there are any
    grad.<name>           gradient of that loss, of open-candidate of its cells weighted, not clipped
    grad_norm             [1]: L2 norm of all of it
    losses                [10]: loss before each of ten AdamW steps on this same batch
    grad_norms            [10]: norm before clipping in each of these steps
    after.<name>          weights after the tenth step

and in its metadata, under "config", the settings as JSON.
"""

import argparse
import json
import math
import random
import struct
import sys
from pathlib import Path

import torch
from torch import nn

sys.dont_write_bytecode = True  # leaves no __pycache__ in the repository
import paper  # noqa: E402

CONFIG = {
    "input_dim": 810,
    "hidden_dim": 11,  # odd, so that the ends of rows that fill no vector register are covered
    "output_dim": 729,
    "expansion": 4,
    "L_layers": 2,
    "L_cycles": 3,
    "H_cycles": 2,
    "output_layers": 2,
    "output_norm": False,
    "state_norm": False,
    "state": "board",
    "mixing": "none",
    "supervision": "last",
    "dropout": 0.0,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "clip_norm": 1.0,
    "batch_size": 5,
    "steps": 10,
}
# What the file of a candidate model has instead.
CANDIDATE = {
    "hidden_dim": 5,
    "expansion": 3,
    "output_layers": 0,
    "output_norm": True,
    "state_norm": True,
    "state": "candidate",
    "mixing": "unit_mean",
    "supervision": "every",
    "batch_size": 2,
}
# What the file of a model of open candidates has instead of that.
OPEN = {"state": "open_candidate", "hypotheses": True, "L_cycles": 1, "H_cycles": 3}
# How much more the cells of hypotheses count.
WEIGHT = 8
# The logit of a candidate that the givens rule out.
CLOSED = -1e4
# What the file of a cell model has instead.
CELL = {
    "hidden_dim": 24,
    "expansion": 2,
    "L_layers": 1,
    "L_cycles": 2,
    "output_layers": 1,
    "state": "cell",
    "mixing": "unit_attention",
    "heads": 3,
    "positions": "rotary",
    "feedback": True,
    "batch_size": 2,
}
# Files and their seeds, chosen so that this model in f32 agrees with itself in f64 to 1e-6. With most seeds
# some weight has a first gradient so near zero that Adam's g / |g| magnifies its rounding beyond 1e-5.
SEEDS = {
    "documented": 2,
    "original": 3,
    "candidate": 4,
    "open-candidate": 4,
    "cell": 5,
    "vector-documented": 2,
    "vector-original": 3,
    "constraint": 2,
}
GATES = {"latent_gate": 0.37, "output_gate": 0.61}
# Largest difference --check accepts, relative to the largest value of the tensor: a few roundings to f32.
TOLERANCE = 1e-6
# Tensors of smaller values are zero but for rounding in float64, which differs from one CPU to the next: the bias that
# all digits of a cell share, say, has no gradient.
SMALLEST = 1e-9


class Block(nn.Module):
    """f(h) = W2 gelu(W1 layer_norm(h) + b1) + b2."""

    def __init__(self, d, dropout):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(d, eps=1e-5),
            nn.Linear(d, 4 * d),
            nn.GELU(approximate="none"),
            nn.Dropout(dropout),
            nn.Linear(4 * d, d),
            nn.Dropout(dropout),
        )

    def forward(self, h):
        return self.net(h)


class CandidateBlock(nn.Module):
    """f(h) = W2 gelu(W1 n + b1 + sum_k M_k mean_k(n)) + b2, n = layer_norm(h): h is [batch, 729, d].

    Candidates that are not `open` count as zeros in the means of nine.
    """

    def __init__(self, d, wide):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(d, eps=1e-5), nn.Linear(d, wide), nn.GELU(approximate="none"), nn.Identity(), nn.Linear(wide, d)
        )
        kinds = ("cell", "row", "column", "box")
        self.mix = nn.ModuleDict({kind: nn.Linear(d, wide, bias=False) for kind in kinds})

    def forward(self, h, open):
        batch, _, d = h.shape
        n = self.net[0](h)
        u = self.net[1](n)
        # Axes: batch, band, row in band, stack, column in stack, digit, value.
        board = (n * open[..., None]).view(batch, 3, 3, 3, 3, 9, d)
        axes = {"cell": 5, "row": (3, 4), "column": (1, 2), "box": (2, 4)}
        for kind, mix in self.mix.items():
            u = u + mix(board.mean(axes[kind], keepdim=True)).expand(batch, 3, 3, 3, 3, 9, -1).reshape(u.shape)
        return self.net[4](self.net[2](u))


def turned(x):
    """Rotary positions of queries or keys, [batch, 81, heads, dim]: half of dim by the row, half by the column."""
    cells, halves = torch.arange(81), []
    for half, place in zip(x.chunk(2, -1), (cells // 9, cells % 9)):
        first, second = half.chunk(2, -1)
        pairs = first.shape[-1]
        angle = place[:, None, None] * 10.0 ** (-torch.arange(pairs, dtype=x.dtype) / pairs)
        halves += [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()]
    return torch.cat(halves, -1)


class UnitAttention(nn.Module):
    """A third of the heads see the row of a cell, a third its column, a third its box."""

    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.output = nn.LayerNorm(d, eps=1e-5), nn.Linear(d, 3 * d), nn.Linear(d, d)
        row, column = torch.arange(81) // 9, torch.arange(81) % 9
        kinds = [row, column, row // 3 * 3 + column // 3]
        self.seen = torch.stack([kinds[h % 3][:, None] == kinds[h % 3] for h in range(heads)])

    def forward(self, h):
        q, k, v = self.qkv(self.norm(h)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        scores = torch.einsum("bqhc,bkhc->bhqk", turned(q), turned(k)) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~self.seen, -math.inf).softmax(-1)
        return self.output(torch.einsum("bhqk,bkhc->bqhc", weights, v).flatten(2))


class CellBlock(nn.Module):
    """What a block adds to h, [batch, 81, d]: first attention, then the MLP of the result."""

    def __init__(self, d, wide, heads):
        super().__init__()
        self.attention = UnitAttention(d, heads)
        self.net = nn.Sequential(
            nn.LayerNorm(d, eps=1e-5), nn.Linear(d, wide), nn.GELU(approximate="none"), nn.Identity(), nn.Linear(wide, d)
        )

    def forward(self, h):
        mixed = self.attention(h)
        return mixed + self.net(h + mixed)


def left_open(cells):
    """Whether the givens leave each candidate open, [batch, 81, 9]: in a blank cell, and not given in any of its units."""
    given = (cells[:, :, None] == torch.arange(1, 10)).view(-1, 3, 3, 3, 3, 9)
    # Axes: batch, band, row in band, stack, column in stack, digit.
    ruled_out = (cells > 0).view(-1, 3, 3, 3, 3, 1)
    for axes in [(3, 4), (1, 2), (2, 4)]:
        ruled_out = ruled_out | given.any(axes[1], keepdim=True).any(axes[0], keepdim=True)
    return ~ruled_out.reshape(-1, 81, 9)


class CandidateModel(nn.Module):
    """One state of 729 vectors: z <- rms_norm(R(x_emb + z)), logits = W_out layer_norm(z) + b_out after every outer cycle.

    With the state "open_candidate" vectors of other candidates are as good as not there, and those of digits that are
    assumed have another first embedding.
    """

    def __init__(self, config):
        super().__init__()
        d = config["hidden_dim"]
        self.config = config
        self.channels = 2 if config["state"] == "open_candidate" else 3
        self.input_proj = nn.Linear(self.channels, d)
        self.latent_layers = nn.ModuleList(CandidateBlock(d, config["expansion"] * d) for _ in range(config["L_layers"]))
        self.output_norm = nn.LayerNorm(d, eps=1e-5)
        self.output_proj = nn.Linear(d, 1)
        # Not used by this update rule, but part of every file.
        self.latent_gate = nn.Parameter(torch.zeros(1))
        self.output_gate = nn.Parameter(torch.zeros(1))

    def forward(self, cells, assumed):
        given, this = cells[:, :, None] > 0, cells[:, :, None] == torch.arange(1, 10)
        channels = given.long() + this.long()  # nothing known, another digit given, this one given
        open = torch.ones_like(this)
        if self.channels == 2:
            channels = (assumed[:, :, None] == torch.arange(1, 10)).long()
            open = left_open(cells)
        one_hot = nn.functional.one_hot(channels.flatten(1), self.channels)
        x_emb = self.input_proj(one_hot.to(self.input_proj.weight.dtype))
        z, answers = torch.zeros_like(x_emb), []
        for _ in range(self.config["H_cycles"]):
            for _ in range(self.config["L_cycles"]):
                z = x_emb + z
                for f in self.latent_layers:
                    z = z + f(z, open.flatten(1))
                z = nn.functional.rms_norm(z, z.shape[-1:], eps=1e-5)
            logits = self.output_proj(self.output_norm(z)).view(-1, 81, 9)
            if self.channels == 2:
                logits = logits.where(open, CLOSED * (1 - this.to(logits.dtype)))
            answers.append(logits)
        return answers


class Model(nn.Module):
    """x_emb = W_in x + b_in; y and z refined from zero in nested loops; logits = W_out y + b_out.

    One vector stands for the board, or one for each cell.
    """

    def __init__(self, config, update):
        super().__init__()
        d, p = config["hidden_dim"], config["dropout"]
        self.config, self.update = config, update
        of_cells = config["state"] == "cell"
        block = lambda: CellBlock(d, config["expansion"] * d, config["heads"]) if of_cells else Block(d, p)  # noqa: E731
        self.input_proj = nn.Linear(10 if of_cells else config["input_dim"], d)
        self.latent_layers = nn.ModuleList(block() for _ in range(config["L_layers"]))
        self.output_layers = nn.ModuleList(block() for _ in range(config["output_layers"]))
        self.output_proj = nn.Linear(d, 9 if of_cells else config["output_dim"])
        if config.get("feedback"):
            self.feedback = nn.Linear(9, d, bias=False)
        width = d if config.get("gates") == "vector" else 1
        self.latent_gate = nn.Parameter(torch.zeros(width))
        self.output_gate = nn.Parameter(torch.zeros(width))

    def refine(self, state, seen, layers, gate):
        """The new `state`, after `layers` saw `seen` (which holds `state` as one of its terms)."""
        h = seen
        if self.update == "documented":
            for f in layers:
                h = h + f(h)
            return state + gate * h
        for f in layers:
            h = h + gate * f(h)
        return h

    def forward(self, cells, _assumed):
        x = nn.functional.one_hot(cells, 10).to(self.input_proj.weight.dtype)
        x = x if self.config["state"] == "cell" else x.flatten(1)
        x_emb = self.input_proj(x)
        y, z = torch.zeros_like(x_emb), torch.zeros_like(x_emb)
        for h in range(self.config["H_cycles"]):
            fed_back = self.feedback(self.output_proj(y).softmax(-1)) if h > 0 and self.config.get("feedback") else 0
            for _ in range(self.config["L_cycles"]):
                z = self.refine(z, x_emb + fed_back + y + z, self.latent_layers, self.latent_gate)
            y = self.refine(y, y + z, self.output_layers, self.output_gate)
        return [self.output_proj(y).view(-1, 81, 9)]


def penalty(logits, config):
    """constraint_weight times the sum over kinds of unit of the mean of (expected count of a digit - 1)^2."""
    # Axes: batch, band, row in band, stack, column in stack, digit.
    p = logits.softmax(-1).view(-1, 3, 3, 3, 3, 9)
    axes = {"row": (3, 4), "column": (1, 2), "box": (2, 4)}
    kinds = config["constraint_kinds"].split(",")
    return config["constraint_weight"] * sum(((p.sum(axes[kind]) - 1) ** 2).mean() for kind in kinds)


def to_f32(tensor):
    return tensor.detach().to(torch.float32)


def draw_weights(model, rng):
    """Everything away from its usual start (gains from 1, biases from 0), so that no term can be forgotten."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in GATES:
                low = high = GATES[name]
                if parameter.numel() > 1:
                    low, high = 0.5 * low, 1.5 * low
            elif name.endswith(("net.0.weight", "norm.weight")):  # LayerNorm gain
                low, high = 0.6, 1.5
            elif parameter.dim() == 1:
                low, high = -0.3, 0.3
            else:
                # 81 of 810 inputs are set; W_out is small, so that the softmax is far from saturated.
                scale, terms = {"input_proj.weight": (1.5, 81), "output_proj.weight": (0.2, 11)}.get(
                    name if "candidate" not in model.config["state"] else "", (1.5, parameter.shape[1])
                )
                bound = scale / math.sqrt(terms)
                low, high = -bound, bound
            values = [rng.uniform(low, high) for _ in range(parameter.numel())]
            parameter.copy_(to_f32(torch.tensor(values)).view_as(parameter))


def draw_puzzles(count, rng):
    """Valid solved grids: one cyclic grid with its digits, rows within bands and columns within stacks shuffled."""
    inputs, targets = [], []
    for _ in range(count):
        digits = rng.sample(range(1, 10), 9)
        lines = [[3 * group + line for group in rng.sample(range(3), 3) for line in rng.sample(range(3), 3)]
                 for _ in range(2)]
        solution = [digits[(3 * (r % 3) + r // 3 + c) % 9] for r in lines[0] for c in lines[1]]
        inputs.append([digit if rng.random() < 0.4 else 0 for digit in solution])
        targets.append([digit - 1 for digit in solution])
    return torch.tensor(inputs), torch.tensor(targets)


def settings(name):
    """The configuration of one file."""
    if name in paper.SEEDS:
        return paper.settings(name)
    if name == "candidate":
        return {**CONFIG, **CANDIDATE, "update": "single"}
    if name == "open-candidate":
        return {**CONFIG, **CANDIDATE, **OPEN, "update": "single"}
    if name == "cell":
        return {**CONFIG, **CELL, "update": "documented"}
    if name.startswith("vector-"):
        return {**CONFIG, "gates": "vector", "update": name.removeprefix("vector-")}
    if name == "constraint":
        return {**CONFIG, "update": "documented", "constraint_weight": 0.7, "constraint_kinds": "column,box"}
    return {**CONFIG, "update": name}


def compute(name, seed):
    """All tensors of one file, by name."""
    rng = random.Random(seed)
    if name in paper.SEEDS:
        return paper.compute(name, rng, draw_puzzles)
    config = settings(name)
    model = (CandidateModel(config) if "candidate" in name else Model(config, config["update"])).double()
    draw_weights(model, rng)
    inputs, targets = draw_puzzles(config["batch_size"], rng)
    # Digits of some blanks: right ones in the first puzzle, a right and a wrong one in the second.
    assumed = torch.zeros_like(inputs)
    if name == "open-candidate":
        open = left_open(inputs)
        for puzzle, cell in [(0, 5), (0, 41), (1, 17), (1, 62)]:
            blank = next(c for c in range(cell, 81) if open[puzzle, c].sum() > 1)
            of_cell = [digit for digit in range(9) if open[puzzle, blank, digit]]
            right = targets[puzzle, blank].item()
            assumed[puzzle, blank] = 1 + (right if cell % 2 else next(digit for digit in of_cell if digit != right))
    named = list(model.named_parameters())
    out = {f"param.{name}": to_f32(p).clone() for name, p in named}
    out |= {"inputs": inputs.to(torch.uint8), "targets": targets.to(torch.uint8)}

    if name == "open-candidate":
        out |= {"assumed": assumed.to(torch.uint8)}

    optimizer = torch.optim.AdamW(
        [
            {"params": [p for _, p in named if p.dim() == 2], "weight_decay": CONFIG["weight_decay"]},
            {"params": [p for _, p in named if p.dim() != 2], "weight_decay": 0.0},
        ],
        betas=(CONFIG["beta1"], CONFIG["beta2"]),
        eps=CONFIG["eps"],
    )
    losses, grad_norms = [], []
    for step in range(CONFIG["steps"]):
        answers = model(inputs, assumed)
        each = [nn.functional.cross_entropy(logits.reshape(-1, 9), targets.reshape(-1)) for logits in answers]
        if "constraint_weight" in config:
            each = [loss + penalty(logits, config) for loss, logits in zip(each, answers)]
        # What is differentiated is the mean over the answers, what is reported the loss of the last.
        logits, loss = answers[-1], each[-1]
        # Under hypotheses it is differentiated with other weights: their own cells count more, and alone if one is wrong.
        if config.get("hypotheses"):
            right = ((assumed == 0) | (assumed == targets + 1)).all(1, keepdim=True)
            weights = torch.where(assumed > 0, WEIGHT, right.long())
            each = [
                (weights * nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")).mean()
                for logits in answers
            ]
        optimizer.zero_grad()
        torch.stack(each).mean().backward()
        # The gates of the candidate model have no gradient.
        grads = {f"grad.{name}": to_f32(torch.zeros_like(p) if p.grad is None else p.grad).clone() for name, p in named}
        # Scales by min(1, clip_norm / (norm + 1e-6)) and returns the norm before.
        grad_norm = nn.utils.clip_grad_norm_(model.parameters(), CONFIG["clip_norm"])
        if step == 0:
            out |= {"logits": to_f32(logits), "loss": to_f32(loss).view(1), **grads}
            out |= {"grad_norm": to_f32(grad_norm).view(1)}
        losses.append(loss.item())
        grad_norms.append(grad_norm.item())
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * CONFIG["lr"] * (1 + math.cos(math.pi * step / CONFIG["steps"]))
        optimizer.step()
    out |= {"losses": torch.tensor(losses), "grad_norms": torch.tensor(grad_norms)}
    out |= {f"after.{name}": to_f32(p) for name, p in named}
    return out


def write_safetensors(path, tensors, metadata):
    """The format in full: length of the header, header, values. https://github.com/huggingface/safetensors"""
    kinds = {torch.float32: ("F32", "f"), torch.uint8: ("U8", "B")}
    # Wide values first, so that each starts at a multiple of its own size.
    tensors = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))
    header, body = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        kind, code = kinds[tensor.dtype]
        data = struct.pack(f"<{tensor.numel()}{code}", *tensor.flatten().tolist())
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def read_safetensors(path):
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        dtype = {"F32": torch.float32, "U8": torch.uint8}[entry["dtype"]]
        first, last = entry["data_offsets"]
        values = torch.frombuffer(bytearray(data[start + first : start + last]), dtype=dtype)
        tensors[name] = values.view(entry["shape"])
    return tensors, metadata


def differences(path, tensors, metadata):
    """What in the file at `path` is not what this script makes."""
    stored, stored_metadata = read_safetensors(path)
    if stored_metadata != metadata:
        yield "the metadata differ"
    if stored.keys() != tensors.keys():
        yield f"the names differ: {sorted(stored.keys() ^ tensors.keys())}"
    for name in stored.keys() & tensors.keys():
        ours, theirs = stored[name].double(), tensors[name].double()
        if ours.shape != theirs.shape:
            yield f"{name}: shape {list(ours.shape)}, not {list(theirs.shape)}"
            continue
        difference = ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=SMALLEST)).item()
        if not difference <= TOLERANCE:
            yield f"{name}: differs by {difference:.1e} of its largest value"


def main():
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Write or check the reference numbers of the Rust tests.")
    parser.add_argument("--out", type=Path, default=here, help="folder to write to (default: this script's)")
    parser.add_argument("--check", action="store_true", help="compare the files in --out with what would be written")
    args = parser.parse_args()
    torch.set_num_threads(1)
    failed = False
    for name, seed in {**SEEDS, **paper.SEEDS}.items():
        path = args.out / f"{name}.safetensors"
        tensors = compute(name, seed)
        metadata = {"config": json.dumps(settings(name))}
        if args.check:
            found = list(differences(path, tensors, metadata))
            failed |= bool(found)
            print(f"{path}: {'; '.join(found) or 'as generated'}")
        else:
            write_safetensors(path, tensors, metadata)
            told = {name: tensors[name].tolist() for name in ("losses", "grad_norms", "train_loss_segment_1") if name in tensors}
            print(f"{path}: {told}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
