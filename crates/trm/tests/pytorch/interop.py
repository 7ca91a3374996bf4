"""The other side of tests/pytorch.rs: the Python original's model, training file and inference, as it has them.

    interop.py read FULL.pt PRODUCTION.pt DOCUMENTED.pt OUT.json   loads what the Rust side wrote
    interop.py write FOLDER                                        writes what the Rust side reads

Needs torch and numpy.
"""

import json
import pathlib
import sys
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"


@dataclass
class InferenceConfig:
    """What the original's inference script builds from `config`."""

    input_dim: int = 810
    hidden_dim: int = 4
    output_dim: int = 729
    L_layers: int = 2
    H_cycles: int = 2
    L_cycles: int = 3
    dropout: float = 0.1


@dataclass
class TRMConfig(InferenceConfig):
    """What its training pickles into its checkpoints, under this name."""

    lr: float = 3e-4
    batch_size: int = 32
    device: str = "cpu"


class Block(nn.Module):
    def __init__(self, d, dropout):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * d, d), nn.Dropout(dropout)
        )

    def forward(self, h, gate):
        return h + gate * self.net(h)


class TRM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        d = config.hidden_dim
        self.input_proj = nn.Linear(config.input_dim, d)
        self.latent_layers = nn.ModuleList([Block(d, config.dropout) for _ in range(config.L_layers)])
        self.output_layers = nn.ModuleList([Block(d, config.dropout) for _ in range(2)])
        self.output_proj = nn.Linear(d, config.output_dim)
        self.latent_gate = nn.Parameter(torch.ones(1))
        self.output_gate = nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = self.input_proj(x)
        y, z = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(self.config.H_cycles):
            for _ in range(self.config.L_cycles):
                c = x + y + z
                for block in self.latent_layers:
                    c = block(c, self.latent_gate)
                z = c
            c = y + z
            for block in self.output_layers:
                c = block(c, self.output_gate)
            y = c
        return self.output_proj(y).view(-1, 81, 9)


def one_hot(puzzle):
    digits = torch.tensor([0 if c == "." else int(c) for c in puzzle])
    return nn.functional.one_hot(digits, 10).float().view(1, 810)


def optimizer_of(model):
    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    return torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}])


def infer(path):
    """The original's inference script: a dataclass from `config`, a strict state dict, evaluation mode."""
    checkpoint = torch.load(path, weights_only=True)
    config = InferenceConfig(**checkpoint["config"])
    model = TRM(config)
    model.load_state_dict(checkpoint["model_state_dict"])
    model.eval()
    with torch.no_grad():
        return checkpoint, model, model(one_hot(PUZZLE))


def read(full_path, production_path, documented_path, out):
    full, model, _ = infer(full_path)
    documented = ["model_state_dict", "optimizer_state_dict", "config", "train_losses", "val_losses", "val_accuracies"]
    assert set(documented) <= set(full), full.keys()
    assert set(full["config"]) == set(asdict(InferenceConfig())), full["config"]
    assert list(full["model_state_dict"]) == list(model.state_dict()), "names in another order"
    optimizer = optimizer_of(model)
    assert set(full["optimizer_state_dict"]["param_groups"][0]) == set(optimizer.state_dict()["param_groups"][0])
    optimizer.load_state_dict(full["optimizer_state_dict"])
    names = {p: name for name, p in model.named_parameters()}
    moments = {names[p]: state["exp_avg"].flatten().tolist() for p, state in optimizer.state.items()}
    steps = {state["step"].item() for state in optimizer.state.values()}
    model(one_hot(PUZZLE)).sum().backward()
    optimizer.step()

    production, _, logits = infer(production_path)
    assert set(production) == {"model_state_dict", "config", "trm"}, production.keys()
    assert "model_state_dict" in torch.load(documented_path, weights_only=True)
    result = {
        "losses": [full["train_losses"], full["val_losses"], full["val_accuracies"]],
        "exp_avg": moments,
        "steps": list(steps),
        "logits": logits.flatten().tolist(),
    }
    pathlib.Path(out).write_text(json.dumps(result))


def write(folder):
    folder = pathlib.Path(folder)
    torch.manual_seed(1)
    config = TRMConfig()
    model = TRM(config)
    optimizer = optimizer_of(model)
    model(one_hot(PUZZLE)).square().sum().backward()
    optimizer.step()
    state = model.state_dict()
    whole = {
        "model_state_dict": state,
        "optimizer_state_dict": optimizer.state_dict(),
        "config": config,
        "train_losses": [2.0, np.float64(1.5)],
        "val_losses": [np.float64(2.1), 1.6],
        "val_accuracies": [0.25, 0.5],
    }
    torch.save(whole, folder / "dataclass.pt")
    plain = asdict(InferenceConfig())

    def save(name, state, config=plain):
        torch.save({"model_state_dict": state, "config": config}, folder / name)

    save("half.pt", {name: t.half() for name, t in state.items()})
    save("bfloat16.pt", {name: t.bfloat16() for name, t in state.items()})
    save("double.pt", {name: t.double() for name, t in state.items()})
    save("parameters.pt", dict(model.named_parameters()))
    # Views into one storage, and transposed ones.
    flat = torch.cat([t.flatten() for t in state.values()])
    views, at = {}, 0
    for name, t in state.items():
        views[name] = flat[at : at + t.numel()].view(t.shape)
        at += t.numel()
        if t.dim() == 2 and "input" in name:
            views[name] = views[name].t().contiguous().t()
    save("views.pt", views)
    save("scalar_gate.pt", state | {"latent_gate": torch.tensor(0.5)})
    gates = ("latent_gate", "output_gate")
    save("vector_gate.pt", state | {name: state[name].expand(config.hidden_dim).clone() for name in gates})
    torch.save(state, folder / "bare.pt")
    torch.save(whole, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    model.eval()
    with torch.no_grad():
        logits = model(one_hot(PUZZLE)).flatten().tolist()
    values = {name: t.flatten().tolist() for name, t in state.items()}
    (folder / "expected.json").write_text(json.dumps({"logits": logits, "values": values}))


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
