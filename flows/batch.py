"""The batch flow: a file of requests answered by a model, resumable by row.

One Prefect task answers, and is tried again where that can help; each time it goes on behind the
last row that stands in OUT.part (flows/batch_answers.py).
"""

import json
import os
import sys
from typing import Any
from uuid import UUID

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.asking import progress_lines
from flows.batch_answers import answer_rest
from flows.batch_job import Job, alone, check_job, job_of
from flows.batch_plan import nothing_to_do, planned
from flows.batch_record import Record, read_record
from flows.cancel import cancellable
from flows.ending import ended_by, exit_status
from flows.group import lead
from flows.hush import hush
from flows.notify import tell
from flows.pipeline import Outcome, Verdict
from flows.recovery import end_gone
from flows.registry import CHAMPION
from flows.retries import BATCH, JITTER, RETRIES, may_pass, waits
from flows.tracking import answering
from flows.workspace import PARAMS, enter
from wordmill.errors import WordmillError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params

_PROGRESS_VARIABLE = "WORDMILL_PROGRESS_SECONDS"


@task(
    task_run_name="answer",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_jitter_factor=JITTER,
    retry_condition_fn=may_pass,
)
def answer_task(job: Job, params: Params, run_id: str) -> State[Outcome]:
    """Answer what has no answer yet."""
    log = get_run_logger().info
    default = "0.5" if sys.stderr.isatty() else "30"
    every_seconds = float(os.environ.get(_PROGRESS_VARIABLE, default))
    try:
        plan = planned(job, params, flow_run=run_id)
        if plan.step == "nothing to do":
            return _done(nothing_to_do(job, plan), verdict="reused")
        if plan.record is not None:
            _end_killed(plan.record, run_id)
        log("%s: %s with %s, %s rows", plan.step, job.out, plan.model.name, f"{plan.num_rows:,}")
        with answering(), progress_lines(otherwise=log) as show:
            record = answer_rest(
                job, plan, params, flow_run=run_id, show=show, every_seconds=every_seconds
            )
    except WordmillError as error:
        return _failed(str(error), error.exit_status)
    return _done(record.headline(job.out), verdict="ran")


def _done(message: str, *, verdict: Verdict) -> State[Outcome]:
    done = Outcome(stage=BATCH, verdict=verdict, why=[], message=message)
    return Completed(message=message, data=done)


def _failed(message: str, exit_status: int) -> State[Outcome]:
    failed = Outcome(
        stage=BATCH, verdict="failed", why=[], message=message, exit_status=exit_status
    )
    return Failed(message=message, data=failed)


def _end_killed(record: Record, run_id: str) -> None:
    """End the run of an earlier start in Prefect, if that was killed: nobody else holds OUT."""
    if not record.starts or (last := record.starts[-1].flow_run) == run_id:
        return
    with get_client(sync_client=True) as client:
        if said := end_gone(client, UUID(last), flow=batch):
            print(said, flush=True)


@flow(name="batch", persist_result=False, on_failure=[tell], on_crashed=[tell])
def batch(
    source: str,
    out: str,
    model: str | int = CHAMPION,
    task: str = "summarize",
    ask: str = "",
    decoding: dict[str, Any] | None = None,
    num_sequences: int = 1,
    is_restarted: bool = False,
) -> State[int]:
    """Answer a file of requests; the state's result is the exit status.

    Args:
        source: JSON Lines with source, perhaps task and ask.
        out: gets the rows with their answers.
        model: an alias, a version or a folder.
        task: of rows that do not say it.
        ask: of rows that do not say it.
        decoding: values that take the place of the model's own.
        num_sequences: answers to each row.
        is_restarted: begin anew, in the place of what is there.
    """
    hush()
    try:
        enter()  # a worker starts the flow without the command line
        params = parse_params(Params, read_params(PARAMS), file=PARAMS)
        job = job_of(
            source=source,
            out=out,
            model=str(model),  # `-p model=3` is a number
            task=task,
            ask=ask,
            decoding=decoding or {},
            num_sequences=num_sequences,
            is_restarted=is_restarted,
        )
        check_job(job, params)
        with alone(job), cancellable(flow_run.id):
            patient = answer_task.with_options(retry_delay_seconds=waits(BATCH))
            state = patient(job, params, str(flow_run.id), return_state=True)
    except WordmillError as error:
        return ended_by(error)
    return _ended(job, state)


def _ended(job: Job, state: State[Any]) -> State[int]:
    outcome = state.result(raise_on_failure=False)
    assert isinstance(outcome, Outcome)
    if outcome.verdict == "failed":
        return Failed(message=outcome.message, data=outcome.exit_status)
    if outcome.verdict == "reused":
        print(outcome.message)
        return Completed(name="Nothing new", message=outcome.message, data=0)
    record = read_record(job.record)
    assert record is not None
    print(record.text(job.out, record=job.record))
    return Completed(message=outcome.message, data=0)


def main(asked: dict[str, Any]) -> int:
    """Run the flow as a program, with its parameters, and return the exit status."""
    lead()
    return exit_status(batch(**asked, return_state=True))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
