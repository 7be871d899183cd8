"""What each stage read and made: DVC's hashes of it, down to the files of folders.

dvc.lock says what a stage read when it ran. What a folder held then is known from the folder
itself while its hash is the same, from what an earlier look remembered (flows/hashes.py), or from
DVC's cache.
"""

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypedDict

from flows.doubt import DoubtError
from flows.dvc_cache import Cache
from flows.hashes import FOLDER, Hashes, Manifest
from wordmill.params.section import read_params

_LOCK = Path("dvc.lock")
_IGNORED = Path(".dvcignore")
# A folder of more is known by its own hash alone.
_MOST_FILES = 5_000
_CHUNK_BYTES = 1 << 20


class Made(TypedDict):
    """One run of a stage, as dvc.lock has it."""

    command: str
    deps: dict[str, str]
    """DVC's hash of each file and folder that it read, by path."""
    outs: dict[str, str]


def stages_made(order: list[str]) -> dict[str, Made]:
    """What dvc.lock knows of each stage, in the order given."""
    locked = read_params(_LOCK)["stages"] if _LOCK.exists() else {}
    return {name: _made(locked[name]) for name in order if name in locked}


def outside_deps(stages: dict[str, Made]) -> dict[str, str]:
    """What stages read and none of them made, code and raw data: its hash by path."""
    outs = [Path(path) for made in stages.values() for path in made["outs"]]
    return {
        path: known
        for made in stages.values()
        for path, known in made["deps"].items()
        if not any(out in (Path(path), *Path(path).parents) for out in outs)
    }


def folder_files(stages: dict[str, Made]) -> dict[str, Manifest]:
    """The files of each folder that was read or made, with their hashes: by the folder's hash.

    A folder of which nobody knows, or with too many files, is left out.
    """
    paths = {
        path: known
        for made in stages.values()
        for path, known in (made["deps"] | made["outs"]).items()
        if known.endswith(FOLDER)
    }
    hashes = _look()
    found = {known: _files_of(path, known, hashes) for path, known in paths.items()}
    return {known: files for known, files in found.items() if files and len(files) <= _MOST_FILES}


def changed_since(stages: dict[str, Made]) -> list[str]:
    """What stages read and what is another by now: it was changed while they ran."""
    try:
        hashes = Hashes()
        deps = outside_deps(stages)
        return [path for path, known in deps.items() if hashes.of(path) != known]
    except DoubtError:  # DVC hashes it in a way of its own
        return []


def md5_of(file: Path) -> str:
    """The MD5 of a file's bytes, DVC's name for it."""
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def files_in(place: Path, *, root: Path = Path()) -> Iterator[tuple[str, Path]]:
    """Each file of a folder that DVC counts, by its path in it; a file is its own with none.

    Args:
        place: a folder or file of the project.
        root: of the project.
    """
    if place.is_file():
        yield "", place
        return
    patterns = _patterns(root / _IGNORED)
    for file in sorted(place.rglob("*")):
        parts = file.relative_to(place).parts
        if file.is_file() and not any(fnmatch(part, p) for part in parts for p in patterns):
            yield "/".join(parts), file


def read_listing(text: bytes) -> Manifest:
    """A folder's files from DVC's listing of it."""
    return {entry["relpath"]: entry["md5"] for entry in json.loads(text)}


def _made(locked: dict[str, Any]) -> Made:
    deps, outs = _hashes(locked.get("deps", [])), _hashes(locked.get("outs", []))
    return Made(command=locked["cmd"], deps=deps, outs=outs)


def _hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _look() -> Hashes | None:
    try:
        return Hashes()
    except DoubtError:
        return None


def _files_of(path: str, known: str, hashes: Hashes | None) -> Manifest | None:
    try:
        if hashes and (hashes.manifest(known) or hashes.of(path) == known):
            return hashes.manifest(known)
        if kept := Cache().manifest(known):
            return kept
    except DoubtError:  # DVC hashes it, or is set up, in a way of its own
        pass
    found = {name: md5_of(file) for name, file in files_in(Path(path))}
    listing = [{"md5": found[name], "relpath": name} for name in sorted(found)]
    digest = hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest()
    return found if digest + FOLDER == known else None


def _patterns(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
