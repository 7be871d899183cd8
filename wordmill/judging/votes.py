"""Votes on disk: a line each, appended at once, in a file named by the hash of what was compared.

A judge's later vote on an example takes the place of the earlier one. A line that a kill cut short
is passed over.
"""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

from wordmill.errors import OutputError
from wordmill.judging.answers import read_systems
from wordmill.judging.ballot import Ballot
from wordmill.judging.tally import Choice, Tally, tally

FOLDER = "judgements"


class Vote(NamedTuple):
    """One judgement."""

    example: str
    choice: Choice
    a: str
    """The system's name."""
    b: str
    hash_a: str
    """Of all its answers, so that a report knows whose votes these are."""
    hash_b: str
    judge: str
    """Empty where nobody gave a name."""
    at: str
    """ISO 8601."""


class VoteFile:
    """The votes on one comparison."""

    def __init__(self, folder: Path, ballot: Ballot, *, judge: str) -> None:
        self.path = folder / f"{ballot.hash}.jsonl"
        self._ballot = ballot
        self._judge = judge
        self._votes = read_votes(self.path)

    def choices(self) -> dict[str, Choice]:
        """This judge's last choice on each example of the ballot."""
        shown = {duel.asked.id for duel in self._ballot.duels}
        mine: dict[str, Choice] = {
            vote.example: vote.choice for vote in self._votes if vote.judge == self._judge
        }
        return {example: choice for example, choice in mine.items() if example in shown}

    def add(self, example: str, choice: Choice) -> None:
        """Write a vote down, through to the disk.

        Raises:
            OutputError: it can't be written.
        """
        a, b = self._ballot.a, self._ballot.b
        now = datetime.now(UTC).isoformat(timespec="seconds")
        vote = Vote(example, choice, a.system, b.system, a.hash, b.hash, self._judge, now)
        try:
            _append(self.path, json.dumps(vote._asdict(), ensure_ascii=False))
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written: {error.strerror}") from error
        self._votes.append(vote)

    def tally(self) -> Tally:
        """All judges' votes, the last of each on each example."""
        return tally(_last(self._votes))


def read_votes(path: Path) -> list[Vote]:
    """The votes of a file, in order; none where there is no file."""
    if not path.exists():
        return []
    found = (_vote(line) for line in path.read_text(encoding="utf-8").split("\n"))
    return [vote for vote in found if vote is not None]


def votes(folder: Path, *, predictions: Path) -> list[dict[str, Any]]:
    """Win rates for a report: of those comparisons where an answer set is one of these.

    Args:
        folder: that of the vote files.
        predictions: of the evaluation that is reported. Votes on other answers tell nothing of it.

    Raises:
        DataError: the predictions are broken.
    """
    if not folder.is_dir():
        return []
    ours = {answers.hash for answers in read_systems(predictions).values()}
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")):
        found = read_votes(path)
        if any({vote.hash_a, vote.hash_b} & ours for vote in found):
            rows.append(win_rate(found[-1].a, found[-1].b, tally(_last(found))))
    return [row for row in rows if row["wins_a"] + row["wins_b"] + row["ties"]]


def win_rate(a: str, b: str, counted: Tally) -> dict[str, Any]:
    """A tally as a report holds it: the system that won more often comes first."""
    low, high = counted.interval
    row = {
        "a": a,
        "b": b,
        "wins_a": counted.wins_a,
        "wins_b": counted.wins_b,
        "ties": counted.ties,
        "skips": counted.skips,
        "p": counted.p,
        "rate": counted.rate,
        "low": low,
        "high": high,
    }
    if counted.rate >= 0.5:
        return row
    turned = {"a": b, "b": a, "wins_a": counted.wins_b, "wins_b": counted.wins_a}
    return {**row, **turned, "rate": 1 - counted.rate, "low": 1 - high, "high": 1 - low}


def _last(found: Iterable[Vote]) -> list[Choice]:
    last: dict[tuple[str, str], Choice] = {(v.judge, v.example): v.choice for v in found}
    return list(last.values())


def _vote(line: str) -> Vote | None:
    try:
        found: Any = json.loads(line)
    except json.JSONDecodeError:
        return None
    is_whole = isinstance(found, dict) and all(isinstance(found.get(f), str) for f in Vote._fields)
    if not is_whole or found["choice"] not in get_args(Choice):
        return None
    return Vote(**{name: found[name] for name in Vote._fields})


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    is_cut = path.exists() and path.stat().st_size > 0 and not _ends_whole(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{chr(10) if is_cut else ''}{line}\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
