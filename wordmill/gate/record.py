"""What the gate leaves: its verdict, and the evaluation's record with the champion in it."""

from pathlib import Path

from wordmill.evaluation.comparison import DocumentPart, TaskPart
from wordmill.files import write_json
from wordmill.gate.contest import Outcome
from wordmill.gate.evidence import CHAMPION
from wordmill.gate.verdict import Verdict
from wordmill.report.page import page
from wordmill.report.record import Difference, Example, Record, Scored, Slice
from wordmill.report.surroundings import Surroundings


def write_verdict(
    folder: Path, verdict: Verdict, record: Record, surroundings: Surroundings
) -> None:
    """Write a verdict, what it stands on, and the page that shows both.

    Args:
        folder: gets verdict.json, scores.json and report.html.
        verdict: of the gate.
        record: of the challenger's evaluation, with the champion where it was scored beside.
        surroundings: of that evaluation.
    """
    write_json(folder / "verdict.json", verdict)
    write_json(folder / "scores.json", record)
    html = page(record, surroundings, gate=verdict)
    (folder / "report.html").write_text(html, encoding="utf-8")


def beside_champion(record: Record, outcome: Outcome, said: dict[tuple[str, str], str]) -> Record:
    """The record, with the scores of one job for challenger and champion in it.

    Args:
        record: of the challenger's evaluation.
        outcome: of the contest.
        said: (task, id) -> what the champion answered.
    """
    tasks: dict[str, TaskPart] = dict(outcome.tasks.items())
    parts: list[DocumentPart | TaskPart] = [outcome.documents, *tasks.values()]
    return {
        **record,
        "documents": _scored(record["documents"], outcome.documents.scores),
        "pairs": {
            task: _scored(scores, tasks[task].scores) if task in tasks else scores
            for task, scores in record["pairs"].items()
        },
        "slices": _sliced(record["slices"], [one for part in parts for one in part.slices]),
        "differences": _differing(
            record["differences"], [one for part in parts for one in part.differences]
        ),
        "examples": [_answered(example, said) for example in record["examples"]],
    }


def _scored(known: Scored, found: Scored) -> Scored:
    return {**known, **{name: known.get(name, {}) | scores for name, scores in found.items()}}


def _sliced(known: list[Slice], found: list[Slice]) -> list[Slice]:
    scores = {(one["kind"], one["by"], one["name"]): one["scores"] for one in found}
    return [
        {**one, "scores": one["scores"] | scores.get((one["kind"], one["by"], one["name"]), {})}
        for one in known
    ]


def _differing(known: list[Difference], found: list[Difference]) -> list[Difference]:
    return [*known, *(one for one in found if CHAMPION in (one["a"], one["b"]))]


def _answered(example: Example, said: dict[tuple[str, str], str]) -> Example:
    answer = said.get((example["task"], example["id"]))
    if answer is None:
        return example
    return {**example, "predictions": {**example["predictions"], CHAMPION: answer}}
