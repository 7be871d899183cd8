"""Files of requests and of their answers, JSON Lines both: `{"source": ..., "task"?, "ask"?}`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.answerer import Row
from wordmill.errors import DataError, ParamsError
from wordmill.files import replaced_file
from wordmill.tasks import TASKS

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ANSWERS = ("prediction", "predictions")


def read_requests(file: Path, *, defaults: Row) -> list[tuple[dict[str, Any], Row]]:
    """Each row as it stands, and what it asks; see `requests_in`.

    Raises:
        ParamsError: the file can't be read.
        DataError: a row is no request, or there is none.
    """
    found = list(requests_in(file, defaults=defaults))
    if not found:
        raise no_row(file)
    return found


def requests_in(
    file: Path, *, defaults: Row, heard: Callable[[bytes], None] | None = None
) -> Iterator[tuple[dict[str, Any], Row]]:
    """One after the other, each row as it stands and what it asks.

    Args:
        file: JSON Lines; empty lines are passed over.
        defaults: `task` and `ask` of rows that do not say them.
        heard: takes every byte of the file, line by line.

    Raises:
        ParamsError: the file can't be read.
        DataError: a row is no request.
    """
    try:
        with file.open("rb") as lines:  # as text, more than line feeds would end a line
            for number, raw in enumerate(lines, start=1):
                if heard:
                    heard(raw)
                line = _text(raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw, file)
                if line.strip():
                    row = _row(line, f"{file}:{number}")
                    yield row, _request(row, defaults, f"{file}:{number}")
    except OSError as error:
        raise ParamsError(f"{file}: can't be read: {error.strerror}") from None


def no_row(file: Path) -> DataError:
    """What to say of an empty file."""
    return DataError(f"{file}: holds no row; a row is such as {{'source': 'TEXT'}}")


def check_is_another(out: Path, file: Path) -> None:
    """See that the answers are not written over what is asked.

    Raises:
        ParamsError: they would be.
    """
    if out.resolve() == file.resolve() or (out.exists() and file.exists() and out.samefile(file)):
        raise ParamsError(f"{out}: is the file that is read; name another for the answers")


def write_answers(
    out: Path, rows: list[dict[str, Any]], answers: list[list[str]], *, is_single: bool
) -> None:
    """Write each row with its answer under `prediction`, or its answers under `predictions`.

    Raises:
        OutputError: it can't be written.
    """
    with replaced_file(out) as partial, partial.open("wb") as file:
        for row, texts in zip(rows, answers, strict=True):
            file.write(answered(row, texts, is_single=is_single))


def answered(row: dict[str, Any], texts: list[str], *, is_single: bool) -> bytes:
    """The line of a row with its answer or answers."""
    one, several = _ANSWERS
    said = {one: texts[0]} if is_single else {several: texts}
    return (json.dumps({**row, **said}, ensure_ascii=False) + "\n").encode()


def is_answered(line: bytes, row: dict[str, Any], *, is_single: bool) -> bool:
    """Whether a line is this row with some answer, as `answered` writes it."""
    try:
        found = json.loads(line)
        texts = [found[_ANSWERS[0]]] if is_single else found[_ANSWERS[1]]
        is_texts = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        return is_texts and answered(row, texts, is_single=is_single) == line
    except (ValueError, LookupError, TypeError):  # cut off, or somebody else's
        return False


def _text(raw: bytes, file: Path) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8: {error.reason}") from None


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if "\\ud" in line.lower():
            json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON: {error.msg}") from None
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half a character, a \\ud... without the other") from None
    except (ValueError, RecursionError) as error:  # a number too long, too many brackets
        raise DataError(f"{where}: can't be read as JSON: {error}") from None
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
