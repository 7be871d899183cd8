"""Registered versions: what is registered, whether it works, and which one is champion."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from flows.lineage_store import keep_lineage
from flows.located import engine_settings
from wordmill.errors import DataError, ParamsError
from wordmill.params.everything import Params

CHAMPION = "champion"
CHALLENGER = "challenger"

_MODEL_FOLDER = Path("data/finetune/model")
_PREDICTIONS = Path("data/evaluate/predictions.jsonl")
_NUM_PARITY_ROWS = 8
_VERIFIED = {"wordmill.verified": "true"}

# What a stored version imports: MLflow's own needs do not cover all of it.
_NEEDED_TO_SERVE = (
    "mlflow",
    "numpy",
    "pandas",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "tokenizers",
    "torch",
    "tqdm",
    "transformers",
)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A version and the part it plays."""

    version: str
    alias: str
    """champion, challenger, or empty."""
    is_new: bool
    champion: str | None
    """The version that is champion now."""
    run_id: str | None
    """The pipeline's run that made it."""


class Registry:
    """The versions of one registered model. Who changes them holds the project's lock."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client, self.name = client, name

    def holder_of(self, alias: str) -> str | None:
        """The version that has an alias, None if none has."""
        try:
            return str(self._client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None  # no such model, or no such alias
            raise

    def version(self, number: str) -> ModelVersion:
        """A version by its number.

        Raises:
            ParamsError: there is no such version.
        """
        try:
            return self._client.get_model_version(self.name, number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise ParamsError(f"{self.name} has no version {number}") from None

    def verified_version_of(self, tags: dict[str, str]) -> str | None:
        """The tested version that carries these tags, None if none does."""
        wanted = (tags | _VERIFIED).items()
        for found in self._client.search_model_versions(f"name = '{self.name}'"):
            if wanted <= found.tags.items():
                return str(found.version)
        return None

    def standing(self, number: str, *, is_new: bool) -> Standing:
        """The part that a version plays now."""
        champion, challenger = self.holder_of(CHAMPION), self.holder_of(CHALLENGER)
        alias = {champion: CHAMPION, challenger: CHALLENGER}.get(number, "")
        run_id = self.version(number).run_id
        return Standing(
            version=number, alias=alias, is_new=is_new, champion=champion, run_id=run_id
        )

    def register(self, run_id: str, params: Params, tags: dict[str, str]) -> str:
        """Register the finetuned model as a new version, made by `run_id`, and test it.

        Raises:
            DataError: the version does not answer as the stage's model does; it stays without
                an alias.
        """
        uri = _log_model(run_id, params)
        model_id = uri.rpartition("/")[2]
        kept = keep_lineage(self._client, model_id, run_id=run_id, params=params, tags=tags)
        _create_if_absent(self._client, self.name)
        made = self._client.create_model_version(self.name, uri, run_id=run_id, tags=tags | kept)
        number = str(made.version)
        self._verify(number)
        for tag, value in _VERIFIED.items():
            self._client.set_model_version_tag(self.name, number, tag, value)
        self._client.set_registered_model_alias(self.name, CHALLENGER, number)
        return number

    def promote(self, number: str) -> None:
        """Make a tested version champion.

        Raises:
            ParamsError: there is no such version, or it was never tested.
        """
        found = self.version(number)
        if not _VERIFIED.items() <= found.tags.items():
            raise ParamsError(
                f"version {number} of {self.name} did not answer as its stage's model did, so it"
                " can't be champion; `wordmill retrain` registers it again"
            )
        self._client.set_registered_model_alias(self.name, CHAMPION, number)
        if self.holder_of(CHALLENGER) == number:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _verify(self, number: str) -> None:
        rows = _parity_rows()
        found = answers_of(f"models:/{self.name}/{number}", rows)
        wanted = answers_of(str(_MODEL_FOLDER), rows, settings=found["settings"])
        pairs = zip(found["answers"], wanted["answers"], strict=True)
        if differing := [i for i, (a, b) in enumerate(pairs) if a != b]:
            raise DataError(
                f"version {number} of {self.name} gets no alias: {len(differing)} of {len(rows)}"
                f" answers differ from the stage's model, row {differing[0]} first"
            )


def answers_of(
    which: str, rows: list[dict[str, str]], *, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask a version or a folder, in a process of its own.

    Args:
        which: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or a folder.
        rows: each with `task`, `source` and perhaps `ask`.
        settings: of a folder's engine.

    Raises:
        DataError: it can't be loaded or does not answer.
    """
    is_version = which.startswith("models:/")
    done = subprocess.run(
        [sys.executable, "-P", str(Path("flows/answers.py").resolve()), which],
        input=json.dumps({"rows": rows, "settings": settings}),
        cwd="/" if is_version else None,  # a version brings its own code
        env=dict(os.environ) if is_version else {**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"{which} does not answer: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _parity_rows() -> list[dict[str, str]]:
    """A few held-out requests."""
    lines = _PREDICTIONS.read_text(encoding="utf-8").splitlines()[:_NUM_PARITY_ROWS]
    rows = map(json.loads, lines)
    return [{name: row[name] for name in ("task", "source", "ask")} for row in rows]


def _create_if_absent(client: MlflowClient, name: str) -> None:
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name)


def _log_model(run_id: str, params: Params) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema(
        [
            ColSpec(DataType.string, "task"),
            ColSpec(DataType.string, "source"),
            ColSpec(DataType.string, "ask", required=False),
        ]
    )
    outputs = Schema([ColSpec(DataType.string)])
    config = engine_settings(params)
    mlflow.start_run(run_id=run_id)
    try:
        return mlflow.pyfunc.log_model(
            name="model",
            python_model="flows/registered_model.py",
            artifacts={"model": str(_MODEL_FOLDER)},
            code_paths=["wordmill"],
            signature=ModelSignature(
                inputs=inputs, outputs=outputs, params=_decoding_schema(config["decoding"])
            ),
            input_example=_parity_rows()[:1],
            pip_requirements=[f"{name}=={_public_version(name)}" for name in _NEEDED_TO_SERVE],
            model_config=config,
        ).model_uri
    finally:
        mlflow.end_run()


def _decoding_schema(decoding: dict[str, Any]) -> Any:
    """What a request may say of the decoding; what it does not say is as it was scored."""
    from mlflow.types import DataType, ParamSchema, ParamSpec

    kinds = {
        int: DataType.long,
        float: DataType.double,
        str: DataType.string,
        bool: DataType.boolean,
    }
    return ParamSchema(
        [
            ParamSpec(name, DataType.string, value, shape=(-1,))
            if isinstance(value, list)
            else ParamSpec(name, kinds[type(value)], value)
            for name, value in decoding.items()
        ]
    )


def _public_version(package: str) -> str:
    """The version without its local part: no registry carries `+cpu`."""
    return version(package).partition("+")[0]
