"""MLflow runs of flows: one a pipeline run, the parent of its stages' runs."""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from flows.servers import is_web
from flows.workspace import artifact_root
from wordmill.errors import TryAgainError

_WORKSPACE_TAG = "wordmill.workspace"


@contextmanager
def answering(what: str = "") -> Generator[None]:
    """Say it in one line where MLflow does not answer.

    Args:
        what: was asked for.

    Raises:
        TryAgainError: it does not.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:  # the latter where a database is away
        about = f"{what}: " if what else ""
        reason = str(error).strip().partition("\n")[0]
        raise TryAgainError(f"{about}MLflow does not answer: {reason}") from None


class Tracking:
    """The tracking store of this project. The caller holds the project's lock.

    Opening a fresh store migrates it, about 10 s once; eight processes that did it at the
    same time crashed it, so it happens here before any stage starts.
    """

    def __init__(self) -> None:
        self.client = MlflowClient()
        name = os.environ["MLFLOW_EXPERIMENT_NAME"]
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            place = None if is_web(os.environ["MLFLOW_TRACKING_URI"]) else artifact_root()
            self.experiment_id = self.client.create_experiment(name, artifact_location=place)
        else:
            self.experiment_id = experiment.experiment_id

    @contextmanager
    def pipeline_run(self, name: str, tags: dict[str, str]) -> Generator[str]:
        """Yield the id of a new run; it ends as FINISHED, FAILED or KILLED."""
        tags = {**tags, _WORKSPACE_TAG: workspace_tag()}
        run = self.client.create_run(self.experiment_id, run_name=name, tags=tags)
        run_id = run.info.run_id
        try:
            yield run_id
        except Exception:
            self.client.set_terminated(run_id, "FAILED")
            raise
        except BaseException:
            self.client.set_terminated(run_id, "KILLED")
            raise
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.client.set_terminated(run_id, "FINISHED")

    def end(self, run_id: str, status: Literal["FAILED", "KILLED"]) -> None:
        """End a run that did not come to its end."""
        self.client.set_terminated(run_id, status)

    def close_left_behind(self) -> list[str]:
        """End runs of this project, stages' too, that a kill left RUNNING; returns their names."""
        mine = f"tags.`{_WORKSPACE_TAG}` = '{workspace_tag()}' and attributes.status = 'RUNNING'"
        left = self._search(mine)
        for run in left:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return sorted(str(run.info.run_name) for run in left)

    def end_with_children(self, run_id: str) -> bool:
        """End a run that a kill left RUNNING, and all below it; False if it is not RUNNING."""
        if not self.is_running(run_id):
            return False
        self.end_children(run_id)
        self.client.set_terminated(run_id, "KILLED")  # last: a kill meanwhile loses none
        return True

    def end_children(self, run_id: str) -> None:
        """End what is open below a run."""
        for child in self.children_of(run_id):
            if child.info.status != "FINISHED":  # one that failed may have had a stage killed
                self.end_children(child.info.run_id)
            if child.info.status in ("RUNNING", "SCHEDULED"):
                self.client.set_terminated(child.info.run_id, "KILLED")

    def is_running(self, run_id: str) -> bool:
        """Whether a run of this project is RUNNING."""
        is_it = f"attributes.run_id = '{run_id}' and attributes.status = 'RUNNING'"
        return bool(self._search(is_it))

    def maker_of(self, output_hash: str) -> str | None:
        """The run that made an output, by DVC's hash of it."""
        found = self._search(f"tags.`wordmill.output` = '{output_hash}'")
        return found[0].info.run_id if found else None

    def children_of(self, run_id: str) -> list[Run]:
        """The runs whose parent a run is."""
        return self._search(f"tags.`mlflow.parentRunId` = '{run_id}'")

    def tag(self, run_id: str, tags: dict[str, Any]) -> None:
        """Set tags on a run."""
        told = [RunTag(name, str(value)) for name, value in tags.items()]
        self.client.log_batch(run_id, tags=told)

    def _search(self, filter_string: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment_id], filter_string))


def workspace_tag() -> str:
    """As stages/tracking.py tells it: in a store that machines share, folders may have one name."""
    is_embedded = os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:")
    return str(Path.cwd()) if is_embedded else f"{socket.gethostname()}:{Path.cwd()}"
