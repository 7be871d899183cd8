"""Running a project's flow as a user does, and looking at what it left."""

import json
import subprocess
import time
from pathlib import Path

from conftest import run_in

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


def tracked(project: Path, **extra: str) -> dict:
    done = run_in(project, "python", "-c", QUERY, **extra)
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
