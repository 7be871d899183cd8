"""Pairs as batches of a decoder, the loss on the target alone: of like length together, or packed.

Bucketed, a row is a pair, and rows of like length share a batch (pooled_batches.py). Packed, a
row holds several pairs that do not see each other: each pair is seen once an epoch.
"""

import numpy as np
import torch

from wordmill.errors import DataError
from wordmill.tokens.batches import IGNORED, Batch, Batches, Items
from wordmill.tokens.pooled_batches import PooledPairBatches, check_pairs, pair_stretches
from wordmill.tokens.rows import Ints, places
from wordmill.tokens.store import Ids


class _Pairs:
    """The pairs of a split; one of n tokens takes n - 1 places, its last token only follows."""

    def __init__(self, ids: Ids, spans: Ints, *, pad_id: int) -> None:
        check_pairs(spans)
        self._ids, self._pad_id = np.asarray(ids), pad_id
        self._starts = spans[:, 0]
        self._targets = spans[:, 1]
        self.lengths = spans[:, 2] - spans[:, 0] - 1
        """Places that each pair takes, shape (pairs,)."""

    def batch(
        self,
        pairs: Ints,
        *,
        rows: Ints,
        columns: Ints,
        shape: tuple[int, int],
        has_positions: bool,
    ) -> Batch:
        """Place pairs into a batch of padding.

        Args:
            pairs: numbers of pairs.
            rows: the row that each goes to.
            columns: the column where each begins.
            shape: (B, T).
            has_positions: whether to tell pairs of a row apart; padding has position 0.
        """
        input_ids = np.full(shape, self._pad_id, dtype=np.int64)  # (B, T)
        labels = np.full(shape, IGNORED, dtype=np.int64)  # (B, T)
        lengths = self.lengths[pairs]
        read = places(self._starts[pairs], lengths)
        write = places(rows * shape[1] + columns, lengths)
        input_ids.ravel()[write] = self._ids[read]
        is_wanted = read + 1 >= np.repeat(self._targets[pairs], lengths)
        labels.ravel()[write[is_wanted]] = self._ids[read[is_wanted] + 1]
        batch: Batch = {
            "input_ids": torch.from_numpy(input_ids),
            "labels": torch.from_numpy(labels),
        }
        if has_positions:
            positions = np.zeros(shape, dtype=np.int64)  # (B, T)
            positions.ravel()[write] = places(np.zeros_like(lengths), lengths)
            batch["position_ids"] = torch.from_numpy(positions)
        return batch


class PairBatches(PooledPairBatches):
    """Prompts with their targets, of like length together.

    Args:
        ids: the flat ids of a pair file, shape (tokens,).
        spans: where each pair lies, shape (pairs, 3).
        pad_id: fills the ends of shorter sequences.

    Raises:
        DataError: there is no pair.
    """

    def __init__(self, ids: Ids, spans: Ints, *, pad_id: int, batch_size: int, seed: int) -> None:
        self._pairs = _Pairs(ids, spans, pad_id=pad_id)
        mean = float(self._pairs.lengths.mean())
        super().__init__(spans, batch_size=batch_size, seed=seed, mean_item_tokens=mean)

    def _make(self, items: Items) -> Batch:
        pairs = items.numbers
        shape = (len(pairs), int(self._pairs.lengths[pairs].max()))
        rows, columns = np.arange(len(pairs)), np.zeros_like(pairs)
        # Padding comes last: causal attention is mask enough.
        return self._pairs.batch(
            pairs, rows=rows, columns=columns, shape=shape, has_positions=False
        )


class PackedPairBatches(Batches):
    """Prompts with their targets, several in a row, kept apart by their positions.

    Args:
        ids: the flat ids of a pair file, shape (tokens,).
        spans: where each pair lies, shape (pairs, 3).
        pad_id: fills the ends of shorter rows.
        row_tokens: the most that a row holds.
        batch_size: rows in a batch.

    Raises:
        DataError: there is no pair, or one is longer than a row.
    """

    def __init__(
        self, ids: Ids, spans: Ints, *, pad_id: int, row_tokens: int, batch_size: int, seed: int
    ) -> None:
        self._pairs, self._spans = _Pairs(ids, spans, pad_id=pad_id), spans
        lengths = self._pairs.lengths
        if lengths.max() > row_tokens:
            raise DataError(
                f"a pair takes {lengths.max()} tokens, a row of the model {row_tokens}; tokenize"
                " again with a lower tokenize.max_source_tokens"
            )
        order = np.random.default_rng([seed, 2]).permutation(len(spans))
        row_of = rows_of(lengths[order], row_tokens)
        by_row = np.argsort(row_of, kind="stable")
        self._in_rows = order[by_row]
        self._row_starts = np.searchsorted(row_of[by_row], np.arange(row_of.max() + 2))
        before = np.cumsum(lengths[self._in_rows]) - lengths[self._in_rows]
        self._columns = before - before[self._row_starts[row_of[by_row]]]
        num_rows = len(self._row_starts) - 1
        mean = float(lengths.sum() / num_rows)
        super().__init__(num_rows, batch_size=batch_size, seed=seed, mean_item_tokens=mean)

    def _make(self, items: Items) -> Batch:
        chosen, counts = self._places(items.numbers)
        pairs, columns = self._in_rows[chosen], self._columns[chosen]
        rows = np.repeat(np.arange(len(counts)), counts)
        width = int((columns + self._pairs.lengths[pairs]).max())
        return self._pairs.batch(
            pairs, rows=rows, columns=columns, shape=(len(counts), width), has_positions=True
        )

    def _stretches(self, items: Items) -> list[tuple[int, int]]:
        return pair_stretches(self._spans[self._in_rows[self._places(items.numbers)[0]]])

    def _places(self, rows: Ints) -> tuple[Ints, Ints]:
        """Where the pairs of rows stand, row by row, and how many each row has."""
        counts = self._row_starts[rows + 1] - self._row_starts[rows]
        return places(self._row_starts[rows], counts), counts


def rows_of(lengths: Ints, row_tokens: int) -> Ints:
    """The row that each sequence goes to: the fullest one that has room, else a new one.

    Best fit, where first fit would search all rows: the rows of each room left are a stack, and
    the rooms that have one are the bits of one number. A million sequences took 0.3 s.

    Args:
        lengths: of the sequences in the order they come, 1 to `row_tokens`.
        row_tokens: what a row holds.
    """
    stacks: list[list[int]] = [[] for _ in range(row_tokens + 1)]
    rows, num_rows, rooms = np.empty(len(lengths), dtype=np.int64), 0, 0
    for i, length in enumerate(lengths.tolist()):
        if enough := rooms >> length << length:
            room = (enough & -enough).bit_length() - 1
            row = stacks[room].pop()
            if not stacks[room]:
                rooms ^= 1 << room
        else:
            room, row, num_rows = row_tokens, num_rows, num_rows + 1
        rows[i] = row
        if left := room - length:
            stacks[left].append(row)
            rooms |= 1 << left
    return rows
