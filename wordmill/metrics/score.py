"""A score with its identity and interval, made from sums of what each example contributes.

Every metric here is a function of the sum of its examples' rows. To draw a set again is then to
weigh rows: a matrix of counts times the rows, and one call for the values of all resamples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Of summed statistics, shape (S, K), the values of a score, shape (S,).
Final = Callable[[Floats], Floats]

# Counts held at once, which fit a core's cache: bounds memory, not the result.
_COUNTS_AT_ONCE = 1 << 18


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
        """As plain values, for JSON, which has no word for NaN and infinity: they are None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


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

    def only(self, chosen: NDArray[Any]) -> "Statistics":
        """Those of some examples: a mask, shape (N,), or their places."""
        return replace(self, values=self.values[chosen])

    def value(self) -> float:
        """The score of the set; NaN for an empty one."""
        if len(self.values) == 0:
            return float("nan")
        return float(self.final(self.values.sum(axis=0, keepdims=True))[0])

    def of_examples(self) -> Floats:
        """The score of each example alone, shape (N,)."""
        return self.final(self.values)


def mean_statistics(values: Floats, signature: str) -> Statistics:
    """Of a score that is a mean of its examples' values, shape (N,)."""
    return ratio_statistics(values, np.ones_like(values), signature)


def ratio_statistics(numerators: Floats, denominators: Floats, signature: str) -> Statistics:
    """Of a score that is a ratio of two sums over the examples, shape (N,) each."""
    rows = np.stack((numerators, denominators), axis=1)
    return Statistics(values=rows, final=ratio, signature=signature)


def ratio(sums: Floats) -> Floats:
    """First column by second, shape (S,); 0 where the second is."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)


def scores(statistics: dict[str, Statistics], *, samples: int, seed: int) -> dict[str, Score]:
    """Each score of a set with its 95% percentile bootstrap interval over examples.

    Source: Efron 1979, https://doi.org/10.1214/aos/1176344552. Systems on sets of one size are
    drawn alike, so that their resamples are pairs. An empty set has NaN for value and ends; of
    one example every resample is the set itself, and the interval is its value.

    Args:
        statistics: of one set, by the name of the score.
        samples: how often the set is drawn again.
        seed: of the draws.
    """
    resamples = resampled(list(statistics.values()), samples=samples, seed=seed)
    found: dict[str, Score] = {}
    for (name, of), values in zip(statistics.items(), resamples, strict=True):
        low, high = interval(values)
        found[name] = Score(
            value=of.value(), low=low, high=high, count=len(of.values), signature=of.signature
        )
    return found


def resampled(statistics: Sequence[Statistics], *, samples: int, seed: int) -> list[Floats]:
    """The values of scores on resamples of their set, shape (samples,) each.

    Args:
        statistics: of one set of examples, (N, K) each with the same N.
        samples: how often the set is drawn again.
        seed: of the draws, which depend on it and N alone.
    """
    if not statistics or len(statistics[0].values) == 0:
        return [np.full(samples, np.nan) for _ in statistics]
    rows = np.concatenate([one.values for one in statistics], axis=1)
    found: list[list[Floats]] = [[] for _ in statistics]
    for counts in _draws(len(rows), samples=samples, seed=seed):
        for values, one, sums in zip(
            found, statistics, parts(counts @ rows, statistics), strict=True
        ):
            values.append(one.final(sums))
    return [np.concatenate(values) for values in found]


def parts(sums: Floats, statistics: Sequence[Statistics]) -> list[Floats]:
    """Sums of several statistics side by side, shape (S, sum of K), taken apart."""
    borders = np.cumsum([one.values.shape[1] for one in statistics])[:-1]
    return np.split(sums, borders, axis=1)


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95% of resampled values, those left out that are not defined."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    with np.errstate(invalid="ignore"):  # between a number and infinity nothing is defined
        low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def blocks_of(count: int, samples: int, *, multiple: int = 1) -> Iterator[int]:
    """How many resamples of `count` examples to work on at once, until all are done."""
    rows = max(1, _COUNTS_AT_ONCE // count // multiple) * multiple
    yield from (min(rows, samples - start) for start in range(0, samples, rows))


def _draws(count: int, *, samples: int, seed: int) -> Iterator[Floats]:
    """How often each resample holds each example, shape (S, count), some resamples at a time.

    The draws are those of sacrebleu for the same seed.
    """
    generator = np.random.default_rng(seed)
    for num in blocks_of(count, samples):
        drawn = generator.integers(0, count, (num, count))
        drawn += np.arange(num)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=num * count).reshape(num, count)
        yield counts.astype(np.float64)
