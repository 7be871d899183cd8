"""The scores of additive attention (https://arxiv.org/abs/1409.0473, section A.1.2), and fast.

A score is v . tanh(q + k), of every place of the target with every place of the source: B x U x T
x D numbers. Two things make it cheap. tanh(x) = 2 sigmoid(2x) - 1, and softmax takes no notice of
what is added to all scores, so 2v . sigmoid(2q + 2k) will do; sigmoid is six times faster on a CPU.
And the numbers are made part by part, parts that stay in the cache, and again for the gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Numbers made at once: 1 MiB in single precision stays in a core's cache, 64 MiB fill a GPU.
_NUMBERS_ON_CPU = 2**18
_NUMBERS_ON_GPU = 2**24


def additive_scores(queries: Tensor, keys: Tensor, weight: Tensor) -> Tensor:
    """Score every target place with every source place, up to a number that a row shares.

    Args:
        queries: of the target, (B, U, D).
        keys: of the source, (B, T, D).
        weight: v, (D,).

    Returns:
        v . tanh(query + key) + sum(v), (B, U, T), at least in single precision.
    """
    dtype = torch.promote_types(queries.dtype, torch.float32)
    scores: Tensor = _AdditiveScores.apply(
        2 * queries.to(dtype), 2 * keys.to(dtype), 2 * weight.to(dtype)
    )
    return scores


class _AdditiveScores(torch.autograd.Function):
    """v . sigmoid(q + k)."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(queries, keys, weight)
        scores = queries.new_empty(*queries.shape[:2], keys.shape[1])
        for row, part in _parts(queries, keys):
            torch.matmul(_sigmoids(queries, keys, row, part), weight, out=scores[row, part])
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = grad_outputs  # (B, U, T)
        queries, keys, weight = ctx.saved_tensors
        to_queries, to_keys = torch.empty_like(queries), torch.zeros_like(keys)
        to_weight = torch.zeros_like(weight)
        for row, part in _parts(queries, keys):
            sigmoids = _sigmoids(queries, keys, row, part)  # (u, T, D)
            share = gradient[row, part].unsqueeze(-1)  # (u, T, 1)
            to_weight += sigmoids.flatten(0, 1).T @ share.flatten()
            slopes = sigmoids.addcmul_(sigmoids, sigmoids, value=-1).mul_(share)
            torch.sum(slopes, dim=1, out=to_queries[row, part])
            to_keys[row] += slopes.sum(dim=0)
        return to_queries.mul_(weight), to_keys.mul_(weight), to_weight


def _parts(queries: Tensor, keys: Tensor) -> Iterator[tuple[int, slice]]:
    """A row of the batch, and the places of its target that are scored at once."""
    numbers = _NUMBERS_ON_CPU if queries.device.type == "cpu" else _NUMBERS_ON_GPU
    step = max(1, numbers // max(1, keys[0].numel()))
    for row in range(queries.shape[0]):
        for start in range(0, queries.shape[1], step):
            yield row, slice(start, start + step)


def _sigmoids(queries: Tensor, keys: Tensor, row: int, part: slice) -> Tensor:
    return (queries[row, part].unsqueeze(1) + keys[row]).sigmoid_()  # (u, T, D)
