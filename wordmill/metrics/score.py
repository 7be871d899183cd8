"""A score with its identity, and the intervals that say how much of it is chance."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Of summed statistics, shape (S, K), the values of a score, shape (S,).
Final = Callable[[Floats], Floats]

# Resampled values held at once: bounds memory, not the result.
_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Score:
    """A value that can be compared with those of the same signature and set, and no others."""

    value: float
    low: float
    """Lower end of the 95% interval."""
    high: float
    """Upper end of the 95% interval."""
    count: int
    """Examples scored."""
    signature: str
    """What was computed, with every setting that moves the value."""

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What a score is made of: the score of a set is a function of its examples' sum.

    So are intervals and tests of a difference: to draw a set again is to weigh its rows.
    """

    values: Floats
    """Shape (N, K), a row for each example."""
    final: Final
    signature: str
    is_lower_better: bool = False


def bootstrap_ratios(
    numerators: Floats, denominators: Floats, *, samples: int, seed: int
) -> Floats:
    """Resampled values of sum(numerators) / sum(denominators), shape (samples,).

    The percentile bootstrap over examples (Efron 1979,
    https://doi.org/10.1214/aos/1176344552); a mean is the ratio with denominators of one.

    Args:
        numerators: one value an example, shape (examples,).
        denominators: one weight an example, shape (examples,).
        samples: how often the set is drawn again.
        seed: of the draws; equal for systems on the same set, so that they are paired.
    """
    generator = np.random.default_rng(seed)
    num_examples = len(numerators)
    rows = max(1, _VALUES_AT_ONCE // max(num_examples, 1))
    found: list[Floats] = []
    for start in range(0, samples, rows):
        shape = (min(rows, samples - start), num_examples)
        drawn = generator.integers(0, num_examples, shape)
        found.append(numerators[drawn].sum(axis=1) / denominators[drawn].sum(axis=1))
    return np.concatenate(found)


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95% of resampled values."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
