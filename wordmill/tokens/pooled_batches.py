"""Pairs of like length in one batch: what decoders and encoder-decoders share.

The pairs of some batches, a pool, are sorted by length together: little padding, and still an
order that is random. Each pair is seen once an epoch, but for the pool that holds the end of an
epoch and the start of the next.
"""

import numpy as np

from wordmill.errors import DataError
from wordmill.tokens.batches import Batches, Items
from wordmill.tokens.rows import Ints

# Enough to leave little padding, few enough to leave the order random.
_BATCHES_A_POOL = 16


class PooledPairBatches(Batches):
    """Training batches of pairs, of like length together.

    Args:
        spans: where each pair lies, shape (pairs, 3).
        mean_item_tokens: tokens that a pair is trained on, the mean over all.

    Raises:
        DataError: there is no pair.
    """

    def __init__(self, spans: Ints, *, batch_size: int, seed: int, mean_item_tokens: float) -> None:
        check_pairs(spans)
        self._spans = spans
        # No more than an epoch: a pair that is there twice would stand beside itself in a batch.
        self._num_batches = max(1, min(_BATCHES_A_POOL, len(spans) // batch_size))
        super().__init__(
            len(spans), batch_size=batch_size, seed=seed, mean_item_tokens=mean_item_tokens
        )

    def _items_of_step(self, step: int) -> Items:
        pool, within = divmod(step, self._num_batches)
        size = self.batch_size * self._num_batches
        items = self._items_at(pool * size, (pool + 1) * size)
        lengths = self._spans[items.numbers, 2] - self._spans[items.numbers, 0]
        by_length = np.argsort(lengths, kind="stable").reshape(self._num_batches, -1)
        order = np.random.default_rng([self._seed, 1, pool]).permutation(self._num_batches)
        chosen = by_length[order[within]]
        return Items(items.numbers[chosen], items.visits[chosen])

    def _stretches(self, items: Items) -> list[tuple[int, int]]:
        return pair_stretches(self._spans[items.numbers])


def check_pairs(spans: Ints) -> None:
    """See that there are pairs.

    Raises:
        DataError: there is none.
    """
    if len(spans) == 0:
        raise DataError("there is no pair in this split; give a source of pairs or raise its share")


def pair_stretches(spans: Ints) -> list[tuple[int, int]]:
    """(start, stop) of each pair."""
    return [(start, stop) for start, _, stop in spans.tolist()]
