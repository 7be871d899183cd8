"""What is remembered of each experiment of a grid: one small file that outlives its workspace."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from wordmill.files import replaced_file, write_json

Point = tuple[int, float, float | None]
"""Step, validation loss, bits per byte where they mean something."""

Status = Literal["begun", "done", "failed", "pruned"]


@dataclass(kw_only=True)
class Remembered:
    """One experiment."""

    name: str
    """As DVC and `wordmill compare` know it."""
    grid: str
    key: str
    changes: dict[str, Any]
    """Dotted key -> value, of the grid's axes."""
    status: Status = "begun"
    seconds: float = 0.0
    """Over all its starts."""
    stages: dict[str, str] = field(default_factory=dict[str, str])
    """Stage -> `ran`, `restored` or `reused`, in the order they were done."""
    run_id: str | None = None
    """Of MLflow."""
    evaluation: str | None = None
    """DVC's hash of data/evaluate."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """`documents` or a task -> its primary `metric` of this run's model, `value`, `low`, `high`."""
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    """Stage -> DVC's hash of what it made."""
    curves: dict[str, list[Point]] = field(default_factory=dict[str, list[Point]])
    """Stage -> its validations, of stages that train."""
    figures: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=dict[str, dict[str, dict[str, Any]]]
    )
    """`documents` or a task -> metric of this run's model -> `value` and `signature`."""
    sets: dict[str, str] = field(default_factory=dict[str, str])
    """`documents` or a task -> what its held-out examples are known by."""
    message: str = ""
    """Why it failed, or was ended."""
    exit_status: int = 0


def remember(file: Path, one: Remembered) -> None:
    """Write it, whole."""
    with replaced_file(file) as partial:
        write_json(partial, asdict(one))


def recall(file: Path) -> Remembered | None:
    """What was written, None if nothing was."""
    if not file.exists():
        return None
    found = Remembered(**json.loads(file.read_text(encoding="utf-8")))
    # JSON knows no tuples.
    found.curves = {stage: [(p[0], p[1], p[2]) for p in c] for stage, c in found.curves.items()}
    return found


def recall_all(folder: Path) -> list[Remembered]:
    """Every experiment below a folder, by name."""
    found = [recall(file) for file in sorted(folder.rglob("*.experiment.json"))]
    return sorted((one for one in found if one is not None), key=lambda one: one.name)
