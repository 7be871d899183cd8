"""What a kill of a stage or of DVC leaves: no process, nothing half-made, the same weights."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import processes_of, wait_for

from wordmill.models.folder import weights_digest

FORCED = ("dvc", "repro", "--force", "--single-item", "pretrain")  # nothing from a cache


@pytest.fixture(scope="module")
def project(make_project):
    """A project whose pretraining takes a few seconds and has run once."""
    made = make_project("kills")
    write_params(
        made, {**SMALL_PARAMS, "pretrain": {**SMALL_PARAMS["pretrain"], "length": "3000 steps"}}
    )
    done = run_in(made, "dvc", "repro", "pretrain")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def start_and_kill(project: Path, victim: str, sign: signal.Signals) -> None:
    # From the first step each time: what is left after three resumes could end before the kill.
    shutil.rmtree(project / ".wordmill/scratch", ignore_errors=True)
    with (project / ".log").open("w") as log:
        started = subprocess.Popen(
            FORCED,
            cwd=project,
            env=environment(WORDMILL_PROGRESS_SECONDS="0.2", SHELL="/bin/sh"),  # dash stays
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    wait_for(lambda: "step/s" in (project / ".log").read_text(errors="replace"), seconds=60)
    trainer = next(
        pid for pid, line in processes_of(project).items() if "-m stages.pretrain" in line
    )
    os.kill(trainer if victim == "trainer" else started.pid, sign)
    assert started.wait(60) != 0
    wait_for(lambda: not processes_of(project), seconds=30)
    assert not (project / "data/pretrain").exists()  # DVC takes nothing for finished


@pytest.mark.slow
def test_kills_leave_nothing_and_the_next_run_ends_the_same(project):
    wanted = weights_digest(project / "data/pretrain/model")
    start_and_kill(project, "trainer", signal.SIGKILL)
    start_and_kill(project, "trainer", signal.SIGTERM)
    start_and_kill(project, "dvc", signal.SIGKILL)
    done = run_in(project, *FORCED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming after step" in done.stdout
    assert weights_digest(project / "data/pretrain/model") == wanted
