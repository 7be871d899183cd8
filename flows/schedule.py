"""`wordmill schedule`: the retraining again and again, with a page, until Ctrl-C.

One process watches two: Prefect's server, unless one runs already, and the one that starts the
retrainings (flows/serving.py). Either may die; both are started again. An overlapping start is
skipped by the flow itself: its lock also knows of a retraining that was started by hand, and the
kernel gives it back after a kill. A limit of Prefect's knows neither.
"""

import difflib
import json
import os
import re
import sys
import time
import zoneinfo
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from flows.group import GRACE_SECONDS, Child, group
from flows.ui import await_pages, is_taken, server
from flows.workspace import announced_ui, only_one, running_prefect
from wordmill.errors import ParamsError, TryAgainError

_API = "PREFECT_API_URL"
_HOST = "127.0.0.1"
_POLL_SECONDS = 0.5
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 5.0, 300.0
_LASTED_SECONDS = 600.0  # what ran as long as this was in order
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When to start, and how long a run may take."""

    cron: str | None
    every_seconds: int | None
    timezone: str
    hours: float | None
    is_committed: bool = False
    is_pushed: bool = False

    def __str__(self) -> str:
        if self.cron is None:
            return f"every {_told(self.every_seconds or 0)}"
        return f"at {self.cron} ({self.timezone})"


def planned(
    *,
    cron: str | None,
    every: str | None,
    timezone: str,
    hours: float | None,
    is_committed: bool = False,
    is_pushed: bool = False,
) -> Plan:
    """What was asked for, checked.

    Raises:
        ParamsError: both or none of the two ways to say when, no such time, no such zone.
    """
    if (cron is None) == (every is None):
        got = "neither" if cron is None else "both"
        raise ParamsError(
            f'say when by a cron line such as "0 3 * * *" or by --every 6h; got {got}'
        )
    _check_zone(timezone)
    if cron is not None:
        _check_cron(cron)
    seconds = None if every is None else _seconds(every)
    return Plan(
        cron=cron,
        every_seconds=seconds,
        timezone=timezone,
        hours=hours,
        is_committed=is_committed,
        is_pushed=is_pushed,
    )


def next_start(plan: Plan, *, after: datetime) -> datetime:
    """When the next start comes, in the plan's zone.

    Raises:
        ParamsError: there is no such day.
    """
    zone = zoneinfo.ZoneInfo(plan.timezone)
    if plan.every_seconds is not None:
        begun = (after - _origin(plan)).total_seconds() // plan.every_seconds
        at = _origin(plan).timestamp() + (begun + 1) * plan.every_seconds
        return datetime.fromtimestamp(at, tz=zone)
    return _next_of_cron(plan.cron or "", after.astimezone(zone))


def _next_of_cron(line: str, after: datetime) -> datetime:
    """When a cron line comes next, by the clock of the zone that `after` is told in.

    croniter is given the clock without a zone. With one, it went by the zone's distance from UTC
    before the clock was changed: a start came an hour late, or twice.
    """
    from prefect._vendor.croniter import CroniterBadDateError, croniter

    try:
        clock: datetime = croniter(line, after.replace(tzinfo=None)).get_next(datetime)
    except CroniterBadDateError:
        raise ParamsError(f"{line}: there is no such day, it would never start") from None
    at = clock.replace(tzinfo=after.tzinfo)
    if at.timestamp() <= after.timestamp():  # of an hour that comes twice, the second
        at = at.replace(fold=1)
    return datetime.fromtimestamp(at.timestamp(), tz=after.tzinfo)  # none that is left out


def _origin(plan: Plan) -> datetime:
    """What intervals are counted from.

    Not from the process's start: a machine that restarts every five hours retrains `--every 6h`.
    """
    return datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo(plan.timezone))


def serve(plan: Plan, *, prefect_port: int) -> int:
    """Serve a schedule until Ctrl-C and return the exit status.

    Raises:
        ParamsError: the port is taken.
        TryAgainError: a schedule of this project is being served already.
    """
    next_start(plan, after=datetime.now(UTC))  # one that never comes is told before all else
    if os.environ.get(_API) == running_prefect():  # of `make ui`, which may end before this
        os.environ.pop(_API, None)
    with only_one("schedule", otherwise="a schedule of this project is being served already"):
        wait = _FIRST_WAIT_SECONDS
        try:
            while True:
                began_at = time.monotonic()
                ended = _serve_until_one_ends(plan, prefect_port)
                if time.monotonic() - began_at > _LASTED_SECONDS:
                    wait = _FIRST_WAIT_SECONDS
                print(f"{ended} has ended; both start again in {wait:.0f} s", flush=True)
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        except KeyboardInterrupt:
            print("\nThe schedule is off; what is done stays done.")
            return 0


def _serve_until_one_ends(plan: Plan, port: int) -> str:
    """Run both processes; returns what has ended."""
    try:
        with _prefect(port) as (address, page, prefect):
            environment = {**os.environ, _API: address}
            command = [sys.executable, "-m", "flows.serving", json.dumps(asdict(plan))]
            print(f"page   {page}", flush=True)
            # A flow may need one grace to end its stage, and then some to say so.
            with group(
                command, environment=environment, grace_seconds=2 * GRACE_SECONDS
            ) as starter:
                children = {"Prefect's server": prefect, "what starts the retrainings": starter}
                return _first_to_end(children)
    except TryAgainError as error:
        return str(error)


def _first_to_end(children: dict[str, Child | None]) -> str:
    while True:
        for name, child in children.items():
            if child is not None and child.poll() is not None:
                return name
        time.sleep(_POLL_SECONDS)


@contextmanager
def _prefect(port: int) -> Generator[tuple[str, str, Child | None]]:
    """The API's address, the page's, and the server if it is ours."""
    if address := os.environ.get(_API) or running_prefect():
        yield address, os.environ.get("PREFECT_UI_URL") or address.removesuffix("/api"), None
        return
    if is_taken(port):
        raise ParamsError(f"port {port} is taken; choose another with --prefect-port")
    page = f"http://{_HOST}:{port}"
    with server("prefect", port) as prefect:
        await_pages({"prefect": page}, {"prefect": prefect})
        with announced_ui(prefect_api=f"{page}/api"):
            yield f"{page}/api", page, prefect


def _check_zone(name: str) -> None:
    known = zoneinfo.available_timezones()
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean {close[0]}?" if close else "; name one such as Europe/Berlin"
    raise ParamsError(f"--timezone: there is no zone {name}{meant}")


def _check_cron(line: str) -> None:
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=line)
    except ValidationError:
        raise ParamsError(
            f'"{line}" is no cron line; it has five fields, minute, hour, day, month and day of the'
            ' week, such as "0 3 * * *" for three every night'
        ) from None


def _seconds(every: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", every.strip())
    if found is None or int(found[1]) == 0:
        raise ParamsError(f"--every is {every}; it is a number and s, m, h or d, such as 30m or 6h")
    return int(found[1]) * _UNITS[found[2]]


def _told(seconds: int) -> str:
    unit = next(unit for unit in reversed(_UNITS) if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def plan_of(text: str) -> Plan:
    """The plan that `serve` has handed over."""
    values: dict[str, Any] = json.loads(text)
    return Plan(**values)
