"""The batch flow as a user runs it: kills of whatever there is to kill, and the same bytes."""

import importlib
import inspect
import json
import os
import re
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
from conftest import (
    ROOT,
    SMALL_PARAMS,
    environment,
    run_in,
    small_texts,
    small_tokenizer,
    write_params,
)
from running import processes_of, retrain, wait_for

from wordmill.models.building import new_model
from wordmill.models.folder import save_model
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.params.section import read_params

MOVE = """
from flows import workspace
workspace.enter()
from mlflow import MlflowClient
client = MlflowClient()
source = client.get_model_version("small", "1")
made = client.create_model_version("small", source.source, tags=source.tags)
client.set_registered_model_alias("small", "champion", made.version)
"""


def write_rows(project: Path, count: int) -> None:
    texts = small_texts(count, seed=3)
    rows = [{"source": f"{text}\u2028" * (1 + i % 3), "id": i} for i, text in enumerate(texts)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (project / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")


def batch(project: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return run_in(project, "python", "-m", "flows.cli", "batch", *words, **extra)


def started(project: Path, *words: str, **extra: str) -> subprocess.Popen[bytes]:
    """A batch that has some answers and not all."""
    standing = size_of(project / "out.jsonl.part")
    with (project / ".log").open("a") as log:
        command = subprocess.Popen(
            ["python", "-m", "flows.cli", "batch", *words],
            cwd=project,
            env=environment(**extra),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_for(lambda: size_of(project / "out.jsonl.part") > standing, seconds=300)
    return command


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def answering() -> dict[int, int]:
    """Processes that answer, by the flow that started them."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if len(words) > 3 and words[2].endswith(b"flows/answering.py"):
            found[int(words[3])] = int(process.name)
    return found


def flow_of(project: Path) -> int:
    return next(pid for pid, line in processes_of(project).items() if "flows.batch" in line)


def is_over(project: Path, flow: int) -> bool:
    return not processes_of(project) and flow not in answering()


def test_deployments_name_flows_and_parameters_that_there_are():
    deployments = read_params(ROOT / "prefect.yaml")["deployments"]
    assert {made["name"] for made in deployments} == {"nightly", "every-6-hours", "on-demand"}
    for made in deployments:
        module, _, name = made["entrypoint"].partition(":")
        flow = getattr(importlib.import_module(module), name)
        inspect.signature(flow.fn).bind(**made["parameters"])


@pytest.mark.slow
def test_a_killed_answering_process_is_started_again(tmp_path, prefect_home):
    tokenizer = small_tokenizer(small_texts(50, seed=1))
    shape = ModelParams(**SMALL_PARAMS["model"])
    model = new_model(shape, vocabulary_of(tokenizer), seed=3)
    save_model(tmp_path / "models/one", model, tokenizer)
    write_params(tmp_path, SMALL_PARAMS)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "wordmill").symlink_to(ROOT / "wordmill")
    write_rows(tmp_path, 1500)
    words = ("in.jsonl", "out.jsonl", "--task", "write", "--model", "models/one")
    extra = {"PYTHONPATH": str(ROOT), "WORDMILL_RETRY_SECONDS": "0.1"}
    command = started(tmp_path, *words, **extra)
    os.kill(answering()[flow_of(tmp_path)], signal.SIGKILL)
    assert command.wait(300) == 0, (tmp_path / ".log").read_text()
    assert "its process was killed by signal 9" in (tmp_path / ".log").read_text()
    record = json.loads((tmp_path / "out.jsonl.batch.json").read_text())
    first, second = record["starts"]
    assert first["row"] == 0 < second["row"]
    assert first["flow_run"] == second["flow_run"]
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().split(b"\n")[:-1]]
    assert [row["id"] for row in rows] == list(range(1500))
    assert any(row["prediction"] for row in rows)
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.soak
def test_a_batch_goes_on_after_every_kill_with_the_same_bytes(make_project, prefect_home):
    project = make_project("batch")
    assert retrain(project).returncode == 0
    write_rows(project, 20_000)
    kills = [
        lambda command: os.kill(flow_of(project), signal.SIGKILL),
        lambda command: os.kill(command.pid, signal.SIGKILL),
        lambda command: os.kill(command.pid, signal.SIGINT),
        lambda command: [os.kill(pid, signal.SIGKILL) for pid in processes_of(project)],
    ]
    for kill in kills:
        command = started(project, "in.jsonl", "out.jsonl")
        told = batch(project, "in.jsonl", "out.jsonl")
        assert told.returncode == 75
        assert "another batch writes out.jsonl (process" in told.stderr
        flow = flow_of(project)
        assert flow in answering()
        kill(command)
        assert command.wait(90) != 0
        wait_for(partial(is_over, project, flow), seconds=90)
        assert not (project / "out.jsonl").exists()
    moved = run_in(project, "python", "-c", MOVE)
    assert moved.returncode == 0, moved.stderr
    told = batch(project, "in.jsonl", "out.jsonl")
    assert told.returncode == 73
    assert "was version 1 of small and is now champion, version 2 of small" in told.stderr
    done = batch(project, "in.jsonl", "out.jsonl", "--model", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"20,000 answers of version 1 of small -> out.jsonl\n.* stood before", done.stdout
    )
    whole = batch(project, "in.jsonl", "whole.jsonl", "--model", "1")
    assert whole.returncode == 0, whole.stderr
    made = (project / "out.jsonl").read_bytes()
    assert made == (project / "whole.jsonl").read_bytes()
    assert made.count(b"\n") == 20_000
    record = json.loads((project / "out.jsonl.batch.json").read_text())
    rows = [start["row"] for start in record["starts"]]
    assert rows == sorted(rows)
    assert len(rows) == len(kills) + 1
    assert "was still running in Prefect" in (project / ".log").read_text()
