"""Searches and cross-validations as a user runs them: killed, gone on with, pruned, compared."""

import json
import re
import signal
import subprocess
from collections import Counter

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import wait_for
from test_experiment import children_of, grid_runs, processes_below

from wordmill.params.section import read_params

WORSE = 1e-6
VALUES = [0.01, 0.011, 0.012, 0.013, 0.014, WORSE]
CHOICES = ",".join(map(str, VALUES))
NUM_TRIALS = 24  # drawn of six values: what is drawn again is told at once
SEARCH = (
    *("python", "-m", "flows.cli", "experiment", "--name", "hunt", "--search", "random"),
    *("--trials", str(NUM_TRIALS), "-S", f"pretrain.lr={CHOICES}"),
)


def seed_with_the_worse_last() -> int:
    """A seed whose draws have five good values before the worse one, and that one too."""
    import optuna

    from flows.search_study import _mixed

    for seed in range(1000):
        found = []
        for number in range(NUM_TRIALS):
            sampler = optuna.samplers.RandomSampler(seed=_mixed(seed, number))
            distribution = optuna.distributions.CategoricalDistribution(VALUES)
            found.append(sampler.sample_independent(None, None, "pretrain.lr", distribution))
        if WORSE in found and len(set(found[: found.index(WORSE)])) == 5:
            return seed
    raise AssertionError("no such seed")


def documents_alone(project, **changes):
    """A project that is evaluated quickly, with other params."""
    lstm = {**SMALL_PARAMS["baselines"]["lstm"], "is_on": False}
    memorization = {**SMALL_PARAMS["evaluate"]["probes"]["memorization"], "num_documents": 0}
    probes = {"is_bias_probed": False, "memorization": memorization}
    source = SMALL_PARAMS["ingest"]["sources"][0]
    write_params(
        project,
        {
            **SMALL_PARAMS,
            "ingest": {**SMALL_PARAMS["ingest"], "sources": [source]},
            "baselines": {"lstm": lstm},
            "evaluate": {**SMALL_PARAMS["evaluate"], "probes": probes},
            **changes,
        },
    )
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    assert run_in(project, "git", *identity, "commit", "-qam", "documents").returncode == 0
    return project


@pytest.fixture(scope="module")
def project(make_project):
    """A project that trains long enough for a curve to be looked at."""
    longer = {"length": "800 steps", "validation_every_steps": 20}
    pretrain = {**SMALL_PARAMS["pretrain"], **longer}
    project = make_project("search")
    return documents_alone(project, seed=seed_with_the_worse_last(), pretrain=pretrain)


def logs(project, name):
    files = sorted((project / ".wordmill/experiments" / name).glob("*.log"))
    return "\n".join(file.read_text(errors="replace") for file in files)


def stage_runs(project, name):
    ends = re.findall(r"\([\d,]+ s\) -> data/(\w+)$", logs(project, name), re.MULTILINE)
    return Counter(ends)


@pytest.fixture(scope="module")
def hunted(project):
    """The search's second start, after a kill when its second trial was done."""
    log = project / ".wordmill-hunt.log"
    with log.open("w") as output:
        runner = subprocess.Popen(
            SEARCH,
            cwd=project,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_for(
        lambda: runner.poll() is not None or log.read_text().count(": done in ") > 1, seconds=900
    )
    assert runner.poll() is None, log.read_text()
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not processes_below(project), seconds=90)
    done = run_in(project, *SEARCH)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.soak
def test_a_killed_search_goes_on_and_ends_what_lags_behind(project, hunted):
    assert re.search(rf"hunt: {NUM_TRIALS} trials for documents/bits_per_byte, [1-9]", hunted)
    rows = re.findall(r"^(\d+) +(hunt-\w+) +(\S+) +(\S+) +(done|pruned)", hunted, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, NUM_TRIALS + 1))
    assert {row[2] for row in rows if row[4] == "pruned"} == {"1e-06"}
    assert len({row[1] for row in rows if row[4] == "done"}) == 5
    assert "pruned: pretrain had validation loss" in hunted
    ended = stage_runs(project, "hunt")
    assert ended["pretrain"] == ended["evaluate"] == 5  # the worse one came to no end
    assert ended["ingest"] == ended["tokenize"] == 1
    best = re.search(r"best: (hunt-\w+), documents/bits_per_byte ([\d.]+)", hunted)
    assert float(best[2]) == min(float(row[3]) for row in rows if row[4] == "done")


@pytest.mark.soak
def test_a_search_leaves_experiments_runs_and_nothing_else(project, hunted):
    experiments = project / ".wordmill/experiments"
    assert not list((experiments / "hunt").glob("*/"))
    assert not list((experiments / "scratch").iterdir())
    assert processes_below(project) == []
    runs = grid_runs(project)
    (parent,) = (run for run in runs if run["name"] == "hunt")
    children = children_of(parent, runs)
    assert parent["status"] == "FINISHED"
    assert parent["tags"]["wordmill.goal"] == "documents/bits_per_byte"
    assert len(children) == 6
    assert Counter(run["status"] for run in children) == {"FINISHED": 5, "KILLED": 1}
    (pruned,) = (run for run in children if run["status"] == "KILLED")
    assert pruned["params"]["pretrain.lr"] == "1e-06"
    assert "above the median of 5 others" in pruned["tags"]["wordmill.pruned"]
    assert not [run for run in runs if run["status"] in ("RUNNING", "SCHEDULED")]
    listed = run_in(project, "dvc", "exp", "list", "--name-only").stdout.split()
    done = {run["name"] for run in children if run["status"] == "FINISHED"}
    assert done <= set(listed)
    assert pruned["name"] not in listed
    again = run_in(project, *SEARCH)
    assert f"{NUM_TRIALS} done before" in again.stdout
    assert "begun" not in again.stdout


@pytest.mark.soak
def test_folds_are_experiments_with_a_mean(make_project):
    project = documents_alone(make_project("folds"))
    grid = (
        "python",
        "-m",
        "flows.cli",
        "experiment",
        "--name",
        "cv",
        "--folds",
        "3",
        "--jobs",
        "2",
    )
    done = run_in(project, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "over folds: mean ± standard deviation" in done.stdout
    assert re.search(r"^3( +[\d.]+ ± [\d.]+){2}$", done.stdout, re.MULTILINE)
    runs = grid_runs(project)
    children = children_of(next(run for run in runs if run["name"] == "cv"), runs)
    assert {c["params"]["ingest.fold"] for c in children} == {"1 of 3", "2 of 3", "3 of 3"}
    listed = run_in(project, "dvc", "exp", "list", "--name-only").stdout.split()
    assert {child["name"] for child in children} <= set(listed)
    counts = [
        json.loads(file.read_text())["figures"]["documents"]
        for file in (project / ".wordmill/experiments/cv").glob("*.experiment.json")
    ]
    assert len({json.dumps(one) for one in counts}) == 3  # three sets, three scores
    compared = run_in(project, "python", "-m", "flows.cli", "compare", "cv")
    assert compared.returncode == 0, compared.stderr
    assert "documents over folds" in compared.stdout
    assert "folds meet in the mean over them" in compared.stdout
    applied = run_in(project, "dvc", "exp", "apply", children[0]["name"])
    assert applied.returncode == 0, applied.stderr
    now = read_params(project / "params.yaml")["ingest"]["fold"]
    assert now == children[0]["params"]["ingest.fold"]
