"""Experiments at work: what becomes of those that end, fail, or are not worth going on."""

import fcntl
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from dvc.stage.exceptions import StageCmdFailedError

from flows import experiment_run
from flows import experiment_running as running
from flows.experiment_record import Remembered, recall, remember
from flows.experiment_table import done_table
from flows.grid import Combination
from flows.group import group
from wordmill.errors import WordmillError

KEYS = {"pretrain": "k1", "finetune": "k2"}


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """Two experiments in workspaces, whose process is one that sleeps."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments"
    for key in KEYS.values():
        (folder / "scratch" / key).mkdir(parents=True)
        (folder / "scratch" / key / "newest.ckpt").write_text("weights")
        (folder / "locks").mkdir(exist_ok=True)
        (folder / "locks" / key).touch()
    return [experiment(folder / "grid" / name, i) for i, name in enumerate(("one", "two"), 1)]


def experiment(place: Path, number: int) -> running.Planned:
    scratch = place / ".wordmill/scratch"
    scratch.mkdir(parents=True)
    for stage, key in KEYS.items():
        (scratch / stage).symlink_to(place.parents[1] / "scratch" / key)
    remembered = Remembered(name=place.name, grid="grid", key=place.name, changes={"seed": number})
    one = Combination(changes={"seed": number}, values={})
    planned = running.Planned(number=number, one=one, place=place, remembered=remembered)
    remember(planned.memory, remembered)
    return planned


class Supply:
    def __init__(self, planned, *, why=lambda one: ""):
        self.total, self.waiting, self.why, self.came_to = len(planned), list(planned), why, {}

    def next(self):
        return self.waiting.pop(0) if self.waiting else None

    def why_end(self, one):
        return self.why(one)

    def ended(self, one):
        self.came_to[one.number] = one.remembered


def run_with(monkeypatch, supply, *commands, jobs=1):
    children = []

    def started(one, environment, within):
        child = group(commands[one.number - 1], environment=environment)
        children.append(within.enter_context(child))
        return children[-1]

    monkeypatch.setattr(running, "_started", started)
    running.run_all(supply, jobs=jobs)
    return children


def is_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_is_not_worth_going_on_ends_and_the_other_runs_on(experiments, monkeypatch):
    one, two = experiments

    def why(planned):
        return "it lags" if planned is one else ""

    supply = Supply(experiments, why=why)
    nap = ["sh", "-c", "sleep 60 & wait"]
    children = run_with(monkeypatch, supply, nap, ["sleep", "1"], jobs=2)
    assert not any(is_alive(child.pid) for child in children)
    assert (supply.came_to[1].status, supply.came_to[1].message) == ("pruned", "it lags")
    assert recall(one.memory).status == "pruned"
    assert not one.place.exists()
    assert not list((one.place.parents[1] / "scratch").iterdir())  # checkpoints go too
    assert supply.came_to[2].status == "failed"  # it left without a word
    assert two.place.exists()


@pytest.mark.parametrize(
    ("ends", "status"), [("kill -9 $$", 75), ("kill $$", 75), ("exit 143", 75), ("exit 3", 3)]
)
def test_one_that_was_killed_may_be_tried_again(experiments, monkeypatch, ends, status):
    one, _ = experiments
    remember(one.memory, replace(one.remembered, status="begun"))
    supply = Supply([one])
    run_with(monkeypatch, supply, ["sh", "-c", ends])
    assert (supply.came_to[1].status, supply.came_to[1].exit_status) == ("failed", status)


@pytest.mark.parametrize(("left_with", "status"), [(-9, 75), (65, 1)])
def test_a_stage_that_was_killed_may_be_tried_again(monkeypatch, left_with, status):
    def reproduce(*_, **__):
        raise ReproductionError("failed to reproduce") from StageCmdFailedError("x", left_with)

    monkeypatch.setattr(experiment_run, "Repo", nullcontext)
    monkeypatch.setattr(experiment_run, "reproduce", reproduce)
    with pytest.raises(WordmillError, match=f"pretrain: .*exited with {left_with}") as failed:
        experiment_run._reproduced("pretrain")
    assert failed.value.exit_status == status


def test_checkpoints_that_another_goes_on_from_stay(experiments, monkeypatch):
    one, _ = experiments
    folder = one.place.parents[1]
    with (folder / "locks/k1").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_with(monkeypatch, Supply([one], why=lambda _: "it lags"), ["sleep", "60"])
    assert (folder / "scratch/k1/newest.ckpt").exists()
    assert not (folder / "scratch/k2").exists()


def test_one_that_is_done_before_its_end_is_done(experiments, monkeypatch):
    one, _ = experiments

    def why(planned):
        found = recall(planned.memory)
        found.status = "done"
        remember(planned.memory, found)
        return "it lags"

    supply = Supply([one], why=why)
    run_with(monkeypatch, supply, ["sleep", "60"])
    assert supply.came_to[1].status == "done"


def fold(number: int, bits: float, *, lr=0.1, signature="bits|x", status="done") -> Remembered:
    score = {"metric": "bits_per_byte", "value": bits, "low": bits, "high": bits}
    changes = {"pretrain.lr": lr, "ingest.fold": f"{number} of 3"}
    scores = {"documents": {**score, "signature": signature}}
    return Remembered(
        name=f"cv-{number}-{lr}", grid="cv", key="", changes=changes, status=status, scores=scores
    )


def test_the_table_of_folds_ends_with_their_mean():
    results = [fold(i, 1.0 + i / 10) for i in (1, 2, 3)]
    results += [fold(1, 2.0, lr=0.2), fold(2, 9.0, lr=0.2, status="failed")]
    told = done_table("cv", results)
    assert "over folds: mean ± standard deviation" in told
    assert "\n0.1          3      1.200 ± 0.100\n" in told
    assert "\n0.2          1      2.000\n" in told
    unlike = done_table("cv", [fold(1, 1.0), fold(2, 2.0, signature="bits|y")])
    assert "\n0.1          2      –\n" in unlike


def test_a_table_without_folds_or_seeds_has_no_mean():
    one = Remembered(name="a", grid="g", key="", changes={"pretrain.lr": 0.1}, status="done")
    assert "mean" not in done_table("g", [one])
