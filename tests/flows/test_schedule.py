"""Left alone: a machine that dies, a budget, a server that is away, bad data."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from inboxes import webhook
from running import processes_of, tracked, wait_for
from test_retrain import free_port

LONG = {
    **SMALL_PARAMS,
    "pretrain": {
        **SMALL_PARAMS["pretrain"],
        "length": "1500 steps",
        "validation_every_steps": 500,
    },
}

PATIENCE = 1800  # seconds, of a machine that others use too
QUICK = {"WORDMILL_RETRY_SECONDS": "0.2", "WORDMILL_PROGRESS_SECONDS": "0.2"}

RUNS = """
import json
from flows import workspace
workspace.enter()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    runs = sorted(client.read_flow_runs(), key=lambda run: run.expected_start_time)
    tasks = client.read_task_runs()
print(json.dumps({
    "runs": [[r.state.name, r.state.message or "", str(r.deployment_id)] for r in runs],
    "tasks": [[t.name, t.state.name, t.run_count] for t in tasks],
}))
"""


def log_of(project: Path) -> str:
    return (project / ".log").read_text(errors="replace")


@pytest.fixture
def served():
    """Projects whose schedule was served; whatever a failed test leaves there ends."""
    projects: list[Path] = []
    yield projects
    for project in projects:
        for pid in processes_of(project):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def hook():
    with webhook() as server:
        yield server


def serve(project: Path, **extra: str) -> subprocess.Popen:
    port = str(free_port())
    with (project / ".log").open("a") as log:
        return subprocess.Popen(
            ["python", "-m", "flows.cli", "schedule", "--every", "40s", "--prefect-port", port],
            cwd=project,
            env=environment(**QUICK, **extra),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def told_by_prefect(project: Path, **extra: str) -> dict:
    done = run_in(project, "python", "-c", RUNS, **extra)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def names(found: dict) -> list[str]:
    return [name for name, _, _ in found["runs"]]


def pid_of(project: Path, words: str) -> int | None:
    return next((pid for pid, line in processes_of(project).items() if words in line), None)


@pytest.mark.soak
def test_a_schedule_goes_on_after_all_has_died_at_once(make_project, tmp_path, served, hook):
    project = make_project("scheduled")
    extra = {"PREFECT_HOME": str(tmp_path), "WORDMILL_NOTIFY": hook.address}
    served.append(project)
    write_params(project, LONG)
    schedule = serve(project, **extra)
    wait_for(lambda: re.search(r"pretrain: .* \d+/1500", log_of(project)), seconds=PATIENCE)

    # As with the machine: nobody has time to say a word.
    os.kill(schedule.pid, signal.SIGKILL)
    for words in ("prefect.engine", "flows.serving", "prefect server", "flows.child", "stages."):
        while pid := pid_of(project, words):
            os.kill(pid, signal.SIGKILL)
    schedule.wait()
    wait_for(lambda: not processes_of(project), seconds=PATIENCE)
    (project / ".dvc/tmp/rwlock").write_text("")
    (project / "data/.finetune.partial").mkdir()

    schedule = serve(project, **extra)
    wait_for(lambda: "registered, champion" in log_of(project), seconds=PATIENCE)
    wait_for(lambda: "Finished in state Promoted" in log_of(project), seconds=PATIENCE)
    found = told_by_prefect(project, **extra)
    schedule.send_signal(signal.SIGINT)
    assert schedule.wait(PATIENCE) == 0
    wait_for(lambda: not processes_of(project), seconds=PATIENCE)

    log = log_of(project)
    assert "Repaired: DVC's list of busy paths was cut off" in log
    assert "was still running in Prefect; its process was gone" in log
    assert "Repaired: MLflow runs of a killed flow were ended: " in log
    assert "Repaired: data/.finetune.partial was half-written" in log
    assert "Traceback" not in log
    # A start that was about to begin at the kill has crashed as well.
    assert names(found).count("Crashed") in (1, 2)
    assert sum("its process was gone" in message for message in hook.taken) in (1, 2)
    assert names(found).count("Promoted") == 1
    assert {run["status"] for run in tracked(project)["runs"]} <= {"FINISHED", "KILLED"}


@pytest.mark.soak
def test_a_budget_stops_cleanly_and_the_next_start_goes_on(make_project, prefect_home):
    project = make_project("budget")
    assert run_in(project, "dvc", "repro", "tokenize").returncode == 0
    write_params(project, {**LONG, "pretrain": {**LONG["pretrain"], "length": "200000 steps"}})
    command = ["python", "-m", "flows.cli", "retrain", "--hours", str(90 / 3600)]
    done = run_in(project, *command)
    out = done.stdout + done.stderr
    assert done.returncode == 75, out
    assert "its checkpoint is kept, the next start goes on" in out
    assert "Traceback" not in out
    assert not processes_of(project)
    again = run_in(project, *command)
    assert again.returncode == 75
    assert "resuming after step" in again.stdout + again.stderr


@pytest.mark.slow
def test_a_server_that_is_away_is_asked_again_and_bad_data_is_not(make_project, tmp_path, hook):
    project = make_project("away")
    texts, _ = SMALL_PARAMS["ingest"]["sources"]
    far = {**texts, "path": f"http://127.0.0.1:{free_port()}/texts.jsonl"}
    write_params(project, {**SMALL_PARAMS, "ingest": {**SMALL_PARAMS["ingest"], "sources": [far]}})
    extra = {
        "PREFECT_HOME": str(tmp_path),
        "WORDMILL_RETRY_SECONDS": "0.1",
        "WORDMILL_NOTIFY": hook.address,
    }
    done = run_in(project, "python", "-m", "flows.cli", "retrain", **extra)
    assert done.returncode == 75, done.stdout + done.stderr
    assert "does not answer" in done.stderr

    write_params(project, SMALL_PARAMS)
    with (project / "data/raw/texts.jsonl").open("a") as texts_file:
        texts_file.write("\n{broken\n")
    done = run_in(project, "python", "-m", "flows.cli", "retrain", **extra)
    assert done.returncode == 65

    found = told_by_prefect(project, **extra)
    assert names(found) == ["Failed", "Rejected"]
    assert sorted(count for _, _, count in found["tasks"]) == [1, 4]
    failed, rejected = hook.taken
    assert "retraining failed" in failed
    assert "data rejected" in rejected
