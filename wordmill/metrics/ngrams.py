"""Which n-grams two texts share, for many pairs of texts at once.

An n-gram is named by its rank among all of its order: the rank of its first n - 1 tokens and
its last token give it, so that each order is one sort. Counts are exact; nothing is hashed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# Tokens of a block, whose arrays fit a core's cache.
_TOKENS_AT_ONCE = 1 << 15


class Tokens(NamedTuple):
    """Texts as token numbers, end to end."""

    ids: Ints
    lengths: Ints
    """Tokens of each text, shape (N,)."""


def word_tokens(*sides: Sequence[Sequence[str]]) -> list[Tokens]:
    """Words as numbers that are the same on all sides."""
    numbers: dict[str, int] = {}
    found: list[Tokens] = []
    for texts in sides:
        ids = [numbers.setdefault(word, len(numbers)) for words in texts for word in words]
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        found.append(Tokens(np.array(ids, dtype=np.int64), lengths))
    return found


def character_tokens(texts: Sequence[str]) -> Tokens:
    """Characters as their code points."""
    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return Tokens(np.frombuffer(joined, dtype=np.uint32).astype(np.int64), lengths)


def shared_ngrams(predicted: Tokens, wanted: Tokens, *, max_order: int) -> Ints:
    """How many n-grams the texts of each pair have and share, shape (N, max_order, 3).

    The last axis: n-grams of the predicted text, of the wanted one, and those that stand in
    both, each as often as it does in the text that has it less often.
    """
    blocks = [_block(p, w, max_order) for p, w in _blocks(predicted, wanted)]
    return np.concatenate([np.zeros((0, max_order, 3), dtype=np.int64), *blocks])


def _blocks(predicted: Tokens, wanted: Tokens) -> Iterator[tuple[Tokens, Tokens]]:
    ends = [np.concatenate(([0], np.cumsum(side.lengths))) for side in (predicted, wanted)]
    total, num_pairs, start = ends[0] + ends[1], len(predicted.lengths), 0
    while start < num_pairs:
        reached = int(np.searchsorted(total, total[start] + _TOKENS_AT_ONCE, side="right")) - 1
        stop = max(start + 1, reached)
        first, second = (
            Tokens(side.ids[end[start] : end[stop]], side.lengths[start:stop])
            for side, end in zip((predicted, wanted), ends, strict=True)
        )
        yield first, second
        start = stop


def _block(predicted: Tokens, wanted: Tokens, max_order: int) -> Ints:
    num_pairs = len(predicted.lengths)
    ids = np.concatenate((predicted.ids, wanted.ids))
    lengths = np.concatenate((predicted.lengths, wanted.lengths))
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(ids))  # tokens to the text's end
    vocab = int(ids.max(initial=0)) + 1
    # The first rank is the pair itself: an n-gram is only looked for in its own pair.
    pair_of = rank = np.repeat(np.tile(np.arange(num_pairs), 2), lengths)
    places = np.arange(len(ids))
    found = np.zeros((num_pairs, max_order, 3), dtype=np.int64)
    for order in range(1, max_order + 1):
        names, rank = np.unique(rank * vocab + ids[places + order - 1], return_inverse=True)
        is_predicted = places < len(predicted.ids)
        sides = (rank[is_predicted], rank[~is_predicted])
        shared = np.minimum(*(np.bincount(side, minlength=len(names)) for side in sides))
        pair_of_name = np.empty(len(names), dtype=np.int64)
        pair_of_name[rank] = pair_of[places]
        found[:, order - 1, 2] = np.bincount(pair_of_name, weights=shared, minlength=num_pairs)
        # What is not shared is not shared when it is longer either.
        goes_on = (left[places] > order) & (shared > 0)[rank]
        places, rank = places[goes_on], rank[goes_on]
    orders = np.arange(max_order)
    found[:, :, 0] = np.maximum(predicted.lengths[:, None] - orders, 0)
    found[:, :, 1] = np.maximum(wanted.lengths[:, None] - orders, 0)
    return found
