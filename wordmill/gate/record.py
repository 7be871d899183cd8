"""The record of an evaluation with the champion beside the systems that it compares."""

from wordmill.evaluation.comparison import DocumentPart, TaskPart
from wordmill.gate.contest import Outcome
from wordmill.gate.evidence import CHAMPION
from wordmill.report.record import Difference, Example, Record, Scored, Slice


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
