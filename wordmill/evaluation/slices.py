"""Parts of the held-out set that are scored by themselves: by language, length and source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wordmill.data.records import Document
    from wordmill.evaluation.exercises import Exercise

_NUM_LENGTHS = 3
_MAX_PARTS = 12
"""Of languages or sources; the rest is small and told by nobody."""
_MIN_EXAMPLES = 10
"""Fewer say nothing."""


class Part(NamedTuple):
    """Some of the examples."""

    by: str
    """`language`, `length` or `source`."""
    name: str
    rows: NDArray[np.int64]


def parts(
    examples: Sequence[Document] | Sequence[Exercise], lengths: Sequence[int]
) -> Iterator[Part]:
    """Yield the parts that are worth a score: more than one of a kind, none of them tiny.

    Args:
        examples: documents or exercises.
        lengths: tokens of each document, or of each exercise's source.
    """
    yield from _named("language", [example.language or "unknown" for example in examples])
    yield from _by_length(np.asarray(lengths, dtype=np.int64))
    yield from _named("source", [example.origin for example in examples])


def _named(by: str, names: list[str]) -> Iterator[Part]:
    found, numbers, counts = np.unique(names, return_inverse=True, return_counts=True)
    if len(found) < 2:
        return
    for number in np.argsort(-counts, kind="stable")[:_MAX_PARTS]:
        if counts[number] >= _MIN_EXAMPLES:
            yield Part(by, str(found[number]), np.flatnonzero(numbers == number))


def _by_length(lengths: NDArray[np.int64]) -> Iterator[Part]:
    """Three parts with about as many examples each."""
    if len(lengths) < _NUM_LENGTHS * _MIN_EXAMPLES:
        return
    edges = np.quantile(lengths, np.arange(1, _NUM_LENGTHS) / _NUM_LENGTHS, method="lower")
    numbers = np.searchsorted(edges, lengths)  # equal to an edge: the shorter part
    for number in range(_NUM_LENGTHS):
        rows = np.flatnonzero(numbers == number)
        if _MIN_EXAMPLES <= len(rows) < len(lengths):
            low, high = lengths[rows].min(), lengths[rows].max()
            yield Part("length", f"{low} to {high} tokens", rows)
