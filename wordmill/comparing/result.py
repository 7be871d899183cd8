"""A result as the evaluate stage left it: its record, its predictions, and where it comes from."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordmill.errors import DataError
from wordmill.metrics.pairs import is_mostly_han, pair_statistics
from wordmill.metrics.score import Statistics
from wordmill.report.measures import OURS
from wordmill.report.record import Curve, Record, Scored
from wordmill.report.run_story import flat
from wordmill.tasks import Task

Key = tuple[str, str, str, str]
"""id, source, what is asked, and what is wanted: an example, whoever answers it."""

_DOCUMENTS_SYSTEM = "pretrained"
_AGREES = 1e-6
# Of the identity, what differs between any two runs, or is told better elsewhere.
_NO_ORIGIN = ("params", "data and models", "MLflow run")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One evaluation."""

    name: str
    record: Record
    answers: dict[str, dict[Key, str]]
    """task -> example -> what this run's model answered."""
    params: dict[str, str]
    """Dotted key -> value in words; empty where they were not kept."""
    data: dict[str, str]
    """`ingest`, `clean`, `tokenize` -> DVC's hash of it; empty where it is not known."""
    origin: dict[str, str]
    """Commit, code, packages and the like."""
    curves: list[Curve] = field(default_factory=list[Curve])

    @property
    def kinds(self) -> list[str]:
        """`documents` and the tasks that were scored."""
        return [*(["documents"] if self.record["documents"] else []), *self.record["pairs"]]

    def scored(self, kind: str) -> Scored:
        """The scores of a kind, by system."""
        return self.record["documents"] if kind == "documents" else self.record["pairs"][kind]

    def system(self, kind: str) -> str:
        """Whose scores a kind is told by: this run's model."""
        if kind == "documents" and _DOCUMENTS_SYSTEM in self.record["documents"]:
            return _DOCUMENTS_SYSTEM
        return OURS

    def scores(self, kind: str) -> dict[str, dict[str, Any]]:
        """By metric, each score of this run's model; empty where the kind was not scored."""
        if kind not in self.kinds:
            return {}
        return self.scored(kind).get(self.system(kind), {})


def read_result(folder: Path, *, name: str, data: dict[str, str] | None = None) -> Result:
    """Read what evaluate left.

    Args:
        folder: with scores.json; predictions.jsonl and surroundings.json may be missing.
        name: as a person calls it.
        data: hashes of the stages that made its data, where they are known.

    Raises:
        DataError: it holds no result.
    """
    record: Record = _json(folder / "scores.json", name)
    around_file = folder / "surroundings.json"
    around = _json(around_file, name) if around_file.exists() else {}
    return Result(
        name=name,
        record=record,
        answers=_answers(folder / "predictions.jsonl", name),
        params=dict(flat(around.get("params", {}))),
        data=data or {},
        origin={k: v for k, v in around.get("identity", {}).items() if k not in _NO_ORIGIN},
        curves=around.get("curves", []),
    )


def statistics_of(result: Result, kind: str, keys: list[Key]) -> dict[str, Statistics]:
    """What each score of a task is made of, from its answers; those that agree with the record.

    The files do not keep each text's language, which decides how Chinese is scored: both ways of
    guessing it are tried, and a guess that does not give the recorded score is not used.

    Args:
        result: with answers.
        kind: a task.
        keys: its examples, in order.
    """
    said, wanted = [result.answers[kind][key] for key in keys], [key[3] for key in keys]
    recorded, found = result.scores(kind), dict[str, Statistics]()
    task: Task = kind  # pyright: ignore[reportAssignmentType]
    for languages in (None, [_language(text) for text in wanted]):
        guessed = pair_statistics(task, said, wanted, languages=languages)
        known = {name: one for name, one in guessed.items() if name in recorded}
        found |= {n: one for n, one in known.items() if n not in found and _is(recorded[n], one)}
        if found.keys() == known.keys():
            break
    return found


def _is(score: dict[str, Any], one: Statistics) -> bool:
    """Whether these statistics give a recorded score."""
    nearness = _AGREES * max(1.0, abs(score["value"]))
    return score["signature"] == one.signature and abs(one.value() - score["value"]) <= nearness


def _language(text: str) -> str:
    return "zh" if is_mostly_han([text]) else "en"


def _answers(file: Path, name: str) -> dict[str, dict[Key, str]]:
    if not file.exists():
        return {}
    found: dict[str, dict[Key, str]] = {}
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if row["system"] == OURS:
                    key = (row["id"], row["source"], row["ask"], row["target"])
                    found.setdefault(row["task"], {})[key] = row["prediction"]
            except (json.JSONDecodeError, KeyError, TypeError):
                raise DataError(f"{name}: {file}:{number}: not an answer") from None
    return found


def _json(file: Path, name: str) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{name}: {file}: no such file; the evaluate stage writes it") from None
    except json.JSONDecodeError:
        raise DataError(f"{name}: {file}: not JSON") from None
