"""The systems side by side on one kind of example: scores, parts, differences.

All of them come from the same rows of statistics.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wordmill.metrics.score import score_of
from wordmill.metrics.significance import compare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wordmill.evaluation.slices import Part
    from wordmill.metrics.score import Statistics
    from wordmill.report.record import Difference, Scored, Slice

Measured = dict[str, "Statistics"]
"""metric -> statistics of one system"""


class Board:
    """What is known of systems on one kind of example.

    Args:
        kind: `documents`, or the task of pairs.
        primary: the metric that parts and differences are told in.
        systems: each on the same examples in the same order.
        samples: resamples behind each interval and each test.
        seed: of the resampling.
    """

    def __init__(
        self, kind: str, *, primary: str, systems: dict[str, Measured], samples: int, seed: int
    ) -> None:
        self._kind, self._primary, self._systems = kind, primary, systems
        self._samples, self._seed = samples, seed

    def scores(self) -> Scored:
        """Every metric of every system."""
        return {
            system: {
                metric: score_of(found, samples=self._samples, seed=self._seed).as_dict()
                for metric, found in measured.items()
            }
            for system, measured in self._systems.items()
        }

    def slices(self, parts: Iterable[Part]) -> list[Slice]:
        """The primary metric of every system on parts of the examples."""
        return [self._slice(part) for part in parts]

    def differences(self, system: str) -> list[Difference]:
        """A system against each other one in the primary metric."""
        mine = self._systems[system][self._primary]
        return [
            self._difference(system, mine, other, measured[self._primary])
            for other, measured in self._systems.items()
            if other != system
        ]

    def _slice(self, part: Part) -> Slice:
        scores: Scored = {}
        for system, measured in self._systems.items():
            whole = measured[self._primary]
            some = replace(whole, values=whole.values[part.rows])
            found = score_of(some, samples=self._samples, seed=self._seed)
            scores[system] = {self._primary: found.as_dict()}
        return {
            "kind": self._kind,
            "by": part.by,
            "name": part.name,
            "count": len(part.rows),
            "scores": scores,
        }

    def _difference(self, a: str, first: Statistics, b: str, second: Statistics) -> Difference:
        found = compare(first, second, samples=self._samples, seed=self._seed)
        return {
            "kind": self._kind,
            "metric": self._primary,
            "a": a,
            "b": b,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "p_bootstrap": found.p_bootstrap,
            "p_randomization": found.p_randomization,
            "count": len(first.values),
        }
