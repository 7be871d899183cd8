"""The output layer and its cross-entropy in one, a chunk of places at a time.

Logits of all places, (N, V), are the largest tensor of a small model's step: they are never
held here. Gradients are computed in the forward pass while a chunk's logits are at hand, so no
product is done twice and nothing of size N x V is kept. Memory: a chunk of logits and the
gradients of hidden states and weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wordmill.tokens.batches import IGNORED

# Forward and backward in ms, float32 on two quiet cores (2 MB of L2, 32 MB of L3), N = 2048, and
# MiB held by plain F.cross_entropy of F.linear and by this (bench/loss.py):
#   V, D          plain   64 rows  128  256   512  1024  2048   plain  this
#   4096, 96         82        69   59   52    50    60    57      98    21
#   4096, 192       118       129  106   91    90    94    90      99    26
#   4096, 384       185       206  167  149   151   151   167     102    36
#   32000, 96       608       455  367  412   435   467   425     762    88
#   32000, 192      806       865  758  722   771   749   792     773   113
#   32000, 384     1656      1553 1388 1256  1231  1202  1185     797   163
# So it is taken at every size. A chunk should stay in the caches (8 MB), but have rows enough to
# pay for a pass over the weight's gradient. A GPU wants few large products: 2**27 logits are
# 256 MB in bf16 (by reckoning; not measured).
_CPU_LOGITS, _GPU_LOGITS, _MIN_ROWS = 2**21, 2**27, 256

Scores = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


class _Asked(NamedTuple):
    """What a call wants, besides its tensors."""

    label_smoothing: float
    dtype: torch.dtype  # of the products
    needs: tuple[bool, bool, bool]  # gradients of hidden states, weight, bias
    scores: Scores


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    scores: Scores | None = None,
) -> Tensor:
    """Sum over places of the cross-entropy of `F.linear(hidden, weight, bias)`, in nats.

    As `F.cross_entropy(..., reduction="sum")` in value and gradient, label smoothing too. Under
    autocast the products are in its type; softmax and sums are in float32 (float64 of float64).
    There is no second derivative.

    Args:
        hidden: (N, D).
        weight: (V, D).
        bias: (V,), or None.
        labels: (N,), IGNORED where a place has no loss.
        label_smoothing: share of each target spread over the vocabulary.
        scores: `scores_and_gradients`, or that compiled.
    """
    inputs = (hidden, weight, bias)
    is_graded = torch.is_grad_enabled()
    needs = [is_graded and one is not None and one.requires_grad for one in inputs]
    asked = _Asked(
        label_smoothing,
        product_type(weight),
        (needs[0], needs[1], needs[2]),
        scores or scores_and_gradients,
    )
    with torch.autocast(hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, bias, labels, asked)  # pyright: ignore[reportReturnType]


def product_type(weight: Tensor) -> torch.dtype:
    """The type that a linear layer of this weight computes in."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def scores_and_gradients(
    logits: Tensor, labels: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropies (N,) and their gradients by the logits (N, V).

    Losses are in float32 at least, gradients in the type of the logits: compiled, neither is ever
    written in another. Of an ignored place both are of no meaning. All passes are over a chunk in
    the cache; a softmax is faster than a logsumexp and an exp (52 against 62 ms, V 4096, D 96).
    """
    given, targets = logits.dtype, labels.clamp(min=0)[:, None]  # (N, 1)
    logits = logits.to(_wide(given))
    highest = logits.amax(-1)  # (N,)
    kept = 1.0 - label_smoothing
    losses = -kept * logits.gather(1, targets)[:, 0]
    if label_smoothing:
        losses = losses - label_smoothing * logits.mean(-1)
    gradients = torch.softmax(logits, -1)
    # The largest probability is at least 1 / V: its logarithm is safe where another's is not.
    losses = losses + highest - gradients.amax(-1).log()
    if label_smoothing:
        gradients -= label_smoothing / logits.shape[1]
    of_targets = torch.full_like(targets, -kept, dtype=logits.dtype)
    return losses, gradients.scatter_add_(1, targets, of_targets).to(given)


def _wide(given: torch.dtype) -> torch.dtype:
    return torch.promote_types(given, torch.float32)


def _rows_a_chunk(weight: Tensor) -> int:
    logits = _CPU_LOGITS if weight.device.type == "cpu" else _GPU_LOGITS
    return max(_MIN_ROWS, logits // weight.shape[0])


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        asked: _Asked,
    ) -> Tensor:
        sums = _Sums(hidden, weight, bias, asked)
        rows = _rows_a_chunk(weight)
        for start in range(0, len(hidden), rows):
            sums.add(slice(start, start + rows), labels[start : start + rows])
        ctx.save_for_backward(*sums.gradients)
        return sums.losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        factor = grad_outputs[0]
        found = (None if one is None else one * factor.to(one.dtype) for one in ctx.saved_tensors)
        return *found, None, None


class _Sums:
    """Losses and gradients summed over chunks, in float32 at least."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, asked: _Asked) -> None:
        self._hidden, self._asked = hidden, asked
        self._weight = weight.to(asked.dtype)
        self._bias = None if bias is None else bias.to(asked.dtype)
        wide = _wide(asked.dtype)
        self.losses = hidden.new_zeros((), dtype=wide)
        of_hidden, of_weight, of_bias = asked.needs
        self._by_hidden = torch.empty_like(hidden) if of_hidden else None
        self._by_weight = torch.zeros_like(weight, dtype=wide) if of_weight else None
        self._by_bias = self.losses.new_zeros(len(weight)) if of_bias else None

    @property
    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of hidden states, weight and bias; None where not asked for."""
        return self._by_hidden, self._by_weight, self._by_bias

    def add(self, rows: slice, labels: Tensor) -> None:
        """Add a chunk's."""
        chunk = self._hidden[rows].to(self._asked.dtype)
        logits = F.linear(chunk, self._weight, self._bias)  # (rows, V)
        smoothing = self._asked.label_smoothing
        if not any(self._asked.needs):
            self.losses += F.cross_entropy(
                logits.to(self.losses.dtype),
                labels,
                ignore_index=IGNORED,
                reduction="sum",
                label_smoothing=smoothing,
            )
            return
        losses, by_logits = self._asked.scores(logits, labels, smoothing)
        is_labelled = labels != IGNORED
        self.losses += losses.masked_fill(~is_labelled, 0).sum()
        self._add_gradients(rows, chunk, by_logits, is_labelled)

    def _add_gradients(
        self, rows: slice, chunk: Tensor, by_logits: Tensor, is_labelled: Tensor
    ) -> None:
        """Ignored places are left out where a place has D values, not V."""
        kept = is_labelled[:, None]
        if self._by_hidden is not None:
            self._by_hidden[rows] = (by_logits @ self._weight) * kept  # (rows, D)
        if self._by_weight is not None:
            if self._by_weight.dtype == self._asked.dtype:
                self._by_weight.addmm_(by_logits.T, chunk * kept)
            else:
                self._by_weight += by_logits.T @ (chunk * kept)  # (V, D)
        if self._by_bias is not None:
            self._by_bias += is_labelled.to(by_logits.dtype) @ by_logits
