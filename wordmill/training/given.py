"""What a run of training is given besides a model and a recipe: its data, and its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wordmill.progress import Show
    from wordmill.tokens.batches import Batches
    from wordmill.training.checkpoints import Identity
    from wordmill.training.watch import Tracker

_CHECKPOINT_SECONDS = 20.0


def _none(_: int) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a model is trained on and what it is held against."""

    train: Batches
    validation: Batches
    records_of: Callable[[int], list[str]] = _none
    """Ids of the records in the batch of a step, counted from 0."""
    bytes_of_ids: NDArray[np.int64] | None = None
    """UTF-8 bytes of each token, shape (V,), where bits per byte mean something."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run keeps itself and what it tells."""

    scratch: Path
    """For checkpoints; other runs have other folders."""
    identity: Identity = field(default_factory=dict)
    """What its checkpoints belong to."""
    name: str
    """For progress."""
    tracker: Tracker
    show: Show
    every_seconds: float
    """Between two progress lines."""
    checkpoint_seconds: float = _CHECKPOINT_SECONDS
    """Between two checkpoints."""
