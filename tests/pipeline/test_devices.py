"""Two processes train to the same losses as one: the same global batch, dealt out."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, environment
from running import wait_for


def start(devices, folder, *, steps=30):
    return subprocess.Popen(
        [sys.executable, "tests/train_on.py", str(devices), str(folder), str(steps)],
        cwd=ROOT,
        env=environment(PYTHONPATH=f"{ROOT}:{ROOT}/tests"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def trained_on(devices, folder, *, steps=30):
    folder.mkdir(exist_ok=True)
    started = start(devices, folder, steps=steps)
    _, log = started.communicate(timeout=200)
    assert started.returncode == 0, log
    return json.loads((folder / "found.json").read_text()), log


def end_group(started):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()


@pytest.mark.slow
def test_two_processes_end_with_the_losses_of_one(tmp_path):
    one, _ = trained_on(1, tmp_path / "one")
    two, log = trained_on(2, tmp_path / "two")
    assert "distributed_backend=gloo" in log
    assert len(one["training"]) == len(two["training"]) == 30
    for name in ("training", "validation", "weights"):
        np.testing.assert_allclose(one[name], two[name], rtol=2e-5, atol=1e-6)
    assert one["training"][-1] < one["training"][0] - 0.3


@pytest.mark.soak
def test_two_processes_told_to_stop_leave_and_go_on(tmp_path):
    """In whatever operation the signal finds either of them."""
    wanted, _ = trained_on(2, tmp_path / "straight", steps=300)
    folder = tmp_path / "cut"
    folder.mkdir()
    for delay_seconds in (0.11, 0.23, 0.37):
        started, before = start(2, folder, steps=300), set(folder.glob("scratch/*"))
        try:
            wait_for(lambda old=before: set(folder.glob("scratch/*")) - old, seconds=60)
            time.sleep(delay_seconds)
            started.send_signal(signal.SIGTERM)
            _, log = started.communicate(timeout=30)
        finally:
            end_group(started)
        assert "TryAgainError: stopped by SIGTERM" in log
    found, _ = trained_on(2, folder, steps=300)
    assert found == wanted
