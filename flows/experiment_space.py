"""A workspace for each experiment: a clone of the project as it stands now, with its own params.

What is committed comes from git's own store, what is not as a tree that git makes of it; data that
git does not know is linked. All share the project's DVC cache, so that what one has made is
restored in the others.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.grid import Combination, nested, short_hash
from flows.preset import use
from flows.workspace import PARAMS, STATE
from wordmill.errors import ParamsError

EXPERIMENTS = STATE / "experiments"

# What decides a result beside params.yaml; a word in the README makes no experiment another.
_DECIDING = ("stages/", "wordmill/", "data/", "dvc.yaml", ".dvcignore")


class _Config(RawConfigParser):
    """Keys as they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The project at the moment an experiment was started."""

    commit: str
    tree: str
    """Of git's, with what is not committed."""
    links: dict[str, str]
    """Files and folders that git does not know and the params name -> when they last changed."""
    key: str
    """What is the same for all that decides a result."""


def snapshot(values: list[dict[str, Any]]) -> Snapshot:
    """Take down the project as it stands.

    Args:
        values: params.yaml of each experiment.

    Raises:
        ParamsError: this is no git repository with a commit, or the root is not its root.
    """
    try:
        commit, top = _git("rev-parse", "HEAD"), _git("rev-parse", "--show-toplevel")
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise ParamsError(
            "an experiment stands on a commit, and there is none; run `git init`, `git add -A`"
            " and `git commit -m start`"
        ) from None
    if Path(top).resolve() != Path.cwd().resolve():
        raise ParamsError(
            f"experiments need a project at the root of its git repository, not {top}"
        )
    tree = _tree()
    files = _git("ls-tree", "-r", "-z", tree).split("\0")
    deciding = [line for line in files if line.partition("\t")[2].startswith(_DECIDING)]
    links = {path: _stamp(Path(path)) for path in sorted(_named_paths(values))}
    return Snapshot(commit=commit, tree=tree, links=links, key=short_hash([deciding, links]))


def make_workspace(place: Path, one: Combination, taken: Snapshot, *, cache: Path) -> None:
    """Make the workspace of an experiment, whole or not at all.

    Args:
        place: its folder.
        one: its params.
        taken: the project.
        cache: DVC's.
    """
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    _git("clone", "--quiet", "--shared", "--no-checkout", str(Path.cwd()), str(partial))
    _git("-C", str(partial), "update-ref", "--no-deref", "HEAD", taken.commit)
    _git("-C", str(partial), "read-tree", "--reset", "-u", taken.tree)
    _share_cache(partial, cache)
    for path in taken.links:
        _link(Path(path), partial, place)
    _write_params(partial, one)
    partial.rename(place)


def _write_params(place: Path, one: Combination) -> None:
    if not one.changes:
        return
    with tempfile.TemporaryDirectory() as folder:
        preset = Path(folder) / "grid.yaml"
        with preset.open("w", encoding="utf-8") as file:
            YAML().dump(nested(one.changes), file)
        use(preset, params=place / PARAMS, data=None)


def _share_cache(place: Path, cache: Path) -> None:
    # By hand: `dvc config` takes a second for each value.
    config = _Config()
    config.read(Path(".dvc/config.local"))  # where remotes are, and who may read them
    if not config.has_section("cache"):
        config.add_section("cache")
    config.set("cache", "dir", str(cache))
    config.set("cache", "type", "reflink,hardlink,copy")
    with (place / ".dvc/config.local").open("w", encoding="utf-8") as file:
        config.write(file)


def _link(path: Path, partial: Path, place: Path) -> None:
    """Let a path of the params lead to the project's own files from the workspace too."""
    if ".." in path.parts:
        there = Path(os.path.normpath(place / path))
        if EXPERIMENTS.resolve() not in there.resolve().parents:
            raise ParamsError(
                f"{path}: leaves the project; experiments need it as {path.resolve()}"
            )
        if not there.is_symlink():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(path.resolve())
        return
    for file in _files(path):
        target = partial / file
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.resolve(), target)
        except OSError:  # another disk
            shutil.copy2(file, target)


def _named_paths(values: list[dict[str, Any]]) -> set[str]:
    """Relative paths that the params name and that are there."""
    texts = {text for one in values for text in _texts(one)}
    return {text for text in texts if text and not Path(text).is_absolute() and _is_there(text)}


def _is_there(text: str) -> bool:
    # A word such as `data` or `wordmill` in the params may be the name of a folder by chance.
    try:
        is_path = (os.sep in text or Path(text).is_file()) and Path(text).exists()
    except OSError:  # far too long for a name
        return False
    return is_path and not Path.cwd().is_relative_to(Path(text).resolve())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _stamp(path: Path) -> str:
    found = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in _files(path)]
    return short_hash(found)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def _tree() -> str:
    """The working tree as git would commit all of it, without touching its index."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GIT_INDEX_FILE": str(Path(folder) / "index")}
        for command in (["read-tree", "HEAD"], ["add", "--all"]):
            _git(*command, environment=environment)
        return _git("write-tree", environment=environment)


def _git(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
