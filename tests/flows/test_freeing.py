"""`wordmill gc` in a project that was worked in: what is needed can still be used afterwards."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import environment, run_in
from ruamel.yaml import YAML
from running import retrain, wait_for
from test_experiment import processes_below

from wordmill.files import size_of

CLI = ("python", "-m", "flows.cli")
GRID = (*CLI, "experiment", "--name", "trial", "-S", "finetune.lr=0.02,0.03")
GC = (*CLI, "gc", "--delete", "--keep-days", "0")


def git(project: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    done = run_in(project, "git", *identity, *arguments)
    assert done.returncode == 0, done.stderr


def done_in(project: Path, *command: str) -> str:
    done = run_in(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def set_lr(project: Path, lr: float) -> None:
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    values["finetune"]["lr"] = lr
    yaml.dump(values, file)


def killed_when(project: Path, command: tuple[str, ...], is_time) -> None:
    """Kill a command and what it began as soon as it is time, and wait until all is over."""
    log = project / ".wordmill/killed.log"
    with log.open("w") as output:
        begun = subprocess.Popen(
            command, cwd=project, env=environment(), stdout=output, stderr=output
        )
    wait_for(lambda: begun.poll() is not None or is_time(), seconds=900)
    assert begun.poll() is None, log.read_text()
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    wait_for(lambda: not processes_below(project), seconds=90)


def half_registered(project: Path):
    known = set((project / "mlartifacts/models").glob("*"))

    def is_time():
        new = set((project / "mlartifacts/models").glob("*")) - known
        return any((one / "artifacts/MLmodel").exists() for one in new)

    return is_time


@pytest.fixture(scope="module")
def project(make_project, prefect_home):
    """Two versions, one of a branch that is gone; an experiment stopped in the midst; leavings."""
    project = make_project("freeing")
    assert retrain(project).returncode == 0
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first")
    git(project, "checkout", "-qb", "other")
    set_lr(project, 0.005)
    assert retrain(project).returncode == 0  # a version of a changed tree
    git(project, "add", "-A")
    git(project, "commit", "-qm", "second")
    set_lr(project, 0.002)
    killed_when(project, (*CLI, "retrain"), half_registered(project))
    git(project, "checkout", "-qf", "-")
    git(project, "branch", "-D", "other")
    done_in(project, "dvc", "checkout", "--force")
    scratch = project / ".wordmill/experiments/scratch"
    killed_when(project, GRID, lambda: list(scratch.glob("*/*/mlflow-run")))
    assert list(scratch.glob("*/*/mlflow-run"))
    return project


def taken(project: Path) -> dict[str, int]:
    return {name: size_of(project / name) for name in (".dvc/cache", "mlartifacts", ".wordmill")}


@pytest.mark.soak
def test_what_is_needed_works_after_kills_of_gc(project):
    before = taken(project)
    shown = done_in(project, *CLI, "gc", "--keep-days", "0")
    assert "no version has it: its registering was cut off, or the version deleted" in shown
    assert "an experiment that can go on" in shown
    assert taken(project) == before
    for seconds in (3.0, 6.0, 8.0):
        gc = subprocess.Popen(GC, cwd=project, env=environment(), stdout=subprocess.PIPE)
        time.sleep(seconds)
        gc.send_signal(signal.SIGKILL)
        gc.communicate()
    done_in(project, *GC)
    assert done_in(project, *GC).endswith("Nothing to free.\n")
    after = taken(project)
    assert after["mlartifacts"] < before["mlartifacts"]
    assert after[".dvc/cache"] < before[".dvc/cache"]
    for version in ("1", "2"):
        said = done_in(project, *CLI, "lineage", version, "--verify")
        assert "in DVC's cache" in said
        cant = [line for line in said.splitlines() if line.lstrip().startswith("cannot be had")]
        assert cant == []


@pytest.mark.soak
def test_a_stopped_experiment_goes_on(project):
    runs = list((project / ".wordmill/experiments/scratch").glob("*/*/mlflow-run"))
    assert runs
    said = done_in(project, *GRID)
    assert "0 done before" in said
    assert len(re.findall(r": done in ", said)) == 2
    done_in(project, *GC)
    done_in(project, *CLI, "compare", "trial", "1", "2", "workspace")
    assert "2 done before" in done_in(project, *GRID)
    name = re.findall(r"trial-[0-9a-f]{6}", said)[0]
    done_in(project, "dvc", "exp", "remove", name)
    assert "DVC's cache: " in done_in(project, *GC)
    assert run_in(project, *CLI, "compare", name).returncode == 2
    done_in(project, *CLI, "compare", "champion", "workspace")


@pytest.mark.soak
def test_versions_are_made_again(project):
    for version in ("1", "2"):
        assert "identical: weights" in done_in(project, *CLI, "reproduce", version)
    assert "nothing new: no source" in retrain(project).stdout


@pytest.mark.soak
def test_a_flow_at_work_is_waited_for(project):
    with subprocess.Popen(
        (*CLI, "retrain", "--force"),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as flow:
        wait_for(lambda: "ingest" in told(flow), seconds=300)
        done = run_in(project, *GC)
        assert done.returncode == 75
        assert done.stderr.startswith("wordmill: another flow is at work in this project")
        assert len(done.stderr.splitlines()) == 1
        flow.send_signal(signal.SIGTERM)
        flow.communicate()


def told(flow) -> str:
    return flow.stdout.readline()
