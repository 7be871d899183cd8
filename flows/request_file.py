"""Files of requests and of their answers, JSON Lines both: `{"source": ..., "task"?, "ask"?}`."""

import json
from pathlib import Path
from typing import Any

from flows.answerer import Row
from wordmill.errors import DataError, ParamsError
from wordmill.files import replaced_file
from wordmill.tasks import TASKS


def read_requests(file: Path, *, defaults: Row) -> list[tuple[dict[str, Any], Row]]:
    """Each row as it stands, and what it asks.

    Args:
        file: JSON Lines; empty lines are passed over.
        defaults: `task` and `ask` of rows that do not say them.

    Raises:
        ParamsError: the file is not there.
        DataError: a row is no request, or there is none.
    """
    found: list[tuple[dict[str, Any], Row]] = []
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = _row(line, f"{file}:{number}")
                    found.append((row, _request(row, defaults, f"{file}:{number}")))
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8: {error.reason}") from None
    except OSError as error:
        raise ParamsError(f"--file {file}: can't be read: {error.strerror}") from None
    if not found:
        raise DataError(f"{file}: holds no row; a row is such as {{'source': 'TEXT'}}")
    return found


def write_answers(
    out: Path, rows: list[dict[str, Any]], answers: list[list[str]], *, is_single: bool
) -> None:
    """Write each row with its answer under `prediction`, or its answers under `predictions`.

    Raises:
        OutputError: it can't be written.
    """
    with replaced_file(out) as partial, partial.open("w", encoding="utf-8") as file:
        for row, texts in zip(rows, answers, strict=True):
            said = {"prediction": texts[0]} if is_single else {"predictions": texts}
            file.write(json.dumps({**row, **said}, ensure_ascii=False) + "\n")


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON: {error.msg}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: must be an object such as {{'source': 'TEXT'}}; got {row!r:.60}")
    return row


def _request(row: dict[str, Any], defaults: Row, where: str) -> Row:
    if "source" not in row:
        raise DataError(f"{where}: has no source; it has {', '.join(row) or 'nothing'}")
    asked = {**defaults, **{name: row[name] for name in ("source", "task", "ask") if name in row}}
    for name, value in asked.items():
        if not isinstance(value, str):
            raise DataError(f"{where}: {name} must be a text; got {value!r:.60}")
    if asked["task"] not in TASKS:
        raise DataError(f"{where}: task is '{asked['task']}'; allowed: {', '.join(TASKS)}")
    if not asked["source"].strip():
        raise DataError(f"{where}: source is empty")
    return asked
