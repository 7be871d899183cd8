"""dvc.yaml and dvc.lock as DVC 3 reads them, without DVC: it takes half a second to import.

Only what pipelines of this kind use is read here. Any key, version or form besides raises
`DoubtError`. The words of dvc/schema.py and dvc/stage/loader.py are the reference.
"""

import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple, cast

from flows.doubt import DoubtError

DAG = Path("dvc.yaml")
LOCK = Path("dvc.lock")
PARAMS = "params.yaml"

_DAG_KEYS = {"stages", "metrics", "plots", "artifacts"}
_STAGE_KEYS = {"cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta"}
_OUT_KEYS = {
    *("cache", "persist", "desc", "type", "labels", "meta", "push"),
    *("template", "x", "y", "x_label", "y_label", "title", "header"),
}
_LOCK_SCHEMA = "2.0"
_LOCKED_STAGE_KEYS = {"cmd", "deps", "params", "outs"}
_LOCKED_FILE_KEYS = {"path", "hash", "md5", "size", "nfiles", "isexec"}
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_PLAIN_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\}")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")

Mapping = dict[str, Any]


class Stage(NamedTuple):
    """A stage of dvc.yaml."""

    name: str
    cmd: str | list[str]
    deps: list[str]
    params: dict[str, list[str]]
    """Dotted keys by the file that holds them."""
    outs: dict[str, bool]
    """Whether DVC keeps each in its cache."""


class Locked(NamedTuple):
    """What dvc.lock says of a stage: how it was when it last ran."""

    cmd: str | list[str]
    deps: dict[str, str]
    """Hashes by path."""
    params: dict[str, Mapping]
    outs: dict[str, str]


def read_yaml(path: Path) -> Mapping:
    """A YAML file as DVC's own parser gives it; not to be changed, it may be given again.

    Raises:
        DoubtError: it is not there, or is not a mapping of YAML 1.2.
    """
    from ruamel.yaml.error import YAMLError

    try:
        return _mapping(_parsed(path.read_bytes()), str(path))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise DoubtError(f"{path} can't be read: {type(error).__name__}") from None


@lru_cache(maxsize=8)
def _parsed(content: bytes) -> Any:
    """A flow looks once for each stage: parsing took most of a look."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(content)


def read_stages(params: Mapping) -> dict[str, Stage]:
    """The stages of dvc.yaml in its order, its references filled in.

    Args:
        params: what params.yaml holds, empty where there is none.

    Raises:
        DoubtError: it says something that only DVC understands.
    """
    found = read_yaml(DAG)
    _only(found, _DAG_KEYS, str(DAG))
    stages = _mapping(found.get("stages", {}), "stages")
    return {name: _stage(name, said, params) for name, said in stages.items()}


def read_locked() -> dict[str, Locked]:
    """What dvc.lock says, by stage; empty where there is none.

    Raises:
        DoubtError: it is of another version, broken, or says more than this can judge.
    """
    if not LOCK.exists():
        return {}
    found = read_yaml(LOCK)
    _only(found, {"schema", "stages"}, str(LOCK))
    if found.get("schema") != _LOCK_SCHEMA:
        raise DoubtError(f"{LOCK} has schema {found.get('schema')}")
    stages = _mapping(found.get("stages", {}), str(LOCK))
    return {name: _locked(name, said) for name, said in stages.items()}


def in_order(stages: Iterable[Stage]) -> dict[str, list[str]]:
    """By stage, in an order in which they can run, the stages whose outputs each needs."""
    found = list(stages)
    makers = {out: stage.name for stage in found for out in stage.outs}
    needs: dict[str, list[str]] = {stage.name: [] for stage in found}
    for stage in found:
        for dep in stage.deps:
            made = [
                out
                for out in makers
                if f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/")
            ]
            needs[stage.name] += [makers[out] for out in made if makers[out] != stage.name]
    return {name: list(dict.fromkeys(needs[name])) for name in _sorted(needs)}


def _sorted(needs: dict[str, list[str]]) -> list[str]:
    """Of stages that could both be next the one that dvc.yaml names first."""
    sorter, ready, found = TopologicalSorter(needs), list[str](), list[str]()
    sorter.prepare()
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=list(needs).index)
        found.append(ready.pop(0))
        sorter.done(found[-1])
    return found


def value_at(values: Any, dotted: str) -> tuple[bool, Any]:
    """Whether a dotted key is there, and its value.

    Raises:
        DoubtError: the way there leads through a list.
    """
    for part in dotted.split("."):
        if isinstance(values, list):
            raise DoubtError(f"the key {dotted} goes through a list")
        if not isinstance(values, dict) or part not in values:
            return False, None
        values = cast("Mapping", values)[part]
    return True, values


def _stage(name: str, raw: Any, params: Mapping) -> Stage:
    said = _mapping(raw, name)
    _only(said, _STAGE_KEYS, f"stage {name}")
    if any(sign in name for sign in "@:/"):
        raise DoubtError(f"stage {name} has a name of its own kind")
    outs: dict[str, bool] = {}
    for key in ("outs", "metrics", "plots"):
        for entry in _list(said.get(key, []), f"{name}.{key}"):
            path, is_cached = _out(entry, params)
            if path in outs:
                raise DoubtError(f"{path} is listed twice in stage {name}")
            outs[path] = is_cached
    deps = [_path(dep, params) for dep in _list(said.get("deps", []), f"{name}.deps")]
    if len({*deps, *outs}) < len(deps) + len(outs) or not (deps or outs or said.get("params")):
        raise DoubtError(f"stage {name} has a path twice, or none at all")
    keys = _params(_list(said.get("params", []), f"{name}.params"))
    return Stage(name, _command(said.get("cmd"), params), deps, keys, outs)


def _command(said: Any, params: Mapping) -> str | list[str]:
    if isinstance(said, list):
        return [_resolved(line, params) for line in cast("list[Any]", said)]
    return _resolved(said, params)


def _out(entry: Any, params: Mapping) -> tuple[str, bool]:
    if not isinstance(entry, dict):
        return _path(entry, params), True
    (path, flags), *more = cast("Mapping", entry).items()
    if more:
        raise DoubtError(f"{path}: two outputs in one entry")
    flags = _mapping(flags, path)
    _only(flags, _OUT_KEYS, path)
    is_cached = flags.get("cache", True)
    if not isinstance(is_cached, bool):
        raise DoubtError(f"{path}: cache is {is_cached!r}")
    return _path(path, params), is_cached


def _params(entries: list[Any]) -> dict[str, list[str]]:
    keys: dict[str, list[Any]] = {}
    for entry in entries:
        told = {PARAMS: [entry]} if isinstance(entry, str) else _mapping(entry, "params")
        for file, names in told.items():
            if not file.endswith((".yaml", ".yml")) or not names or "${" in file:
                raise DoubtError(f"params of {file} are DVC's to read")
            _path(file, {})
            keys.setdefault(file, []).extend(_list(names, file))
    for name in (name for names in keys.values() for name in names):
        if not isinstance(name, str) or not _PLAIN_KEY.fullmatch(name):
            raise DoubtError(f"the key {name!r} is a pattern")
    return {file: list(dict.fromkeys(names)) for file, names in keys.items()}


def _locked(name: str, raw: Any) -> Locked:
    said = _mapping(raw, name)
    _only(said, _LOCKED_STAGE_KEYS, f"{LOCK}: {name}")
    params = _mapping(said.get("params", {}), name)
    if not isinstance(said.get("cmd"), str | list):
        raise DoubtError(f"{LOCK}: {name} has no cmd")
    return Locked(
        cmd=said["cmd"],
        deps=dict(_locked_file(entry) for entry in _list(said.get("deps", []), name)),
        params={file: _mapping(values, file) for file, values in params.items()},
        outs=dict(_locked_file(entry) for entry in _list(said.get("outs", []), name)),
    )


def _locked_file(raw: Any) -> tuple[str, str]:
    entry = _mapping(raw, str(LOCK))
    _only(entry, _LOCKED_FILE_KEYS, str(LOCK))
    path, md5 = entry.get("path"), entry.get("md5")
    if not isinstance(path, str) or not isinstance(md5, str) or not _MD5.fullmatch(md5):
        raise DoubtError(f"{LOCK}: {path} has no plain hash")
    if entry.get("hash") != "md5" or ("nfiles" in entry) != md5.endswith(".dir"):
        raise DoubtError(f"{LOCK}: {path} has a hash of another kind")
    return path, md5


def _path(said: Any, params: Mapping) -> str:
    """A path inside of the project, written plainly."""
    path = _resolved(said, params)
    is_plain = path == posixpath.normpath(path) and not path.startswith(("/", "..", "~", "#"))
    if not is_plain or path == "." or "\\" in path or ":" in path:
        raise DoubtError(f"the path {path} is outside, or not written plainly")
    return path


def _resolved(said: Any, params: Mapping) -> str:
    """A string with its `${...}` filled in from params.yaml."""
    if not isinstance(said, str):
        raise DoubtError(f"{said!r} is not a string")
    if "${" not in said:
        return said

    def fill(match: re.Match[str]) -> str:
        is_there, value = value_at(params, match[1])
        if not is_there or not isinstance(value, str) or "${" in value:
            raise DoubtError(f"{match[0]} is not a plain string")
        return value

    filled = _PLAIN_REFERENCE.sub(fill, said)
    if "${" in filled or "\\${" in said:
        raise DoubtError(f"{said} is DVC's to fill in")
    return filled


def _only(said: Mapping, allowed: set[str], where: str) -> None:
    if unknown := said.keys() - allowed:
        raise DoubtError(f"{where}: {', '.join(sorted(map(str, unknown)))}")


def _mapping(said: Any, where: str) -> Mapping:
    if not isinstance(said, dict) or not all(isinstance(k, str) and k for k in said):
        raise DoubtError(f"{where} is not a plain mapping")
    return cast("Mapping", said)


def _list(said: Any, where: str) -> list[Any]:
    if not isinstance(said, list):
        raise DoubtError(f"{where} is not a list")
    return cast("list[Any]", said)
