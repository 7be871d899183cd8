"""OUT.batch.json: what a batch is made with while it is at work, and where its answers come from.

It is written before the first row and replaced as a whole; when the batch ends it stays beside
the answers.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.asking_options import OPTIONS
from wordmill.errors import DataError
from wordmill.files import replaced_file, write_json

_SHOWN_CHARS = 12


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MadeWith(_Part):
    """All that decides the answers: a batch goes on only with the very same."""

    input: str
    """SHA-256 of the file that is answered."""
    model: str
    """Of a version its name and number; of a folder it says nothing that `files` does not."""
    version: str | None
    files: str
    """A hash of the model's files (flows/version_files.py)."""
    code: str | None
    """A hash of the project's code where the model is a folder; a version brings its own."""
    task: str
    ask: str
    num_sequences: int
    changes: dict[str, Any]
    """Decoding values that take the place of the model's own."""
    settings: dict[str, Any]
    """A folder's, of params.yaml; a version's are among its files."""
    labels: str
    """A hash of those that a folder chooses from."""

    def differences(self, then: "MadeWith", *, asked: str) -> list[str]:
        """In words, what is not as it was then.

        Args:
            then: of an earlier start.
            asked: how the model is asked for now.
        """
        told: list[str] = []
        mine, others = self._flat(), then._flat()
        if (self.version, self._registered) != (then.version, then._registered):
            moved = self.model if asked in (self.version, self.model) else f"{asked}, {self.model}"
            told = [f"the model was {then.model} and is now {moved}"]
            mine, others = ({**flat, "files": "", "code": ""} for flat in (mine, others))
        names = [*others, *(name for name in mine if name not in others)]
        odd = [name for name in names if mine.get(name) != others.get(name)]
        return told + [_told(name, others, mine) for name in odd]

    @property
    def _registered(self) -> str | None:
        return None if self.version is None else self.model

    def _flat(self) -> dict[str, Any]:
        whole = self.model_dump(exclude={"model", "version", "changes", "settings"})
        whole |= {OPTIONS.get(name, name): value for name, value in self.changes.items()}
        decoding = self.settings.get("decoding", {})
        whole |= {f"evaluate.decoding.{name}": value for name, value in decoding.items()}
        return whole | {name: v for name, v in self.settings.items() if name != "decoding"}


class Start(_Part):
    """One start of a batch."""

    at: str
    """UTC."""
    row: int
    """The first that it answered, from 0."""
    flow_run: str


class End(_Part):
    """What the last start of a batch made whole."""

    at: str
    sha256: str
    """Of the file of answers."""
    seconds: float
    """That the last start answered for."""
    num_rows: int
    """That the last start answered."""
    rows_per_second: float
    tokens_per_second: float | None
    """None where the model's own code does not say."""


class Record(_Part):
    """The file."""

    wordmill: str
    """The version of the package."""
    made_with: MadeWith
    input: str
    """The file that is answered."""
    num_rows: int
    chunk_rows: int
    """Rows that are sorted and answered together: others would move the last bits of a sum."""
    decoding: dict[str, Any]
    """All of it: the model's own, with the changes."""
    is_replacing: bool
    """Whether there was a file of answers that this one takes the place of."""
    starts: list[Start]
    end: End | None = None

    def headline(self, out: Path) -> str:
        """What the batch came to, in a line."""
        what = "answer" if self.num_rows == 1 else "answers"
        return f"{self.num_rows:,} {what} of {self.made_with.model} -> {out}"

    def text(self, out: Path, *, record: Path) -> str:
        """The summary for a terminal."""
        assert self.end is not None
        rates = [f"{self.end.rows_per_second:,.1f} rows/s"]
        if self.end.tokens_per_second is not None:
            rates.append(f"{self.end.tokens_per_second:,.0f} tokens/s")
        stood = self.num_rows - self.end.num_rows
        rest = f", {stood:,} stood before" if stood else ""
        lines = [
            f"\n{self.headline(out)}",
            f"  answered now  {self.end.num_rows:,} in {self.end.seconds:.0f} s:"
            f" {', '.join(rates)}{rest}",
            f"  made with     {record}",
        ]
        if version := self.made_with.version:
            told = f"wordmill lineage {version}   where the model comes from"
            lines.append(f"Next (in .venv/bin):\n  {told}")
        return "\n".join([*lines, ""])


def read_record(path: Path) -> Record | None:
    """The record, None where there is none.

    Raises:
        DataError: the file is something else.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise DataError(f"{path}: is not what `wordmill batch` writes; move it away") from None


def write_record(path: Path, record: Record) -> None:
    """Write the record, whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    with replaced_file(path) as partial:
        write_json(partial, record.model_dump())


_HASHES = {
    "input": "the input",
    "files": "the model's files",
    "code": "the code in wordmill/",
    "labels": "the labels",
}
_NAMES = {"task": "--task", "ask": "--ask", "num_sequences": "--sequences"}


def _told(name: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    if name in _HASHES:
        were, are = ((values.get(name) or "none")[:_SHOWN_CHARS] for values in (then, now))
        return f"{_HASHES[name]} changed from {were} to {are}"
    were, are = (
        json.dumps(values[name], ensure_ascii=False) if name in values else "not given"
        for values in (then, now)
    )
    return f"{_NAMES.get(name, name)} was {were} and is now {are}"
