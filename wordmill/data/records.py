"""Documents and pairs, their identity, their split, and the Parquet files that hold them.

A record's id is a hash of its content; a record's split is a function of content alone (unless
its source says otherwise), so that equal texts fall on the same side and no record moves when
data grows. A folder of records holds one file for each kind and split:
`documents.train.parquet` and so on. Reading and writing go by row groups of bounded size, in
rows and in bytes: memory does not grow with the data.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wordmill.tasks import PairTask

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_PLACES = 16**13  # of a hash's first digits
_MAX_GROUP_ROWS = 4096
_MAX_GROUP_CHARS = 1_000_000  # cleaning a group takes 60 bytes a character


class Document(NamedTuple):
    """A text to learn language from."""

    id: str
    text: str
    origin: str
    """Where it came from: the name of the source."""
    language: str
    """ISO 639-1 code; empty where nobody has said."""
    weight: float
    """How often it is trained on, beside others at 1."""
    metadata: str
    """What else is known of it, a JSON object."""


class Pair(NamedTuple):
    """A source and the target that is wanted for it."""

    id: str
    task: PairTask
    source: str
    """The text given."""
    ask: str
    """What is asked of it (see wordmill/tasks.py); may be empty."""
    target: str
    origin: str
    """Where it came from: the name of the source."""
    language: str
    """Of the target, ISO 639-1 code; empty where nobody has said."""
    weight: float
    """How often it is trained on, beside others at 1."""
    metadata: str
    """What else is known of it, a JSON object."""


Record = TypeVar("Record", Document, Pair)
Kind = type[Document] | type[Pair]
KINDS: tuple[Kind, ...] = (Document, Pair)


def content_id(*parts: str) -> str:
    """A 128-bit hash of the parts, 32 hexadecimal digits."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def document(
    text: str, *, origin: str, language: str = "", weight: float = 1.0, **metadata: Any
) -> Document:
    """Make a document and its id."""
    known = json.dumps(metadata, ensure_ascii=False)
    return Document(content_id(text), text, origin, language, weight, known)


def pair(
    source: str,
    target: str,
    *,
    task: PairTask,
    origin: str,
    ask: str = "",
    language: str = "",
    weight: float = 1.0,
    **metadata: Any,
) -> Pair:
    """Make a pair and its id."""
    known = json.dumps(metadata, ensure_ascii=False)
    made = content_id(task, source, ask, target)
    return Pair(made, task, source, ask, target, origin, language, weight, known)


def split_of(
    text: str,
    *,
    validation_fraction: float,
    test_fraction: float,
    fold: tuple[int, int] | None = None,
) -> Split:
    """The split that `text` falls into, by its hash alone.

    Args:
        text: what decides; records that must stay together pass the same text.
        validation_fraction: share of all texts, 0 to 1.
        test_fraction: share of all texts, 0 to 1; of no account where there is a fold.
        fold: which, from 1 on, and of how many equal shares: it is the test set, and the texts
            whose hashes follow on its own the validation set.
    """
    place = int(content_id("split", text)[:13], 16)  # 52 bits: exact in a float
    if fold is not None:
        number, of = fold
        # In whole numbers: no text is in two test sets, or in none, by rounding.
        place = (place * of - (number - 1) * _PLACES) % (of * _PLACES)
        is_test, share = place < _PLACES, place / of / _PLACES
        is_held_out = share < 1 / of + validation_fraction
    else:
        share = place / _PLACES
        is_test, is_held_out = share < test_fraction, share < test_fraction + validation_fraction
    if is_test:
        return "test"
    return "validation" if is_held_out else "train"


def kind_name(kind: Kind) -> str:
    """What records of a kind are called in files and reports."""
    return f"{kind.__name__.lower()}s"


def schema(kind: Kind) -> pa.Schema:
    """The columns of a kind."""
    types = {"weight": pa.float64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in kind._fields])


def records_path(folder: Path, kind: Kind, split: Split) -> Path:
    """The file of one kind and split in a folder of records."""
    return folder / f"{kind_name(kind)}.{split}.parquet"


def read_tables(folder: Path, kind: Kind, split: Split) -> Iterator[pa.Table]:
    """Yield the records of one kind and split a row group at a time, in the order written."""
    with pq.ParquetFile(records_path(folder, kind, split)) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=list(kind._fields))


def read_records(folder: Path, kind: type[Record], split: Split) -> Iterator[Record]:
    """Yield the records of one kind and split, in the order written."""
    for table in read_tables(folder, kind, split):
        yield from map(kind._make, zip(*(c.to_pylist() for c in table.columns), strict=True))


def count_records(folder: Path, kind: Kind, split: Split) -> int:
    """The number of records of one kind and split."""
    return pq.read_metadata(records_path(folder, kind, split)).num_rows


class RecordWriter:
    """Writes every kind and split to its file in a folder, empty ones included."""

    def __init__(self, folder: Path) -> None:
        self._open_files = ExitStack()
        self._writers: dict[tuple[Kind, Split], _GroupWriter] = {}
        for kind in KINDS:
            for split in SPLITS:
                writer = _GroupWriter(records_path(folder, kind, split), schema(kind))
                self._writers[kind, split] = self._open_files.enter_context(writer)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, *error: Any) -> None:
        self._open_files.__exit__(*error)

    def add(self, split: Split, record: Document | Pair) -> None:
        """Append one record."""
        self._writers[type(record), split].add(record)

    def add_table(self, kind: Kind, split: Split, table: pa.Table) -> None:
        """Append records that are a table already."""
        self._writers[kind, split].add_table(table)


def write_records(folder: Path, records: Iterable[tuple[Split, Document | Pair]]) -> None:
    """Write records with their splits to `folder`."""
    with RecordWriter(folder) as writer:
        for split, record in records:
            writer.add(split, record)


class _GroupWriter:
    """Collects rows and writes a row group at a time.

    Where a group ends follows from the rows alone, whether they come one by one or in tables:
    equal records are equal bytes.
    """

    def __init__(self, path: Path, columns: pa.Schema) -> None:
        self._schema = columns
        self._writer = pq.ParquetWriter(path, columns, compression="zstd")
        self._text_columns = [
            name for name in ("text", "source", "target") if name in columns.names
        ]
        self._rows: list[tuple[Any, ...]] = []
        self._tables: list[pa.Table] = []
        self._num_rows = self._num_chars = 0

    def __enter__(self) -> "_GroupWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, row: Document | Pair) -> None:
        self._rows.append(row)
        self._num_rows += 1
        is_pair = isinstance(row, Pair)
        self._num_chars += len(row.source) + len(row.target) if is_pair else len(row.text)
        if self._is_full():
            self._flush()

    def add_table(self, table: pa.Table) -> None:
        table = table.select(self._schema.names).cast(self._schema)
        lengths = [
            pc.call_function("utf8_length", [table[name]]).to_pylist()
            for name in self._text_columns
        ]
        start = 0
        for row, sizes in enumerate(zip(*lengths, strict=True)):
            self._num_rows += 1
            self._num_chars += sum(sizes)
            if self._is_full():
                self._keep(table.slice(start, row + 1 - start))
                self._flush()
                start = row + 1
        self._keep(table.slice(start))

    def _is_full(self) -> bool:
        return self._num_rows >= _MAX_GROUP_ROWS or self._num_chars >= _MAX_GROUP_CHARS

    def _keep(self, table: pa.Table) -> None:
        self._tables_from_rows()  # what came before stays before
        if table.num_rows:
            self._tables.append(table)

    def _tables_from_rows(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)]
            self._tables.append(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()

    def _flush(self) -> None:
        self._tables_from_rows()
        if self._tables:
            group = pa.concat_tables(self._tables).combine_chunks()
            self._writer.write_table(group, row_group_size=group.num_rows)
            self._tables.clear()
        self._num_rows = self._num_chars = 0
