"""Which model is meant: the champion, another alias, a version's number, or a folder."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flows.answerer import Located
from flows.servers import check_mlflow
from wordmill.errors import DataError, ParamsError
from wordmill.files import sha256_of
from wordmill.params.everything import Params
from wordmill.params.section import read_params

if TYPE_CHECKING:
    from flows.registry import Registry

TASKS = "tasks"
"""What a version was scored on, among the settings that are stored with it."""
_LABELS = Path("data/evaluate/labels.json")
_METRICS = Path("data/evaluate/metrics.json")
_FINETUNED = Path("data/finetune/model")


@contextmanager
def located(which: str, params: Params) -> Generator[Located]:
    """Find a model; what had to be fetched of it is gone when the block ends.

    Args:
        which: an alias, a version number, or a folder, which is written with a slash.
        params: of the project: the registered model's name, the settings of a folder's engine.

    Raises:
        ParamsError: there is no such version or folder.
        DataError: the version is not one of ours, or its files can't be had.
        TryAgainError: MLflow does not answer.
    """
    if _is_folder(which):
        yield _folder(which, params)
        return
    with _version(which, params.registry.name) as found:
        yield found


class Identity(NamedTuple):
    """What makes a model another one."""

    name: str
    """As a person calls it."""
    files: str
    """A hash of all of them; empty for a version that is older than such hashes."""
    version: str | None = None
    """Its number; None for a folder."""
    code: str | None = None
    """A hash of the project's code, which a folder answers with; a version brings its own."""


def identified(which: str, params: Params) -> Identity:
    """Say which model is meant, for good: aliases move and folders change. Nothing is fetched.

    Args:
        which: an alias, a version number, or a folder, which is written with a slash.
        params: of the project.

    Raises:
        ParamsError: there is no such version or folder.
        TryAgainError: MLflow does not answer.
    """
    if _is_folder(which):
        from flows.version_files import digest_of, listed, listing_text

        folder = _folder(which, params).folder
        code = {str(path): sha256_of(path) for path in Path("wordmill").rglob("*.py")}
        return Identity(
            which, digest_of(listing_text(listed(folder))), None, digest_of(listing_text(code))
        )
    from flows.registry import FILES_TAG

    with _registered(which, params.registry.name) as (registry, number):
        tags = registry.version(number).tags
        return Identity(_named(number, registry.name), tags.get(FILES_TAG, ""), number)


def _is_folder(which: str) -> bool:
    return os.sep in which or which in (os.curdir, os.pardir)


def _folder(which: str, params: Params) -> Located:
    folder = Path(which).resolve()
    if not (folder / "config.json").is_file():
        what = "no model (config.json)" if folder.is_dir() else "no such folder"
        raise ParamsError(f"--model {which}: {what}; give a model folder, a version or an alias")
    # The code of this project, as the folder's stages used it.
    tasks = scored_tasks() if folder == _FINETUNED.resolve() and _METRICS.exists() else ()
    return Located(which, folder, Path.cwd(), engine_settings(params), tasks)


def scored_tasks() -> tuple[str, ...]:
    """The tasks that the last evaluation has scored the finetuned model on."""
    return tuple(kind for kind in json.loads(_METRICS.read_text("utf-8")) if kind != "documents")


def engine_settings(params: Params) -> dict[str, Any]:
    """What an engine needs to answer as the evaluate stage's does."""
    return {
        "decoding": params.evaluate.decoding.model_dump(),
        "max_source_tokens": params.tokenize.max_source_tokens,
        "batch_size": params.evaluate.batch_size,
        "labels": json.loads(_LABELS.read_text(encoding="utf-8")) if _LABELS.exists() else {},
    }


@contextmanager
def _version(which: str, name: str) -> Generator[Located]:
    with _registered(which, name) as (registry, number):
        address, what = registry.address_of(number), _named(number, name)
    from flows.version_files import stored_at

    with stored_at(address, what) as folder:
        yield _described(folder, what)


def _named(number: str, name: str) -> str:
    return f"version {number} of {name}"


@contextmanager
def _registered(which: str, name: str) -> "Generator[tuple[Registry, str]]":
    """The registry, and the number of the version that is meant."""
    check_mlflow()  # before the import, which takes seconds
    from mlflow import MlflowClient

    from flows.registry import Registry
    from flows.tracking import answering

    registry = Registry(MlflowClient(), name)
    with answering(f"--model {which}"):
        number = registry.version(which).version if which.isdigit() else registry.holder_of(which)
        if number is None:
            raise ParamsError(
                f"--model {which}: no version of {name} is '{which}'; `make run` makes a champion,"
                f" and a folder is written with a slash: ./{which}"
            )
        yield registry, str(number)


def _described(folder: Path, name: str) -> Located:
    try:
        flavor = read_params(folder / "MLmodel")["flavors"]["python_function"]
        model = folder / flavor["artifacts"]["model"]["path"]
        config = dict(flavor["config"])
        tasks = tuple(config.pop(TASKS, ()))
        return Located(name, model, folder / flavor["code"], config, tasks, folder)
    except (ParamsError, KeyError):
        raise DataError(f"{name}: {folder} holds no model of wordmill's") from None
