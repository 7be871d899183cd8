"""Which results are meant: experiments, revisions, runs, versions, folders or the workspace.

All but a folder and the workspace are found by DVC's hash of data/evaluate, and read from its
cache.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.experiment_record import Remembered, recall_all
from flows.experiment_space import EXPERIMENTS
from flows.servers import has_store
from flows.workspace import PARAMS
from wordmill.comparing.result import Result, read_result
from wordmill.errors import DataError, ParamsError
from wordmill.params.section import read_params

_WORKSPACE = "workspace"
_EVALUATION = Path("data/evaluate")
_DATA = ("ingest", "clean", "tokenize")
_FILES = ("scores.json", "predictions.jsonl", "surroundings.json")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MOST_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Where a result is."""

    name: str
    folder: Path | None = None
    evaluation: str | None = None
    """DVC's hash of it, where it is no folder."""
    data: dict[str, str]


def located_results(names: list[str]) -> list[Result]:
    """Find results by what people call them; a grid's name stands for all it has done.

    Raises:
        ParamsError: a name exists nowhere, or is of something without a result.
        DataError: a result is not in DVC's cache, or can't be read.
        TryAgainError: MLflow does not answer.
    """
    found: list[_Found] = []
    for name in names:
        found += [one for one in _located(name) if one.name not in {f.name for f in found}]
    cache = _cache() if any(one.folder is None for one in found) else Path()
    return [_read(one, cache) for one in found]


@contextmanager
def evaluation_of(number: str) -> Generator[Path]:
    """A copy of what the evaluate stage wrote of a version; it is gone when the block ends.

    Raises:
        ParamsError: there is no such version.
        DataError: it is not in DVC's cache, or was changed there.
        TryAgainError: MLflow does not answer.
    """
    found = _version(number)
    if found is None:
        raise ParamsError(f"version {number}: there is none")
    with _from_cache(_cache(), found) as folder:
        yield folder


def _read(one: _Found, cache: Path) -> Result:
    if one.folder is not None:
        return read_result(one.folder, name=one.name, data=one.data)
    with _from_cache(cache, one) as folder:
        return read_result(folder, name=one.name, data=one.data)


def _located(name: str) -> list[_Found]:
    if name == _WORKSPACE:
        return [_workspace()]
    if os.sep in name or name in ("", ".", "..") or (Path(name) / "scores.json").is_file():
        return [_Found(name=name, folder=Path(name), data={})]
    if grid := [one for one in recall_all(EXPERIMENTS / name) if one.status == "done"]:
        return [_remembered(one) for one in grid]
    if lock := _experiment_lock(name):
        return [_by_lock(name, lock)]
    for finder in (_version, _revision) if name.isdigit() else (_run, _revision, _version):
        if one := finder(name):
            return [one]
    raise ParamsError(f"{name}: no such result; {_what_exists()}")


def _workspace() -> _Found:
    lock = read_params(Path("dvc.lock")) if Path("dvc.lock").exists() else {}
    data = {stage: found for stage in _DATA if (found := _hash(lock, stage))}
    return _Found(name=_WORKSPACE, folder=_EVALUATION, data=data)


def _remembered(one: Remembered) -> _Found:
    """By its own memory: `dvc exp remove` may have taken the experiment, and not its results."""
    data = {stage: found for stage in _DATA if (found := one.outputs.get(stage))}
    return _Found(name=one.name, evaluation=one.evaluation, data=data)


def _by_lock(name: str, lock: dict[str, Any]) -> _Found:
    found = _hash(lock, "evaluate")
    if found is None:
        raise ParamsError(f"{name}: its dvc.lock has no evaluate stage; it was never evaluated")
    hashes = {stage: known for stage in _DATA if (known := _hash(lock, stage))}
    return _Found(name=name, evaluation=found, data=hashes)


def _hash(lock: dict[str, Any], stage: str) -> str | None:
    outs = lock.get("stages", {}).get(stage, {}).get("outs", [])
    return outs[0].get("md5") if outs else None


def _experiment_lock(name: str) -> dict[str, Any] | None:
    """dvc.lock of an experiment of DVC's, None if there is none of that name."""
    refs = _git("for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/exps")
    for ref in (refs or "").splitlines():
        if re.fullmatch(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/" + re.escape(name), ref):
            return _lock_at(ref)
    return None


def _revision(name: str) -> _Found | None:
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        return None
    lock = _lock_at(commit)
    if lock is None:
        raise ParamsError(f"{name}: this revision has no dvc.lock; commit it after a run")
    return _by_lock(name, lock)


def _lock_at(commit: str) -> dict[str, Any] | None:
    text = _git("show", f"{commit}:./dvc.lock")
    return YAML(typ="safe").load(StringIO(text)) if text else None


def _run(name: str) -> _Found | None:
    if not _RUN_ID.fullmatch(name) or not has_store():
        return None
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from flows.tracking import answering

    with answering(name):
        try:
            run = MlflowClient().get_run(name)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    tags = dict(run.data.tags)
    if tags.get("wordmill.stage") == "evaluate":
        tags.setdefault("dvc.evaluate", tags.get("wordmill.output", ""))
    return _by_tags(name, f"{run.info.run_name} {name[:8]}", tags)


def _version(name: str) -> _Found | None:
    if not has_store():
        return None
    from mlflow import MlflowClient

    from flows.registry import Registry
    from flows.tracking import answering

    registry = Registry(MlflowClient(), _model_name())
    try:
        with answering(name):
            number = name if name.isdigit() else registry.holder_of(name)
            if number is None:
                return None
            tags = dict(registry.version(number).tags)
    except ParamsError:  # no such version: it may be a revision
        return None
    label = f"version {number}" if name.isdigit() else f"{name} (version {number})"
    return _by_tags(name, label, tags)


def _by_tags(name: str, label: str, tags: dict[str, str]) -> _Found:
    found = tags.get("dvc.evaluate")
    if not found:
        raise ParamsError(f"{name}: {label} says of no evaluation which it is (tag dvc.evaluate)")
    data = {stage: tags[f"dvc.{stage}"] for stage in _DATA if f"dvc.{stage}" in tags}
    return _Found(name=label, evaluation=found, data=data)


@contextmanager
def _from_cache(cache: Path, one: _Found) -> Generator[Path]:
    assert one.evaluation is not None
    listing = _object(cache, one.evaluation, one.name)
    with tempfile.TemporaryDirectory(prefix="wordmill-") as folder:
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            if entry["relpath"] in _FILES:
                file = _object(cache, entry["md5"], one.name)
                shutil.copyfile(file, Path(folder) / entry["relpath"])
        yield Path(folder)


def _object(cache: Path, md5: str, name: str) -> Path:
    path = cache / md5[:2] / md5[2:]
    if not path.exists():
        raise DataError(
            f"{name}: its evaluation is not in DVC's cache ({md5}); fetch it with `dvc fetch`, or"
            " make it again"
        )
    if hashlib.md5(path.read_bytes()).hexdigest() != md5.removesuffix(".dir"):
        raise DataError(
            f"{name}: its evaluation was changed in DVC's cache ({md5}); remove {path} and"
            " `dvc fetch` it, or make it again"
        )
    return path


def _cache() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path)


def _what_exists() -> str:
    done = [one for one in recall_all(EXPERIMENTS) if one.status == "done"]
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps") or ""
    names = [r.split("/")[-1] for r in refs.splitlines() if re.match(r"refs/exps/[0-9a-f]{2}/", r)]
    parts = {
        "grids": list(dict.fromkeys(one.grid for one in done)),
        "experiments": sorted(names),
        "versions": _versions(),
        "branches": (_git("for-each-ref", "--format=%(refname:short)", "refs/heads") or "").split(),
    }
    told = [f"{what}: {_listed(found)}" for what, found in parts.items() if found]
    told += ["workspace"] if _EVALUATION.is_dir() else []
    return f"there are {'; '.join(told)}, any git revision with a dvc.lock, and ./FOLDER"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _versions() -> list[str]:
    if not has_store():
        return []
    from mlflow import MlflowClient

    found = MlflowClient().search_model_versions(f"name = '{_model_name()}'")
    return sorted((str(one.version) for one in found), key=int)


def _model_name() -> str:
    return str(read_params(PARAMS)["registry"]["name"])


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
    return done.stdout.strip()
