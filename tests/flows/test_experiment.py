"""Grids of experiments: what is common is made once, what is done stays done."""

import json
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import wait_for

GRID = (
    *("python", "-m", "flows.cli", "experiment", "--name", "trial"),
    *("-S", "finetune.lr=0.01,0.005", "-S", "evaluate.stride_tokens=32,16"),
)
# Two share the finetuning; the stages before it and without its params are common to all.
STAGE_RUNS = {"ingest": 1, "clean": 1, "tokenize": 1, "pretrain": 1}
STAGE_RUNS |= {"baselines": 2, "finetune": 2, "evaluate": 4}

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


@pytest.fixture(scope="module")
def project(make_project):
    project = make_project("experiment")
    lstm = {**SMALL_PARAMS["baselines"]["lstm"], "is_on": False}
    params = {**SMALL_PARAMS, "baselines": {"lstm": lstm}}
    params["finetune"] = {**SMALL_PARAMS["finetune"], "length": "600 steps"}
    write_params(project, params)
    return project


def test_mistakes_are_refused_before_anything_is_made(project):
    done = run_in(project, *GRID, "-S", "pretrain.lrr=1", "-S", "model.kind=mlp")
    assert done.returncode == 2
    assert done.stderr == "wordmill: -S pretrain.lrr: unknown key; did you mean 'pretrain.lr'?\n"
    done = run_in(project, *GRID, "-S", "model.kind=mlp")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "finetune.lr=0.01, evaluate.stride_tokens=32, model.kind=mlp: model.kind" in done.stderr
    assert "(and 3 more of 4)" in done.stderr
    assert not (project / ".wordmill").exists()


def test_a_dry_run_says_what_is_shared(project):
    done = run_in(project, *GRID, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "4 experiments of 7 stages, 28 runs of a stage, of which 12 at most" in done.stdout
    found = dict(re.findall(r"^(\w+) +(\d)$", done.stdout, re.MULTILINE))
    assert {stage: int(count) for stage, count in found.items()} == STAGE_RUNS
    assert not (project / ".wordmill").exists()


@pytest.mark.slow
def test_a_killed_grid_goes_on_and_makes_nothing_twice(project):
    with (project / ".wordmill-trial.log").open("w") as log:
        runner = subprocess.Popen(
            [*GRID, "--jobs", "2"],
            cwd=project,
            env=environment(WORDMILL_PROGRESS_SECONDS="0.2"),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_for(lambda: re.search(r"finetune: .* \d+/600", logs(project)), seconds=500)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not processes_below(project), seconds=90)
    before = stage_runs(project)
    assert before["pretrain"] == 1
    assert "evaluate" not in before

    done = run_in(project, *GRID, "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stage_runs(project) == STAGE_RUNS
    assert "resuming after step" in logs(project)
    assert len(re.findall(r"^trial-[0-9a-f]{6} .*\]", done.stdout, re.MULTILINE)) == 4
    assert not list((project / ".wordmill/experiments/trial").glob("*/"))  # workspaces are gone

    runs = grid_runs(project)
    (parent,) = (run for run in runs if run["name"] == "trial")
    children = [run for run in runs if run["tags"].get("mlflow.parentRunId") == parent["id"]]
    assert len(children) == 4
    assert {run["status"] for run in runs} == {"FINISHED"}
    asked = {(c["params"]["finetune.lr"], c["params"]["evaluate.stride_tokens"]) for c in children}
    assert asked == {("0.01", "32"), ("0.01", "16"), ("0.005", "32"), ("0.005", "16")}
    for child in children:
        assert "summarize/finetuned/rougeL" in child["metrics"]
        makers = {
            tag.split(".")[1] for tag in child["tags"] if tag.startswith(("made.", "reused."))
        }
        assert {"pretrain", "finetune", "evaluate"} <= makers
    counted = Counter(run["name"] for run in runs)
    assert [counted[name] for name in ("pretrain", "finetune", "evaluate")] == [1, 2, 4]

    again = run_in(project, *GRID)
    assert "trial: 4 experiments, 4 done before" in again.stdout
    assert stage_runs(project) == STAGE_RUNS

    compared = run_in(project, "python", "-m", "flows.cli", "compare", "trial")
    assert compared.returncode == 0, compared.stderr
    assert "finetune.lr" in compared.stdout
    name = children[0]["name"]
    by_run = run_in(project, "python", "-m", "flows.cli", "compare", name, children[0]["id"])
    assert "ROUGE-L" in by_run.stdout, by_run.stderr
    assert "better" not in by_run.stdout  # the very same result

    applied = run_in(project, "dvc", "exp", "apply", name)
    assert applied.returncode == 0, applied.stderr
    assert (project / "data/evaluate/scores.json").exists()
    status = run_in(project, "dvc", "status")
    assert "up to date" in status.stdout

    # One that fails stops no other; what the other needs is in the cache.
    lines = ("-S", "clean.length.min_document_chars=10,9000")
    failing = run_in(project, *GRID[:4], "--name", "failing", *lines)
    assert failing.returncode == 65, failing.stdout + failing.stderr
    assert "failed: " in failing.stdout
    assert "1 of 2 failed" in failing.stdout
    assert "; ran no stage;" in failing.stdout
