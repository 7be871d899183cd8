"""The MLflow run of a stage: metrics as they come, once a step, also after a resume.

On where a tracking address is given (MLFLOW_TRACKING_URI; the flow gives one), else off. A
stage that is killed and resumed goes on in the run it began, and logs no step twice.
"""

import json
import logging
import os
import re
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.inputs import dvc_hash
from stages.stage import Stage, is_first
from wordmill.errors import TryAgainError
from wordmill.files import replaced_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

# One batch of 1,000 metrics takes SQLite as long as twenty single ones.
_FLUSH_SECONDS = 2.0
_FLUSH_METRICS = 500
_MOST_IN_A_BATCH = 1000  # MLflow's own limit

log = logging.getLogger("stages")


class StageRun:
    """Logs nothing: what a stage talks to where no tracking address is given."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take metrics of a step."""

    def flush(self) -> None:
        """Send what was taken."""

    def keep(self, file: Path) -> None:
        """Keep a file with the run: JSON lines as a table, others as they are."""

    def made(self, output: Path) -> None:
        """Remember which output this run made."""


class MlflowRun(StageRun):
    """Logs to one MLflow run."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._waiting: list[Any] = []
        self._flushed_at = time.monotonic()
        self._logged_to = self._newest_steps()

    def log(self, metrics: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for name, value in metrics.items():
            if step > self._logged_to.get(name, -1):
                self._waiting.append(Metric(name, value, now, step))
        is_due = time.monotonic() - self._flushed_at >= _FLUSH_SECONDS
        if is_due or len(self._waiting) >= _FLUSH_METRICS:
            self.flush()

    def flush(self) -> None:
        """Send what was taken; where the server is away, keep it and warn: training goes on."""
        from mlflow.exceptions import MlflowException

        self._flushed_at = time.monotonic()
        try:
            for start in range(0, len(self._waiting), _MOST_IN_A_BATCH):
                batch = self._waiting[start : start + _MOST_IN_A_BATCH]
                self._client.log_batch(self._run_id, metrics=batch)
        except MlflowException as error:
            log.warning("MLflow does not take metrics, they are kept: %s", first_line(error))
            return
        self._waiting = []

    def keep(self, file: Path) -> None:
        if file.suffix != ".jsonl":
            self._client.log_artifact(self._run_id, str(file))
            return
        with file.open(encoding="utf-8") as lines:  # splitlines would part at more than \n
            rows = [json.loads(line) for line in lines]
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        self._client.log_table(self._run_id, columns, f"{file.stem}.json")

    def made(self, output: Path) -> None:
        self.flush()
        self._client.set_tag(self._run_id, "wordmill.output", dvc_hash(output))

    def end(self, status: str) -> None:
        """Send what is left and end the run."""
        self.flush()
        self._client.set_terminated(self._run_id, status)

    def _newest_steps(self) -> dict[str, int]:
        names = self._client.get_run(self._run_id).data.metrics
        histories = {name: self._client.get_metric_history(self._run_id, name) for name in names}
        return {name: max(m.step for m in history) for name, history in histories.items()}


@contextmanager
def stage_run(stage: Stage, params: dict[str, Any]) -> Generator[StageRun]:
    """Yield the run of a stage, resumed where its scratch folder knows of one.

    When the block ends well the output is in its place, and the scratch folder is emptied.

    Args:
        stage: the stage that runs.
        params: logged as the run's params.

    Raises:
        TryAgainError: the tracking server does not answer.
    """
    if not is_first():
        yield StageRun()
        return
    if "MLFLOW_TRACKING_URI" not in os.environ:
        yield StageRun()
    else:
        # Here and not above: it takes 2 s, and a stage may run without it.
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client = MlflowClient()
            stage.report["run_id"] = _begun_run(client, stage, params)
            with _ended(MlflowRun(client, stage.report["run_id"])) as run:
                yield run
        except (MlflowException, SQLAlchemyError) as error:  # the latter where a database is away
            where = re.sub("//[^/]*@", "//", os.environ["MLFLOW_TRACKING_URI"])
            raise TryAgainError(f"MLflow at {where} does not answer: {first_line(error)}") from None
    stage.clear_scratch()


@contextmanager
def _ended(run: MlflowRun) -> Generator[MlflowRun]:
    try:
        yield run
    except TryAgainError:
        run.end("KILLED")
        raise
    except Exception:
        run.end("FAILED")
        raise
    except BaseException:
        run.end("KILLED")
        raise
    run.end("FINISHED")


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return str(error).partition("\n")[0]


def _begun_run(client: "MlflowClient", stage: Stage, params: dict[str, Any]) -> str:
    from mlflow.entities import Param

    tags = {"wordmill.stage": stage.name, "wordmill.workspace": _workspace()}
    if parent := os.environ.get("WORDMILL_PARENT_RUN"):
        tags["mlflow.parentRunId"] = parent
    remembered = stage.scratch / "mlflow-run"
    if remembered.exists() and _is_taken_up(client, remembered.read_text(), tags):
        return remembered.read_text()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "wordmill")
    experiment = client.get_experiment_by_name(name)
    if experiment:
        experiment_id = experiment.experiment_id
    else:
        place = os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT")
        experiment_id = client.create_experiment(name, artifact_location=place)
    run_id = client.create_run(experiment_id, run_name=stage.name, tags=tags).info.run_id
    flat = [Param(key, str(value)) for key, value in _leaves(params)]
    client.log_batch(run_id, params=flat)
    with replaced_file(remembered) as partial:
        partial.write_text(run_id)
    return run_id


def _workspace() -> str:
    """The project's folder; in a store that machines share, with the machine's name."""
    is_embedded = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    return str(Path.cwd()) if is_embedded else f"{socket.gethostname()}:{Path.cwd()}"


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _is_taken_up(client: "MlflowClient", run_id: str, tags: dict[str, str]) -> bool:
    """Open a run again, False if the store has it no more."""
    from mlflow.exceptions import MlflowException

    try:
        if client.get_run(run_id).info.lifecycle_stage != "active":
            return False
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    client.update_run(run_id, status="RUNNING")
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    return True
