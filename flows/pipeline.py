"""Running one stage through DVC, and hearing from it.

The stage runs in a process group of its own (flows/child.py, flows/group.py). Whatever it
prints goes to the flow's log as it comes; what it made, or why it failed, comes back in a
small report.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.group import Child, group
from wordmill.errors import TryAgainError

# How a stage hears from its flow and tells it; see stages/stage.py.
_REPORT_VARIABLE = "WORDMILL_STAGE_REPORT"
_PROGRESS_VARIABLE = "WORDMILL_PROGRESS_SECONDS"
_PARENT_VARIABLE = "WORDMILL_PARENT_RUN"
_PROGRESS_MARK = "··· "

Verdict = Literal["ran", "restored", "reused", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a stage in this run."""

    stage: str
    verdict: Verdict
    """`restored`: DVC had kept what the same inputs made before."""
    why: list[str]
    message: str = ""
    seconds: float = 0.0
    run_id: str | None = None
    """The MLflow run of the stage, where it has one."""
    exit_status: int = 0

    @property
    def may_pass(self) -> bool:
        """Whether trying again can help: killed, locked out, or stopped with a checkpoint."""
        return self.exit_status < 0 or self.exit_status == TryAgainError.exit_status


def run_stage(
    stage: str,
    *,
    why: list[str],
    is_forced: bool,
    parent_run: str,
    log: Callable[[str], None],
) -> Outcome:
    """Run a stage through DVC and say what became of it.

    Args:
        stage: its name in dvc.yaml.
        why: the reasons to run it, kept in the outcome.
        is_forced: run it though DVC sees no change.
        parent_run: the MLflow run that the stage's run belongs to.
        log: takes the lines that the stage prints.
    """
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
        command = [sys.executable, "-m", "flows.child", stage, *(["--force"] if is_forced else [])]
        with group(command, environment=environment, output=subprocess.PIPE) as child:
            last_line = _relay(child, log)
            status = child.wait()
        report = json.loads(report_path.read_text()) if report_path.exists() else None
    seconds = time.monotonic() - started_at
    return _outcome(stage, why, status, report, last_line=last_line, seconds=seconds)


def _outcome(
    stage: str,
    why: list[str],
    status: int,
    report: dict[str, Any] | None,
    *,
    last_line: str,
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
        killed = _signal_in(last_line)
        status = -killed if killed else status
    message = report["message"] if report else last_line
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


def _signal_in(dvc_error: str) -> int | None:
    """The signal that ended a stage, from DVC's «exited with -9», None if none did."""
    _, _, status = dvc_error.rpartition("exited with ")
    try:
        return -int(status) if int(status) < 0 else None
    except ValueError:
        return None


def _relay(child: Child, log: Callable[[str], None]) -> str:
    """Pass the child's lines on; progress goes in place where a person is watching."""
    last_line, in_place = "", sys.stdout.isatty()
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
        last_line = line
    return last_line
