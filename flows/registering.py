"""How a model becomes a registered version: logged, hashed, tested, and only then a challenger.

A kill on the way leaves a version without the mark of a tested one: it never becomes champion, and
the next run registers the model again.
"""

import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows.lineage_store import keep_lineage
from flows.located import TASKS, engine_settings, scored_tasks
from flows.parity import MODEL_FOLDER, PARITY, Parity, check_version, stage_parity
from flows.registry import CHALLENGER, FILES_TAG, Registry, registry_alone
from flows.version_files import LISTING, digest_of, listed, listing_text, stored_at
from wordmill.errors import DataError
from wordmill.params.everything import Params
from wordmill.report.model_card import in_short, model_card

CARD = "README.md"

_EVALUATION = Path("data/evaluate")
_STORED_AS = "artifacts/model"
_WAIT_SECONDS = 300.0
_MAX_DESCRIPTION_CHARS = 5000  # MLflow's column

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


def register(
    registry: Registry,
    run_id: str,
    params: Params,
    tags: dict[str, str],
    *,
    beside: Mapping[str, str] | None = None,
) -> str:
    """Register the finetuned model as a new version, test it and make it challenger.

    Args:
        registry: gets it.
        run_id: the pipeline's run that made it.
        params: of the project.
        tags: of the version.
        beside: more files to store with it, name -> text.

    Raises:
        DataError: the version does not answer as the stage's model does; it stays without
            an alias.
    """
    settings = engine_settings(params)
    parity = stage_parity(settings)
    card = _card(registry.name, tags)
    uri, model_id = _log_model(run_id, settings, parity)
    texts = {PARITY: json.dumps(parity, indent=1), CARD: card, **(beside or {})}
    _store(registry, model_id, texts)
    kept = keep_lineage(registry.client, model_id, run_id=run_id, params=params, tags=tags)
    listing = listing_text(_listed(registry, model_id))
    _store(registry, model_id, {LISTING: listing})
    registry.create_if_absent()
    made = registry.client.create_model_version(
        registry.name,
        uri,
        run_id=run_id,
        tags={**tags, **kept, FILES_TAG: digest_of(listing)},
        model_id=model_id,  # a server does not find it by the address alone
        description=in_short(card)[:_MAX_DESCRIPTION_CHARS],
    )
    number = str(made.version)
    check_version(registry, number)
    with registry_alone(wait_seconds=_WAIT_SECONDS):
        registry.mark_tested(number)
        registry.give(CHALLENGER, number)
    return number


def _card(name: str, tags: dict[str, str]) -> str:
    record, around = (
        json.loads((_EVALUATION / file).read_text(encoding="utf-8"))
        for file in ("scores.json", "surroundings.json")
    )
    return model_card(record, around, name=name, made=tags)


def _store(registry: Registry, model_id: str, texts: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            registry.client.log_model_artifact(model_id, str(path))


def _listed(registry: Registry, model_id: str) -> dict[str, str]:
    """The files that are stored now; those of the model are the stage's, bit by bit."""
    address = registry.client.get_logged_model(model_id).artifact_location
    with stored_at(address, "the model that was stored") as folder:
        stored = listed(folder)
    for name, found in listed(MODEL_FOLDER).items():
        if stored.get(f"{_STORED_AS}/{name}") != found:
            raise DataError(f"{MODEL_FOLDER / name}: is not what was stored; is the disk sound?")
    return stored


def _log_model(run_id: str, settings: dict[str, Any], parity: Parity) -> tuple[str, str]:
    """Returns the address of the stored model and its id."""
    import mlflow

    mlflow.start_run(run_id=run_id)
    try:
        made = mlflow.pyfunc.log_model(
            name="model",
            python_model="flows/registered_model.py",
            artifacts={"model": str(MODEL_FOLDER)},
            code_paths=["wordmill"],
            signature=signature_of(settings),
            input_example=parity["rows"][:1],
            pip_requirements=[f"{name}=={_public_version(name)}" for name in _NEEDED_TO_SERVE],
            model_config={**settings, TASKS: list(scored_tasks())},
        )
    finally:
        mlflow.end_run()
    assert made.model_id is not None
    return made.model_uri, made.model_id


def signature_of(settings: dict[str, Any]) -> Any:
    """What a server takes and gives.

    Args:
        settings: of the engine.
    """
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
    decoding = _decoding_schema(settings["decoding"])
    return ModelSignature(inputs=inputs, outputs=outputs, params=decoding)


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
