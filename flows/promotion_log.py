"""The log of promotions: lines that are only ever added, each holding the hash of the one before.

A promotion is two lines: what is going to happen, then `done` or `undone`. A line without its end,
the last one alone, tells of a kill (flows/promotion.py mends it). Whoever adds holds the registry's
lock. Lines reach the disk before `add` returns.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from wordmill.errors import DataError, OutputError
from wordmill.gate.verdict import Decision, Finding

Act = Literal["promotion", "rollback", "reconciliation"]

_NO_LINE = "0" * 64


class DisagreementError(DataError):
    """Log, champion.json and registry do not bear each other out: nobody may promote."""


class _Link(TypedDict):
    number: int
    """Of the line, from 1."""
    at: str
    """ISO 8601, UTC."""
    previous: str
    """SHA-256 of the line before; zeros where there is none."""
    sha256: str
    """Of this line without this value."""


class Entry(_Link):
    """What is going to happen, and why."""

    kind: Literal["begun"]
    act: Act
    model: str
    """The registered model's name."""
    from_version: str | None
    to_version: str | None
    """None where a reconciliation found no champion."""
    run_id: str | None
    """The run that made the version."""
    files: str | None
    """The hash of the list of its files."""
    by: str
    reason: str
    decision: Decision | None
    """The gate's; None where it was not asked."""
    is_against_gate: bool
    """Whether a person went against it."""
    sets: dict[str, str]
    """kind -> hash of the held-out set that both were scored on."""
    findings: list[Finding]
    """The gate's, with the figures."""


class End(_Link):
    """What became of it."""

    kind: Literal["done", "undone"]
    of: int
    """The number of the entry."""
    note: NotRequired[str]
    """What is out of the ordinary."""


class Done(NamedTuple):
    """A promotion that took place."""

    entry: Entry
    end: End


class PromotionLog:
    """The lines of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Entry | End]:
        """All whole lines, in order.

        Raises:
            DisagreementError: the file is not as it was written.
        """
        if found := self.problems():
            raise DisagreementError(f"{self.path}: {found[0]}; take the file back from git")
        return [json.loads(line) for line in self._whole()]

    def problems(self) -> list[str]:
        """What shows that somebody edited, removed or moved a line; it names the line."""
        return list(_problems(self._whole()))

    def done(self) -> list[Done]:
        """The promotions that took place, in order.

        Raises:
            DisagreementError: the file is not as it was written.
        """
        return promotions(self.lines())

    def mend(self) -> bool:
        """Cut off what a kill left of a line; it was never confirmed. Returns whether it did."""
        if not self.path.exists():
            return False
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole == len(text):
            return False
        with self.path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
        return True

    def add(self, values: dict[str, Any]) -> Any:
        """Add a line; returns it whole.

        Raises:
            DisagreementError: the file is not as it was written.
            OutputError: it can't be written.
        """
        self.mend()
        lines = self.lines()
        previous = lines[-1]["sha256"] if lines else _NO_LINE
        line = {"number": len(lines) + 1, **values, "previous": previous}
        line["sha256"] = _hash(line)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self.path.exists()
            with self.path.open("ab") as file:
                file.write(f"{_text(line)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written: {error.strerror}") from None
        return line

    def _whole(self) -> list[bytes]:
        text = self.path.read_bytes() if self.path.exists() else b""
        return text[: text.rfind(b"\n") + 1].splitlines()


def promotions(lines: list[Entry | End]) -> list[Done]:
    """Entries with their ends, but for those that came to nothing."""
    begun: Entry | None = None
    found: list[Done] = []
    for line in lines:
        if line["kind"] == "begun":
            begun = line
        elif line["kind"] == "done" and begun is not None:
            found.append(Done(begun, line))
    return found


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _problems(lines: list[bytes]) -> Iterator[str]:
    previous = _NO_LINE
    for number, text in enumerate(lines, start=1):
        line = _parsed(text)
        if line is None or line["sha256"] != _hash(line):
            yield f"line {number} was edited"
        elif line["number"] != number:
            yield f"line {number} is missing: number {line['number']} stands in its place"
            return  # all that follow are in the wrong place
        elif previous is not None and line["previous"] != previous:
            yield f"line {number} does not follow line {number - 1}: one of them was replaced"
        # After an edited line nothing is known of what the next one should say.
        previous = None if line is None or line["sha256"] != _hash(line) else line["sha256"]


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    is_line = isinstance(line, dict) and {"number", "kind", "previous", "sha256"} <= line.keys()
    return line if is_line else None


def _hash(line: dict[str, Any]) -> str:
    said = {name: value for name, value in line.items() if name != "sha256"}
    return hashlib.sha256(_text(said).encode()).hexdigest()


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line, sort_keys=True, ensure_ascii=False)
