"""What a run made, sent to DVC's default remote: `dvc push`, in a process group of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from flows.budget import Budget
from flows.group import group
from flows.pipeline import Outcome, relay, stopped_before
from wordmill.errors import ParamsError

PUSH = "push"


def check_remote() -> None:
    """See that there is somewhere to push to, before anything runs.

    Raises:
        ParamsError: DVC has no default remote, or its settings are wrong.
    """
    from dvc.config import Config, ConfigError

    try:
        settings = Config.from_cwd()
    except ConfigError as error:
        raise ParamsError(f"dvc: {error}") from None
    if not settings["core"].get("remote"):
        raise ParamsError(
            "--push: DVC has no default remote; `dvc remote add --default NAME ADDRESS` gives one"
        )


def push(*, log: Callable[[str], None], budget: Budget) -> Outcome:
    """Push what is not there yet, and say what became of it.

    Args:
        log: takes the lines that DVC prints.
        budget: ends it when it is over; the next push goes on.
    """
    if budget.is_over:
        return stopped_before(PUSH, [], budget)
    started_at = time.monotonic()
    command = [sys.executable, "-m", "flows.push_child"]
    with (
        group(command, environment=dict(os.environ), output=subprocess.PIPE) as child,
        budget.over(child, grace_seconds=0.0),
    ):
        lines = relay(child, log)
        status = child.wait()
    if status and budget.is_over:
        return stopped_before(PUSH, [], budget)
    return Outcome(
        stage=PUSH,
        verdict="failed" if status else "ran",
        why=[],
        message=(lines or ["no word said"])[-1].removeprefix("dvc: "),
        seconds=time.monotonic() - started_at,
        exit_status=status,
    )
