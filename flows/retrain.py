"""The retraining flow: run what changed, register what is new, say what happened.

One Prefect task a stage, made from dvc.yaml. DVC decides what has to run; this flow only asks
why, watches, retries what may pass, and takes the result to the registry.
"""

import argparse
import sys
import time
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import artifacts, dag, last_end
from flows.budget import Budget, OutOfTimeError
from flows.cancel import cancellable
from flows.ending import ended_by, exit_status
from flows.gate import gate
from flows.group import lead, shell_status
from flows.hush import hush
from flows.keeping import keep
from flows.lineage import dvc_tags, git_tags, version_tags
from flows.lineage_record import identity_tags
from flows.missed import made_up_for
from flows.notify import tell
from flows.parity import check_version
from flows.pipeline import Outcome, run_stage, stopped_before
from flows.plan import plan, told
from flows.promoting import consider, is_decided, settled, whoami
from flows.promotion_log import DisagreementError
from flows.push import check_remote
from flows.recovery import begun, repair
from flows.registering import register
from flows.registry import CHAMPION, Registry
from flows.retries import JITTER, RETRIES, may_pass, waits
from flows.starter import Starter
from flows.summary import Summary
from flows.tracking import Tracking, answering
from flows.version_files import check_stored
from flows.workspace import PARAMS, check_room, enter, only_flow
from wordmill.errors import DataError, TryAgainError, WordmillError
from wordmill.gate.verdict import Verdict
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params

_JUDGE_DATA = ("ingest", "clean")


@task(
    task_run_name="{stage}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_jitter_factor=JITTER,
    retry_condition_fn=may_pass,
)
def stage_task(
    stage: str,
    why: list[str],
    is_forced: bool,
    parent_run: str,
    starter: Starter,
    budget: Budget,
) -> State[Outcome]:
    """Run one stage through DVC if there is a reason to."""
    logger = get_run_logger()
    if not why:
        reused = Outcome(stage=stage, verdict="reused", why=[], message="nothing changed")
        return Completed(name="Reused", message=reused.message, data=reused)
    if budget.is_over:
        return _stopped(stopped_before(stage, why, budget))
    logger.info("%s runs because %s", stage, "; ".join(why))
    outcome = run_stage(
        stage,
        why=why,
        is_forced=is_forced,
        parent_run=parent_run,
        log=logger.info,
        starter=starter,
        budget=budget,
    )
    if outcome.verdict == "failed":
        return Failed(message=outcome.message, data=outcome)
    if outcome.verdict == "stopped":
        return _stopped(outcome)
    return Completed(message=outcome.message, data=outcome)


@task(name="gate", task_run_name="gate", cache_policy=NO_CACHE, persist_result=False)
def gate_task(
    registry: Registry,
    params: Params,
    parent_run: str,
    budget: Budget,
    challenger: str,
    champion: str | None,
) -> Verdict:
    """Score challenger and champion in one job, and decide."""
    log = get_run_logger().info
    judge = gate(registry, params, parent_run=parent_run, log=log, budget=budget)
    verdict = judge(challenger, champion)
    log("gate: %s to version %s", verdict["decision"], challenger)
    return verdict


def _stopped(outcome: Outcome) -> State[Outcome]:
    return Completed(name="Stopped", message=outcome.message, data=outcome)


@flow(
    name="retrain",
    persist_result=False,
    on_completion=[tell],
    on_failure=[tell],
    on_crashed=[tell],
)
def retrain(
    is_forced: bool = False,
    hours: float | None = None,
    is_committed: bool = False,
    is_pushed: bool = False,
) -> State[int]:
    """Bring the model up to date; the state's result is the exit status.

    Args:
        is_forced: run every stage though nothing changed.
        hours: stop after this time, with a checkpoint; the next start goes on.
        is_committed: commit dvc.lock and the log of promotions.
        is_pushed: push the data to DVC's default remote.
    """
    started_at = time.monotonic()
    hush()
    try:
        enter()  # a worker starts the flow without the command line
        params = parse_params(Params, read_params(PARAMS), file=PARAMS)
        check_room()
        if is_pushed:
            check_remote()
        if reason := made_up_for(flow_run.id):
            return Completed(name="Skipped", message=reason, data=0)
        budget = Budget(hours)
        with only_flow(), begun(flow_run.id), cancellable(flow_run.id), answering():
            with Starter() as starter:
                summary = _brought_up_to_date(params, starter, is_forced=is_forced, budget=budget)
            keep(summary, is_committed=is_committed, is_pushed=is_pushed, budget=budget)
            last_end.remember(summary, params)
    except WordmillError as error:
        return ended_by(error)
    summary.seconds = time.monotonic() - started_at
    print(summary.text())
    artifacts.leave(summary)
    return _ended(summary)


def _ended(summary: Summary) -> State[int]:
    """The flow's last state; its name tells Prefect's page and flows/notify.py how it went."""
    told = "; ".join([summary.headline, *summary.not_kept])
    if failed := summary.failed:
        is_data = failed.exit_status == DataError.exit_status and failed.stage in _JUDGE_DATA
        name = "Rejected" if is_data else "Failed"
        return Failed(name=name, message=told, data=shell_status(failed.exit_status))
    if summary.stopped or summary.is_out_of_time:
        return Completed(name="Stopped", message=told, data=TryAgainError.exit_status)
    if summary.pipeline_run is None:
        return Completed(name="Nothing new", message=told, data=0)
    return Completed(name=_step_of(summary), message=told, data=0)


def _step_of(summary: Summary) -> str:
    if summary.is_promoted:
        return "Promoted"
    is_new = summary.standing is not None and summary.standing.is_new
    return "Held" if is_new or summary.is_judged else "Completed"


def _brought_up_to_date(
    params: Params, starter: Starter, *, is_forced: bool, budget: Budget
) -> Summary:
    tracking = Tracking()
    registry = Registry(tracking.client, params.registry.name)
    summary = Summary(model=registry.name)
    summary.repaired += repair(flow_run.id, tracking)
    try:
        summary.repaired += settled(registry)
    except DisagreementError as error:  # training need not wait for it
        summary.held_because = str(error)
    for line in summary.repaired:  # now: this run may be killed too
        print(line, flush=True)
    steps = plan(is_forced=is_forced)
    has_work = any(step.may_run for step in steps)
    known = None if has_work else registry.verified_version_of(version_tags())
    if known and (summary.held_because or is_decided(registry, known)):
        summary.standing = registry.standing(known, is_new=False)
        return summary
    tags = {**git_tags(), "prefect.flow_run": str(flow_run.id)}
    with tracking.pipeline_run(str(flow_run.name), tags) as run_id:
        summary.pipeline_run = run_id
        print(f"\nThis run\n{told(steps)}\n", flush=True)
        for step in steps:
            summary.outcomes.append(_run(step.stage, step.beyond, run_id, starter, budget))
            if summary.failed or summary.stopped:
                tracking.end(run_id, "FAILED" if summary.failed else "KILLED")
                return summary
        _link(tracking, summary, run_id)
        _take_to_registry(registry, summary, params, budget, run_id, tags)
    return summary


def _run(
    stage: str, forced_why: list[str], run_id: str, starter: Starter, budget: Budget
) -> Outcome:
    why = forced_why + dag.reasons_to_run(stage)
    patient = stage_task.with_options(retry_delay_seconds=waits(stage))
    state = patient(stage, why, bool(forced_why), run_id, starter, budget, return_state=True)
    outcome = state.result(raise_on_failure=False)
    assert isinstance(outcome, Outcome)
    return outcome


def _link(tracking: Tracking, summary: Summary, run_id: str) -> None:
    """Point the pipeline's run to the runs that made what it used, and to the data."""
    tags = dvc_tags()
    for outcome in summary.outcomes:
        if outcome.verdict == "ran" and outcome.run_id:
            tags[f"made.{outcome.stage}"] = outcome.run_id
        elif maker := tracking.maker_of(tags[f"dvc.{outcome.stage}"]):
            summary.makers[outcome.stage] = maker
            tags[f"reused.{outcome.stage}"] = maker
    tracking.tag(run_id, tags)


def _take_to_registry(
    registry: Registry,
    summary: Summary,
    params: Params,
    budget: Budget,
    run_id: str,
    tags: dict[str, str],
) -> None:
    """Register what was made, once, and make it champion if it has earned that."""
    key = version_tags()
    found = registry.verified_version_of(key)
    made = found or register(
        registry, run_id, params, {**tags, **dvc_tags(), **key, **identity_tags()}
    )

    def judge(challenger: str, champion: str | None) -> Verdict:
        verdict = gate_task(registry, params, run_id, budget, challenger, champion)
        summary.is_judged = True
        return verdict

    # It was tested a moment ago, where no job lay between.
    is_first = registry.holder_of(CHAMPION) is None
    check = check_stored if found is None and is_first else check_version
    by = f"retrain {flow_run.name}, {whoami()}"
    try:
        # The same version made again, as after --force, may not undo a rollback.
        if found is None or not is_decided(registry, found):
            entry = consider(registry, made, judge=judge, by=by, check=check)
            summary.is_promoted = entry is not None
    except WordmillError as error:
        summary.held_because = str(error)
        summary.is_out_of_time = isinstance(error, OutOfTimeError)
    summary.standing = registry.standing(made, is_new=found is None)


def main(**asked: Any) -> int:
    """Run the flow as a program, with its parameters, and return the exit status."""
    lead()
    return exit_status(retrain(**asked, return_state=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description=__doc__)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--hours", type=float)
    parser.add_argument("--commit", action="store_true")
    parser.add_argument("--push", action="store_true")
    asked = parser.parse_args()
    sys.exit(
        main(
            is_forced=asked.force,
            hours=asked.hours,
            is_committed=asked.commit,
            is_pushed=asked.push,
        )
    )
