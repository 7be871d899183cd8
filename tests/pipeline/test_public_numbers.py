"""A public figure, reached on a CPU: scaled down so far that it can be repeated each time."""

import csv

import pytest
from conftest import ROOT, run_in, write_params

from wordmill.params.section import read_params

CORPORA = ROOT.parent / "shared/data"
NANOGPT_LOSS = 1.88  # https://github.com/karpathy/nanoGPT, its CPU settings, 2,000 steps


@pytest.mark.soak
def test_shakespeare_by_characters_on_a_cpu(make_project):
    """The preset's model and data for 800 of its 2,000 steps."""
    if not CORPORA.is_dir():
        pytest.skip(f"no corpora in {CORPORA}")
    project = make_project("shakespeare")
    write_params(project, read_params(ROOT / "params.yaml"))
    preset = ("use", "experiments/shakespeare-char-cpu.yaml", "--data", str(CORPORA))
    done = run_in(project, "python", "-m", "flows.cli", *preset)
    assert done.returncode == 0, done.stderr
    params = read_params(project / "params.yaml")
    assert params["pretrain"]["length"] == "2000 steps"
    params["pretrain"] |= {"length": "800 steps", "validation_every_steps": 400}
    write_params(project, params)
    done = run_in(project, "dvc", "repro", "pretrain")
    assert done.returncode == 0, done.stdout + done.stderr
    with (project / "data/pretrain/validation.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert last["step"] == "800"
    assert float(last["loss"]) < NANOGPT_LOSS
    # A character is a byte here: bits per byte are the loss in another unit.
    assert float(last["bits_per_byte"]) == pytest.approx(float(last["loss"]) / 0.693147, rel=1e-3)
