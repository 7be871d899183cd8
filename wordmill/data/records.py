"""Documents and pairs, their identity, their split, and the Parquet files that hold them.

A record's id is a hash of its content; a record's split is a function of content alone, so
that equal texts fall on the same side and no record moves when data grows. A folder of
records holds one file for each kind and split: `documents.train.parquet` and so on. Reading
and writing go batch by batch: memory does not grow with the data.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from wordmill.tasks import PairTask

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_ROWS_A_BATCH = 4096
_TEXT = pa.string()


class Document(NamedTuple):
    """A text to learn language from."""

    id: str
    text: str
    source: str
    """Where it came from: the name of the source."""
    metadata: str
    """What else is known of it, a JSON object."""


class Pair(NamedTuple):
    """A source and the target that is wanted for it."""

    id: str
    task: PairTask
    source: str
    """The text given."""
    target: str
    metadata: str
    """What else is known of it, a JSON object."""


Record = TypeVar("Record", Document, Pair)


def content_id(*parts: str) -> str:
    """A 128-bit hash of the parts, 32 hexadecimal digits."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def document(text: str, *, source: str, **metadata: Any) -> Document:
    """Make a document and its id."""
    return Document(content_id(text), text, source, json.dumps(metadata, ensure_ascii=False))


def pair(source: str, target: str, *, task: PairTask, **metadata: Any) -> Pair:
    """Make a pair and its id."""
    known = json.dumps(metadata, ensure_ascii=False)
    return Pair(content_id(task, source, target), task, source, target, known)


def split_of(text: str, *, validation_fraction: float, test_fraction: float) -> Split:
    """The split that `text` falls into, by its hash alone.

    Args:
        text: what decides; records that must stay together pass the same text.
        validation_fraction: share of all texts, 0 to 1.
        test_fraction: share of all texts, 0 to 1.
    """
    place = int(content_id("split", text)[:13], 16) / 16**13  # 52 bits: exact in a float
    if place < test_fraction:
        return "test"
    return "validation" if place < test_fraction + validation_fraction else "train"


def records_path(folder: Path, kind: type[Document] | type[Pair], split: Split) -> Path:
    """The file of one kind and split in a folder of records."""
    return folder / f"{kind.__name__.lower()}s.{split}.parquet"


def read_records(folder: Path, kind: type[Record], split: Split) -> Iterator[Record]:
    """Yield the records of one kind and split, in the order written."""
    file = pq.ParquetFile(records_path(folder, kind, split))
    for batch in file.iter_batches(_ROWS_A_BATCH, columns=list(kind._fields)):
        yield from map(kind._make, zip(*(c.to_pylist() for c in batch.columns), strict=True))


def count_records(folder: Path, kind: type[Document] | type[Pair], split: Split) -> int:
    """The number of records of one kind and split."""
    return pq.read_metadata(records_path(folder, kind, split)).num_rows


def write_records(folder: Path, records: Iterable[tuple[Split, Document | Pair]]) -> None:
    """Write every kind and split to its file in `folder`, empty ones included."""
    kinds: tuple[type[Document], type[Pair]] = (Document, Pair)
    with ExitStack() as open_files:
        writers: dict[tuple[type, Split], _BatchWriter] = {}
        for kind in kinds:
            for split in SPLITS:
                writer = _BatchWriter(records_path(folder, kind, split), kind._fields)
                writers[kind, split] = open_files.enter_context(writer)
        for split, record in records:
            writers[type(record), split].add(record)


class _BatchWriter:
    """Collects rows and writes them a batch at a time."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._schema = pa.schema([(column, _TEXT) for column in columns])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[tuple[str, ...]] = []

    def __enter__(self) -> "_BatchWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, row: tuple[str, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS_A_BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(column, _TEXT) for column in zip(*self._rows, strict=True)]
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
            self._rows.clear()
