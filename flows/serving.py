"""Starts the retrainings of a schedule: `python -m flows.serving PLAN`, under flows/schedule.py.

Each runs in a process of its own, in this one's group, and ends with it.
"""

import asyncio
import hashlib
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.group import lead
from flows.missed import settle
from flows.retrain import retrain
from flows.schedule import Plan, anchor, next_start, plan_of
from flows.workspace import BusyError, only_flow

_POLL_SECONDS = 5


def main(plan: Plan) -> None:
    """Serve until a signal comes."""
    lead()
    missed = _missed()
    runner = Runner(pause_on_shutdown=False, query_seconds=_POLL_SECONDS)
    deployment = retrain.to_deployment(
        deployment_name(),
        schedule=_schedule(plan),
        parameters={"hours": plan.hours},
        description=f"wordmill schedule: {plan}, in {Path.cwd()}",
        # By path, Prefect would leave flows/ on sys.path.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    assert isinstance(deployment, RunnerDeployment)  # coroutines come only where a loop runs
    deployment_id = runner.add_deployment(deployment)
    assert isinstance(deployment_id, UUID)
    if missed:
        _make_up(deployment_id, missed)
    coming = next_start(plan, after=datetime.now(UTC))
    print(f"plan   {plan}\nnext   {coming:%Y-%m-%d %H:%M:%S %Z}\nCtrl-C ends it.", flush=True)
    asyncio.run(runner.start())


def deployment_name() -> str:
    """The folder's name, and what tells it from others of the name on the same server."""
    place = f"{socket.gethostname()}:{Path.cwd()}"
    return f"{Path.cwd().name}-{hashlib.sha256(place.encode()).hexdigest()[:6]}"


def _schedule(plan: Plan) -> Any:
    if plan.cron is not None:
        return CronSchedule(cron=plan.cron, timezone=plan.timezone)
    return IntervalSchedule(
        interval=timedelta(seconds=plan.every_seconds or 0),
        anchor_date=anchor(plan),
        timezone=plan.timezone,
    )


def _missed() -> list[str]:
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(f"{retrain.name}/{deployment_name()}")
        except ObjectNotFound:
            return []
        return settle(client, found.id, is_idle=_is_idle())


def _is_idle() -> bool:
    try:
        with only_flow():
            return True
    except BusyError:
        return False


def _make_up(deployment_id: UUID, missed: list[str]) -> None:
    print(
        f"{len(missed)} start(s) were missed since {missed[0]}; one makes up for them", flush=True
    )
    with get_client(sync_client=True) as client:
        client.create_flow_run_from_deployment(deployment_id, tags=[f"missed:{len(missed)}"])


if __name__ == "__main__":
    main(plan_of(sys.argv[1]))
