"""Which MLflow runs and logged models are needed, and by whom: words about what was read, no more.

A run of another folder or machine is never freed, and holds what it names: its branches are not
known here.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mlflow.entities import Run
from mlflow.entities.logged_model import LoggedModel
from mlflow.entities.model_registry import ModelVersion

YOUNG = "young"

_AT_WORK = ("RUNNING", "SCHEDULED")
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
_WORKSPACE, _OUTPUT, _STAGE = "wordmill.workspace", "wordmill.output", "wordmill.stage"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What is known of what runs are needed for."""

    roots: dict[str, str]
    """Runs that a version or an experiment names -> its name."""
    grids: frozenset[str]
    """Runs of the grids and experiments of this folder."""
    resumed: frozenset[str]
    """Runs that a checkpoint goes on with."""
    hashes: frozenset[str]
    """All that a dvc.lock, a version or an experiment names."""
    folder: str
    """This one, as runs name it."""
    newest_ms: int
    """What ended after this moment is young."""


def held_runs(runs: dict[str, Run], needs: Needs) -> dict[str, str]:
    """By whose word each run stays that does; the others are needed by nobody."""
    held = dict(_linked(runs, {i: who for i, who in needs.roots.items() if i in runs}))
    foreign = {i: "runs of other folders" for i, run in runs.items() if not is_ours(run, needs)}
    for run_id, who in _linked(runs, foreign):
        held.setdefault(run_id, who)
    for run_id, run in runs.items():
        if run_id not in held and (why := _why_held(run, needs)):
            held[run_id] = why
    return held


def is_ours(run: Run, needs: Needs) -> bool:
    """Whether a run was begun in this folder or in one of its experiments' workspaces."""
    place = run.data.tags.get(_WORKSPACE)
    if place is None:
        return run.info.run_id in needs.grids
    return place == needs.folder or place.startswith(f"{needs.folder}/.wordmill/experiments/")


def held_models(
    models: Iterable[LoggedModel], versions: Iterable[ModelVersion], *, newest_ms: int
) -> dict[str, str]:
    """By whose word each logged model stays that does."""
    named = {name: one for one in versions for name in models_of(one)}
    held: dict[str, str] = {}
    for model in models:
        if version := named.get(model.model_id):
            held[model.model_id] = f"version {version.version} of {version.name}"
        elif model.last_updated_timestamp > newest_ms:
            held[model.model_id] = YOUNG
    return held


def models_of(version: ModelVersion) -> set[str]:
    """The logged models that a version names in any way."""
    return set(_MODEL_ID.findall(f"{version.model_id} {version.source}"))


def runs_of_version(version: ModelVersion) -> set[str]:
    """The runs that a version itself names, also as the place of its files."""
    without_models = _MODEL_ID.sub("", str(version.source))
    return {str(version.run_id or ""), *_HEX_ID.findall(without_models)} - {""}


def hashes_of_run(run: Run) -> set[str]:
    """DVC's hashes of what a run made, or stands on."""
    tags = run.data.tags
    found = {value for name, value in tags.items() if name.startswith("dvc.")}
    return found | {tags[_OUTPUT]} if _OUTPUT in tags else found


def made_by(runs: Iterable[Run]) -> dict[str, str]:
    """What is known of who made an output: a few words by its hash."""
    found: dict[str, str] = {}
    for run in runs:
        tags, run_id = run.data.tags, run.info.run_id[:8]
        for name, value in tags.items():
            if name.startswith("dvc."):
                found.setdefault(value, f"{name.removeprefix('dvc.')} of run {run_id}")
        if _OUTPUT in tags:
            found[tags[_OUTPUT]] = f"{tags.get(_STAGE, 'an output')} of run {run_id}"
    return found


def _linked(runs: dict[str, Run], begun: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Some runs and those whose outputs they stand on."""
    for run_id, who in begun.items():
        yield run_id, who
        for name, value in runs[run_id].data.tags.items():
            if name.startswith(("made.", "reused.")) and value in runs:
                yield value, who


def _why_held(run: Run, needs: Needs) -> str:
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("a checkpoint that is kept", lambda: run.info.run_id in needs.resumed),
        ("at work", lambda: run.info.status in _AT_WORK),
        ("what a dvc.lock, a version or an experiment names", lambda: _is_named(run, needs)),
        (YOUNG, lambda: (run.info.end_time or run.info.start_time) > needs.newest_ms),
    )
    return next((why for why, holds in rules if holds()), "")


def _is_named(run: Run, needs: Needs) -> bool:
    """Whether all that it made is still named; what was deleted in MLflow is not asked."""
    if run.info.lifecycle_stage == "deleted":
        return False
    found = hashes_of_run(run)
    return bool(found) and found <= needs.hashes
