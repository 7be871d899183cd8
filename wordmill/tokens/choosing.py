"""Which records are read, and how often: chosen by the hash that is their id.

The choice depends on no order and no state, so it is the same in every run, and a record that
is chosen stays so when others come or go.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wordmill.data.records import (
    KINDS,
    Document,
    Kind,
    Pair,
    Split,
    count_records,
    read_tables,
    records_path,
)
from wordmill.errors import DataError
from wordmill.progress import Progress
from wordmill.tokens.quality import num_bytes
from wordmill.tokens.rows import Ints

_TEXT_COLUMNS: dict[Kind, tuple[str, ...]] = {
    Document: ("text",),
    Pair: ("source", "ask", "target"),
}
_ROWS_A_BATCH = 1024
_ID_DIGITS = 32
_FLOAT_DIGITS = 13  # 52 bits: exact in a float


class Batch(NamedTuple):
    """Records to write."""

    table: pa.Table
    round: int
    """0 for the first copy of a record, 1 for the second, and so on."""


class TrainingText:
    """The text that a tokenizer learns from: of the train split, at most so much, evenly.

    Iterating reads the records anew and holds a row group of them.

    Args:
        records: a folder of clean records.
        max_bytes: of text; where there is more, records are chosen by their ids.
        progress: counts the texts.

    Raises:
        DataError: there is no training text.
    """

    def __init__(self, records: Path, *, max_bytes: int, progress: Progress) -> None:
        self._records, self._max_bytes, self._progress = records, max_bytes, progress
        there = sum(int(num_bytes(texts).sum()) for _, texts in self._columns())
        if there == 0:
            raise DataError(f"{records}: no training text is left; data/clean/report.json says why")
        self._share = min(1.0, max_bytes / there)
        self.num_bytes = 0
        """Bytes given so far."""

    def __iter__(self) -> Iterator[str]:
        self.num_bytes = 0
        limit = None if self._share == 1 else f"{int(self._share * 16**_ID_DIGITS):0{_ID_DIGITS}x}"
        for table, texts in self._columns():
            chosen = texts if limit is None else texts.filter(_below(table["id"], limit))
            for text, size in zip(chosen.to_pylist(), num_bytes(chosen), strict=True):
                if self.num_bytes + size <= self._max_bytes:
                    self.num_bytes += int(size)
                    yield text
            self._progress.advance(len(texts))

    def _columns(self) -> Iterator[tuple[pa.Table, pa.ChunkedArray]]:
        for kind in KINDS:
            for table in read_tables(self._records, kind, "train"):
                for name in _TEXT_COLUMNS[kind]:
                    yield table, table[name]


def num_training_texts(records: Path) -> int:
    """The texts that `TrainingText` counts, for its progress."""
    return sum(
        len(columns) * count_records(records, kind, "train")
        for kind, columns in _TEXT_COLUMNS.items()
    )


def batches(records: Path, kind: Kind, split: Split) -> Iterator[Batch]:
    """The records of a split in order; those of a train split as often as their weights say.

    A weight of 2.5 is two copies, and a third of every second record. Copies come in rounds
    over the whole split: side by side in one block, the second would be learned by copying.
    """
    num_rounds, done = 1, 0
    while done < num_rounds:
        for table in read_tables(records, kind, split):
            if split == "train":
                copies = num_copies(table)
                num_rounds = max(num_rounds, int(copies.max(initial=0)))
                table = table.filter(pa.array(copies > done))
            for start in range(0, len(table), _ROWS_A_BATCH):
                yield Batch(table.slice(start, _ROWS_A_BATCH), done)
        done += 1


def _below(ids: pa.ChunkedArray, limit: str) -> pa.ChunkedArray:
    # Ids are hexadecimal numbers of one length: as text they sort as they do by value.
    less: Any = pc.less  # pyright: ignore[reportAttributeAccessIssue]  # made as it is imported
    return less(ids, limit)


def num_weighted(records: Path, kind: Kind, split: Split) -> int:
    """The records whose weight counts: those of the train split that have another one than 1."""
    if split != "train":
        return 0
    with pq.ParquetFile(records_path(records, kind, split)) as file:
        groups = file.iter_batches(columns=["weight"])
        return sum(int((group["weight"].to_numpy() != 1).sum()) for group in groups)


def num_copies(table: pa.Table) -> Ints:
    """How often each record is written, shape (rows,)."""
    weights = table["weight"].to_numpy()
    whole = np.floor(weights)
    rest = np.flatnonzero(weights > whole)
    heads = [name[:_FLOAT_DIGITS] for name in table["id"].take(pa.array(rest)).to_pylist()]
    place = np.array([int(head, 16) / 16**_FLOAT_DIGITS for head in heads])
    whole[rest] += place < (weights - whole)[rest]
    return whole.astype(np.int64)
