"""The whole of it on a small corpus: flow, MLflow, registry, kills, failures."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params

from wordmill.models.folder import weights_digest

QUERY = """
import json, sys
from flows import workspace
workspace.enter()
from mlflow import MlflowClient
client = MlflowClient()
runs = client.search_runs([client.get_experiment_by_name("wordmill").experiment_id])
champion = str(client.get_model_version_by_alias("small", "champion").version)
found = [
    {"id": r.info.run_id, "name": r.info.run_name, "status": r.info.status, "tags": r.data.tags,
     "metrics": r.data.metrics, "params": r.data.params,
     "losses": [m.step for m in client.get_metric_history(r.info.run_id, "loss")]}
    for r in runs
]
versions = [str(v.version) for v in client.search_model_versions("name = 'small'")]
print(json.dumps({"runs": found, "champion": champion, "versions": sorted(versions)}))
"""


def retrain(project: Path) -> subprocess.CompletedProcess[str]:
    return run_in(project, "python", "-m", "flows.cli", "retrain")


def tracked(project: Path) -> dict:
    done = run_in(project, "python", "-c", QUERY)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def processes_of(project: Path) -> dict[int, str]:
    """Command lines of all processes that work in a project, by process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project.resolve():
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = command
        except OSError:  # it has ended
            continue
    return {pid: command for pid, command in found.items() if command}  # a zombie has none


def wait_for(condition, *, seconds: float):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"did not come true within {seconds} s")


@pytest.fixture(scope="module")
def project(make_project):
    return make_project("retrain")


@pytest.fixture(scope="module")
def first_run(project):
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_the_first_run_makes_a_champion(project, first_run):
    out = first_run.stdout
    assert "models:/small/1, registered, champion" in out
    for system in ("unigram", "n-gram", "lead", "pretrained", "finetuned"):
        assert f"| {system}" in out
    assert re.search(r"pretrain +ran because it has not run here before", out)
    assert "make ui" in out


@pytest.mark.slow
def test_the_runs_are_tracked_with_where_they_come_from(project, first_run):
    found = tracked(project)
    assert (found["champion"], found["versions"]) == ("1", ["1"])
    runs = {run["name"]: run for run in found["runs"]}
    assert {run["status"] for run in found["runs"]} == {"FINISHED"}
    (parent,) = (run for run in found["runs"] if "git.commit" in run["tags"])
    assert parent["tags"]["git.dirty"] == "false"
    assert parent["tags"]["dvc.finetune"].endswith(".dir")
    assert runs["pretrain"]["losses"] == list(range(1, 41))
    assert runs["pretrain"]["params"]["hidden_size"] == "16"
    assert runs["pretrain"]["tags"]["wordmill.output"] == parent["tags"]["dvc.pretrain"]
    for stage in ("pretrain", "finetune", "evaluate"):
        assert runs[stage]["tags"]["mlflow.parentRunId"] == parent["id"]
        assert parent["tags"][f"made.{stage}"] == runs[stage]["id"]
    assert "pairs/finetuned/rougeL" in runs["evaluate"]["metrics"]


@pytest.mark.slow
def test_the_champion_answers_as_the_stage_did(project, first_run):
    lines = (project / "data/evaluate/predictions.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["system"] == "finetuned"]
    command = ["python", "-m", "flows.cli", "generate", rows[0]["source"]]
    done = run_in(project, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == rows[0]["prediction"]
    done = run_in(project, *command, "--model", "nobody")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(project, first_run):
    done = retrain(project)
    assert done.returncode == 0
    assert "nothing new" in done.stdout
    assert "Task run" not in done.stdout + done.stderr
    assert tracked(project)["versions"] == ["1"]


@pytest.mark.slow
def test_a_finetune_param_reruns_its_stages_and_makes_a_challenger(project, first_run):
    changed = {**SMALL_PARAMS, "finetune": {**SMALL_PARAMS["finetune"], "lr": 0.005}}
    write_params(project, changed)
    done = retrain(project)
    write_params(project, SMALL_PARAMS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"finetune +ran because finetune.lr went from 0.01 to 0.005", done.stdout)
    assert re.search(r"pretrain +reused.*made by run [0-9a-f]{32}", done.stdout)
    assert "models:/small/2, registered, challenger; champion is version 1" in done.stdout
    done = run_in(project, "python", "-m", "flows.cli", "promote", "2")
    assert done.stdout.strip() == "champion of small: version 2 (was 1)"


@pytest.mark.slow
def test_a_failing_stage_says_why_and_registers_nothing(project, first_run):
    text = project / "data/raw/texts.jsonl"
    before = text.read_bytes()
    text.write_bytes(before + b"\n{broken\n")
    done = retrain(project)
    text.write_bytes(before)
    assert done.returncode == 65
    assert "ingest failed: data/raw/texts.jsonl:301: not valid JSON" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    statuses = [run["status"] for run in tracked(project)["runs"]]
    assert statuses.count("FAILED") == 1
    assert "RUNNING" not in statuses


@pytest.mark.slow
def test_bad_params_are_told_before_anything_starts(project):
    write_params(project, {**SMALL_PARAMS, "seed": "x", "extra": 1})
    done = retrain(project)
    write_params(project, SMALL_PARAMS)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 2


def start_and_kill(project: Path, sign: signal.Signals, *, victim: str) -> None:
    """Start a retraining, kill the flow or who started it while it trains, and see all end."""
    with (project / ".log").open("w") as log:
        flow = subprocess.Popen(
            ["python", "-m", "flows.cli", "retrain"],
            cwd=project,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    scratch = project / ".wordmill/scratch/pretrain"
    wait_for(lambda: list(scratch.glob("*/mlflow-run")), seconds=120)
    time.sleep(2)  # into the steps
    inner = next(pid for pid, line in processes_of(project).items() if "flows.retrain" in line)
    os.kill(flow.pid if victim == "command" else inner, sign)
    assert flow.wait(90) != 0
    wait_for(lambda: not processes_of(project), seconds=90)
    assert not (project / "data/pretrain").exists()


@pytest.mark.slow
def test_killed_flows_leave_no_process_and_the_next_one_ends_the_same(make_project):
    project = make_project("killed")
    params = {**SMALL_PARAMS, "pretrain": {**SMALL_PARAMS["pretrain"], "steps": 1000}}
    write_params(project, params)
    start_and_kill(project, signal.SIGKILL, victim="command")
    start_and_kill(project, signal.SIGKILL, victim="flow")
    start_and_kill(project, signal.SIGTERM, victim="command")
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "models:/small/1, registered, champion" in done.stdout
    assert "resuming after step" in done.stdout + done.stderr
    found = tracked(project)
    assert {run["status"] for run in found["runs"]} <= {"FINISHED", "KILLED"}
    trained = [run for run in found["runs"] if run["name"] == "pretrain"]
    assert [run["losses"] for run in trained] == [list(range(2, 1001, 2))]  # once a step, one run
    digest = weights_digest(project / "data/pretrain/model")
    again = run_in(project, "dvc", "repro", "--force", "--single-item", "pretrain")
    assert again.returncode == 0, again.stdout
    assert weights_digest(project / "data/pretrain/model") == digest
