"""What dvc.yaml says and what DVC thinks of it: the stages, what changed, what was made."""

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from wordmill.params.section import read_params

_DAG = Path("dvc.yaml")
_LOCK = Path("dvc.lock")


def stages_in_order() -> list[str]:
    """The stages of dvc.yaml, each after those whose outputs it needs."""
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
    return list(TopologicalSorter(needs).static_order())


def reasons_to_run(stage: str) -> list[str]:
    """Why DVC would run a stage now, in words; empty where it would not."""
    # Here and not above: help and checks need not wait for it.
    from dvc.repo import Repo

    if stage not in _locked():
        return ["it has not run here before"]
    with Repo() as repo:
        status: dict[str, list[Any]] = repo.status([stage])
    reasons: list[str] = []
    for change in status.get(stage, []):
        if isinstance(change, str):
            reasons.append(change)
            continue
        for what, changed in change.items():
            side = "output" if what == "changed outs" else ""
            reasons += [f"{side} {line}".strip() for line in _changes(changed)]
    return reasons


def output_hash(stage: str) -> str | None:
    """DVC's hash of what a stage made, None if it has made nothing here."""
    found = _locked().get(stage)
    return found["outs"][0]["md5"] if found else None


def _locked() -> dict[str, Any]:
    return read_params(_LOCK)["stages"] if _LOCK.exists() else {}


def _changes(changed: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for path, how in changed.items():
        if isinstance(how, dict):  # a params file: its keys
            lines += [f"{key} {state}" for key, state in how.items()]
        else:
            lines.append(f"{path} {how}")
    return lines
