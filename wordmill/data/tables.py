"""Tables as rows: CSV with a header, Parquet, Arrow."""

import csv
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from wordmill.data.paths import Column
from wordmill.data.quarantine import UnusableRowError
from wordmill.data.streams import Line, seekable
from wordmill.errors import DataError

_BATCH_ROWS = 1024


def csv_rows(
    lines: Iterator[Line], *, delimiter: str, max_row_bytes: int
) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a CSV file by the names in its first line.

    Args:
        lines: of the file; a field in quotes may go over several.
        delimiter: between fields.
        max_row_bytes: the longest field; a quote that is never closed reads on up to there.
    """
    csv.field_size_limit(max_row_bytes)
    watched = _Watched(lines)
    rows = csv.reader(watched, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    start = 1
    while True:
        try:
            fields = next(rows, None)
            problem = watched.problem
        except csv.Error as error:
            fields = []
            problem = watched.problem or _not_csv(error, rows.line_num - start, watched.last)
        if fields is None:
            return
        if problem:
            yield start, problem
        elif header is None:
            header = fields or None  # empty lines may come first
        elif fields:
            yield start, _named(header, fields)
        start, watched.problem = rows.line_num + 1, None


def table_rows(
    stream: BinaryIO, name: str, *, kind: Literal["parquet", "arrow"], wanted: list[Column]
) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a Parquet or Arrow file, with the wanted columns only.

    Raises:
        DataError: the file is damaged, or has no such column.
    """
    batches = _parquet if kind == "parquet" else _arrow
    number = 0
    with seekable(stream) as file:
        try:
            for batch in batches(file, name, wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            line = str(error).partition("\n")[0]
            raise DataError(f"{name}: not valid {kind.capitalize()}: {line}") from None


def _parquet(stream: BinaryIO, name: str, wanted: list[Column]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(stream, page_checksum_verification=True) as file:
        columns = _present(file.schema_arrow.names, name, wanted)
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)


def _arrow(stream: BinaryIO, name: str, wanted: list[Column]) -> Iterator[pa.RecordBatch]:
    is_file = stream.read(6) == b"ARROW1"
    stream.seek(0)
    if is_file:
        file = ipc.open_file(stream)
        columns = _present(file.schema.names, name, wanted)
        found = (file.get_batch(number) for number in range(file.num_record_batches))
    else:  # as the datasets package writes it
        found = ipc.open_stream(stream)
        columns = _present(found.schema.names, name, wanted)
    for batch in found:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.select(columns).slice(start, _BATCH_ROWS)


def _present(names: list[str], file: str, wanted: list[Column]) -> list[str]:
    present: set[str] = set()
    for column in wanted:
        found, missing = column.in_table(names)
        if missing:
            raise DataError(f"{file}: no column '{missing}'; the columns are: {', '.join(names)}")
        present |= found
    return [name for name in names if name in present]


class _Watched:
    """Lines as `csv` wants them, remembering what was wrong with those it took."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.problem: UnusableRowError | None = None
        self.last = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        _, self.last, problem = next(self._lines)
        self.problem = self.problem or problem
        return self.last


def _named(header: list[str], fields: list[str]) -> Any:
    if len(fields) == len(header):
        return dict(zip(header, fields, strict=True))
    detail = f"has {len(fields)} fields where the header has {len(header)}"
    return UnusableRowError("wrong_field_count", detail, ", ".join(fields)[:400])


def _not_csv(error: csv.Error, num_lines: int, last: str) -> UnusableRowError:
    swallowed = f", {num_lines + 1} lines after a quote that is not closed" if num_lines else ""
    return UnusableRowError("not_csv", f"not valid CSV: {error}{swallowed}", last[:400])
