"""Local files as sources: text, JSON lines, CSV and Parquet.

Every problem names the file and the row. A row is read whole or the run stops: nothing is
skipped in silence.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wordmill.data.records import Document, Pair, document, pair
from wordmill.errors import DataError
from wordmill.params.ingest import (
    Columns,
    CsvSource,
    DocumentColumns,
    FileSource,
    JsonlSource,
    ParquetSource,
    TextSource,
)

_CHUNK_BYTES = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")
Row = tuple[str, dict[str, Any]]  # where it stands, for messages; its values by column


def matching_files(source: FileSource, root: Path) -> list[Path]:
    """The files that a source's path or glob names, sorted.

    Raises:
        DataError: there is none.
    """
    found = sorted(path for path in root.glob(source.path) if path.is_file())
    if not found:
        raise DataError(
            f"{root / source.path}: no such file; a source's path is relative to ingest.root"
            f" ({root}) and may be a glob such as '**/*.txt'"
        )
    return found


def read(source: FileSource, root: Path) -> Iterator[tuple[str, Document | Pair]]:
    """Yield each record with the text that decides its split.

    Raises:
        DataError: a file is missing, unreadable, or has a row that can't be used.
    """
    for path in matching_files(source, root):
        name = path.relative_to(root).as_posix()
        match source:
            case TextSource():
                for text in _text_units(path, source):
                    yield text, document(text, source=name)
            case JsonlSource():
                yield from records_of(_jsonl_rows(path), source.columns, name=name)
            case CsvSource():
                yield from records_of(_csv_rows(path, source), source.columns, name=name)
            case ParquetSource():
                yield from records_of(_parquet_rows(path, source), source.columns, name=name)


def records_of(
    rows: Iterator[Row], columns: Columns, *, name: str
) -> Iterator[tuple[str, Document | Pair]]:
    """Map rows to records by their columns, with the text that decides each record's split.

    Raises:
        DataError: a column is missing or holds something that is not text.
    """
    for where, row in rows:
        if isinstance(columns, DocumentColumns):
            text = _text_at(row, columns.text, where=where)
            yield text, document(text, source=name)
        else:
            given = _text_at(row, columns.source, where=where)
            wanted = _text_at(row, columns.target, where=where)
            yield given, pair(given, wanted, task=columns.task, origin=name)


def _text_at(row: dict[str, Any], column: str, *, where: str) -> str:
    if column not in row:
        raise DataError(f"{where}: no column '{column}'; the columns are: {', '.join(row)}")
    value = row[column]
    if not isinstance(value, str):
        raise DataError(f"{where}: column '{column}' must be text; got {value!r}")
    if _SURROGATE.search(value):  # JSON can hold half a character, UTF-8 can't
        raise DataError(f"{where}: column '{column}' holds half a surrogate pair")
    return value


def _text_units(path: Path, source: TextSource) -> Iterator[str]:
    unit: list[str] = []
    for line in _decoded_lines(path, source.encoding):
        is_blank = not line.strip()
        ends_here = source.unit == "line" or (source.unit == "paragraph" and is_blank)
        if not (is_blank and ends_here):
            unit.append(line)
        if ends_here and unit:
            yield "".join(unit)
            unit = []
    if unit:
        yield "".join(unit)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_decoded_lines(path, "utf-8-sig"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: not valid JSON: {error.msg} column {error.colno}"
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: must be a JSON object; got {line.strip()[:40]}")
        yield f"{path}:{number}", row


def _csv_rows(path: Path, source: CsvSource) -> Iterator[Row]:
    lines = _decoded_lines(path, source.encoding)
    rows = csv.reader(lines, delimiter=source.delimiter, strict=True)
    try:
        header = next(rows, [])
        for row in rows:
            if not row:  # an empty line
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}:{rows.line_num}: has {len(row)} fields where the header has"
                    f" {len(header)}"
                )
            yield f"{path}:{rows.line_num}", dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: not valid CSV: {error}") from None


def _parquet_rows(path: Path, source: ParquetSource) -> Iterator[Row]:
    columns = source.columns
    wanted = [columns.text] if columns.task == "write" else [columns.source, columns.target]
    try:
        file = pq.ParquetFile(path)
        present = [name for name in wanted if name in file.schema_arrow.names]
        if missing := [name for name in wanted if name not in present]:
            names = ", ".join(file.schema_arrow.names)
            raise DataError(f"{path}: no column '{missing[0]}'; the columns are: {names}")
        number = 0
        for batch in file.iter_batches(columns=present):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row
    except PermissionError:
        raise DataError(f"{path}: can't be read: no permission") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not valid Parquet: {error}") from None


def _decoded_lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file as they stand, line ends included."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            yield from file
    except PermissionError:
        raise DataError(f"{path}: can't be read: no permission") from None
    except LookupError:
        raise DataError(
            f"{path}: unknown encoding '{encoding}'; such as: utf-8, utf-16, latin-1, gb18030"
        ) from None
    except UnicodeError as error:  # utf-16 without its mark is one that names no byte
        line, reason = _undecodable_line(path, encoding) or (1, str(error))
        raise DataError(
            f"{path}:{line}: not {encoding}: {reason}; say how the file is encoded under"
            " ingest.sources, or convert it"
        ) from None


def _undecodable_line(path: Path, encoding: str) -> tuple[int, str] | None:
    """Find the first line that does not decode: text files read ahead, so they can't say."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        is_end = False
        while not is_end:
            chunk = file.read(_CHUNK_BYTES)
            is_end = not chunk
            try:
                line += decoder.decode(chunk, final=is_end).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].decode(encoding, "replace").count("\n")
                return line, f"{error.reason} 0x{error.object[error.start]:02x}"
            except UnicodeError as error:  # the mark that utf-16 starts with is missing
                return line, str(error)
    return None
