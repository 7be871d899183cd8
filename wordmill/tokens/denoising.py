"""What an encoder-decoder learns from running text: to give back spans, or to go on.

A block is span-corrupted as in T5 (https://arxiv.org/abs/1910.10683, section 3.1.4): spans of
random lengths give way to a sentinel each, and the decoder says every sentinel with its span.
How many tokens and spans go follows from the block's length alone. Or the block is cut in two at
a random place, and the decoder goes on from the first part.

What happens to a block is a hash of (seed, block, visit), whatever batch it is in: no state, no
generator for each block. 64 x 512 tokens took 1.6 ms.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.params.training import DenoisingParams
from wordmill.tokens.batches import IGNORED, Batch, Batches, Blocks, Items
from wordmill.tokens.rows import Ints, places
from wordmill.tokens.seq2seq_batches import seq2seq_batch
from wordmill.tokens.store import Ids

Draws = NDArray[np.uint32]

# SplitMix64 (https://doi.org/10.1145/2660193.2660195): the step of its state, its two factors.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_DRAW_BITS = 32


class _Shape(NamedTuple):
    """What every corrupted block has."""

    kept: int
    """Tokens that the encoder still reads."""
    taken: int
    """Tokens that the decoder gives back."""
    spans: int


class DenoisingBatches(Batches):
    """Blocks of running text for an encoder-decoder, each corrupted or cut in two.

    Args:
        ids: running text, shape (tokens,).
        block_tokens: T, at least 3; what the encoder reads and what the decoder says are no longer.
        params: the `pretrain.denoising` section.
        sentinels: the ids that stand for spans, in order; a block loses no more spans than that.
        start_id: what a decoder starts from.
        pad_id: fills the ends of shorter sequences.
        end_id: ends what is said of a corrupted block.

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
        params: DenoisingParams,
        sentinels: Ints,
        start_id: int,
        pad_id: int,
        end_id: int,
    ) -> None:
        self._blocks = Blocks(ids, every=block_tokens, length=block_tokens, seed=seed)
        super().__init__(
            self._blocks.count, batch_size=batch_size, seed=seed, mean_item_tokens=block_tokens
        )
        self._shape = _shape(block_tokens, params, num_sentinels=len(sentinels))
        self._continued_fraction = params.continued_fraction
        self._sentinels, self._end_id = sentinels, end_id
        self._start_id, self._pad_id = start_id, pad_id

    def _make(self, items: Items) -> Batch:
        blocks = self._blocks.of(items)  # (B, T)
        draws = _draws(self._seed, items, count=blocks.shape[1])  # (B, T)
        is_cut = draws[:, 0] < self._continued_fraction * 2.0**_DRAW_BITS
        read = np.full_like(blocks, self._pad_id)
        said = np.full_like(blocks, IGNORED)
        num_read = np.empty(len(blocks), dtype=np.int64)
        num_said = np.empty(len(blocks), dtype=np.int64)
        for is_chosen, write in ((is_cut, self._write_cut), (~is_cut, self._write_corrupted)):
            rows = np.flatnonzero(is_chosen)
            num_read[rows], num_said[rows] = write(rows, blocks, draws[rows, 1:], read, said)
        is_read = np.arange(int(num_read.max())) < num_read[:, None]
        return seq2seq_batch(
            read[:, : is_read.shape[1]],
            is_read,
            said[:, : int(num_said.max())],
            start_id=self._start_id,
            pad_id=self._pad_id,
        )

    def _stretches(self, items: Items) -> list[tuple[int, int]]:
        return self._blocks.stretches(items)

    def _write_cut(
        self, rows: Ints, blocks: Ints, draws: Draws, read: Ints, said: Ints
    ) -> tuple[Ints, Ints]:
        """Write what is read and said of blocks cut in two; returns how much each is, (rows,)."""
        width = blocks.shape[1]
        first = 1 + (draws[:, 0].astype(np.int64) * (width - 1) >> _DRAW_BITS)  # 1 to T - 1
        starts = rows * width
        _copy(blocks, read, starts, starts, first)
        _copy(blocks, said, starts + first, starts, width - first)
        return first, width - first

    def _write_corrupted(
        self, rows: Ints, blocks: Ints, draws: Draws, read: Ints, said: Ints
    ) -> tuple[Ints, Ints]:
        """The same of blocks that lose spans to sentinels: between them, and they, by turns."""
        kept, taken, spans = self._shape
        between = _in_parts(kept, spans, draws[:, : kept - 1])  # (rows, spans)
        within = _in_parts(taken, spans, draws[:, kept : kept + taken - 1])  # (rows, spans)
        rest, gone = _before(between), _before(within)
        starts = (rows * blocks.shape[1])[:, None]
        number = np.arange(spans)
        _copy(blocks, read, starts + rest + gone, starts + rest + number, between)
        read.ravel()[starts + rest + number + between] = self._sentinels[:spans]
        _copy(blocks, said, starts + rest + between + gone, starts + gone + number + 1, within)
        said.ravel()[starts + gone + number] = self._sentinels[:spans]
        said[rows, taken + spans] = self._end_id
        return np.full(len(rows), kept + spans), np.full(len(rows), taken + spans + 1)


def _copy(given: Ints, into: Ints, start: Ints, to: Ints, lengths: Ints) -> None:
    """Copy runs of tokens between arrays of rows; places are of the flat arrays."""
    lengths = lengths.ravel()
    into.ravel()[places(to.ravel(), lengths)] = given.ravel()[places(start.ravel(), lengths)]


def _before(lengths: Ints) -> Ints:
    """What comes before each length in its row."""
    return np.cumsum(lengths, axis=1) - lengths


def _shape(block_tokens: int, params: DenoisingParams, *, num_sentinels: int) -> _Shape:
    """How many tokens and spans a block loses; both sides stay within its length."""
    taken = round(block_tokens * params.corrupted_fraction)
    taken = min(max(taken, 1), block_tokens - 2)
    spans = round(taken / params.mean_span_tokens)
    spans = max(1, min(spans, num_sentinels, block_tokens - taken - 1))
    return _Shape(block_tokens - taken, taken, spans)


def _in_parts(total: int, num_parts: int, draws: Draws) -> Ints:
    """`total` as a sum of `num_parts` lengths of at least 1, each such sum as likely, (B, parts).

    Args:
        total: tokens.
        num_parts: at most `total`.
        draws: shape (B, total - 1), one for each place where a part may end.
    """
    num_rows = len(draws)
    borders = np.empty((num_rows, num_parts + 1), dtype=np.int64)
    borders[:, 0], borders[:, -1] = 0, total
    if num_parts > 1:
        lowest = np.argpartition(draws, num_parts - 2, axis=1)[:, : num_parts - 1]
        borders[:, 1:-1] = np.sort(lowest, axis=1) + 1
    return np.diff(borders, axis=1)


def _draws(seed: int, items: Items, *, count: int) -> Draws:
    """Numbers of 32 bits that follow from seed, item and visit alone, shape (B, count)."""
    state = np.full(len(items.numbers), seed, dtype=np.uint64)
    for value in (items.numbers, items.visits):
        state = _mixed(state + _STEP) ^ value.astype(np.uint64)
    states = _mixed(state)[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return (_mixed(states) >> np.uint64(64 - _DRAW_BITS)).astype(np.uint32)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output for each state: every bit depends on all."""
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        state = (state ^ (state >> shift)) * factor
    return state ^ (state >> _SHIFTS[-1])
