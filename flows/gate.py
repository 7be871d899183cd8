"""Asking the gate: a registered version against the champion, in a job of its own.

The job is stages/gate.py; here the two versions are fetched from the registry, and what the job
found is kept with the challenger.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from flows.answerer import Located
from flows.budget import Budget, OutOfTimeError
from flows.located import located
from flows.located_result import evaluation_of
from flows.pipeline import Outcome, run_stage
from flows.promoting import Judge
from flows.registry import GATE_TAG, Registry
from flows.version_files import check_stored
from flows.workspace import GATE, STATE, only_flow
from wordmill.errors import DataError, OutputError, ParamsError, TryAgainError, WordmillError
from wordmill.files import replaced_file, replaced_folder, sha256_of, size_of, write_json
from wordmill.gate.evidence import from_record
from wordmill.gate.record import write_verdict
from wordmill.gate.rules import decision, findings
from wordmill.gate.verdict import Verdict, gate_lines
from wordmill.params.everything import Params
from wordmill.report.record import Record

SEED_NOISE = Path("registry/seed_noise.json")

_ASKED = STATE / "gate.json"
_LATER = "the next start asks it again"
_KINDS = {kind.exit_status: kind for kind in (ParamsError, DataError, OutputError, TryAgainError)}


def gate(
    registry: Registry,
    params: Params,
    *,
    parent_run: str = "",
    log: Callable[[str], None] = print,
    budget: Budget | None = None,
) -> Judge:
    """The gate, as promotion asks it.

    What it says is kept with the challenger: a tag, and data/gate with its run.

    Args:
        registry: of the versions.
        params: of the project.
        parent_run: the MLflow run that asks.
        log: takes the lines that the job prints.
        budget: stops the job when it is over.
    """

    def judge(challenger: str, champion: str | None) -> Verdict:
        if champion is None:
            verdict = _of_first(challenger, params)
        else:
            verdict = _of_both(
                registry,
                challenger,
                champion,
                params,
                parent_run=parent_run,
                log=log,
                budget=budget,
            )
        if run_id := registry.version(challenger).run_id:
            registry.client.log_artifacts(run_id, str(GATE), GATE.name)
        registry.tag(challenger, GATE_TAG, verdict["decision"])
        return verdict

    return judge


def by_hand(params: Params) -> Judge:
    """The gate for a person who promotes: nothing else changes the project while it works."""

    def judge(challenger: str, champion: str | None) -> Verdict:
        with only_flow():
            registry = Registry(MlflowClient(), params.registry.name)
            verdict = gate(registry, params)(challenger, champion)
        print(gate_lines(verdict), flush=True)
        return verdict

    return judge


def _of_first(challenger: str, params: Params) -> Verdict:
    """Nobody is to be beaten: limits alone decide."""
    with located(challenger, params) as found, evaluation_of(challenger) as evaluation:
        scores = evaluation / "scores.json"
        record: Record = _json(scores)
        seen = findings(from_record(record, num_bytes=size_of(found.folder)), params.registry.gate)
        verdict: Verdict = {
            "decision": decision(seen),
            "challenger": challenger,
            "champion": None,
            "sets": {kind: record["identity"][kind] for kind in record["primary"]},
            "evaluation": sha256_of(scores),
            "findings": seen,
        }
        with replaced_folder(GATE) as folder:
            write_verdict(folder, verdict, record, _json(evaluation / "surroundings.json"))
        return verdict


def _of_both(
    registry: Registry,
    challenger: str,
    champion: str,
    params: Params,
    *,
    parent_run: str,
    log: Callable[[str], None],
    budget: Budget | None,
) -> Verdict:
    """Run the job.

    Raises:
        OutOfTimeError: the budget stopped the job.
        WordmillError: the challenger can't be loaded, its evaluation is not to be had, or the
            job failed.
    """
    with ExitStack() as stack:
        asked: dict[str, Any] = {
            "challenger": _version(challenger, stack.enter_context(located(challenger, params))),
            "champion": {"version": champion, "folder": "", "max_source_tokens": 0},
            "champion_error": "",
            "evaluation": str(stack.enter_context(evaluation_of(challenger)).resolve()),
            "seed_deviations": _seed_deviations(),
        }
        try:
            check_stored(
                registry, champion
            )  # a flipped bit scores badly, and would be easy to beat
            asked["champion"] = _version(champion, stack.enter_context(located(champion, params)))
        except WordmillError as error:  # the gate holds, and says so
            asked["champion_error"] = str(error)
        with replaced_file(_ASKED) as partial:
            write_json(partial, asked)
        outcome = run_stage(
            "gate",
            why=[],
            is_forced=False,
            parent_run=parent_run,
            log=log,
            starter=None,
            budget=budget,
        )
    _check(outcome)
    return _json(GATE / "verdict.json")


def _version(version: str, found: Located) -> dict[str, Any]:
    return {
        "version": version,
        "folder": str(found.folder),
        "max_source_tokens": found.settings["max_source_tokens"],
    }


def _seed_deviations() -> dict[str, float]:
    try:
        found = _json(SEED_NOISE)["deviations"]
        return {str(name): float(one) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(
            f"{SEED_NOISE}: not as `wordmill seed-noise` writes it; write it again, or remove it"
        ) from None


def _check(outcome: Outcome) -> None:
    """Raise what the job has failed of."""
    if outcome.verdict == "ran":
        return
    if outcome.verdict == "stopped":
        raise OutOfTimeError(f"gate: stopped, the time is over; {_LATER}")
    kind = _KINDS.get(outcome.exit_status)
    if kind is not None:
        raise kind(f"gate: {outcome.message}")
    if outcome.may_pass:
        raise TryAgainError(f"gate: {outcome.message}; {_LATER}")
    raise DataError(f"gate: {outcome.message}")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
