"""Which sequences a training step sees: a function of (seed, step) and nothing else.

No state is carried from step to step, so a run resumed at any step sees what an undisturbed
one would. Every item (a block, a pair, a row of pairs) is seen once before any is seen again.
Pairs are in wordmill/tokens/pair_batches.py and seq2seq_batches.py, corrupted blocks in
denoising.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from torch import Tensor

from wordmill.errors import DataError
from wordmill.tokens.rows import Ints
from wordmill.tokens.store import Ids

IGNORED = -100
"""Label of a position that has no loss; cross_entropy's own default."""


class Batch(TypedDict):
    """What a model is given, and what it should say at each place."""

    input_ids: Tensor
    """(B, T); of an encoder-decoder, what the encoder reads."""
    labels: Tensor
    """(B, T), or (B, U) where a decoder has a text of its own; IGNORED has no loss."""
    position_ids: NotRequired[Tensor]
    """(B, T), place of each token in its own text, where a row holds several that must not see
    each other: a transformers model without an attention mask keeps them apart by these."""
    attention_mask: NotRequired[Tensor]
    """(B, T), 1 where the encoder has a token, 0 where padding."""
    decoder_input_ids: NotRequired[Tensor]
    """(B, U), what the decoder of an encoder-decoder is given: the labels one place later."""


class Items(NamedTuple):
    """What a batch is made of."""

    numbers: Ints
    """Shape (B,)."""
    visits: Ints
    """How often each was seen before, (B,): the epoch that it is drawn in, counted from 0."""

    def part(self, part: int, num_parts: int) -> "Items":
        """Each `num_parts`-th of them, from number `part` on."""
        return Items(self.numbers[part::num_parts], self.visits[part::num_parts])


class Batches(ABC):
    """Training batches by step, validation batches in order."""

    def __init__(
        self, num_items: int, *, batch_size: int, seed: int, mean_item_tokens: float
    ) -> None:
        self.batch_size = batch_size
        self._num_items = num_items
        self._mean_item_tokens = mean_item_tokens
        self._seed = seed
        self._order_of_epoch = lru_cache(maxsize=2)(self._shuffled)

    @property
    def num_items(self) -> int:
        """Sequences that an epoch has."""
        return self._num_items

    @property
    def mean_item_tokens(self) -> float:
        """Tokens that a sequence is trained on, the mean over all."""
        return self._mean_item_tokens

    def at(self, step: int) -> Batch:
        """The batch of training step `step`, counted from 0."""
        return self._make(self._items_of_step(step))

    def parts(self, step: int, num_parts: int) -> list[Batch]:
        """The sequences of a step dealt out, for devices and for accumulation.

        Args:
            step: counted from 0.
            num_parts: at most the batch size.
        """
        items = self._items_of_step(step)
        return [self._make(items.part(part, num_parts)) for part in range(num_parts)]

    def in_order(self) -> Iterator[Batch]:
        """Every item once, for validation; the last batch may be smaller."""
        return self.validation(0, 1)

    def validation(self, part: int, num_parts: int) -> Iterator[Batch]:
        """Each `num_parts`-th batch of `in_order`, from number `part` on."""
        size = self.batch_size
        for start in range(part * size, self._num_items, num_parts * size):
            numbers = np.arange(start, min(start + size, self._num_items))
            yield self._make(Items(numbers, np.zeros_like(numbers)))

    def records_of_step(self, step: int) -> list[tuple[int, int]]:
        """Where the tokens of a step lie in the token file: (start, stop) of each stretch."""
        return self._stretches(self._items_of_step(step))

    def _items_of_step(self, step: int) -> Items:
        return self._items_at(step * self.batch_size, (step + 1) * self.batch_size)

    def _items_at(self, start: int, stop: int) -> Items:
        """The items at places start..stop of the endless order, an epoch after another."""
        places = np.arange(start, stop)
        epochs, within = np.divmod(places, self._num_items)
        numbers = np.empty_like(places)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            numbers[chosen] = self._order_of_epoch(int(epoch))[within[chosen]]
        return Items(numbers, epochs)

    def _shuffled(self, epoch: int) -> Ints:
        return np.random.default_rng([self._seed, epoch]).permutation(self._num_items)

    @abstractmethod
    def _make(self, items: Items) -> Batch: ...

    @abstractmethod
    def _stretches(self, items: Items) -> list[tuple[int, int]]: ...


class Blocks:
    """Blocks of a running text, side by side; each epoch they begin at another place.

    So a model meets a text in other pieces each time, as if they were drawn at random, and still
    sees all of it once an epoch, but for less than a block at its ends.

    Args:
        ids: running text, shape (tokens,).
        every: tokens between the starts of two blocks, T.
        length: tokens of a block, those included that the next one begins with.
        seed: of the places.

    Raises:
        DataError: the text is shorter than one block.
    """

    def __init__(self, ids: Ids, *, every: int, length: int, seed: int) -> None:
        self.count = (len(ids) - length + every) // every
        if self.count < 1:
            raise DataError(
                f"the text has {len(ids)} tokens, less than one block of {length};"
                " give more text or lower model.context_tokens"
            )
        self._every, self._length, self._seed = every, length, seed
        # A view whose row i is what begins at token i. Taking rows copies whole blocks: 2.5 times
        # as fast as an index for each token.
        self._from = as_strided(
            np.asarray(ids),
            shape=(len(ids) - length + 1, length),
            strides=(ids.itemsize, ids.itemsize),
            writeable=False,
        )
        self._shift_of_epoch = lru_cache(maxsize=2)(self._drawn)

    def of(self, items: Items) -> Ints:
        """The tokens of each block, (B, length)."""
        return self._from[self._starts(items)].astype(np.int64)

    def stretches(self, items: Items) -> list[tuple[int, int]]:
        """(start, stop) of each block."""
        return [(start, start + self._length) for start in self._starts(items).tolist()]

    def _starts(self, items: Items) -> Ints:
        shifts = np.array([self._shift_of_epoch(epoch) for epoch in items.visits.tolist()])
        return np.minimum(items.numbers * self._every + shifts, len(self._from) - 1)

    def _drawn(self, epoch: int) -> int:
        draw = np.random.default_rng([self._seed, 3, epoch])
        return int(draw.integers(self._every)) if epoch else 0


class BlockBatches(Batches):
    """Blocks of running text for language modelling.

    Args:
        ids: running text, shape (tokens,).
        block_tokens: T.
        end_id: where given, attention stays within a document: positions start again at each
            end token, which stands before the document that it opens, and a model without a
            mask of its own sees nothing before it.

    Raises:
        DataError: the text is shorter than one block.
    """

    def __init__(
        self,
        ids: Ids,
        *,
        block_tokens: int,
        batch_size: int,
        seed: int,
        end_id: int | None = None,
    ) -> None:
        # With the token after each: it is a label.
        self._blocks = Blocks(ids, every=block_tokens, length=block_tokens + 1, seed=seed)
        super().__init__(
            self._blocks.count, batch_size=batch_size, seed=seed, mean_item_tokens=block_tokens
        )
        self._end_id = end_id

    def _make(self, items: Items) -> Batch:
        ids = self._blocks.of(items)  # (B, T + 1)
        block = torch.from_numpy(ids)
        batch: Batch = {"input_ids": block[:, :-1], "labels": block[:, 1:]}
        if self._end_id is not None:
            positions = _since_last(ids[:, :-1] == self._end_id)
            batch["position_ids"] = torch.from_numpy(positions)
        return batch

    def _stretches(self, items: Items) -> list[tuple[int, int]]:
        return self._blocks.stretches(items)


def _since_last(is_start: NDArray[np.bool_]) -> Ints:
    """How far each place is from the last start at or before it in its row, (B, T)."""
    places = np.arange(is_start.shape[1])
    return places - np.maximum.accumulate(np.where(is_start, places, 0), axis=1)
