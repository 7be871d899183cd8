"""Training with nothing but PyTorch: a model and a loop by hand, in the style of nanoGPT.

The model is what wordmill/models/decoder.py asks of transformers, written plainly: rotary
positions, RMSNorm, SwiGLU, PyTorch's own attention, output layer tied to the embedding;
queries, keys and values in one product, gate and up in another. The loop is that of nanoGPT's
train.py (https://github.com/karpathy/nanoGPT): random offsets of a memory map, the next batch
made while a step runs, fused AdamW, clipping, the loss read every 10 steps.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train_job import Clock, Job

from wordmill.params.training import TrainingParams

LOG_EVERY_STEPS = 10


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.size = width // heads  # K
        self.heads, self.kv_heads = heads, kv_heads
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, D) to the same."""
        batch, time, width = x.shape
        parts = self.qkv(x).view(batch, time, -1, self.size).transpose(1, 2)  # (B, H + 2 G, T, K)
        q, k, v = parts.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        q, k = turned(q, cos, sin), turned(k, cos, sin)
        has_groups = self.kv_heads != self.heads
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=has_groups)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair (i, i + K / 2) turned by its position's angle (https://arxiv.org/abs/2104.09864)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Block(nn.Module):
    """Attention, then a gated feed-forward, each added to what it was given."""

    def __init__(self, width: int, heads: int, kv_heads: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, kv_heads)
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, D) to the same."""
        x = x + self.attention(self.norm1(x), cos, sin)
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    """The whole model; gives its loss, as nanoGPT's does."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        shape = job.decoder
        width, heads = shape["hidden_size"], shape["num_heads"]
        self.embedding = nn.Embedding(job.vocab_size, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, shape["num_kv_heads"], shape["feed_forward_size"])
            for _ in range(shape["num_layers"])
        )
        self.norm = nn.RMSNorm(width, eps=1e-6)
        cos, sin = angles(job.block_tokens, width // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of (B, T) ids in nats."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))

    def start_from(self, model: Any) -> None:
        """Take the weights of a LlamaForCausalLM."""
        theirs = model.state_dict()
        ours = {
            "embedding.weight": theirs["model.embed_tokens.weight"],
            "norm.weight": theirs["model.norm.weight"],
        }
        for number in range(len(self.blocks)):
            there, here = f"model.layers.{number}.", f"blocks.{number}."
            for name, parts in JOINED.items():
                weights = [theirs[f"{there}{part}.weight"] for part in parts]
                ours[f"{here}{name}.weight"] = torch.cat(weights)
        self.load_state_dict(ours)


JOINED = {
    "norm1": ["input_layernorm"],
    "norm2": ["post_attention_layernorm"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.out": ["self_attn.o_proj"],
    "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "down": ["mlp.down_proj"],
}


def angles(time: int, size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (T, K / 2)."""
    turns = 10000.0 ** (-torch.arange(0, size, 2).float() / size)
    found = torch.outer(torch.arange(time).float(), turns)
    return found.cos(), found.sin()


def train(job: Job, clock: Clock) -> int:
    """Train; returns the number of parameters."""
    torch.manual_seed(job.seed)
    model = Decoder(job)
    assert job.decoder["is_embedding_tied"]
    model.start_from(job.model())
    model.to(job.device)
    params = job.params()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2]},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=params.lr,
        betas=(params.beta1, params.beta2),
        weight_decay=params.weight_decay,
        fused=True,
    )
    loss_of: Any = torch.compile(model) if job.is_compiled else model
    autocast = torch.autocast(job.device, dtype=torch.bfloat16, enabled=job.is_bf16)
    load = given(job) if job.are_batches_given else partial(at_random, job)
    ids, target_ids = load(0)
    for step in range(job.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, params, job.steps)
        with autocast:
            loss = loss_of(ids, target_ids)
        ids, target_ids = load(step + 1)  # while a GPU works on this one
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), params.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % LOG_EVERY_STEPS == 0 or job.are_batches_given:
            clock.losses[step + 1] = loss.item()
        clock.done(step + 1)
    return sum(p.numel() for p in model.parameters())


def learning_rate(step: int, params: TrainingParams, steps: int) -> float:
    """Warm-up, then half a cosine, as in the project's recipe."""
    if step < params.warmup_steps:
        return params.lr * (step + 1) / params.warmup_steps
    done = (step - params.warmup_steps) / (steps - params.warmup_steps)
    least = params.min_lr_fraction
    return params.lr * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done)))


def given(job: Job) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The project's batches, by step."""
    batches = job.batches()

    def load(step: int) -> tuple[Tensor, Tensor]:
        found = batches.at(step)
        return found["input_ids"].to(job.device), found["labels"].to(job.device)

    return load


def at_random(job: Job, _: int) -> tuple[Tensor, Tensor]:
    """Random offsets of the text, mapped anew each time as nanoGPT does."""
    data, time = job.token_ids(), job.block_tokens
    offsets = torch.randint(len(data) - time, (job.batch_size,))
    x = torch.stack([torch.from_numpy(data[i : i + time].astype("int64")) for i in offsets])
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + time].astype("int64")) for i in offsets])
    if job.device == "cuda":
        x, y = (one.pin_memory().to("cuda", non_blocking=True) for one in (x, y))
    return x, y
