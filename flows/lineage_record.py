"""The one record of where a version comes from: lineage.json, plain values.

It is put together when a version is registered, from what is still at hand then: git, dvc.lock,
what the stages wrote, MLflow's runs and this machine. Nothing in it is looked up later.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from flows import dag
from flows.git_state import Code, code_state
from flows.hashes import Manifest
from flows.lineage_files import Made, changed_since, folder_files, stages_made
from flows.machine import Machine, Software, machine, software
from wordmill.files import sha256_of
from wordmill.params.everything import Params

FORM = 1
"""Of the record: another number is another form."""

_MODEL = Path("data/finetune/model")
_INGEST, _EVALUATION = Path("data/ingest"), Path("data/evaluate")
_TIMES = Path("data/ingest.times.json")
_SCORED = ("identity", "primary", "num_documents", "num_pairs", "documents", "pairs")
_MOST_PARTS = 1_000


class Run(TypedDict):
    """The MLflow run that made a stage's output."""

    id: str
    is_reused: bool
    """Whether an earlier flow made it."""
    seconds: float | None
    """None where the store does not tell."""


class Source(TypedDict):
    """A part of a source of data."""

    name: str
    kind: str
    address: str
    hash: str
    """MD5 of a file, or what an outside source calls its version."""
    size: int | None
    read: str
    """When it was read, UTC; empty where that was not kept."""
    modified: str
    """When its file last changed, UTC; empty for what is no local file."""


class Cost(TypedDict):
    """What training and answering took."""

    training: list[dict[str, Any]]
    """cost.json of each stage: `stage`, `seconds`, `tokens`, `device`, `joules`."""
    generation: list[dict[str, Any]]
    """`system`, `tokens`, `seconds`."""


class Lineage(TypedDict):
    """Where a version comes from."""

    form: int
    model: str
    """The registered model's name."""
    made_at: str
    """ISO 8601, UTC."""
    git: Code
    changed_since: list[str]
    """What stages read and what was changed before the version was registered."""
    stages: dict[str, Made]
    folders: dict[str, Manifest]
    """Files of each folder in `stages`: the folder's hash -> path -> MD5."""
    params: dict[str, Any]
    seeds: dict[str, int]
    """Dotted key of params.yaml -> seed."""
    sources: list[Source]
    outside: dict[str, str]
    """Sources that DVC can't see, and their state."""
    tokenizer: str
    """The fingerprint."""
    weights: str
    """SHA-256 of the model's weights."""
    files: dict[str, str]
    """SHA-256 of every file of the version, by path."""
    software: Software
    machine: Machine
    mlflow_run: str
    """Of the pipeline."""
    runs: dict[str, Run]
    """By stage."""
    flow_run: str
    """Prefect's; empty for a run without one."""
    scores: dict[str, Any]
    """Of data/evaluate/scores.json: the scores and what they stand on."""
    cost: Cost


def lineage(
    *,
    run_id: str,
    params: Params,
    tags: dict[str, str],
    runs: dict[str, Run],
    files: dict[str, str],
) -> Lineage:
    """Put the record of a version together; the current folder is the project's root.

    Args:
        run_id: of the pipeline.
        params: that it was made with.
        tags: of the version; `prefect.flow_run` is read.
        runs: that made its stages' outputs.
        files: SHA-256 of each file that is registered.
    """
    stages = stages_made(dag.stages_in_order())
    values = params.model_dump(mode="json")
    ingested, scored = _json(_INGEST / "sources.json"), _json(_EVALUATION / "scores.json")
    return Lineage(
        form=FORM,
        model=params.registry.name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git=code_state(is_diff_kept=params.registry.is_diff_kept),
        changed_since=changed_since(stages),
        stages=stages,
        folders=folder_files(stages),
        params=values,
        seeds=dict(_seeds(values)),
        sources=list(_sources(ingested, root=Path(params.ingest.root))),
        outside=ingested.get("outside", {}),
        tokenizer=tokenizer_of(scored),
        weights=weights_of(_MODEL),
        files=files,
        software=software(),
        machine=machine(),
        mlflow_run=run_id,
        runs=runs,
        flow_run=tags.get("prefect.flow_run", ""),
        scores={name: scored[name] for name in _SCORED if name in scored},
        cost=_cost(stages),
    )


def identity_tags() -> dict[str, str]:
    """What one searches a version by beside commit and hashes: its tokenizer and its weights."""
    tokenizer = tokenizer_of(_json(_EVALUATION / "scores.json"))
    found = {"wordmill.tokenizer": tokenizer, "wordmill.weights": weights_of(_MODEL)}
    return {name: value for name, value in found.items() if value}


def weights_of(folder: Path) -> str:
    """SHA-256 of a model folder's weights; empty where it has none."""
    weights = folder / "model.safetensors"
    return sha256_of(weights) if weights.is_file() else ""


def tokenizer_of(scored: dict[str, Any]) -> str:
    """The tokenizer's fingerprint in a record of scores; empty where there is none."""
    return str(scored.get("identity", {}).get("tokenizer", ""))


def _seeds(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, int]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _seeds(value, f"{before}{key}.")
        elif key == "seed":
            yield f"{before}{key}", value


def _sources(ingested: dict[str, Any], *, root: Path) -> Iterator[Source]:
    times = {one["address"]: one["read"] for one in _json(_TIMES, otherwise=[])}
    parts = [(one, part) for one in ingested.get("sources", []) for part in one["parts"]]
    for source, part in parts[:_MOST_PARTS]:
        yield Source(
            name=source["name"],
            kind=source["kind"],
            address=part["address"],
            hash=str(part.get("hash") or part.get("version") or ""),
            size=part["size"],
            read=times.get(part["address"], ""),
            modified=_modified(root / part["address"]),
        )


def _modified(file: Path) -> str:
    if not file.is_file():
        return ""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _cost(stages: dict[str, Made]) -> Cost:
    files = [Path(out) / "cost.json" for made in stages.values() for out in made["outs"]]
    around = _json(_EVALUATION / "surroundings.json")
    training = [_json(file) for file in files if file.exists()]
    return Cost(training=training, generation=around.get("generation", []))


def _json(file: Path, *, otherwise: Any = None) -> Any:
    """What a stage wrote; nothing where it was made without that file."""
    if not file.exists():
        return {} if otherwise is None else otherwise
    return json.loads(file.read_text(encoding="utf-8"))
