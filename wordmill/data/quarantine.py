"""Rows that can't be used: set aside with the reason, counted, and too many of them an error.

A line of `quarantine.jsonl` is a row: which source, which file, where in it, why. The share is
counted for each source by itself, so that a large sound one does not hide a small broken one.
"""

import json
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

from wordmill.errors import DataError

FILE = "quarantine.jsonl"
_EXCERPT_CHARS = 80
_ROWS_BEFORE_GIVING_UP = 1000

Reason = Literal[
    "not_decodable",
    "not_json",
    "not_object",
    "not_csv",
    "wrong_field_count",
    "missing_column",
    "not_text",
    "half_surrogate",
    "row_too_long",
    "too_few_turns",
    "unknown_label",
]


class UnusableRowError(Exception):
    """Raised where a row turns out to be of no use; whoever knows its place makes a BadRow."""

    def __init__(self, reason: Reason, detail: str, content: object = "") -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail, self.content = detail, content


class BadRow(NamedTuple):
    """A row that can't be used."""

    file: str
    row: int
    reason: Reason
    detail: str
    excerpt: str


def bad_row(file: str, row: int, reason: Reason, detail: str, content: object) -> BadRow:
    """Make a bad row; of its content an excerpt is kept that any file and terminal can hold."""
    text = content if isinstance(content, str) else repr(content)
    excerpt = text[:_EXCERPT_CHARS].encode("utf-8", "replace").decode()
    return BadRow(file, row, reason, detail, excerpt.strip())


class Quarantine:
    """The file of bad rows, and when there are too many of them.

    Args:
        folder: where `quarantine.jsonl` is written.
        max_bad_fraction: share of a source's rows, 0 to 1.
        kept_at: where the file is left if the run fails for it; `folder` is thrown away then.
    """

    def __init__(self, folder: Path, *, max_bad_fraction: float, kept_at: Path) -> None:
        self._file = (folder / FILE).open("wb")
        self._max_bad_fraction, self._kept_at = max_bad_fraction, kept_at
        self._source, self._first = "", ""
        self._num_good = self._num_bad = 0

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def num_bytes(self) -> int:
        """What is written so far."""
        return self._file.tell()

    def start(self, source: str) -> None:
        """Count for another source from here on."""
        self._source, self._num_good, self._num_bad, self._first = source, 0, 0, ""

    def accept(self, num_rows: int = 1) -> None:
        """Count rows that can be used."""
        self._num_good += num_rows

    def put(self, bad: BadRow) -> None:
        """Set a row aside.

        Raises:
            DataError: no bad row is allowed, or there has been nothing else so far.
        """
        row = {"source": self._source, **bad._asdict()}
        self.put_lines(json.dumps(row, ensure_ascii=False).encode() + b"\n", 1)

    def put_lines(self, lines: bytes, num_rows: int) -> None:
        """Set rows aside that are lines already.

        Raises:
            DataError: as `put` does.
        """
        if not num_rows:
            return
        self._file.write(lines)
        if not self._first:
            row = json.loads(lines[: lines.index(b"\n")])
            self._first = f"{row['file']}:{row['row']}: {row['detail']}"
        self._num_bad += num_rows
        if self._max_bad_fraction == 0:
            raise DataError(self._first)
        if self._num_good == 0 and self._num_bad >= _ROWS_BEFORE_GIVING_UP:
            self.judge()

    def judge(self) -> None:
        """Say no to the source that was counted, if too much of it is bad.

        Raises:
            DataError: more than `max_bad_fraction` of its rows are.
        """
        num_rows = self._num_good + self._num_bad
        if num_rows == 0 or self._num_bad / num_rows <= self._max_bad_fraction:
            return
        self._file.flush()
        self._kept_at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._file.name, self._kept_at)
        raise DataError(
            f"{self._source}: {self._num_bad:,} of {num_rows:,} rows can't be used"
            f" ({self._num_bad / num_rows:.1%}; ingest.max_bad_fraction allows"
            f" {self._max_bad_fraction:.1%}); the first is {self._first};"
            f" all of them are in {self._kept_at}"
        )
