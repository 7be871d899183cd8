"""What becomes of a planned start when its time has come."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State, StateType

from flows import starts
from flows.schedule import planned
from flows.starts import Starts
from flows.workspace import only_flow


class _Server:
    """As much of Prefect's server as a start needs: the runs and their states."""

    def __init__(self) -> None:
        self.runs: dict[UUID, SimpleNamespace] = {}

    def add(self, kind: StateType, *, has_begun: bool = False) -> UUID:
        known = uuid4()
        self.runs[known] = SimpleNamespace(
            name=f"run-{len(self.runs)}",
            state=State(type=kind),
            start_time="now" if has_begun else None,
        )
        return known

    async def read_flow_run(self, known: UUID) -> SimpleNamespace:
        return self.runs[known]

    async def set_flow_run_state(self, known: UUID, state: State, *, force: bool) -> None:
        assert force
        self.runs[known].state = state


@pytest.fixture
def told(monkeypatch, tmp_path) -> list[str]:
    monkeypatch.chdir(tmp_path)
    names: list[str] = []
    monkeypatch.setattr(starts, "tell", lambda _, run, state: names.append(state.name))
    return names


def ends_of(server: _Server, *due: UUID) -> list[str]:
    async def come() -> None:
        planner = Starts(server, uuid4())
        for known in due:
            await planner.let_begin(known)

    asyncio.run(come())
    return [server.runs[known].state.name for known in due]


def test_a_start_that_finds_nothing_at_work_is_left_to_the_runner(told):
    server = _Server()
    assert ends_of(server, server.add(StateType.SCHEDULED)) == ["Scheduled"]
    assert told == []


def test_a_start_that_would_overlap_is_skipped_without_a_process(told):
    server = _Server()
    with only_flow():
        assert ends_of(server, server.add(StateType.SCHEDULED)) == ["Skipped"]
    (run,) = server.runs.values()
    assert "another flow is at work in this project (process" in run.state.message
    assert told == ["Skipped"]


def test_a_start_is_skipped_while_the_one_before_it_has_yet_to_lock(told):
    server = _Server()
    first, second, third = (server.add(StateType.SCHEDULED) for _ in range(3))
    assert ends_of(server, first, second, third) == ["Scheduled", "Skipped", "Skipped"]
    assert "the start before it, run-0, is at work still" in server.runs[third].state.message
    assert told == ["Skipped"] * 2


def test_a_start_after_one_that_has_ended_begins(told):
    server = _Server()
    done, due = server.add(StateType.COMPLETED, has_begun=True), server.add(StateType.SCHEDULED)
    assert ends_of(server, done, due) == ["Completed", "Scheduled"]


def test_one_that_could_not_tell_its_end_holds_up_no_start_for_ever(told):
    server = _Server()
    lost, due = server.add(StateType.RUNNING, has_begun=True), server.add(StateType.SCHEDULED)
    server.runs[lost].state.timestamp = datetime.now(UTC) - timedelta(hours=1)
    assert ends_of(server, lost, due) == ["Running", "Scheduled"]
    assert told == []


def test_what_the_runner_was_quicker_to_take_goes_on(told):
    server = _Server()
    with only_flow():
        assert ends_of(server, server.add(StateType.PENDING)) == ["Pending"]


def test_a_start_that_was_cancelled_before_its_time_ends(told):
    server = _Server()
    assert ends_of(server, server.add(StateType.CANCELLING)) == ["Cancelled"]
    begun = server.add(StateType.CANCELLING, has_begun=True)  # its runner ends it
    assert ends_of(server, begun) == ["Cancelling"]


def test_a_start_planned_by_a_clock_that_was_wrong_is_planned_again(monkeypatch):
    wrong, right = (datetime(year, 1, 1, 0, 0, 30, tzinfo=UTC) for year in (2031, 2026))
    moments = [wrong, wrong, right, right]
    monkeypatch.setattr(starts, "datetime", SimpleNamespace(now=lambda _: moments.pop(0)))
    planned_for: list[datetime] = []
    deleted: list[int] = []

    async def create(_, *, state):
        planned_for.append(state.state_details.scheduled_time)
        if len(planned_for) == 2:
            raise KeyboardInterrupt
        return SimpleNamespace(id=len(planned_for))

    async def delete(known):
        deleted.append(known)

    client = SimpleNamespace(create_flow_run_from_deployment=create, delete_flow_run=delete)
    plan = planned(cron=None, every="1h", timezone="UTC", hours=None)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(Starts(client, uuid4()).plan_ahead(plan, is_now=False))
    assert [f"{due:%Y %H:%M}" for due in planned_for] == ["2031 01:00", "2026 01:00"]
    assert deleted == [1]
