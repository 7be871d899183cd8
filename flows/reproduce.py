"""`wordmill reproduce`: make a version again from its commit and its data, and compare the two.

Everything happens in one fresh folder, with the code of the commit and the packages of now. No
stage can pass from a cache: there is none (flows/rerun.py).
"""

import os
import re
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flows.fresh_copy import bring, check_out, outside_now
from flows.group import group
from flows.lineage_command import dvc_objects
from flows.lineage_find import Versions
from flows.lineage_record import Lineage
from flows.lineage_store import version_files
from flows.registry import opened
from flows.reproduced import Difference, Then, not_as_then
from flows.tracking import answering
from flows.workspace import STATE, only_one
from wordmill.errors import DataError, ParamsError, WordmillError

_PLACE = STATE / "reproduce"
_NO_CACHE = "no-cache"
_OURS = ("MLFLOW_", "DVC_", "WORDMILL_")
_MOST_NAMED = 5
_THREADS = re.compile(r"(\d+) threads?$")


def reproduce(asked: str, *, model: str, keep: Path | None) -> int:
    """Make a version again and say whether it is the same; returns the exit status.

    Args:
        asked: the version, by anything that it is known by.
        model: the registered model's name.
        keep: where to make it, and leave it.

    Raises:
        ParamsError: the version, or the code it was made with, is not known.
        DataError: it can't be made again, or a stage fails.
        TryAgainError: MLflow does not answer, or another reproduction is at work.
    """
    with answering(asked):
        versions = Versions(opened(model))
        version = versions.find(asked).versions[0]
        record = versions.record(version)
        name = f"version {version.version} of {model}"
        if record is None:
            raise ParamsError(f"{name} has no lineage.json: an older wordmill registered it")
        with version_files(versions.client, version) as registered, _place(keep) as place:
            then = Then(record, cache=dvc_objects(), registered=registered)
            return _made_again(name, record, then, place)


def _made_again(name: str, record: Lineage, then: Then, place: Path) -> int:
    started_at = time.monotonic()
    try:
        project = check_out(record, place)
        print(f"code: commit {record['git']['commit']}{_patched(record)}", flush=True)
        brought = bring(record, project, cache=dvc_objects())
        print(f"data: {len(brought)} file(s) brought, each by its hash", flush=True)
        _check_outside(record)
    except WordmillError as error:
        error.args = (f"{name} can't be made again: {error}",)
        raise
    _forget_cache(project)
    found = _stages(record, then, project)
    seconds = time.monotonic() - started_at
    if not found:
        print(f"identical: weights, losses and predictions are those of {name} ({seconds:.0f} s)")
        return 0
    print(f"different: {name} is not made again ({seconds:.0f} s); first {found[0]}")
    for line in _explained(record):
        print(f"  {line}")
    return DataError.exit_status


def _stages(record: Lineage, then: Then, project: Path) -> list[Difference]:
    """Run every stage, compare what it made, and go on: a last bit may not matter later."""
    found: list[Difference] = []
    for number, stage in enumerate(record["stages"], start=1):
        print(f"{stage} ({number} of {len(record['stages'])})", flush=True)
        _run(record, project, stage)
        differences = then.differences(stage, project)
        found += differences
        for difference in differences[:_MOST_NAMED]:
            print(f"{stage} differs: {difference}", flush=True)
        if (more := len(differences) - _MOST_NAMED) > 0:
            print(f"{stage} differs in {more} more file(s)", flush=True)
        if not differences:
            print(f"{stage} identical", flush=True)
    return found


def _run(record: Lineage, project: Path, stage: str) -> None:
    command = [sys.executable, "-m", "flows.rerun", str(project.resolve()), stage]
    with group(command, environment=_environment(record, project, stage)) as child:
        status = child.wait()
    if status:
        raise DataError(f"{stage} fails when it is made again, with status {status}; see above")


def _environment(record: Lineage, project: Path, stage: str) -> dict[str, str]:
    """What stages see: the copy's code, the threads and devices of then, and no server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    wanted = {
        "PYTHONPATH": str(project.resolve()),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads_of(record, stage)),
        "DVC_SITE_CACHE_DIR": str(project.resolve() / ".dvc/tmp/site"),
    }
    if not record["machine"]["gpus"]:
        wanted["CUDA_VISIBLE_DEVICES"] = ""
    return {**kept, **wanted}


def threads_of(record: Lineage, stage: str) -> int:
    """The threads that a stage computed with: another number moves the last bits of a sum."""
    for cost in record["cost"]["training"]:
        told = _THREADS.search(cost["device"])
        if cost["stage"] == stage and told:  # a reused stage may have run on another machine
            return int(told[1])
    return record["machine"]["threads"]


@contextmanager
def _place(keep: Path | None) -> Generator[Path]:
    """A folder for the fresh copy: the user's, which stays, or one of ours, which goes."""
    if keep is not None:
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise ParamsError(f"--keep {keep}: is not empty; name a folder that is not there")
        yield keep
        return
    with only_one("reproduce", otherwise="another reproduction is at work in this project"):
        shutil.rmtree(_PLACE, ignore_errors=True)  # what a kill has left
        try:
            yield _PLACE
        finally:
            shutil.rmtree(_PLACE, ignore_errors=True)


def _forget_cache(project: Path) -> None:
    """An empty cache, of no one else: whatever the commit or the user has set."""
    place = project.resolve() / ".dvc/tmp" / _NO_CACHE
    place.mkdir(parents=True)
    (project / ".dvc/config.local").write_text(f"[cache]\n    dir = {place}\n", encoding="utf-8")


def _check_outside(record: Lineage) -> None:
    now = outside_now(record) if record["outside"] else {}
    for name, state in record["outside"].items():
        if name in now and now[name] != state:
            raise DataError(f"the source {name} was {state} and is {now[name]}")


def _patched(record: Lineage) -> str:
    patch = record["git"]["patch"]
    return f" and the patch of {patch['num_bytes']:,} bytes" if patch else ""


def _explained(record: Lineage) -> list[str]:
    moved = not_as_then(record)
    if not moved:
        return ["packages, Python, processor and threads are those of then"]
    more = [f"and {len(moved) - _MOST_NAMED} more"] if len(moved) > _MOST_NAMED else []
    return ["not as it was then:", *(f"  {line}" for line in moved[:_MOST_NAMED] + more)]
