"""Rows of unequal length as one tensor, and what keeps padding from counting."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Padded(NamedTuple):
    """A batch of prompts."""

    ids: Tensor
    """(B, T)."""
    mask: Tensor | None
    """(B, T), 0 where there is padding; None where there is none."""
    positions: Tensor
    """(B, T), of each token in its own text."""


def left_padded(prompts: list[list[int]], *, pad_id: int, device: torch.device) -> Padded:
    """Prompts that end together, for models that go on from their ends."""
    longest = max(map(len, prompts))
    missing = torch.tensor([longest - len(ids) for ids in prompts])  # (B,)
    rows = [[pad_id] * (longest - len(ids)) + ids for ids in prompts]
    positions = torch.arange(longest) - missing[:, None]
    mask = (positions >= 0).long().to(device) if int(missing.max()) > 0 else None
    return Padded(torch.tensor(rows, device=device), mask, positions.clamp(min=0).to(device))


def right_padded(prompts: list[list[int]], *, pad_id: int, device: torch.device) -> Padded:
    """Prompts that begin together, for encoders."""
    longest = max(map(len, prompts))
    lengths = torch.tensor([len(ids) for ids in prompts])
    rows = [ids + [pad_id] * (longest - len(ids)) for ids in prompts]
    positions = torch.arange(longest).expand(len(prompts), -1)
    mask = (positions < lengths[:, None]).long() if int(lengths.min()) < longest else None
    mask = None if mask is None else mask.to(device)
    return Padded(torch.tensor(rows, device=device), mask, positions.to(device))
