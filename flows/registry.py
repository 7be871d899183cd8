"""Registered versions: which there are, and which of them has which alias.

Nothing here decides: flows/registering.py makes a version, flows/promotion.py makes it champion.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from flows.servers import has_store
from flows.workspace import BusyError, only_one
from wordmill.errors import ParamsError

CHAMPION = "champion"
CHALLENGER = "challenger"

FILES_TAG = "wordmill.files"
"""SHA-256 of the list of a version's files."""
GATE_TAG = "wordmill.gate"
"""What the gate said of a version last."""
_VERIFIED_TAG = "wordmill.verified"
_HEAD_TAG = "wordmill.promotions"

_KNOCK_SECONDS = 0.2


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


def opened(name: str) -> "Registry":
    """The registry of a model, where there is one.

    Raises:
        ParamsError: nothing was ever registered.
        TryAgainError: MLflow does not answer.
    """
    if not has_store():
        raise ParamsError(f"{name} has no versions yet; `wordmill retrain` makes one")
    return Registry(MlflowClient(), name)


class Registry:
    """The versions of one registered model."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.client, self.name = client, name

    def holder_of(self, alias: str) -> str | None:
        """The version that has an alias, None if none has."""
        try:
            return str(self.client.get_model_version_by_alias(self.name, alias).version)
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
            return self.client.get_model_version(self.name, number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise ParamsError(f"{self.name} has no version {number}") from None

    def address_of(self, number: str) -> str:
        """Where the files of a version are."""
        return self.client.get_model_version_download_uri(self.name, number)

    def verified_version_of(self, tags: dict[str, str]) -> str | None:
        """The tested version that carries these tags, None if none does."""
        for found in self.client.search_model_versions(f"name = '{self.name}'"):
            if tags.items() <= found.tags.items() and _is_tested(found.tags):
                return str(found.version)
        return None

    def check_tested(self, number: str) -> None:
        """See that the registration of a version came to its end.

        Raises:
            ParamsError: there is no such version, or it was never tested.
        """
        tags = self.version(number).tags
        if not _is_tested(tags):
            was_tested = _VERIFIED_TAG in tags
            why = (
                "was registered before files were hashed"
                if was_tested
                else "did not answer as its stage's model did, or its registration was killed"
            )
            raise ParamsError(
                f"version {number} of {self.name} {why}, so it can't be champion; `wordmill"
                " retrain` registers it again"
            )

    def standing(self, number: str, *, is_new: bool) -> Standing:
        """The part that a version plays now."""
        champion, challenger = self.holder_of(CHAMPION), self.holder_of(CHALLENGER)
        alias = {champion: CHAMPION, challenger: CHALLENGER}.get(number, "")
        run_id = self.version(number).run_id
        return Standing(
            version=number, alias=alias, is_new=is_new, champion=champion, run_id=run_id
        )

    def mark_tested(self, number: str) -> None:
        """Say that a version's files and answers are what they have to be: it may be champion."""
        self.tag(number, _VERIFIED_TAG, "true")

    def tag(self, number: str, name: str, value: str) -> None:
        """Set a tag of a version."""
        self.client.set_model_version_tag(self.name, number, name, value)

    def gate_said(self, number: str) -> str | None:
        """What the gate said of a version last, None if it was not asked."""
        return self.version(number).tags.get(GATE_TAG)

    def give(self, alias: str, number: str) -> None:
        """Let a version have an alias; whoever had it loses it in the same step."""
        self.client.set_registered_model_alias(self.name, alias, number)

    def take(self, alias: str, number: str) -> None:
        """Take an alias off a version, if it has it."""
        if self.holder_of(alias) == number:
            self.client.delete_registered_model_alias(self.name, alias)

    def create_if_absent(self) -> None:
        """Make the registered model."""
        try:
            self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.client.create_registered_model(self.name)

    @property
    def head(self) -> str | None:
        """The last entry of the log of promotions that this registry has heard of."""
        try:
            return self.client.get_registered_model(self.name).tags.get(_HEAD_TAG)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    @head.setter
    def head(self, entry: str) -> None:
        self.client.set_registered_model_tag(self.name, _HEAD_TAG, entry)


@contextmanager
def registry_alone(*, wait_seconds: float = 0.0) -> Generator[None]:
    """Hold what changes aliases and the log of promotions in this project.

    Raises:
        BusyError: another process of this project holds it.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            with only_one("registry", otherwise="another promotion is at work in this project"):
                yield
            return
        except BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_KNOCK_SECONDS)


def _is_tested(tags: dict[str, str]) -> bool:
    return tags.get(_VERIFIED_TAG) == "true" and FILES_TAG in tags
