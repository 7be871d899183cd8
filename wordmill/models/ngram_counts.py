"""How often each n-gram occurs in running text, of all orders up to one.

The n-grams of order m are a sorted array of keys: the number of the n-gram's first m - 1 tokens
among those of order m - 1, times V, plus its last token. An n-gram's number is its place there,
so whatever follows a context lies together, and a lookup is one binary search for many at once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNKNOWN = -1
"""The number of an n-gram that was never seen."""


class Counts(NamedTuple):
    """The n-grams of one order."""

    keys: Ints
    """Shape (n-grams,), sorted. Empty for order 1, where the number is the token."""
    times: Ints
    """Shape (n-grams,), (V,) for order 1. Of the longest n-grams, how often each occurs; of the
    others, how many different tokens stand before it, where any can (Kneser and Ney)."""


def count_ngrams(ids: Ints, *, order: int, vocab_size: int, end_id: int) -> Iterator[Counts]:
    """The n-grams of order 1, 2, ..., `order`.

    Args:
        ids: running text, shape (tokens,), opened and closed by `end_id`.
        order: the longest n-gram.
        vocab_size: V.
        end_id: the token between documents, which no n-gram reaches over.
    """
    allowed = reach(ids, end_id=end_id)
    keys, numbers, size = np.empty(0, dtype=np.int64), ids, vocab_size
    for m in range(1, order + 1):
        times = np.bincount(numbers[allowed >= m], minlength=size)
        places = np.flatnonzero(allowed > m)
        longer = numbers[places - 1] * vocab_size + ids[places]
        longer_keys, first, inverse = np.unique(longer, return_index=True, return_inverse=True)
        if m < order:
            preceded = np.bincount(numbers[places[first]], minlength=size)
            times = np.where(preceded > 0, preceded, times)
        yield Counts(keys, times)
        numbers = np.full(len(ids), UNKNOWN)
        numbers[places] = inverse
        keys, size = longer_keys, len(longer_keys)


def reach(ids: Ints, *, end_id: int) -> Ints:
    """The longest n-gram that may end at each place; 0 at the first, which nothing predicts."""
    places = np.arange(len(ids))
    ends = np.where(ids == end_id, places, 0)
    last_end_before = np.concatenate(([0], np.maximum.accumulate(ends)[:-1]))
    longest = places - last_end_before + 1
    longest[0] = 0
    return longest


def numbers_of(keys: Ints, wanted: Ints, is_possible: Bools) -> Ints:
    """The number of each key that is wanted, `UNKNOWN` where it is not there."""
    if len(keys) == 0:
        return np.full(len(wanted), UNKNOWN)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(is_possible & (keys[place] == wanted), place, UNKNOWN)
