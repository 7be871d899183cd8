"""Starts of a schedule that nobody was there for: one start makes up for all of them.

`wordmill schedule` plans one start at a time, so that it can miss no more than one (`settle`, when
it comes back). Prefect's own schedules plan many, and a worker that was away is given all of them
at once: each asks whether another has done its work (`made_up_for`).
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from flows.recovery import end_gone

# A start that is later than this was missed; a busy machine takes seconds.
_LATE = timedelta(minutes=1)
_PAGE = 200  # the most that Prefect returns at a time


def settle(client: SyncPrefectClient, deployment_id: UUID, *, is_idle: bool) -> datetime | None:
    """Before serving: end runs whose process is gone, take planned starts off the list.

    Args:
        client: of Prefect's server.
        deployment_id: of the schedule.
        is_idle: whether no flow is at work in this project.

    Returns:
        When the first start was due that was missed, None if none was.
    """
    if is_idle:
        for run in _runs(
            client, deployment_id, StateType.RUNNING, StateType.PENDING, StateType.CANCELLING
        ):
            if told := end_gone(client, run.id):
                print(told, flush=True)
    planned: list[datetime] = []
    while found := _runs(client, deployment_id, StateType.SCHEDULED):
        for run in found:
            client.delete_flow_run(run.id)
            planned += [run.expected_start_time] if run.expected_start_time else []
    first = min(planned, default=None)
    return first if first and first < datetime.now(UTC) else None


def made_up_for(flow_run_id: UUID) -> str | None:
    """Why a late start has nothing to do any more, None if it has.

    Args:
        flow_run_id: of the start.
    """
    with get_client(sync_client=True) as client:
        mine = client.read_flow_run(flow_run_id)
        due = mine.expected_start_time
        if mine.deployment_id is None or not mine.auto_scheduled or due is None:
            return None
        if datetime.now(UTC) - due < _LATE:
            return None
        since = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[mine.deployment_id]),
                start_time=FlowRunFilterStartTime(after_=due),
            ),
            limit=_PAGE,
        )
    others = [run for run in since if covers(run, mine)]
    if not others:
        return None
    at_work = min(others, key=_due)  # the others of them are skipped as well
    return f"this start of {due:%Y-%m-%d %H:%M:%S %Z} was missed; {at_work.name} made up for it"


def _due(run: FlowRun) -> datetime:
    return run.expected_start_time or datetime.max.replace(tzinfo=UTC)


def covers(other: FlowRun, mine: FlowRun) -> bool:
    """Whether another start, begun after `mine` was due, did its work.

    Of two that begin together the older one counts, unless the younger has ended before.
    """
    if other.id == mine.id or other.state is None or other.state.name == "Skipped":
        return False
    is_older = bool(
        other.expected_start_time
        and mine.expected_start_time
        and other.expected_start_time < mine.expected_start_time
    )
    return is_older or other.state.is_final()


def _runs(client: SyncPrefectClient, deployment_id: UUID, *types: StateType) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
        ),
        limit=_PAGE,
    )
