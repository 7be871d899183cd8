"""Whether one system is better than another on the same examples, or only luckier.

Two tests, both paired, two-sided, and over sums of statistics, so that they hold for scores of
a set (BLEU) as for means. p is the share of chance's outcomes that are at least as far apart as
the systems are, counted with the outcome seen: (c + 1) / (samples + 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wordmill.errors import DataError
from wordmill.metrics.score import Floats, Statistics, blocks_of, interval, parts, resampled

# Swapping rows that score alike gives the difference seen but for the last bits of a sum.
_ROUNDING = 1e-12
# numpy takes 32 truth values from a draw: whole draws a block, so that blocks change nothing.
_TRUTHS_A_DRAW = 32


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Score of a system minus that of another on the same examples."""

    value: float
    low: float
    """Of the 95% interval, by paired bootstrap."""
    high: float
    p_bootstrap: float
    p_randomization: float
    count: int


def compare(
    one: dict[str, Statistics], other: dict[str, Statistics], *, samples: int, seed: int
) -> dict[str, Difference]:
    """Differences of two systems, one for each score that both have.

    Paired bootstrap: Koehn 2004 (https://aclanthology.org/W04-3250); the set is drawn again for
    both at once, and p is the share of resamples whose difference lies at least as far from the
    resamples' mean difference as the one seen lies from 0. sacrebleu 2.6 takes |differences|
    before it centres them; that halves p, and on equal systems it finds a difference at
    p < 0.05 in 12% of sets (bench/metrics.py measures both).
    Approximate randomization: Riezler and Maxwell 2005 (https://aclanthology.org/W05-0908);
    each example's two outputs are swapped or not, and p is the share of swaps at least as far
    apart as the systems are. sacrebleu counts only those that are further.

    Identical rows give 0 with p = 1. One example tells nothing: p = 1, and the interval is its
    difference. No example: NaN, with p = 1.

    Args:
        one: by the name of the score.
        other: on the same examples, in their order.
        samples: resamples, and swaps.
        seed: of both.

    Raises:
        DataError: a score was taken of another number of examples or has another signature.
    """
    names = [name for name in one if name in other]
    for name in names:
        _check_alike(name, one[name], other[name])
    ours, theirs = [one[name] for name in names], [other[name] for name in names]
    values = resampled([*ours, *theirs], samples=samples, seed=seed)
    drawn = zip(values[: len(names)], values[len(names) :], strict=True)
    swapped = _swapped(ours, theirs, samples=samples, seed=seed)
    found: dict[str, Difference] = {}
    for name, (a, b), swaps in zip(names, drawn, swapped, strict=True):
        found[name] = _difference(one[name], other[name], _minus(a, b), swaps)
    return found


def _difference(one: Statistics, other: Statistics, drawn: Floats, swaps: Floats) -> Difference:
    count = len(one.values)
    if np.array_equal(one.values, other.values) and count:
        return Difference(
            value=0.0, low=0.0, high=0.0, p_bootstrap=1.0, p_randomization=1.0, count=count
        )
    value = one.value() - other.value()
    low, high = interval(drawn)
    rounding = _ROUNDING * (abs(one.value()) + abs(other.value()))
    least = abs(value) - rounding
    return Difference(
        value=value,
        low=low,
        high=high,
        p_bootstrap=_p(drawn - _mean(drawn), least) if count > 1 else 1.0,
        p_randomization=_p(swaps, least) if count > 1 else 1.0,
        count=count,
    )


def _minus(one: Floats, other: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # of two infinite perplexities it is not defined
        return one - other


def _p(by_chance: Floats, least: float) -> float:
    """An outcome that is not defined counts as far apart: it can only make p larger."""
    num_far = len(by_chance) - int(np.count_nonzero(np.abs(by_chance) < least))
    return (num_far + 1) / (len(by_chance) + 1)


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else 0.0


def _swapped(
    ours: Sequence[Statistics], theirs: Sequence[Statistics], *, samples: int, seed: int
) -> list[Floats]:
    """Differences after random swaps, shape (samples,) each; the swaps are sacrebleu's."""
    if not ours or len(ours[0].values) == 0:
        return [np.full(samples, np.nan) for _ in ours]
    a = np.concatenate([one.values for one in ours], axis=1)
    b = np.concatenate([one.values for one in theirs], axis=1)
    total, apart = a.sum(axis=0) + b.sum(axis=0), a - b
    found: list[list[Floats]] = [[] for _ in ours]
    generator = np.random.default_rng(seed)
    for num in blocks_of(len(a), samples, multiple=_TRUTHS_A_DRAW):
        is_kept = generator.integers(2, size=(num, len(a)), dtype=bool)
        first = b.sum(axis=0) + is_kept.astype(np.float64) @ apart
        sides = zip(parts(first, ours), parts(total - first, ours), strict=True)
        for values, one, (x, y) in zip(found, ours, sides, strict=True):
            values.append(_minus(one.final(x), one.final(y)))
    return [np.concatenate(values) for values in found]


def _check_alike(name: str, one: Statistics, other: Statistics) -> None:
    if len(one.values) != len(other.values):
        raise DataError(
            f"{name}: {len(one.values)} examples cannot be compared with {len(other.values)};"
            " score both systems on the same examples"
        )
    if one.signature != other.signature:
        raise DataError(
            f"{name}: `{one.signature}` cannot be compared with `{other.signature}`;"
            " score both systems in the same way"
        )
