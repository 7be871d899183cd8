"""Sequences of different lengths in one flat array, cut and joined without a loop over them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.tokens.store import Ids

Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """Row i is ids[starts[i] : starts[i] + lengths[i]]; what lies between rows is nobody's."""

    ids: Ids
    starts: Ints
    """Shape (rows,)."""
    lengths: Ints
    """Shape (rows,)."""

    def cut(self, max_lengths: Ints | int, *, is_end_kept: NDArray[np.bool_] | bool) -> "Rows":
        """Rows of at most so many ids, cut at their ends, or at their starts."""
        lengths = np.minimum(self.lengths, max_lengths)
        starts = self.starts + np.where(is_end_kept, self.lengths - lengths, 0)
        return Rows(self.ids, starts, lengths)

    def reversed(self) -> "Rows":
        """Each row in reverse order, in its place; what lies between rows stays."""
        at = places(self.starts, self.lengths)
        ids = self.ids.copy()
        ids[at] = self.ids[np.repeat(2 * self.starts + self.lengths - 1, self.lengths) - at]
        return Rows(ids, self.starts, self.lengths)

    def as_lists(self) -> list[list[int]]:
        """Each row as a list."""
        return [
            self.ids[start : start + length].tolist()
            for start, length in zip(self.starts, self.lengths, strict=True)
        ]


def places(starts: Ints, lengths: Ints) -> Ints:
    """starts[0], starts[0] + 1, ... for lengths[0] numbers, then from starts[1] on, and so on."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def joined(parts: list[Rows]) -> Rows:
    """Row i of the result is row i of every part, end to end; nothing lies between rows."""
    offsets = np.cumsum([0, *(len(part.ids) for part in parts[:-1])])
    starts = np.stack([p.starts + o for p, o in zip(parts, offsets, strict=True)], axis=1)
    lengths = np.stack([part.lengths for part in parts], axis=1)  # (rows, parts)
    flat = np.concatenate([part.ids for part in parts])
    ids = flat[places(starts.ravel(), lengths.ravel())]
    totals = lengths.sum(axis=1)
    return Rows(ids, np.cumsum(totals) - totals, totals)
