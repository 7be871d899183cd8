"""Using the registry by hand: ask a version for a text, make a version champion."""

from mlflow import MlflowClient

from flows.registry import CHAMPION, Registry, answers_of
from flows.workspace import only_flow
from wordmill.errors import ParamsError


def ask(name: str, which: str, *, task: str, source: str, asked: str = "") -> str:
    """What a registered version answers.

    Args:
        name: the registered model.
        which: an alias or a version number.
        task: what is wanted.
        source: the text given.
        asked: of it: the question, the target language, who speaks next, the labels.

    Raises:
        ParamsError: there is no such version.
        DataError: the version can't be loaded.
    """
    registry = Registry(MlflowClient(), name)
    number = registry.version(which).version if which.isdigit() else registry.holder_of(which)
    if number is None:
        raise ParamsError(f"no version of {name} is '{which}'; `make run` makes a champion")
    row = {"task": task, "source": source, "ask": asked}
    return answers_of(f"models:/{name}/{number}", [row])["answers"][0]


def promote(name: str, version: str) -> str:
    """Make a version champion and say what was before.

    Raises:
        ParamsError: there is no such version, or it was never tested.
    """
    registry = Registry(MlflowClient(), name)
    with only_flow():
        before = registry.holder_of(CHAMPION)
        registry.promote(version)
    return f"champion of {name}: version {version} (was {before or 'none'})"
