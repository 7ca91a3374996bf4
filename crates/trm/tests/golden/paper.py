"""The paper's model in plain PyTorch, for the files paper-mlp and paper-att.safetensors; generate.py writes them.

Written from "Less is More: Recursive Reasoning with Tiny Networks" (arXiv 2510.04871) and the names and shapes of its
official checkpoints. It runs in float64. Each file holds, of a few puzzles and under the names of those checkpoints,

    param.<name>                  weights, exact in f32
    inputs, labels                U8 [batch, 81], tokens: 1 blank, 2 to 10 the digits 1 to 9
    logits_segment_<s>            [batch, 81, 11] after segments 1, 2 and 16
    q_halt_segment_<s>            [batch]
    train_loss_segment_1          [1]: mean stablemax cross-entropy of the cells + binary cross-entropy of q_halt / 2,
                                  summed over puzzles
    grad.<name>                   its gradient; that of the puzzle embedding as one row a puzzle, `local_weights`

The first puzzle is labelled with what the model answers, so that both targets of q_halt occur.
"""

import math

import torch
import torch.nn.functional as F

SIZES = {
    "hidden_size": 12,
    "L_layers": 2,
    "L_cycles": 3,
    "H_cycles": 2,
    "num_heads": 2,
    "rope_theta": 100.0,
    "puzzle_emb_len": 3,
    "puzzle_emb_ndim": 17,  # one token, part of another, and one of zeros
    "mlp_width": 10,
    "mlp_t_width": 5,
}
EPS = 1e-5
SEEDS = {"paper-mlp": 2, "paper-att": 8}
SEGMENTS = (1, 2, 16)


def settings(name):
    """The configuration of one file."""
    return {**SIZES, "mlp_t": name == "paper-mlp"}


def shapes(config):
    """Names and shapes of the parameters, without the puzzle embedding: each puzzle gets a row of its own."""
    d, tokens = config["hidden_size"], config["puzzle_emb_len"] + 81
    all_shapes = {"H_init": [d], "L_init": [d], "embed_tokens.embedding_weight": [11, d], "lm_head.weight": [11, d]}
    all_shapes |= {"q_head.weight": [2, d], "q_head.bias": [2]}
    for i in range(config["L_layers"]):
        layer = f"L_level.layers.{i}"
        if config["mlp_t"]:
            all_shapes[f"{layer}.mlp_t.gate_up_proj.weight"] = [2 * config["mlp_t_width"], tokens]
            all_shapes[f"{layer}.mlp_t.down_proj.weight"] = [tokens, config["mlp_t_width"]]
        else:
            all_shapes[f"{layer}.self_attn.qkv_proj.weight"] = [3 * d, d]
            all_shapes[f"{layer}.self_attn.o_proj.weight"] = [d, d]
        all_shapes[f"{layer}.mlp.gate_up_proj.weight"] = [2 * config["mlp_width"], d]
        all_shapes[f"{layer}.mlp.down_proj.weight"] = [d, config["mlp_width"]]
    return all_shapes


def draw(config, rng):
    """Parameters by name: small enough for the recursion to settle, where rounding does not grow over the segments."""
    params = {}
    for name, shape in shapes(config).items():
        scale = {"lm_head.weight": 2.0, "q_head.bias": 0.5}.get(name, 1.0)
        bound = scale / math.sqrt(shape[-1] if len(shape) == 2 else 1)
        values = torch.tensor([rng.uniform(-bound, bound) for _ in range(math.prod(shape))])
        params[name] = values.float().double().view(shape)
    # No answer is padding or a blank, as after training.
    params["lm_head.weight"][:2] *= 2.0**-6
    return params


def swiglu(x, enter, leave):
    gate, up = (x @ enter.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ leave.T


def attention(config, x, enter, leave):
    batch, tokens, d = x.shape
    heads = config["num_heads"]
    pairs = d // heads // 2
    q, k, v = (x @ enter.T).view(batch, tokens, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    speed = config["rope_theta"] ** (-torch.arange(pairs, dtype=x.dtype) / pairs)
    angle = torch.arange(tokens, dtype=x.dtype)[:, None] * speed

    def turn(part):
        turned = torch.complex(part[..., :pairs], part[..., pairs:]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([turned.real, turned.imag], dim=-1)

    mixed = F.scaled_dot_product_attention(turn(q), turn(k), v)
    return mixed.transpose(1, 2).reshape(batch, tokens, d) @ leave.T


def net(config, params, h):
    def norm(x):
        return F.rms_norm(x, x.shape[-1:], eps=EPS)

    for i in range(config["L_layers"]):
        layer = f"L_level.layers.{i}"

        def weights(kind, names, layer=layer):
            return [params[f"{layer}.{kind}.{name}.weight"] for name in names]

        if config["mlp_t"]:
            h = h.transpose(1, 2)
            h = norm(h + swiglu(h, *weights("mlp_t", ("gate_up_proj", "down_proj")))).transpose(1, 2)
        else:
            h = norm(h + attention(config, h, *weights("self_attn", ("qkv_proj", "o_proj"))))
        h = norm(h + swiglu(h, *weights("mlp", ("gate_up_proj", "down_proj"))))
    return h


def segment(config, params, x_emb, carry):
    z_h, z_l = carry
    for cycle in range(config["H_cycles"]):
        with torch.set_grad_enabled(cycle == config["H_cycles"] - 1):
            for _ in range(config["L_cycles"]):
                z_l = net(config, params, z_l + z_h + x_emb)
            z_h = net(config, params, z_h + z_l)
    logits = z_h[:, config["puzzle_emb_len"] :] @ params["lm_head.weight"].T
    q = z_h[:, 0] @ params["q_head.weight"].T + params["q_head.bias"]
    return (z_h.detach(), z_l.detach()), logits, q[:, 0]


def embed(config, params, puzzle_emb, inputs):
    d = config["hidden_size"]
    prefix = F.pad(puzzle_emb, (0, config["puzzle_emb_len"] * d - puzzle_emb.shape[1])).view(len(inputs), -1, d)
    return math.sqrt(d) * torch.cat([prefix, params["embed_tokens.embedding_weight"][inputs]], dim=1)


def loss_of(logits, q_halt, labels):
    s = torch.where(logits < 0, 1 / (1 - logits), logits + 1)
    chosen = (s / s.sum(-1, keepdim=True)).gather(-1, labels[..., None]).squeeze(-1)
    right = (logits.argmax(-1) == labels).all(-1)
    halting = F.binary_cross_entropy_with_logits(q_halt, right.to(q_halt.dtype), reduction="sum")
    return -chosen.log().mean(-1).sum() + halting / 2, right


def compute(name, rng, draw_puzzles):
    """All tensors of one file, by name."""
    config = settings(name)
    params = draw(config, rng)
    values = [rng.uniform(-0.5, 0.5) for _ in range(config["puzzle_emb_ndim"])]
    embedding = torch.tensor([values]).float().double()
    cells, targets = draw_puzzles(2, rng)
    inputs, labels = cells + 1, targets + 2
    local = embedding.repeat(len(inputs), 1).requires_grad_()
    trained = [key for key in params if not key.endswith("_init")]
    for key in trained:
        params[key].requires_grad_()

    out = {f"param.inner.{key}": value.detach().clone() for key, value in params.items()}
    out["param.inner.puzzle_emb.weights"] = embedding
    x_emb = embed(config, params, local, inputs)
    carry = tuple(params[key].expand(x_emb.shape) for key in ("H_init", "L_init"))
    for s in range(1, max(SEGMENTS) + 1):
        carry, logits, q_halt = segment(config, params, x_emb, carry)
        if s == 1:
            labels[0] = logits[0].argmax(-1)
            assert labels.min() >= 2, "take another seed: an answer is no digit"
            loss, right = loss_of(logits, q_halt, labels)
            assert right.tolist() == [True, False]
            grads = torch.autograd.grad(loss, [params[key] for key in trained] + [local])
            out |= {f"grad.inner.{key}": grad for key, grad in zip(trained + ["puzzle_emb.local_weights"], grads)}
            out["train_loss_segment_1"] = loss.detach().view(1)
            x_emb = x_emb.detach()
        if s in SEGMENTS:
            out |= {f"logits_segment_{s}": logits.detach(), f"q_halt_segment_{s}": q_halt.detach()}
    out = {key: value.float() for key, value in out.items()}
    return out | {"inputs": inputs.to(torch.uint8), "labels": labels.to(torch.uint8)}
