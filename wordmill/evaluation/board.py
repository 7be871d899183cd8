"""The systems side by side on one kind of example: scores, parts, differences.

All of them come from the same rows of statistics.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wordmill.metrics.score import scores
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
        return {system: self._scored(measured) for system, measured in self._systems.items()}

    def slices(self, parts: Iterable[Part]) -> list[Slice]:
        """The primary metric of every system on parts of the examples."""
        return [self._slice(part) for part in parts]

    def differences(self, system: str) -> list[Difference]:
        """A system against each other one in the primary metric; then the best two, if others."""
        pairs = [(system, other) for other in self._systems if other != system]
        best = self._best_first()[:2]
        if len(best) == 2 and system not in best:
            pairs.append((best[0], best[1]))
        return [self._difference(a, b) for a, b in pairs]

    def _scored(self, measured: Measured) -> dict[str, dict[str, Any]]:
        found = scores(measured, samples=self._samples, seed=self._seed)
        return {metric: score.as_dict() for metric, score in found.items()}

    def _best_first(self) -> list[str]:
        found = {name: measured[self._primary] for name, measured in self._systems.items()}
        is_lower_better = next(iter(found.values())).is_lower_better
        return sorted(found, key=lambda name: found[name].value() * (1 if is_lower_better else -1))

    def _primary_of(self, system: str) -> Measured:
        return {self._primary: self._systems[system][self._primary]}

    def _slice(self, part: Part) -> Slice:
        return {
            "kind": self._kind,
            "by": part.by,
            "name": part.name,
            "count": len(part.rows),
            "scores": {
                system: self._scored({self._primary: measured[self._primary].only(part.rows)})
                for system, measured in self._systems.items()
            },
        }

    def _difference(self, a: str, b: str) -> Difference:
        found = compare(
            self._primary_of(a), self._primary_of(b), samples=self._samples, seed=self._seed
        )
        named: Any = {"kind": self._kind, "metric": self._primary, "a": a, "b": b}
        return named | asdict(found[self._primary])
