"""One experiment, in a process and a workspace of its own: `python -m flows.experiment_run FOLDER`.

A stage's work is known by its command, its params and the hashes of what it reads. Who works at it
holds a lock by that name; whoever waited finds the result in DVC's cache. Checkpoints lie by that
name too: after a kill whoever comes first goes on from them.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from flows import dag
from flows.experiment_record import Remembered, recall, remember
from flows.experiment_result import figures, primary_scores, validations
from flows.grid import stage_key
from flows.group import lead
from flows.lineage import dvc_tags
from flows.pipeline import cause
from flows.tracking import Tracking
from flows.workspace import PARAMS, STATE
from wordmill.errors import DataError, TryAgainError, WordmillError
from wordmill.params.section import read_params

_REPORT_VARIABLE = "WORDMILL_STAGE_REPORT"  # see stages/stage.py
_PARENT_VARIABLE = "WORDMILL_PARENT_RUN"
_EVALUATION = Path("data/evaluate")
_SCRATCH = STATE / "scratch"  # where a stage keeps its checkpoints, see stages/stage.py
_MOST_IN_A_BATCH = 100  # params that MLflow takes at once


class _FailedError(WordmillError):
    """A stage failed; it has said why."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def main(place: Path) -> int:
    """Bring one experiment to its end and return the exit status.

    Args:
        place: its workspace; what is remembered of it lies beside it.
    """
    lead()
    logging.getLogger("dvc").setLevel(logging.WARNING)
    file, root = memory_of(place).resolve(), Path.cwd()
    one = recall(file)
    assert one is not None
    started_at, before = time.monotonic(), one.seconds
    os.chdir(place)
    client = MlflowClient()
    try:
        assert one.run_id is not None
        client.update_run(one.run_id, status="RUNNING")
        _log_params(client, one.run_id)
        runs = _stages(one, file)
        _finish(client, one, runs)
        _save(root, one.name)
        one.status = "done"
    except (WordmillError, MlflowException) as error:
        one.status, one.message = "failed", str(error)
        one.exit_status = getattr(error, "exit_status", TryAgainError.exit_status)
        client.set_terminated(one.run_id or "", "FAILED")
    except SystemExit:  # stopped: it goes on from here
        client.set_terminated(one.run_id or "", "KILLED")
        raise
    finally:
        one.seconds = before + time.monotonic() - started_at
        remember(file, one)
    return one.exit_status


def memory_of(place: Path) -> Path:
    """The file that remembers the experiment of a workspace."""
    return place.with_name(f"{place.name}.experiment.json")


def _stages(one: Remembered, file: Path) -> dict[str, str]:
    """Run all stages; returns the MLflow runs of those that ran here."""
    described, values = read_params(Path("dvc.yaml")), read_params(PARAMS)
    os.environ[_PARENT_VARIABLE] = one.run_id or ""
    os.environ["PYTHONUNBUFFERED"] = "1"
    Path(".dvc/tmp/rwlock").unlink(missing_ok=True)  # an empty one, left by a kill, blocks DVC
    made: dict[str, str] = {}
    runs: dict[str, str] = {}
    one.message, one.exit_status = "", 0
    for name in dag.stages_in_order():
        key = stage_key(name, dag=described, values=values, made=made)
        with _only_maker(file.parent.parent, name, key):
            verdict, run_id = _reproduced(name)
        # A stage that was made by an earlier start of this experiment stays «ran».
        if not (verdict == "reused" and name in one.stages):
            one.stages[name] = verdict
        made[name] = one.outputs[name] = dag.output_hash(name) or ""
        if curve := validations(name):
            one.curves[name] = curve
        remember(file, one)
        if run_id:
            runs[name] = run_id
    return runs


@contextmanager
def _only_maker(experiments: Path, stage: str, key: str) -> Generator[None]:
    lock_file, kept = experiments / "locks" / key, experiments / "scratch" / key
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        own = _SCRATCH / stage
        own.unlink(missing_ok=True)
        own.parent.mkdir(parents=True, exist_ok=True)
        kept.mkdir(parents=True, exist_ok=True)
        own.symlink_to(kept)
        try:
            yield
        except SystemExit:
            _end_stage()
            raise
        own.unlink()
        shutil.rmtree(kept)


def _end_stage() -> None:
    """Let the stage write its checkpoint before its lock is let go: another may go on from it.

    Whoever started this process kills the group if that takes too long (flows/group.py).
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _reproduced(name: str) -> tuple[str, str | None]:
    """Run a stage through DVC: what became of it, and its MLflow run if it ran.

    Raises:
        _FailedError: with what the stage, or DVC, says.
    """
    with tempfile.TemporaryDirectory(prefix="wordmill-") as folder:
        told = Path(folder) / "report.json"
        os.environ[_REPORT_VARIABLE] = str(told)
        try:
            with Repo() as repo:
                done = reproduce(repo, name, single_item=True)
        except LockError as error:
            raise TryAgainError(f"{name}: dvc: {error}") from None
        except DvcException as error:
            report = json.loads(told.read_text()) if told.exists() else {}
            message = report.get("message") or str(error.__cause__ or error)
            # A killed stage may pass: it is tried again when the grid or the search is.
            status = TryAgainError.exit_status if not report and cause([message]) else 1
            raise _FailedError(f"{name}: {message}", report.get("exit_status", status)) from None
        finally:
            del os.environ[_REPORT_VARIABLE]
        if told.exists():
            return "ran", json.loads(told.read_text()).get("run_id")
    return ("restored" if done else "reused"), None


def _log_params(client: MlflowClient, run_id: str) -> None:
    known = client.get_run(run_id).data.params
    flat = [Param(k, str(v)[:6000]) for k, v in _leaves(read_params(PARAMS)) if k not in known]
    for start in range(0, len(flat), _MOST_IN_A_BATCH):
        client.log_batch(run_id, params=flat[start : start + _MOST_IN_A_BATCH])


def _leaves(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _finish(client: MlflowClient, one: Remembered, runs: dict[str, str]) -> None:
    """Log the final metrics and where each result comes from, and end the run."""
    assert one.run_id is not None
    try:
        record = json.loads((_EVALUATION / "scores.json").read_text(encoding="utf-8"))
        metrics = json.loads((_EVALUATION / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: the evaluate stage left no such file") from None
    now = int(time.time() * 1000)
    known = client.get_run(one.run_id).data.metrics
    values = [Metric(k, v, now, 0) for k, v in _named(metrics) if k not in known]
    client.log_batch(one.run_id, metrics=values)
    Tracking().tag(one.run_id, dvc_tags() | _makers(runs))
    one.evaluation, one.scores = dag.output_hash("evaluate"), primary_scores(record)
    one.figures, one.sets = figures(record), {k: str(v) for k, v in record["identity"].items()}
    client.set_terminated(one.run_id, "FINISHED")


def _makers(runs: dict[str, str]) -> dict[str, str]:
    """The run that made each stage's output, here or in another experiment."""
    tracking, tags = Tracking(), dict[str, str]()
    for stage, made in dvc_tags().items():
        name = stage.removeprefix("dvc.")
        if name in runs:
            tags[f"made.{name}"] = runs[name]
        elif maker := tracking.maker_of(made):
            tags[f"reused.{name}"] = maker
    return tags


def _named(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for kind, systems in metrics.items():
        for system, found in systems.items():
            yield from ((f"{kind}/{system}/{name}", value) for name, value in found.items())


def _save(root: Path, name: str) -> None:
    """Make it an experiment of DVC, here and in the project.

    Raises:
        _FailedError: git or DVC refuses.
    """
    baseline = _ended_well("git", "rev-parse", "HEAD")
    # As DVC names what stands on a commit; its other references are of this workspace alone.
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
    _ended_well("dvc", "exp", "save", "--quiet", "--force", "--name", name)
    fetch = ("fetch", "--quiet", "--no-write-fetch-head", "--no-tags")
    _ended_well("git", "-C", str(root), *fetch, str(Path.cwd()), f"+{ref}:{ref}")


def _ended_well(*command: str) -> str:
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "wordmill"), ("EMAIL", "wordmill@localhost"))
    }
    done = subprocess.run(
        command, env={**who, **os.environ}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise _FailedError(f"{' '.join(command[:3])}: {lines[-1]}", 1)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
