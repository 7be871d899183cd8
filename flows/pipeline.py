"""Running one stage through DVC, and hearing from it.

The stage runs in a process group of its own (flows/child.py, flows/group.py). Whatever it
prints goes to the flow's log as it comes; what it made, or why it failed, comes back in a
small report.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flows.budget import Budget
from flows.group import BY_SIGNAL, Child, group
from flows.starter import Starter
from wordmill.errors import TryAgainError

# How a stage hears from its flow and tells it; see stages/stage.py.
_REPORT_VARIABLE = "WORDMILL_STAGE_REPORT"
_PROGRESS_VARIABLE = "WORDMILL_PROGRESS_SECONDS"
_PARENT_VARIABLE = "WORDMILL_PARENT_RUN"
_PROGRESS_MARK = "··· "

Verdict = Literal["ran", "restored", "reused", "failed", "stopped"]

# What the last lines of a process say that found no memory; the kernel's own way is SIGKILL.
_OUT_OF_MEMORY = re.compile(r"MemoryError|OutOfMemoryError|can't allocate memory")
_NUM_LAST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a stage in this run."""

    stage: str
    verdict: Verdict
    """`restored`: DVC had kept what the same inputs made before. `stopped`: time was over."""
    why: list[str]
    message: str = ""
    seconds: float = 0.0
    run_id: str | None = None
    """The MLflow run of the stage, where it has one."""
    exit_status: int = 0

    @property
    def may_pass(self) -> bool:
        """Whether trying again can help: killed, no memory, a server away, locked out."""
        is_passing = self.exit_status < 0 or self.exit_status == TryAgainError.exit_status
        return self.verdict == "failed" and is_passing


def run_stage(
    stage: str,
    *,
    why: list[str],
    is_forced: bool,
    parent_run: str,
    log: Callable[[str], None],
    starter: Starter | None,
    budget: Budget | None = None,
) -> Outcome:
    """Run a stage through DVC and say what became of it.

    Args:
        stage: its name in dvc.yaml.
        why: the reasons to run it, kept in the outcome.
        is_forced: run it though DVC sees no change.
        parent_run: the MLflow run that the stage's run belongs to.
        log: takes the lines that the stage prints.
        starter: starts its process; None for a program outside of the DAG, run without DVC.
        budget: stops the stage when it is over.
    """
    budget = budget or Budget(None)
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wordmill-") as folder:
        report_path = Path(folder) / "report.json"
        environment = {
            _PROGRESS_VARIABLE: "1" if sys.stdout.isatty() else "10",
            **os.environ,
            _REPORT_VARIABLE: str(report_path),
            _PARENT_VARIABLE: parent_run,
            "PYTHONUNBUFFERED": "1",
        }
        with (
            starter.child(stage, is_forced=is_forced, environment=environment)
            if starter
            else group(_outside(stage), environment=environment, output=subprocess.PIPE) as child,
            budget.over(child),
        ):
            last_lines = relay(child, log)
            status = child.wait()
            if starter is None and status > BY_SIGNAL:
                status = BY_SIGNAL - status
        report = json.loads(report_path.read_text()) if report_path.exists() else None
    seconds = time.monotonic() - started_at
    outcome = _outcome(stage, why, status, report, last_lines=last_lines, seconds=seconds)
    return _stopped(outcome, budget) if budget.is_over and outcome.may_pass else outcome


def _outside(stage: str) -> list[str]:
    return [sys.executable, "-m", "flows.outsider", f"stages.{stage}"]


def stopped_before(stage: str, why: list[str], budget: Budget) -> Outcome:
    """A stage that does not start: the time is over."""
    message = f"{budget} is over; the next start goes on here"
    status = TryAgainError.exit_status
    return Outcome(stage=stage, verdict="stopped", why=why, message=message, exit_status=status)


def _stopped(outcome: Outcome, budget: Budget) -> Outcome:
    """What a stage that its budget ended has to say: it has not failed."""
    is_kept = outcome.exit_status == TryAgainError.exit_status
    then = "its checkpoint is kept, the next start goes on" if is_kept else "it begins again next"
    message = f"stopped by {budget}; {then}"
    status = TryAgainError.exit_status
    return replace(outcome, verdict="stopped", message=message, exit_status=status)


def _outcome(
    stage: str,
    why: list[str],
    status: int,
    report: dict[str, Any] | None,
    *,
    last_lines: list[str],
    seconds: float,
) -> Outcome:
    if status == 0:
        verdict, message = (
            ("ran", report["message"]) if report else ("restored", "from DVC's cache")
        )
        run_id = report.get("run_id") if report else None
        return Outcome(
            stage=stage, verdict=verdict, why=why, message=message, seconds=seconds, run_id=run_id
        )
    if report is None:  # killed, or failed by a fault of ours: its last words are a traceback's
        status = cause(last_lines) or status
    message = report["message"] if report else (last_lines or ["no word said"])[-1]
    exit_status = report.get("exit_status", status) if report else status
    return Outcome(
        stage=stage,
        verdict="failed",
        why=why,
        message=message,
        seconds=seconds,
        run_id=report.get("run_id") if report else None,
        exit_status=exit_status,
    )


def cause(last_lines: list[str]) -> int | None:
    """The signal that ended a stage, negative, or 75 where it found no memory.

    Args:
        last_lines: of what the stage printed, and DVC after it.
    """
    if killed := _signal_in((last_lines or [""])[-1]):
        return -killed
    return TryAgainError.exit_status if _OUT_OF_MEMORY.search("\n".join(last_lines)) else None


def _signal_in(dvc_error: str) -> int | None:
    """The signal that ended a stage, from DVC's «exited with -9», None if none did."""
    _, _, status = dvc_error.rpartition("exited with ")
    try:
        return -int(status) if int(status) < 0 else None
    except ValueError:
        return None


def relay(child: Child, log: Callable[[str], None]) -> list[str]:
    """Pass the child's lines on; progress goes in place where a person is watching."""
    last_lines: deque[str] = deque(maxlen=_NUM_LAST_LINES)
    in_place = sys.stdout.isatty()
    assert child.stdout is not None
    for raw in child.stdout:
        line = raw.rstrip()
        if not line:
            continue
        if in_place and line.startswith(_PROGRESS_MARK):
            print(f"\r\x1b[K{line.removeprefix(_PROGRESS_MARK)}", end="", flush=True)
            continue
        if in_place:
            print("\r\x1b[K", end="", flush=True)
        log(line)
        last_lines.append(line)
    return list(last_lines)
