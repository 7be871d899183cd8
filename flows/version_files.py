"""The files of a registered version, and whether they are still what was registered.

A list of every file with its SHA-256 (`files.json`) is stored with the version, whose tag holds the
hash of the list. It costs what hashing costs, a second a GB or so. MLflow loads a version with a
flipped bit or a lost file without a word.
"""

import hashlib
import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from wordmill.errors import DataError
from wordmill.files import sha256_of

if TYPE_CHECKING:  # a folder's files are hashed without MLflow
    from flows.registry import Registry

LISTING = "files.json"

# What loading a version leaves in its folder.
_BY_LOADING = ("__pycache__", "registered_model_meta")


def listed(folder: Path) -> dict[str, str]:
    """Every file of a folder with its SHA-256, but for those that are no part of the list."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: sha256_of(path) for name, path in names.items() if _is_of_version(name)}


def listing_text(files: dict[str, str]) -> str:
    """The list as it is stored; its SHA-256 is the version's tag."""
    return json.dumps(files, indent=1, sort_keys=True) + "\n"


def digest_of(listing: str) -> str:
    """SHA-256 of a list."""
    return hashlib.sha256(listing.encode()).hexdigest()


def check_files(registry: "Registry", number: str, folder: Path) -> None:
    """See that a version's folder holds what was registered, every bit of it.

    Args:
        registry: the version's.
        number: the version.
        folder: its files, as they are now.

    Raises:
        DataError: a file has changed, is missing, or was not there.
    """
    from flows.registry import FILES_TAG

    what = f"version {number} of {registry.name}"
    tags = registry.version(number).tags
    if FILES_TAG not in tags:
        raise DataError(
            f"{what}: its files were never hashed; `wordmill retrain` registers it again"
        )
    path = folder / LISTING
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if digest_of(text) != tags[FILES_TAG]:
        raise DataError(f"{what}: {LISTING} is {'not what it was' if text else 'missing'}")
    wanted: dict[str, str] = json.loads(text)
    if problem := _first_difference(wanted, listed(folder)):
        raise DataError(f"{what}: {problem} since it was registered; do not use it")


def check_stored(registry: "Registry", number: str) -> None:
    """See that a version's files are what was registered, wherever they are stored.

    Raises:
        DataError: a file has changed, is missing, or was not there.
    """
    with fetched(registry, number) as folder:
        check_files(registry, number, folder)


@contextmanager
def fetched(registry: "Registry", number: str) -> Generator[Path]:
    """The folder of a version: where it lies on this machine, or a copy for as long as the block.

    Raises:
        DataError: it can't be had.
    """
    with stored_at(registry.address_of(number), f"version {number} of {registry.name}") as folder:
        yield folder


@contextmanager
def stored_at(address: str, what: str) -> Generator[Path]:
    """The folder at an address: where it lies on this machine, or a copy for as long as the block.

    Args:
        address: as MLflow writes it.
        what: it is, for a message.

    Raises:
        DataError: it can't be had.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    parts = urlparse(address)
    if parts.scheme in ("", "file"):
        folder = Path(url2pathname(parts.path))
        if not folder.is_dir():
            raise DataError(f"{what}: {folder} is missing")
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        try:
            found = download_artifacts(artifact_uri=address, dst_path=place)
        except (MlflowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{what}: {reason}") from None
        yield Path(found)


def _first_difference(wanted: dict[str, str], found: dict[str, str]) -> str | None:
    for name in sorted(wanted | found):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} was added"
        if wanted[name] != found[name]:
            return f"{name} has changed"
    return None


def _is_of_version(name: str) -> bool:
    return name != LISTING and not any(part in _BY_LOADING for part in Path(name).parts)
