"""Checkpoints that no run would go on from, and what killed processes have left half-made.

A stage's checkpoints lie in a folder named after its inputs (stages/inputs.py): those of the inputs
as they stand are kept. An experiment's are kept while a workspace leads to them.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from flows.experiment_space import EXPERIMENTS
from flows.gc_found import Held, Loose, Part, bytes_of
from flows.gc_needed import Needed, is_unfinished, workspaces
from flows.workspace import STATE, BusyError, is_held, only_one
from wordmill.errors import DataError, WordmillError
from wordmill.params.section import read_params

_SCRATCH = STATE / "scratch"
_REPRODUCED = STATE / "reproduce"
_OUTPUTS = Path("data")
_RUN = "mlflow-run"
_AT_WORK = "at work"


@dataclass(frozen=True, kw_only=True)
class Left:
    """A file or folder, and the word on it."""

    path: Path
    why: str
    is_needed: bool
    lock: str = ""
    """Of whoever may be at work there; empty where the project's own is enough."""


def scratch_part(*, newest: float) -> Part:
    """Checkpoints and half-made things of the project's own runs.

    Args:
        newest: what was written after this moment is young, and stays.
    """
    return _part("checkpoints", [_checkpoints(), _half_made()], newest)


def workspaces_part(needed: Needed, *, newest: float) -> Part:
    """Workspaces and checkpoints of experiments.

    Args:
        needed: by others.
        newest: what was written after this moment is young, and stays.
    """
    return _part("experiments' workspaces", [_of_experiments(needed)], newest)


def resumed_runs(parts: list[Part]) -> set[str]:
    """The MLflow runs that checkpoints go on with, but for those that nothing needs."""
    loose = {Path(one.what) for part in parts for one in part.loose}
    files = [file for place in (_SCRATCH, EXPERIMENTS / "scratch") for file in place.rglob(_RUN)]
    return {file.read_text().strip() for file in files if not loose.intersection(file.parents)}


def _part(kind: str, sources: list[Iterator[Left]], newest: float) -> Part:
    part = Part(kind=kind)
    try:
        found = [_as_it_is(one) for source in sources for one in source]
    except WordmillError as error:
        part.end(error)
        return part
    loose = [one for one in found if not one.is_needed and _newest_in(one.path) <= newest]
    part.loose = [_loose(one) for one in loose]
    part.held = [_held(one) for one in found if one not in loose]
    young = (one for one in found if one not in loose and not one.is_needed)
    part.young_bytes = sum(bytes_of(one.path) for one in young)
    part.free = lambda: _free(part, loose)
    return part


def _as_it_is(one: Left) -> Left:
    if one.lock and is_held(STATE / "locks" / one.lock):
        return replace(one, why=_AT_WORK, is_needed=True)
    return one


def _loose(one: Left) -> Loose:
    return Loose(what=str(one.path), why=one.why, num_bytes=bytes_of(one.path))


def _held(one: Left, why: str = "") -> Held:
    why = why or (one.why if one.is_needed else "young")
    return Held(by=f"{one.path}: {why}", num=1, num_bytes=bytes_of(one.path))


def _checkpoints() -> Iterator[Left]:
    """Those of the project's own stages."""
    stages = read_params(Path("dvc.yaml"))["stages"]
    places = [one for one in _SCRATCH.glob("*/*") if one.is_dir()]
    keys = _keys(sorted({one.parent.name for one in places} & stages.keys()))
    for place in sorted(places):
        stage = place.parent.name
        gone = [dep for dep in _data_of(stages.get(stage)) if not Path(dep).exists()]
        if stage not in stages:
            yield Left(path=place, why="there is no such stage", is_needed=False, lock=stage)
        elif place.name == keys[stage]:
            yield Left(path=place, why=f"{stage} goes on from it", is_needed=True)
        elif gone:  # its key is that of nothing
            yield Left(path=place, why=f"{gone[0]} is not here to tell", is_needed=True)
        else:
            why = "checkpoints of other params, data or code"
            yield Left(path=place, why=why, is_needed=False, lock=stage)


def _data_of(stage: object) -> list[str]:
    deps = stage.get("deps", []) if isinstance(stage, dict) else []
    return [dep for dep in map(str, deps) if "${" not in dep]


def _keys(stages: list[str]) -> dict[str, str]:
    if not stages:
        return {}
    command = [sys.executable, "-m", "stages.inputs", *stages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise DataError(f"{_SCRATCH}: which checkpoints fit can't be told: {why}")
    return json.loads(done.stdout.splitlines()[-1])


def _half_made() -> Iterator[Left]:
    for path in sorted(_OUTPUTS.glob(".*.partial")):
        yield Left(path=path, why="half-written", is_needed=False, lock=_output_of(path))
    for path in sorted(_OUTPUTS.glob(".*.replaced")):
        is_alone = not (_OUTPUTS / _output_of(path)).exists()
        why = "what it was moved aside for never came" if is_alone else "half-replaced"
        yield Left(path=path, why=why, is_needed=is_alone, lock=_output_of(path))
    of_grids = (one for one in EXPERIMENTS.glob("*/.*.partial") if one.parent.name != "scratch")
    for path in sorted([*STATE.glob(".*.partial"), *of_grids]):
        yield Left(path=path, why="half-written", is_needed=False)
    if _REPRODUCED.exists():
        why = "a reproduction that was cut off"
        yield Left(path=_REPRODUCED, why=why, is_needed=False, lock="reproduce")


def _output_of(path: Path) -> str:
    return path.stem.removeprefix(".")


def _of_experiments(needed: Needed) -> Iterator[Left]:
    for source in ("git", "experiments"):
        if source in needed.errors:
            raise needed.errors[source]
    remembered = {(one.grid, one.key): one for one in needed.experiments}
    places = workspaces()
    for place in places:
        one = remembered.get((place.parent.name, place.name))
        if one is None or is_unfinished(one):
            yield Left(path=place, why="an experiment that can go on", is_needed=True)
        elif one.status == "done" and one.name not in needed.alive:
            yield Left(path=place, why="DVC does not have this experiment", is_needed=True)
        else:
            yield Left(path=place, why=f"the experiment is {one.status}", is_needed=False)
    led_to = {own.resolve() for place in places for own in (place / _SCRATCH).glob("*")}
    is_remade = any(
        is_unfinished(one) and not (EXPERIMENTS / one.grid / one.key).exists()
        for one in needed.experiments
    )
    for place in sorted((EXPERIMENTS / "scratch").glob("*")):
        is_needed = is_remade or place.resolve() in led_to
        why = "an experiment goes on from it" if is_needed else "no workspace leads to it"
        yield Left(path=place, why=why, is_needed=is_needed)


def _newest_in(place: Path) -> float:
    found = [place, *(place.rglob("*") if place.is_dir() else [])]
    return max((one.lstat().st_mtime for one in found), default=0.0)


def _free(part: Part, loose: list[Left]) -> None:
    for one in loose:
        try:
            with ExitStack() as alone:
                if one.lock:
                    alone.enter_context(only_one(one.lock, otherwise=_AT_WORK))
                _remove(one.path)
        except BusyError:  # a stage that somebody runs by hand
            part.loose.remove(_loose(one))
            part.held.append(_held(one, _AT_WORK))


def _remove(path: Path) -> None:
    """A folder loses its name first: a kill leaves nothing that looks whole, and is found again."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith("."):
        partial = path.with_name(f".{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        path = path.rename(partial)
    shutil.rmtree(path)
