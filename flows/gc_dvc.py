"""Objects of DVC's cache that nothing names, found by listing the cache and freed through DVC.

A folder's listing keeps the folder's files. Listings go before files, so that no listing is left
whose files are gone. Remotes are not looked at.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flows.gc_found import Held, Loose, Part
from flows.gc_needed import Needed
from flows.gc_runs import made_by
from flows.hashes import FOLDER
from wordmill.errors import DataError, WordmillError

_FILE = re.compile(r"[0-9a-f]{30}(\.dir)?")
_MADE = re.compile(
    r"^- path: (?P<path>.+)\n(?:  .+\n)*?  md5: (?P<md5>[0-9a-f]{32}(?:\.dir)?)$", re.M
)
_RUNS = "runs"
_PARTIAL = re.compile(r".*\.[A-Za-z0-9_-]{22}\.tmp")


class Object(NamedTuple):
    """A file in the cache."""

    num_bytes: int
    since: float
    """When it came, or was last linked: seconds of the system's clock."""


@dataclass(kw_only=True)
class Objects:
    """What the cache holds."""

    place: Path
    there: dict[str, Object]
    """By DVC's hash."""
    partial: dict[Path, Object]
    """What a kill or a full disk left half-written."""

    def files_of(self, listing: str) -> set[str]:
        """The hashes that a listing names.

        Raises:
            DataError: it is not what its name says.
        """
        content = (self.place / listing[:2] / listing[2:]).read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != listing.removesuffix(FOLDER):
            raise DataError(
                f"the listing {listing} in DVC's cache is damaged: which files it needs is not"
                " known; `dvc fetch` may bring it back once it is removed"
            )
        return {entry["md5"] for entry in json.loads(content)}

    def whole(self, hashes: set[str]) -> set[str]:
        """Some hashes with the files of the folders among them, as far as they are here."""
        here = {one for one in hashes if one in self.there}
        listings = [one for one in here if one.endswith(FOLDER)]
        return here.union(*(self.files_of(one) & self.there.keys() for one in listings))

    def num_bytes(self, hashes: set[str]) -> int:
        """Of objects that are here."""
        return sum(self.there[one].num_bytes for one in hashes)


def cache_part(needed: Needed, *, newest: float) -> Part:
    """What of the cache nothing names.

    Args:
        needed: by others.
        newest: what came after this moment is young, and stays.
    """
    part = Part(kind="DVC's cache")
    try:
        objects = listed(cache_folder())
        keep = _held(part, objects, needed, newest)
        if needed.error:
            raise needed.error
    except WordmillError as error:
        part.end(error)
        return part
    loose = objects.there.keys() - keep
    names = _paths_made(objects.place) | made_by(needed.store.runs.values())
    part.loose = list(_folders(objects, loose, names))
    partial = [p for p, one in objects.partial.items() if one.since <= newest]
    part.loose += [_partial(path, objects) for path in partial]
    part.free = lambda: _free(loose, partial)
    return part


def cache_folder() -> Path:
    """Where the objects lie.

    Raises:
        DataError: others may use this cache too: what they need is not known.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            place, shared = Path(repo.cache.local.path), repo.config["cache"].get("shared")
    except DvcException as error:
        raise DataError(f"DVC can't read this project: {error}") from None
    if shared or not place.resolve().is_relative_to(Path.cwd().resolve()):
        why = f"cache.shared is {shared}" if shared else "it lies outside of this project"
        raise DataError(f"{place}: {why}, and what others there need is not known; see `dvc gc -p`")
    return place


def listed(place: Path) -> Objects:
    """Everything that lies in a cache."""
    objects = Objects(place=place, there={}, partial={})
    for folder in sorted(place.glob("[0-9a-f][0-9a-f]")):
        for file in folder.iterdir():
            if not file.is_file():
                continue
            told = file.stat()
            found = Object(told.st_size, max(told.st_mtime, told.st_ctime))
            if _FILE.fullmatch(file.name):
                objects.there[folder.name + file.name] = found
            elif _PARTIAL.fullmatch(file.name):
                objects.partial[file] = found
    return objects


def _held(part: Part, objects: Objects, needed: Needed, newest: float) -> set[str]:
    keep: set[str] = set()
    alike: dict[frozenset[str], list[str]] = {}
    for who, hashes in needed.hashes.items():
        if found := objects.whole(hashes):
            alike.setdefault(frozenset(found), []).append(who)
            keep |= found
    for same, names in alike.items():
        total = objects.num_bytes(set(same))
        part.held.append(Held(by=", ".join(names), num=len(same), num_bytes=total))
    young = {one for one, found in objects.there.items() if found.since > newest} - keep
    if young := _with_files(objects, young):
        part.young_bytes = objects.num_bytes(young - keep)
        told = Held(by="young", num=len(young - keep), num_bytes=part.young_bytes)
        part.held += [told] if told.num else []
    return keep | young


def _with_files(objects: Objects, young: set[str]) -> set[str]:
    """Young objects with their files; a damaged listing that nothing names holds itself alone."""
    found = set(young)
    for one in (one for one in young if one.endswith(FOLDER)):
        try:
            found |= objects.files_of(one) & objects.there.keys()
        except DataError:
            continue
    return found


def _folders(objects: Objects, loose: set[str], names: dict[str, str]) -> Iterator[Loose]:
    """A line for each folder with the files that go with it, and for each other file."""
    left = {one for one in loose if not one.endswith(FOLDER)}
    for listing in sorted(loose - left):
        try:
            files = objects.files_of(listing) & left
        except DataError:
            files = set[str]()
        left -= files
        yield _object(listing, {listing, *files}, objects, names)
    for one in sorted(left):
        yield _object(one, {one}, objects, names)


def _paths_made(objects: Path) -> dict[str, str]:
    """Where outputs lay, as DVC remembers it of stages that ran here: by their hashes."""
    files = (objects.parents[1] / _RUNS).glob("*/*/*")
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return {made["md5"]: made["path"] for text in texts for made in _MADE.finditer(text)}


def _object(name: str, them: set[str], objects: Objects, names: dict[str, str]) -> Loose:
    why = "no branch, version or experiment names it"
    what = f"{name[:8]}, {names[name]}" if name in names else name[:8]
    return Loose(what=what, why=why, num_bytes=objects.num_bytes(them), num=len(them))


def _partial(path: Path, objects: Objects) -> Loose:
    return Loose(
        what=str(path), why="half-written, by a kill", num_bytes=objects.partial[path].num_bytes
    )


def _free(loose: set[str], partial: list[Path]) -> None:
    from dvc.repo import Repo

    with Repo() as repo:
        odb: Any = repo.cache.local
        for one in sorted(loose, key=lambda one: not one.endswith(FOLDER)):
            odb.delete(one)
        for path in partial:
            path.unlink(missing_ok=True)
        if not repo.config["remote"]:  # with one, a stage's outputs may come back from there
            _forget_runs(Path(repo.stage_cache.cache_dir), listed(Path(odb.path)))


def _forget_runs(folder: Path, objects: Objects) -> None:
    """Drop what DVC remembers of stages whose outputs are gone: it could restore nothing."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for file in (one for one in folder.glob("*/*/*") if one.is_file()):
        try:
            told: dict[str, Any] = YAML(typ="safe").load(file)
            # Without `hash` they are of DVC 2, in another folder of the cache.
            outs = {str(out["md5"]) for out in told["outs"] if out.get("hash") == "md5"}
        except (YAMLError, KeyError, TypeError, ValueError):  # DVC drops those itself
            continue
        if outs - objects.there.keys():
            file.unlink()
