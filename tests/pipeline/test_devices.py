"""Two processes train to the same losses as one: the same global batch, dealt out."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, environment


def trained_on(devices, folder):
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "tests/train_on.py", str(devices), str(folder)],
        cwd=ROOT,
        env=environment(PYTHONPATH=f"{ROOT}:{ROOT}/tests"),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text()), done.stderr


@pytest.mark.slow
def test_two_processes_end_with_the_losses_of_one(tmp_path):
    one, _ = trained_on(1, tmp_path / "one")
    two, log = trained_on(2, tmp_path / "two")
    assert "distributed_backend=gloo" in log
    assert len(one["training"]) == len(two["training"]) == 30
    for name in ("training", "validation", "weights"):
        np.testing.assert_allclose(one[name], two[name], rtol=2e-5, atol=1e-6)
    assert one["training"][-1] < one["training"][0] - 0.3
