"""Which predictions a reader is shown: the best, the worst, the most typical and some others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from wordmill.metrics.score import Floats

_NUM_EACH = 4
_NUM_SAMPLES = 8


class Choice(NamedTuple):
    """An example to show, and why."""

    row: int
    why: str
    """`best`, `worst`, `typical` or `sample`."""


def chosen(values: Floats) -> list[Choice]:
    """Choose by the examples' own scores; each is shown once, for the first reason it has.

    Args:
        values: of the primary metric, higher is better, shape (examples,).
    """
    order = np.argsort(-values, kind="stable")
    typical = (
        np.argsort(np.abs(values - np.median(values)), kind="stable") if len(values) else order
    )
    groups = {
        "best": order[:_NUM_EACH],
        "worst": order[::-1][:_NUM_EACH],
        "typical": typical,
        "sample": np.arange(len(values)),
    }
    limits = {"best": _NUM_EACH, "worst": _NUM_EACH, "typical": _NUM_EACH, "sample": _NUM_SAMPLES}
    found: dict[int, Choice] = {}
    for why, rows in groups.items():
        fresh = [int(row) for row in rows if int(row) not in found][: limits[why]]
        found |= {row: Choice(row, why) for row in fresh}
    return list(found.values())
