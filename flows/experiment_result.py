"""What is remembered of an experiment's result: its figures, and how its trainings went."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.experiment_record import Point
from wordmill.report.measures import OURS

_DOCUMENTS_SYSTEM = "pretrained"  # documents are told of it, tasks of the finetuned model


def primary_scores(record: Any) -> dict[str, dict[str, Any]]:
    """The score that stands for each kind, of this run's model."""
    found: dict[str, dict[str, Any]] = {}
    for kind, system, scored in _own(record):
        metric = record["primary"][kind]
        if metric in scored:
            found[kind] = {"metric": metric, "system": system, **scored[metric]}
    return found


def figures(record: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """All that is scored of this run's model."""
    return {
        kind: {m: {"value": s["value"], "signature": s["signature"]} for m, s in scored.items()}
        for kind, _, scored in _own(record)
    }


def _own(record: Any) -> Iterator[tuple[str, str, dict[str, dict[str, Any]]]]:
    """Each kind with the system that it is told of, and that system's scores."""
    for kind, systems in {"documents": record["documents"], **record["pairs"]}.items():
        system = OURS
        if kind == "documents" and _DOCUMENTS_SYSTEM in systems:
            system = _DOCUMENTS_SYSTEM
        yield kind, system, systems.get(system, {})


def _number(text: str) -> float | None:
    return float(text) if text else None


def validations(stage: str) -> list[Point]:
    """The validation curve of a stage that trains, as it left it."""
    file = Path("data") / stage / "validation.csv"
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            (int(row["step"]), float(row["loss"]), _number(row["bits_per_byte"]))
            for row in csv.DictReader(lines)
        ]
