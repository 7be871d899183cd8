"""Which checkpoints and leavings `wordmill gc` frees, and which somebody goes on from."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from conftest import ROOT

from flows import gc_scratch
from flows.experiment_record import Remembered
from flows.gc_needed import Needed
from flows.gc_scratch import resumed_runs, scratch_part, workspaces_part
from stages.inputs import inputs_key

DAG = {"stages": {"pretrain": {"cmd": "x", "deps": ["data/tokenize", "${ingest.root}"]}}}
SCRATCH = Path(".wordmill/scratch")
EXPERIMENTS = Path(".wordmill/experiments")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gc_scratch, "_keys", lambda stages: dict.fromkeys(stages, "now"))
    Path("dvc.yaml").write_text(json.dumps(DAG))
    Path("data/tokenize").mkdir(parents=True)
    for key in ("now", "then"):
        made(SCRATCH / "pretrain" / key / "mlflow-run", f"run of {key}")
    made(SCRATCH / "gone/then/step.ckpt")


def made(path: Path, text: str = "0123456789") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def loose(part) -> set[str]:
    return {one.what for one in part.loose}


def test_checkpoints_of_what_is_now_stay(project):
    part = scratch_part(newest=time.time() + 1)
    assert loose(part) == {str(SCRATCH / "pretrain/then"), str(SCRATCH / "gone/then")}
    assert resumed_runs([part]) == {"run of now"}
    part.free()
    assert {str(one) for one in SCRATCH.glob("*/*")} == {str(SCRATCH / "pretrain/now")}


def test_what_is_young_stays(project):
    part = scratch_part(newest=time.time() - 60)
    assert part.loose == []
    assert part.young_bytes == len("run of then") + 10
    assert resumed_runs([part]) == {"run of now", "run of then"}
    for file in (SCRATCH / "pretrain/then", SCRATCH / "pretrain/then/mlflow-run"):
        os.utime(file, (0, 0))
    assert loose(scratch_part(newest=time.time() - 60)) == {str(SCRATCH / "pretrain/then")}


def test_without_its_data_no_stage_can_tell_its_checkpoint(project):
    Path("data/tokenize").rmdir()
    part = scratch_part(newest=time.time() + 1)
    assert loose(part) == {str(SCRATCH / "gone/then")}
    assert any("data/tokenize is not here to tell" in one.by for one in part.held)


def test_half_made_things_go_but_not_the_only_copy(project):
    for name in (".clean.partial/a", ".clean.replaced/a", ".ingest.replaced/a", "clean/a"):
        made(Path("data") / name)
    made(EXPERIMENTS / "trial/.k1.partial/a")
    made(Path(".wordmill/.last_end.json.partial"))
    made(Path(".wordmill/reproduce/a"))
    scratch_part(newest=time.time() + 1).free()
    left = {str(one) for place in ("data", ".wordmill") for one in Path(place).rglob("*/a")}
    assert left == {"data/.ingest.replaced/a", "data/clean/a"}
    assert not list(Path(".wordmill").glob(".*"))


def test_what_is_at_work_stays(project):
    made(Path(".wordmill/reproduce/a"))
    for name in ("reproduce", "pretrain"):
        made(Path(".wordmill/locks") / name)
    with Path(".wordmill/locks/reproduce").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        part = scratch_part(newest=time.time() + 1)
        assert ".wordmill/reproduce" not in loose(part)
        with Path(".wordmill/locks/pretrain").open() as began:
            fcntl.flock(began, fcntl.LOCK_EX)  # after it was looked at
            part.free()
    assert loose(part) == {str(SCRATCH / "gone/then")}
    assert (SCRATCH / "pretrain/then").exists()


def test_where_no_key_can_be_told_all_checkpoints_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(json.dumps(DAG))
    made(SCRATCH / "pretrain/then/step.ckpt")
    part = scratch_part(newest=time.time() + 1)  # there are no stages in this folder
    assert part.loose == []
    assert "which checkpoints fit can't be told" in str(part.error)


def test_workspaces_stay_while_their_experiment_can_go_on(project):
    needed = Needed(alive={"trial-done"})
    for key, status in (("done", "done"), ("unsaved", "done"), ("begun", "begun")):
        one = Remembered(name=f"trial-{key}", grid="trial", key=key, changes={}, status=status)
        needed.experiments.append(one)
        place = EXPERIMENTS / "trial" / key
        (place / ".git").mkdir(parents=True)
        made(EXPERIMENTS / "scratch" / f"of-{key}" / "mlflow-run", f"run of {key}")
        (place / SCRATCH).mkdir(parents=True)
        (place / SCRATCH / "pretrain").symlink_to((EXPERIMENTS / f"scratch/of-{key}").resolve())
    made(EXPERIMENTS / "scratch/of-nobody/mlflow-run", "run of nobody")
    part = workspaces_part(needed, newest=time.time() + 1)
    assert loose(part) == {str(EXPERIMENTS / "trial/done"), str(EXPERIMENTS / "scratch/of-nobody")}
    part.free()
    again = workspaces_part(needed, newest=time.time() + 1)
    assert loose(again) == {str(EXPERIMENTS / "scratch/of-done")}
    assert resumed_runs([again]) == {"run of unsaved", "run of begun", "run of now", "run of then"}
    needed.experiments.append(
        Remembered(name="trial-lost", grid="trial", key="lost", changes={}, status="failed")
    )
    assert workspaces_part(needed, newest=time.time() + 1).loose == []  # it is made again


def test_keys_are_those_of_the_stages(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", ".")
    assert gc_scratch._keys(["finetune"]) == {"finetune": inputs_key("finetune")}
