"""Makes documented.safetensors and original.safetensors: what PyTorch computes for a small model.

    python crates/trm/tests/golden/generate.py [FOLDER]

The model is written from the equations of the specification, not from the Rust code, and runs in float64; inputs
and results are stored as float32. Needs torch, numpy and safetensors. The same versions write the same bytes.
"""

import json
import math
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn

CONFIG = dict(hidden_dim=12, L_layers=2, L_cycles=3, H_cycles=2, output_layers=2, lr=1e-3, weight_decay=0.01)
STEPS = 10
BATCH = 5


class Block(nn.Module):
    """f(h) = W2 GELU(W1 LayerNorm(h) + b1) + b2, with the dropouts of the original at probability 0."""

    def __init__(self, d):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(0.0), nn.Linear(4 * d, d), nn.Dropout(0.0)
        )

    def forward(self, h):
        return self.net(h)


class TRM(nn.Module):
    def __init__(self, update):
        super().__init__()
        d = CONFIG["hidden_dim"]
        self.update = update
        self.input_proj = nn.Linear(810, d)
        self.latent_layers = nn.ModuleList(Block(d) for _ in range(CONFIG["L_layers"]))
        self.output_layers = nn.ModuleList(Block(d) for _ in range(CONFIG["output_layers"]))
        self.output_proj = nn.Linear(d, 729)
        self.latent_gate = nn.Parameter(torch.tensor([0.37]))
        self.output_gate = nn.Parameter(torch.tensor([0.61]))

    def refine(self, state, u, layers, gate):
        if self.update == "documented":
            for f in layers:
                u = u + f(u)
            return state + gate * u
        for f in layers:
            u = u + gate * f(u)
        return u

    def forward(self, cells):
        x_emb = self.input_proj(nn.functional.one_hot(cells, 10).flatten(1).to(self.latent_gate.dtype))
        y, z = torch.zeros_like(x_emb), torch.zeros_like(x_emb)
        for _ in range(CONFIG["H_cycles"]):
            for _ in range(CONFIG["L_cycles"]):
                z = self.refine(z, x_emb + y + z, self.latent_layers, self.latent_gate)
            y = self.refine(y, y + z, self.output_layers, self.output_gate)
        return self.output_proj(y).view(-1, 81, 9)


def make(update, seed):
    torch.manual_seed(seed)
    model = TRM(update)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" not in name:
                # Norms and biases away from 1 and 0, so that each of them matters.
                parameter.add_(0.1 * torch.randn_like(parameter))
    model = model.double()
    inputs = torch.randint(0, 10, (BATCH, 81))
    targets = torch.randint(0, 9, (BATCH, 81))
    tensors = {f"param.{name}": p.detach().clone() for name, p in model.named_parameters()}

    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=CONFIG["weight_decay"]), dict(params=others, weight_decay=0.0)],
        lr=CONFIG["lr"],
    )
    losses = []
    for step in range(STEPS):
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits.view(-1, 9), targets.view(-1))
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {f"grad.{name}": p.grad.clone() for name, p in model.named_parameters()}
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if step == 0:
            tensors |= {"logits": logits.detach().clone(), "loss": loss.detach()[None], "grad_norm": norm[None]}
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * CONFIG["lr"] * (1 + math.cos(math.pi * step / STEPS))
        optimizer.step()
        losses.append(loss.item())
    tensors |= {f"after.{name}": p.detach().clone() for name, p in model.named_parameters()}
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors = {name: t.float().contiguous() for name, t in tensors.items()}
    tensors |= {"inputs": inputs.to(torch.uint8), "targets": targets.to(torch.uint8)}
    return tensors


folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
for seed, update in enumerate(["documented", "original"]):
    config = json.dumps(CONFIG | {"update": update})
    save_file(make(update, seed), folder / f"{update}.safetensors", metadata={"config": config})
