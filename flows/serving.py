"""Starts the retrainings of a schedule: `python -m flows.serving PLAN`, under flows/schedule.py.

Each runs in a process of its own, in this one's group, and ends with it.
"""

import asyncio
import hashlib
import signal
import socket
import sys
from datetime import datetime
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.group import lead
from flows.missed import settle
from flows.retrain import retrain
from flows.schedule import Plan, plan_of
from flows.starts import Starts
from flows.workspace import BusyError, only_flow

_POLL_SECONDS = 5


def main(plan: Plan) -> None:
    """Serve until a signal comes."""
    lead()
    missed = _missed()
    # Not before its time: until then a start may be cancelled, or turn out to overlap.
    runner = Runner(pause_on_shutdown=False, query_seconds=_POLL_SECONDS, prefetch_seconds=0)
    deployment = retrain.to_deployment(
        deployment_name(),
        parameters={
            "hours": plan.hours,
            "is_committed": plan.is_committed,
            "is_pushed": plan.is_pushed,
        },
        description=f"wordmill schedule: {plan}, in {Path.cwd()}",
        # By path, Prefect would leave flows/ on sys.path.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # coroutines come only where a loop runs
    deployment_id = runner.add_deployment(deployment)
    assert isinstance(deployment_id, UUID)
    print(f"plan   {plan}\nCtrl-C ends it.", flush=True)
    if missed:
        print(f"The start of {missed:%Y-%m-%d %H:%M:%S %Z} was missed: it comes now.", flush=True)
    asyncio.run(_serve(runner, plan, deployment_id, is_now=missed is not None))


async def _serve(runner: Runner, plan: Plan, deployment_id: UUID, *, is_now: bool) -> None:
    starting = asyncio.create_task(runner.start())
    planning = asyncio.create_task(_plan_ahead(plan, deployment_id, is_now=is_now))
    await asyncio.sleep(0)
    # By now Prefect has set a handler of its own, which does not await the end of what runs.
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    leaving = asyncio.create_task(told.wait())
    tasks = {starting, planning, leaving}
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    planning.cancel()
    leaving.cancel()
    if runner.started:
        await runner.astop()  # a retraining at work is cancelled and ends its stage
    await asyncio.wait({starting})
    for task in done:
        task.result()


async def _plan_ahead(plan: Plan, deployment_id: UUID, *, is_now: bool) -> None:
    async with get_client() as client:
        await Starts(client, deployment_id).plan_ahead(plan, is_now=is_now)


def deployment_name() -> str:
    """The folder's name, and what tells it from others of the name on the same server."""
    place = f"{socket.gethostname()}:{Path.cwd()}"
    return f"{Path.cwd().name}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def _missed() -> datetime | None:
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(f"{retrain.name}/{deployment_name()}")
        except ObjectNotFound:
            return None
        return settle(client, found.id, is_idle=_is_idle())


def _is_idle() -> bool:
    try:
        with only_flow():
            return True
    except BusyError:
        return False


if __name__ == "__main__":
    main(plan_of(sys.argv[1]))
