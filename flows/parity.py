"""Whether a version answers as the stage's model did.

The requests and the answers wanted are stored with the version: data/evaluate may be of another
one by the time somebody promotes by hand. One test takes as long as loading the model, some 10 s.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

from flows.registry import Registry
from flows.version_files import check_files, fetched
from wordmill.errors import DataError

PARITY = "parity.json"
MODEL_FOLDER = Path("data/finetune/model")

_PREDICTIONS = Path("data/evaluate/predictions.jsonl")
_SYSTEM = "finetuned"
_PROGRAM = Path(__file__).with_name("answers.py")
_NUM_ROWS = 8
# The rest may differ: rows decoded in other company round otherwise, and a near tie tips over.
_MIN_AS_SCORED = 0.5


class Parity(TypedDict):
    """What is asked of a version and what it has to say."""

    rows: list[dict[str, str]]
    """`task`, `source`, `ask`"""
    answers: list[str]


def check_version(registry: Registry, number: str) -> None:
    """See that a version is what was registered and answers as it did then, as a server loads it.

    Raises:
        DataError: it is damaged, can't be loaded, or answers otherwise.
    """
    with fetched(registry, number) as folder:
        check_files(registry, number, folder)
        parity: Parity = json.loads((folder / PARITY).read_text(encoding="utf-8"))
    found = answers_of(f"models:/{registry.name}/{number}", parity["rows"])
    if differing := _differing(found, parity["answers"]):
        raise DataError(
            f"version {number} of {registry.name} can't be champion: {len(differing)} of"
            f" {len(found)} answers differ from the stage's model, row {differing[0]} first"
        )


def stage_parity(settings: dict[str, Any]) -> Parity:
    """A few held-out requests, and what the stage's model answers here.

    Args:
        settings: of the engine, as they are stored with the version.

    Raises:
        DataError: the model does not load, or is not the one that was scored.
    """
    lines = _PREDICTIONS.read_text(encoding="utf-8").splitlines()
    scored = _spread([row for row in map(json.loads, lines) if row["system"] == _SYSTEM])
    rows = [{name: row[name] for name in ("task", "source", "ask")} for row in scored]
    answers = answers_of(str(MODEL_FOLDER), rows, settings=settings)
    differing = _differing(answers, [row["prediction"] for row in scored])
    if len(differing) > (1 - _MIN_AS_SCORED) * len(rows):
        raise DataError(
            f"{MODEL_FOLDER}: {len(differing)} of {len(rows)} answers are not those of"
            f" {_PREDICTIONS}, row {differing[0]} first; was another model scored?"
        )
    return {"rows": rows, "answers": answers}


def answers_of(
    which: str, rows: list[dict[str, str]], *, settings: dict[str, Any] | None = None
) -> list[str]:
    """Ask a version or a folder, in a process of its own.

    Args:
        which: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or a folder.
        rows: each with `task`, `source` and perhaps `ask`.
        settings: of a folder's engine.

    Raises:
        DataError: it can't be loaded or does not answer.
    """
    is_version = which.startswith("models:/")
    done = subprocess.run(
        [sys.executable, "-P", str(_PROGRAM), which],
        input=json.dumps({"rows": rows, "settings": settings}),
        cwd="/" if is_version else None,  # a version brings its own code
        env=dict(os.environ) if is_version else {**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"{which} does not answer: {last}")
    return json.loads(done.stdout.splitlines()[-1])["answers"]


def _spread(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """A few rows, of every task in turn."""
    places: dict[str, int] = {}
    ranked: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        place = places[row["task"]] = places.get(row["task"], -1) + 1
        ranked.append((place, number))
    return [rows[number] for _, number in sorted(ranked)[:_NUM_ROWS]]


def _differing(found: list[str], wanted: list[str]) -> list[int]:
    pairs = zip(found, wanted, strict=True)
    return [row for row, (a, b) in enumerate(pairs) if a != b]
