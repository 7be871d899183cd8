"""Which sequences a training step sees: a function of (seed, step) and nothing else.

No state is carried from step to step, so a run resumed at any step sees what an undisturbed
one would. Blocks are all seen once before any is seen again; so are pairs, but for the pool
of batches that holds the end of an epoch and the start of the next.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordmill.errors import DataError
from wordmill.tokens.store import Ids

IGNORED = -100
"""Label of a position that has no loss; cross_entropy's own default."""

# Batches whose sequences are sorted by length together: enough to leave little padding, few
# enough to leave the order random.
_BATCHES_A_POOL = 16


class Batch(TypedDict):
    """Token ids and what should follow each of them, both (B, T)."""

    input_ids: Tensor
    labels: Tensor


class Batches(ABC):
    """Training batches by step, validation batches in order."""

    def __init__(self, num_items: int, *, batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self._num_items = num_items
        self._seed = seed
        self._order_of_epoch = lru_cache(maxsize=2)(self._shuffled)

    def at(self, step: int) -> Batch:
        """The batch of training step `step`, counted from 0."""
        return self._make(self._items_of_step(step))

    def in_order(self) -> Iterator[Batch]:
        """Every item once, for validation; the last batch may be smaller."""
        for start in range(0, self._num_items, self.batch_size):
            stop = min(start + self.batch_size, self._num_items)
            yield self._make(np.arange(start, stop))

    def _items_of_step(self, step: int) -> NDArray[np.int64]:
        return self._items_at(step * self.batch_size, (step + 1) * self.batch_size)

    def _items_at(self, start: int, stop: int) -> NDArray[np.int64]:
        """The items at places start..stop of the endless order, an epoch after another."""
        places = np.arange(start, stop)
        epochs, within = np.divmod(places, self._num_items)
        items = np.empty_like(places)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            items[chosen] = self._order_of_epoch(int(epoch))[within[chosen]]
        return items

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(self._num_items)

    @abstractmethod
    def _make(self, items: NDArray[np.int64]) -> Batch: ...


class BlockBatches(Batches):
    """Blocks of running text for language modelling.

    Args:
        ids: running text, shape (tokens,).
        block_tokens: T.

    Raises:
        DataError: the text is shorter than one block.
    """

    def __init__(self, ids: Ids, *, block_tokens: int, batch_size: int, seed: int) -> None:
        num_blocks = (len(ids) - 1) // block_tokens
        if num_blocks < 1:
            raise DataError(
                f"the text has {len(ids)} tokens, less than one block of {block_tokens + 1};"
                " give more text or lower model.context_tokens"
            )
        super().__init__(num_blocks, batch_size=batch_size, seed=seed)
        self._ids, self._block_tokens = ids, block_tokens

    def _make(self, items: NDArray[np.int64]) -> Batch:
        places = items[:, None] * self._block_tokens + np.arange(self._block_tokens + 1)
        block = torch.from_numpy(self._ids[places].astype(np.int64))  # (B, T + 1)
        return {"input_ids": block[:, :-1], "labels": block[:, 1:]}


class PairBatches(Batches):
    """Prompts with their targets, of like length together; the loss is on the target alone.

    Args:
        ids: the flat ids of a pair file, shape (tokens,).
        spans: where each pair lies, shape (pairs, 3).
        pad_id: fills the ends of shorter sequences.

    Raises:
        DataError: there is no pair.
    """

    def __init__(
        self, ids: Ids, spans: NDArray[np.int64], *, pad_id: int, batch_size: int, seed: int
    ) -> None:
        if len(spans) == 0:
            raise DataError(
                "there is no pair in this split; give a source of pairs or raise its share"
            )
        super().__init__(len(spans), batch_size=batch_size, seed=seed)
        self._ids, self._spans, self._pad_id = ids, spans, pad_id

    def _items_of_step(self, step: int) -> NDArray[np.int64]:
        pool, within = divmod(step, _BATCHES_A_POOL)
        size = self.batch_size * _BATCHES_A_POOL
        items = self._items_at(pool * size, (pool + 1) * size)
        lengths = self._spans[items, 2] - self._spans[items, 0]
        batches = items[np.argsort(lengths, kind="stable")].reshape(_BATCHES_A_POOL, -1)
        order = np.random.default_rng([self._seed, 1, pool]).permutation(_BATCHES_A_POOL)
        return batches[order[within]]

    def _make(self, items: NDArray[np.int64]) -> Batch:
        spans = self._spans[items]
        length = int((spans[:, 2] - spans[:, 0]).max()) - 1
        input_ids = np.full((len(items), length), self._pad_id, dtype=np.int64)  # (B, T)
        labels = np.full((len(items), length), IGNORED, dtype=np.int64)  # (B, T)
        for row, (start, target_start, end) in enumerate(spans):
            ids = self._ids[start:end]
            input_ids[row, : len(ids) - 1] = ids[:-1]
            labels[row, target_start - start - 1 : len(ids) - 1] = self._ids[target_start:end]
        return {"input_ids": torch.from_numpy(input_ids), "labels": torch.from_numpy(labels)}
