"""What dvc.yaml says and what DVC thinks of it: the stages, what changed, what was made."""

from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from wordmill.errors import ParamsError, TryAgainError
from wordmill.params.section import read_params

_DAG = Path("dvc.yaml")
_LOCK = Path("dvc.lock")


def stages_in_order() -> list[str]:
    """The stages of dvc.yaml in its order, but each after those whose outputs it needs."""
    stages = read_params(_DAG)["stages"]
    makers = {Path(out): name for name, stage in stages.items() for out in stage["outs"]}
    needs = {
        name: {
            maker
            for dep in stage["deps"]
            for out, maker in makers.items()
            if out in (Path(dep), *Path(dep).parents)
        }
        for name, stage in stages.items()
    }
    sorter, ready, found = TopologicalSorter(needs), list[str](), list[str]()
    sorter.prepare()
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=list(stages).index)
        found.append(ready.pop(0))
        sorter.done(found[-1])
    return found


def reasons_to_run(stage: str) -> list[str]:
    """Why DVC would run a stage now, in words; empty where it would not.

    Raises:
        TryAgainError: something else holds DVC's lock.
        ParamsError: dvc.yaml is wrong.
    """
    # Here and not above: help and checks need not wait for it.
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    locked = _locked().get(stage)
    if locked is None:
        return ["it has not run here before"]
    try:
        with Repo() as repo:
            status: dict[str, list[Any]] = repo.status([stage])
    except LockError as error:
        raise TryAgainError(f"dvc: {error}") from None
    except DvcException as error:
        raise ParamsError(f"dvc: {error}") from None
    reasons: list[str] = []
    for change in status.get(stage, []):
        if isinstance(change, str):  # «changed command» and the like
            reasons.append(change)
            continue
        reasons += [
            f"output {path} is {how}" for path, how in change.get("changed outs", {}).items()
        ]
        for path, how in change.get("changed deps", {}).items():
            if isinstance(how, dict):  # a file of params: its keys
                reasons += _changed_params(locked["params"][path], read_params(Path(path)), how)
            else:
                reasons.append(f"{path} is {how}")
    return reasons


def output_hash(stage: str) -> str | None:
    """DVC's hash of what a stage made, None if it has made nothing here."""
    found = _locked().get(stage)
    return found["outs"][0]["md5"] if found else None


def input_hashes(stage: str) -> dict[str, Any]:
    """What DVC knows of what a stage read when it last ran: hashes by path, and params."""
    found = _locked().get(stage, {})
    deps = {dep["path"]: dep["md5"] for dep in found.get("deps", [])}
    return {**deps, **found.get("params", {})}


def _locked() -> dict[str, Any]:
    return read_params(_LOCK)["stages"] if _LOCK.exists() else {}


def _changed_params(
    locked: dict[str, Any], values: dict[str, Any], keys: Iterable[str]
) -> list[str]:
    """Each changed value with what it was; DVC names the section alone."""
    lines: list[str] = []
    for key in keys:
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, dict) else None
        before_by_key, now_by_key = _leaves(key, locked.get(key)), _leaves(key, now)
        for leaf in sorted({*before_by_key, *now_by_key}):
            before, after = before_by_key.get(leaf), now_by_key.get(leaf)
            if before != after:
                lines.append(f"{leaf} went from {before} to {after}")
    return lines


def _leaves(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _leaves(f"{key}.{name}", inner)
    return found
