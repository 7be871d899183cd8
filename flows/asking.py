"""Using the registry by hand: ask a version for a text, make a version champion."""

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flows.registry import Registry
from flows.workspace import only_flow
from wordmill.errors import ParamsError


def ask(name: str, which: str, *, task: str, source: str) -> str:
    """What a registered version answers.

    Args:
        name: the registered model.
        which: an alias or a version number.
        task: what is wanted.
        source: the text given.

    Raises:
        ParamsError: there is no such version.
    """
    address = f"models:/{name}/{which}" if which.isdigit() else f"models:/{name}@{which}"
    try:
        model = mlflow.pyfunc.load_model(address)
    except MlflowException as error:
        raise ParamsError(f"{address}: can't be loaded: {_first_line(error)}") from None
    return model.predict(pd.DataFrame([{"task": task, "source": source}]))[0]


def promote(name: str, version: str) -> str:
    """Make a version champion and say what was before.

    Raises:
        ParamsError: there is no such version.
    """
    client = MlflowClient()
    with only_flow():
        registry = Registry(client, name)
        try:
            client.get_model_version(name, version)
        except MlflowException as error:
            raise ParamsError(f"models:/{name}/{version}: {_first_line(error)}") from None
        before = registry.champion()
        registry.promote(version)
    return f"champion of {name}: version {version} (was {before or 'none'})"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
