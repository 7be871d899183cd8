"""What the evaluate stage writes: the record in every form that somebody reads."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.held_out import Sets
from stages.stage import Stage
from stages.surroundings import surroundings
from stages.tracking import StageRun
from wordmill.evaluation.answering import Answers
from wordmill.files import write_json
from wordmill.generation.engine import Labels
from wordmill.report.markdown import report
from wordmill.report.measures import is_scored
from wordmill.report.page import page
from wordmill.report.record import GenerationCost, Record
from wordmill.report.surroundings import Surroundings
from wordmill.tasks import Task

ByTask = dict[Task, dict[str, Answers]]
"""task -> system -> what it answered"""

_COLUMNS = ("id", "task", "source", "ask", "target")


def write_evaluation(
    stage: Stage,
    record: Record,
    sets: Sets,
    answers: ByTask,
    labels: Labels,
    tracked: StageRun,
) -> None:
    """Write the stage's folder, and tell MLflow.

    Args:
        stage: the stage that runs.
        record: the evaluation.
        sets: what was asked.
        answers: what was answered.
        labels: of `classify`; a served model chooses from the same ones.
        tracked: the stage's run.
    """
    around = surroundings(stage, _generation(answers))
    metrics = _values(record)
    with stage.output_folder() as folder:
        write_json(folder / "metrics.json", metrics)
        _write_primary(folder / "primary.csv", record)
        write_json(folder / "scores.json", record)
        write_json(folder / "labels.json", labels)
        write_json(folder / "surroundings.json", around)
        write_predictions(folder / "predictions.jsonl", sets, answers)
        (folder / "report.md").write_text(report(record), encoding="utf-8")
        (folder / "report.html").write_text(page(record, around), encoding="utf-8")
    speeds = {
        f"tokens_per_second/{c['system']}": c["tokens"] / c["seconds"] for c in _timed(around)
    }
    tracked.log({**dict(_flat(metrics)), **speeds}, step=0)
    for name in ("predictions.jsonl", "report.html"):
        tracked.keep(stage.output / name)
    tracked.made(stage.output)


def _generation(answers: ByTask) -> list[GenerationCost]:
    """What each system took, over all tasks."""
    found: dict[str, GenerationCost] = {}
    for systems_ in answers.values():
        for name, answer in systems_.items():
            cost = found.setdefault(name, {"system": name, "tokens": 0, "seconds": 0.0})
            cost["tokens"] += answer.num_tokens
            cost["seconds"] += answer.seconds
    return list(found.values())


def write_predictions(path: Path, sets: Sets, answers: ByTask) -> None:
    """Write a row for each system and exercise, with the prediction, as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for task, systems_ in answers.items():
            for system, found in systems_.items():
                for one, text in zip(sets.tasks[task], found.texts, strict=True):
                    asked = {name: getattr(one, name) for name in _COLUMNS}
                    row = {"system": system, **asked, "prediction": text}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_primary(path: Path, record: Record) -> None:
    """The primary score of each system with its interval, as `dvc plots` reads it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("kind", "metric", "system", "value", "low", "high"))
        for kind, scores in {"documents": record["documents"], **record["pairs"]}.items():
            metric = record["primary"][kind]
            for system, found in scores.items():
                if is_scored(found, metric):
                    ends = (f"{found[metric][end]:.4f}" for end in ("value", "low", "high"))
                    rows.writerow((kind, metric, f"{kind}: {system}", *ends))


def _timed(around: Surroundings) -> list[GenerationCost]:
    return [cost for cost in around["generation"] if cost["tokens"] and cost["seconds"]]


def _values(record: Record) -> dict[str, Any]:
    """The values alone, for tables of metrics: documents -> system -> metric, and each task."""
    return {
        kind: {
            system: {
                name: round(found[name]["value"], 4) for name in found if is_scored(found, name)
            }
            for system, found in scores.items()
        }
        for kind, scores in {"documents": record["documents"], **record["pairs"]}.items()
    }


def _flat(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for kind, systems_ in metrics.items():
        for system, found in systems_.items():
            for name, value in found.items():
                yield f"{kind}/{system}/{name}", value
