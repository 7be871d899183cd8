"""Where lineage.json lies: with a version's MLflow run, and beside the registered model.

The version's tag `wordmill.lineage` is the record's SHA-256: an edit of either copy shows.
"""

import hashlib
import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run as MlflowRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from flows.lineage_record import Lineage, Run, lineage
from flows.version_files import LISTING, stored_at
from wordmill.errors import DataError
from wordmill.files import sha256_of, write_json
from wordmill.params.everything import Params

FILE = "lineage.json"
HASH_TAG = "wordmill.lineage"
# Not what the record is of: what MLflow and Python write into a folder that they read, the record,
# and a list of all files, which has the record in it.
_NOT_ITS_OWN = ("registered_model_meta", LISTING, FILE)
_CACHES = "__pycache__"


def keep_lineage(
    client: MlflowClient, model_id: str, *, run_id: str, params: Params, tags: dict[str, str]
) -> dict[str, str]:
    """Write the record of a model that was just logged, with its run and beside it.

    Args:
        client: of MLflow.
        model_id: of the logged model; all other files of it are in their place.
        run_id: of the pipeline.
        params: that it was made with.
        tags: of the version that it will be.

    Returns:
        The tag that the version has to have.
    """
    place = client.get_logged_model(model_id).artifact_location
    with stored_at(place, "the model that was logged") as folder:
        files = {path: sha256_of(file) for path, file in _its_own(folder).items()}
    runs = runs_of(client, client.get_run(run_id))
    record = lineage(run_id=run_id, params=params, tags=tags, runs=runs, files=files)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        write_json(file, record)
        client.log_artifact(run_id, str(file))
        client.log_model_artifact(model_id, str(file))
        return {HASH_TAG: sha256_of(file)}


def record_of(client: MlflowClient, version: ModelVersion) -> Lineage | None:
    """The record of a version, None if it has none: an older wordmill registered it.

    Raises:
        DataError: no copy is what was recorded.
    """
    there = [text for text in copies(client, version).values() if text is not None]
    if not there:
        return None
    wanted = version.tags.get(HASH_TAG)
    for text in there:
        if hashlib.sha256(text).hexdigest() == wanted:
            return json.loads(text)
    name = f"version {version.version} of {version.name}"
    raise DataError(f"{name}: no copy of its {FILE} is what was recorded; `--verify` says of each")


def copies(client: MlflowClient, version: ModelVersion) -> dict[str, bytes | None]:
    """Both copies of a version's record, None where one is not to be had."""
    model = client.get_model_version_download_uri(version.name, str(version.version))
    places = {"with the model": f"{model}/{FILE}"}
    if version.run_id:
        places["with the run"] = f"runs:/{version.run_id}/{FILE}"
    return {where: _bytes(uri) for where, uri in places.items()}


@contextmanager
def version_files(client: MlflowClient, version: ModelVersion) -> Generator[dict[str, Path]]:
    """Every file that was registered, by its path in the version.

    What had to be fetched is gone when the block ends.

    Raises:
        DataError: they can't be had.
        MlflowException: MLflow does not know where they are.
    """
    uri = client.get_model_version_download_uri(version.name, str(version.version))
    with stored_at(uri, f"version {version.version} of {version.name}") as folder:
        yield _its_own(folder)


def runs_of(client: MlflowClient, pipeline: MlflowRun) -> dict[str, Run]:
    """The runs that made the outputs which a pipeline's run stands on, by stage."""
    found: dict[str, Run] = {}
    for tag, run_id in pipeline.data.tags.items():
        how, _, stage = tag.partition(".")
        if how in ("made", "reused") and stage:
            is_reused = how == "reused"
            found[stage] = Run(id=run_id, is_reused=is_reused, seconds=_seconds(client, run_id))
    return found


def _seconds(client: MlflowClient, run_id: str) -> float | None:
    try:
        info: Any = client.get_run(run_id).info
    except MlflowException:
        return None
    return None if info.end_time is None else (info.end_time - info.start_time) / 1000


def _bytes(uri: str) -> bytes | None:
    with tempfile.TemporaryDirectory() as fetched:
        try:
            return Path(download_artifacts(artifact_uri=uri, dst_path=fetched)).read_bytes()
        except (MlflowException, OSError):
            return None


def _its_own(folder: Path) -> dict[str, Path]:
    found = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*"))}
    return {path: file for path, file in found.items() if _is_its_own(path, file)}


def _is_its_own(path: str, file: Path) -> bool:
    return file.is_file() and path not in _NOT_ITS_OWN and _CACHES not in file.parts
