"""What a kill of a stage or of DVC leaves: no process, nothing half-made, the same weights."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params

from wordmill.models.folder import weights_digest

FORCED = ("dvc", "repro", "--force", "--single-item", "pretrain")  # nothing from a cache


@pytest.fixture(scope="module")
def project(make_project):
    """A project whose pretraining takes a few seconds and has run once."""
    made = make_project("kills")
    write_params(made, {**SMALL_PARAMS, "pretrain": {**SMALL_PARAMS["pretrain"], "steps": 3000}})
    done = run_in(made, "dvc", "repro", "pretrain")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def training_process(project: Path) -> int:
    """The process that trains, once it has taken its first steps."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any((project / ".wordmill/scratch/pretrain").glob("*")):
            for process in Path("/proc").glob("[0-9]*"):
                if _is_trainer(process, project):
                    return int(process.name)
        time.sleep(0.05)
    raise AssertionError("no trainer came up")


def _is_trainer(process: Path, project: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        is_here = (process / "cwd").resolve() == project.resolve()
    except OSError:  # it has ended
        return False
    return is_here and command[1:3] == [b"-m", b"stages.pretrain"]


def wait_until_gone(pid: int, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def start_and_kill(project: Path, victim: str, sign: signal.Signals) -> None:
    started = subprocess.Popen(
        FORCED,
        cwd=project,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    trainer = training_process(project)
    time.sleep(1)  # into the steps
    os.kill(trainer if victim == "trainer" else started.pid, sign)
    assert started.wait(60) != 0
    wait_until_gone(trainer, seconds=30)
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
