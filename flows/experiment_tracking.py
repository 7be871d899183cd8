"""The MLflow runs of a grid: one parent, and a child for each experiment, taken up where left."""

import os
from pathlib import Path

from mlflow.exceptions import MlflowException

from flows.experiment_record import Remembered
from flows.servers import check_mlflow
from flows.tracking import Tracking
from flows.workspace import only_flow
from wordmill.errors import TryAgainError
from wordmill.files import replaced_file

_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class GridRuns:
    """The runs of one grid.

    Args:
        folder: of the grid, which remembers its run.
        asked: the axes, as they were typed.

    Raises:
        TryAgainError: MLflow does not answer.
    """

    def __init__(self, folder: Path, asked: list[str]) -> None:
        try:
            self._tracking = _tracking()
            file = folder / "mlflow-run"
            parent = self._taken_up(file.read_text() if file.exists() else None, "RUNNING")
            if parent is None:
                tags = {"wordmill.grid": folder.name, "wordmill.asked": " ".join(asked)}
                parent = self._created(folder.name, tags)
                with replaced_file(file) as partial:
                    partial.write_text(parent)
        except MlflowException as error:
            reason = str(error).partition("\n")[0]
            raise TryAgainError(f"MLflow does not answer: {reason}") from None
        self._parent = parent

    def run_of(self, one: Remembered) -> str:
        """The run of an experiment, which waits for its process."""
        found = self._taken_up(one.run_id, "SCHEDULED")
        if found is None:
            tags = {"mlflow.parentRunId": self._parent, "wordmill.experiment": one.name}
            found = self._created(one.name, tags)
            self._tracking.client.update_run(found, status="SCHEDULED")
        return found

    def end(self, status: str) -> None:
        """End the grid's run."""
        self._tracking.client.set_terminated(self._parent, status)

    def _created(self, name: str, tags: dict[str, str]) -> str:
        experiment = self._tracking.experiment_id
        return self._tracking.client.create_run(experiment, run_name=name, tags=tags).info.run_id

    def _taken_up(self, run_id: str | None, status: str) -> str | None:
        """Open a run again, None if the store has it no more."""
        client = self._tracking.client
        try:
            if run_id is None or client.get_run(run_id).info.lifecycle_stage != "active":
                return None
        except MlflowException as error:
            if error.error_code in _GONE:
                return None
            raise
        client.update_run(run_id, status=status)
        return run_id


def _tracking() -> Tracking:
    """A fresh store is migrated under the project's lock: several at once would crash it."""
    address = os.environ["MLFLOW_TRACKING_URI"]
    if not address.startswith("sqlite:") or Path(address.removeprefix("sqlite:///")).exists():
        check_mlflow()
        return Tracking()
    with only_flow():
        return Tracking()
