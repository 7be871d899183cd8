"""Using models by hand: ask for a text or a file of them."""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flows.answerer import Answerer, Located, Row, answerer
from flows.asking_options import OPTIONS
from flows.located import located
from flows.request_file import check_is_another, read_requests, write_answers
from wordmill.errors import ParamsError
from wordmill.params.decoding import DecodingParams
from wordmill.params.everything import Params

_BETWEEN = "---"
_DRAWING = ("top_k", "top_p", "min_p", "seed")


def ask(
    params: Params, which: str, row: Row, *, changes: dict[str, Any], num_sequences: int
) -> None:
    """Print a model's answer, on a terminal as it is written.

    Args:
        params: of the project.
        which: a version number, an alias or a folder.
        row: `task`, `source` and `ask`.
        changes: decoding values that take the place of the model's own.
        num_sequences: answers to give; several stand apart by a line of dashes.

    Raises:
        WordmillError: there is no such model, or it can't answer.
    """
    with answerer() as asked, located(which, params) as model:
        warn_of_tasks(model, [row["task"]])
        asked.load(with_changes(model, changes, num_sequences=num_sequences))
        if num_sequences == 1 and sys.stdout.isatty():
            show_stream(asked, row)
        else:
            (texts,) = asked.answers([row], num_sequences=num_sequences, show=_nowhere)
            print(f"\n{_BETWEEN}\n".join(texts))


def ask_file(
    params: Params,
    which: str,
    *,
    file: Path,
    out: Path,
    defaults: Row,
    changes: dict[str, Any],
    num_sequences: int,
) -> str:
    """Answer every row of a JSON Lines file; the other file is written whole or not at all.

    Args:
        params: of the project.
        which: a version number, an alias or a folder.
        file: rows with `source` and perhaps `task` and `ask`.
        out: gets the same rows with `prediction`, or with `predictions` where there are several.
        defaults: `task` and `ask` of rows that do not say them.
        changes: decoding values that take the place of the model's own.
        num_sequences: answers to each row.

    Raises:
        WordmillError: a row is no request, there is no such model, or it can't answer.
        OutputError: `out` can't be written.
    """
    check_is_another(out, file)
    found = read_requests(file, defaults=defaults)
    with answerer() as asked, located(which, params) as model:
        warn_of_tasks(model, [row["task"] for _, row in found])
        asked.load(with_changes(model, changes, num_sequences=num_sequences))
        rows = [request for _, request in found]
        with progress_lines(otherwise=_nowhere) as show:
            answers = asked.answers(rows, num_sequences=num_sequences, show=show)
    write_answers(out, [row for row, _ in found], answers, is_single=num_sequences == 1)
    return f"{len(rows)} {'answer' if len(rows) == 1 else 'answers'} of {model.name} -> {out}"


@contextmanager
def progress_lines(*, otherwise: Callable[[str], None]) -> Generator[Callable[[str], None]]:
    """Where progress is shown: on a terminal one line that is written over.

    Args:
        otherwise: takes the lines elsewhere.
    """
    if not sys.stderr.isatty():
        yield otherwise
        return
    yield lambda line: print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _nowhere(_: str) -> None:
    pass


def show_stream(asked: Answerer, row: Row) -> str:
    """Print an answer as it comes, and return it."""
    pieces: list[str] = []
    for piece in asked.stream(row):
        pieces.append(piece)
        print(piece, end="", flush=True)
    print()
    return "".join(pieces)


def warn_of_tasks(model: Located, tasks: Iterable[str]) -> None:
    """Say where a model is asked for what it was never scored on."""
    if not model.tasks:
        return
    for task in sorted({*tasks} - {*model.tasks}):
        known = ", ".join(sorted(model.tasks))
        print(
            f"wordmill: {model.name} was never scored on '{task}' (only on {known}): do not rely"
            " on what it says",
            file=sys.stderr,
        )


def with_changes(model: Located, changes: dict[str, Any], *, num_sequences: int = 1) -> Located:
    """The model with another decoding.

    Drawing takes the place of beams and beams that of drawing, where the changes name one of them.

    Raises:
        ParamsError: the changes do not go together.
    """
    own, changed = model.settings["decoding"], dict(changes)
    if changes.get("temperature", 0) > 0:
        changed.setdefault("num_beams", 1)
    if changes.get("num_beams", 1) > 1 and own.get("temperature", 0) > 0:
        changed.setdefault("temperature", 0.0)
    decoding = {**own, **changed}
    temperature, num_beams = decoding.get("temperature", 0.0), decoding["num_beams"]
    idle = [name for name in _DRAWING if name in changes]
    if idle and temperature == 0:
        raise ParamsError(
            f"{OPTIONS[idle[0]]}: {model.name} takes the best token each time; give"
            " --temperature above 0 as well"
        )
    if "length_penalty" in changes and num_beams == 1:
        raise ParamsError(
            f"{OPTIONS['length_penalty']}: {model.name} follows no beams; give --beams above 1"
            " as well"
        )
    if num_sequences > 1 and temperature == 0 and num_beams < num_sequences:
        raise ParamsError(
            f"--sequences {num_sequences}: the best token each time gives one answer; give"
            f" --temperature above 0, or --beams of {num_sequences} at least"
        )
    return model._replace(settings={**model.settings, "decoding": decoding})


def check_changes(params: Params, changes: dict[str, Any]) -> None:
    """See that decoding values are in their ranges, before anything is loaded.

    Raises:
        ParamsError: one is not.
    """
    if changes.get("temperature", 0) > 0 and changes.get("num_beams", 1) > 1:
        raise ParamsError("--temperature above 0 draws tokens, --beams above 1 does not; give one")
    whole = {**params.evaluate.decoding.model_dump(), "temperature": 0.0, "num_beams": 1}
    try:
        DecodingParams.model_validate({**whole, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        rule = first["msg"].replace("Input should", "must").replace("String should", "must")
        name = str(first["loc"][0])
        option = OPTIONS.get(name, f"decoding.{name}")  # a worker may be told of any
        raise ParamsError(f"{option} {first['input']!r}: {rule}") from None
