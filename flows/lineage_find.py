"""From anything that a version is known by to the version: a number, a run, a commit, a hash."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from flows.git_state import NO_COMMIT, resolved
from flows.lineage_record import Lineage, weights_of
from flows.lineage_store import record_of
from flows.registry import Registry
from wordmill.errors import DataError, ParamsError

KINDS = (
    "a version's number, an alias, the id of an MLflow run or of a Prefect flow run, a git commit,"
    " branch or tag, DVC's hash of what a stage read or made, or a model folder"
)
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_DVC_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
_FLOW_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WEIGHTS_TAG = "wordmill.weights"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The versions that something stands for."""

    asked: str
    kind: str
    """In words, such as `MLflow run of evaluate`."""
    versions: list[ModelVersion]
    """The newest first; at least one."""


class Versions:
    """All versions of a registered model, with their records, each read once."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.client = registry, registry.client
        self.all = _all(registry.client, registry.name)
        self._records: dict[str, Lineage | None] = {}

    def record(self, version: ModelVersion) -> Lineage | None:
        """The record of a version, None if it has none."""
        number = str(version.version)
        if number not in self._records:
            self._records[number] = record_of(self.client, version)
        return self._records[number]

    def record_if_sound(self, version: ModelVersion) -> Lineage | None:
        """The same for a search, which a broken record of another version does not stop."""
        try:
            return self.record(version)
        except DataError:
            return None

    def find(self, asked: str) -> Found:
        """The versions that an id stands for.

        Raises:
            ParamsError: nothing is known by it.
        """
        for finder in (_folder, _number, _alias, _flow_run, _mlflow_run, _dvc_hash, _commit):
            kind, versions = finder(self, asked)
            if versions:
                return Found(asked=asked, kind=kind, versions=versions)
        raise ParamsError(f"{asked}: no version is known by it; it may be {KINDS}; {self._there()}")

    def tagged(self, is_it: Callable[[str, str], bool]) -> list[ModelVersion]:
        """Versions with a tag of which something is true."""
        return [one for one in self.all if any(is_it(k, v) for k, v in one.tags.items())]

    def recorded(self, is_it: Callable[[Lineage], bool]) -> list[ModelVersion]:
        """Versions with a record of which something is true."""
        found = [(one, self.record_if_sound(one)) for one in self.all]
        return [one for one, record in found if record is not None and is_it(record)]

    def _there(self) -> str:
        numbers = sorted(int(one.version) for one in self.all)
        if not numbers:
            return f"{self.registry.name} has no version yet"
        which = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        return f"{self.registry.name} has version{'s' * (len(numbers) > 1)} {which}"


_Answer = tuple[str, list[ModelVersion]]


def _folder(among: Versions, asked: str) -> _Answer:
    digest = weights_of(Path(asked))
    if not digest:  # a branch may be called as a folder is, or be written with a slash
        if os.sep in asked and Path(asked).is_dir():
            raise ParamsError(f"{asked}: no model folder, it has no model.safetensors")
        return "", []
    versions = among.tagged(lambda tag, value: tag == _WEIGHTS_TAG and value == digest)
    versions = versions or among.recorded(lambda record: digest in record["files"].values())
    if not versions:
        raise ParamsError(f"{asked}: no version has these weights (SHA-256 {digest})")
    return "model folder by its weights", versions


def _number(among: Versions, asked: str) -> _Answer:
    return "version", [one for one in among.all if asked == str(one.version)]


def _alias(among: Versions, asked: str) -> _Answer:
    # Only this reading of MLflow's is reliable; a search may answer without aliases.
    number = None if "/" in asked else among.registry.holder_of(asked)
    return "alias", [one for one in among.all if number == str(one.version)]


def _flow_run(among: Versions, asked: str) -> _Answer:
    if not _FLOW_RUN.fullmatch(asked):
        return "", []
    found = among.tagged(lambda tag, value: tag == "prefect.flow_run" and value == asked)
    return "Prefect flow run", found


def _mlflow_run(among: Versions, asked: str) -> _Answer:
    if not _HEX_ID.fullmatch(asked):
        return "", []
    if found := [one for one in among.all if one.run_id == asked]:
        return "MLflow run of the pipeline", found
    for one in among.all:
        record = among.record_if_sound(one)
        for stage, run in (record["runs"] if record else {}).items():
            if run["id"] == asked:
                same = among.recorded(lambda r, stage=stage: _run_id(r, stage) == asked)
                return f"MLflow run of {stage}", same
    return "", []


def _dvc_hash(among: Versions, asked: str) -> _Answer:
    if not _DVC_HASH.fullmatch(asked):
        return "", []
    plain = asked.removesuffix(".dir")
    is_tag = "dvc.{}".format
    for version in among.all:
        for tag, value in version.tags.items():
            if tag.startswith(is_tag("")) and value.removesuffix(".dir") == plain:
                same = among.tagged(lambda t, v, tag=tag, value=value: (t, v) == (tag, value))
                return f"what {tag.removeprefix('dvc.')} made", same
    found = [(one, _place_of(among.record_if_sound(one), plain)) for one in among.all]
    versions = [one for one, place in found if place]
    return next((place for _, place in found if place), ""), versions


def _commit(among: Versions, asked: str) -> _Answer:
    commit = resolved(asked)
    if commit is None or commit == NO_COMMIT:
        return "", []
    versions = among.tagged(lambda tag, value: tag == "git.commit" and value == commit)
    if not versions:
        raise ParamsError(f"{asked}: commit {commit} has no version; `git log` has those before it")
    return "git commit" if commit.startswith(asked) else f"name of git commit {commit}", versions


def _run_id(record: Lineage, stage: str) -> str:
    run = record["runs"].get(stage)
    return run["id"] if run else ""


def _place_of(record: Lineage | None, md5: str) -> str:
    """In words, where a record has this hash; empty where it has not."""
    if record is None:
        return ""
    if source := next((one for one in record["sources"] if one["hash"] == md5), None):
        return f"source {source['address']}"
    for stage, made in record["stages"].items():
        for how, paths in (("made", made["outs"]), ("read", made["deps"])):
            for path, known in paths.items():
                if known.removesuffix(".dir") == md5:
                    return f"{path}, which {stage} {how}"
                files = record["folders"].get(known, {})
                if inside := next((name for name, at in files.items() if at == md5), None):
                    return f"{path}/{inside}, which {stage} {how}"
    return ""


def _all(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Every version, the newest first."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda one: int(one.version), reverse=True)
