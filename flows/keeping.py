"""After a run: its results into git and onto DVC's remote, where that was asked for.

The run's own result stands, whatever becomes of this; what did not work is said with it.
"""

import json
from pathlib import Path

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.artifacts import value_of
from flows.budget import Budget
from flows.commit import commit
from flows.pipeline import Outcome
from flows.push import PUSH, push
from flows.retries import JITTER, RETRIES, may_pass, waits
from flows.summary import Summary
from wordmill.errors import WordmillError
from wordmill.report.measures import measure

_SCORES = Path("data/evaluate/scores.json")


def keep(summary: Summary, *, is_committed: bool, is_pushed: bool, budget: Budget) -> None:
    """Commit and push as asked, and put into the summary what became of it.

    Args:
        summary: of a run; one that failed or stopped keeps nothing.
        is_committed: into git, on the branch that is checked out.
        is_pushed: to DVC's default remote.
        budget: of the run; pushing ends with it.
    """
    if summary.failed or summary.stopped or summary.standing is None:
        return
    if is_committed:
        try:
            summary.kept.append(commit(_message(summary)))
        except WordmillError as error:
            summary.not_kept.append(f"not committed: {error}")
    if is_pushed:
        patient = push_task.with_options(retry_delay_seconds=waits(PUSH))
        pushed = patient(budget, return_state=True).result(raise_on_failure=False)
        assert isinstance(pushed, Outcome)
        summary.is_pushed = pushed.verdict == "ran"
        told = summary.kept if summary.is_pushed else summary.not_kept
        told.append(f"{'' if summary.is_pushed else 'not '}pushed: {pushed.message}")


@task(
    task_run_name=PUSH,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_jitter_factor=JITTER,
    retry_condition_fn=may_pass,
)
def push_task(budget: Budget) -> State[Outcome]:
    """Push through DVC; a remote that is away is asked again."""
    outcome = push(log=get_run_logger().info, budget=budget)
    state = Completed if outcome.verdict == "ran" else Failed
    return state(message=outcome.message, data=outcome)


def _message(summary: Summary) -> str:
    """What git's log says: the version, its part, its scores, and where it comes from."""
    assert summary.standing is not None
    made = summary.standing
    part = f", {made.alias}" if made.alias else ""
    record = json.loads(_SCORES.read_text(encoding="utf-8"))
    values = {kind: value_of(record, kind, metric) for kind, metric in record["primary"].items()}
    scores = [
        f"{kind}: {how.name} {how.words(value)}"
        for kind, value in values.items()
        if value is not None and (how := measure(record["primary"][kind]))
    ]
    lines = [f"Version {made.version} of {summary.model}{part}", "", *scores]
    if run := summary.pipeline_run or made.run_id:
        lines += ["", f"MLflow run {run}"]
    return "\n".join(lines)
