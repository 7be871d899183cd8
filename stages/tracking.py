"""The MLflow run of a stage: metrics as they come, once a step, also after a resume.

On where a tracking address is given (MLFLOW_TRACKING_URI; the flow gives one), else off. A
stage that is killed and resumed goes on in the run it began, and logs no step twice.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.inputs import dvc_hash
from stages.stage import Stage
from wordmill.errors import TryAgainError, WordmillError
from wordmill.files import replaced_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

# One batch of 1,000 metrics takes SQLite as long as twenty single ones.
_FLUSH_SECONDS = 2.0
_FLUSH_METRICS = 500


class StageRun:
    """Logs nothing: what a stage talks to where no tracking address is given."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take metrics of a step."""

    def flush(self) -> None:
        """Send what was taken."""

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
        if self._waiting:
            self._client.log_batch(self._run_id, metrics=self._waiting)
            self._waiting = []
        self._flushed_at = time.monotonic()

    def made(self, output: Path) -> None:
        self.flush()
        self._client.set_tag(self._run_id, "wordmill.output", dvc_hash(output))

    def _newest_steps(self) -> dict[str, int]:
        names = self._client.get_run(self._run_id).data.metrics
        histories = {name: self._client.get_metric_history(self._run_id, name) for name in names}
        return {name: max(m.step for m in history) for name, history in histories.items()}


@contextmanager
def stage_run(stage: Stage, params: dict[str, Any]) -> Generator[StageRun]:
    """Yield the run of a stage, resumed where its scratch folder knows of one.

    Args:
        stage: the stage that runs.
        params: logged as the run's params.

    Raises:
        TryAgainError: the tracking server does not answer.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ:
        yield StageRun()
        return
    # Here and not above: it takes 2 s, and a stage may run without it.
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient()
        run_id = _begun_run(client, stage, params)
        stage.report["run_id"] = run_id
        run = MlflowRun(client, run_id)
    except MlflowException as error:
        where = os.environ["MLFLOW_TRACKING_URI"]
        raise TryAgainError(f"MLflow at {where} does not answer: {error.message}") from None
    try:
        yield run
    except WordmillError as error:
        run.flush()
        status = "KILLED" if isinstance(error, TryAgainError) else "FAILED"
        client.set_terminated(run_id, status)
        raise
    except BaseException:
        client.set_terminated(run_id, "KILLED")
        raise
    run.flush()
    client.set_terminated(run_id, "FINISHED")


def _begun_run(client: "MlflowClient", stage: Stage, params: dict[str, Any]) -> str:
    tags = {"wordmill.stage": stage.name}
    if parent := os.environ.get("WORDMILL_PARENT_RUN"):
        tags["mlflow.parentRunId"] = parent
    remembered = stage.scratch() / "mlflow-run"
    if remembered.exists():
        run_id = remembered.read_text()
        client.update_run(run_id, status="RUNNING")
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
        return run_id
    from mlflow.entities import Param

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "wordmill")
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    run_id = client.create_run(experiment_id, run_name=stage.name, tags=tags).info.run_id
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])
    with replaced_file(remembered) as partial:
        partial.write_text(run_id)
    return run_id
