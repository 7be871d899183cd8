"""What the report shows beside the scores, read from the stages' files."""

import csv
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stages.inputs import dag_code, identity
from stages.stage import PARAMS, Stage
from wordmill.params.section import read_params
from wordmill.report.record import Curve, GenerationCost, StageCost
from wordmill.report.surroundings import Surroundings

_TRAINED = ("pretrain", "finetune", "baselines")
_PACKAGES = ("torch", "lightning", "transformers", "sacrebleu", "rouge-score", "evaluate")
_CURVES = {
    "training": {"loss": "loss"},
    "validation": {"loss": "validation_loss"},
}


def surroundings(stage: Stage, generation: list[GenerationCost]) -> Surroundings:
    """Everything but people's votes."""
    return {
        "title": "Evaluation",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": _identity(stage),
        "stages": _dag(),
        "params": read_params(PARAMS),
        "clean": _json(stage.input("clean") / "report.json"),
        "tokens": _json(stage.input("tokenize") / "report.json"),
        "curves": [curve for name in _TRAINED for curve in _curves(stage, name)],
        "training": [cost for name in _TRAINED for cost in _cost(stage, name)],
        "generation": generation,
        "votes": [],
    }


def _identity(stage: Stage) -> dict[str, str]:
    hashes = identity(stage.name)
    found = {
        "git commit": _git("rev-parse", "HEAD") or "none",
        "tree": "changed since"
        if _git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!registry")
        else "as committed",
        "params": hashes["params"],
        "data and models": hashes["data"],
        "code": dag_code(),
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    if run_id := stage.report.get("run_id"):
        found["MLflow run"] = str(run_id)
    return found


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return ""
    return done.stdout.strip()


def _dag() -> list[tuple[str, list[str]]]:
    """Each stage and those whose outputs it reads, as dvc.yaml has them."""
    stages = read_params(Path("dvc.yaml"))["stages"]
    return [
        (name, [other for other in stages if other != name and _reads(described, other)])
        for name, described in stages.items()
    ]


def _reads(described: dict[str, Any], other: str) -> bool:
    return any(Path(dep).parts[:2] == ("data", other) for dep in described["deps"])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _curves(stage: Stage, name: str) -> list[Curve]:
    found: list[Curve] = []
    for file, columns in _CURVES.items():
        path = stage.input(name) / f"{file}.csv"
        rows = _rows(path) if path.exists() else []
        for column, shown in columns.items():
            points = [(int(row["step"]), float(row[column])) for row in rows]
            if len(points) > 1:
                steps, values = map(list, zip(*points, strict=True))
                found.append({"stage": name, "name": shown, "steps": steps, "values": values})
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _cost(stage: Stage, name: str) -> list[StageCost]:
    path = stage.input(name) / "cost.json"
    return [_json(path)] if path.exists() else []
