"""Which model is meant: the champion, another alias, a version's number, or a folder."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.answerer import Located
from flows.servers import check_mlflow
from wordmill.errors import DataError, ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import read_params

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
    if os.sep in which or which in (os.curdir, os.pardir):
        yield _folder(which, params)
        return
    with _version(which, params.registry.name) as found:
        yield found


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
    check_mlflow()  # before the import, which takes seconds
    from mlflow import MlflowClient

    from flows.registry import Registry
    from flows.tracking import answering
    from flows.version_files import stored_at

    registry = Registry(MlflowClient(), name)
    with answering(f"--model {which}"):
        number = registry.version(which).version if which.isdigit() else registry.holder_of(which)
        if number is None:
            raise ParamsError(
                f"--model {which}: no version of {name} is '{which}'; `make run` makes a champion,"
                f" and a folder is written with a slash: ./{which}"
            )
        address = registry.address_of(str(number))
    what = f"version {number} of {name}"
    with stored_at(address, what) as folder:
        yield _described(folder, what)


def _described(folder: Path, name: str) -> Located:
    try:
        flavor = read_params(folder / "MLmodel")["flavors"]["python_function"]
        model = folder / flavor["artifacts"]["model"]["path"]
        config = dict(flavor["config"])
        tasks = tuple(config.pop(TASKS, ()))
        return Located(name, model, folder / flavor["code"], config, tasks)
    except (ParamsError, KeyError):
        raise DataError(f"{name}: {folder} holds no model of wordmill's") from None
