"""Which records repeat others: exact and near duplicates over all rows of a kind.

Rows are numbered in one order, held-out splits first, and the first of a group stays: a text
that stands on both sides leaves the training set. What rows are compared by lies on disk;
memory holds about a hundred bytes a row.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordmill.cleaning.characters import Bools
from wordmill.cleaning.minhash import jaccard
from wordmill.params.clean import NearDuplicateParams

Rows = NDArray[np.int64]

KEPT, DUPLICATE, DUPLICATE_HELD_OUT, CONTAMINATED, NEAR, NEAR_HELD_OUT = range(6)
REASONS: tuple[str | None, ...] = (
    None,
    "duplicate",
    "duplicate_of_held_out",
    "contaminated",
    "near_duplicate",
    "near_duplicate_of_held_out",
)


class RowKeys:
    """What the rows of one kind are compared by, appended a batch at a time.

    Args:
        folder: where the keys lie; made here.
        params: of near duplicates.
    """

    def __init__(self, folder: Path, params: NearDuplicateParams) -> None:
        folder.mkdir()
        self._folder, self._params = folder, params
        names = ["ids", "shingles", *(f"band.{band}" for band in range(params.num_bands))]
        self._files = {name: (folder / name).open("wb") for name in names}
        self._splits: list[NDArray[np.uint8]] = []
        self._ends: list[Rows] = []
        self._num_shingles = 0
        self.num_rows = 0

    def __enter__(self) -> "RowKeys":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def add(self, batch: pa.Table, *, split: int) -> None:
        """Append the rows of a batch; splits are numbered in the order of rows."""
        self._files["ids"].write(b"".join(batch["key"].to_pylist()))
        self._splits.append(np.full(len(batch), split, dtype=np.uint8))
        self.num_rows += len(batch)
        if not self._params.is_on:
            return
        bands, shingles = (batch[name].combine_chunks() for name in ("bands", "shingles"))
        by_row = bands.flatten().to_numpy().reshape(-1, self._params.num_bands)
        for band, column in enumerate(by_row.T):
            self._files[f"band.{band}"].write(np.ascontiguousarray(column).tobytes())
        values = shingles.flatten().to_numpy()
        self._files["shingles"].write(values.tobytes())
        ends = np.cumsum(shingles.value_lengths().to_numpy().astype(np.int64))
        self._ends.append(ends + self._num_shingles)
        self._num_shingles += len(values)

    def verdicts(self, contaminated: Rows) -> NDArray[np.uint8]:
        """Why each row is dropped, an index into `REASONS`, shape (rows,).

        Args:
            contaminated: rows that hold a run of held-out text.
        """
        for file in self._files.values():
            file.flush()
        splits = np.concatenate(self._splits) if self._splits else np.empty(0, np.uint8)
        is_contaminated = np.zeros(self.num_rows, dtype=np.bool_)
        is_contaminated[contaminated] = True
        # From here on rows are in the order in which they stay: held-out ones first, and of a
        # split the clean ones first, so that no contaminated row takes a clean one with it.
        order = np.lexsort((is_contaminated, splits))
        splits, is_contaminated = splits[order], is_contaminated[order]
        found = _exact(np.fromfile(self._folder / "ids", dtype="V16")[order], splits)
        if self._params.is_on:
            first = self._near(order, found == KEPT)
            is_near = first != np.arange(self.num_rows)
            of_held_out = splits[first] != splits
            found[is_near] = np.where(of_held_out, NEAR_HELD_OUT, NEAR)[is_near]
        found[is_contaminated & (found == KEPT)] = CONTAMINATED
        verdicts = np.empty_like(found)
        verdicts[order] = found
        return verdicts

    def holds(self, id: bytes) -> bool:
        """Whether some row has this id; after `verdicts`."""
        half = np.frombuffer(id, dtype=np.uint64)[0]  # 64 of 128 bits will do
        place = np.searchsorted(self._sorted_ids, half)
        return place < self.num_rows and bool(self._sorted_ids[place] == half)

    @cached_property
    def _sorted_ids(self) -> NDArray[np.uint64]:
        return np.sort(np.fromfile(self._folder / "ids", dtype=np.uint64)[::2])

    def _near(self, order: Rows, is_usable: Bools) -> Rows:
        """The first row of each row's group of near duplicates, both as places in `order`."""
        ends = np.concatenate([np.zeros(1, np.int64), *self._ends])
        usable = np.flatnonzero((np.diff(ends)[order] > 0) & is_usable)
        pairs = self._candidates(order, usable)
        groups = _Groups(self.num_rows)
        with (self._folder / "shingles").open("rb") as file:
            shingles = _Shingles(file.fileno(), ends, order)
            for one, other in pairs:
                if groups.first(one) != groups.first(other) and (
                    jaccard(shingles.of(one), shingles.of(other)) >= self._params.min_jaccard
                ):
                    groups.join(one, other)
        return groups.all_first()

    def _candidates(self, order: Rows, usable: Rows) -> Iterator[tuple[int, int]]:
        """Pairs of places that agree on a band, each once, the first places first."""
        found = np.empty(0, dtype=np.uint64)
        for band in range(self._params.num_bands):
            values = np.fromfile(self._folder / f"band.{band}", np.uint64)[order[usable]]
            by_value = np.argsort(values, kind="stable")
            rows, values = usable[by_value], values[by_value]
            is_new = np.ones(len(rows), dtype=np.bool_)
            is_new[1:] = values[1:] != values[:-1]
            firsts = _group_firsts(rows, is_new)
            again = np.flatnonzero(~is_new)
            # Each with the first of its group, and with the one before it: the first may be
            # alike to neither of two that are alike.
            for one in (firsts[again], rows[again - 1]):
                found = np.union1d(found, _packed(one, rows[again]))
        halves = (found >> np.uint64(32)).tolist(), (found & _LOW).tolist()
        yield from zip(*halves, strict=True)


_LOW = np.uint64(0xFFFFFFFF)


def _packed(one: Rows, other: Rows) -> NDArray[np.uint64]:
    return (one.astype(np.uint64) << np.uint64(32)) | other.astype(np.uint64)


def _group_firsts(rows: Rows, is_new: Bools) -> Rows:
    """For each row the first of its group, where rows of a group stand together."""
    return rows[np.flatnonzero(is_new)[np.cumsum(is_new) - 1]]


def _exact(ids: NDArray[np.void], splits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    halves = ids.view(np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: the first row of equals is first
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (halves[order][1:] != halves[order][:-1]).any(axis=1)
    first = _group_firsts(order, is_new)
    found = np.full(len(order), KEPT, dtype=np.uint8)
    again, kept = order[~is_new], first[~is_new]
    found[again] = np.where(splits[again] == splits[kept], DUPLICATE, DUPLICATE_HELD_OUT)
    return found


class _Shingles(NamedTuple):
    """Reads the shingles of single rows: mapping the file would keep it in memory."""

    descriptor: int
    ends: Rows
    order: Rows

    def of(self, place: int) -> NDArray[np.uint32]:
        row = int(self.order[place])
        start, stop = 4 * int(self.ends[row]), 4 * int(self.ends[row + 1])
        return np.frombuffer(os.pread(self.descriptor, stop - start, start), dtype=np.uint32)


class _Groups:
    """Disjoint sets of rows, each known by its first row."""

    def __init__(self, num_rows: int) -> None:
        self._parent = np.arange(num_rows)

    def first(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    def join(self, one: int, other: int) -> None:
        one, other = sorted((self.first(one), self.first(other)))
        self._parent[other] = one

    def all_first(self) -> Rows:
        while ((up := self._parent[self._parent]) != self._parent).any():
            self._parent = up
        return self._parent
