"""Artifacts in MLflow that nothing names: of runs, and of models that were never registered.

Metrics, params and tags stay: they are history, and small. A run says by a tag when its artifacts
went. What runs of another folder or machine have is left alone.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.logged_model import LoggedModel

from flows.gc_found import Held, Loose, Part, bytes_of
from flows.gc_needed import Needed
from flows.gc_runs import YOUNG, Needs, held_models, held_runs, is_ours
from flows.tracking import answering, workspace_tag
from wordmill.errors import WordmillError

FREED_TAG = "wordmill.freed"
_UNNAMED = "no version, experiment or dvc.lock names it"


def mlflow_part(needed: Needed, *, resumed: set[str], newest: float) -> Part:
    """What of MLflow's artifacts nothing names.

    Args:
        needed: by others.
        resumed: runs that a checkpoint goes on with.
        newest: what ended after this moment is young, and stays.
    """
    part = Part(kind="MLflow's artifacts")
    if needed.error:
        part.end(needed.error)
        return part
    if needed.store.client is None:
        return part
    newest_ms = int(newest * 1000)
    needs = Needs(
        roots=needed.runs,
        grids=frozenset(needed.grids),
        resumed=frozenset(resumed),
        hashes=frozenset(needed.all_hashes()),
        folder=workspace_tag(),
        newest_ms=newest_ms,
    )
    try:
        with answering():
            _find(part, needed, needs)
    except WordmillError as error:
        part.end(error)
    return part


def _find(part: Part, needed: Needed, needs: Needs) -> None:
    store = needed.store
    assert store.client is not None
    held = held_runs(store.runs, needs)
    part.held = list(_counted(held, what="runs"))
    models = held_models(store.models, store.versions, newest_ms=needs.newest_ms)
    part.held += _counted(models, what="models")
    runs = [run for run in store.runs.values() if run.info.run_id not in held]
    runs = [run for run in runs if _loose_run(part, run)]
    loose_models = [
        model
        for model in store.models
        if model.model_id not in models and _is_left_behind(model, store.runs, needs)
    ]
    part.loose += map(_loose_model, loose_models)
    young = [str(run.info.artifact_uri) for i, run in store.runs.items() if held.get(i) == YOUNG]
    young += [one.artifact_location for one in store.models if models.get(one.model_id) == YOUNG]
    part.young_bytes = sum(_taken_together(place)[1] for place in young)
    client = store.client
    part.free = lambda: _free(client, runs, loose_models)


def _counted(held: dict[str, str], *, what: str) -> Iterator[Held]:
    words = list(held.values())
    for who in dict.fromkeys(words):
        yield Held(by=f"{what}: {who}", num=words.count(who))


def _is_left_behind(model: LoggedModel, runs: dict[str, Run], needs: Needs) -> bool:
    """Whether a model is of a run of ours that is over, and lies in a place of its own."""
    run = runs.get(str(model.source_run_id))
    is_over = run is not None and is_ours(run, needs) and run.info.status != "RUNNING"
    return is_over and model.model_id in model.artifact_location


def _loose_run(part: Part, run: Run) -> bool:
    """Add a run to what is loose if it has artifacts, in a place of its own."""
    place = str(run.info.artifact_uri)
    num, num_bytes = _taken_together(place)
    if not num or run.info.run_id not in place:
        return False
    is_deleted = run.info.lifecycle_stage == "deleted"
    part.loose.append(
        Loose(
            what=f"{run.info.run_name}, run {run.info.run_id[:8]}",
            why="the run is deleted in MLflow" if is_deleted else _UNNAMED,
            num_bytes=num_bytes,
            num=num,
        )
    )
    return True


def _loose_model(model: LoggedModel) -> Loose:
    num, num_bytes = _taken_together(model.artifact_location)
    return Loose(
        what=f"model {model.model_id}",
        why="no version has it: its registering was cut off, or the version deleted",
        num_bytes=num_bytes,
        num=num,
    )


def _free(client: MlflowClient, runs: list[Run], models: list[LoggedModel]) -> None:
    """Say it first, and forget a model last: a kill between leaves what the next gc finds again."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with answering():
        for run in runs:
            if run.info.lifecycle_stage == "active":
                client.set_tag(run.info.run_id, FREED_TAG, f"{now}: {_UNNAMED}")
            _delete(str(run.info.artifact_uri))
        for model in models:
            _delete(model.artifact_location)
            client.delete_logged_model(model.model_id)


def _delete(address: str) -> None:
    _repository(address).delete_artifacts()
    if folder := _folder_at(address):
        with suppress(OSError):  # the run's own, which may hold something else
            folder.parent.rmdir()


def _folder_at(address: str) -> Path | None:
    """Where artifacts lie on this machine, None where they are elsewhere."""
    parts = urlparse(address)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def _taken_together(address: str) -> tuple[int, int]:
    """How many files lie at an address, and their bytes."""
    if folder := _folder_at(address):
        return sum(one.is_file() for one in folder.rglob("*")), bytes_of(folder)
    found = list(_files(_repository(address), None))
    return len(found), sum(found)


def _files(repository: Any, path: str | None) -> Iterator[int]:
    for entry in repository.list_artifacts(path):
        if entry.is_dir:
            yield from _files(repository, entry.path)
        else:
            yield int(entry.file_size or 0)


def _repository(address: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(address)
