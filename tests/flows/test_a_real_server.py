"""What recovery and notifications ask of Prefect, asked of a real server."""

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from inboxes import webhook
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Cancelling, Completed, Running, Scheduled
from prefect.testing.utilities import prefect_test_harness

from flows import missed, notify, recovery
from flows.missed import made_up_for, settle


@flow(name="retrain")
def nothing() -> None:
    pass


@pytest.fixture(scope="module")
def server() -> Generator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=300), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(server, request) -> UUID:
    flow_id = server.create_flow(nothing)
    return server.create_deployment(flow_id, request.node.name)


def planned_by_prefect(server, deployment: UUID, due: datetime) -> UUID:
    """A start as Prefect's own scheduler plans it; no client can ask for one."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models.flow_runs import create_flow_run
    from prefect.server.schemas.core import FlowRun
    from prefect.server.schemas.states import Scheduled as PlannedState

    run = FlowRun(
        flow_id=server.read_deployment(deployment).flow_id,
        deployment_id=deployment,
        auto_scheduled=True,
        state=PlannedState(scheduled_time=due),
    )

    async def add() -> UUID:
        async with provide_database_interface().session_context(begin_transaction=True) as session:
            return (await create_flow_run(session, run)).id

    return asyncio.run(add())


@pytest.mark.soak
def test_of_a_missed_week_one_start_does_the_work(server, deployment):
    week_ago = datetime.now(UTC) - timedelta(days=7)
    starts = [
        planned_by_prefect(server, deployment, week_ago + timedelta(days=day)) for day in range(7)
    ]
    for start in starts:  # a worker that is back is handed all of them
        server.set_flow_run_state(start, Running())
    assert [bool(made_up_for(start)) for start in starts] == [False] + [True] * 6
    name = server.read_flow_run(starts[0]).name
    assert made_up_for(starts[3]).endswith(f"was missed; {name} made up for it")
    # It ends; one that came late all the same finds its work done too.
    server.set_flow_run_state(starts[0], Completed(name="Promoted"))
    assert made_up_for(starts[6])
    # The next one in time is not late, and is not asked.
    now = planned_by_prefect(server, deployment, datetime.now(UTC))
    server.set_flow_run_state(now, Running())
    assert made_up_for(now) is None


@pytest.mark.soak
def test_a_schedule_that_is_back_settles_what_it_left(server, deployment, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(recovery, "tell", lambda _, run, state: told.append(state.name))
    due = datetime.now(UTC) - timedelta(days=2)

    def left(state) -> UUID:
        return server.create_flow_run_from_deployment(deployment, state=state).id

    gone, cancelling = left(Running()), left(Cancelling())
    left(Scheduled(scheduled_time=due))
    assert settle(server, deployment, is_idle=True) == due
    ends = [server.read_flow_run(run).state.name for run in (gone, cancelling)]
    assert ends == ["Crashed", "Cancelled"]
    assert sorted(told) == ["Cancelled", "Crashed"]
    assert missed._runs(server, deployment, *missed.StateType) != []
    assert settle(server, deployment, is_idle=True) is None  # and once is enough


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_block_of_prefects_takes_a_message(server, monkeypatch):
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    with webhook() as hook:
        CustomWebhookNotificationBlock(
            name="team",
            url=f"http://127.0.0.1:{hook.server_address[1]}/hook",
            json_data={"title": "{{subject}}", "message": "{{body}}"},
        ).save("team")
        monkeypatch.setenv(notify.ADDRESSES, "block:custom-webhook/team")
        assert notify.send("wordmill: data rejected", "ingest failed") == 1
        assert hook.taken == ["wordmill: data rejected\ningest failed"]
