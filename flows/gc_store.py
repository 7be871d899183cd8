"""All that MLflow has of this project, read once: versions, runs and logged models."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.entities.logged_model import LoggedModel
from mlflow.entities.model_registry import ModelVersion

from flows.champion_file import CHAMPION_FILE, written_champion
from flows.lineage_store import HASH_TAG, copies
from flows.servers import check_mlflow, shown
from flows.tracking import answering
from wordmill.errors import DataError

_A_PAGE = 1000


@dataclass(kw_only=True)
class Store:
    """What MLflow has."""

    client: MlflowClient | None = None
    """None where nothing was ever logged."""
    versions: list[ModelVersion] = field(default_factory=list[ModelVersion])
    """Of all registered models: a run may be needed by another one's."""
    aliases: dict[tuple[str, str], list[str]] = field(
        default_factory=dict[tuple[str, str], list[str]]
    )
    """By model and version."""
    runs: dict[str, Run] = field(default_factory=dict[str, Run])
    """Of this project's experiment, deleted ones too."""
    models: list[LoggedModel] = field(default_factory=list[LoggedModel])

    def called(self, version: ModelVersion) -> str:
        """A version and its aliases, in words."""
        aliases = self.aliases.get((version.name, str(version.version)), [])
        told = f" ({', '.join(sorted(aliases))})" if aliases else ""
        return f"version {version.version} of {version.name}{told}"


def read_store() -> Store:
    """Read it.

    Raises:
        TryAgainError: MLflow does not answer.
        DataError: this store does not have the project's champion: it is not the project's.
    """
    check_mlflow()
    address = os.environ["MLFLOW_TRACKING_URI"]
    is_file = address.startswith("sqlite:///") and "MLFLOW_REGISTRY_URI" not in os.environ
    is_fresh = is_file and not Path(address.removeprefix("sqlite:///")).exists()
    with answering():
        store = Store() if is_fresh else _read(MlflowClient())
        _check_champion(store, address)
    return store


def record_text(store: Store, version: ModelVersion) -> str | None:
    """The lineage record of a version, None if an older wordmill registered it without one.

    Raises:
        DataError: no copy of it is as it was written.
    """
    wanted = version.tags.get(HASH_TAG)
    if wanted is None:
        return None
    assert store.client is not None
    for text in copies(store.client, version).values():
        if text is not None and hashlib.sha256(text).hexdigest() == wanted:
            return text.decode()
    raise DataError(
        f"version {version.version} of {version.name}: its lineage record is gone or damaged, so"
        " what it needs is not known; `wordmill lineage"
        f" {version.version} --verify` looks at its copies"
    )


def _read(client: MlflowClient) -> Store:
    models = _paged(lambda token: client.search_registered_models(None, _A_PAGE, None, token))
    aliases: dict[tuple[str, str], list[str]] = {}
    for model in models:
        for alias, number in model.aliases.items():
            aliases.setdefault((model.name, str(number)), []).append(alias)
    store = Store(client=client, aliases=aliases)
    store.versions = list(
        _paged(lambda token: client.search_model_versions(None, _A_PAGE, None, token))
    )
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    if experiment is None:
        return store
    there, everything = [experiment.experiment_id], ViewType.ALL
    runs = _paged(lambda token: client.search_runs(there, "", everything, _A_PAGE, None, token))
    store.runs = {run.info.run_id: run for run in runs}
    store.models = list(
        _paged(
            lambda token: client.search_logged_models(there, max_results=_A_PAGE, page_token=token)
        )
    )
    return store


def _paged(page: Callable[[str | None], Any]) -> Iterator[Any]:
    token: str | None = None
    while True:
        found = page(token)
        yield from found
        token = found.token
        if not token:
            return


def _check_champion(store: Store, address: str) -> None:
    """An address left unset, or a moved store, would look as if no version needed anything."""
    written = written_champion()
    if written is None or written["version"] is None:
        return
    is_there = any(
        (one.name, str(one.version)) == (written["model"], written["version"])
        for one in store.versions
    )
    if not is_there:
        raise DataError(
            f"{CHAMPION_FILE} names version {written['version']} of {written['model']}, which the"
            f" store at {shown(address)} does not have: what its versions need is not known; is"
            " MLFLOW_TRACKING_URI set as it was?"
        )
