"""The starts of a schedule: one is planned at a time, and begins unless it would overlap.

A start that finds a retraining at work is skipped here, where that costs a request. The flow's own
lock would skip it too, after a process has started for it: on a busy machine with a short interval
these fed on themselves, until starts queued.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Scheduled

from flows.notify import tell
from flows.schedule import Plan, next_start
from flows.workspace import BusyError, only_flow

_POLL_SECONDS = 5
# A start that holds no lock is before it, or behind it and telling its end: both take seconds.
_WITHOUT_LOCK = timedelta(minutes=10)
_PUT_BACK = timedelta(minutes=1)  # less is a correction
# A start is judged before the runner may take it: one that was skipped a moment after began all
# the same, for Prefect lets an ended run begin again.
_AHEAD = timedelta(seconds=1)


class Starts:
    """Plans the starts of a deployment, and remembers which one has begun."""

    def __init__(self, client: PrefectClient, deployment_id: UUID) -> None:
        self._client, self._deployment_id = client, deployment_id
        self._begun: UUID | None = None

    async def plan_ahead(self, plan: Plan, *, is_now: bool) -> None:
        """Plan a start, and the next one when its time has come.

        Prefect's scheduler would plan a hundred, and a machine that was off for a week start seven.

        Args:
            plan: when.
            is_now: whether the first start comes at once.
        """
        due = datetime.now(UTC) if is_now else next_start(plan, after=datetime.now(UTC))
        while True:
            try:
                run = await self._client.create_flow_run_from_deployment(
                    self._deployment_id, state=Scheduled(scheduled_time=due)
                )
            except HTTPError as error:  # a retraining at work need not end for that
                print(f"Prefect's server does not answer: {error}", flush=True)
                await asyncio.sleep(_POLL_SECONDS)
                continue
            print(f"next   {due:%Y-%m-%d %H:%M:%S %Z}", flush=True)
            is_come, now = await _comes(due - _AHEAD), datetime.now(UTC)
            if is_come:
                try:
                    await self.let_begin(run.id)
                except (HTTPError, ObjectNotFound):  # the flow's own lock will do
                    self._begun = run.id
            else:
                with suppress(HTTPError, ObjectNotFound):
                    await self._client.delete_flow_run(run.id)
            due = next_start(plan, after=max(due, now) if is_come else now)

    async def let_begin(self, run_id: UUID) -> None:
        """Leave a start whose time has come to the runner, or end it: cancelled, or skipped."""
        run = await self._client.read_flow_run(run_id)
        if run.state is None or run.start_time is not None:
            self._begun = run_id
        elif run.state.is_cancelling():  # without a process nobody else would end it
            never_begun = Cancelled(message="cancelled before it began")
            await self._client.set_flow_run_state(run_id, never_begun, force=True)
        elif run.state.is_scheduled() and (why := await self._at_work()):
            skipped = Completed(name="Skipped", message=why)
            await self._client.set_flow_run_state(run_id, skipped, force=True)
            print(f"{run.name} is skipped: {why}", flush=True)
            await asyncio.to_thread(tell, None, run, skipped)
        else:
            self._begun = run_id

    async def _at_work(self) -> str | None:
        """What is at work in this project, None if nothing is."""
        try:
            with only_flow():
                pass
        except BusyError as error:
            return str(error)
        begun = await self._last_begun()
        if begun is None or begun.state is None or begun.state.is_final() or _is_lost(begun.state):
            return None
        return f"the start before it, {begun.name}, is at work still; wait for it"

    async def _last_begun(self) -> FlowRun | None:
        """The last start that was not skipped: its process may need a while until it locks."""
        if self._begun is None:
            return None
        try:
            return await self._client.read_flow_run(self._begun)
        except ObjectNotFound:
            return None


async def _comes(due: datetime) -> bool:
    """Wait for a start; False if the clock was put back: others may come before it, by years."""
    seen = datetime.now(UTC)
    while (now := datetime.now(UTC)) < due:
        if now < seen - _PUT_BACK:
            return False
        seen = now
        # One long sleep would not see the machine's.
        await asyncio.sleep(min(_POLL_SECONDS, (due - now).total_seconds()))
    return True


def _is_lost(state: State) -> bool:
    """Whether a start that holds no lock has ended and could not tell, as with its server away."""
    return not state.is_scheduled() and datetime.now(UTC) - state.timestamp > _WITHOUT_LOCK
