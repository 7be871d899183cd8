"""The answers of a system, as the evaluate stage writes them: predictions.jsonl.

A row is `system, id, task, source, ask, target, prediction`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from wordmill.errors import DataError, ParamsError

_COLUMNS = ("system", "id", "task", "source", "ask", "target", "prediction")


class Asked(NamedTuple):
    """One held-out pair and a system's answer to it."""

    id: str
    task: str
    source: str
    ask: str
    target: str
    prediction: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers of one system."""

    system: str
    rows: dict[str, Asked]
    """By the pair's id."""

    @property
    def hash(self) -> str:
        """Of the sources and the answers, whatever their order and the system's name."""
        rows = sorted((row.id, row.source, row.prediction) for row in self.rows.values())
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def read_answers(which: str, *, default: Path) -> Answers:
    """The answers of a system.

    Args:
        which: a system in `default`, or `FILE:SYSTEM`.
        default: the predictions of this project.

    Raises:
        ParamsError: there is no such system.
        DataError: the file is missing or broken.
    """
    file, system = default, which
    if ":" in which:
        place, _, system = which.rpartition(":")
        file = Path(place)
    systems = read_systems(file)
    if system not in systems:
        raise ParamsError(f"{file}: no system '{system}'; there are: {', '.join(sorted(systems))}")
    # Two files may hold systems of one name: a result must say whose it is.
    return replace(systems[system], system=which)


def read_systems(file: Path) -> dict[str, Answers]:
    """All systems of a file.

    Raises:
        DataError: the file is missing, broken or empty.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{file}: no such file; `wordmill retrain` writes it") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8 text") from None
    rows: dict[str, dict[str, Asked]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            found = _row(line, place=f"{file}, line {number}")
            asked = Asked(**{name: found[name] for name in Asked._fields})
            rows.setdefault(found["system"], {})[asked.id] = asked
    if not rows:
        raise DataError(f"{file}: no predictions in it")
    return {system: Answers(system=system, rows=found) for system, found in rows.items()}


def _row(line: str, *, place: str) -> dict[str, str]:
    try:
        found: Any = json.loads(line)
    except json.JSONDecodeError:
        raise DataError(f"{place}: not JSON") from None
    wrong = [
        c for c in _COLUMNS if not isinstance(found, dict) or not isinstance(found.get(c), str)
    ]
    if wrong:
        raise DataError(f"{place}: {', '.join(wrong)}: missing, or not text")
    return found
