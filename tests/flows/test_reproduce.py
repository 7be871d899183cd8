"""A version made again: identical from its commit, its patch and its data, or told apart."""

import subprocess

import pytest
import torch
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import processes_of, retrain, wait_for
from safetensors.torch import load_file, save_file

PLACE = ".wordmill/reproduce"


@pytest.fixture(scope="module")
def project(make_project, prefect_home):
    """A version from a tree that was changed: a param, a line of code, a file that git misses."""
    project = make_project("reproduce")
    write_params(project, {**SMALL_PARAMS, "seed": 11})
    code = project / "wordmill/models/lead.py"
    code.write_text(code.read_text() + "\n# not committed\n")
    (project / "wordmill/models/unused.py").write_text('"""Unknown to git."""\n')
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    # What comes later is no part of the version.
    write_params(project, SMALL_PARAMS)
    code.write_text(code.read_text() + "# later\n")
    return project


def reproduce(project, *options):
    return run_in(project, "python", "-m", "flows.cli", "reproduce", "1", *options)


@pytest.mark.soak
def test_a_version_is_made_again_bit_for_bit(project, tmp_path):
    kept = tmp_path / "kept"
    done = reproduce(project, "--keep", str(kept))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical: weights, losses and predictions are those of version 1" in done.stdout
    for stage in ("ingest", "clean", "tokenize", "pretrain", "finetune", "baselines", "evaluate"):
        assert f"\n{stage} identical\n" in done.stdout
    assert (kept / "params.yaml").read_text().startswith("seed: 11\n")
    assert not list((kept / ".dvc/tmp/no-cache").rglob("*.*"))
    weights = "data/finetune/model/model.safetensors"
    assert (kept / weights).read_bytes() == (project / weights).read_bytes()


@pytest.mark.soak
def test_a_changed_file_is_named(project):
    (stored,) = project.glob("mlartifacts/models/*/artifacts/artifacts/model/model.safetensors")
    before = stored.read_bytes()
    weights = load_file(stored)
    name = "model.layers.0.mlp.up_proj.weight"
    with torch.no_grad():
        weights[name][0, 0] += 0.5
    save_file(weights, stored, metadata={"format": "pt"})
    done = reproduce(project)
    stored.write_bytes(before)
    assert done.returncode == 65, done.stdout + done.stderr
    assert "finetune differs: data/finetune/model/model.safetensors" in done.stdout
    assert f"tensor {name}, max |difference| 0.5" in done.stdout
    assert "evaluate identical" in done.stdout  # the predictions are those of the stage
    assert not (project / PLACE).exists()


@pytest.mark.soak
def test_data_that_moved_on_is_named_before_anything_runs(project):
    pairs = project / "data/raw/pairs.jsonl"
    before = pairs.read_bytes()
    pairs.write_bytes(before.replace(b"miller", b"Miller", 1))
    done = reproduce(project)
    pairs.write_bytes(before)
    assert done.returncode == 65
    assert "version 1 of small can't be made again: data/raw/pairs.jsonl is another" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "ingest (1 of 7)" not in done.stdout
    assert not (project / PLACE).exists()


@pytest.mark.soak
def test_a_kill_leaves_only_the_fresh_folder(project, tmp_path):
    state = ["git", "status", "--porcelain"]
    before = subprocess.run(state, cwd=project, capture_output=True, text=True, check=True).stdout
    log = tmp_path / "log"
    with log.open("w") as out:
        command = ["python", "-m", "flows.cli", "reproduce", "1"]
        running = subprocess.Popen(
            command, cwd=project, env=environment(), stdout=out, stderr=subprocess.STDOUT
        )
        wait_for(lambda: "clean (2 of 7)" in log.read_text(), seconds=300)
        wait_for(lambda: processes_of(project / PLACE), seconds=60)
        running.kill()
        running.wait()
    wait_for(lambda: not processes_of(project / PLACE) and not processes_of(project), seconds=120)
    after = subprocess.run(state, cwd=project, capture_output=True, text=True, check=True).stdout
    assert after == before
    assert (project / PLACE).is_dir()
