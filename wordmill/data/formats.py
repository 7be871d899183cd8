"""What a stream holds, as rows: text by the unit, pages, JSON; tables are in tables.py.

Reading goes on after a row that can't be used; what is wrong with the whole file is an error.
Memory holds a line, a batch of a table or, for `.json` and `.html`, one file.
"""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, get_args

from wordmill.data.encodings import NotTextError, encoding_of_html
from wordmill.data.html import html_to_text
from wordmill.data.paths import Column, nested_rows
from wordmill.data.quarantine import UnusableRowError
from wordmill.data.streams import Line, decoded_lines, plain_name, too_long, whole_text
from wordmill.data.tables import csv_rows, table_rows
from wordmill.errors import DataError
from wordmill.params.ingest import TEXT_FORMATS, FilesSource, Format

NumberedRow = tuple[int, Any]
"""Its line or number, and the row: an UnusableRowError in its place if it is none."""

ENDINGS: dict[str, Format] = {
    "txt": "text",
    "md": "markdown",
    "htm": "html",
    "html": "html",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "json",
    "csv": "csv",
    "tsv": "tsv",
    "parquet": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def format_of(name: str) -> Format | None:
    """The format that a file's ending tells, endings of compression left aside."""
    return ENDINGS.get(PurePosixPath(plain_name(name)).suffix.lower()[1:])


class Reader:
    """Reads the rows of streams as one source wants them.

    Args:
        source: says format, encoding, unit and the like.
        wanted: the columns to read of tables.
        max_row_bytes: a longer row is not held in memory.
    """

    def __init__(self, source: FilesSource, *, wanted: list[Column], max_row_bytes: int) -> None:
        self._source, self._wanted, self._max_bytes = source, wanted, max_row_bytes

    def rows(self, stream: BinaryIO, name: str, *, archive: str) -> Iterator[NumberedRow]:
        """Yield every row of a stream.

        Args:
            stream: decompressed.
            name: of the file; its ending tells the format, unless the source does.
            archive: the file that it lies in, or `name`; of an archive, what can't be read is
                left out.

        Raises:
            DataError: the file as a whole is not what it should be.
        """
        kind = self._source.format or format_of(name) or format_of(archive)
        if kind is None and name != archive:
            return
        if self._source.part and kind and kind not in TEXT_FORMATS:
            raise DataError(
                f"{name}: 'part' cuts text, and this is {kind}; name text files alone in the source"
            )
        try:
            yield from self._rows(stream, name, kind)
        except NotTextError as error:
            raise DataError(f"{name}: not text: {error}") from None

    def _rows(self, stream: BinaryIO, name: str, kind: Format | None) -> Iterator[NumberedRow]:
        match kind:
            case "text" | "markdown":
                return self._units(self._lines(stream))
            case "html":
                return self._page(stream)
            case "jsonl":
                return self._json_lines(stream)
            case "json":
                return self._json(stream)
            case "csv" | "tsv":
                delimiter = self._source.delimiter or _DELIMITERS[kind]
                return csv_rows(
                    self._lines(stream), delimiter=delimiter, max_row_bytes=self._max_bytes
                )
            case "parquet" | "arrow":
                return table_rows(stream, name, kind=kind, wanted=self._wanted)
            case None:
                raise DataError(
                    f"{name}: its ending tells no format; state one in the source, 'format':"
                    f" {', '.join(get_args(Format))}"
                )

    def _lines(self, stream: BinaryIO) -> Iterator[Line]:
        return decoded_lines(stream, self._source.encoding, max_bytes=self._max_bytes)

    def _units(self, lines: Iterator[Line]) -> Iterator[NumberedRow]:
        unit = _Unit(self._max_bytes)
        by = self._source.unit
        for line in lines:
            is_blank = not line.text or line.text.isspace()
            is_end = by == "line" or (by == "paragraph" and is_blank)
            if not (is_blank and is_end):
                unit.add(line)
            if is_end:
                yield from unit.take()
        yield from (self._cut(row) for row in unit.take())

    def _cut(self, row: NumberedRow) -> NumberedRow:
        """The part of a whole file that the source wants."""
        number, value = row
        if self._source.part is None or isinstance(value, UnusableRowError):
            return row
        text = value["text"]
        start, stop = (int(share * len(text)) for share in self._source.part)
        return number + text.count("\n", 0, start), {"text": text[start:stop]}

    def _page(self, stream: BinaryIO) -> Iterator[NumberedRow]:
        page = stream.read(self._max_bytes + 1)
        if len(page) > self._max_bytes:
            yield 1, too_long(self._max_bytes, page[:400].decode("utf-8", "replace"))
            return
        named = encoding_of_html(page) if self._source.encoding == "auto" else None
        html = whole_text(page, named or self._source.encoding)
        if isinstance(html, UnusableRowError):
            yield 1, html
            return
        lines = html_to_text(html).splitlines(keepends=True)
        yield from self._units(Line(n, text, None) for n, text in enumerate(lines, start=1))

    def _json_lines(self, stream: BinaryIO) -> Iterator[NumberedRow]:
        path = self._source.rows
        for number, text, problem in self._lines(stream):
            if problem is None and text.isspace():
                continue
            value = problem or _parsed(text.rstrip())
            if path is None or isinstance(value, UnusableRowError):
                yield number, value
            else:
                yield from ((number, row) for row in nested_rows(value, path))

    def _json(self, stream: BinaryIO) -> Iterator[NumberedRow]:
        text = whole_text(stream.read(), self._source.encoding)
        if isinstance(text, str) and not text.strip():
            return
        value = _parsed(text) if isinstance(text, str) else text
        if isinstance(value, UnusableRowError):
            yield 1, value
        else:
            yield from enumerate(nested_rows(value, self._source.rows), start=1)


class _Unit:
    """The lines of one document, as they come."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._reset()

    def _reset(self) -> None:
        self._start, self._num_chars = 0, 0
        self._texts: list[str] = []
        self._problem: UnusableRowError | None = None

    def add(self, line: Line) -> None:
        self._start = self._start or line.number
        self._problem = self._problem or line.problem
        self._num_chars += len(line.text)
        if self._problem is None and self._num_chars > self._max_bytes:
            self._problem = too_long(self._max_bytes, self._texts[0] if self._texts else line.text)
        if self._problem is None:
            self._texts.append(line.text)

    def take(self) -> Iterator[NumberedRow]:
        if self._start:
            yield self._start, self._problem or {"text": "".join(self._texts)}
            self._reset()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        detail = f"not valid JSON: {error.msg} {line}column {error.colno}"
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a thousand brackets
        detail = f"not valid JSON: {str(error).partition(';')[0]}"
    return UnusableRowError("not_json", detail, text[:400])
