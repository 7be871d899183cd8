"""Asking the gate: a registered version against the champion, in a job of its own.

The job is stages/gate.py; here the two versions are fetched from the registry, and what the job
found is kept with the challenger.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flows.answerer import Located
from flows.located import located
from flows.located_result import evaluation_of
from flows.pipeline import Outcome, run_stage
from flows.workspace import GATE, STATE
from wordmill.errors import DataError, OutputError, ParamsError, TryAgainError, WordmillError
from wordmill.files import replaced_file, write_json
from wordmill.gate.verdict import Verdict
from wordmill.params.everything import Params

SEED_NOISE = Path("registry/seed_noise.json")

_ASKED = STATE / "gate.json"
_KINDS = {kind.exit_status: kind for kind in (ParamsError, DataError, OutputError, TryAgainError)}


def judged(
    challenger: str,
    champion: str | None,
    params: Params,
    *,
    parent_run: str = "",
    log: Callable[[str], None] = print,
) -> Verdict:
    """Score a version beside the champion and say what follows.

    Args:
        challenger: its version.
        champion: the version that serves, None where there is none.
        params: of the project.
        parent_run: the MLflow run that asks.
        log: takes the lines that the job prints.

    Raises:
        WordmillError: the challenger can't be loaded, its evaluation is not to be had, or the
            job failed.
    """
    with ExitStack() as stack:
        asked: dict[str, Any] = {
            "challenger": _version(challenger, stack.enter_context(located(challenger, params))),
            "champion": None,
            "champion_error": "",
            "evaluation": str(stack.enter_context(evaluation_of(challenger)).resolve()),
            "seed_deviations": _seed_deviations(),
        }
        if champion is not None:
            try:
                found = stack.enter_context(located(champion, params))
                asked["champion"] = _version(champion, found)
            except WordmillError as error:  # the gate holds, and says so
                asked["champion"] = {"version": champion, "folder": "", "max_source_tokens": 0}
                asked["champion_error"] = str(error)
        with replaced_file(_ASKED) as partial:
            write_json(partial, asked)
        outcome = run_stage(
            "gate",
            why=[],
            is_forced=False,
            parent_run=parent_run,
            log=log,
            is_outside=True,
        )
    _check(outcome)
    return json.loads((GATE / "verdict.json").read_text(encoding="utf-8"))


def _version(version: str, found: Located) -> dict[str, Any]:
    return {
        "version": version,
        "folder": str(found.folder),
        "max_source_tokens": found.settings["max_source_tokens"],
    }


def _seed_deviations() -> dict[str, float]:
    if not SEED_NOISE.exists():
        return {}
    return json.loads(SEED_NOISE.read_text(encoding="utf-8"))["deviations"]


def _check(outcome: Outcome) -> None:
    """Raise what the job has failed of."""
    if outcome.verdict != "failed":
        return
    kind = _KINDS.get(outcome.exit_status)
    if kind is not None:
        raise kind(f"gate: {outcome.message}")
    if outcome.may_pass:
        raise TryAgainError(f"gate: {outcome.message}; try again")
    raise DataError(f"gate: {outcome.message}")
