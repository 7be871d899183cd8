"""Grids of experiments: what is common is made once, what is done stays done."""

import json
import re
import signal
import subprocess
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import wait_for

from wordmill.params.section import read_params

GRID = (
    *("python", "-m", "flows.cli", "experiment", "--name", "trial"),
    *("-S", "finetune.lr=0.01,0.005", "-S", "evaluate.stride_tokens=32,16"),
    *("-S", "evaluate.bootstrap_samples=100,120,140"),
)
NUM = 12
# Six share each finetuning; the stages before it and without its params are common to all.
STAGE_RUNS = {"ingest": 1, "clean": 1, "tokenize": 1, "pretrain": 1}
STAGE_RUNS |= {"baselines": 2, "finetune": 2, "evaluate": NUM}

RUNS = """
import json
from flows import workspace
workspace.enter()
from mlflow import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("wordmill").experiment_id])
print(json.dumps([{"id": r.info.run_id, "name": r.info.run_name, "status": r.info.status,
    "tags": r.data.tags, "params": r.data.params, "metrics": r.data.metrics} for r in runs]))
"""

VERSION = """
import sys
from flows import workspace
workspace.enter()
from mlflow import MlflowClient
client = MlflowClient()
tags = client.get_run(sys.argv[1]).data.tags
client.create_registered_model("small")
of_dvc = {name: value for name, value in tags.items() if name.startswith("dvc.")}
made = client.create_model_version("small", "file:///nowhere", run_id=sys.argv[1], tags=of_dvc)
client.set_registered_model_alias("small", "champion", made.version)
print(made.version)
"""


def logs(project: Path) -> str:
    files = sorted((project / ".wordmill/experiments/trial").glob("*.log"))
    return "\n".join(file.read_text(errors="replace") for file in files)


def stage_runs(project: Path) -> dict[str, int]:
    """How often each stage came to its end, by what stages print."""
    return dict(Counter(re.findall(r"\([\d,]+ s\) -> data/(\w+)$", logs(project), re.MULTILINE)))


def processes_below(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            cwd = (process / "cwd").resolve()
            if cwd.is_relative_to(folder.resolve()) and (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


def grid_runs(project: Path) -> list[dict]:
    done = run_in(project, "python", "-c", RUNS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def children_of(parent: dict, runs: list[dict]) -> list[dict]:
    return [run for run in runs if run["tags"].get("mlflow.parentRunId") == parent["id"]]


@pytest.fixture(scope="module")
def project(make_project):
    project = make_project("experiment")
    lstm = {**SMALL_PARAMS["baselines"]["lstm"], "is_on": False}
    params = {**SMALL_PARAMS, "baselines": {"lstm": lstm}}
    params["finetune"] = {**SMALL_PARAMS["finetune"], "length": "600 steps"}
    memorization = {**SMALL_PARAMS["evaluate"]["probes"]["memorization"], "num_documents": 0}
    probes = {"is_bias_probed": False, "memorization": memorization}
    params["evaluate"] = {**SMALL_PARAMS["evaluate"], "probes": probes}
    write_params(project, params)
    return project


def test_mistakes_are_refused_before_anything_is_made(project):
    done = run_in(project, *GRID, "-S", "pretrain.lrr=1", "-S", "model.kind=mlp")
    assert done.returncode == 2
    assert done.stderr == "wordmill: -S pretrain.lrr: unknown key; did you mean 'pretrain.lr'?\n"
    done = run_in(project, *GRID, "-S", "model.kind=mlp")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "finetune.lr=0.01, evaluate.stride_tokens=32, evaluate.boot" in done.stderr
    assert f"(and {NUM - 1} more of {NUM})" in done.stderr
    assert not (project / ".wordmill").exists()


def test_a_dry_run_says_what_is_shared(project):
    done = run_in(project, *GRID, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "12 experiments of 7 stages, 84 runs of a stage, of which 20 at most" in done.stdout
    found = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert {stage: int(count) for stage, count in found.items()} == STAGE_RUNS
    assert not (project / ".wordmill").exists()


def killed_when(project: Path, is_time) -> str:
    """Start the grid, kill its process as soon as it is time, and wait for what it began to end."""
    log = project / ".wordmill-trial.log"
    with log.open("w") as output:
        runner = subprocess.Popen(
            [*GRID, "--jobs", "2"],
            cwd=project,
            env=environment(WORDMILL_PROGRESS_SECONDS="0.2"),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_for(lambda: runner.poll() is not None or is_time(log.read_text()), seconds=900)
    assert runner.poll() is None, log.read_text()
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not processes_below(project), seconds=90)
    return log.read_text()


@pytest.fixture(scope="module")
def resumed(project):
    """The grid's third start, after a kill in the midst of a finetuning, and one half-way."""
    killed_when(project, lambda _: re.search(r"finetune: .* \d+/600", logs(project)))
    before = stage_runs(project)
    assert before["pretrain"] == 1
    assert "evaluate" not in before
    told = killed_when(project, lambda told: told.count(": done in ") >= NUM // 2)
    assert told.count(": done in ") < NUM
    assert stage_runs(project)["evaluate"] < NUM
    done = run_in(project, *GRID, "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.soak
def test_a_killed_grid_goes_on_and_makes_nothing_twice(project, resumed):
    assert stage_runs(project) == STAGE_RUNS
    assert "resuming after step" in logs(project)
    assert len(re.findall(r"^trial-[0-9a-f]{6} .*\]", resumed, re.MULTILINE)) == NUM
    assert not re.search(r"trial: 12 experiments, (0|12) done before", resumed)
    experiments = project / ".wordmill/experiments"
    assert not list((experiments / "trial").glob("*/"))  # the workspaces are gone
    assert not list((experiments / "scratch").iterdir())
    again = run_in(project, *GRID)
    assert f"trial: {NUM} experiments, {NUM} done before" in again.stdout
    assert stage_runs(project) == STAGE_RUNS


@pytest.mark.soak
def test_mlflow_has_a_parent_and_a_child_each(project, resumed):
    runs = grid_runs(project)
    (parent,) = (run for run in runs if run["name"] == "trial")
    children = children_of(parent, runs)
    assert len(children) == NUM
    assert {run["status"] for run in runs} == {"FINISHED"}
    keys = ("finetune.lr", "evaluate.stride_tokens", "evaluate.bootstrap_samples")
    asked = {tuple(child["params"][key] for key in keys) for child in children}
    assert asked == set(product(("0.01", "0.005"), ("32", "16"), ("100", "120", "140")))
    for child in children:
        assert "summarize/finetuned/rougeL" in child["metrics"]
        makers = {t.split(".")[1] for t in child["tags"] if t.startswith(("made.", "reused."))}
        assert {"pretrain", "finetune", "evaluate"} <= makers
    counted = Counter(run["name"] for run in runs)
    assert [counted[name] for name in ("pretrain", "finetune", "evaluate")] == [1, 2, NUM]
    listed = run_in(project, "dvc", "exp", "list", "--name-only").stdout.split()
    assert {child["name"] for child in children} <= set(listed)


@pytest.mark.soak
def test_results_are_compared_by_any_of_their_names(project, resumed):
    compared = run_in(project, "python", "-m", "flows.cli", "compare", "trial")
    assert compared.returncode == 0, compared.stderr
    assert "finetune.lr" in compared.stdout
    runs = grid_runs(project)
    child = children_of(next(run for run in runs if run["name"] == "trial"), runs)[0]
    version = run_in(project, "python", "-c", VERSION, child["id"]).stdout.split()[-1]
    names = (child["name"], child["id"], version, "champion")
    done = run_in(project, "python", "-m", "flows.cli", "compare", *names)
    assert done.returncode == 0, done.stderr
    assert "Params that differ: none" in done.stdout
    says = re.findall(r"(better|worse|no telling|differs|the same)$", done.stdout, re.MULTILINE)
    assert set(says) == {"the same"}


@pytest.mark.soak
def test_one_that_fails_stops_no_other(project, resumed):
    lines = ("-S", "clean.length.min_document_chars=9000,10")
    failing = run_in(project, *GRID[:4], "--name", "failing", *lines)
    assert failing.returncode == 65, failing.stdout + failing.stderr
    assert "failed: pretrain: " in failing.stdout  # too little text is left
    assert "1 of 2 failed" in failing.stdout
    assert "; ran no stage;" in failing.stdout  # all that the other needs is in the cache


@pytest.mark.soak
def test_dvc_applies_an_experiment(project, resumed):
    runs = grid_runs(project)
    child = children_of(next(run for run in runs if run["name"] == "trial"), runs)[-1]
    applied = run_in(project, "dvc", "exp", "apply", child["name"])
    assert applied.returncode == 0, applied.stderr
    params = read_params(project / "params.yaml")
    assert str(params["finetune"]["lr"]) == child["params"]["finetune.lr"]
    assert (project / "data/evaluate/scores.json").exists()
    assert "up to date" in run_in(project, "dvc", "status").stdout
