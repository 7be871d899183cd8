"""What a run has taken over all its attempts, kept beside its checkpoints.

The file is written after each checkpoint and at the end: of an attempt that is killed, what it did
since its last checkpoint is not known to anyone. Clocks are in here and not in a checkpoint or a
curve, which are the same for every run of a recipe.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypedDict

from wordmill.files import replaced_file, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from wordmill.training.cost import Meter

COST_FILE = "cost.json"
_DIGITS = 3


class Cost(TypedDict):
    """What a stage took; a report shows it."""

    stage: str
    seconds: float
    """Of work, over all attempts."""
    tokens: int
    """That the weights were trained on, from the first step to the last."""
    device: str
    """Of the last attempt."""
    joules: float | None
    """None where nothing counted those of an attempt."""


class Spending:
    """The cost of a run, this attempt on top of those before it.

    Args:
        folder: of the run's checkpoints.
        stage: the run's name.
        device: that it works on now.
        meter: counts this attempt.
    """

    def __init__(self, folder: Path, *, stage: str, device: str, meter: Meter) -> None:
        self._path, self._meter = folder / COST_FILE, meter
        self._stage, self._device = stage, device
        self._before: Cost | None = None
        if self._path.exists():
            self._before = kept_cost(folder)

    def keep(self, tokens: int) -> None:
        """Write down what was taken so far.

        Args:
            tokens: that the weights have been trained on, from the first step.
        """
        cost = new_cost(self._meter, stage=self._stage, device=self._device, tokens=tokens)
        if self._before is not None:
            cost["seconds"] = round(cost["seconds"] + self._before["seconds"], _DIGITS)
            mine, known = cost["joules"], self._before["joules"]
            cost["joules"] = None if mine is None or known is None else mine + known
        with replaced_file(self._path) as partial:
            write_json(partial, cost)


def new_cost(meter: Meter, *, stage: str, device: str, tokens: int) -> Cost:
    """The cost of work that nothing came before."""
    joules = meter.read()
    return {
        "stage": stage,
        "seconds": round(meter.seconds, _DIGITS),
        "tokens": tokens,
        "device": device,
        "joules": None if joules is None else round(joules, _DIGITS),
    }


def kept_cost(folder: Path) -> Cost:
    """What `keep` wrote last."""
    return json.loads((folder / COST_FILE).read_text(encoding="utf-8"))
