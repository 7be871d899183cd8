"""What a kill of a flow leaves: no process, no run left open, the same weights in the end."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import processes_of, retrain, tracked, wait_for

from wordmill.models.folder import weights_digest


def log_of(project: Path) -> str:
    return (project / ".log").read_text(errors="replace")


def start_and_kill(project: Path, sign: signal.Signals, *, victim: str) -> None:
    """Start a retraining, kill the flow or who started it while it trains, and see all end."""
    with (project / ".log").open("w") as log:
        flow = subprocess.Popen(
            ["python", "-m", "flows.cli", "retrain"],
            cwd=project,
            env=environment(WORDMILL_PROGRESS_SECONDS="0.2"),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_for(lambda: re.search(r"pretrain: .* \d+/800", log_of(project)), seconds=600)
    inner = next(pid for pid, line in processes_of(project).items() if "flows.retrain" in line)
    os.kill(flow.pid if victim == "command" else inner, sign)
    assert flow.wait(300) != 0
    wait_for(lambda: not processes_of(project), seconds=300)
    assert not (project / "data/pretrain").exists()


@pytest.mark.slow
def test_killed_flows_leave_no_process_and_the_next_one_ends_the_same(make_project, prefect_home):
    project = make_project("killed")
    params = {**SMALL_PARAMS, "pretrain": {**SMALL_PARAMS["pretrain"], "length": "800 steps"}}
    write_params(project, params)
    start_and_kill(project, signal.SIGKILL, victim="flow")
    start_and_kill(project, signal.SIGTERM, victim="command")
    start_and_kill(project, signal.SIGKILL, victim="command")
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "models:/small/1, registered, champion" in done.stdout
    assert "resuming after step" in done.stdout + done.stderr
    found = tracked(project)
    assert {run["status"] for run in found["runs"]} <= {"FINISHED", "KILLED"}
    trained = [run for run in found["runs"] if run["name"] == "pretrain"]
    assert [run["losses"] for run in trained] == [list(range(1, 801))]  # once a step, one run
    digest = weights_digest(project / "data/pretrain/model")
    again = run_in(project, "dvc", "repro", "--force", "--single-item", "pretrain")
    assert again.returncode == 0, again.stdout
    assert weights_digest(project / "data/pretrain/model") == digest
