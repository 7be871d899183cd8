"""What dvc.yaml says and what DVC thinks of it: the stages, what changed, what was made."""

from pathlib import Path
from typing import Any

from flows.changes import Look
from flows.doubt import DoubtError
from flows.dvc_stages import Stage, in_order, read_yaml
from flows.reasons import NEVER_RUN, changed_params
from wordmill.errors import ParamsError, TryAgainError
from wordmill.params.section import read_params

_DAG = Path("dvc.yaml")
_LOCK = Path("dvc.lock")


def stages_in_order() -> list[str]:
    """The stages of dvc.yaml, each after those whose outputs it needs."""
    return list(needs())


def needs() -> dict[str, list[str]]:
    """The stages in order, each with those whose outputs it needs."""
    stages = read_params(_DAG)["stages"]
    return in_order(
        Stage(name, "", said.get("deps", []), {}, dict.fromkeys(_outs(said), True))
        for name, said in stages.items()
    )


def reasons_to_run(stage: str) -> list[str]:
    """Why DVC would run a stage now, in words; empty where it would not.

    Raises:
        TryAgainError: something else holds DVC's lock.
        ParamsError: dvc.yaml is wrong.
    """
    try:
        return Look().reasons(stage)
    except DoubtError:
        return reasons_of_dvc([stage])[stage]


def reasons_of_dvc(stages: list[str]) -> dict[str, list[str]]:
    """Why each of these stages would run, as DVC itself judges it.

    Raises:
        TryAgainError: something else holds DVC's lock.
        ParamsError: dvc.yaml is wrong.
    """
    # Here and not above: help and checks need not wait for it.
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    locked = _locked()
    known = [stage for stage in stages if stage in locked]
    try:
        with Repo() as repo:
            status: dict[str, list[Any]] = repo.status(known) if known else {}
    except LockError as error:
        raise TryAgainError(f"dvc: {error}") from None
    except DvcException as error:
        raise ParamsError(f"dvc: {error}") from None
    return {
        stage: _in_words(status.get(stage, []), locked[stage]) if stage in locked else [NEVER_RUN]
        for stage in stages
    }


def _in_words(changes: list[Any], locked: dict[str, Any]) -> list[str]:
    reasons: list[str] = []
    for change in changes:
        if isinstance(change, str):  # «changed command» and the like
            reasons.append(change)
            continue
        reasons += [
            f"output {path} is {how}" for path, how in change.get("changed outs", {}).items()
        ]
        for path, how in change.get("changed deps", {}).items():
            if isinstance(how, dict):  # a file of params: its keys
                before = locked.get("params", {}).get(path, {})
                reasons += changed_params(before, read_params(Path(path)), how)
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
    try:
        return read_yaml(_LOCK)["stages"] if _LOCK.exists() else {}
    except DoubtError as error:
        raise ParamsError(str(error)) from None


def _outs(said: dict[str, Any]) -> list[str]:
    entries = [out for key in ("outs", "metrics", "plots") for out in said.get(key, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in entries]
