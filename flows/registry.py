"""Registered versions: what is registered, whether it works, and which one is champion."""

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from wordmill.errors import DataError
from wordmill.params.everything import Params

CHAMPION = "champion"
CHALLENGER = "challenger"

_MODEL_FOLDER = Path("data/finetune/model")
_PREDICTIONS = Path("data/evaluate/predictions.jsonl")
_NEEDED_TO_SERVE = ("mlflow", "numpy", "pandas", "torch", "tqdm", "transformers", "tokenizers")
_NUM_PARITY_ROWS = 8


@dataclass(frozen=True)
class Standing:
    """A version and the part it plays."""

    version: str
    is_champion: bool
    is_new: bool
    champion: str | None
    """The version that is champion now."""


class Registry:
    """The versions of one registered model. The caller holds the project's lock."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client, self.name = client, name

    def champion(self) -> str | None:
        """The version that serves, None if there is none."""
        try:
            return str(self._client.get_model_version_by_alias(self.name, CHAMPION).version)
        except MlflowException:  # no such model or no such alias
            return None

    def version_of(self, hashes: dict[str, str]) -> str | None:
        """The version that carries these DVC hashes, None if none does."""
        for found in self._versions():
            if hashes.items() <= found.tags.items():
                return str(found.version)
        return None

    def standing(self, found: str, *, is_new: bool) -> Standing:
        """The part that a version plays now."""
        champion = self.champion()
        return Standing(found, champion == found, is_new, champion)

    def register(self, run_id: str, params: Params, tags: dict[str, str]) -> str:
        """Register the finetuned model as a new version, made by `run_id`, and test it.

        Raises:
            DataError: the version, loaded back in a fresh process, does not answer as the
                stage's model does; it stays without an alias.
        """
        uri = _log_model(run_id, params)
        _create_if_absent(self._client, self.name)
        made = self._client.create_model_version(self.name, uri, run_id=run_id, tags=tags)
        number = str(made.version)
        self.check_parity(number)
        self._client.set_registered_model_alias(self.name, CHALLENGER, number)
        return number

    def check_parity(self, number: str) -> None:
        """Load a version as a server would and hold its answers against the stage's model.

        Raises:
            DataError: it can't be loaded, or an answer differs.
        """
        command = [sys.executable, "-m", "flows.parity", f"models:/{self.name}/{number}"]
        done = subprocess.run(
            [*command, str(_MODEL_FOLDER)],
            input=json.dumps(parity_rows()),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DataError(
                f"version {number} of {self.name} was registered, but does not answer as the"
                f" stage's model does and gets no alias: {last}"
            )

    def promote(self, number: str) -> None:
        """Make a version champion."""
        self._client.set_registered_model_alias(self.name, CHAMPION, number)
        if self._is_challenger(number):
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _is_challenger(self, number: str) -> bool:
        try:
            found = self._client.get_model_version_by_alias(self.name, CHALLENGER)
        except MlflowException:
            return False
        return str(found.version) == number

    def _versions(self) -> list[ModelVersion]:
        return list(self._client.search_model_versions(f"name = '{self.name}'"))


def parity_rows() -> list[dict[str, str]]:
    """A few held-out requests."""
    lines = _PREDICTIONS.read_text(encoding="utf-8").splitlines()[:_NUM_PARITY_ROWS]
    rows = map(json.loads, lines)
    return [{"task": row["task"], "source": row["source"]} for row in rows]


def _create_if_absent(client: MlflowClient, name: str) -> None:
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)


def _log_model(run_id: str, params: Params) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType.string, "task"), ColSpec(DataType.string, "source")])
    outputs = Schema([ColSpec(DataType.string)])
    config: dict[str, Any] = {
        "decoding": params.evaluate.decoding.model_dump(),
        "max_source_tokens": params.tokenize.max_source_tokens,
        "batch_size": params.evaluate.batch_size,
    }
    mlflow.start_run(run_id=run_id)
    try:
        return mlflow.pyfunc.log_model(
            name="model",
            python_model="flows/registered_model.py",
            artifacts={"model": str(_MODEL_FOLDER)},
            code_paths=["wordmill"],
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            input_example=parity_rows()[:1],
            pip_requirements=[f"{name}=={version(name)}" for name in _NEEDED_TO_SERVE],
            model_config=config,
        ).model_uri
    finally:
        mlflow.end_run()
