"""A run that was begun in a terminal, cancelled on Prefect's page."""

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import processes_of, retrain, tracked, wait_for
from test_retrain import free_port

LONG = {
    **SMALL_PARAMS,
    "pretrain": {
        **SMALL_PARAMS["pretrain"],
        "length": "4000 steps",
        "validation_every_steps": 2000,
    },
}


def begin(project: Path, name: str, *command: str) -> subprocess.Popen:
    with (project / name).open("w") as log:
        return subprocess.Popen(
            ["python", "-m", "flows.cli", *command],
            cwd=project,
            env=environment(WORDMILL_PROGRESS_SECONDS="0.2"),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ask(api: str, path: str, body: dict):
    request = urllib.request.Request(
        f"{api}/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.soak
def test_a_run_begun_by_hand_ends_with_all_it_started(make_project, prefect_home):
    project = make_project("by-hand")
    write_params(project, LONG)
    assert run_in(project, "dvc", "repro", "tokenize").returncode == 0
    ports = [str(free_port()), str(free_port())]
    pages = begin(project, ".ui.log", "ui", "--mlflow-port", ports[0], "--prefect-port", ports[1])
    wait_for(lambda: "Ctrl-C ends both" in (project / ".ui.log").read_text(), seconds=240)
    servers = set(processes_of(project))

    begun = begin(project, ".log", "retrain")
    log = project / ".log"
    wait_for(lambda: re.search(r"pretrain: .* \d+/4000", log.read_text()), seconds=240)
    api = f"http://127.0.0.1:{ports[1]}/api"
    (run,) = ask(api, "flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["Running"]}}}})
    # As the button on the page does.
    wish = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True}
    ask(api, f"flow_runs/{run['id']}/set_state", wish)
    assert begun.wait(60) == 143
    assert set(processes_of(project)) <= servers
    assert "cancelled on Prefect's page; what is done stays done" in log.read_text()
    assert "Traceback" not in log.read_text()
    (run,) = ask(api, "flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert run["state"]["name"] == "Cancelled"

    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming after step" in done.stdout + done.stderr
    assert "Repaired" not in done.stdout
    found = tracked(project)["runs"]
    pipelines = [run["status"] for run in found if "prefect.flow_run" in run["tags"]]
    assert sorted(pipelines) == ["FINISHED", "KILLED"]
    assert {run["status"] for run in found if run["name"] == "pretrain"} == {"FINISHED"}
    pages.send_signal(signal.SIGINT)
    assert pages.wait(60) == 0
    wait_for(lambda: not processes_of(project), seconds=60)
